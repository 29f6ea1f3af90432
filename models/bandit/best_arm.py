"""Best-arm probabilities of a bandit, and the probabilities with which its arms are dealt."""

from typing import Final, Literal

import numpy as np
from scipy import special

from models.arrays import Floats

Kind = Literal["beta", "normal"]

_GRID: Final = 96  # quantiles of each posterior at which the integral is taken


def p_best(kind: Kind, a: Floats, b: Floats) -> Floats:
    """Probability that each profile is the best, if their means are spread as the posteriors say.

    P(i is best) = integral of f_i(x) * product over j != i of F_j(x) dx

    The integral is taken as a Stieltjes sum over the quantiles of all posteriors together, so it is as fine where a posterior
    is narrow; a test holds it against sampling.

    Parameters
    ----------
    a, b
        Alpha and beta, or mean and standard deviation; shape (n_profiles,).

    Returns
    -------
    Shape (n_profiles,), sums to 1.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> p_best("beta", np.array([1.0, 1.0]), np.array([1.0, 1.0])).round(4).tolist()
    [0.5, 0.5]
    >>> p_best("normal", np.array([1.0, 0.0]), np.array([0.6, 0.8])).round(4).tolist()  # 1 - Phi(-1)
    [0.8413, 0.1587]
    """
    if not (np.isfinite(a).all() and np.isfinite(b).all() and (b > 0).all() and (kind == "normal" or (a > 0).all())):
        raise ValueError(f"expected finite parameters of {kind} posteriors, spreads above 0, got {a} and {b}")
    tail = np.array([1e-12, 1e-9, 1e-6, 1e-4])
    levels = np.concatenate((tail, (np.arange(_GRID) + 0.5) / _GRID, 1 - tail))
    points = np.unique(_quantile(kind, levels, a, b))
    points = np.concatenate((points[:1], (points[1:] + points[:-1]) / 2, points[1:]))
    points.sort()
    below = _cdf(kind, points, a, b)
    below = np.hstack((np.zeros((len(a), 1)), below, np.ones((len(a), 1))))
    p: Floats = np.empty(len(a))
    for i in range(len(a)):
        others = np.prod(np.delete(below, i, axis=0), axis=0)
        p[i] = np.sum(np.diff(below[i]) * (others[1:] + others[:-1]) / 2)
    p /= p.sum()
    return p


def _quantile(kind: Kind, levels: Floats, a: Floats, b: Floats) -> Floats:
    found: Floats
    if kind == "beta":
        found = special.betaincinv(a[:, None], b[:, None], levels)
    else:
        found = a[:, None] + b[:, None] * special.ndtri(levels)
    return found.ravel()


def _cdf(kind: Kind, points: Floats, a: Floats, b: Floats) -> Floats:
    found: Floats
    if kind == "beta":
        found = special.betainc(a[:, None], b[:, None], points)
    else:
        found = special.ndtr((points - a[:, None]) / b[:, None])
    return found


def with_floor(p: Floats, floor: float) -> Floats:
    """Mix probabilities with the uniform distribution, so that none is below the floor.

    p' = (1 - k * floor) * p + floor

    Parameters
    ----------
    p
        Shape (k,), sums to 1.

    Raises
    ------
    ValueError
        If so many profiles cannot all have the floor.

    Examples
    --------
    >>> with_floor(np.array([1.0, 0.0]), 0.01).tolist()
    [0.99, 0.01]
    """
    if len(p) * floor > 1:
        raise ValueError(f"{len(p)} profiles cannot each have a probability of {floor}")
    mixed: Floats = (1 - len(p) * floor) * p + floor
    return mixed
