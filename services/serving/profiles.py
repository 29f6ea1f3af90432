"""Profile source: the bandit in memory, of the newest snapshot of the posteriors and the arms of champions and challengers.

The worker writes snapshots (`services.worker.rewards`); here SQLite's ``data_version`` is asked at most every `check_s`
seconds, so that a request pays for a comparison of two numbers.
"""

import logging
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import apsw
import msgspec

from infra.registry import CHALLENGER
from infra.store.connection import connect, rows
from infra.store.statements.decisions import BANDIT_DECISIONS, NEWEST_SNAPSHOT, READ_SNAPSHOT
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
        self._connection = connect(home)
        self._connection.set_busy_timeout(0)  # requests wait behind this
        self._check_s = check_s
        self._checked_at = float("-inf")
        self._data_version = -1
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
        if not 0 <= now_s - self._checked_at < self._check_s:
            self._refresh()
            self._checked_at = now_s
        now = (champions.weights, champions.profiles, self._challenger.found, self._snapshot)
        if any(one is not before for one, before in zip(now, self._of, strict=True)):
            self._of = now
            self._bandit = arms.bandit_of(arms.arms_of(champions, self._challenger.found), self._snapshot)
        return self._bandit

    def _refresh(self) -> None:
        try:
            data_version = self._connection.pragma("data_version")
            if data_version != self._data_version:
                self._challenger.read(self._connection)
                self._snapshot = newest_snapshot(self._connection, self._snapshot)
                self._data_version = data_version
        except apsw.Error:  # locked, or the disk is full: what is known goes on serving
            return


def newest_snapshot(connection: apsw.Connection, known: Snapshot | None = None) -> Snapshot | None:
    """The newest snapshot of the store; the one already known where it is the newest, or the newest is of another schema."""
    ((version,),) = rows(connection, NEWEST_SNAPSHOT)
    if version is None or (known is not None and known.version == version):
        return known
    try:
        return read_snapshot(connection, int(version))
    except (KeyError, TypeError, ValueError, msgspec.DecodeError):
        log.warning("snapshot %d of the profile bandit is of another schema and passed over", version)
        return known


def read_snapshot(connection: apsw.Connection, version: int) -> Snapshot:
    """One version.

    Raises
    ------
    KeyError
        If there is none.
    """
    found = rows(connection, READ_SNAPSHOT, (version,))
    if not found:
        raise KeyError(f"no snapshot of the profile bandit has the version {version}")
    return profile_bandit.from_json({**msgspec.json.decode(found[0][0])["snapshot"], "version": version})


class Replay(NamedTuple):
    """Replay of decisions: how many, and those that came out otherwise."""

    n_decisions: int
    different: list[str]


def replay(home: Path) -> Replay:
    """Take every decision of the bandit once more, from its id, its context and the snapshot that it names."""
    connection = connect(home)
    snapshots: dict[int, Snapshot] = {}
    n, after, different = 0, 0, []
    while found := rows(connection, BANDIT_DECISIONS, (after, REPLAYED_AT_ONCE)):
        for _, decision_id, version, context, profile, propensity in found:
            if version not in snapshots:
                snapshots[version] = read_snapshot(connection, version)
            now = snapshots[version]
            value = msgspec.json.decode(context).get(now.context, "")
            if profile_bandit.choose(now, value, decision_id) != (profile, propensity):
                different.append(decision_id)
        n, after = n + len(found), found[-1][0]
    return Replay(n, different)
