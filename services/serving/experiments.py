"""Experiment as it runs now, asked of the store at most every `CHECK_S` seconds."""

from pathlib import Path
from typing import Final

from infra import experiments
from infra.store.engines import closed_store
from infra.store.watch import StoreWatch
from models.experiments.runs import FIRST, Run

CHECK_S: Final = 0.2


class Runs:
    """Runs of a home; `current` is called from one thread. While the store cannot be read, the run of before goes on."""

    def __init__(self, home: Path, check_s: float = CHECK_S) -> None:
        self._store = closed_store(home, wait_ms=0)  # requests wait behind this
        self._watch = StoreWatch(self._store, "experiments", check_s)
        self._run = FIRST

    def current(self, now_s: float) -> Run:
        """The run that deals visitors now."""
        self._watch.look(now_s, self._read)
        return self._run

    def _read(self) -> None:
        self._run = experiments.runs(self._store.read)[0]
