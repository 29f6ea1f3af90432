"""Reward duty: rewards are joined to decisions, and the bandit's posteriors are made anew from them.

An event of the log is looked at once (its place is a cursor, moved in the transaction that holds the credit) and credited once
(the event's number is the credit's key); a decision's reward is made from all its credits. So a killed worker, an event sent
twice or a second look change nothing. What the bandit knows is not kept but made from decisions and rewards, by stretches:
only stretches in which something changed are read again. Decisions count from their first seconds on, as far as their rewards
can have been seen (`models.bandit.memory`), so the bandit learns within minutes, whatever the window of rewards is.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from infra import registry
from infra.registry import CHALLENGER, CHAMPION
from infra.settings import Settings
from infra.store.engines import open_store
from infra.store.protocol import Store, Transaction
from infra.store.statements import decisions as sql
from infra.store.statements.decisions import STRETCH
from infra.store.statements.events import RECEIVED
from models.bandit import arms, prior, profiles
from models.bandit import thompson as profile_bandit
from models.bandit.arms import Arms
from models.bandit.memory import Decided, Memory, Rewarded
from models.bandit.rewards import REWARD_OF, RewardParams
from models.bandit.thompson import EVERYWHERE, BanditParams, Snapshot
from models.model_set import NO_MODELS, ModelSet
from models.schema import SAME_CLOCK_S, TRANSIT_S
from models.weight_profile import WeightProfile
from services.serving.model_watch import AliasedModels
from services.serving.profiles import WEIGHTED, newest_snapshot

CURSOR: Final = "rewards"
POLL_S: Final = 1.0
GATHER_S: Final = 1.0
EVENTS_A_STEP: Final = 5_000
MEMORY: Final = 100_000  # decisions that the posteriors are made of: five half-lives
REFRESH_US: Final = 5_000_000  # a snapshot at most so often, unless the arms changed
MOVED: Final = 0.01  # a snapshot is worth writing when probabilities moved by this much, all together or their mean
MOVED_ALONE: Final = 0.1  # or those of a single context by this much
NAMED_LATE_US: Final = TRANSIT_S * 1_000_000  # who names a decision had seen it, whatever the clock says
CUT_US: Final = SAME_CLOCK_S * 1_000_000  # clocks are cut to seconds, as the readout of experiments allows
_AHEAD_US: Final = 60_000_000  # an event received further in the future comes from a clock that was wrong


class Credit(NamedTuple):
    """Credit: one event counted for one decision."""

    seq: int
    decision_id: str
    reward: float
    revenue: float


class RewardDuty:
    """Duty that joins rewards and keeps the bandit's newest snapshot up to date.

    Parameters
    ----------
    home
        ``ATTUNE_HOME``: where champions and challengers lie.
    store
        Of the home; used by one thread.
    """

    name = CURSOR
    poll_s = POLL_S
    gather_s = GATHER_S

    def __init__(
        self,
        home: Path,
        store: Store,
        params: RewardParams | None = None,
        bandit: BanditParams = profile_bandit.DEFAULT_PARAMS,
    ) -> None:
        self._home, self._store = home, store
        self._tail = store.tail(CURSOR)
        self._position = 0
        self._waiting: deque[tuple[int, int]] = deque()  # number of each event behind the position, and when it was received
        self._params = params or RewardParams()
        self._bandit = bandit
        self._champion, self._challenger = (AliasedModels(home, alias, WEIGHTED) for alias in (CHAMPION, CHALLENGER))
        self._of: tuple[ModelSet, ModelSet] = (NO_MODELS, NO_MODELS)
        self._arms = arms.arms_of(NO_MODELS)
        self._expected: dict[str, float] = {}  # log odds by arm, before it was dealt
        self._memory = Memory()
        self._newest: int | None = None  # decision that was read
        self._written: Snapshot | None = None
        self._written_at_us = 0

    def step(self, now_us: int) -> int:
        """Join the next events, then learn from them and from what was decided since.

        Returns
        -------
        How many events and decisions were looked at; 0 when all is done.
        """
        joined, touched = self._join(now_us)
        decided = self._look(touched)
        self._refresh(now_us)
        return joined + decided

    # ---- rewards ------------------------------------------------------------------------------------------------------

    def _join(self, now_us: int) -> tuple[int, set[str]]:
        position = self._tail.position() or 0
        until, n_events = self._until(position, now_us)
        if until <= position:
            return 0, set()
        events = self._store.read(sql.REWARDING, (position, until))
        for seq in self._tail.released():
            events += self._store.read(sql.REWARDING_ONE, (seq,))
        credits = [credit for event in events if (credit := self._credit(event)) is not None]
        touched = {credit.decision_id for credit in credits}

        def work(transaction: Transaction) -> None:
            self._tail.move(transaction, until, now_us)
            transaction.executemany(sql.CREDIT, credits)
            transaction.executemany(sql.REWARD, [(now_us, decision) for decision in sorted(touched)])

        self._store.write(work)
        self._position, self._waiting = until, deque(islice(self._waiting, n_events, None))
        return n_events, touched

    def _until(self, position: int, now_us: int) -> tuple[int, int]:
        """The last event whose decision is surely on record, and how many events that are: those of the last seconds wait."""
        young_us, ahead_us, end = now_us - self._params.grace_s * 1_000_000, now_us + _AHEAD_US, self._tail.end()
        waiting = self._waiting
        if position != self._position or (waiting and waiting[-1][0] > end):  # followed by another, or the newest were erased
            waiting.clear()
        self._position = position
        after = waiting[-1][0] if waiting else position
        waiting.extend(self._store.read(RECEIVED, (after, end, EVENTS_A_STEP - len(waiting))))
        until, n_events = position, 0
        for seq, received_at_us in waiting:
            if young_us < received_at_us <= ahead_us:
                break
            until, n_events = seq, n_events + 1
        return until, n_events

    def _credit(self, event: tuple[Any, ...]) -> Credit | None:
        seq, partner, user_id, kind, at_us, item_id, price, named = event
        from_us = at_us - self._params.window_s * 1_000_000
        named_until_us, shown_until_us = at_us + NAMED_LATE_US, at_us + CUT_US
        decisions = self._store.read(sql.NAMED, (named, partner, user_id, from_us, named_until_us)) if named else []
        decisions = decisions or self._store.read(sql.LAST_SHOWN, (partner, user_id, from_us, shown_until_us, item_id))
        if not decisions:
            return None
        return Credit(seq, decisions[0][0], REWARD_OF[kind], (price or 0.0) if kind == "purchase" else 0.0)

    # ---- posteriors ---------------------------------------------------------------------------------------------------

    def _look(self, touched: Iterable[str]) -> int:
        """Read what was decided since, and again the stretches that got a reward.

        Returns
        -------
        How many decisions are new.
        """
        before = self._newest
        ((newest,),) = self._store.read(sql.NEWEST_DECISION)
        self._newest = max(int(newest), before or 0)
        first = before if before is not None else max(self._newest - MEMORY, 0)
        again = {first // STRETCH} if self._newest > first else set()
        for decision in touched:
            again.update(int(seq) // STRETCH for (seq,) in self._store.read(sql.SEQ_OF_DECISION, (decision,)))
        again = {stretch for stretch in again if stretch == first // STRETCH or self._memory.knows(stretch)}
        for stretch in sorted(again):
            self._read(stretch, self._newest if stretch == first // STRETCH else (stretch + 1) * STRETCH - 1)
        self._memory.forget((self._newest - MEMORY) // STRETCH)
        return self._newest - first if before is not None else 0

    def _read(self, stretch: int, until: int) -> None:
        """Read from the beginning of a stretch to a decision."""
        names, span = ",".join(self._bandit.context), (stretch * STRETCH - 1, until)
        decided: dict[int, list[Decided]] = {}
        rewarded: dict[int, list[Rewarded]] = {}
        for seq, at_us, profile, told in self._store.read(sql.DEALT, span):
            value = profile_bandit.value_of(names, msgspec.json.decode(told))
            decided.setdefault(seq // STRETCH, []).append(Decided(seq, at_us, profile, value))
        for row in self._store.read(sql.EARNED, span):
            rewarded.setdefault(row[0] // STRETCH, []).append(Rewarded(*row))
        for number, rows in decided.items():
            self._memory.keep(number, rows, rewarded.get(number, ()))

    def seen_us(self, now_us: int) -> int:
        """Until when everything that we learned of has been joined."""
        waiting = self._store.read(sql.NEXT_RECEIVED, (self._tail.position() or 0,))
        young_us = now_us - self._params.grace_s * 1_000_000
        return min(young_us, int(waiting[0][0]) - 1) if waiting else young_us

    def _refresh(self, now_us: int) -> None:
        """Write a snapshot, if it says something new."""
        current = self._current_arms()
        known = newest_snapshot(self._store.read, self._written)
        names = tuple(current.profiles)
        share = self._store.read(sql.TRIAL_SHARE)  # the flows read it: whether there are trials at all
        is_like = known is not None and known.profiles == names and share == [(self._bandit.trial,)]
        if is_like and now_us - self._written_at_us < REFRESH_US:
            return
        seen = self._memory.outcomes(names, self.seen_us(now_us), self._params.window_s)
        now = profile_bandit.snapshot(0, seen, self._bandit, current.on_trial, self._expected)
        self._written_at_us = now_us
        if known is not None and is_like and not moved(known, now):
            self._written = known
            return
        body = {"snapshot": profile_bandit.as_json(now), "params": asdict(self._bandit) | asdict(self._params)}
        snapshot = (msgspec.json.encode(body).decode(), self._newest or 0, now_us)
        ((version,),) = self._store.write(lambda transaction: transaction.read(sql.KEEP_SNAPSHOT, snapshot))
        self._written = now._replace(version=int(version))

    def _current_arms(self) -> Arms:
        """The arms of the champions, and of the challengers where they are tried."""
        champion = self._champion.read(self._store.read)
        challenger = self._challenger.read(self._store.read) if self._bandit.trial > 0 else NO_MODELS
        if champion is not self._of[0] or challenger is not self._of[1]:
            self._of, self._arms = (champion, challenger), arms.arms_of(champion, challenger)
            self._expected = prior.expected(self._replayed(champion))
        return self._arms

    def _replayed(self, champion: ModelSet) -> dict[str, float]:
        """Scores of the arms on replayed sessions, as the champions' training and tuning kept them."""
        named: dict[str, WeightProfile] = dict(zip(profiles.DEFAULT.names, profiles.DEFAULT.profiles, strict=True))
        if champion.profiles is not None:
            kept = registry.versions(self._home, "profiles")
            told = next(one.metrics for one in kept if one.version == champion.versions["profiles"])
            named |= zip(champion.profiles.names, champion.profiles.profiles, strict=True)
        elif champion.weights is not None:
            told = registry.load(self._home, "weights", champion.versions["weights"]).meta.get("params", {})
            named[told.get("chosen", "")] = champion.weights
        else:
            return {}
        of = told.get("ndcg_20", {})
        scores = {arms.content(profile): float(of[name]) for name, profile in named.items() if name in of}
        return {arm: scores[key] for arm, one in self._arms.profiles.items() if (key := arms.content(one)) in scores}


def moved(before: Snapshot, after: Snapshot) -> bool:
    """Whether profiles would be dealt noticeably otherwise."""
    if before.rows.keys() != after.rows.keys() or before.context != after.context:
        return True
    apart = {value: float(np.abs(np.subtract(before.rows[value].p, row.p)).max()) for value, row in after.rows.items()}
    return max(apart[EVERYWHERE], float(np.mean(list(apart.values())))) > MOVED or max(apart.values()) > MOVED_ALONE


def open_duty(settings: Settings) -> RewardDuty:
    """Stand ready at a home's log."""
    window = RewardParams(window_s=settings.reward_window_s)
    return RewardDuty(settings.home, open_store(settings.home), window, BanditParams(trial=settings.trial_share))
