"""Touches: what a visitor did on items, newest first, and the text of one as the feature store keeps it."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from models.arrays import Bytes, Ints, Text
from models.kernels import ZERO, kernel

_SPACE, _ZERO, _NINE, _MINUS = (ord(sign) for sign in " 09-")
_CANNOT: Final = -1
_TEXT_TAG: Final = 0x0A  # of a text in a message of several: field 1, with its length
_LEAST: Final = len("1 1 x")


class History(NamedTuple):
    """History of a visitor on items, newest first: item, code of the event type, instant; as many of each."""

    item_ids: Sequence[str]
    types: Bytes
    at_us: Ints

    def since(self, first: int) -> "History":
        """Without the newest ones before a place."""
        return self if first == 0 else History(self.item_ids[first:], self.types[first:], self.at_us[first:])


def history_of(item_ids: Sequence[str], types: Sequence[int], at_us: Sequence[int]) -> History:
    """A history of plain numbers."""
    return History(item_ids, np.array(types, np.int8), np.array(at_us, np.int64))


NO_HISTORY: Final = history_of([], [], [])


def text_of(kind: int, at_us: int, item_id: str) -> str:
    """One touch as text.

    Examples
    --------
    >>> text_of(10, 1763719200000000, "sku 9")
    '10 1763719200000000 sku 9'
    """
    return f"{kind} {at_us} {item_id}"


def parse(texts: Sequence[str]) -> History:
    """The history that was kept as texts.

    Raises
    ------
    ValueError
        If a text is of another form.

    Examples
    --------
    >>> parse(["10 1763719200000000 sku 9"]).item_ids
    ['sku 9']
    """
    types, at_us, item_ids = list[int](), list[int](), list[str]()
    for text in texts:
        kind, instant, item_id = text.split(" ", 2)
        types.append(int(kind))
        at_us.append(int(instant))
        item_ids.append(item_id)
    return history_of(item_ids, types, at_us)


def parse_message(message: bytes) -> History | None:
    """`parse` of the texts in Feast's message of several, a list that is one field of a value; None where it is another one.

    Raises
    ------
    ValueError
        If an item's text is not UTF-8.

    Examples
    --------
    >>> found = parse_message(b"b\\x0e\\n\\x0c10 17 sku 9b")
    >>> found.item_ids, found.types.tolist(), found.at_us.tolist()
    (['sku 9b'], [10], [17])
    """
    most = len(message) // _LEAST
    types, at_us, places = np.empty(most, np.int8), np.empty(most, np.int64), np.empty((most, 2), np.int64)
    n = _read(np.frombuffer(bytearray(message), np.uint8), types, at_us, places)
    if n == _CANNOT:
        return None
    return History([message[begin:end].decode() for begin, end in places[:n].tolist()], types[:n], at_us[:n])


@kernel
def _length(message: Text, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, lowest first, and where it ends."""
    value, shift = ZERO, ZERO
    while at < len(message):
        value |= (int(message[at]) & 0x7F) << shift
        at += 1
        if message[at - 1] < 0x80:
            break
        shift += 7
    return value, at


@kernel
def _number(message: Text, at: int, end: int) -> tuple[int, int]:
    """A whole number in digits that a space ends, and where what follows begins; or `_CANNOT`."""
    value, first = ZERO, at
    while at < end and _ZERO <= message[at] <= _NINE:
        value = value * 10 + (int(message[at]) - _ZERO)
        at += 1
    return value, (at + 1 if first < at < end and message[at] == _SPACE else _CANNOT)


@kernel
def _read(message: Text, types: Bytes, at_us: Ints, places: Ints) -> int:
    """Read all touches; how many there are, or `_CANNOT`."""
    if not len(message):
        return _CANNOT
    size, at = _length(message, 1)
    if at + size != len(message):
        return _CANNOT
    n = ZERO
    while at < len(message):
        if message[at] != _TEXT_TAG or n == len(types):
            return _CANNOT
        size, at = _length(message, at + 1)
        end = at + size
        if end > len(message):
            return _CANNOT
        kind, at = _number(message, at, end)
        if at == _CANNOT or kind > 127:
            return _CANNOT
        at_us[n], at = _number(message, at, end)
        if at == _CANNOT:
            return _CANNOT
        types[n], places[n, 0], places[n, 1] = kind, at, end
        n, at = n + 1, end
    return n
