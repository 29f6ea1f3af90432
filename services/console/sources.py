"""Sources of the pages: the store over a connection that only reads, the models that serve, and the reports of a home."""

import json
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from infra import layout
from infra.store.engines import closed_store
from infra.store.protocol import Bindings, Row
from infra.store.statements.console import (
    BEFORE_NEWEST,
    BEFORE_NEWEST_DECISIONS,
    DECISIONS_BY_SECOND,
    EVENTS_BY_SECOND,
    TITLES,
)  # fmt: skip
from infra.store.statements.decisions import NEWEST_DECISION
from models.model_set import ModelSet
from services.console.pace import Pace
from services.serving.model_watch import ChampionWatcher

WAIT_MS: Final = 200
LONGEST_TITLE: Final = 60


class Ask(NamedTuple):
    """Question for a page: what stands in its address, and the role of who asks."""

    query: Mapping[str, str]
    role: str

    def number(self, name: str, otherwise: float, low: float, high: float) -> float:
        """A number of the address within bounds."""
        try:
            found = float(self.query.get(name, ""))
        except ValueError:
            return otherwise
        return min(max(found, low), high) if found == found else otherwise


class Sources:
    """Sources of one console process; for several threads, one at a time."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._store = closed_store(home, wait_ms=WAIT_MS, only_read=True)
        self._lock = threading.RLock()
        self._champions: ChampionWatcher | None = None
        self._reports: dict[Path, tuple[float, Any]] = {}
        self._arrived = Pace(BEFORE_NEWEST, EVENTS_BY_SECOND)
        self._decided = Pace(BEFORE_NEWEST_DECISIONS, DECISIONS_BY_SECOND)

    def read(self, statement: str, bindings: Bindings = ()) -> list[Row]:
        """All rows of a statement.

        Raises
        ------
        StoreUnavailable
            If the store cannot be read.
        """
        with self._lock:
            return self._store.read(statement, bindings)

    def paces(self) -> tuple[Pace, Pace]:
        """Paces at which events arrive and recommendations are given, up to now."""
        with self._lock:
            end = self._store.tail("console").end()
        self._arrived.look(self.read, end)
        self._decided.look(self.read, int(self.read(NEWEST_DECISION)[0][0]))
        return self._arrived, self._decided

    def now_us(self) -> int:
        """Now, microseconds since 1970."""
        return time.time_ns() // 1000

    def models(self) -> ModelSet:
        """The models that serve; loaded at the first question, and followed since."""
        with self._lock:
            if self._champions is None:
                watcher = ChampionWatcher(self.home, poll_s=1.0)
                watcher.start()
                self._champions = watcher
            return self._champions.current()

    def titles(self, item_ids: Iterable[str]) -> dict[str, str]:
        """Titles of items that a catalogue tells of; of the others their ids."""
        wanted = list(dict.fromkeys(item_ids))
        found: dict[str, str] = dict(self.read(TITLES, (json.dumps(wanted),))) if wanted else {}
        return {one: str(found.get(one, one))[:LONGEST_TITLE] for one in wanted}

    def report(self, name: str) -> Any:
        """A report as its JSON file holds it, or None; read again where it has changed."""
        path = self.home / layout.REPORTS / name
        try:
            changed = path.stat().st_mtime
            if path not in self._reports or self._reports[path][0] != changed:
                self._reports[path] = changed, json.loads(path.read_bytes())
        except (OSError, ValueError):
            return None
        return self._reports[path][1]

    def reported_at_us(self, name: str) -> int | None:
        """When a report was written, or None."""
        path = self.home / layout.REPORTS / name
        return int(path.stat().st_mtime * 1e6) if path.exists() else None

    def close(self) -> None:
        """Let go of the store, and of the models."""
        if self._champions is not None:
            self._champions.stop()
        with self._lock:
            self._store.close()


def shown(user_id: str) -> str:
    """A pseudonym, short enough to read; of an id only its end tells it from others."""
    return user_id[:10]


def spoken(name: str) -> str:
    """A name of the schema as people say it.

    Examples
    --------
    >>> spoken("add_to_cart")
    'add to cart'
    """
    return name.replace("_", " ")
