"""Touches: what a visitor did on items, newest first, and the text of one as the feature store keeps it."""

from collections.abc import Iterable
from typing import NamedTuple


class History(NamedTuple):
    """History of a visitor on items, newest first: item, code of the event type, instant; as many of each."""

    item_ids: list[str]
    types: list[int]
    at_us: list[int]


def text_of(kind: int, at_us: int, item_id: str) -> str:
    """One touch as text.

    Examples
    --------
    >>> text_of(10, 1763719200000000, "sku 9")
    '10 1763719200000000 sku 9'
    """
    return f"{kind} {at_us} {item_id}"


def parse(texts: Iterable[str]) -> History:
    """The history that was kept as texts.

    Raises
    ------
    ValueError
        If a text is of another form.

    Examples
    --------
    >>> parse(["10 1763719200000000 sku 9"])
    History(item_ids=['sku 9'], types=[10], at_us=[1763719200000000])
    """
    kinds, at_us, item_ids = [], [], []
    for text in texts:
        kind, instant, item_id = text.split(" ", 2)
        kinds.append(int(kind))
        at_us.append(int(instant))
        item_ids.append(item_id)
    return History(item_ids, kinds, at_us)
