"""Measures of a classifier: how often it is right, how it ranks, and whether its probabilities mean what they say.

Labels are class codes, shape (n_rows,); probabilities have shape (n_rows, n_classes) and rows that sum to 1, or shape (n_rows,)
for the positive class of a yes/no question. Where the truth itself is uncertain (weak labels), `log_loss`, `brier` and `ece`
also take a probability per class, shape (n_rows, n_classes), and give the expected value. No function accepts zero rows: a
measure of nothing has no value.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Codes, Flags, Floats

ECE_BINS = 15


class Bin(NamedTuple):
    """One row of a calibration table: what was said and what came."""

    n_rows: int
    mean_p: float
    hit_rate: float


class Interval(NamedTuple):
    """A mean and the interval around it."""

    mean: float
    low: float
    high: float


def _refuse_empty(n_rows: int) -> None:
    if n_rows == 0:
        raise ValueError("expected at least one row, got 0")


def confusion(true: Codes, predicted: Codes, n_classes: int) -> npt.NDArray[np.int64]:
    """Count rows by true class (first axis) and predicted class (second), shape (n_classes, n_classes).

    Examples
    --------
    >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    array([[1, 1],
           [0, 1]])
    """
    counts = np.bincount(np.asarray(true, dtype=np.int64) * n_classes + predicted, minlength=n_classes * n_classes)
    return counts.reshape(n_classes, n_classes).astype(np.int64)


def macro_f1(true: Codes, predicted: Codes, n_classes: int) -> float:
    """Mean over classes of 2 * hits / (true rows + predicted rows); classes that are neither true nor predicted are left out.

    Examples
    --------
    >>> macro_f1(np.array([0, 0, 1]), np.array([0, 1, 1]), 3)
    0.6666666666666666
    """
    _refuse_empty(len(true))
    table = confusion(true, predicted, n_classes)
    rows = table.sum(axis=0) + table.sum(axis=1)
    return float((2 * table.diagonal()[rows > 0] / rows[rows > 0]).mean())


def accuracy(true: Codes, predicted: Codes) -> float:
    """Share of rows whose predicted class is the true one."""
    _refuse_empty(len(true))
    return float((true == predicted).mean())


def truth_table(true: Codes | Flags | Floats, n_classes: int) -> Floats:
    """The truth as a probability of each class, shape (n_rows, n_classes); codes become 0 and 1, probabilities stay.

    Examples
    --------
    >>> truth_table(np.array([1, 0]), 2)
    array([[0., 1.],
           [1., 0.]])
    """
    if true.ndim == 2:
        return np.asarray(true, dtype=np.float64)
    table = np.zeros((len(true), n_classes))
    table[np.arange(len(true)), np.asarray(true, dtype=np.int64)] = 1.0
    return table


def log_loss(p: Floats, true: Codes | Floats) -> float:
    """Mean of -ln p(true class), natural logarithm; probabilities below 1e-12 count as 1e-12."""
    _refuse_empty(len(true))
    return float(-(truth_table(true, p.shape[1]) * np.log(np.maximum(p, 1e-12))).sum(axis=1).mean())


def brier(p: Floats, true: Codes | Flags | Floats) -> float:
    """Mean squared error of the probabilities (Brier, 1950): 0 is perfect.

    For shape (n_rows, n_classes) the squares are summed over the classes (0 to 2), for shape (n_rows,) there is one (0 to 1).
    Against an uncertain truth it is the expected value, 1 - 2 p·t + p·p.
    """
    _refuse_empty(len(true))
    if p.ndim == 1:
        return float(((p - true) ** 2).mean())
    return float((1 - 2 * (p * truth_table(true, p.shape[1])).sum(axis=1) + (p * p).sum(axis=1)).mean())


def roc_auc(p: Floats, positive: Flags) -> float:
    """Probability that a positive row is scored above a negative one, ties counting half; NaN where one kind is absent."""
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if n_positive == 0 or n_negative == 0:
        return float("nan")
    _, place, n_tied = np.unique(p, return_inverse=True, return_counts=True)
    ranks = np.cumsum(n_tied) - (n_tied - 1) / 2  # of each distinct value: the mean of its rows' ranks
    rank_sum = ranks[place][positive].sum()
    return float((rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def pr_auc(p: Floats, positive: Flags) -> float:
    """Average precision: sum over thresholds of precision * gain in recall; tied rows share one. NaN without positives."""
    if not positive.any():
        return float("nan")
    order = np.argsort(-p, kind="stable")
    hits = np.cumsum(positive[order])
    last_of_tie = np.append(np.diff(p[order]) != 0, True)
    hits, ranks = hits[last_of_tie], np.arange(1, len(p) + 1)[last_of_tie]
    return float((np.diff(hits, prepend=0) * hits / ranks).sum() / hits[-1])


def calibration_bins(p: Floats, hit: Flags | Floats, n_bins: int = ECE_BINS) -> list[Bin]:
    """Group rows by probability into bins of about equal mass; equal probabilities always share a bin.

    Parameters
    ----------
    p
        Probability that was said, shape (n_rows,).
    hit
        Whether it came true, or how probable that is, shape (n_rows,).
    n_bins
        Bins at most; fewer where probabilities are tied.
    """
    _refuse_empty(len(p))
    edges = np.unique(np.quantile(p, np.arange(1, n_bins) / n_bins, method="lower"))
    which = np.searchsorted(edges, p, side="left")
    n_rows = np.bincount(which)
    sums, hits = np.bincount(which, weights=p), np.bincount(which, weights=hit)
    return [Bin(int(n), float(s / n), float(h / n)) for n, s, h in zip(n_rows, sums, hits, strict=True) if n]


def ece(p: Floats, true: Codes | Flags | Floats, n_bins: int = ECE_BINS) -> float:
    """Expected calibration error: mean distance between what was said and what came, over `n_bins` bins of equal mass.

    For shape (n_rows, n_classes) the probability of the most likely class is compared with how often it was the true one
    ("confidence" calibration, Guo et al. 2017, with equal-mass bins); for shape (n_rows,) the positive class with its rate.

    Examples
    --------
    >>> ece(np.array([0.8, 0.8, 0.8, 0.8]), np.array([True, True, False, False])).__round__(2)
    0.3
    """
    if p.ndim == 2:
        top = p.argmax(axis=1)
        rows = np.arange(len(p))
        p, true = p[rows, top], truth_table(true, p.shape[1])[rows, top]
    bins = calibration_bins(p, np.asarray(true, dtype=np.float64), n_bins)
    return sum(b.n_rows * abs(b.mean_p - b.hit_rate) for b in bins) / len(p)


def paired_interval(
    first: Floats,
    second: Floats,
    rng: np.random.Generator,
    *,
    groups: Codes | None = None,
    n_draws: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Bootstrap interval of the mean of ``first - second``, measured on the same rows.

    Parameters
    ----------
    first, second
        A score per row of two methods, shape (n_rows,).
    groups
        Rows with the same code are drawn together (sessions, users), because they are not independent; None: every row alone.
    n_draws
        Bootstrap draws (percentile method).
    level
        Share of the draws inside the interval.
    """
    _refuse_empty(len(first))
    difference = np.asarray(first, dtype=np.float64) - second
    codes = np.arange(len(difference)) if groups is None else np.unique(groups, return_inverse=True)[1]
    sums, sizes = np.bincount(codes, weights=difference), np.bincount(codes)
    draws = np.empty(n_draws)
    for draw in range(n_draws):
        chosen = rng.integers(len(sums), size=len(sums))
        draws[draw] = sums[chosen].sum() / sizes[chosen].sum()
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(difference.mean()), float(low), float(high))
