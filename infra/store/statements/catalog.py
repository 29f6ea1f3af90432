"""Statements of what a partner may recommend and offer.

`change` counts up per partner, so that a reader fetches only what is new.
"""

from typing import Final

from infra.store.statements.dialect import one_of

ITEM_FIELDS: Final = ("item_id", "kind", "category", "price", "stock", "title", "url")
OFFER_FIELDS: Final = (
    "offer_id",
    "title",
    "percent",
    "amount",
    "currency",
    "code",
    "budget",
    "min_price",
    "categories",
    "item_ids",
    "valid_from_us",
    "valid_until_us",
    "active",
)

# The next change of a partner: (partner).
NEXT_CHANGE: Final = (
    "INSERT INTO catalog_changes (partner, change) VALUES (?, 1) "
    "ON CONFLICT (partner) DO UPDATE SET change = catalog_changes.change + 1 RETURNING change"
)
CHANGES: Final = "SELECT partner, change FROM catalog_changes"


def _upsert(table: str, fields: tuple[str, ...]) -> str:
    columns = ("partner", *fields, "updated_at_us", "change")
    updated = ", ".join(f"{name} = excluded.{name}" for name in columns[2:])
    marks = ", ".join("?" * len(columns))
    insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
    return f"{insert} ON CONFLICT (partner, {fields[0]}) DO UPDATE SET {updated}"


PUT_ITEM: Final = _upsert("catalog_items", ITEM_FIELDS)
PUT_OFFER: Final = _upsert("offers", OFFER_FIELDS)
# Currencies of a partner's offers that hold, but for some: (partner, offers).
CURRENCIES: Final = (
    "SELECT DISTINCT currency FROM offers WHERE partner = ? AND active = 1 AND currency IS NOT NULL "
    f"AND NOT (offer_id {one_of()})"
)
# What changed behind a change: (partner, change).
ITEMS_SINCE: Final = f"SELECT {', '.join(ITEM_FIELDS)} FROM catalog_items WHERE partner = ? AND change > ?"
OFFERS_SINCE: Final = f"SELECT {', '.join(OFFER_FIELDS)} FROM offers WHERE partner = ? AND change > ?"
