"""``GET /v1/signals``: signals by cursor, in the order they were made, for those who cannot receive webhooks.

The cursor is the number of a signal in the outbox. Numbers count up over all partners and are committed in their order, so a
reader that hands back `next_cursor` misses none and gets none twice.
"""

from datetime import date
from typing import Final

import msgspec

from infra.store.statements.signals import READ_SIGNALS
from services.api import messages
from services.api.collaborators import Collaborators
from services.http.calls import Call
from services.http.endpoints import Endpoint, Endpoints, Parameter, Schemas, number
from services.http.openapi_schemas import components, ref
from services.http.problems import Refusal
from services.http.reader import Reader
from services.signals.body import OutboxSignal, SignalBody, signal_body

PAGE: Final = 100
MAX_PAGE: Final = 500
MAX_DIGITS: Final = 18
AFTER: Final = Parameter(
    "after", {"type": "string", "pattern": f"^[0-9]{{1,{MAX_DIGITS}}}$"}, "Where to go on: `next_cursor` of an earlier answer."
)


class SignalPage(msgspec.Struct):
    """Signals behind the cursor, oldest first; with `next_cursor` as `after` comes what follows, now or later."""

    signals: list[SignalBody]
    next_cursor: str
    has_more: bool


class SignalsHandler:
    """Handler of pages of signals."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def page(self, call: Call) -> SignalPage:
        """``GET /v1/signals?after=CURSOR&limit=``."""
        after = cursor(call.query.get("after", "0"))
        limit = call.query.get("limit", str(PAGE))
        if not is_number(limit) or not 1 <= int(limit) <= MAX_PAGE:
            raise Refusal(422, f"limit must be a number from 1 to {MAX_PAGE}")
        found = [OutboxSignal(*row) for row in self._reader.rows(READ_SIGNALS, (call.partner, after, int(limit) + 1))]
        page = found[: int(limit)]
        return SignalPage([signal_body(row) for row in page], str(page[-1].seq if page else after), len(found) > len(page))


def cursor(text: str) -> int:
    """Read a cursor.

    Raises
    ------
    Refusal
        422.

    Examples
    --------
    >>> cursor("12")
    12
    """
    if not is_number(text):
        raise Refusal(422, "the cursor must be the next_cursor of an earlier answer, or the id of a streamed signal")
    return int(text)


def is_number(text: str) -> bool:
    """Whether a text is a decimal number that a store can hold.

    Examples
    --------
    >>> is_number("0"), is_number("-1"), is_number("１"), is_number("9" * 19)
    (True, False, False, False)
    """
    return text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS


def schemas(today: date) -> Schemas:
    """Schemas of the messages, and of a page of them."""
    page = components(SignalPage)["SignalPage"]
    listed = page["properties"] | {"signals": {"type": "array", "items": ref(messages.MESSAGE)}}
    return messages.schemas() | {"SignalPage": page | {"properties": listed}}


def endpoints(shared: Collaborators) -> Endpoints:
    """Endpoint of the signals."""
    return {
        ("GET", "/v1/signals"): Endpoint(
            SignalsHandler(shared.reader).page, "signals:manage", "signals",
            "Signals in the order they were made, for those who cannot receive webhooks",
            answer=SignalPage, query=(AFTER, number("limit", PAGE, MAX_PAGE, "How many.")), schemas=schemas,
        )
    }  # fmt: skip
