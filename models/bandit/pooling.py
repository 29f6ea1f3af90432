"""Posteriors of the arms in every context, partially pooled: contexts that have something in common learn from each other.

Log odds of a reward of arm k in context c (a value of each factor, such as device and intent):

    f[k, c] = level[c] + arm[k] + sum over factors j, and over pairs of factors, of part[k, j, value of j in c]

with normal priors: `arm` of a fixed spread; the parts of each factor, and those of all pairs together, of spreads that
empirical Bayes picks, the same for all arms. A factor that makes no difference gets a spread near nothing, and its contexts
are one; where different visitors have different winners it grows and they part. `level`, what all arms share in a context, is
learned first, from all of them together. Posteriors are Laplace's, spreads by MacKay's fixed point.

Sources: Gelman & Hill, "Data Analysis Using Regression and Multilevel/Hierarchical Models" (2007), chapter 14, for the model;
MacKay, "Bayesian Interpolation" (1992) for the spreads; Chapelle & Li (2011) for Thompson sampling from Laplace's posteriors.
"""

from itertools import combinations
from typing import Final, NamedTuple

import numpy as np

from models.arrays import Floats, Ints
from models.statistics.log_odds import expit

ROUNDS: Final = 6  # of choosing spreads
NEWTON: Final = 25  # steps at most
OF_PAIRS: Final = 1 / 3  # first guess for what a pair of factors changes beyond them, of what one is guessed to
ENOUGH: Final = 1e-3  # log odds by which a step may still move
_GUESSED: Final = 2.0  # values whose evidence the guess of a spread is worth


class Spreads(NamedTuple):
    """Standard deviations of the priors, in log odds.

    Attributes
    ----------
    arms
        Of arms around what all earn.
    contexts
        First guess for what a factor, or a pair of them, changes.
    """

    arms: float
    contexts: float


class Posterior(NamedTuple):
    """Log odds of a reward; each of shape (n_contexts, n_arms)."""

    mean: Floats
    sd: Floats


class _Mode(NamedTuple):
    """Laplace's approximation of one arm: coefficients and their covariance."""

    coefficients: Floats
    covariance: Floats


def posterior(n: Floats, total: Floats, values: Ints, usual: Floats, spreads: Spreads) -> Posterior:
    """Posteriors of all arms in all contexts.

    Parameters
    ----------
    n, total
        Trials and rewards, rewards from 0 to the trials, shape (n_contexts, n_arms).
    values
        Codes of each context's factors, shape (n_contexts, n_factors).
    usual
        Log odds that each arm is expected to have before it was tried, shape (n_arms,).

    Examples
    --------
    >>> n, total = np.full((2, 2), 2_000.0), np.array([[200.0, 400.0], [400.0, 200.0]])
    >>> found = posterior(n, total, np.array([[0], [1]]), np.full(2, -1.7), Spreads(1.0, 0.3))
    >>> found.mean.argmax(axis=1).tolist(), round(float(expit(found.mean[0, 1])), 2)
    ([1, 0], 0.2)
    """
    design, group = _design(values)
    centre = np.full((len(n), 1), usual.mean())
    shared = _fitted(n.sum(axis=1, keepdims=True), total.sum(axis=1, keepdims=True), centre, design, group, spreads)
    return _fitted(n, total, shared.mean + (usual - usual.mean()), design, group, spreads)


def _design(values: Ints) -> tuple[Floats, Ints]:
    """Indicators of contexts, shape (n_contexts, n_columns), and the group of each column: 0 for all, factors, pairs."""
    columns, groups = [np.ones((len(values), 1))], [0]
    factors = [column for column in values.T if len(np.unique(column)) > 1]
    pairs = [a * (b.max() + 1) + b for a, b in combinations(factors, 2)]
    for place, codes in enumerate([*factors, *pairs]):
        indicators = (codes[:, None] == np.unique(codes)).astype(np.float64)
        columns.append(indicators)
        groups += [1 + min(place, len(factors))] * indicators.shape[1]
    return np.hstack(columns), np.array(groups, dtype=np.int64)


def _fitted(n: Floats, total: Floats, offset: Floats, design: Floats, group: Ints, spreads: Spreads) -> Posterior:
    n_arms = n.shape[1]
    offset = np.broadcast_to(offset, n.shape)
    guess = (
        np.array([spreads.arms, *[spreads.contexts] * (group.max() - 1), spreads.contexts * OF_PAIRS])[: group.max() + 1] ** 2
    )
    variance = guess.copy()
    size = np.bincount(group) * n_arms
    found = np.zeros((n_arms, len(group)))
    modes: list[_Mode] = []
    for _ in range(ROUNDS if len(variance) > 1 else 1):
        modes = [_laplace(n[:, k], total[:, k], offset[:, k], design, 1 / variance[group], found[k]) for k in range(n_arms)]
        found = np.array([one.coefficients for one in modes])
        squares = np.bincount(group, weights=(found**2).sum(axis=0))
        unknown = np.bincount(group, weights=sum(np.diag(one.covariance) for one in modes)) / variance
        variance[1:] = ((squares + _GUESSED * guess) / (size - unknown + _GUESSED))[1:]
    spread = [np.sqrt(np.einsum("ci,ij,cj->c", design, one.covariance, design, optimize=True)) for one in modes]
    return Posterior(design @ found.T + offset, np.stack(spread, axis=1))


def _laplace(n: Floats, total: Floats, offset: Floats, design: Floats, precision: Floats, start: Floats) -> _Mode:
    """Mode and curvature of one arm's posterior."""
    from scipy.linalg import cho_factor, cho_solve  # only here: what serves learns nothing

    found = start
    for _ in range(NEWTON):
        p = expit(offset + design @ found)
        curvature = design.T @ (design * (n * p * (1 - p))[:, None]) + np.diag(precision)
        factor = cho_factor(curvature, lower=True)
        step = cho_solve(factor, design.T @ (total - n * p) - precision * found)
        moved = float(np.abs(design @ step).max())
        found = found + step * min(1.0, 1.0 / max(moved, 1e-12))  # a longer step would leave the range in which p bends
        if moved < ENOUGH:
            break
    return _Mode(found, cho_solve(factor, np.eye(len(found))))
