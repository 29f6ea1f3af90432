"""The bandit's memory: the decisions of late and the rewards that were seen for them, by stretches of the log of decisions.

A decision counts from the moment at which it was taken, as far as its rewards can have been seen by now
(`models.bandit.delay`).
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np

from models.arrays import Floats, Ints
from models.bandit import delay
from models.bandit.thompson import Outcomes


class Decided(NamedTuple):
    """One decision of the bandit.

    Attributes
    ----------
    seq
        Its number.
    profile, context
        What was dealt, and in which context (`models.bandit.thompson.value_of`).
    """

    seq: int
    at_us: int
    profile: str
    context: str


class Rewarded(NamedTuple):
    """One event that counts for a decision.

    Attributes
    ----------
    seq
        Of the decision.
    seen_us
        When we learned of the event, microseconds since 1970.
    reward
        From 0 to 1; a decision's reward is that of its best event.
    """

    seq: int
    seen_us: int
    reward: float


class _Stretch(NamedTuple):
    """Decisions of one stretch, and each rise of a decision's reward with its place among them."""

    at_us: Ints
    profile: Ints
    context: Ints
    rises: Ints
    seen_us: Ints
    rise: Floats


_NO_CODES: Final = np.zeros(0, dtype=np.int64)
_NOTHING: Final = _Stretch(_NO_CODES, _NO_CODES, _NO_CODES, _NO_CODES, _NO_CODES, np.zeros(0))


class Memory:
    """Decisions and rewards by stretch; forgets what it is told to."""

    def __init__(self) -> None:
        self._stretches: dict[int, _Stretch] = {}
        self._profiles: dict[str, int] = {}
        self._contexts: dict[str, int] = {}

    def keep(self, stretch: int, decided: Iterable[Decided], rewarded: Iterable[Rewarded]) -> None:
        """Put a stretch in the place of what was known of it."""
        rows = list(decided)
        place = {row.seq: k for k, row in enumerate(rows)}
        so_far: dict[int, float] = {}
        rises: list[tuple[int, int, float]] = []
        for one in sorted(rewarded, key=lambda one: one.seen_us):
            rise = one.reward - so_far.get(one.seq, 0.0)
            if rise > 0 and one.seq in place:
                so_far[one.seq] = one.reward
                rises.append((place[one.seq], one.seen_us, rise))
        self._stretches[stretch] = _Stretch(
            np.array([row.at_us for row in rows], dtype=np.int64),
            np.array([self._profiles.setdefault(row.profile, len(self._profiles)) for row in rows], dtype=np.int64),
            np.array([self._contexts.setdefault(row.context, len(self._contexts)) for row in rows], dtype=np.int64),
            np.array([at for at, _, _ in rises], dtype=np.int64),
            np.array([seen_us for _, seen_us, _ in rises], dtype=np.int64),
            np.array([rise for _, _, rise in rises], dtype=np.float64),
        )

    def knows(self, stretch: int) -> bool:
        """Whether a stretch was kept and not forgotten."""
        return stretch in self._stretches

    def forget(self, before: int) -> None:
        """Forget older stretches."""
        self._stretches = {stretch: kept for stretch, kept in self._stretches.items() if stretch >= before}

    def outcomes(self, profiles: tuple[str, ...], seen_us: int, window_s: float) -> Outcomes:
        """Outcomes of the decisions as far as they were seen; profiles that are no arms any more are left out.

        Parameters
        ----------
        seen_us
            Until when everything that we learned of has been counted.
        window_s
            Within which rewards count.
        """
        kept = [(number, self._stretches[number]) for number in sorted(self._stretches)]
        sizes = [len(one.at_us) for _, one in kept]
        stretch = np.repeat(np.array([number for number, _ in kept], dtype=np.int64), sizes)
        begins = np.cumsum([0, *sizes])[:-1]
        parts = [one._replace(rises=one.rises + begin) for (_, one), begin in zip(kept, begins, strict=True)]
        all_of = _Stretch(*map(np.concatenate, zip(_NOTHING, *parts, strict=True)))
        age_s = (seen_us - all_of.at_us) / 1e6
        delay_s = (all_of.seen_us - all_of.at_us[all_of.rises]) / 1e6
        delays = delay.fit(delay_s, all_of.rise, age_s[all_of.rises], window_s)
        total = np.asarray(np.bincount(all_of.rises, weights=all_of.rise, minlength=len(age_s)), dtype=np.float64)
        arm_of = np.array([profiles.index(name) if name in profiles else -1 for name in self._profiles], dtype=np.int64)
        arm = arm_of[all_of.profile] if len(arm_of) else all_of.profile
        known = arm >= 0
        n = delay.share_seen(delays, age_s)
        return Outcomes(
            profiles, tuple(self._contexts), stretch[known], all_of.context[known], arm[known], n[known], total[known]
        )
