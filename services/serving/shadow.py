"""Shadow: the challenger answers a share of the live requests too, and nobody waits for it or sees it.

A handler offers how it answered as a function of the models; a thread of this process calls it with the champion's models and
with the challenger's, one after the other under the same conditions, compares both answers, and writes sums every `WRITE_S`.
The queue is short: while the thread is busy, further offers are dropped. Without a challenger nothing is queued.
"""

import logging
import queue
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from infra.registry import CHALLENGER
from infra.store.engines import closed_store
from infra.store.errors import StoreUnavailable
from infra.store.statements.shadow import WRITE, named
from models.arrays import Floats
from models.assess import Assessment
from models.model_set import ModelSet
from models.model_specs import FAULTS
from models.recommend import Recommendation
from models.schema import NEXT_ACTIONS
from services.serving.model_watch import ChampionSource, ChampionWatcher

MAX_WAITING: Final = 32  # requests
WRITE_S: Final = 2.0
TOP: Final = 20
Answer = Recommendation | Assessment
_UNIFORM: Final = np.full(len(NEXT_ACTIONS), 1 / len(NEXT_ACTIONS))
Score = Callable[[ModelSet], Answer]
log = logging.getLogger("attune.shadow")

SAME, OTHER, FAILED, DROPPED = "same_label", "other_label", "failed", "dropped"


class Likeness(NamedTuple):
    """Likeness of two answers.

    Attributes
    ----------
    same_label
        Whether both name the same intent, or the same next action.
    overlap
        Share of the first `TOP` items that both have, 0 to 1; 1 where neither has any.
    distance
        Total variation distance of the probabilities, 0 to 1.
    """

    same_label: bool
    overlap: float
    distance: float


def likeness(ours: Answer, theirs: Answer) -> Likeness:
    """Compare two answers to the same request."""
    p, q = _probabilities(ours), _probabilities(theirs)
    return Likeness(
        int(p.argmax()) == int(q.argmax()), _overlap(_items(ours), _items(theirs)), 0.5 * float(np.abs(p - q).sum())
    )


def _probabilities(answer: Answer) -> Floats:
    if isinstance(answer, Recommendation):
        return answer.p_intent
    return _UNIFORM if answer.p_next is None else answer.p_next


def _items(answer: Answer) -> set[str]:
    return set(answer.ranking.item_ids[:TOP]) if isinstance(answer, Recommendation) else set()


def _overlap(ours: set[str], theirs: set[str]) -> float:
    return len(ours & theirs) / max(len(ours), len(theirs)) if ours or theirs else 1.0


class Sums:
    """Sums since the last write, by kind, for one pair of champion and challenger."""

    def __init__(self) -> None:
        self.pair = ("", "")
        self.by_kind: dict[str, list[float]] = {}

    def add(self, kind: str, found: Likeness | None, champion_us: float, challenger_us: float) -> None:
        """Add one request; None where the challenger failed."""
        sums = self.by_kind.setdefault(kind, [0, 0, 0, 0.0, 0.0, 0.0, 0.0])
        more = (1, 0, *map(float, found), champion_us, challenger_us) if found else (1, 1, 0, 0.0, 0.0, 0.0, 0.0)
        self.by_kind[kind] = [a + b for a, b in zip(sums, more, strict=True)]

    def rows(self, now_us: int) -> list[tuple[Any, ...]]:
        """Rows for the table `shadow`; afterwards there is nothing."""
        rows = [(now_us, kind, *self.pair, *map(int, sums[:3]), *sums[3:]) for kind, sums in self.by_kind.items()]
        self.by_kind = {}
        return rows


class Shadow:
    """Shadow that scores live requests with the challenger.

    Parameters
    ----------
    share
        Of the requests, 0 to 1; 0 starts nothing.
    champions
        What serves.
    counted
        Is told each outcome: ``same_label``, ``other_label``, ``failed`` or ``dropped``.
    """

    def __init__(
        self,
        home: Path,
        share: float,
        champions: ChampionSource,
        noise: random.Random,
        counted: Callable[[str], None] | None = None,
    ) -> None:
        self._share, self._champions, self._noise = share, champions, noise
        self._store = closed_store(home)  # of the thread
        self._counted = counted or (lambda outcome: None)
        self._watcher = ChampionWatcher(home, alias=CHALLENGER)
        self._waiting: queue.Queue[tuple[str, Score]] = queue.Queue(MAX_WAITING)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._sums = Sums()

    def wants(self) -> bool:
        """Whether this request should be offered; costs next to nothing without a challenger."""
        return bool(self._watcher.current().versions) and self._noise.random() < self._share

    def offer(self, kind: str, score: Score) -> None:
        """Take a request that was answered; `score` gives the answer of any set of models, and may be called in a thread."""
        try:
            self._waiting.put_nowait((kind, score))
        except queue.Full:
            self._counted(DROPPED)

    def start(self) -> None:
        """Load the challenger, if there is one, and score in a daemon thread."""
        if self._share > 0 and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread; what was seen is written."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _run(self) -> None:
        self._watcher.start()
        written_s = time.monotonic()
        while not self._stopping.is_set():
            with suppress(queue.Empty):
                self._compare(*self._waiting.get(timeout=0.2))
            if time.monotonic() - written_s > WRITE_S:
                self._write()
                written_s = time.monotonic()
        self._write()
        self._store.close()
        self._watcher.stop()

    def _compare(self, kind: str, score: Score) -> None:
        champion, challenger = self._champions.current(), self._watcher.current()
        if not challenger.versions:
            return
        both = replace(
            champion,
            **{name: getattr(challenger, name) for name in challenger.versions},
            versions={**champion.versions, **challenger.versions},
        )
        pair = (named(champion.versions), named(both.versions))
        if pair != self._sums.pair:
            self._write()
            self._sums.pair = pair
        try:
            began = time.perf_counter()
            ours = score(champion)
            between = time.perf_counter()
            theirs = score(both)
            ended = time.perf_counter()
            found = likeness(ours, theirs)
        except FAULTS as error:  # a challenger may be wrong in any way; that is what it is tried for
            log.warning("the challenger failed: %s", type(error).__name__)
            self._sums.add(kind, None, 0.0, 0.0)
            self._counted(FAILED)
            return
        self._sums.add(kind, found, (between - began) * 1e6, (ended - between) * 1e6)
        self._counted(SAME if found.same_label else OTHER)

    def _write(self) -> None:
        rows = self._sums.rows(time.time_ns() // 1000)
        if not rows:
            return
        try:
            self._store.write(lambda transaction: transaction.executemany(WRITE, rows))
        except StoreUnavailable as error:
            log.warning("what the challenger answered cannot be written: %s", error.kind)
