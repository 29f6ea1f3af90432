"""Rewards: what counts as one, and for how long; the bandit, its duty and the off-policy estimates agree here.

A reward is credited once, to one decision: the one that the event names, or else the last that showed the user the item. A
decision is judged when its time is over, because on a busy shop the youngest decisions would look bad only for being young.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from models.bandit.thompson import Outcomes

REWARD_OF: Final = {"purchase": 1.0, "add_to_cart": 0.5}  # as the base weights of `models.weight_profile`


@dataclass(frozen=True)
class RewardParams:
    """When an event is a reward.

    Attributes
    ----------
    window_s
        Seconds after a decision within which an event counts for it.
    grace_s
        Seconds that an event may take to reach us; one that takes longer still counts, but the bandit learns of it later.
    """

    window_s: int = 3600
    grace_s: int = 5

    def __post_init__(self) -> None:
        if self.window_s < 1 or self.grace_s < 0:
            raise ValueError(f"expected a window of at least a second and no negative grace, got {self}")


def outcomes(found: Iterable[Sequence[Any]], profiles: tuple[str, ...]) -> Outcomes:
    """Put what decisions led to into the arrays of the bandit; profiles that are no arms any more are left out.

    Parameters
    ----------
    found
        Rows of (stretch, value of the context, profile, trials, sum of rewards).

    Examples
    --------
    >>> seen = outcomes([(7, "mobile", "a", 3, 1.0), (9, "app", "gone", 1, 0.0)], ("a", "b"))
    >>> seen.contexts, seen.n.tolist()
    (('mobile',), [3.0])
    """
    rows = [row for row in found if row[2] in profiles]
    contexts = {value: k for k, value in enumerate(sorted({row[1] for row in rows}))}
    codes = np.array([(row[0], contexts[row[1]], profiles.index(row[2])) for row in rows], dtype=np.int64).reshape(-1, 3)
    numbers = np.array([row[3:] for row in rows], dtype=np.float64).reshape(-1, 2)
    return Outcomes(profiles, tuple(contexts), *codes.T, *numbers.T)
