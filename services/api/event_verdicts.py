"""Verdicts on events: which may enter the log, which are kept in quarantine, and which leave no trace.

When things happened: `ts` is the sender's clock. Where the batch says when it was sent (`sent_at`, by the same clock) and that
differs from ours by more than the way can explain (`models.events.clocks`), every `ts` is moved by the difference, and only
then held against our clock. What is still ahead of its arrival is moved back to it.

A page that has ended hears no verdict on what it sent last. A later one of the same browser names such an event by its
`event_id` alone: that is a question, answered `duplicate` or `unknown`, and leaves no trace.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Annotated, Any, Final, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta

from infra.store.protocol import Transaction
from infra.store.statements.events import KNOWN_IDS
from infra.store.statements.quarantine import QUARANTINE_ROW, QUARANTINE_ROW_OF_BROWSER, REJECTED_SOURCE
from infra.store.trust import Sender, append_from_browser, append_from_server
from models.events import clocks, consent
from models.events.foreign import own_events
from models.events.identity import pseudonym
from models.events.own_names import NONE, OwnNames
from models.events.rejected import kept_form, lateness_problem, reason_of
from models.events.rules import NO_NUL, Problem, event_problem, parse_instant_us, to_row
from models.events.said import said, said_problem
from models.schema import EVENT_COLUMNS, MAX_ID_LENGTH
from models.trust import kept_id
from services.http.calls import Call
from services.http.decoding import holds_nul
from services.http.openapi_schemas import words
from services.http.problems import Refusal

MAX_ROWS: Final = 5_000  # of a batch: foreign events become one row per product
MAX_EVENT_BYTES: Final = 64 * 1024
_USER, _OCCURRED = EVENT_COLUMNS.index("user_id"), EVENT_COLUMNS.index("occurred_at_us")


class EventBatch(msgspec.Struct):
    """Batch of events, in any order; `sent_at` is the sender's clock when the batch was sent."""

    events: list[msgspec.Raw]
    sent_at: str | None = None


class EventResult(msgspec.Struct, omit_defaults=True):
    """Verdict on one event, in the order they were sent: `accepted`, `duplicate` or `rejected`; `unknown` of a page's question.

    `event_id` is repeated only where it was a valid one; `pointer` is a JSON pointer into the request's body.
    """

    event_id: str | None
    status: Annotated[str, Meta(extra_json_schema=words(("accepted", "duplicate", "rejected", "unknown")))]
    reason: str | None = None
    pointer: str | None = None


class EventsAnswer(msgspec.Struct):
    """Counts and results of a batch."""

    accepted: int
    duplicate: int
    rejected: int
    results: list[EventResult]


_ANSWER: Final = msgspec.json.Decoder(EventsAnswer)


def without_ids(answer: EventsAnswer) -> EventsAnswer:
    """An answer as it may be kept: a user who is erased meanwhile cannot be found by an event's id."""
    results = [msgspec.structs.replace(result, event_id=None) for result in answer.results]
    return msgspec.structs.replace(answer, results=results)


def with_ids(kept: bytes, results: Sequence[EventResult]) -> bytes:
    """A kept answer as it was given, with the ids of the same request sent again."""
    answer = _ANSWER.decode(kept)
    for result, sent in zip(answer.results, results, strict=True):
        result.event_id = sent.event_id
    return msgspec.json.encode(answer)


class GoodEvent(NamedTuple):
    """Good event: its rows for the log (one, or one per product), each with what is said of it."""

    place: int
    rows: list[tuple[Any, ...]]


class JudgedBatch(NamedTuple):
    """Judged batch: a verdict for every event; whether a good one is new, only the log can tell."""

    call: Call
    key: bytes  # the partner's, of pseudonyms
    opted_out: bool  # by the browser, for all of the batch
    results: list[EventResult]
    good: list[GoodEvent]
    rejected: list[tuple[Any, ...]]
    asked: list[int]  # places of what a page only asks about

    def store(self, transaction: Transaction) -> EventsAnswer:
        """Append what is good, keep what is rejected."""
        news = iter(self._append(transaction))
        for place, rows in self.good:
            if not any([next(news) for _ in rows]):  # all of them are taken, whatever the first one was
                self.results[place].status = "duplicate"
        self._answer(transaction)
        if self.rejected:
            transaction.executemany(QUARANTINE_ROW_OF_BROWSER if _is_browser(self.call) else QUARANTINE_ROW, self.rejected)
        count = [result.status for result in self.results].count
        return EventsAnswer(count("accepted"), count("duplicate"), count("rejected"), self.results)

    def _answer(self, transaction: Transaction) -> None:
        """Say of what a page asks about whether the log has it, this batch included."""
        if self.asked:
            ids = [kept_id(str(self.results[place].event_id)) for place in self.asked]
            found = transaction.read(KNOWN_IDS, (self.call.partner, msgspec.json.encode(ids).decode()))
            known = {event_id for (event_id,) in found}
            for place, event_id in zip(self.asked, ids, strict=True):
                self.results[place].status = "duplicate" if event_id in known else "unknown"

    def _append(self, transaction: Transaction) -> list[bool]:
        """Append the rows of all good events; per row, whether it is new."""
        call, rows = self.call, [row for one in self.good for row in one.rows]
        if not _is_browser(call):
            return append_from_server(transaction, call.partner, rows, call.received_at_us)
        sender = Sender(call.partner, self.key, call.caller.key_id, call.peer, call.received_at_us)
        return append_from_browser(transaction, sender, rows)


def judge(batch: EventBatch, call: Call, key: bytes, own_names: OwnNames = NONE) -> JudgedBatch:
    """Judge every event of a batch.

    Parameters
    ----------
    key
        The partner's pseudonym key: user ids become pseudonyms before anything is stored.
    own_names
        What the partner calls event types, beside what everybody does.

    Raises
    ------
    Refusal
        422 for a batch with an impossible `sent_at`, or with more than `MAX_ROWS` products.
    """
    ahead_us = _clock_difference_us(batch.sent_at, call.received_at_us)
    judged = JudgedBatch(call, key, consent.is_opted_out(call.headers), [], [], [], [])
    n_rows = 0
    for place, raw in enumerate(batch.events):
        events, problem = _examine(raw, call.received_at_us, ahead_us, own_names)
        n_rows += len(events)
        if n_rows > MAX_ROWS:
            raise Refusal(422, f"the events of a batch may name {MAX_ROWS} products at most", f"/events/{place}")
        _take(judged, place, events, problem, ahead_us)
    _move_back(judged.good, call.received_at_us)
    return judged


def _take(judged: JudgedBatch, place: int, events: list[dict[str, Any]], problem: Problem | None, ahead_us: int) -> None:
    """Put the verdict on one event down: on the one that was sent, which may stand for several of ours."""
    event, call, key = events[0], judged.call, judged.key
    known = event.get("event_id")
    shown = known if _is_valid_id(known) else None
    if judged.opted_out or consent.is_refused(event):  # nothing of it is kept, in quarantine neither
        pointer = f"/events/{place}" + ("" if judged.opted_out else "/context/consent")
        judged.results.append(EventResult(shown, "rejected", consent.REASON, pointer))
    elif event.keys() == {"event_id"} and shown and _is_browser(call):
        judged.asked.append(place)
        judged.results.append(EventResult(shown, "unknown"))
    elif problem is None:
        judged.good.append(GoodEvent(place, [_row(own, key, ahead_us) for own in events]))
        judged.results.append(EventResult(known, "accepted"))
    else:
        judged.results.append(EventResult(shown, "rejected", problem.reason, f"/events/{place}{problem.pointer}"))
        judged.rejected.extend(_kept(own, problem, place, call, key, ahead_us) for own in events)


def _move_back(good: list[GoodEvent], received_at_us: int) -> None:
    """Let no event be later than its arrival, visitor by visitor, in place; a visitor's events keep their order."""
    if all(row[_OCCURRED] <= received_at_us for one in good for row in one.rows):
        return
    places: dict[str, list[tuple[int, int]]] = {}
    for k, one in enumerate(good):
        for n, row in enumerate(one.rows):
            places.setdefault(row[_USER], []).append((k, n))
    for own in places.values():
        instants = np.array([good[k].rows[n][_OCCURRED] for k, n in own], dtype=np.int64)
        for (k, n), at_us in zip(own, clocks.not_ahead(instants, received_at_us).tolist(), strict=True):
            row = good[k].rows[n]
            good[k].rows[n] = (*row[:_OCCURRED], at_us, *row[_OCCURRED + 1 :])


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
        return clocks.correction_us(parse_instant_us(sent_at), received_at_us)
    except (ValueError, OverflowError):
        raise Refusal(422, "sent_at must be an RFC 3339 instant with a UTC offset", "/sent_at") from None


def _examine(
    raw: msgspec.Raw, received_at_us: int, ahead_us: int, own_names: OwnNames
) -> tuple[list[dict[str, Any]], Problem | None]:
    """Read an event as ours; the first thing that is wrong with it."""
    if len(memoryview(raw)) > MAX_EVENT_BYTES:
        return [{}], Problem("", f"an event may have {MAX_EVENT_BYTES} bytes at most")
    try:
        event = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [{}], Problem("", "an event must be valid JSON, not nested too deeply, its numbers within the range of a double")
    if not isinstance(event, dict):
        return [{}], Problem("", "an event must be a JSON object")
    events = own_events(event, own_names)
    for own in events:
        problem = event_problem(own, received_at_us - ahead_us) or said_problem(own)
        problem = problem or lateness_problem(parse_instant_us(own["ts"]) + ahead_us, received_at_us)
        if problem is not None:
            return events, problem
    return events, Problem("", f"texts of an event {NO_NUL}") if holds_nul(raw) else None


def _is_browser(call: Call) -> bool:
    return call.caller.kind == "pk"


def _is_valid_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_ID_LENGTH


def _row(event: Mapping[str, Any], key: bytes, ahead_us: int) -> tuple[Any, ...]:
    row = (*to_row(event, pseudonym(key, event["user_id"])), *said(event))
    return (*row[:_OCCURRED], row[_OCCURRED] + ahead_us, *row[_OCCURRED + 1 :]) if ahead_us else row


def _kept(
    event: dict[str, Any], problem: Problem, place: int, call: Call, key: bytes, ahead_us: int
) -> tuple[Any, ...]:  # fmt: skip
    """A rejected event as `QUARANTINE_ROW` wants it; sent again, it is the same row."""
    raw = msgspec.json.encode(kept_form(_by_our_clock(event, ahead_us), key)).decode()
    reason = reason_of(problem)
    whose = (call.partner, call.caller.kind) if _is_browser(call) else (call.partner,)  # a page's row is never a server's
    content = "\x1f".join((*whose, REJECTED_SOURCE, reason, raw)).encode("utf-8", "surrogatepass")
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
