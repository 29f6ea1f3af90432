"""Models: versions, what the gate said in three groups, champion beside candidate, and moving the champion."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from infra import layout, promotion, registry
from models.events.rules import parse_instant_us
from models.statistics.verdict import FAIL, PASS, THIN
from services.console.access import ADMIN, ML
from services.console.acts import Act, Doing
from services.console.commands import told_by
from services.console.page import (
    BAD,
    FAIR,
    GOOD,
    NONE,
    Block,
    Cell,
    Column,
    Facts,
    Field,
    Form,
    Link,
    Moment,
    Page,
    Span,
    State,
    Table,
)
from services.console.sources import Ask, Sources, spoken

REPORT, ASKED = "promotion.json", "approval.json"
_REPORTS: Final = (("The gate's report", "promotion.html"), ("Evaluation", "evaluation.html"))
_FIRST_INSTANT_US: Final = 10**15  # what is shorter is a duration
N_VERSIONS: Final = 60
_KINDS: Final = {PASS: GOOD, FAIL: BAD, THIN: FAIR}
_GROUPS: Final = (
    (FAIL, "failed", "Failed", "What keeps it out."),
    (THIN, "undecided", "Undecided", "Too few data to tell."),
    (PASS, "passed", "Passed", ""),
)


def view(sources: Sources, ask: Ask) -> Page:
    """The page: all of them, or one version's lineage."""
    versions = registry.versions(sources.home)
    if ask.query.get("model"):
        return _one(sources, versions, ask.query["model"])
    told: Mapping[str, Any] | None = sources.report(REPORT)
    serving = {one.name: one for one in versions if registry.CHAMPION in one.aliases}
    blocks: list[Block] = [_versions(sources, versions), *_gate(told), *_compared(told), *_acts(sources, versions, told)]
    lead = (
        "There are no models yet."
        if not versions
        else f"{len(serving)} models serve: "
        + ", ".join(f"{name} {one.version}" for name, one in sorted(serving.items()))
        + "."
    )
    if told:
        failed = sum(one["verdict"] == FAIL for one in told["rules"])
        lead += f" The newest candidate: {failed} rules failed." if failed else " The newest candidate failed no rule."
    links = [Link(text, f"/reports/file/{file}") for text, file in _REPORTS if (sources.home / layout.REPORTS / file).exists()]
    return Page("Models", lead, blocks, GOOD if serving else FAIR, False, sources.now_us(), links)


def _versions(sources: Sources, versions: Sequence[registry.ModelVersion]) -> Table:
    cells: list[list[Cell]] = []
    for one in versions[:N_VERSIONS]:
        kind = _KINDS.get(one.verdict, NONE)
        cells.append(
            [
                Link(f"{one.name}:{one.version}", f"/models?model={one.name}:{one.version}"),
                State(", ".join(one.aliases), GOOD) if one.aliases else None,
                State(one.verdict, kind),
                _made(one),
                one.gate.get("why") or None,
            ]
        )
    columns = [Column("version"), Column("alias"), Column("gate"), Column("made"), Column("why it does not serve")]
    return Table(
        "versions", "Versions, the newest first", columns, cells, empty="There are no models yet.", mend="attune retrain"
    )


def _made(one: registry.ModelVersion) -> Moment:
    return Moment(parse_instant_us(one.created_at))


def _gate(told: Mapping[str, Any] | None) -> list[Block]:
    if told is None:
        return [Table("gate", "The gate", [Column("rule")], [], empty="It has judged nothing yet.", mend="attune retrain")]
    columns = [Column("rule"), Column("observed", True), Column("wanted"), Column("about"), Column("says")]
    found: list[Block] = []
    for verdict, id_, title, about in _GROUPS:
        rows: list[list[Cell]] = [
            [
                spoken(one["name"]),
                one["observed"],
                one["wanted"],
                ", ".join(one.get("about", ())) or None,
                one.get("says") or None,
            ]
            for one in told["rules"]
            if one["verdict"] == verdict
        ]
        found.append(Table(id_, f"{title}: {len(rows)} rules", columns, rows, about, "None."))
    return found


def _compared(told: Mapping[str, Any] | None) -> list[Block]:
    if not told:
        return []
    cells: list[list[Cell]] = []
    for one in told["evidence"]["comparisons"]:
        gain = one["gain"]
        bounds = gain.get("low"), gain.get("mean"), gain.get("high")
        span = Span(*bounds, mark=0.0) if None not in bounds else None
        cells.append([spoken(one["name"]), one.get("part") or None, one["champion"], one["candidate"], span, one["n_sessions"]])
    columns = [
        Column("measure"),
        Column("part"),
        Column("champion", True),
        Column("candidate", True),
        Column("gain, 95 %"),
        Column("sessions", True),
    ]
    about = "The line is the interval of the gain, the mark in it zero: right of it the candidate is better."
    return [Table("compared", "Champion and candidate", columns, cells, about, "There is no champion to compare with yet.")]


def _acts(sources: Sources, versions: Sequence[registry.ModelVersion], told: Mapping[str, Any] | None) -> list[Block]:
    if not versions:
        return []
    open_ = [f"{one.name}:{one.version}" for one in versions if registry.CHAMPION not in one.aliases and one.verdict == PASS]
    serving = sorted({one.name for one in versions if registry.CHAMPION in one.aliases})
    reason, by = Field("reason", "Why"), "The audit keeps who, when and why; services follow within a second."
    waits = sources.report(ASKED) is not None
    return [
        Form(
            "promote",
            "Promote",
            "Promote",
            [Field("model", "Version", "select", "", open_), reason],
            action="promote",
            typed="model",
            about=by,
            blocked="" if open_ else "No version that passed the gate waits; any other is promoted at the command line only.",
        ),
        Form(
            "rollback",
            "Roll back to the champion before",
            "Roll back",
            [Field("name", "Model", "select", "", serving), reason],
            action="rollback",
            typed="name",
            about=by,
            blocked="" if serving else "Nothing serves.",
        ),
        Form(
            "approve",
            "Approve what waits",
            "Approve",
            [Field("reason", "Why")],
            action="approve",
            about="A retraining that was told to wait for a person.",
            blocked="" if waits else "No retraining waits for a person.",
        ),
        Form(
            "reject",
            "Do not approve it",
            "Reject",
            action="reject",
            blocked="" if waits else "No retraining waits for a person.",
        ),
    ]


def _one(sources: Sources, versions: Sequence[registry.ModelVersion], wanted: str) -> Page:
    found = next((one for one in versions if f"{one.name}:{one.version}" == wanted), None)
    back = [Link("All models", "/models")]
    if found is None:
        return Page("Models", "There is no such version.", [], NONE, False, sources.now_us(), back)
    moves: list[list[Cell]] = [
        [Moment(row.at_us), row.action, row.alias, row.actor, row.reason]
        for row in registry.audit_rows(sources.read)[::-1]
        if row.name == found.name and found.version in (row.from_version, row.to_version)
    ]
    blocks: list[Block] = [
        Facts("lineage", "Made of", [("made", _made(found)), *_below(sources.home, _flat(found.lineage))]),
        Facts("metrics", "Measured", list(_flat(found.metrics))),
        Facts("verdict", "The gate", list(_flat(found.gate))),
        Table(
            "moves",
            "What became of it",
            [Column("when"), Column("did"), Column("alias"), Column("who"), Column("why")],
            moves,
            empty="No alias was ever on it.",
        ),
    ]
    lead = f"The gate: {found.verdict}; {', '.join(found.aliases) or 'no alias'}."
    return Page(f"{found.name}:{found.version}", lead, blocks, _KINDS.get(found.verdict, NONE), False, sources.now_us(), back)


def _flat(tree: Mapping[str, Any], path: str = "") -> Sequence[tuple[str, Cell]]:
    rows: list[tuple[str, Cell]] = []
    for name, value in tree.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{path}{name}.")
        elif isinstance(value, list):
            rows.append((f"{path}{name}", f"{len(value)} values" if len(value) > 8 else ", ".join(map(str, value))))
        elif name.endswith("_us") and isinstance(value, int) and value >= _FIRST_INSTANT_US:
            rows.append((f"{path}{name.removesuffix('_us')}", Moment(value)))
        else:
            rows.append((f"{path}{name}", value if isinstance(value, int | float | str) or value is None else str(value)))
    return rows[:200]


def _below(home: Path, rows: Sequence[tuple[str, Cell]]) -> Sequence[tuple[str, Cell]]:
    """Facts whose paths begin at the home."""
    return [(name, cell.removeprefix(f"{home}/") if isinstance(cell, str) else cell) for name, cell in rows]


def _promote(doing: Doing) -> str:
    model = doing.required("model")
    name, _, version = model.partition(":")
    found = [one for one in registry.versions(doing.home, name) if str(one.version) == version]
    if not found or found[0].verdict != PASS:
        raise ValueError("the gate did not pass this version; whoever means it all the same uses the command line")
    move = promotion.promote(doing.home, model, actor=doing.person.name, reason=doing.reason)
    return f"{move.name}:{move.to_version} serves; before, {move.from_version or 'nothing'} did."


def _rollback(doing: Doing) -> str:
    move = promotion.rollback(doing.home, doing.required("name"), actor=doing.person.name, reason=doing.reason)
    return f"{move.name}:{move.to_version} serves again; before, {move.from_version} did."


def _approve(doing: Doing) -> str:
    return told_by(doing, "approve", "--by", doing.person.name)


def _reject(doing: Doing) -> str:
    return told_by(doing, "approve", "--reject", "--by", doing.person.name)


_ROLES: Final = frozenset({ML, ADMIN})
ACTS: Final = {
    "promote": Act(_promote, _ROLES, "model", typed="model"),
    "rollback": Act(_rollback, _ROLES, "name", typed="name"),
    "approve": Act(_approve, _ROLES),
    "reject": Act(_reject, _ROLES),
}
