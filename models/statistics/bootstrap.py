"""Paired comparisons of methods that were measured on the same rows: bootstrap intervals, and a verdict decided by them.

Rows of one visitor are not independent, so whole groups (users, sessions) are drawn. The draws are made once and shared by all
measures of a report: every interval of it then speaks about the same resampled worlds, and a further one costs a product.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Codes, Flags, Floats
from models.statistics.metrics import Interval

NO_DIFFERENCE: Final = "no difference"
_AT_ONCE: Final = 64  # draws that are turned into floats at one time


class Draws(NamedTuple):
    """Bootstrap samples of groups.

    Attributes
    ----------
    group
        Group of each row, 0 to n_groups - 1, shape (n_rows,).
    times
        How often each group was drawn, shape (n_draws, n_groups); each row sums to n_groups.
    """

    group: npt.NDArray[np.int64]
    times: npt.NDArray[np.uint16]


def draw(groups: Codes, rng: np.random.Generator, n_draws: int = 500) -> Draws:
    """Draw groups with replacement, as many as there are.

    Parameters
    ----------
    groups
        Any code of the user or session of each row, shape (n_rows,).

    Raises
    ------
    ValueError
        If there are no rows.
    """
    if len(groups) == 0:
        raise ValueError("expected at least one row, got 0")
    group = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    n = int(group.max()) + 1
    times = np.empty((n_draws, n), dtype=np.uint16)
    for k in range(n_draws):
        times[k] = np.minimum(np.bincount(rng.integers(n, size=n), minlength=n), 65_535)
    return Draws(group, times)


def mean_intervals(
    difference: Floats, draws: Draws, rows: npt.NDArray[np.int64] | None = None, level: float = 0.95
) -> list[Interval]:
    """Interval of the mean of each column of differences (percentile method).

    Parameters
    ----------
    difference
        First minus second method, shape (n_rows, n_columns).
    rows
        Positions among the drawn rows that `difference` is about; all of them if None.
    level
        Share of the draws inside the interval.

    Examples
    --------
    >>> draws = draw(np.array([0, 0, 1]), np.random.default_rng(0), 100)
    >>> mean_intervals(np.array([[1.0], [1.0], [1.0]]), draws)[0]
    Interval(mean=1.0, low=1.0, high=1.0)
    """
    group = draws.group if rows is None else draws.group[rows]
    if len(group) != len(difference) or len(group) == 0:
        raise ValueError(f"expected as many differences as rows, at least one, got {len(difference)} for {len(group)}")
    n = draws.times.shape[1]
    sums = np.column_stack([np.bincount(group, weights=column, minlength=n) for column in (*difference.T, np.ones(len(group)))])
    drawn = np.concatenate([block @ sums for block in blocks(draws.times)])
    means = drawn[:, :-1] / np.maximum(drawn[:, -1:], 1.0)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return [Interval(*map(float, one)) for one in zip(difference.mean(axis=0), low, high, strict=True)]


def blocks(times: npt.NDArray[np.uint16]) -> Iterator[Floats]:
    """The draws as numbers that BLAS multiplies, in pieces of at most 64 draws, each of shape (n_draws, n_groups)."""
    return (times[k : k + _AT_ONCE].astype(np.float64) for k in range(0, len(times), _AT_ONCE))


class Ranking(NamedTuple):
    """Rows in the order of a score, falling, with equal scores together.

    Attributes
    ----------
    order
        Positions of the rows, shape (n_rows,).
    tie
        Place at which each group of equal scores begins, shape (n_ties,).
    """

    order: npt.NDArray[np.int64]
    tie: npt.NDArray[np.int64]


def ranking(score: Floats) -> Ranking:
    """Sort rows by their scores, best first."""
    order = np.argsort(-score, kind="stable")
    tie = np.flatnonzero(np.append(True, np.diff(score[order]) != 0))
    return Ranking(order, tie)


def areas(ranked: Ranking, positive: Flags, weight: Floats) -> tuple[float, float]:
    """ROC-AUC and average precision of weighted rows, equal scores sharing one threshold; NaN where one kind is absent.

    Parameters
    ----------
    positive
        Shape (n_rows,).
    weight
        How often each row counts, >= 0, shape (n_rows,).

    Examples
    --------
    >>> areas(ranking(np.array([0.9, 0.5, 0.1])), np.array([True, False, True]), np.ones(3))
    (0.5, 0.8333333333333333)
    """
    w, hit = weight[ranked.order], positive[ranked.order]
    hits = np.add.reduceat(w * hit, ranked.tie)
    misses = np.add.reduceat(w * ~hit, ranked.tie)
    n_hits, n_misses = hits.sum(), misses.sum()
    if n_hits == 0 or n_misses == 0:
        return float("nan"), float("nan")
    above, missed = np.cumsum(hits), np.cumsum(misses)
    roc = (hits * (n_misses - missed + 0.5 * misses)).sum() / (n_hits * n_misses)
    seen = above + missed
    precision = np.divide(above, seen, out=np.zeros(len(seen)), where=seen > 0)
    return float(roc), float((hits * precision).sum() / n_hits)


def area_intervals(
    first: Floats, second: Floats, positive: Flags, draws: Draws, level: float = 0.95
) -> tuple[Interval, Interval]:
    """First minus second method: intervals of the difference in ROC-AUC and in average precision.

    Parameters
    ----------
    first, second
        Score of each row, higher means more likely positive, shape (n_rows,).

    Returns
    -------
    NaN where all rows are of one kind.
    """
    if positive.all() or not positive.any():
        unknown = Interval(*3 * (float("nan"),))
        return unknown, unknown
    ranked = ranking(first), ranking(second)
    every = np.ones(len(positive))
    found = np.array([areas(ranked[0], positive, every), areas(ranked[1], positive, every)])
    gains = np.empty((len(draws.times), 2))
    for k, times in enumerate(draws.times):
        weight = times[draws.group].astype(np.float64)
        gains[k] = np.subtract(areas(ranked[0], positive, weight), areas(ranked[1], positive, weight))
    low, high = np.nanquantile(gains, [(1 - level) / 2, (1 + level) / 2], axis=0)
    roc, pr = (Interval(*map(float, one)) for one in zip(found[0] - found[1], low, high, strict=True))
    return roc, pr


def verdict(interval: Interval, first: str, second: str) -> str:
    """Name the better method, or say that the interval holds zero.

    Examples
    --------
    >>> verdict(Interval(0.1, -0.1, 0.3), "ours", "theirs")
    'no difference'
    """
    return first if interval.low > 0 else second if interval.high < 0 else NO_DIFFERENCE


def as_json(interval: Interval) -> dict[str, float]:
    """The interval with five digits."""
    return {name: round(value, 5) for name, value in interval._asdict().items()}
