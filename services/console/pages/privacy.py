"""Privacy: receipts of erasures, how far they have come, and erasing a user."""

import json
from typing import Final

from infra.settings import Settings
from infra.store.statements.console import RECEIPTS
from infra.store.statements.partners import LIST_KEYS
from services.console.access import ADMIN
from services.console.acts import Act, Doing
from services.console.page import FAIR, GOOD, Cell, Column, Field, Form, Moment, Page, State, Table
from services.console.sources import Ask, Sources
from services.privacy import erasure

N_SHOWN: Final = 200


def view(sources: Sources, ask: Ask) -> Page:
    """The page."""
    rows = sources.read(RECEIPTS, (N_SHOWN,))
    cells: list[list[Cell]] = [
        [
            receipt,
            partner,
            Moment(erased),
            State("complete", GOOD) if done else State("under way", FAIR),
            Moment(done) if done else None,
            ", ".join(f"{n} {table.replace('_', ' ')}" for table, n in sorted(json.loads(removed).items()))
            or "nothing was kept",
        ]
        for receipt, partner, erased, done, removed in rows
    ]
    waiting = sum(row[3] is None for row in rows)
    columns = [Column("receipt"), Column("shop"), Column("erased"), Column("state"), Column("completed"), Column("removed")]
    table = Table("receipts", "Receipts", columns, cells, "A receipt names nobody.", "Nobody has been erased.")
    shops = sorted({str(row[0]) for row in sources.read(LIST_KEYS)})
    form = Form(
        "erase",
        "Erase a user",
        "Erase for good",
        [Field("shop", "Shop", "select", "", shops), Field("user", "What the shop calls the user"), Field("reason", "Why")],
        action="erase",
        typed="user",
        about="Log, features, queues and decisions, at once; the id goes into no log and no audit.",
        blocked="" if shops else "There is no shop yet.",
    )
    lead = f"{len(rows)} erasures, {waiting} of them still under way." if rows else "Nobody has been erased."
    return Page("Privacy", lead, [table, form], FAIR if waiting else GOOD, False, sources.now_us())


def _erase(doing: Doing) -> str:
    settings = Settings(home=doing.home)
    shop, user = doing.required("shop"), doing.required("user")
    erasure.require(settings.home, shop, user)
    receipt = erasure.erase(settings.home, shop, user, doing.now_us, erasure.online_of(settings))
    return f"Receipt {receipt.receipt_id}: {sum(receipt.removed.values())} rows are gone."


ACTS: Final = {"erase": Act(_erase, frozenset({ADMIN}), "shop", typed="user")}
