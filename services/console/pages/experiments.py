"""Experiments: the verdict in a sentence, how sure it is, whether the split can be trusted, and what it costs."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from infra import experiments
from infra.store.statements.experiment_runs import RUNS
from models.experiments.runs import RUNNING, Run
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
    Plot,
    Series,
    Share,
    Span,
    State,
    Table,
)
from services.console.sources import Ask, Sources, spoken

PREFIX: Final = "experiment_"


def view(sources: Sources, ask: Ask) -> Page:
    """The page."""
    names = sorted(path.stem.removeprefix(PREFIX) for path in (sources.home / "reports").glob(f"{PREFIX}*.json"))
    run = experiments.runs(sources.read)[0]
    asked = ask.query.get("name", run.experiment.name)
    name = asked if asked in names else run.experiment.name
    told: Mapping[str, Any] | None = sources.report(f"{PREFIX}{name}.json")
    read = Form(
        "read",
        "Read it out now",
        "Read out",
        action="read",
        about="As attune experiment report; every morning if you like: the intervals hold at any time.",
    )
    life = _life(sources, run, names)
    if told is None:
        empty = Table(
            "visitors",
            "Visitors",
            [Column("variant")],
            [],
            empty="It has not been read out yet.",
            mend="attune experiment report",
        )
        return Page(
            "Experiments", f"{run.name} has not been read out yet.", [empty, read, *life], NONE, False, sources.now_us()
        )
    at_us = sources.reported_at_us(f"{PREFIX}{name}.json")
    facts = Facts(
        "about",
        spoken(name),
        [
            ("read out", Moment(at_us) if at_us else None),
            ("first exposure", told["since"]),
            ("control", told["control"]),
            ("outcomes within, days", told["window_days"]),
            ("visitors still counted", told["n_maturing"]),
        ],
    )
    blocks: list[Block] = [_split(told), *_measures(told), *_path(told), _power(told), facts, read, *life]
    ratio = told["sample_ratio"]
    worse = any(isinstance(cell, State) and cell.kind == FAIR for row in _measures(told)[1].rows for cell in row)
    won = any(isinstance(cell, State) and cell.kind == GOOD for row in _measures(told)[0].rows for cell in row)
    state = BAD if ratio and not ratio["passed"] else FAIR if worse else GOOD if won else NONE
    return Page("Experiments", told["sentence"], blocks, state, False, sources.now_us())


def _life(sources: Sources, run: Run, names: Sequence[str]) -> list[Block]:
    rows: list[list[Cell]] = [
        [
            Link(str(number), f"/experiments?name={Run(number, share).experiment.name}"),
            State(state, GOOD if state == RUNNING else NONE),
            Share(share),
            winner,
            Moment(began),
            Moment(changed),
            actor,
            reason,
        ]
        for number, share, state, winner, began, changed, actor, reason in sources.read(RUNS)
    ]
    columns = [
        *(Column("run"), Column("state"), Column("dealt dynamic", True), Column("shipped"), Column("began"), Column("changed")),
        *(Column("by"), Column("why")),
    ]
    table = Table("runs", "Runs", columns, rows, empty="The first run goes on since the beginning, half and half.")
    reason, is_running = Field("reason", "Why"), run.state == RUNNING
    variants = list(run.experiment.variants)
    return [
        table,
        Form(
            "start",
            "Begin a new run",
            "Start",
            [Field("share", "Share of the visitors that are dealt dynamic, 0.01 to 0.99", "number", f"{run.share:g}"), reason],
            action="start",
            about="Visitors are dealt anew; the run of before ends, and keeps its readout.",
        ),
        Form(
            "stop",
            "Stop it",
            "Stop",
            [Field("run", "", "hidden", run.experiment.name), reason],
            action="stop",
            about="Every visitor gets static weighting.",
            blocked="" if is_running else f"It is {run.state}.",
        ),
        Form(
            "ship",
            "Ship what won",
            "Ship",
            [Field("winner", "Variant", "select", variants[0], variants), reason],
            action="ship",
            typed="winner",
            about="Every visitor gets it from now on; what is answered so counts as no exposure.",
        ),
    ]


def _split(told: Mapping[str, Any]) -> Table:
    total = sum(told["visitors"].values()) or 1
    ratio = told["sample_ratio"]
    passed = (
        State("as dealt", GOOD)
        if ratio and ratio["passed"]
        else State("NOT as dealt", BAD)
        if ratio
        else State("no data", NONE)
    )
    rows: list[list[Cell]] = [[name, n, Share(n / total), passed] for name, n in told["visitors"].items()]
    about = (
        f"Whether visitors were dealt as they should be: p {ratio['p_value']:.3g} at any time."
        if ratio and ratio["observed"]
        else ""
    )
    return Table(
        "visitors",
        "Visitors, and the split",
        [Column("variant"), Column("visitors", True), Column("share", True), Column("sample ratio")],
        rows,
        about,
    )


def _measures(told: Mapping[str, Any]) -> list[Table]:
    found: list[Table] = []
    for key, title in (("metrics", "Outcomes"), ("guardrails", "Guardrails")):
        rows: list[list[Cell]] = []
        for name, one in (told[key] or {}).items():
            if one is None:
                rows.append([spoken(name), None, None, None, None, State("no data", NONE)])
                continue
            means = ", ".join(f"{variant} {each['mean']:.4g}" for variant, each in one["variants"].items())
            for variant, against in one["comparisons"].items():
                difference, relative = against["difference"], against["relative"] or {}
                bounds = difference["low"], difference["high"]
                span = Span(bounds[0], difference["estimate"], bounds[1], 0.0) if None not in bounds else None
                clear = None not in bounds and (bounds[0] > 0 or bounds[1] < 0)
                light = (
                    State("open", NONE)
                    if not clear
                    else State("higher" if bounds[0] > 0 else "lower", FAIR if key == "guardrails" else GOOD)
                )
                lift = relative.get("estimate")
                rows.append([spoken(name), variant, means, span, f"{lift:+.1%}" if lift is not None else None, light])
        columns = [
            Column("measure"),
            Column("variant"),
            Column("means"),
            Column("minus control, at any time"),
            Column("lift", True),
            Column("clear?"),
        ]
        found.append(
            Table(
                key,
                title,
                columns,
                rows,
                "Intervals that may be looked at every morning; the mark is no difference.",
                "Too few visitors yet.",
            )
        )
    return found


def _path(told: Mapping[str, Any]) -> list[Block]:
    found: list[Block] = []
    for name, points in (told["path"] or {}).items():
        kept = [one for one in points if one["low"] is not None]
        if kept:
            series = [Series(part, [one[part] for one in kept]) for part in ("low", "estimate", "high")]
            x = [float(one["n_visitors"]) for one in kept]
            about = "The band is so wide at first that it is drawn only from where it says something."
            found.append(
                Plot(
                    f"path_{name}",
                    f"Conversion of {name} minus control",
                    x,
                    series,
                    "visitors",
                    "difference",
                    limit=0.0,
                    about=about,
                )
            )
    return found


def _power(told: Mapping[str, Any]) -> Table:
    rows: list[list[Cell]] = []
    for name, one in (told["power"] or {}).items():
        missing, days = one["visitors_missing"], one["days_missing"]
        rows.append(
            [
                name,
                f"{one['target_lift']:.0%}",
                Share(one["power_now"]),
                round(missing) if missing else None,
                round(days, 1) if days else None,
            ]
        )
    columns = [
        Column("variant"),
        Column("a lift of", True),
        Column("would have been found", True),
        Column("visitors missing", True),
        Column("days left", True),
    ]
    return Table("power", "How long to wait", columns, rows, empty="Too few visitors yet.")


def _read(doing: Doing) -> str:
    told_by(doing, "experiment", "report", "--json")
    return "Read out."


def _start(doing: Doing) -> str:
    try:
        share = float(doing.required("share"))
    except ValueError:
        raise ValueError("the share must be a number from 0.01 to 0.99") from None
    if not 0.01 <= share <= 0.99:
        raise ValueError("the share must be from 0.01 to 0.99")
    run = experiments.start(doing.home, share, actor=doing.person.name, reason=doing.reason)
    return f"{run.name} runs: {100 * share:.0f} % of the visitors are dealt dynamic."


def _stop(doing: Doing) -> str:
    return f"{experiments.stop(doing.home, actor=doing.person.name, reason=doing.reason).name}: every visitor gets static."


def _ship(doing: Doing) -> str:
    winner = doing.required("winner")
    run = experiments.ship(doing.home, winner, actor=doing.person.name, reason=doing.reason)
    return f"{run.name}: every visitor gets {winner}."


_ROLES: Final = frozenset({ML, ADMIN})
ACTS: Final = {
    "read": Act(_read, _ROLES),
    "start": Act(_start, _ROLES, "share"),
    "stop": Act(_stop, _ROLES, "run"),
    "ship": Act(_ship, _ROLES, "winner", typed="winner"),
}
