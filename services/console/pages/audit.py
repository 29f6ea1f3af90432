"""Audit: who did what in the console, who moved which model, and whether the chains hold."""

from typing import Final

from infra import registry
from services.console import access
from services.console.page import BAD, GOOD, Cell, Column, Moment, Page, State, Table
from services.console.sources import Ask, Sources

N_SHOWN: Final = 300


def view(sources: Sources, ask: Ask) -> Page:
    """The page."""
    rows, broken = access.audited(sources.read)
    moves = registry.audit_rows(sources.read)
    _, wrong = registry.audited(sources.read)
    acts: list[list[Cell]] = [
        [
            Moment(row["at_us"]),
            row["actor"],
            row["role"],
            row["action"],
            row["subject"] or None,
            row["reason"] or None,
            State(row["outcome"], GOOD if row["outcome"] == "done" else BAD),
        ]
        for row in rows[::-1][:N_SHOWN]
    ]
    moved: list[list[Cell]] = [
        [Moment(one.at_us), one.actor, one.action, one.name, one.alias, one.from_version, one.to_version, one.reason]
        for one in moves[::-1][:N_SHOWN]
    ]
    people: list[list[Cell]] = [
        [
            one["name"],
            one["role"],
            State("revoked", BAD) if one["revoked_at_us"] else State("may enter", GOOD),
            "yes" if one["has_password"] else "link only",
            Moment(one["last_session_at_us"]) if one["last_session_at_us"] else None,
        ]
        for one in access.listing(sources.read)
    ]
    holds = broken is None and wrong is None
    lead = (
        f"{len(rows)} acts and {len(moves)} moves of models; both chains hold."
        if holds
        else f"The chain is broken: {wrong or f'row {(broken or 0) + 1}'}."
    )
    tables = [
        Table(
            "acts",
            "In the console",
            [Column("when"), Column("who"), Column("as"), Column("did"), Column("to"), Column("why"), Column("outcome")],
            acts,
        ),
        Table(
            "moves",
            "Models",
            [
                Column("when"),
                Column("who"),
                Column("did"),
                Column("model"),
                Column("alias"),
                Column("from", True),
                Column("to", True),
                Column("why"),
            ],
            moved,
            empty="No model has moved.",
        ),
        Table(
            "people",
            "People",
            [Column("name"), Column("role"), Column("state"), Column("password"), Column("last came")],
            people,
            empty="Nobody may enter.",
            mend="attune operator add NAME",
        ),
    ]
    return Page("Audit", lead, tables, GOOD if holds else BAD, False, sources.now_us())
