"""From `session_data` on the wire to the event array that every fold runs over.

The rules are those of `models.events.rules.event_problem`. Packing rows with `struct` into one buffer costs a third of building
a structured array from tuples, and this runs in every request.
"""

from math import nan
from struct import Struct
from typing import Final

import msgspec
import numpy as np

from models.events.encode import DEVICE_CODE, EVENT_DTYPE, NO_CODE, REFERRER_CODE, TYPE_CODE
from models.events.rules import event_problem, parse_instant_us, utc_offset_min
from models.live_session import EMPTY, LiveSession
from models.schema import CLOCK_SKEW_S, EVENT_TYPES, ITEM_EVENT_TYPES, MEASURES
from services.api.wire import Context, SessionData, SessionEvent
from services.http.problems import Refusal

EVENTS_POINTER: Final = "/session_data/events"
_pack = Struct(f"@qqq{'d' * len(MEASURES)}hbbb3x").pack  # the layout of EVENT_DTYPE; a test compares the two
_NEEDS_ITEM: Final = frozenset(EVENT_TYPES[t] for t in ITEM_EVENT_TYPES)


def live_session(data: SessionData | None, now_us: int) -> LiveSession:
    """Encode the events of a request, sorted by time; events of the same instant keep their order.

    Parameters
    ----------
    now_us
        The receiver's clock, microseconds: an event further ahead than the admitted skew is refused.

    Raises
    ------
    Refusal
        422 with a JSON pointer to the first event field that breaks a rule.
    """
    if data is None or not data.events:
        return EMPTY
    latest_us = now_us + CLOCK_SKEW_S * 1_000_000
    timezone, device, referrer = _context_codes(data.context)
    items: dict[str | None, int] = {None: NO_CODE}
    categories: dict[str | None, int] = {None: NO_CODE}
    rows: list[bytes] = []
    times: list[int] = []
    for position, event in enumerate(data.events):
        code = TYPE_CODE.get(event.type, NO_CODE)
        try:
            at_us = parse_instant_us(event.ts)
        except (ValueError, OverflowError):
            at_us = -1
        if code < 0 or not 0 <= at_us <= latest_us or (event.item_id is None and event.type in _NEEDS_ITEM):
            raise _refusal(event, position, now_us)
        item = items.setdefault(event.item_id, len(items) - 1)
        category = categories.setdefault(event.category, len(categories) - 1)
        offset_min = utc_offset_min(timezone, at_us) if timezone else 0
        times.append(at_us)
        rows.append(_pack(at_us, item, category, *_measures(event), offset_min, code, device, referrer))
    # A bytearray, because a kernel compiled for writable arrays would be compiled again for read-only ones.
    events = np.frombuffer(bytearray().join(rows), dtype=EVENT_DTYPE)
    if times != sorted(times):
        events = events[np.argsort(np.array(times), kind="stable")]
    return LiveSession(events, [i for i in items if i is not None], [c for c in categories if c is not None])


def _context_codes(context: Context | None) -> tuple[str | None, int, int]:
    if context is None:
        return None, 0, 0
    return context.timezone, DEVICE_CODE.get(context.device or "", 0), REFERRER_CODE.get(context.referrer or "", 0)


def _measures(event: SessionEvent) -> tuple[float, ...]:
    """Values of MEASURES, in that order, NaN where nothing was measured."""
    return (
        nan if event.price is None else event.price,
        nan if event.dwell_ms is None else event.dwell_ms,
        nan if event.scroll_depth is None else event.scroll_depth,
        nan if event.zoom_level is None else event.zoom_level,
        nan if event.cursor_distance_px is None else event.cursor_distance_px,
        nan if event.query_length is None else event.query_length,
    )


def _refusal(event: SessionEvent, position: int, now_us: int) -> Refusal:
    # The quick checks above only find that something is wrong; the rule book says what. It also asks for ids that only a
    # logged event has.
    problem = event_problem({"event_id": "-", "user_id": "-", **msgspec.structs.asdict(event)}, now_us)
    if problem is None:
        raise AssertionError("an event was refused that the rules admit")
    return Refusal(422, problem.reason, f"{EVENTS_POINTER}/{position}{problem.pointer}")
