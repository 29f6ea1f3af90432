"""The champion models in memory, exchanged while requests run.

A background thread watches the registry's tables: SQLite's ``data_version`` tells within `POLL_S` that something was committed,
the champion query then tells whether it was an alias. A new version is loaded and must repeat its golden predictions before one
reference is swapped; if that fails, the version of before keeps serving and `problems` says so. Arrays are memory-mapped
read-only, so all workers share one copy.
"""

import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol

import apsw
import numpy as np
import numpy.typing as npt

from models import layout, served
from models.artifact import Parts, require_whole
from models.bandit.profiles import ProfileSet
from models.inference.intent import IntentModel
from models.inference.next_action import NextActionModel
from models.nudging.engagement_model import EngagementModel
from models.pairs.associations import AssociationStore
from models.ranking.ranker import Ranker
from models.stored.tables import ALIASED
from models.weighting.action_weights import ActionWeights
from models.weighting.weights import WeightProfile
from services.answering.live_weights import LiveWeights
from services.store import connect

POLL_S: Final = 0.2
CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
log = logging.getLogger("attune.champion")


@dataclass(frozen=True)
class Champions:
    """What serves at one moment; immutable, so that a request sees one set of versions from beginning to end.

    Attributes
    ----------
    actions
        Action weights as the worker last counted them; they move the base of the weight profile.
    versions
        Version of each model that is loaded.
    """

    intent: IntentModel | None = None
    next_action: NextActionModel | None = None
    associations: AssociationStore | None = None
    weights: WeightProfile | None = None
    ranker: Ranker | None = None
    engagement: EngagementModel | None = None
    profiles: ProfileSet | None = None
    actions: ActionWeights | None = None
    versions: Mapping[str, int] = field(default_factory=dict)


class ChampionSource(Protocol):
    """Where a handler gets the models from."""

    def current(self) -> Champions:
        """The models that serve now."""
        ...

    def problems(self) -> Mapping[str, str]:
        """Models whose champion could not be loaded, and why."""
        ...


class ChampionWatcher:
    """The champions of a home; `start` loads them and keeps watching.

    Parameters
    ----------
    home
        ``ATTUNE_HOME``.
    alias
        `CHAMPION`, or `CHALLENGER`: then a model that no longer carries the alias is let go.
    """

    def __init__(self, home: Path, poll_s: float = POLL_S, alias: str = CHAMPION) -> None:
        self._home = home
        self._alias = alias
        self._poll_s = poll_s
        self._current = Champions()
        self._actions = LiveWeights()
        self._problems: Mapping[str, str] = MappingProxyType({})
        self._failed: dict[str, int] = {}  # version that could not be loaded: not tried again until the alias moves
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def current(self) -> Champions:
        """The models that serve now."""
        return self._current

    def problems(self) -> Mapping[str, str]:
        """Models whose champion could not be loaded, and why."""
        return self._problems

    def start(self) -> None:
        """Load the champions, then watch in a daemon thread."""
        connection = connect(self._home)
        seen = connection.pragma("data_version")
        self.refresh(connection)
        self._thread = threading.Thread(target=self._watch, args=(connection, seen), name="champions", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the watching thread."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _watch(self, connection: apsw.Connection, seen: int) -> None:
        while not self._stopping.wait(self._poll_s):
            try:
                version = connection.pragma("data_version")
                if version != seen:
                    self.refresh(connection)
                    seen = version
            except apsw.Error as error:  # locked, or the disk is full: what serves goes on serving
                log.warning("the registry cannot be read: %s", type(error).__name__)
        connection.close()

    def refresh(self, connection: apsw.Connection) -> None:
        """Load every champion whose version changed, then swap all at once."""
        before = self._current
        rows = {name: (int(version), artifact) for name, version, artifact in connection.execute(ALIASED, (self._alias,))}
        loaded: dict[str, Any] = {}
        problems = {name: text for name, text in self._problems.items() if self._failed.get(name) == rows.get(name, (None,))[0]}
        for name, (version, artifact) in rows.items():
            if name not in served.LOADERS or before.versions.get(name) == version or self._failed.get(name) == version:
                continue
            try:
                loaded[name] = load(name, self._home / artifact)
            except served.FAULTS as error:
                # Whatever is wrong with the files, the answer is the same: what served before goes on serving.
                why = error.strerror if isinstance(error, OSError) else error  # without the path: everybody may read it
                problems[name] = f"{name}:{version} could not be loaded: {type(error).__name__}: {why}"
                self._failed[name] = version
                log.error("%s; %s keeps serving", problems[name], before.versions.get(name, "no version"))
        gone = [name for name in before.versions if name not in rows] if self._alias != CHAMPION else []
        if loaded or gone:
            versions = {name: version for name, version in before.versions.items() if name not in gone}
            versions |= {name: rows[name][0] for name in loaded}
            self._current = replace(before, **dict.fromkeys(gone), **loaded, versions=versions)
            log.info("%ss are now %s", self._alias, versions)
        actions = self._actions.read(connection)
        if actions is not self._current.actions:
            self._current = replace(self._current, actions=actions)
        self._problems = MappingProxyType(problems)


def load(name: str, folder: Path) -> Any:
    """Load one artifact and let it repeat its golden predictions.

    Parameters
    ----------
    name
        One of `MODEL_NAMES`.
    folder
        With ``meta.json``, one ``.npy`` per array and, where there are any, the golden rows.

    Raises
    ------
    ValueError
        If the artifact is of another schema, or its predictions differ from the recorded ones.
    OSError
        If a file is missing.
    """
    noted = folder / layout.SUMS_FILE
    if noted.exists():  # versions of before there were sums are taken as they are
        require_whole(_contents(folder), json.loads(noted.read_text()))
    arrays = {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in sorted(folder.glob("*.npy"))}
    golden = folder / layout.GOLDEN_FILE
    parts = Parts(json.loads((folder / layout.META_FILE).read_text()), arrays)
    return served.made(name, parts, json.loads(golden.read_text()) if golden.exists() else None)


def _contents(folder: Path) -> dict[str, npt.NDArray[np.uint8]]:
    return {
        path.name: np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8) for path in folder.iterdir()
    }
