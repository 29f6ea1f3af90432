"""Every expected value was computed by hand; the formula stands in the id or the comment."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.statistics import metrics

CODES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("true", "predicted", "expected"),
    [
        ([0, 0, 1, 1], [0, 0, 1, 1], 1.0),
        ([0, 0, 1, 1], [1, 1, 0, 0], 0.0),
        ([0, 0, 0, 1], [0, 0, 1, 1], (4 / 5 + 2 / 3) / 2),
        ([0, 0], [0, 2], (2 / 3 + 0) / 2),  # class 1 is nowhere, class 2 is a false alarm
    ],
)
def test_macro_f1_is_the_mean_over_the_classes_that_occur(true, predicted, expected):
    assert metrics.macro_f1(np.array(true), np.array(predicted), 3) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("p", "positive", "expected"),
    [
        ([0.9, 0.8, 0.2], [1, 1, 0], 1.0),
        ([0.9, 0.8, 0.2], [0, 1, 1], 0.0),  # both positives below the negative
        ([0.5, 0.5], [1, 0], 0.5),
        ([0.9, 0.5, 0.5, 0.1], [1, 0, 1, 0], (1 + 1 + 0.5 + 1) / 4),
    ],
)
def test_roc_auc_counts_pairs_with_ties_as_half(p, positive, expected):
    assert metrics.roc_auc(np.array(p), np.array(positive, bool)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("p", "positive", "expected"),
    [
        ([0.9, 0.8, 0.2], [1, 1, 0], 1.0),
        ([0.9, 0.8, 0.7], [1, 0, 1], 0.5 * 1 + 0.5 * 2 / 3),
        ([0.5, 0.5, 0.5, 0.5], [1, 0, 0, 0], 1 / 4),  # one threshold for all
    ],
)
def test_pr_auc_is_average_precision(p, positive, expected):
    assert metrics.pr_auc(np.array(p), np.array(positive, bool)) == pytest.approx(expected)


def test_a_measure_that_needs_both_kinds_is_nan_without_one():
    assert np.isnan(metrics.roc_auc(np.array([0.1, 0.2]), np.array([True, True])))
    assert np.isnan(metrics.pr_auc(np.array([0.1, 0.2]), np.array([False, False])))


@pytest.mark.parametrize(
    ("p", "true", "expected"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], [0, 1], 0.0),
        ([[0.8, 0.2], [0.6, 0.4]], [0, 1], (2 * 0.2**2 + 2 * 0.6**2) / 2),
        ([[0.8, 0.2]], [[0.5, 0.5]], 0.5 * (2 * 0.2**2) + 0.5 * (2 * 0.8**2)),  # the truth is a coin
        ([0.8, 0.4], [True, False], (0.2**2 + 0.4**2) / 2),
    ],
)
def test_brier_is_the_squared_error(p, true, expected):
    assert metrics.brier(np.array(p), np.array(true)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("p", "true", "expected"),
    [
        ([[0.5, 0.5], [0.25, 0.75]], [0, 0], (np.log(2) + np.log(4)) / 2),
        ([[0.5, 0.5]], [[0.3, 0.7]], np.log(2)),
        ([[1.0, 0.0]], [1], -np.log(1e-12)),
    ],
)
def test_log_loss_is_the_mean_surprise(p, true, expected):
    assert metrics.log_loss(np.array(p), np.array(true)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("p", "true", "n_bins", "expected"),
    [
        ([0.8] * 4, [True, True, True, False], 15, 0.05),
        ([0.1, 0.1, 0.9, 0.9], [False, False, True, False], 2, (2 * 0.1 + 2 * 0.4) / 4),
        ([[0.9, 0.1], [0.1, 0.9]], [0, 0], 1, 0.4),  # says 0.9, is right half the time
        ([[0.9, 0.1]], [[0.6, 0.4]], 15, 0.3),
    ],
)
def test_ece_is_the_distance_between_said_and_seen(p, true, n_bins, expected):
    assert metrics.ece(np.array(p), np.array(true), n_bins) == pytest.approx(expected)


def test_bins_have_about_equal_mass_and_never_split_a_tie():
    p = np.concatenate((np.full(50, 0.1), np.linspace(0.2, 0.9, 50)))
    bins = metrics.calibration_bins(p, p > 0.5, 4)
    assert bins[0].n_rows == 50
    assert sum(b.n_rows for b in bins) == 100
    assert bins[0].mean_p == pytest.approx(0.1)


def test_confusion_has_truth_as_rows():
    table = metrics.confusion(np.array([0, 0, 2]), np.array([0, 1, 2]), 3)
    assert table.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]


@given(CODES)
def test_confusion_counts_every_row_once_and_f1_stays_in_range(pairs):
    true, predicted = np.array(pairs).T
    assert metrics.confusion(true, predicted, 3).sum() == len(pairs)
    assert 0.0 <= metrics.macro_f1(true, predicted, 3) <= 1.0


@pytest.mark.parametrize("measure", [metrics.log_loss, metrics.brier, metrics.ece])
def test_a_measure_of_nothing_is_refused(measure):
    with pytest.raises(ValueError, match="at least one row"):
        measure(np.empty((0, 2)), np.empty(0, dtype=int))


def test_paired_interval_is_clear_of_zero_only_where_there_is_a_difference():
    rng = np.random.default_rng(1)
    worse = rng.random(400)
    better = worse + 0.1 + 0.05 * rng.standard_normal(400)
    clear = metrics.paired_interval(better, worse, np.random.default_rng(2))
    none = metrics.paired_interval(worse, worse + 0.5 * rng.standard_normal(400), np.random.default_rng(2))
    assert clear.low > 0
    assert clear.mean == pytest.approx(0.1, abs=0.01)
    assert none.low < 0 < none.high


def test_paired_interval_widens_when_rows_of_a_group_move_together():
    shift = np.repeat(np.random.default_rng(3).standard_normal(20), 20)
    alone = metrics.paired_interval(shift, np.zeros(400), np.random.default_rng(4))
    together = metrics.paired_interval(shift, np.zeros(400), np.random.default_rng(4), groups=np.repeat(np.arange(20), 20))
    assert together.high - together.low > 2 * (alone.high - alone.low)
