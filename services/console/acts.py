"""Acts: what may be done in the console, by which roles. Each calls what the command line calls."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from infra.store.engines import open_store
from infra.store.protocol import Work
from services.console.access import Person
from services.console.page import Block
from services.console.sources import Sources

Result = TypeVar("Result")


@dataclass(frozen=True)
class Doing:
    """Form that somebody has sent: its fields, who sent it, and when; and what pages are made of."""

    home: Path
    fields: Mapping[str, str]
    person: Person
    now_us: int
    sources: Sources

    def write(self, work: Work[Result]) -> Result:
        """Do a piece of work in one transaction."""
        with closing(open_store(self.home)) as store:
            return store.write(work)

    @property
    def reason(self) -> str:
        """Reason that the person gave."""
        return self.fields.get("reason", "").strip() or "in the console"

    def required(self, name: str) -> str:
        """A field that must not be empty.

        Raises
        ------
        ValueError
            If it is.
        """
        value = self.fields.get(name, "").strip()
        if not value:
            raise ValueError(f"{name} is missing")
        return value


class Seen(NamedTuple):
    """Outcome of an act, where it is more than a sentence.

    Attributes
    ----------
    blocks
        They come first on the page that is shown then, in place of its own of the same id.
    query
        With which that page is asked for.
    """

    told: str
    blocks: Sequence[Block] = ()
    query: Mapping[str, str] = {}


class Act(NamedTuple):
    """Act: what it does, for whom, and which field names its subject in the audit.

    `do` returns what is to be told, or `Seen`; `ValueError`, `KeyError` and `OSError` are told as why it was not done. What it
    returns with a secret in it is shown once and never kept.
    """

    do: Callable[[Doing], str | Seen]
    roles: frozenset[str]
    subject: str = ""
    typed: str = ""  # field whose value must have been typed again, in `typed`
