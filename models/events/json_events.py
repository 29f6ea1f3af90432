"""Compiled pass over the JSON text of a session's events: from bytes straight to the event array.

It reads what programs write: plain texts, numbers of at most 15 digits, RFC 3339 instants with a capital T. Of anything else, a
fault included, it only says that it cannot tell, and whoever asks reads the events one by one (`services.api.session_data`),
with the same result (a property test) and with the words for a refusal. So it decides nothing, and costs a tenth.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from models.arrays import Floats, Ints, Records, Text
from models.events.encode import EVENT_DTYPE, NO_CODE, EventArray
from models.kernels import ZERO, kernel
from models.schema import EVENT_TYPES, ITEM_EVENT_TYPES, MAX_ID_LENGTH, MEASURES

_FIELDS: Final = ("type", "ts", "item_id", "category", *MEASURES)
_TYPE, _TS, _ITEM, _CATEGORY, _FIRST_MEASURE = range(5)
_UNKNOWN: Final = -1  # of a name: not in a table
_CANNOT: Final = -1  # of a position: what stands there is for the slower way
_MOST_DIGITS: Final = 15  # of a number that a double holds exactly, as its power of ten: one division is rounded once
_UNTOLD: Final = -1
_N_TOLD: Final = 6  # type, instant, and of item and category where they begin and end
_QUOTE, _BACKSLASH, _COLON, _COMMA, _POINT, _DASH, _PLUS = (ord(c) for c in '"\\:,.-+')
_OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST, _ZERO, _NINE = (ord(c) for c in "{}[]09")
_T, _Z, _N, _SPACE = (ord(c) for c in "TZn ")


def _table(words: tuple[str, ...]) -> tuple[Any, Any]:
    """The bytes of some words, one after the other, and where each begins."""
    ends = np.cumsum([0, *map(len, words)])
    return np.frombuffer("".join(words).encode(), np.uint8).copy(), ends


_FIELD_TEXT, _FIELD_AT = _table(_FIELDS)
_TYPE_TEXT, _TYPE_AT = _table(EVENT_TYPES)
_NEEDS_ITEM: Final = np.isin(np.arange(len(EVENT_TYPES)), [int(kind) for kind in ITEM_EVENT_TYPES])
_LOW: Final = np.array([low for low, _ in MEASURES.values()])
_HIGH: Final = np.array([high for _, high in MEASURES.values()])
_TENS: Final = np.array([10.0**k for k in range(_MOST_DIGITS + 1)])
_N_MEASURES: Final = len(MEASURES)
_AT: Final = 3  # where in a row, seen as numbers of eight bytes, the measures begin; a test compares
_WIDTH: Final = EVENT_DTYPE.itemsize // 8


class EventsRead(NamedTuple):
    """Events that were read, in the order of the text.

    Attributes
    ----------
    events
        Shape (n_events,), dtype `EVENT_DTYPE`; the offset from UTC is 0.
    item_ids, categories
        Texts behind the codes, which count up in order of first appearance.
    first_us, last_us
        Earliest and latest instant, microseconds since 1970.
    is_sorted
        Whether no event is earlier than the one before it.
    """

    events: EventArray
    item_ids: list[str]
    categories: list[str]
    first_us: int
    last_us: int
    is_sorted: bool


@kernel
def _named(text: Text, begin: int, end: int, words: Text, at: Ints) -> int:
    """Place of a text in a table, `_UNKNOWN` if it is not there."""
    for word in range(len(at) - 1):
        if at[word + 1] - at[word] == end - begin:
            k = 0
            while k < end - begin and words[at[word] + k] == text[begin + k]:
                k += 1
            if k == end - begin:
                return word
    return _UNKNOWN


@kernel
def _past_space(text: Text, at: int) -> int:
    while at < len(text) and (text[at] == _SPACE or 9 <= text[at] <= 13):
        at += 1
    return at


@kernel
def _past_text(text: Text, at: int) -> int:
    """Position of the quote that ends a text which begins at `at`; `_CANNOT` for one with an escape."""
    while at < len(text) and text[at] != _QUOTE:
        if text[at] == _BACKSLASH or text[at] < _SPACE:
            return _CANNOT
        at += 1
    return at if at < len(text) else _CANNOT


@kernel
def _past_value(text: Text, at: int) -> int:
    """Position behind a value that nobody reads."""
    depth = ZERO
    while at < len(text):
        if text[at] == _QUOTE:
            at = _past_text(text, at + 1)
            if at < 0:
                return _CANNOT
        elif text[at] == _OPEN or text[at] == _OPEN_LIST:
            depth += 1
        elif text[at] == _CLOSE or text[at] == _CLOSE_LIST:
            if depth == 0:
                return at
            depth -= 1
        elif text[at] == _COMMA and depth == 0:
            return at
        at += 1
    return _CANNOT


@kernel
def _digits(text: Text, at: int, n: int) -> int:
    """The number of n digits, `_CANNOT` where one of them is none."""
    found = ZERO
    for k in range(at, at + n):
        if not _ZERO <= text[k] <= _NINE:
            return _CANNOT
        found = found * 10 + (text[k] - _ZERO)
    return found


@kernel
def _instant_us(text: Text, at: int, end: int) -> int:
    """Microseconds since 1970 of ``2026-11-21T10:00:00.123Z``, `_CANNOT` for another form or an instant before."""
    if end - at < 20 or text[at + 4] != _DASH or text[at + 7] != _DASH or text[at + 10] != _T:
        return _CANNOT
    if text[at + 13] != _COLON or text[at + 16] != _COLON:
        return _CANNOT
    year, month, day = _digits(text, at, 4), _digits(text, at + 5, 2), _digits(text, at + 8, 2)
    hour, minute, second = _digits(text, at + 11, 2), _digits(text, at + 14, 2), _digits(text, at + 17, 2)
    if year < 1970 or not 1 <= month <= 12 or day < 1 or not 0 <= hour <= 23 or not 0 <= minute <= 59 or not 0 <= second <= 59:
        return _CANNOT
    most = 31
    if month == 2:
        most = 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    elif month == 4 or month == 6 or month == 9 or month == 11:
        most = 30
    if day > most:
        return _CANNOT
    at += 19
    micro = ZERO
    if text[at] == _POINT:
        n = ZERO
        while at + 1 + n < end and n <= 6 and _ZERO <= text[at + 1 + n] <= _NINE:
            n += 1
        if n != 3 and n != 6:
            return _CANNOT
        micro = _digits(text, at + 1, n) * (1000 if n == 3 else 1)
        at += 1 + n
    offset = ZERO
    if at + 1 == end and text[at] == _Z:
        offset = ZERO
    elif at + 6 == end and (text[at] == _PLUS or text[at] == _DASH) and text[at + 3] == _COLON:
        hours, minutes = _digits(text, at + 1, 2), _digits(text, at + 4, 2)
        if not 0 <= hours <= 23 or not 0 <= minutes <= 59:
            return _CANNOT
        offset = (hours * 60 + minutes) * (1 if text[at] == _PLUS else -1)
    else:
        return _CANNOT
    # Days since 1970 in the Gregorian calendar, counted from March so that the leap day comes last.
    y, m = (year, month - 3) if month > 2 else (year - 1, month + 9)
    days = 365 * y + y // 4 - y // 100 + y // 400 + (153 * m + 2) // 5 + day - 1 - 719_468
    found = (((days * 24 + hour) * 60 + minute - offset) * 60 + second) * 1_000_000 + micro
    return found if found >= 0 else _CANNOT


@kernel
def _measured(text: Text, at: int, end: int) -> float:
    """A number without sign or exponent, -1 for another."""
    whole, n_digits, n_behind, behind = ZERO, ZERO, ZERO, False
    for k in range(at, end):
        if text[k] == _POINT and not behind:
            behind = True
        elif _ZERO <= text[k] <= _NINE:
            whole = whole * 10 + (text[k] - _ZERO)
            n_digits += 1
            n_behind += 1 if behind else 0
            if n_digits > _MOST_DIGITS:
                return -1.0
        else:
            return -1.0
    return float(whole) / _TENS[n_behind] if n_digits else -1.0


@kernel
def _coded(text: Text, begin: int, end: int, table: Ints, spans: Ints, n: int) -> int:
    """Code of a text, `n` for a new one, by a table of codes (-1: free), whose length is a power of two."""
    key = ZERO
    for k in range(begin, end):
        key = (key * 31 + text[k]) & 0xFFFFFFFF
    place = (key ^ (key >> 15)) & (len(table) - 1)
    while table[place] >= 0:
        code = table[place]
        if spans[code, 1] - spans[code, 0] == end - begin:
            k = 0
            while k < end - begin and text[spans[code, 0] + k] == text[begin + k]:
                k += 1
            if k == end - begin:
                return int(code)
        place = (place + 1) & (len(table) - 1)
    table[place] = n
    spans[n, 0], spans[n, 1] = begin, end
    return n


@kernel
def _told(text: Text, begin: int, end: int, field: int, is_text: bool, told: Ints, measures: Floats) -> bool:
    """Take in what a field says; False for what the slower way must look at."""
    is_null = not is_text and text[begin] == _N
    if field >= _FIRST_MEASURE:
        k = field - _FIRST_MEASURE
        while text[end - 1] <= _SPACE:
            end -= 1
        measures[k] = np.nan if is_null else _measured(text, begin, end)
        return is_null or (not is_text and _LOW[k] <= measures[k] <= _HIGH[k])
    if is_null and field >= _ITEM:
        told[2 * field - 2] = _UNTOLD
        return True
    if not is_text:
        return False
    if field == _TYPE:
        told[_TYPE] = _named(text, begin, end, _TYPE_TEXT, _TYPE_AT)
        return bool(told[_TYPE] >= 0)
    if field == _TS:
        told[_TS] = _instant_us(text, begin, end)
        return bool(told[_TS] >= 0)
    told[2 * field - 2], told[2 * field - 1] = begin, end
    return 0 < end - begin <= MAX_ID_LENGTH


@kernel
def _read_one(text: Text, at: int, told: Ints, measures: Floats) -> int:
    """Read the event whose object begins at `at`: its code of type, instant, and where item and category stand; the end of it.

    `told` is (type, instant, item, end of it, category, end of it), -1 for what is not told.
    """
    told[:], measures[:] = _UNTOLD, np.nan
    at += 1
    while True:
        at = _past_space(text, at)
        if text[at] == _CLOSE:
            return at + 1
        if text[at] == _COMMA:
            at += 1
            continue
        if text[at] != _QUOTE:
            return _CANNOT
        end = _past_text(text, at + 1)
        if end < 0:
            return _CANNOT
        field = _named(text, at + 1, end, _FIELD_TEXT, _FIELD_AT)
        at = _past_space(text, _past_space(text, end + 1) + 1)
        is_text = text[at] == _QUOTE
        begin = at + 1 if is_text else at
        end = _past_text(text, begin) if is_text and field != _UNKNOWN else _past_value(text, at)
        if end < 0 or (field != _UNKNOWN and not _told(text, begin, end, field, is_text, told, measures)):
            return _CANNOT
        at = end + 1 if is_text and field != _UNKNOWN else end


@kernel
def _read(
    text: Text, latest_us: int, device: int, referrer: int, rows: Records, numbers: Floats, items: Ints, categories: Ints
) -> tuple[int, int, int, int, int, bool]:  # fmt: skip
    """Read all events: how many, items and categories among them, earliest and latest instant, and whether in order."""
    n, n_items, n_categories, first_us, last_us, before_us, is_sorted = ZERO, ZERO, ZERO, latest_us, ZERO, ZERO, True
    cannot = (_CANNOT, n_items, n_categories, first_us, last_us, is_sorted)
    size = 8
    while size < 2 * len(rows):
        size *= 2
    item_table, category_table, told = np.full(size, NO_CODE), np.full(size, NO_CODE), np.empty(_N_TOLD, np.int64)
    if text[0] != _OPEN_LIST:
        return cannot
    at = ZERO + 1
    while True:
        at = _past_space(text, at)
        if text[at] == _CLOSE_LIST:
            return n, n_items, n_categories, first_us, last_us, is_sorted
        if text[at] == _COMMA:
            at += 1
            continue
        if text[at] != _OPEN or n == len(rows):
            return cannot
        numbers[n, _WIDTH - 1] = 0.0  # it has bytes that nothing is put into
        at = _read_one(text, at, told, numbers[n, _AT : _AT + _N_MEASURES])
        kind, at_us, item, item_end, category, category_end = told[0], told[1], told[2], told[3], told[4], told[5]
        if at < 0 or kind < 0 or not 0 <= at_us <= latest_us or (item < 0 and _NEEDS_ITEM[kind]):
            return cannot
        row = rows[n]
        row.occurred_at_us, row.event_type, row.device, row.referrer, row.utc_offset_min = at_us, kind, device, referrer, 0
        row.item, row.category = NO_CODE, NO_CODE
        if item >= 0:
            row.item = _coded(text, item, item_end, item_table, items, n_items)
            n_items += row.item == n_items
        if category >= 0:
            row.category = _coded(text, category, category_end, category_table, categories, n_categories)
            n_categories += row.category == n_categories
        is_sorted = is_sorted and at_us >= before_us
        before_us, first_us, last_us = at_us, min(first_us, at_us), max(last_us, at_us)
        n += 1


def read_events(text: bytes, latest_us: int, device: int, referrer: int) -> EventsRead | None:
    """Read the events of a session; None where only the slower way can tell what they are.

    Parameters
    ----------
    text
        A JSON array that has been found well-formed, in UTF-8.
    latest_us
        Latest instant that is admitted, microseconds since 1970.
    device, referrer
        Codes that all the events have.

    Examples
    --------
    >>> found = read_events(b'[{"type": "item_view", "ts": "1970-01-01T00:00:02Z", "item_id": "sku-9"}]', 10**16, 0, 0)
    >>> found.events["occurred_at_us"].tolist(), found.item_ids
    ([2000000], ['sku-9'])
    >>> read_events(b'[{"type": "teleport", "ts": "1970-01-01T00:00:02Z"}]', 10**16, 0, 0) is None
    True
    """
    room = text.count(b"{")
    numbers, items, categories = np.empty((room, _WIDTH)), np.empty((room, 2), np.int64), np.empty((room, 2), np.int64)
    rows = np.ndarray(room, EVENT_DTYPE, numbers)  # the same memory; a view costs several times as much
    given = (np.frombuffer(bytearray(text), np.uint8), latest_us, device, referrer, rows, numbers, items, categories)
    n, n_items, n_categories, first_us, last_us, is_sorted = _read(*given)
    if n < 1:
        return None
    item_ids = [text[begin:end].decode() for begin, end in items[:n_items].tolist()]
    names = [text[begin:end].decode() for begin, end in categories[:n_categories].tolist()]
    return EventsRead(rows if n == room else rows[:n], item_ids, names, first_us, last_us, is_sorted)
