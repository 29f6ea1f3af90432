"""Guess of columns that tables write in a way of their own: an action each, several items in a cell, amounts in hundredths."""

from collections.abc import Mapping, Sequence
from typing import Final

from models.events.sources.action_words import ACTIONS, word
from models.events.sources.opened import is_list_name

Column = Sequence[str]  # cells that are not empty

LEAST_FLAGS: Final = 2  # columns that say yes or no to an action each
LEAST_SEVERAL: Final = 0.3  # of the cells that must hold several items
_YES: Final = frozenset({"1", "true", "yes", "y", "t"})
_NO: Final = frozenset({"0", "false", "no", "n", "f"})
_BETWEEN_ITEMS: Final = ("|", ";", ",", " / ")
_LIST_WORDS: Final = frozenset({"basket", "itemset", "itemlist", "productlist"})
_HUNDREDTHS: Final = frozenset({"cent", "cents", "minor", "pence", "incents", "eurocents", "centavos", "centimes"})


def flag_columns(values: Mapping[str, Column]) -> dict[str, str]:
    """Columns that say yes or no to an action each, with our types; none where there are fewer than two.

    Examples
    --------
    >>> flag_columns({"is_click": ["1", "0"], "cart": ["0", "1"], "likes": ["7", "2"]})
    {'is_click': 'item_view', 'cart': 'add_to_cart'}
    """
    found = {name: ours for name, cells in values.items() if (ours := _action(word(name))) and _are_flags(cells)}
    says_yes = any(cell.casefold() in _YES for name in found for cell in values[name])
    return found if len(found) >= LEAST_FLAGS and says_yes else {}


def _action(name: str) -> str | None:
    return ACTIONS.get(name) or ACTIONS.get(name.removeprefix("is").removeprefix("has"))


def _are_flags(cells: Column) -> bool:
    return bool(cells) and {cell.casefold() for cell in cells} <= _YES | _NO


def several_items(values: Mapping[str, Column]) -> dict[str, str]:
    """The column whose cells hold several items, as its name says, and what stands between them; nothing where none does.

    Examples
    --------
    >>> several_items({"who": ["u;v"], "basket": ["milk; bread", "tea"]})
    {'basket': ';'}
    """
    for name, cells in values.items():
        if cells and (is_list_name(name) or word(name) in _LIST_WORDS):
            shares = {mark: sum(mark in cell for cell in cells) / len(cells) for mark in _BETWEEN_ITEMS}
            mark = next((mark for mark, share in shares.items() if share >= LEAST_SEVERAL), None)
            if mark is not None:
                return {name: mark}
    return {}


def in_hundredths(words: Sequence[str], cells: Column) -> bool:
    """Whether a column of amounts is in hundredths of the currency: a word of its name says so, and they are integers.

    Examples
    --------
    >>> in_hundredths(["price", "cents"], ["1250", ""]), in_hundredths(["price", "cents"], ["12.50"])
    (True, False)
    """
    return not _HUNDREDTHS.isdisjoint(words) and all(cell.lstrip("+-").isdecimal() for cell in cells if cell)
