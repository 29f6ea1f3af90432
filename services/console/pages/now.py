"""Now: how it goes, and what to do where it does not."""

import time
from typing import Final

import numpy as np

from infra import registry
from infra.store.statements.console import BEHIND, CURSORS, DECIDED, OLDEST_ALIAS, PENDING_DELIVERIES
from models.schema import INTENTS
from services import doctor
from services.console.pace import Pace
from services.console.page import BAD, FAIR, GOOD, NONE, Code, Column, Facts, Mix, Moment, Page, Plot, Series, State, Table
from services.console.sources import Ask, Sources, spoken

MINUTES: Final = 30
N_DECISIONS: Final = 1_000
N_INTENTS: Final = 500
EXAMINED_S: Final = 60.0  # for so long a finding of the doctor is given again
_KINDS: Final = {"ok": GOOD, "warn": FAIR, "fail": BAD}
_examined: dict[str, tuple[float, list[doctor.Finding]]] = {}


def view(sources: Sources, ask: Ask) -> Page:
    """The page."""
    now_us = sources.now_us()
    findings = _findings(sources)
    red = [one for one in findings if one.state != "ok"]
    arrived, given = sources.paces()
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
        [_table(red), _traffic(sources, arrived, given, now_us), _minutes(arrived, given, now_us), _duties(sources)],
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


def _traffic(sources: Sources, arrived: Pace, given: Pace, now_us: int) -> Facts:
    now_s = now_us // 1_000_000
    decided = sources.read(DECIDED, (N_DECISIONS,))
    latency = np.array([row[0] for row in decided])
    mix = {name: sum(row[1] == name for row in decided[:N_INTENTS]) for name in INTENTS}
    total = sum(mix.values())
    ((oldest,),) = sources.read(OLDEST_ALIAS, (registry.CHAMPION,))
    ((pending, _),) = sources.read(PENDING_DELIVERIES)
    return Facts(
        "traffic",
        "Traffic",
        [
            ("events a second, last minute", round(arrived.within(now_s - 60, now_s) / 60, 2)),
            ("recommendations a second, last minute", round(given.within(now_s - 60, now_s) / 60, 2)),
            (
                "p99 of the newest 1,000 answers, ms",
                round(float(np.percentile(latency, 99)) / 1000, 2) if len(latency) else None,
            ),
            ("with a fallback, of those", f"{sum(row[2] for row in decided)} of {len(latency)}"),
            ("intents of the newest 500 answers", Mix({name: n / total for name, n in mix.items()}) if total else None),
            ("newest event", Moment(arrived.newest_s * 1_000_000) if arrived.newest_s else None),
            ("oldest champion since", Moment(oldest) if oldest else None),
            ("deliveries that wait", pending if pending else 0),
        ],
    )


def _minutes(arrived: Pace, given: Pace, now_us: int) -> Plot:
    edges = [(now_us // 60_000_000 - MINUTES + k) * 60 for k in range(MINUTES + 1)]  # without the minute that is not over
    x = [float(k - MINUTES) for k in range(MINUTES)]
    return Plot(
        "minutes",
        "Minute by minute",
        x,
        [Series("events", arrived.per_span(edges)), Series("recommendations", given.per_span(edges))],
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
