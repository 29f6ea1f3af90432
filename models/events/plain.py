"""Values in one form, whatever wrote them: text of a CSV file, number of a Parquet column, value of a JSON document.

Spreadsheets and data frames write an integer beside a missing value as ``512301.0`` or ``1.0E+07``, and what is missing as a
word. Both would be new users and items; here they become the integer, and nothing.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

# Words that stand for nothing; compared without regard to case.
PLACEHOLDERS: Final = frozenset(
    {
        *("", "(not set)", "undefined", "null", "(null)", "[null]", "nan", "none", "nil", "nat", "n/a", "#n/a", "#na", "<na>"),
        *(
            "\\n",
            "[object object]",
            *("<null>", "#ref!", "#value!", "#name?", "n.a.", "n/d", "k.a.", "s/d", "not set", "not available"),
            *("(not provided)", "(data not available)", "::unspecified::", "(empty)", "(blank)", "$null$"),
            "-",
            "--",
            "---",
            "–",
            "—",
            "?",
            ".",
            "''",
            '""',
            "{}",
            "[]",
            "00000000-0000-0000-0000-000000000000",
        ),
    }
)
_INVISIBLE: Final = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u00ad \t\u00a0"  # around an id that was copied from a page
NA: Final = "NA"  # R's word; in small letters it may be a name
EARLIEST_US: Final = 631_152_000_000_000  # 1990: no shop has older events, but a Unix time in a wrong unit lands before it
LATEST_US: Final = 4_102_444_800_000_000  # 2100
_OWN_IDS: Final = ("user_id", "session_id", "item_id", "category")  # of our own form; an event id is never a word for nothing
_MISSING: Final = ("NaT", "<NA>")  # as pandas' own missing values are written
_whole: Final = re.compile(r"[+-]?[0-9]+\.0+|[+-]?[0-9]+\.[0-9]*[eE]\+?[0-9]{1,2}|[+-]?[0-9]+[eE]\+[0-9]{1,2}")


def text_of(value: object) -> str:
    """Write one JSON or Parquet value as the text that a CSV file would hold; missing becomes the empty text.

    Examples
    --------
    >>> import pandas as pd
    >>> [text_of(v) for v in (None, float("nan"), 7, 7.0, 7.5, "x", b"y", pd.NaT, pd.Timestamp("2019-10-01", tz="UTC"))]
    ['', '', '7', '7', '7.5', 'x', 'y', '', '2019-10-01 00:00:00+00:00']
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, float):
        return "" if value != value else str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    text = str(value)
    return "" if text in _MISSING else text


def is_placeholder(value: object) -> bool:
    """Whether a value is a word for nothing.

    Examples
    --------
    >>> [is_placeholder(v) for v in ("(not set)", " NULL ", "NA", "na", "0", 0)]
    [True, True, True, False, False, False]
    """
    return isinstance(value, str) and ((text := value.strip()) == NA or text.casefold() in PLACEHOLDERS)


def plain(text: str) -> str:
    """A cell without blanks around it, nothing for a placeholder, and the integer for a float that is one.

    Examples
    --------
    >>> [plain(text) for text in ("512301.0", "1.0E+07", "1e+07", "12E3", "1.25", " a b ", "undefined", '="007"')]
    ['512301', '10000000', '10000000', '12E3', '1.25', 'a b', '', '007']
    """
    text = text.strip()
    if not text.isascii():
        text = text.strip(_INVISIBLE)
    if text[:2] == '="' and text[-1:] == '"':
        text = text[2:-1].strip()  # how a spreadsheet is made to keep the zeros before a number
    if text == NA or text.casefold() in PLACEHOLDERS:
        return ""
    if _whole.fullmatch(text) is None:
        return text
    number = Decimal(text)
    return str(int(number)) if number == number.to_integral_value() else text


def first_plain(values: Sequence[object]) -> str | None:
    """The first value that is there, as a text.

    Examples
    --------
    >>> first_plain([None, "(not set)", 7.0])
    '7'
    """
    return next((text for value in values if (text := plain(text_of(value)))), None)


def without_placeholders(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event of our own form; an id that is a word for nothing is left out.

    Examples
    --------
    >>> without_placeholders({"user_id": "undefined", "item_id": "a"})
    {'item_id': 'a'}
    """
    empty = [name for name in _OWN_IDS if event.get(name) and is_placeholder(event[name])]
    return {name: value for name, value in event.items() if name not in empty} if empty else dict(event)
