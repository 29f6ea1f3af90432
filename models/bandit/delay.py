"""Delays of rewards: which share of a decision's rewards has been seen when it has a certain age.

Young decisions have had little time to be rewarded. Each counts as the share of a trial whose reward would be here by now,

    trials = sum over decisions of F(age),   F(a) = P(reward seen within a | it comes within the window)

so that rewards over trials is without bias at any moment, long before the window is over. What is learned of the delays is
right truncated (a delay longer than the age cannot be seen yet), so the probabilities are taken backwards, from the longest
delays to the shortest; a Dirichlet prior, spread evenly over the logarithm of time, stands where nothing was seen. As long as
no decision is older than a, everything beyond a is the prior's, which scales all profiles alike and changes no comparison.

Sources: Vernade, Cappe & Perchet, "Stochastic Bandit Models for Delayed Conversions" (2017) for the estimate; Lynden-Bell
(1971) and Lagakos, Barraj & De Gruttola (1988) for truncated delays; Connor & Mosimann (1969) for the prior's neutrality.
"""

from typing import Final, NamedTuple

import numpy as np

from models.arrays import Floats

N_BINS: Final = 24
SHORTEST_S: Final = 1.0
PRIOR: Final = 10.0  # rewards that the prior is worth


class Delays(NamedTuple):
    """Delays of rewards; both of shape (n_bins + 1,).

    Attributes
    ----------
    until_s
        Ends of the bins, rising from 0 to the window.
    seen
        Share of the rewards that is seen by then, from 0 to 1.
    """

    until_s: Floats
    seen: Floats


def fit(delay_s: Floats, reward: Floats, age_s: Floats, window_s: float) -> Delays:
    """Learn delays from the rewards that were seen so far.

    Parameters
    ----------
    delay_s
        From a decision to the moment at which its reward was seen, shape (n_rewards,).
    reward
        By how much it rose then, > 0, same shape.
    age_s
        Of these decisions now: no longer delay could have been seen; same shape.
    window_s
        Within which rewards count.

    Examples
    --------
    >>> once = np.full(500, 20.0)
    >>> known = fit(once, np.ones(500), once + 3_600, 3_600.0)
    >>> [round(float(share), 2) for share in share_seen(known, np.array([1.0, 60.0, 3_600.0]))]
    [0.0, 0.99, 1.0]
    """
    until_s = np.append(0.0, np.geomspace(min(SHORTEST_S, window_s / 2), window_s, N_BINS))
    expected = np.full(N_BINS, 1 / N_BINS)
    place = np.clip(np.searchsorted(until_s, delay_s, side="left"), 1, N_BINS)
    full = np.searchsorted(until_s, age_s, side="right") - 1  # bins that are over for this decision
    counted = place <= full
    seen_in = np.bincount(place[counted], weights=reward[counted], minlength=N_BINS + 1)[1:]
    # Of the decisions for which a bin is over, rewards in it or before.
    place, full, reward = place[counted], full[counted], reward[counted]
    ends = np.bincount(full, weights=reward, minlength=N_BINS + 2)
    begins = np.bincount(place, weights=reward, minlength=N_BINS + 2)
    at_risk = (np.cumsum(begins) - np.append(0.0, np.cumsum(ends)[:-1]))[1 : N_BINS + 1]
    within = (PRIOR * expected + seen_in) / (PRIOR * np.cumsum(expected) + at_risk)
    later = np.append(np.cumprod((1 - within)[::-1])[::-1], 1.0)
    later[0] = 0.0
    return Delays(until_s, later)


def share_seen(known: Delays, age_s: Floats) -> Floats:
    """Share of the rewards that decisions of an age have shown, from 0 to 1, shape of `age_s`."""
    return np.asarray(np.interp(age_s, known.until_s, known.seen))
