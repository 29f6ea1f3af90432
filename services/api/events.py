"""``POST /v1/events``: a verdict for every event, and an acknowledgement only for what is on disk.

``POST /v1/visits`` is the same for pages: a browser asks no preflight, and can send it while the page ends.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import date
from typing import Any, Final

import msgspec

from models.events.json_text import with_whole_characters
from models.events.own_names import NONE, OwnNames
from models.schema import LATE_S, MAX_ID_LENGTH, MONEY
from services.api import wire
from services.api.collaborators import Collaborators
from services.api.event_verdicts import EventBatch, EventsAnswer, judge, with_ids, without_ids
from services.http.calls import Call, Reply
from services.http.endpoints import Endpoint, Endpoints, Schemas
from services.http.idempotency import REPLAYED, Writes
from services.http.openapi_schemas import INSTANT, optional, ref
from services.http.problems import Refusal, of_decoding

MAX_EVENTS: Final = 500
LARGE_BODY: Final = 64 * 1024  # bytes; judging more blocks for over five milliseconds
BODY_LIMIT: Final = 1024 * 1024
MAX_VISIT: Final = 100  # events of a page's batch; the beacon sends 20, browsers 64 KiB while a page ends
VISIT_LIMIT: Final = 256 * 1024


class EventsHandler:
    """Handler of events: judges them and hands the good ones to the log.

    Parameters
    ----------
    key
        The pseudonym key of a partner.
    counted
        Is told how many events got each verdict.
    most
        Events that a batch may hold.
    own_names
        What a partner calls event types.
    """

    def __init__(
        self,
        writes: Writes,
        key: Callable[[str], bytes],
        counted: Callable[[str, int], None] = lambda status, n: None,
        most: int = MAX_EVENTS,
        own_names: Callable[[str], OwnNames] = lambda partner: NONE,
    ) -> None:
        self._most = most
        self._own_names = own_names
        self._writes = writes
        self._counted = counted
        self._key = key
        self._decoder = msgspec.json.Decoder(EventBatch)

    async def receive(self, call: Call) -> Reply:
        """Judge a batch and wait until its events are durable, the rejected ones in quarantine.

        Raises
        ------
        Refusal
            400 or 422 for a body that is no batch, 503 when the log cannot be written; then nothing was kept.
        """
        try:
            batch = self._decoder.decode(call.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            batch = await self._mended(call.body, error)
        if len(batch.events) > self._most:
            raise Refusal(422, f"a batch may hold {self._most} events at most", "/events")
        large = len(call.body) > LARGE_BODY
        asked = batch, call, self._key(call.partner), self._own_names(call.partner)
        judged = await asyncio.to_thread(judge, *asked) if large else judge(*asked)
        reply = await self._writes.write(call, judged.store, 202, keep=without_ids)
        if reply.headers == REPLAYED:
            return reply._replace(body=with_ids(reply.body, judged.results))
        for status, n in Counter(result.status for result in judged.results).items():
            self._counted(status, n)
        return reply

    async def _mended(self, body: bytes, error: Exception) -> EventBatch:
        """Read a batch once more, without the halves of characters that one event's text may hold."""
        if isinstance(error, msgspec.DecodeError) and not isinstance(error, msgspec.ValidationError):
            try:
                return self._decoder.decode(await asyncio.to_thread(with_whole_characters, body))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                pass  # the first error names the fault in the body that was sent
        raise of_decoding(error) from None


def schemas(today: date) -> Schemas:
    """Schemas of a batch and its events, which are decoded one by one, so that each gets a verdict of its own."""
    session = wire.session_schemas(today)
    event = _event_schema(session["SessionEvent"])
    judged = "What is no Event is rejected by itself and told in `results`; other tools' names and your own are read too."
    # Said by type: "or anything" would leave a generated client without the type of an event.
    others = [
        {"type": "object", "description": judged},
        {"type": "array", "items": {}},
        {"type": ["boolean", "null", "number", "string"]},
    ]
    batch: dict[str, Any] = {
        "type": "object",
        "description": "What the visitors of a shop did, in any order.",
        "required": ["events"],
        "properties": {
            "events": {"type": "array", "maxItems": MAX_EVENTS, "items": {"anyOf": [ref("Event"), *others]}},
            "sent_at": optional({"type": "string", "pattern": INSTANT})
            | {"description": "The sender's clock when it sent the batch; where it differs from ours, every ts is corrected."},
        },
    }
    key = {"type": "string", "description": "A browser key."}
    visits = batch | {
        "description": "What a page saw its visitor do, in any order. Of what has `event_id` alone the verdict says whether "
        "it has arrived (`duplicate`) or not (`unknown`): a page that has ended heard no verdict, the next one asks.",
        "required": ["key", "events"],
        "properties": {"key": key} | batch["properties"] | {"events": batch["properties"]["events"] | {"maxItems": MAX_VISIT}},
    }
    return session | {"Event": event, "EventBatch": batch, "VisitBatch": visits}


def _event_schema(session_event: dict[str, Any]) -> dict[str, Any]:
    """Schema of a logged event: one of a session, with the ids that place it."""
    text = {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH}
    placed = {
        "event_id": text,
        "user_id": text,
        "session_id": optional(text),
        "context": optional(ref("Context")),
        "decision_id": optional(text),
        "order_id": optional(text) | {"description": "An item of an order is bought once, however often it is told."},
        "quantity": optional({"type": "number", "exclusiveMinimum": 0, "maximum": MONEY["quantity"][1]}),
        "currency": optional({"type": "string", "pattern": "^[A-Za-z]{3}$"}),
        "revenue": optional({"type": "number", "minimum": 0, "maximum": MONEY["revenue"][1]})
        | {"description": "Of all pieces of the item; price times quantity, if not given."},
        "ts": {"type": "string", "description": f"As in a session; at most {LATE_S // 86_400} days old."},
    }
    return session_event | {
        "description": "One thing a visitor did, with the ids that place it.",
        "title": "Event",
        "required": ["event_id", "user_id", *session_event["required"]],
        "properties": session_event["properties"] | placed,
    }


def endpoints(shared: Collaborators) -> Endpoints:
    """Endpoint of the events."""
    ids = {"event_id": "e-1", "user_id": "u-1", "session_id": "s-81"}
    told = shared.writes, shared.key, shared.observer.judged
    handler, of_pages = (EventsHandler(*told, most, shared.event_names.of) for most in (MAX_EVENTS, MAX_VISIT))
    event = {**ids, "type": "item_view", "item_id": "sku-9", "ts": "2025-11-21T10:00:07Z"}
    return {
        ("POST", "/v1/events"): Endpoint(
            handler.receive, "events:write", "events",
            "Transmit what visitors did; 202 means durable", request="EventBatch", answer=EventsAnswer,
            example={"events": [event]}, status=202, limit=BODY_LIMIT, headers=(wire.SEC_GPC,), schemas=schemas,
        ),
        ("POST", "/v1/visits"): Endpoint(
            of_pages.receive, "events:write", "visits", "Transmit what a page saw, without a preflight",
            request="VisitBatch", answer=EventsAnswer, example={"key": "pk_example", "events": [event]}, status=202,
            limit=VISIT_LIMIT, headers=(wire.SEC_GPC,), schemas=schemas, from_pages=True,
        ),
    }  # fmt: skip
