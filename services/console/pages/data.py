"""Data: what came in, what was refused or held back, and why."""

from typing import Final

from infra.store.statements.console import ACCEPTED, BEFORE_NEWEST, BY_TYPE, INGESTED
from infra.store.statements.events import N_EVENTS as EVENTS_SO_FAR
from infra.store.statements.quarantine import COUNT_WAITING, WAITING_SUMS
from services.console.access import ADMIN, OPERATOR
from services.console.acts import Act, Doing
from services.console.commands import told_by
from services.console.page import FAIR, GOOD, NONE, Cell, Column, Form, Link, Moment, Page, Share, State, Table
from services.console.sources import Ask, Sources, spoken

N_EVENTS: Final = 50_000


def view(sources: Sources, ask: Ask) -> Page:
    """The page."""
    ((n_events,),), ((before,),) = sources.read(EVENTS_SO_FAR), sources.read(BEFORE_NEWEST, (N_EVENTS,))
    ((waiting,),) = sources.read(COUNT_WAITING)
    accepted = sources.read(ACCEPTED, (before,))
    cells: list[list[Cell]] = [
        [partner, "page" if browser else "server or file", n, users, Share((believed or 0) / n), Moment(first), Moment(last)]
        for partner, browser, n, users, believed, first, last in accepted
    ]
    total = sum(row[2] for row in accepted)
    columns = [
        Column("shop"),
        Column("told by"),
        Column("events", True),
        Column("visitors", True),
        Column("count for others", True),
        Column("first"),
        Column("newest"),
    ]
    tables = [
        Table(
            "accepted",
            f"Accepted, of the newest {N_EVENTS:,}",
            columns,
            cells,
            empty="The log is empty.",
            mend="attune ingest FILE --format F",
        ),
        _quarantine(sources),
        _types(sources, before),
        _files(sources),
    ]
    replay = Form(
        "replay",
        "Send what waits through the door again",
        "Replay",
        action="replay",
        about="After a fix: what still fails stays here. As attune quarantine replay.",
        blocked="" if waiting else "Nothing waits.",
    )
    lead = f"Newest event: number {n_events:,}; {waiting:,} rows wait in quarantine." if n_events else "The log is empty."
    validation = Link("Validation", "/reports/file/validation.html")
    return Page(
        "Data", lead, [*tables, replay], FAIR if waiting else GOOD if total else NONE, False, sources.now_us(), [validation]
    )


def _quarantine(sources: Sources) -> Table:
    cells: list[list[Cell]] = [
        [reason[:200], "validation" if source == "validation" else source, n, users or None, State("waits", FAIR)]
        for source, reason, n, users, _ in sources.read(WAITING_SUMS)
    ]
    columns = [Column("reason"), Column("from"), Column("rows", True), Column("visitors", True), Column("state")]
    return Table("quarantine", "Quarantine, by reason", columns, cells, empty="Nothing waits.", mend="")


def _types(sources: Sources, before: int) -> Table:
    found = sources.read(BY_TYPE, (before,))
    total = sum(n for _, n in found) or 1
    return Table(
        "types",
        "By event type",
        [Column("event"), Column("share", True), Column("events", True)],
        [[spoken(name), Share(n / total), n] for name, n in found],
        empty="The log is empty.",
    )


def _files(sources: Sources) -> Table:
    cells: list[list[Cell]] = [[source, partner, n] for partner, source, _, _, n in sources.read(INGESTED)]
    return Table(
        "files", "Files", [Column("file"), Column("shop"), Column("events", True)], cells, empty="No file has been read in."
    )


def _replay(doing: Doing) -> str:
    return told_by(doing, "quarantine", "replay")


ACTS: Final = {"replay": Act(_replay, frozenset({OPERATOR, ADMIN}))}
