"""Partners: shops with their keys, as far as they may be shown."""

from typing import Final

import msgspec

from infra.store.statements.console import BEFORE_NEWEST, HEARD
from infra.store.statements.partners import LIST_KEYS, LISTED_COLUMNS
from services.console.access import ADMIN
from services.console.acts import Act, Doing
from services.console.page import BAD, FAIR, GOOD, NONE, Cell, Column, Field, Form, Moment, Page, State, Table
from services.console.sources import Ask, Sources
from services.http import partners

_COLUMNS: Final = (
    Column("shop"),
    Column("key"),
    Column("state"),
    Column("kind"),
    Column("last event", about="of the shop"),
    Column("may"),
    Column("from pages"),
    Column("a minute", True),
    Column("made"),
    Column("ends"),
)
N_EVENTS: Final = 50_000


def view(sources: Sources, ask: Ask) -> Page:
    """The page."""
    rows = [dict(zip(LISTED_COLUMNS, row, strict=True)) for row in sources.read(LIST_KEYS)]
    heard: dict[str, int] = dict(sources.read(HEARD, sources.read(BEFORE_NEWEST, (N_EVENTS,))[0]))
    cells: list[list[Cell]] = []
    for row in rows:
        state = (
            State("revoked", BAD)
            if row["revoked_at_us"]
            else State("ends", FAIR)
            if row["expires_at_us"]
            else State("valid", GOOD)
        )
        cells.append(
            [
                row["partner"],
                f"{row['hint']}…" if row["hint"] else None,
                state if row["hint"] else State("no key", NONE),
                {"sk": "server", "pk": "browser"}.get(row["kind"] or ""),
                Moment(heard[row["partner"]]) if row["partner"] in heard else None,
                row["scopes"],
                ", ".join(msgspec.json.decode(row["origins"] or "[]")) or None,
                row["requests_per_minute"],
                Moment(row["created_at_us"]) if row["created_at_us"] else None,
                Moment(row["expires_at_us"]) if row["expires_at_us"] else None,
            ]
        )
    names = sorted({str(row["partner"]) for row in rows})
    valid = sum(bool(row["hint"]) and not row["revoked_at_us"] for row in rows)
    table = Table(
        "keys",
        "Keys",
        _COLUMNS,
        cells,
        "Of a key only its first characters are known.",
        "There is no shop yet.",
        "attune partner add NAME",
    )
    name, reason = Field("name", "Shop", "select", "", names), Field("reason", "Why")
    acts = [
        Form(
            "add",
            "New key",
            "Make the key",
            [
                Field("name", "Shop (new or known)"),
                Field("kind", "For", "select", "server", ["server", "browser"]),
                Field("origin", "Page it may stand in (browser keys)", about="such as https://shop.example"),
                Field("recommend", "may also ask for items (browser keys)", "check"),
                reason,
            ],
            action="add",
            about="The key is shown once, on the next page.",
        ),
        Form(
            "rotate",
            "Change server keys",
            "Rotate",
            [name, reason],
            action="rotate",
            about="A new key is shown once; the old ones go on for a day.",
            blocked="" if names else "There is no shop yet.",
        ),
        Form(
            "revoke",
            "Refuse all keys of a shop",
            "Revoke",
            [name, reason],
            action="revoke",
            typed="name",
            about="At once, and for good.",
            blocked="" if names else "There is no shop yet.",
        ),
    ]
    return Page(
        "Partners", f"{len(names)} shops with {valid} keys that are good.", [table, *acts], NONE, False, sources.now_us()
    )


def _add(doing: Doing) -> str:
    name, is_browser, origin = (
        doing.required("name"),
        doing.fields.get("kind") == "browser",
        doing.fields.get("origin", "").strip(),
    )
    if is_browser and not origin:
        raise ValueError("a browser key needs the page it may stand in")
    scopes = (partners.BROWSER_SCOPES[0], partners.PAGE) if is_browser and doing.fields.get("recommend") else ()
    kind = "pk" if is_browser else "sk"
    key = partners.add(doing.home, name, doing.now_us, kind, scopes=scopes, origins=[origin] if is_browser else [])
    return f"Key of {name}, shown this once: {key}"


def _rotate(doing: Doing) -> str:
    name = doing.required("name")
    return f"New key of {name}, shown this once: {partners.rotate(doing.home, name, doing.now_us)}"


def _revoke(doing: Doing) -> str:
    name = doing.required("name")
    return f"{partners.revoke(doing.home, name, doing.now_us)} keys of {name} are refused from now on."


_ONLY: Final = frozenset({ADMIN})
ACTS: Final = {
    "add": Act(_add, _ONLY, "name"),
    "rotate": Act(_rotate, _ONLY, "name"),
    "revoke": Act(_revoke, _ONLY, "name", typed="name"),
}
