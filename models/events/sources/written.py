"""Times and numbers as tables write them: patterns, clocks in a zone, the hour that a clock shows twice, currencies."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np

from models.arrays import Objects
from models.events.foreign import in_microseconds, number_of
from models.events.rules import instant_text, parse_instant_us
from models.events.sources.columns import object_array

UNITS: Final = {"s": 1_000_000.0, "ms": 1_000.0, "us": 1.0, "ns": 0.001}
AUTO: Final = "auto"
DAYS: Final = "days"  # of a spreadsheet, since 30 December 1899
_MOST_DIGITS: Final = 19  # of a Unix time, in nanoseconds
_DAY_US: Final = 86_400_000_000
_DAYS_TO_1970: Final = 25_569
_SLACK_US: Final = 300_000_000  # by which rows in their order may go back without a clock that was set back
_MOST_STEPS_BACK: Final = 0.02  # of the rows of a file in the order of its times
_money: Final = re.compile(
    r"(?:[A-Z]{2,3}|kr\.?|zł|Kč|Ft|lei|R|US|A|C)?\s*[$€£¥₹₽₺₩₪฿₫₴]?\s*([+-]?[0-9][0-9.,'’\s]*)\s*[$€£¥₹₽₺₩₪฿₫₴]?"
    r"\s*(?:[A-Z]{3}|kr\.?|zł|Kč|Ft|lei)?"
).fullmatch
_gap: Final = re.compile(r"(?<=[0-9])['’\s](?=[0-9]{3}(?![0-9]))")


def number_in(text: str, decimal: str) -> Any:
    """The number of a text, with or without a currency, nothing for a placeholder, or the text.

    Examples
    --------
    >>> number_in("1.299,50", ","), number_in("1,299.50", "."), number_in("9 pieces", ".")
    (1299.5, 1299.5, '9 pieces')
    >>> number_in("$1,299.50", "."), number_in("1 299,50 €", ","), number_in("CHF 1'299.50", "."), number_in("R$ 9,90", ",")
    (1299.5, 1299.5, 1299.5, 9.9)
    """
    bare = bare_number(text)
    thousands = "," if decimal == "." else "."
    whole, _, fraction = bare.partition(decimal)
    groups = whole.split(thousands)
    if len(groups) > 1 and all(len(group) == 3 for group in groups[1:]) and len(groups[0].lstrip("+-")) <= 3:
        whole = "".join(groups)
    return value if isinstance(value := number_of(f"{whole}.{fraction}" if fraction else whole), float) else _or(text, value)


def bare_number(text: str) -> str:
    """A number without a currency and without gaps between thousands; any other text as it is."""
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return text
    return _gap.sub("", found[1].strip()) if (found := _money(text.strip())) else text


def _or(text: str, value: Any) -> Any:
    return None if value is None else text


def time_texts(cells: Objects, times: str | Sequence[str], zone: str, whose: Objects) -> Objects:
    """A column of times as RFC 3339; what is none stays as it is, None stays None.

    Where a zone's clock was set back, an hour of its times could be one of two instants. The order of the rows says which: of
    a file in the order of its times (or the reverse) that of all rows, else that of each visitor. Where it says nothing, the
    first.
    A time in an hour that was left out is read as if the clock had not been set forward yet.

    Parameters
    ----------
    cells, whose
        Texts of the times, and visitors; shape (n_rows,).

    Examples
    --------
    >>> cells = object_array(["31.03.2024 02:30", "27.10.2024 02:50", "27.10.2024 02:10"])
    >>> time_texts(cells, "%d.%m.%Y %H:%M", "Europe/Berlin", object_array(["u", "u", "v"])).tolist()
    ['2024-03-31T02:30:00+01:00', '2024-10-27T02:50:00+02:00', '2024-10-27T02:10:00+01:00']
    """
    values = cells.tolist()
    different = {text for text in values if text is not None}
    first = {text: time_text(text, times, zone) for text in different}
    if zone == "UTC":
        return object_array([None if text is None else first[text] for text in values])
    second = {text: time_text(text, times, zone, fold=1) for text in different}
    earlier = {text: _instant(found) for text, found in first.items()}
    later = {text: _instant(found) if found != first[text] else earlier[text] for text, found in second.items()}
    if not any(later[text] > earlier[text] for text in different):
        return object_array([None if text is None else first[text] for text in values])
    pairs = np.array([(0, 0) if text is None else (earlier[text], later[text]) for text in values], dtype=np.int64)
    is_second = _are_second(pairs, whose.tolist())
    chosen = zip(values, is_second, strict=True)
    return object_array([None if text is None else (second if late else first)[text] for text, late in chosen])


def _instant(text: str) -> int:
    try:
        return parse_instant_us(text)
    except (ValueError, OverflowError):
        return 0


def _are_second(pairs: "np.typing.NDArray[np.int64]", whose: Sequence[Any]) -> list[bool]:
    """Which rows are of the second pass of an hour; of each row the instants that it could be, shape (n_rows, 2)."""
    sure = pairs[(pairs[:, 0] >= pairs[:, 1]) & (pairs[:, 0] != 0), 0]
    steps = np.diff(sure)
    up, down = int((steps > _SLACK_US).sum()), int((steps < -_SLACK_US).sum())
    is_sorted = min(up, down) <= _MOST_STEPS_BACK * max(up + down, 1)
    order = range(len(pairs) - 1, -1, -1) if is_sorted and down > up else range(len(pairs))
    found, last = [False] * len(pairs), dict[Any, int]()
    for row in order:
        earlier, later = pairs[row].tolist()
        visitor = None if is_sorted else whose[row]
        found[row] = later > earlier and earlier < last.get(visitor, 0) - _SLACK_US
        if earlier:
            last[visitor] = max(last.get(visitor, 0), later if found[row] else earlier)
    return found


def time_text(text: str, times: str | Sequence[str], zone: str, fold: int = 0) -> str:
    """A time of a table as RFC 3339; what is none comes back as it is.

    Parameters
    ----------
    times
        How it is written, or several ways, of which the first that fits counts.
    fold
        1 for the second of two instants at which the clock of the zone showed this time.

    Examples
    --------
    >>> time_text("24.12.2023 18:30", "%d.%m.%Y %H:%M", "Europe/Berlin")
    '2023-12-24T18:30:00+01:00'
    >>> time_text("1700000000123", "auto", "UTC"), time_text("45291.5", "days", "UTC")
    ('2023-11-14T22:13:20.123000+00:00', '2023-12-31T12:00:00+00:00')
    >>> {time_text(f"1700000000{rest}", "auto", "UTC") for rest in ("", "000", "000000", "000000000")}
    {'2023-11-14T22:13:20+00:00'}
    >>> time_text("1700000000", ["%d.%m.%Y", "auto"], "UTC")
    '2023-11-14T22:13:20+00:00'
    """
    ways = (times,) if isinstance(times, str) else times
    found = ((way, _by(text, way, zone, fold)) for way in ways)
    return next((one for way, one in found if one != text or way == ways[-1]), text)


def _by(text: str, times: str, zone: str, fold: int) -> str:
    if times in (AUTO, "ms") and (dotnet := _dotnet(text)):
        return instant_text(int(dotnet[1]) * 1_000)
    text = text.replace(",", ".") if times == DAYS or _unix_with_comma(text) else text
    number = _unix(text)
    if times == DAYS and isinstance(number, float):
        wall = instant_text(round((number - _DAYS_TO_1970) * _DAY_US / 1_000) * 1_000)
        return instant_text(wall.removesuffix("+00:00"), zone, fold)
    if times in UNITS and isinstance(number, float):
        return instant_text(_microseconds(text, number, UNITS[times]))
    if times not in (AUTO, DAYS, *UNITS):
        try:
            return instant_text(_by_pattern(text, times).isoformat(), zone, fold)
        except ValueError:
            return instant_text(text, zone, fold)  # a typed column needs no pattern
    if isinstance(number, float) and times == AUTO:
        exact = int(text) if text.isdecimal() else 0
        return instant_text(in_microseconds(exact) if exact else of_fraction(number))
    return instant_text(text, zone, fold)


_dotnet: Final = re.compile(r"\\?/Date\((-?[0-9]{1,15})(?:[+-][0-9]{4})?\)\\?/").fullmatch  # the offset is for show only
_unix_with_comma: Final = re.compile(r"[0-9]{9,},[0-9]+").fullmatch
_zone_in_words: Final = re.compile(r" \([^)]*\)$")  # as JavaScript writes it behind the offset
_word: Final = re.compile(r"[^\W\d_]+\.?")
_day_with_dot: Final = re.compile(r"^(\d\d?)\. ?(?=[^\W\d_])")
_BETWEEN: Final = frozenset({"de", "del", "di", "um", "à", "a", "om", "alle", "uhr"})
# Months in other languages, as far as their first letters are not those of the English ones.
_MONTHS: Final = {
    **{"janv": "Jan", "ene": "Jan", "gen": "Jan", "fev": "Feb", "fév": "Feb", "mär": "Mar", "mrz": "Mar", "maa": "Mar"},
    **{"avr": "Apr", "abr": "Apr", "mai": "May", "mei": "May", "mag": "May", "may": "May", "juin": "Jun", "giu": "Jun"},
    **{"juil": "Jul", "lug": "Jul", "aoû": "Aug", "aou": "Aug", "ago": "Aug", "set": "Sep", "okt": "Oct", "out": "Oct"},
    **{"ott": "Oct", "dez": "Dec", "déc": "Dec", "dic": "Dec", "mars": "Mar", "mar": "Mar", "apr": "Apr", "jun": "Jun"},
    **{"jul": "Jul", "sep": "Sep", "nov": "Nov", "jan": "Jan", "feb": "Feb", "aug": "Aug", "oct": "Oct", "dec": "Dec"},
}


def _by_pattern(text: str, pattern: str) -> datetime:
    """A time by a pattern; months may be named in several languages.

    Examples
    --------
    >>> _by_pattern("1. März 2023 10:00", "%d %b %Y %H:%M").month, _by_pattern("12 de agosto de 2023", "%d %b %Y").month
    (3, 8)
    """
    text = _zone_in_words.sub("", " ".join(text.split()))
    if "%f" in pattern:
        text = re.sub(r"(\.[0-9]{6})[0-9]+", r"\1", text)  # Oracle keeps nanoseconds
    if "%b" in pattern and "%a" not in pattern:
        text = " ".join(_word.sub(_english, _day_with_dot.sub(r"\1 ", text)).split())
    return datetime.strptime(text, pattern)


def _english(found: "re.Match[str]") -> str:
    """The short English name of a month; what may stand between the parts of a date is left out."""
    name = found[0].rstrip(".").casefold()
    month = _MONTHS.get(name[:4]) or _MONTHS.get(name[:3])
    return month if month and len(name) > 2 else "" if name in _BETWEEN else found[0]


def of_fraction(number: float) -> int:
    """Microseconds of a Unix time with a fraction, in whichever unit it can be."""
    whole = int(number)
    return in_microseconds(whole) + round((number - whole) * (in_microseconds(whole) / whole if whole else 1_000_000))


def _unix(text: str) -> Any:
    """The number of a text, also one of as many digits as nanoseconds have; else the text."""
    return float(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else number_of(text)


def _microseconds(text: str, number: float, unit_us: float) -> int:
    """Exact where the text is an integer."""
    if text.isdecimal():
        return int(text) * int(unit_us) if unit_us >= 1 else int(text) // 1_000
    return round(number * unit_us)


def day_and_clock(day: str | None, clock: str | None) -> str | None:
    """A day and a time of day from two columns as one text; the time is left out where the day has one.

    Examples
    --------
    >>> day_and_clock("11/01/2023", "10:15:30"), day_and_clock("2023-11-01 00:00:00", "7:05"), day_and_clock("20231101", "1015")
    ('11/01/2023 10:15:30', '2023-11-01 07:05', '20231101 10:15')
    """
    if day is None or clock is None:
        return day
    bare = re.sub(r"[T ]00:00(:00(\.0+)?)?$", "", day)
    clock = re.sub(r"^(\d\d?)(\d\d)$", r"\1:\2", clock.strip())
    clock = f"0{clock}" if re.match(r"\d:", clock) else clock
    return f"{bare} {clock}"
