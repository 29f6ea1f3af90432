"""Rules that make an event valid: one by one as the API judges them, and over a frame of millions."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt

from models.events.encode import DEVICE_CODE, REFERRER_CODE, TYPE_CODE
from models.schema import CLOCK_SKEW_S, DEVICES, EVENT_TYPES, ITEM_EVENT_TYPES, MAX_ID_LENGTH, MEASURES, REFERRERS
from models.trust import RESERVED

if TYPE_CHECKING:
    import pandas as pd

_ITEM_TYPE_NAMES: Final = frozenset(EVENT_TYPES[t] for t in ITEM_EVENT_TYPES)
_RESERVED: Final = "event_id must not begin with the character U+001F"
UNKNOWN_TYPE: Final = (
    f"type must be one of {', '.join(EVENT_TYPES)}; names of your own: PUT /v1/event-types, or [events] of a map of a file"
)
NO_NUL: Final = "must not hold the character U+0000"  # which PostgreSQL keeps in no text
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_zone_word: Final = re.compile(r"\s*(?:UTC|GMT)$")
_leap_second: Final = re.compile(r"(?<=[Tt ][0-9]{2}:[0-9]{2}:)60(\.[0-9]+)?")


class Problem(NamedTuple):
    """Why an event is refused. Never holds a value that the sender sent.

    Attributes
    ----------
    pointer
        JSON pointer to the field, relative to the event.
    reason
        One sentence that says what is expected.
    """

    pointer: str
    reason: str


def parse_instant_us(text: str) -> int:
    """Read an RFC 3339 instant as microseconds since 1970 UTC.

    Raises
    ------
    ValueError
        If the text is no instant, or has no UTC offset.

    Examples
    --------
    >>> parse_instant_us("1970-01-01T01:00:00.5+01:00")
    500000
    >>> parse_instant_us("2016-12-31t23:59:60.5z") == parse_instant_us("2016-12-31T23:59:59.999999Z")
    True
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = _uncommon(text)
    if instant.tzinfo is None:
        raise ValueError("expected an RFC 3339 instant with a UTC offset, such as 2026-11-21T10:00:00Z")
    return (instant - _EPOCH) // _MICROSECOND


def _uncommon(text: str) -> datetime:
    """Read what RFC 3339 (section 5.6) admits and `fromisoformat` does not: small letters, leap seconds."""
    instant = datetime.fromisoformat(_leap_second.sub("59.999999", text).upper())
    if _leap_second.search(text) and instant.astimezone(UTC).strftime("%H:%M") != "23:59":
        raise ValueError("expected a leap second at the end of a day, UTC")
    return instant


def instant_text(instant: int | str, zone: str = "UTC", fold: int = 0) -> str:
    """An instant as RFC 3339: of microseconds since 1970, or of a text; a text without an offset is a clock in `zone`.

    A zone that is named behind a time counts instead. `fold` 1 is the second of two instants at which a clock showed the time.
    What is no instant comes back as it is, and the rules refuse it.

    Examples
    --------
    >>> instant_text(1_500_000), instant_text("2024-07-01 10:00:00", "Europe/Berlin"), instant_text("soon")
    ('1970-01-01T00:00:01.500000+00:00', '2024-07-01T10:00:00+02:00', 'soon')
    >>> instant_text("2024-07-01 10:00 America/New_York"), instant_text("2024-07-01T10:00+02:00[Europe/Berlin]")
    ('2024-07-01T10:00:00-04:00', '2024-07-01T10:00:00+02:00')
    >>> instant_text("2024-07-01 10:00:00 CEST"), instant_text("2024-10-27 02:30", "Europe/Berlin", fold=1)
    ('2024-07-01T10:00:00+02:00', '2024-10-27T02:30:00+01:00')
    """
    if isinstance(instant, int):
        try:
            return (_EPOCH + timedelta(microseconds=instant)).isoformat()
        except OverflowError:
            return str(instant)
    text = instant.strip()
    if text[-1:].isalpha() or text[-1:] == "]":
        text, zone = _without_zone(text, zone)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return instant
    return found.isoformat() if found.tzinfo else found.replace(tzinfo=ZoneInfo(zone), fold=fold).isoformat()


# Hours ahead of UTC of the short names of zones that mean one offset only.
_SHORT_ZONES: Final = {
    **{"WET": 0, "WEST": 1, "CET": 1, "CEST": 2, "MEZ": 1, "MESZ": 2, "EET": 2, "EEST": 3, "MSK": 3, "JST": 9, "KST": 9},
    **{"EST": -5, "EDT": -4, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7, "AEST": 10, "AEDT": 11, "NZST": 12},
}
_named_zone: Final = re.compile(r"\s*\[?([A-Z][A-Za-z]+(?:/[A-Za-z_+-]+)+)\]?$")
_short_zone: Final = re.compile(r"(?<=\d)\s*([A-Z]{3,4})$")


def _without_zone(text: str, zone: str) -> tuple[str, str]:
    """A time without the name of a zone behind it, and that zone; a short name becomes its offset."""
    text = _zone_word.sub("+00:00", text)
    if named := _named_zone.search(text):
        try:
            return text[: named.start()], ZoneInfo(named[1]).key
        except (ZoneInfoNotFoundError, ValueError, OSError):
            return text, zone
    if (short := _short_zone.search(text)) and (hours := _SHORT_ZONES.get(short[1])) is not None:
        return f"{text[: short.start()]}{'-' if hours < 0 else '+'}{abs(hours):02}:00", zone
    return text, zone


@lru_cache(maxsize=65_536)
def _hourly_offset_min(timezone: str, hour: int) -> int:
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return 0
    try:
        offset = (_EPOCH + timedelta(hours=hour)).astimezone(zone).utcoffset()
    except OverflowError:
        return 0
    return int(offset // timedelta(minutes=1)) if offset is not None else 0


def utc_offset_min(timezone: str | None, occurred_at_us: int) -> int:
    """Minutes that local time is ahead of UTC at an instant; 0 for no or an unknown time zone.

    Looked up by the hour: zones change their offset on full hours UTC, or half hours in a few places.

    Examples
    --------
    >>> utc_offset_min("Europe/Berlin", parse_instant_us("2026-07-01T00:00:00Z"))
    120
    >>> utc_offset_min("Mars/Olympus", 0)
    0
    """
    return _hourly_offset_min(timezone, occurred_at_us // 3_600_000_000) if timezone else 0


def event_problem(event: Mapping[str, Any], now_us: int) -> Problem | None:
    """First reason to refuse one event of the public form, or None.

    Parameters
    ----------
    event
        As in ``POST /v1/events``: `event_id`, `user_id`, `type`, `ts`, and what the type carries.
    now_us
        The receiver's clock, microseconds.

    Examples
    --------
    >>> event_problem({"event_id": "e", "user_id": "u", "type": "purchase", "ts": "2026-11-21T10:00:00Z"}, 2**60)
    Problem(pointer='/item_id', reason='purchase needs an item_id')
    """
    for name in ("event_id", "user_id", "session_id", "item_id", "category"):
        value = event.get(name)
        if value is None:
            if name in ("event_id", "user_id"):
                return Problem(f"/{name}", f"{name} is required")
        elif not isinstance(value, str) or not 0 < len(value) <= MAX_ID_LENGTH:
            return Problem(f"/{name}", f"{name} must be a text of 1 to {MAX_ID_LENGTH} characters")
        elif "\0" in value:
            return Problem(f"/{name}", f"{name} {NO_NUL}")
    if event["event_id"].startswith(RESERVED):
        return Problem("/event_id", _RESERVED)
    return _type_problem(event) or _instant_problem(event, now_us) or _measure_problem(event)


def _type_problem(event: Mapping[str, Any]) -> Problem | None:
    name = event.get("type")
    if not isinstance(name, str) or name not in TYPE_CODE:
        return Problem("/type", UNKNOWN_TYPE)
    if name in _ITEM_TYPE_NAMES and event.get("item_id") is None:
        return Problem("/item_id", f"{name} needs an item_id")
    return None


def _instant_problem(event: Mapping[str, Any], now_us: int) -> Problem | None:
    ts = event.get("ts")
    try:
        occurred_at_us = parse_instant_us(ts) if isinstance(ts, str) else None
    except (ValueError, OverflowError):
        occurred_at_us = None
    if occurred_at_us is None:
        return Problem("/ts", "ts must be an RFC 3339 instant with a UTC offset, such as 2026-11-21T10:00:00Z")
    return instant_problem(occurred_at_us, now_us)


def instant_problem(occurred_at_us: int, now_us: int) -> Problem | None:
    """Refuse an instant before 1970 or more than `CLOCK_SKEW_S` ahead of the receiver's clock."""
    if occurred_at_us < 0:
        return Problem("/ts", "ts must not be before 1970")
    if occurred_at_us > now_us + CLOCK_SKEW_S * 1_000_000:
        return Problem("/ts", f"ts must not be more than {CLOCK_SKEW_S // 3600} hours in the future")
    return None


def _measure_problem(event: Mapping[str, Any]) -> Problem | None:
    for name, (low, high) in MEASURES.items():
        value = event.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            return Problem(f"/{name}", f"{name} must be a number from {low:g} to {high:g}")
    return None


def to_row(event: Mapping[str, Any], user: str) -> tuple[Any, ...]:
    """Turn one valid event of the public form into a row of the log, in the order of `EVENT_COLUMNS`.

    Parameters
    ----------
    event
        Without an `event_problem`.
    user
        The pseudonym that stands for its user.

    Examples
    --------
    >>> to_row({"event_id": "e", "type": "search", "ts": "1970-01-01T00:00:01Z", "query_length": 3}, "p")[:5]
    ('e', 'p', None, 'search', 1000000)
    """
    at = parse_instant_us(event["ts"])
    found = event.get("context")
    context = found if isinstance(found, Mapping) else {}
    device, referrer, zone = context.get("device"), context.get("referrer"), context.get("timezone")
    return (
        event["event_id"],
        user,
        event.get("session_id"),
        event["type"],
        at,
        event.get("item_id"),
        event.get("category"),
        *(None if event.get(name) is None else float(event[name]) for name in MEASURES),
        device if isinstance(device, str) and device in DEVICE_CODE else DEVICES[0],
        referrer if isinstance(referrer, str) and referrer in REFERRER_CODE else REFERRERS[0],
        utc_offset_min(zone if isinstance(zone, str) else None, at),
    )


def frame_problems(frame: "pd.DataFrame", now_us: int) -> npt.NDArray[np.object_]:
    """First reason to refuse each row of an event frame, or None; the rules of `event_problem`, for millions of rows.

    Returns
    -------
    Texts ``"<column>: <reason>"`` or None, shape (n_rows,), dtype object.
    """
    found = np.full(len(frame), None, dtype=object)
    sound = np.ones(len(frame), dtype=bool)

    def refuse(rows: npt.NDArray[np.bool_], column: str, reason: str) -> None:
        found[rows & sound] = f"{column}: {reason}"
        sound[rows] = False

    for name in ("event_id", "user_id", "session_id", "item_id", "category"):
        missing = frame[name].isna().to_numpy()
        length = np.ones(len(frame), dtype=np.int64)
        length[~missing] = np.fromiter(map(len, frame[name].to_numpy()[~missing]), dtype=np.int64)
        if name in ("event_id", "user_id"):
            refuse(missing, name, f"{name} is required")
        refuse((length < 1) | (length > MAX_ID_LENGTH), name, f"{name} must be a text of 1 to {MAX_ID_LENGTH} characters")
        texts = frame[name].to_numpy()[~missing]
        if "\0" in "".join(texts):
            length[~missing] = np.fromiter(("\0" in text for text in texts), dtype=np.int64, count=len(texts))
            refuse(~missing & (length == 1), name, f"{name} {NO_NUL}")
    refuse(np.fromiter((str(id).startswith(RESERVED) for id in frame["event_id"]), np.bool_, len(frame)), "event_id", _RESERVED)
    kind = frame["event_type"]
    refuse(~kind.isin(EVENT_TYPES).to_numpy(), "event_type", UNKNOWN_TYPE)
    refuse((kind.isin(_ITEM_TYPE_NAMES) & frame["item_id"].isna()).to_numpy(), "item_id", "this event type needs an item_id")
    at = frame["occurred_at_us"].to_numpy()
    refuse(at < 0, "occurred_at_us", "ts must not be before 1970")
    ahead = at > now_us + CLOCK_SKEW_S * 1_000_000
    refuse(ahead, "occurred_at_us", f"ts must not be more than {CLOCK_SKEW_S // 3600} hours in the future")
    for name, (low, high) in MEASURES.items():
        value = frame[name].to_numpy()
        refuse((value < low) | (value > high), name, f"{name} must be a number from {low:g} to {high:g}")
    return found
