"""Encoder of `session_data`: from the wire to the event array that every fold runs over.

The rules are those of `models.events.rules.event_problem`. What programs commonly write is read by one compiled pass over the
text (`models.events.json_events`); whatever that cannot tell, a fault or a partner's own event type among it, is decoded and
encoded event by event (`live_session`). A property test holds both ways against each other.
"""

import asyncio
import struct
from math import nan
from typing import Any, Final, Generic, Protocol, TypeVar, cast, get_type_hints

import msgspec
import numpy as np
from msgspec.structs import asdict, astuple

from models.events import clocks, consent
from models.events.encode import DEVICE_CODE, EVENT_DTYPE, NO_CODE, REFERRER_CODE, TYPE_CODE
from models.events.json_events import read_events
from models.events.own_names import NONE, OwnNames
from models.events.rules import event_problem, parse_instant_us, utc_offset_min
from models.live_session import EMPTY, LiveSession
from models.schema import CLOCK_SKEW_S, DAY_US, EVENT_TYPES, ITEM_EVENT_TYPES, MEASURES
from models.visitor_groups import NO_GROUPS, Groups
from services.api.wire import Context, Id, SessionData, SessionEvent
from services.http.calls import Call
from services.http.decoding import decode
from services.http.problems import Refusal

EVENTS_POINTER: Final = "/session_data/events"
LARGE_BODY: Final = 64 * 1024  # bytes; parsing more blocks for over a millisecond
_LAYOUT: Final = struct.Struct(f"@qqq{'d' * len(MEASURES)}hbbb3x")  # of EVENT_DTYPE; a test compares the two
_pack_into, _ROW = _LAYOUT.pack_into, EVENT_DTYPE.itemsize
_FIRST_MEASURE: Final = -len(MEASURES)  # the last fields of a `SessionEvent`, in their order
_HOUR_US: Final = 3_600_000_000
_NEEDS_ITEM: Final = frozenset(EVENT_TYPES[t] for t in ITEM_EVENT_TYPES)


class HasSession(Protocol):
    """Request that may carry a session."""

    session_data: SessionData | None


Request = TypeVar("Request", bound=HasSession)


class _SessionText(msgspec.Struct, gc=False):
    """A session whose events are still text; the fields of `SessionData`."""

    session_id: Id | None = None
    context: Context | None = None
    events: msgspec.Raw = msgspec.Raw(b"[]")


class SessionDecoder(Generic[Request]):
    """Decoder of requests that may carry a session, with the events left as text where that will do.

    Parameters
    ----------
    request
        The struct; its field `session_data` is a `SessionData` or None.
    """

    def __init__(self, request: type[Request]) -> None:
        self.whole = msgspec.json.Decoder(request)
        types = get_type_hints(request, include_extras=True) | {"session_data": _SessionText | None}
        fields = [
            (one.name, types[one.name]) if one.required else (one.name, types[one.name], one.default)
            for one in msgspec.structs.fields(request)  # type: ignore[arg-type]
        ]
        self._with_text = msgspec.json.Decoder(msgspec.defstruct(f"{request.__name__}Text", fields))

    def quickly(self, body: bytes) -> Request | None:
        """The request with its events as text; None where only the whole decoder can tell what it is."""
        if len(body) > LARGE_BODY or b"\\u0000" in body:
            return None
        try:
            if not body.isascii():
                body.decode()  # of a text that is passed over nobody else asks
            return cast(Request, self._with_text.decode(body))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None


async def parse(decoder: SessionDecoder[Request], call: Call, own_names: OwnNames = NONE) -> tuple[Request, LiveSession]:
    """Read a request and the session it brings along; a large one in a thread, so that it does not stop the others.

    The session data of what comes back tells session id and context; its events are in the session, and may still be text.

    Parameters
    ----------
    own_names
        What the partner calls event types, beside what everybody does.

    Raises
    ------
    Refusal
        400 or 422.
    """
    if len(call.body) > LARGE_BODY:
        return await asyncio.to_thread(_parse_now, decoder, call, own_names)
    return _parse_now(decoder, call, own_names)


def _parse_now(decoder: SessionDecoder[Request], call: Call, own_names: OwnNames) -> tuple[Request, LiveSession]:
    quick = decoder.quickly(call.body)
    session = None if quick is None else _quick_session(quick.session_data, call.received_at_us)
    if quick is not None and session is not None:
        request = quick
    else:
        request = decode(decoder.whole, call.body)
        session = live_session(request.session_data, call.received_at_us, own_names)
    if session.groups is not NO_GROUPS and not consents(call, request.session_data):
        session = session._replace(groups=NO_GROUPS)
    return request, session


def consents(call: Call, data: "SessionData | _SessionText | None") -> bool:
    """Whether neither the session nor the browser says that the visitor does not consent."""
    refused = data is not None and data.context is not None and data.context.consent is False
    return not refused and not consent.is_opted_out(call.headers)


def _quick_session(data: Any, now_us: int) -> LiveSession | None:
    """`live_session` of a `_SessionText` or None; None where only that can tell."""
    if data is None:
        return EMPTY
    timezone, device, referrer = _context_codes(data.context)
    found = read_events(bytes(data.events), now_us + CLOCK_SKEW_S * 1_000_000, device, referrer)
    if found is None:
        return None
    events, is_moved = found.events, False
    if timezone:
        offsets = utc_offset_min(timezone, found.first_us), utc_offset_min(timezone, found.last_us)
        if offsets[0] == offsets[1] and found.last_us - found.first_us < DAY_US:  # no zone's clocks go there and back in a day
            events["utc_offset_min"] = offsets[0]
        else:
            events["utc_offset_min"] = [utc_offset_min(timezone, at_us) for at_us in events["occurred_at_us"].tolist()]
    is_sorted = found.is_sorted
    if found.last_us > now_us:
        said = events["occurred_at_us"].copy()
        events["occurred_at_us"] = moved = clocks.not_ahead(said, now_us)
        is_moved = bool((moved != said).any())
        is_sorted = bool((moved[1:] >= moved[:-1]).all())
    if not is_sorted:
        events = events[np.argsort(events["occurred_at_us"], kind="stable")]
    return LiveSession(events, found.item_ids, found.categories, is_moved, _groups(data))


def live_session(data: SessionData | None, now_us: int, own_names: OwnNames = NONE) -> LiveSession:
    """Encode the events of a request, sorted by time; events of the same instant keep their order.

    Parameters
    ----------
    now_us
        The receiver's clock, microseconds: an event further ahead than the admitted skew is refused; what is less ahead
        happened now (`models.events.clocks`).
    own_names
        As `parse`.

    Raises
    ------
    Refusal
        422 with a JSON pointer to the first event field that breaks a rule.
    """
    groups = _groups(data)
    if data is None or not data.events:
        return EMPTY if groups is NO_GROUPS else EMPTY._replace(groups=groups)
    latest_us = now_us + CLOCK_SKEW_S * 1_000_000
    timezone, device, referrer = _context_codes(data.context)
    items: dict[str | None, int] = {None: NO_CODE}
    categories: dict[str | None, int] = {None: NO_CODE}
    # A bytearray, because a kernel compiled for writable arrays would be compiled again for read-only ones.
    rows = bytearray(len(data.events) * EVENT_DTYPE.itemsize)
    times: list[int] = []
    hour, offset_min = -1, 0
    for position, event in enumerate(data.events):
        kind, item_id, category = event.type, event.item_id, event.category
        code = TYPE_CODE.get(kind, NO_CODE)
        if code < 0 and kind in own_names:
            kind = own_names[kind]
            code = TYPE_CODE[kind]
        try:
            at_us = parse_instant_us(event.ts)
        except (ValueError, OverflowError):
            at_us = -1
        if code < 0 or not 0 <= at_us <= latest_us or (item_id is None and kind in _NEEDS_ITEM):
            raise _refusal(event, kind, position, now_us)
        item = items.setdefault(item_id, len(items) - 1)
        place = categories.setdefault(category, len(categories) - 1)
        if timezone and at_us // _HOUR_US != hour:
            hour, offset_min = at_us // _HOUR_US, utc_offset_min(timezone, at_us)
        times.append(at_us)
        measures, at = astuple(event)[_FIRST_MEASURE:], position * _ROW
        try:
            _pack_into(rows, at, at_us, item, place, *measures, offset_min, code, device, referrer)
        except struct.error:  # a measure is null
            numbers = (nan if value is None else value for value in measures)
            _pack_into(rows, at, at_us, item, place, *numbers, offset_min, code, device, referrer)
    events, is_moved = np.frombuffer(rows, dtype=EVENT_DTYPE), False
    if max(times) > now_us:
        events["occurred_at_us"] = clocks.not_ahead(events["occurred_at_us"], now_us)
        is_moved = times != (times := events["occurred_at_us"].tolist())
    if times != sorted(times):
        events = events[np.argsort(np.array(times), kind="stable")]
    texts = [i for i in items if i is not None], [c for c in categories if c is not None]
    return LiveSession(events, *texts, is_moved, groups)


def _groups(data: "SessionData | _SessionText | None") -> Groups:
    """Whom the shop takes the visitor for."""
    context = None if data is None else data.context
    if context is None or not (context.segment or context.region or context.customer_group):
        return NO_GROUPS
    return context.segment or None, context.region or None, context.customer_group or None


def _context_codes(context: Context | None) -> tuple[str | None, int, int]:
    if context is None:
        return None, 0, 0
    return context.timezone, DEVICE_CODE.get(context.device or "", 0), REFERRER_CODE.get(context.referrer or "", 0)


def _refusal(event: SessionEvent, kind: str, position: int, now_us: int) -> Refusal:
    # The quick checks above only find that something is wrong; the rule book says what. It also asks for ids that only a
    # logged event has.
    measured = {name: value for name, value in asdict(event).items() if value == value}
    problem = event_problem({"event_id": "-", "user_id": "-", **measured, "type": kind}, now_us)
    if problem is None:
        raise AssertionError("an event was refused that the rules admit")
    return Refusal(422, problem.reason, f"{EVENTS_POINTER}/{position}{problem.pointer}")
