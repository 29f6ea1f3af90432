"""``POST /v1/events``: a verdict for every event, and an acknowledgement only for what is on disk.

When things happened: `ts` is the sender's clock. Where the batch says when it was sent (`sent_at`, by the same clock) and that
differs from ours by more than `SAME_CLOCK_S`, every `ts` is moved by the difference, and only then held against our clock.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from hashlib import blake2b
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta

from infra.store.protocol import Transaction
from infra.store.statements.quarantine import QUARANTINE_ROW, REJECTED_SOURCE
from models.events import consent
from models.events.foreign import own_events
from models.events.identity import pseudonym
from models.events.json_text import with_whole_characters
from models.events.rejected import kept_form, lateness_problem, reason_of
from models.events.rules import Problem, event_problem, parse_instant_us, to_row
from models.schema import EVENT_COLUMNS, LATE_S, MAX_ID_LENGTH, SAME_CLOCK_S
from services.api import wire
from services.api.collaborators import Collaborators
from services.http.calls import Call, Reply
from services.http.endpoints import Endpoint, Endpoints, Schemas
from services.http.idempotency import REPLAYED, Writes
from services.http.openapi_schemas import INSTANT, optional, ref, words
from services.http.problems import Refusal, of_decoding

MAX_EVENTS: Final = 500
MAX_ROWS: Final = 5_000  # of a batch: foreign events become one row per product
MAX_EVENT_BYTES: Final = 64 * 1024
LARGE_BODY: Final = 64 * 1024  # bytes; judging more blocks for over five milliseconds
BODY_LIMIT: Final = 1024 * 1024
_OCCURRED: Final = EVENT_COLUMNS.index("occurred_at_us")


class EventBatch(msgspec.Struct):
    """What the visitors of a shop did, in any order; `sent_at` is the sender's clock when the batch was sent."""

    events: list[msgspec.Raw]
    sent_at: str | None = None


class EventResult(msgspec.Struct, omit_defaults=True):
    """Verdict on one event, in the order they were sent: `accepted`, `duplicate` or `rejected`.

    `event_id` is repeated only where it was a valid one; `pointer` is a JSON pointer into the request's body.
    """

    event_id: str | None
    status: Annotated[str, Meta(extra_json_schema=words(("accepted", "duplicate", "rejected")))]
    reason: str | None = None
    pointer: str | None = None


class EventsAnswer(msgspec.Struct):
    """What became of a batch."""

    accepted: int
    duplicate: int
    rejected: int
    results: list[EventResult]


class _Good(NamedTuple):
    """Good event: its rows for the log (one, or one per product), and the decision that it names."""

    place: int
    rows: list[tuple[Any, ...]]
    decision_id: str | None


class _Judged(NamedTuple):
    """Judged batch: a verdict for every event; whether a good one is new, only the log can tell."""

    call: Call
    results: list[EventResult]
    good: list[_Good]
    rejected: list[tuple[Any, ...]]

    def store(self, transaction: Transaction) -> EventsAnswer:
        """Append what is good, keep what is rejected."""
        partner, received_at_us = self.call.partner, self.call.received_at_us
        browser = int(self.call.caller.kind == "pk")  # what anybody may send counts less in the action weights
        for place, rows, decision_id in self.good:
            sent = (received_at_us, decision_id, browser)
            if not any(transaction.append((partner, *row, *sent) for row in rows)):
                self.results[place].status = "duplicate"
        if self.rejected:
            transaction.executemany(QUARANTINE_ROW, self.rejected)
        count = [result.status for result in self.results].count
        return EventsAnswer(count("accepted"), count("duplicate"), count("rejected"), self.results)


class EventsHandler:
    """Handler of events: judges them and hands the good ones to the log.

    Parameters
    ----------
    key
        The pseudonym key of a partner: user ids become pseudonyms before anything is stored.
    counted
        Is told how many events got each verdict.
    """

    def __init__(
        self, writes: Writes, key: Callable[[str], bytes], counted: Callable[[str, int], None] = lambda status, n: None
    ) -> None:
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
        if len(batch.events) > MAX_EVENTS:
            raise Refusal(422, f"a batch may hold {MAX_EVENTS} events at most", "/events")
        large = len(call.body) > LARGE_BODY
        judged = await asyncio.to_thread(self._judge, batch, call) if large else self._judge(batch, call)
        reply = await self._writes.write(call, judged.store, 202)
        if reply.headers != REPLAYED:
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

    def _judge(self, batch: EventBatch, call: Call) -> _Judged:
        ahead_us = _clock_difference_us(batch.sent_at, call.received_at_us)
        key = self._key(call.partner)
        judged = _Judged(call, [], [], [])
        opted_out = consent.is_opted_out(call.headers)
        n_rows = 0
        for place, raw in enumerate(batch.events):
            events, problem = _examine(raw, call.received_at_us, ahead_us)
            n_rows += len(events)
            if n_rows > MAX_ROWS:
                raise Refusal(422, f"the events of a batch may name {MAX_ROWS} products at most", f"/events/{place}")
            event = events[0]
            known = event.get("event_id")
            shown = known if _is_valid_id(known) else None
            if opted_out or consent.is_refused(event):  # nothing of it is kept, in quarantine neither
                pointer = f"/events/{place}" + ("" if opted_out else "/context/consent")
                judged.results.append(EventResult(shown, "rejected", consent.REASON, pointer))
                continue
            if problem is None:
                rows = [_row(own, key, ahead_us) for own in events]
                judged.good.append(_Good(place, rows, event.get("decision_id")))
                judged.results.append(EventResult(known, "accepted"))
                continue
            judged.results.append(EventResult(shown, "rejected", problem.reason, f"/events/{place}{problem.pointer}"))
            judged.rejected.extend(_kept(own, problem, place, call, key, ahead_us) for own in events)
        return judged


def _clock_difference_us(sent_at: str | None, received_at_us: int) -> int:
    """How far ours is ahead of the sender's clock; 0 where it does not tell, or tells the same time.

    Raises
    ------
    Refusal
        422 for a `sent_at` that is no instant.
    """
    if sent_at is None:
        return 0
    try:
        ahead_us = received_at_us - parse_instant_us(sent_at)
    except (ValueError, OverflowError):
        raise Refusal(422, "sent_at must be an RFC 3339 instant with a UTC offset", "/sent_at") from None
    return ahead_us if abs(ahead_us) > SAME_CLOCK_S * 1_000_000 else 0


def _examine(raw: msgspec.Raw, received_at_us: int, ahead_us: int) -> tuple[list[dict[str, Any]], Problem | None]:
    """Read an event as ours; the first thing that is wrong with it."""
    if len(memoryview(raw)) > MAX_EVENT_BYTES:
        return [{}], Problem("", f"an event may have {MAX_EVENT_BYTES} bytes at most")
    try:
        event = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [{}], Problem("", "an event must be valid JSON, not nested too deeply, its numbers within the range of a double")
    if not isinstance(event, dict):
        return [{}], Problem("", "an event must be a JSON object")
    events = own_events(event)
    for own in events:
        problem = event_problem(own, received_at_us - ahead_us) or _decision_problem(own)
        problem = problem or lateness_problem(parse_instant_us(own["ts"]) + ahead_us, received_at_us)
        if problem is not None:
            return events, problem
    return events, None


def _is_valid_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_ID_LENGTH


def _decision_problem(event: Mapping[str, Any]) -> Problem | None:
    value = event.get("decision_id")
    if value is None or _is_valid_id(value):
        return None
    return Problem("/decision_id", f"decision_id must be a text of 1 to {MAX_ID_LENGTH} characters")


def _row(event: Mapping[str, Any], key: bytes, ahead_us: int) -> tuple[Any, ...]:
    row = to_row(event, pseudonym(key, event["user_id"]))
    return (*row[:_OCCURRED], row[_OCCURRED] + ahead_us, *row[_OCCURRED + 1 :]) if ahead_us else row


def _kept(
    event: dict[str, Any], problem: Problem, place: int, call: Call, key: bytes, ahead_us: int
) -> tuple[Any, ...]:  # fmt: skip
    """A rejected event as `QUARANTINE_ROW` wants it; sent again, it is the same row."""
    raw = msgspec.json.encode(kept_form(_by_our_clock(event, ahead_us), key)).decode()
    reason = reason_of(problem)
    content = "\x1f".join((call.partner, REJECTED_SOURCE, reason, raw)).encode("utf-8", "surrogatepass")
    content_key = blake2b(content, digest_size=16).hexdigest()
    return (call.partner, REJECTED_SOURCE, "attune", place + 1, raw, reason, content_key, call.received_at_us)


def _by_our_clock(event: dict[str, Any], ahead_us: int) -> dict[str, Any]:
    if not ahead_us:
        return event
    try:
        corrected = datetime.fromtimestamp((parse_instant_us(event["ts"]) + ahead_us) / 1e6, UTC)
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return event
    return event | {"ts": corrected.isoformat()}


def schemas(today: date) -> Schemas:
    """Schemas of a batch and its events, which are decoded one by one, so that each gets a verdict of its own."""
    session = wire.session_schemas(today)
    event = _event_schema(session["SessionEvent"])
    judged = "What is no Event is rejected by itself and told in `results`; GA4, Segment and Google Retail names are read too."
    batch = {
        "type": "object",
        "description": "What the visitors of a shop did, in any order.",
        "required": ["events"],
        "properties": {
            "events": {"type": "array", "maxItems": MAX_EVENTS, "items": {"anyOf": [ref("Event"), {"description": judged}]}},
            "sent_at": optional({"type": "string", "pattern": INSTANT})
            | {"description": "The sender's clock when it sent the batch; where it differs from ours, every ts is corrected."},
        },
    }
    return session | {"Event": event, "EventBatch": batch}


def _event_schema(session_event: dict[str, Any]) -> dict[str, Any]:
    """Schema of a logged event: one of a session, with the ids that place it."""
    text = {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH}
    placed = {
        "event_id": text,
        "user_id": text,
        "session_id": optional(text),
        "context": optional(ref("Context")),
        "decision_id": optional(text),
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
    event = {"event_id": "e-1", "user_id": "u-1", "session_id": "s-81", "type": "item_view", "item_id": "sku-9"}
    return {
        ("POST", "/v1/events"): Endpoint(
            EventsHandler(shared.writes, shared.key, shared.observer.judged).receive, "events:write", "events",
            "Transmit what visitors did; 202 means durable", request="EventBatch", answer=EventsAnswer,
            example={"events": [event]}, status=202, limit=BODY_LIMIT, headers=(wire.SEC_GPC,), schemas=schemas,
        )
    }  # fmt: skip
