"""Tables of what a partner may recommend and offer.

`change` counts up per partner, so that a reader fetches only what is new.
"""

from typing import Final

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

SCHEMA: Final = (
    """
    CREATE TABLE IF NOT EXISTS catalog_items (
        partner TEXT NOT NULL,
        item_id TEXT NOT NULL,
        kind TEXT NOT NULL, -- item or content
        category TEXT,
        price REAL,
        stock INTEGER, -- pieces; 0 is out of stock, NULL is not counted
        title TEXT,
        url TEXT,
        updated_at_us INTEGER NOT NULL,
        change INTEGER NOT NULL,
        PRIMARY KEY (partner, item_id)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX IF NOT EXISTS catalog_items_by_change ON catalog_items (partner, change)",
    """
    CREATE TABLE IF NOT EXISTS offers (
        partner TEXT NOT NULL,
        offer_id TEXT NOT NULL,
        title TEXT,
        percent REAL, -- off the price, 0 to 100; either this or amount
        amount REAL, -- off the price, in currency
        currency TEXT, -- ISO 4217
        code TEXT, -- what the shopper types
        budget REAL, -- most that may be given away in all, in currency; NULL is no limit
        min_price REAL,
        categories TEXT NOT NULL, -- JSON array; empty is any
        item_ids TEXT NOT NULL, -- JSON array; empty is any
        valid_from_us INTEGER,
        valid_until_us INTEGER,
        active INTEGER NOT NULL,
        updated_at_us INTEGER NOT NULL,
        change INTEGER NOT NULL,
        PRIMARY KEY (partner, offer_id)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS catalog_changes (
        partner TEXT PRIMARY KEY,
        change INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
)

# The next change of a partner: (partner).
NEXT_CHANGE: Final = (
    "INSERT INTO catalog_changes (partner, change) VALUES (?, 1) "
    "ON CONFLICT (partner) DO UPDATE SET change = change + 1 RETURNING change"
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
# What changed behind a change: (partner, change).
ITEMS_SINCE: Final = f"SELECT {', '.join(ITEM_FIELDS)} FROM catalog_items WHERE partner = ? AND change > ?"
OFFERS_SINCE: Final = f"SELECT {', '.join(OFFER_FIELDS)} FROM offers WHERE partner = ? AND change > ?"
