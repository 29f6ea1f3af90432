"""Best-arm probabilities of a bandit, and the probabilities with which its arms are dealt."""

from typing import Final

import numpy as np

from models.arrays import Floats

_GRID: Final = 96  # quantiles of each posterior at which the integral is taken, beside those of its tails
_TAIL: Final = np.array([1e-12, 1e-9, 1e-6, 1e-4])
_SHARES: Final = np.concatenate((_TAIL, (np.arange(_GRID) + 0.5) / _GRID, 1 - _TAIL))
_AT_ONCE: Final = 2_000_000  # numbers in memory at one time


def p_best(mean: Floats, sd: Floats) -> Floats:
    """Probability that each profile is the best, if their values are spread as normal posteriors say.

    P(i is best) = integral of f_i(x) * product over j != i of F_j(x) dx

    The integral is taken as a Stieltjes sum over the quantiles of all posteriors together, so it is as fine where a posterior
    is narrow; a test holds it against sampling.

    Parameters
    ----------
    mean, sd
        Mean and standard deviation, on a scale common to all; shape (n_contexts, n_profiles).

    Returns
    -------
    Shape (n_contexts, n_profiles), each row summing to 1.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> p_best(np.array([[1.0, 0.0]]), np.array([[0.6, 0.8]])).round(4).tolist()  # 1 - Phi(-1)
    [[0.8413, 0.1587]]
    """
    if not (np.isfinite(mean).all() and np.isfinite(sd).all() and (sd > 0).all()):
        raise ValueError(f"expected finite means and spreads above 0, got {mean} and {sd}")
    rows = max(_AT_ONCE // (mean.shape[1] ** 2 * 2 * len(_SHARES)), 1)
    parts = [_p_best(mean[at : at + rows], sd[at : at + rows]) for at in range(0, len(mean), rows)]
    return np.concatenate(parts) if parts else np.zeros_like(mean)


def _p_best(mean: Floats, sd: Floats) -> Floats:
    from scipy.special import ndtr, ndtri  # only here: what serves learns nothing

    points = (mean[..., None] + sd[..., None] * ndtri(_SHARES)).reshape(len(mean), -1)
    points.sort(axis=1)
    points = np.hstack((points, (points[:, 1:] + points[:, :-1]) / 2))
    points.sort(axis=1)
    below = ndtr((points[:, None, :] - mean[..., None]) / sd[..., None])
    below = np.concatenate((np.zeros((*mean.shape, 1)), below, np.ones((*mean.shape, 1))), axis=2)
    p: Floats = np.empty_like(mean)
    for i in range(mean.shape[1]):
        others = np.delete(below, i, axis=1).prod(axis=1)
        p[:, i] = (np.diff(below[:, i]) * (others[:, 1:] + others[:, :-1]) / 2).sum(axis=1)
    p /= p.sum(axis=1, keepdims=True)
    return p


def with_floor(p: Floats, floor: float) -> Floats:
    """Mix probabilities with the uniform distribution, so that none is below the floor.

    p' = (1 - k * floor) * p + floor

    Parameters
    ----------
    p
        Shape (..., k), sums to 1 along the last axis.

    Raises
    ------
    ValueError
        If so many profiles cannot all have the floor.

    Examples
    --------
    >>> with_floor(np.array([1.0, 0.0]), 0.01).tolist()
    [0.99, 0.01]
    """
    k = p.shape[-1]
    if k * floor > 1:
        raise ValueError(f"{k} profiles cannot each have a probability of {floor}")
    mixed: Floats = (1 - k * floor) * p + floor
    return mixed
