"""Profile source: the bandit in memory, of the newest snapshot of the posteriors and the arms of champions and challengers.

The worker writes snapshots (`services.worker.rewards`); here the store is asked for changes at most every `check_s` seconds,
so that a request pays for a comparison of two numbers.
"""

import logging
from operator import is_
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from infra.registry import CHALLENGER
from infra.store.engines import closed_store, open_store
from infra.store.protocol import Read
from infra.store.statements.decisions import BANDIT_DECISIONS, NEWEST_SNAPSHOT, READ_SNAPSHOT
from infra.store.watch import StoreWatch
from models.bandit import arms
from models.bandit import thompson as profile_bandit
from models.bandit.arms import Bandit
from models.bandit.thompson import Snapshot
from models.model_set import NO_MODELS, ModelSet
from services.serving.model_watch import AliasedModels

CHECK_S: Final = 0.2
REPLAYED_AT_ONCE: Final = 5_000
log = logging.getLogger("attune.decisions")


class ProfileSource(Protocol):
    """Source of the bandit that deals profiles."""

    def current(self, champions: ModelSet, now_s: float) -> Bandit:
        """The arms of these champions and the newest posteriors."""
        ...


WEIGHTED: Final = ("weights", "profiles")  # models that have profiles to deal


class Profiles:
    """Profile source of a home. `current` is called from one thread.

    Parameters
    ----------
    home
        ``ATTUNE_HOME``.
    """

    def __init__(self, home: Path, check_s: float = CHECK_S) -> None:
        self._store = closed_store(home, wait_ms=0)  # requests wait behind this
        self._watch = StoreWatch(self._store, "profiles", check_s)
        self._snapshot: Snapshot | None = None
        self._challenger = AliasedModels(home, CHALLENGER, WEIGHTED)
        self._of: tuple[Any, ...] = (None, None, NO_MODELS, None)
        self._bandit = Bandit(arms.arms_of(NO_MODELS), None)

    def current(self, champions: ModelSet, now_s: float) -> Bandit:
        """The arms of these champions and the newest posteriors.

        Parameters
        ----------
        now_s
            Any clock, seconds.
        """
        self._watch.look(now_s, self._take)
        now = (champions.weights, champions.profiles, self._challenger.found, self._snapshot)
        if not all(map(is_, now, self._of)):
            self._of = now
            self._bandit = arms.bandit_of(arms.arms_of(champions, self._challenger.found), self._snapshot)
        return self._bandit

    def _take(self) -> None:
        self._challenger.read(self._store.read)
        self._snapshot = newest_snapshot(self._store.read, self._snapshot)


def newest_snapshot(read: Read, known: Snapshot | None = None) -> Snapshot | None:
    """The newest snapshot of the store; the one already known where it is the newest, or the newest is of another schema."""
    ((version,),) = read(NEWEST_SNAPSHOT, ())
    if version is None or (known is not None and known.version == version):
        return known
    try:
        return read_snapshot(read, int(version))
    except (KeyError, TypeError, ValueError, msgspec.DecodeError):
        log.warning("snapshot %d of the profile bandit is of another schema and passed over", version)
        return known


def read_snapshot(read: Read, version: int) -> Snapshot:
    """One version.

    Raises
    ------
    KeyError
        If there is none.
    """
    kept = read(READ_SNAPSHOT, (version,))
    if not kept:
        raise KeyError(f"no snapshot of the profile bandit has the version {version}")
    return profile_bandit.from_json({**msgspec.json.decode(kept[0][0])["snapshot"], "version": version})


class Replay(NamedTuple):
    """Replay of decisions: how many, and those that came out otherwise."""

    n_decisions: int
    different: list[str]


def replay(home: Path) -> Replay:
    """Take the bandit's decisions once more, from whom each was dealt to, its context and the snapshot that it names.

    Those of before the oldest snapshot that is kept (`services.worker.cleanup`) are not asked.
    """
    read = open_store(home).read
    snapshots: dict[int, Snapshot] = {}
    n, after, different = 0, 0, []
    while decisions := read(BANDIT_DECISIONS, (after, REPLAYED_AT_ONCE)):
        for _, decision_id, version, told, profile, propensity, user_id in decisions:
            if version not in snapshots:
                snapshots[version] = read_snapshot(read, version)
            now = snapshots[version]
            context = msgspec.json.decode(told)
            value = profile_bandit.value_of(now.context, context)
            if "session" in context:
                again = profile_bandit.choose(now, value, arms.dealt_by(user_id, context["session"]))
            else:  # of before profiles were dealt to visitors
                again = profile_bandit.choose(now, value, decision_id, version)
            if again != (profile, propensity):
                different.append(decision_id)
        n, after = n + len(decisions), decisions[-1][0]
    return Replay(n, different)
