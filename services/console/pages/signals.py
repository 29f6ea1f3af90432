"""Signals: what was sent and what came of it, beside those who were held out; and the policy that decides."""

from typing import Final

from infra.store.statements.console import FUNNEL, HELD_OUT, SPENT
from infra.store.statements.signals import SIGNAL_PARTNERS
from models.experiments.uplift import UpliftParams
from models.schema import DAY_US
from services.console.page import NONE, Block, Cell, Column, Page, Table
from services.console.pages import policies
from services.console.sources import Ask, Sources, spoken
from services.signals import uplift

DAYS: Final = 28


def view(sources: Sources, ask: Ask) -> Page:
    """The page."""
    now_us = sources.now_us()
    since_us = now_us - DAYS * DAY_US
    rows = sources.read(FUNNEL, (since_us,))
    held = {(partner, kind): n for partner, kind, n in sources.read(HELD_OUT, (since_us,))}
    kinds = sorted({(row[0], row[1]) for row in rows} | set(held))
    told = {(row[0], row[1]): row[2:] for row in rows}
    cells: list[list[Cell]] = []
    for key in kinds:
        sent, users, delivered, failed = told.get(key, (0, 0, 0, 0))
        cells.append(
            [
                key[0],
                spoken(key[1]),
                sent + held.get(key, 0),
                held.get(key, 0) or None,
                sent,
                delivered or None,
                failed or None,
                users,
            ]
        )
    sent = sum(row[2] for row in rows)
    columns = [
        Column("shop"),
        Column("signal"),
        Column("called for", True),
        Column("held out", True),
        Column("sent", True),
        Column("delivered by webhook", True),
        Column("given up", True),
        Column("visitors", True),
    ]
    funnel = Table(
        "funnel",
        f"From called for to delivered, {DAYS} days",
        columns,
        cells,
        "Held out: visitors who never get a signal, so that its worth can be told.",
        "No signal has been called for yet.",
        "attune worker",
    )
    lead = (
        f"{sent:,} signals were sent in {DAYS} days, {sum(held.values()):,} were held out."
        if kinds
        else "No signal has been called for yet."
    )
    blocks: list[Block] = [funnel, _worth(sources), _spent(sources), *policies.blocks(sources, ask.query.get("shop"))]
    return Page("Signals", lead, blocks, NONE, False, now_us)


def _worth(sources: Sources) -> Table:
    cells: list[list[Cell]] = []
    for (partner,) in sources.read(SIGNAL_PARTNERS):
        told = uplift.of_partner(sources.read, partner, 0, UpliftParams())
        cells.append([partner, uplift.text(told).splitlines()[0].removeprefix(f"{partner}: ")])
    return Table(
        "worth",
        "Are they worth it?",
        [Column("shop"), Column("sent against held out")],
        cells,
        "As attune signals uplift has it.",
        "Nothing to compare yet.",
    )


def _spent(sources: Sources) -> Table:
    cells: list[list[Cell]] = [
        [partner, offer, round(cents / 100, 2), n] for partner, offer, cents, n, _ in sources.read(SPENT)
    ]
    columns = [Column("shop"), Column("offer"), Column("promised", True), Column("signals", True)]
    return Table("spent", "Discounts promised", columns, cells, empty="No discount has been promised.")
