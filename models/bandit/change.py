"""Forgetting: what outcomes count now, old ones less than new ones, and those before a change of the world not at all.

Outcomes fade by a half-life counted in trials and not in hours: a thin shop's evidence stays until there is newer. Fading
bounds how long anything is remembered, and so how wrong the past can make the present: after m half-lives it weighs 2^-m. But
what fades fast enough to follow a sudden change within minutes never learns small differences. So a change that is seen in
the outcomes makes the bandit forget everything before it (a generalised likelihood ratio), and the half-life is left to what
drifts.

Sources: Raj & Kalyani, "Taming Non-stationary Bandits" (2017) for the discount; Besson, Kaufmann, Maillard & Seznec,
"Efficient Change-Point Detection for Tackling Piecewise-Stationary Bandits" (2022) for the ratio and the restart.
"""

import numpy as np

from models.arrays import Floats


def last_change(expected: Floats, total: Floats, surprise: float) -> int:
    """The stretch with which the present began: before it, outcomes were surely different.

    Going forward through time, the newest 1, 2, 4, … stretches are compared with those before them, profile by profile: rewards
    over what one world would have earned there. Where the likelihood ratio of two such rates against one (of Poisson counts,
    which errs to the side of no change) is that of `surprise` standard errors, everything before is forgotten.

    Parameters
    ----------
    expected
        What one and the same world would have earned with what was dealt, to whom it was dealt: a bandit that finds out who
        wants what earns more without any change of the world. Shape (n_stretches, n_profiles), oldest first.
    total
        What was earned, same shape.
    surprise
        Infinite for never.

    Returns
    -------
    0 if nothing changed.

    Examples
    --------
    >>> last_change(np.full((8, 1), 14.0), np.array([[20.0]] * 5 + [[5.0]] * 3), 4.0)
    5
    """
    sums = np.concatenate((np.zeros((1, 2, total.shape[1])), np.cumsum(np.stack((expected, total), axis=1), axis=0)))
    start = 0
    for end in range(2, len(total) + 1):
        cuts = end - 2 ** np.arange(max(end - start - 1, 1).bit_length())
        cuts = cuts[cuts > start]
        if len(cuts) == 0:
            continue
        ratio = _log_ratio(sums[cuts] - sums[start], sums[end] - sums[cuts])
        if 2 * ratio.max() > surprise**2:
            start = int(cuts[ratio.argmax()])
    return start


def _log_ratio(before: Floats, after: Floats) -> Floats:
    """Log likelihood ratio of two rates against one, the largest over the profiles, shape (n_cuts,)."""
    largest: Floats = (_log_likelihood(before) + _log_likelihood(after) - _log_likelihood(before + after)).max(axis=1)
    return largest


def _log_likelihood(counted: Floats) -> Floats:
    from scipy.special import xlogy  # only here: what serves learns nothing

    expected, total = counted[:, 0], counted[:, 1]
    found: Floats = xlogy(total, total / np.maximum(expected, 1e-12)) - total
    return found


def weights(n: Floats, start: int, half_life: float) -> Floats:
    """Weight of each stretch, shape (n_stretches,).

    Parameters
    ----------
    n
        Trials of each stretch, shape (n_stretches,), oldest first.
    start
        From `last_change`.

    Examples
    --------
    >>> weights(np.array([10.0, 10.0, 10.0]), 1, 10.0).tolist()
    [0.0, 0.5, 1.0]
    """
    since = n[::-1].cumsum()[::-1] - n  # tried after each stretch
    fading: Floats = 0.5 ** (since / half_life) * (np.arange(len(n)) >= start)
    return fading
