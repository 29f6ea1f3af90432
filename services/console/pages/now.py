"""Now: how it goes, and what to do where it does not."""

import json
import time
from typing import Final

import numpy as np

from infra import registry
from infra.store.statements.console import ARRIVALS, BEHIND, CURSORS, DECIDED, PENDING_DELIVERIES
from models.schema import INTENTS
from services import doctor
from services.console.page import BAD, FAIR, GOOD, NONE, Code, Column, Facts, Mix, Moment, Page, Plot, Series, State, Table
from services.console.sources import Ask, Sources, spoken

MINUTES: Final = 30
N_EVENTS: Final = 20_000
N_DECISIONS: Final = 2_000
EXAMINED_S: Final = 60.0  # for so long a finding of the doctor is given again
_KINDS: Final = {"ok": GOOD, "warn": FAIR, "fail": BAD}
_examined: dict[str, tuple[float, list[doctor.Finding]]] = {}


def view(sources: Sources, ask: Ask) -> Page:
    """The page."""
    now_us = sources.now_us()
    findings = _findings(sources)
    red = [one for one in findings if one.state != "ok"]
    arrived = np.array([at_us for _, at_us in sources.read(ARRIVALS, (N_EVENTS,))], dtype=np.int64)
    decided = sources.read(DECIDED, (N_DECISIONS,))
    failed = sum(one.state == "fail" for one in red)
    lead = (
        f"{failed} of {len(findings)} parts fail"
        if failed
        else f"{len(red)} of {len(findings)} parts want a look; the rest is well"
        if red
        else f"All {len(findings)} parts are well"
    )
    return Page(
        "Now",
        f"{lead}.",
        [_table(red), _traffic(sources, arrived, decided, now_us), _minutes(arrived, decided, now_us), _duties(sources)],
        BAD if failed else FAIR if red else GOOD,
        True,
        now_us,
    )


def _findings(sources: Sources) -> list[doctor.Finding]:
    known = _examined.get(str(sources.home))
    if known is None or time.monotonic() - known[0] > EXAMINED_S:
        _examined[str(sources.home)] = known = time.monotonic(), doctor.examine(sources.home)
    return known[1]


def _table(red: list[doctor.Finding]) -> Table:
    rows = [[State(one.state, _KINDS[one.state]), one.part, one.says, Code(one.mend) if one.mend else None] for one in red]
    columns = [Column("state"), Column("part"), Column("says"), Column("mend")]
    return Table("findings", "What wants a look", columns, rows, "As attune doctor finds it.", "Nothing: all parts are well.")


def _traffic(sources: Sources, arrived: np.ndarray, decided: list[tuple], now_us: int) -> Facts:  # type: ignore[type-arg]
    lately = [row for row in decided if row[0] > now_us - 60_000_000]
    champions = {
        name: registry.aliased_at_us(sources.home, name, registry.CHAMPION) for name in registry.champions(sources.home)
    }
    oldest = min((at_us for at_us in champions.values() if at_us), default=None)
    latency = np.array([row[1] for row in decided[:1000]])
    mix = {name: sum(row[2] == name for row in decided[:500]) for name in INTENTS}
    total = sum(mix.values())
    ((pending, _),) = sources.read(PENDING_DELIVERIES)
    return Facts(
        "traffic",
        "Traffic",
        [
            ("events a second, last minute", round(float((arrived > now_us - 60_000_000).sum()) / 60, 2)),
            ("recommendations a second, last minute", round(len(lately) / 60, 2)),
            (
                "p99 of the newest 1,000 answers, ms",
                round(float(np.percentile(latency, 99)) / 1000, 2) if len(latency) else None,
            ),
            ("with a fallback, of those", f"{sum(json.loads(row[4]) != [] for row in decided[:1000])} of {len(latency)}"),
            ("intents of the newest 500 answers", Mix({name: n / total for name, n in mix.items()}) if total else None),
            ("newest event", Moment(int(arrived[0])) if len(arrived) else None),
            ("oldest champion since", Moment(oldest) if oldest else None),
            ("deliveries that wait", pending if pending else 0),
        ],
    )


def _minutes(arrived: np.ndarray, decided: list[tuple], now_us: int) -> Plot:  # type: ignore[type-arg]
    minute = 60_000_000
    edges = (now_us // minute - np.arange(MINUTES, -1, -1) + 1) * minute
    begun = arrived[-1] if len(arrived) == N_EVENTS else 0
    events, _ = np.histogram(arrived, edges)
    asked, _ = np.histogram([row[0] for row in decided], edges)
    known = [float(n) if edge >= begun else None for n, edge in zip(events, edges, strict=False)]
    x = [float(k - MINUTES + 1) for k in range(MINUTES)]
    return Plot(
        "minutes",
        "Minute by minute",
        x,
        [Series("events", known), Series("recommendations", [float(n) for n in asked])],
        "minutes from now",
        "a minute",
    )


def _duties(sources: Sources) -> Table:
    rows = [
        [
            spoken(name),
            sources.read(BEHIND, (seq,))[0][0] if name not in ("rewards", "delivery") else None,
            Moment(moved),
            State("follows", GOOD) if seq else State("begins", NONE),
        ]
        for name, seq, moved in sources.read(CURSORS)
    ]
    return Table(
        "duties",
        "Duties of the worker",
        [Column("duty"), Column("events behind", True), Column("moved"), Column("state")],
        rows,
        empty="The worker has not begun.",
        mend="attune worker",
    )
