"""Protocol of the store: what every engine does. Callers know this and the statements of `infra.store.statements`.

A *position* is where an event stands in the order in which the log may be read. It grows, with gaps; with one writer it is the
event's number, with several it is not, so nobody reads behind `LogTail.end` or takes a number for a position.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from typing import Protocol, TypeVar

from infra.store.tail import LogTail
from infra.store.transaction import Bindings, Row, Transaction

__all__ = ["Bindings", "LogTail", "Read", "Row", "Store", "Transaction", "Work", "Writer"]

Result = TypeVar("Result")
Work = Callable[[Transaction], Result]
Read = Callable[[str, Bindings], list[Row]]


class Store(Protocol):
    """The store as one thread sees it. Whatever it does may raise `infra.store.errors.StoreUnavailable`."""

    def read(self, statement: str, bindings: Bindings = ()) -> list[Row]:
        """All rows of a statement."""
        ...

    def stream(self, statement: str, bindings: Bindings = ()) -> Iterator[Row]:
        """Rows of a statement one by one, all of one snapshot."""
        ...

    def write(self, work: Work[Result], *, serializable: bool = True) -> Result:
        """Do a piece of work in one serializable transaction, durable when this returns.

        Parameters
        ----------
        work
            May be called again where another transaction was in the way; what it raises undoes what it wrote.
        serializable
            False where each statement is right by itself, whatever others commit between two of them: then an engine with many
            writers may let them pass.
        """
        ...

    def append(self, rows: Sequence[Row]) -> list[bool]:
        """Append events to the log, as `Transaction.append`, in a transaction of their own."""
        ...

    def tail(self, name: str) -> LogTail:
        """Position of a reader of the event log."""
        ...

    def stamp(self, topics: Collection[str] = ()) -> int:
        """A number that changes whenever somebody else has committed something.

        Parameters
        ----------
        topics
            Tables that matter; an engine may take others for them as well. All, if empty.
        """
        ...

    def lease(self, name: str, holder: str, seconds: float) -> int | None:
        """Take a lease, or keep it.

        Parameters
        ----------
        seconds
            After which it lapses, unless kept, where an engine cannot see that its holder has died; 0 gives it back.

        Returns
        -------
        The lease's epoch, which grows whenever it changes hands; None while another holder has it.
        """
        ...

    def roll(self, before_us: int | None) -> int:
        """Where the log is kept in parts: make the next one in time, and let the oldest go if all in it is too old.

        Parameters
        ----------
        before_us
            What occurred before this instant is too old, microseconds; None keeps all.

        Returns
        -------
        Number of events that are gone; of a log in one piece, always 0.
        """
        ...

    def is_sound(self) -> bool:
        """Whether what the engine keeps is whole; takes seconds per million events."""
        ...

    def scrub(self) -> bool:
        """Let no file of the store keep what was deleted; False if one still does, and it must be tried again."""
        ...

    def scrub_pages(self) -> bool:
        """As `scrub`, and clear what rows left where they lay before the engine moved them; takes seconds, others go on."""
        ...

    def close(self) -> None:
        """Let go of the connection; the next use opens another one."""
        ...


class Writer(Protocol):
    """Group commit: the work of many threads in one durable transaction."""

    def submit(self, work: Work[Result]) -> "Future[Result]":
        """Hand over something to write.

        Parameters
        ----------
        work
            Called in the writer's thread. What it raises undoes what it wrote, and nothing else.

        Returns
        -------
        Resolves with the result of `work` when it is durable. Raises `StoreUnavailable` when it is not, or what `work` raised.
        """
        ...

    def append(self, partner: str, rows: Sequence[Row]) -> "Future[list[bool]]":
        """Hand over events in the order of `EVENT_COLUMNS`; they name no decision, and a server sent them."""
        ...

    def close(self) -> None:
        """Write what is waiting, then end."""
        ...
