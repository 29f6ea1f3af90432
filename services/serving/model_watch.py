"""Model watch: the models in memory, exchanged while requests run.

A background thread watches the registry's tables: the store tells within `POLL_S` that something was committed, the champion
query then tells whether it was an alias. A new version is loaded and must repeat its golden predictions before one
reference is swapped; if that fails, the version of before keeps serving and `problems` says so. Arrays are memory-mapped
read-only, so all workers share one copy.
"""

import errno
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

from infra import artifacts, object_store, registry
from infra.registry import CHAMPION
from infra.store.engines import closed_store
from infra.store.protocol import Read
from infra.store.watch import StoreWatch
from models import model_specs
from models.model_set import NO_MODELS, ModelSet
from services.serving.action_weights import LiveWeights

POLL_S: Final = 0.2
# Faults of the machine and not of the files: tried again after a pause, which doubles each time.
TRANSIENT: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EIO, errno.ESTALE})
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
log = logging.getLogger("attune.champion")


class ChampionSource(Protocol):
    """Source of the models that serve."""

    def start(self) -> None:
        """Load the models, then keep watching."""
        ...

    def stop(self) -> None:
        """Watch no more."""
        ...

    def current(self) -> ModelSet:
        """The models that serve now."""
        ...

    def problems(self) -> Mapping[str, str]:
        """Models whose champion could not be loaded, and why."""
        ...


class Failed(NamedTuple):
    """Failure to load a version; it is tried again at `again_at_s`, infinity for not before the alias moves."""

    version: int
    again_at_s: float
    pause_s: float


class AliasedModels:
    """Models that carry an alias, loaded again where it moves.

    Parameters
    ----------
    alias
        `CHAMPION`: where a version cannot be loaded or the alias is gone, the version of before stays. `CHALLENGER`: then the
        model is let go.
    names
        Models to look at.
    clock
        Seconds.

    Attributes
    ----------
    found
        As of the last `read`; the same object as long as nothing moved.
    problems
        Models that could not be loaded, and why.
    """

    def __init__(
        self,
        home: Path,
        alias: str,
        names: Collection[str] = model_specs.KEPT_MODELS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._home, self._alias, self._names, self._clock = home, alias, names, clock
        self._failed: dict[str, Failed] = {}
        self.found = NO_MODELS
        self.problems: Mapping[str, str] = MappingProxyType({})

    def read(self, read: Read) -> ModelSet:
        """Models that carry the alias now, all of them exchanged at once."""
        before = self.found.versions
        now = {name: one for name, one in registry.carriers(read, self._alias).items() if name in self._names}
        carried = {name: one.version for name, one in now.items()}
        self._failed = {name: failed for name, failed in self._failed.items() if failed.version == carried.get(name)}
        problems = {name: text for name, text in self.problems.items() if name in self._failed}
        loaded: dict[str, Any] = {}
        for name, (version, artifact) in now.items():
            failed = self._failed.get(name)
            if version == before.get(name) or (failed and self._clock() < failed.again_at_s):
                continue
            try:
                loaded[name] = model_specs.made(name, *artifacts.load(object_store.fetched(self._home, artifact)))
                if self._failed.pop(name, None):
                    del problems[name]
            except model_specs.FAULTS as error:
                # Whatever is wrong with the files, the answer is the same: what served before goes on serving.
                why = error.strerror if isinstance(error, OSError) else error  # without the path: everybody may read it
                problems[name] = f"{name}:{version} could not be loaded: {type(error).__name__}: {why}"
                self._failed[name] = _judged(error, version, failed, self._clock())
                log.error("%s; %s keeps serving", problems[name], before.get(name, "no version"))
        self.problems = MappingProxyType(problems)
        gone = [] if self._alias == CHAMPION else [name for name in before if name not in now or name in problems]
        if loaded or gone:
            versions = {name: version for name, version in before.items() if name not in gone}
            versions |= {name: now[name].version for name in loaded}
            changed: dict[str, Any] = {**dict.fromkeys(gone), **loaded, "versions": versions}
            self.found = replace(self.found, **changed)
            log.info("%ss are now %s", self._alias, versions)
        return self.found

    @property
    def tries_again(self) -> bool:
        """Whether a version that could not be loaded is tried again by itself."""
        return any(failed.again_at_s < float("inf") for failed in self._failed.values())


def _judged(error: Exception, version: int, before: Failed | None, now_s: float) -> Failed:
    """When to try again what could not be loaded: later each time if the machine was at fault, never if the files are."""
    if not isinstance(error, OSError) or error.errno not in TRANSIENT:
        return Failed(version, float("inf"), 0.0)
    pause_s = min(2 * before.pause_s, LONGEST_PAUSE_S) if before else FIRST_PAUSE_S
    return Failed(version, now_s + pause_s, pause_s)


class ChampionWatcher:
    """Champion source of a home; `start` loads the models and keeps watching.

    Parameters
    ----------
    home
        ``ATTUNE_HOME``.
    alias
        `CHAMPION` or `CHALLENGER`.
    """

    def __init__(self, home: Path, poll_s: float = POLL_S, alias: str = CHAMPION) -> None:
        self._store = closed_store(home)  # of whoever starts it, then of the watching thread
        self._poll_s = poll_s
        self._current = NO_MODELS
        self._actions = LiveWeights()
        self._models = AliasedModels(home, alias)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def current(self) -> ModelSet:
        """The models that serve now."""
        return self._current

    def problems(self) -> Mapping[str, str]:
        """Models whose champion could not be loaded, and why."""
        return self._models.problems

    def start(self) -> None:
        """Load the champions, then watch in a daemon thread."""
        self.refresh()
        self._thread = threading.Thread(target=self._watch, name="champions", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the watching thread."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _watch(self) -> None:
        watch = StoreWatch(self._store, "the registry")
        while not self._stopping.wait(self._poll_s):
            watch.look(time.monotonic(), self.refresh)
        self._store.close()

    def refresh(self) -> bool:
        """Load every model whose alias moved and the action weights that serve, then swap all at once.

        Returns
        -------
        Whether something could not be loaded for now and must be tried again.
        """
        models, actions = self._models.read(self._store.read), self._actions.read(self._store.read)
        if models.versions != self._current.versions or actions is not self._current.actions:
            self._current = replace(models, actions=actions)
        return self._models.tries_again
