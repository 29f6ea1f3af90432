"""Page of the console as values: tables, plots and forms. Templates show it, and `twins` write the same as CSV and JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeAlias

GOOD, FAIR, BAD, NONE = "good", "fair", "bad", "none"  # states, each with a mark of its own beside its colour


class Link(NamedTuple):
    """Link to another page."""

    text: str
    href: str


class State(NamedTuple):
    """State of something: `kind` is `GOOD`, `FAIR`, `BAD` or `NONE`."""

    text: str
    kind: str


class Moment(NamedTuple):
    """Instant, microseconds since 1970 UTC."""

    at_us: int


class Share(NamedTuple):
    """Share between 0 and 1, drawn as a bar."""

    value: float


class Mix(NamedTuple):
    """Parts that sum to 1, drawn side by side: the intents."""

    parts: Mapping[str, float]


class Span(NamedTuple):
    """Estimate with its interval, on a scale that its column shares."""

    low: float
    value: float
    high: float
    mark: float | None = None


class Heat(NamedTuple):
    """Number whose cell is shaded, 0 to 1."""

    value: float
    depth: float


class Code(NamedTuple):
    """Something to type."""

    text: str


Cell: TypeAlias = str | int | float | Link | State | Moment | Share | Mix | Span | Heat | Code | None


class Column(NamedTuple):
    """Column: its heading, whether it holds numbers, and whether it is among the few that a telephone shows first."""

    name: str
    is_number: bool = False
    about: str = ""


@dataclass(frozen=True)
class Table:
    """Table with its heading.

    Attributes
    ----------
    id
        In the address of its twins, and what `live` exchanges.
    empty
        What is missing where there is no row.
    mend
        The command that changes that.
    key
        What the colours of its `Mix` cells stand for.
    """

    id: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    about: str = ""
    empty: str = "Nothing yet."
    mend: str = ""
    key: Sequence[str] = ()


class Series(NamedTuple):
    """Series of a plot: name, values in the order of x; None where there is none."""

    name: str
    values: Sequence[float | None]


@dataclass(frozen=True)
class Plot:
    """Lines over a common x, with the same numbers as its table."""

    id: str
    title: str
    x: Sequence[float]
    series: Sequence[Series]
    x_name: str
    y_name: str
    marks: Sequence[str] = ()  # of each x, such as the event
    limit: float | None = None
    about: str = ""


class Field(NamedTuple):
    """Field of a form: `kind` is text, number, select, range, hidden, textarea or check.

    `options` are those of a select, and the ends of a range, where these are not 0 and 100.
    """

    name: str
    label: str
    kind: str = "text"
    value: str = ""
    options: Sequence[str] = ()
    about: str = ""


@dataclass(frozen=True)
class Form:
    """Form: by POST it acts (`action`, for some roles only), by GET it asks for another view.

    Attributes
    ----------
    typed
        What the person must type to go ahead, where it cannot be taken back.
    blocked
        Why it cannot be done now; then the button is dead.
    before
        Act and button with which the same fields are tried first; the key Enter takes it.
    """

    id: str
    title: str
    button: str
    fields: Sequence[Field] = ()
    action: str | None = None
    about: str = ""
    typed: str = ""
    blocked: str = ""
    is_live: bool = False
    before: tuple[str, str] | None = None


@dataclass(frozen=True)
class Facts:
    """Facts: names with values."""

    id: str
    title: str
    rows: Sequence[tuple[str, Cell]]
    about: str = ""


@dataclass(frozen=True)
class Text:
    """A text that was made for a terminal, or a note."""

    id: str
    title: str
    text: str
    is_code: bool = False


Block: TypeAlias = Table | Plot | Form | Facts | Text


@dataclass(frozen=True)
class Page:
    """Page: what it says in a sentence, and its blocks in order.

    Attributes
    ----------
    lead
        The sentence for who has time for one.
    state
        Of the lead.
    is_live
        Whether its blocks are exchanged while somebody looks.
    made_at_us
        When it was read.
    """

    title: str
    lead: str
    blocks: Sequence[Block]
    state: str = NONE
    is_live: bool = False
    made_at_us: int = 0
    links: Sequence[Link] = field(default_factory=tuple)


def plain(cell: Cell) -> Any:
    """A cell as JSON holds it; an instant as ISO 8601, UTC.

    Examples
    --------
    >>> plain(Moment(1_500_000)), plain(Share(0.5)), plain(None), plain(Span(0.1, 0.2, 0.3))
    ('1970-01-01T00:00:01.500000Z', 0.5, None, {'low': 0.1, 'value': 0.2, 'high': 0.3})
    """
    match cell:
        case Moment(at_us):
            return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        case Link(text, _) | State(text, _) | Code(text):
            return text
        case Share(value) | Heat(value, _):
            return value
        case Mix(parts):
            return dict(parts)
        case Span(low, value, high, _):
            return {"low": low, "value": value, "high": high}
        case _:
            return cell
