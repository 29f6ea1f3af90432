"""Drift: whether visitors have become others than those the champion learned from."""

from collections.abc import Mapping
from typing import Any, Final

from services.console.access import ADMIN, ML
from services.console.acts import Act, Doing
from services.console.commands import said, start, told_by
from services.console.page import BAD, FAIR, GOOD, NONE, Block, Cell, Column, Form, Heat, Moment, Page, State, Table, Text
from services.console.sources import Ask, Sources, spoken

REPORT: Final = "drift.json"
MUCH: Final = 0.25  # of the population stability index
_KINDS: Final = {"pass": GOOD, "fail": BAD}


def view(sources: Sources, ask: Ask) -> Page:
    """The page."""
    told: Mapping[str, Any] | None = sources.report(REPORT)
    measure = Form(
        "measure",
        "Measure now",
        "Measure",
        action="measure",
        about="As attune drift: the latest window against the champion's.",
    )
    retrain = Form("retrain", "Train anew", "Retrain", action="retrain", about="The whole flow, with its gate; minutes.")
    log = said(sources.home, "retrain")
    after: list[Block] = [
        measure,
        retrain,
        *([Text("retrain_log", "The retraining that was started here", log, True)] if log else []),
    ]
    if told is None:
        empty = Table("rules", "Rules", [Column("rule")], [], empty="It has not been measured yet.", mend="attune drift")
        return Page("Drift", "It has not been measured yet.", [empty, *after], NONE, False, sources.now_us())
    rules: list[list[Cell]] = [
        [
            spoken(one["name"]),
            State(one["verdict"], _KINDS.get(one["verdict"], NONE)),
            one["observed"],
            one["limit"],
            one["about"],
        ]
        for one in told["rules"]
    ]
    columns = [Column("rule"), Column("verdict"), Column("observed", True), Column("limit", True), Column("about")]
    features: list[list[Cell]] = [
        [spoken(name), Heat(round(index, 4), min(1.0, index / MUCH))] for name, index in list(told["features"].items())[:30]
    ]
    blocks: list[Block] = [
        Table("rules", "Rules", columns, rules),
        Table(
            "features",
            "Features that moved most",
            [Column("feature"), Column("population stability index", True)],
            features,
            f"Below 0.1 is little, above {MUCH} is much.",
            "A window is too small to compare.",
        ),
        _intents(told.get("intent_mix")),
    ]
    state = _KINDS.get(told["verdict"], FAIR)
    at_us = sources.reported_at_us(REPORT)
    measured = Table("measured", "Measured", [Column("when")], [[Moment(at_us)]] if at_us else [])
    return Page("Drift", f"{told['verdict']}: {told['sentence']}", [*blocks, measured, *after], state, False, sources.now_us())


def _intents(mix: Mapping[str, Mapping[str, int]] | None) -> Table:
    columns = [Column("intent"), Column("champion's window", True), Column("now", True), Column("change", True)]
    if not mix:
        return Table("intents", "Intents", columns, [], empty="A window is too small to compare.")
    before, now = (
        {name: n / max(sum(mix[when].values()), 1) for name, n in mix[when].items()} for when in ("reference", "current")
    )
    rows: list[list[Cell]] = [
        [spoken(name), f"{share:.1%}", f"{now.get(name, 0.0):.1%}", f"{now.get(name, 0.0) - share:+.1%}"]
        for name, share in before.items()
    ]
    return Table("intents", "Intents", columns, rows)


def _measure(doing: Doing) -> str:
    told_by(doing, "drift", "--json")
    return "Measured."


def _retrain(doing: Doing) -> str:
    return start(doing, "retrain", "retrain")


_ROLES: Final = frozenset({ML, ADMIN})
ACTS: Final = {"measure": Act(_measure, _ROLES), "retrain": Act(_retrain, _ROLES)}
