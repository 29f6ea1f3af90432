import numpy as np
import pytest

from models.statistics import bootstrap, metrics
from models.statistics.bootstrap import areas, draw, ranking


def test_groups_are_drawn_whole_and_as_many_as_there_are():
    draws = draw(np.array([7, 7, 3, 9]), np.random.default_rng(0), 50)
    assert draws.group.tolist() == [1, 1, 0, 2]
    assert set(draws.times.sum(axis=1).tolist()) == {3}


def test_interval_of_a_constant_difference_is_that_constant():
    draws = draw(np.arange(5), np.random.default_rng(0), 50)
    one, other = bootstrap.mean_intervals(np.column_stack((np.full(5, 0.25), np.zeros(5))), draws)
    assert one == pytest.approx((0.25, 0.25, 0.25))
    assert other == (0.0, 0.0, 0.0)


def test_interval_agrees_with_the_plain_paired_bootstrap():
    rng = np.random.default_rng(1)
    first, second, groups = rng.random(400), rng.random(400), rng.integers(40, size=400)
    shared = bootstrap.mean_intervals((first - second)[:, None], draw(groups, rng, 2000))[0]
    plain = metrics.paired_interval(first, second, rng, groups=groups, n_draws=2000)
    assert shared.mean == pytest.approx(plain.mean)
    assert (shared.low, shared.high) == pytest.approx((plain.low, plain.high), abs=0.01)


def test_weighted_areas_equal_the_areas_of_repeated_rows():
    rng = np.random.default_rng(2)
    score, positive, times = rng.integers(6, size=60) / 5, rng.random(60) < 0.4, rng.integers(4, size=60)
    roc, pr = areas(ranking(score), positive, times.astype(float))
    many, hit = np.repeat(score, times), np.repeat(positive, times)
    assert roc == pytest.approx(metrics.roc_auc(many, hit))
    assert pr == pytest.approx(metrics.pr_auc(many, hit))


def test_area_interval_of_a_method_against_itself_is_zero():
    rng = np.random.default_rng(3)
    score, positive = rng.random(50), rng.random(50) < 0.5
    roc, pr = bootstrap.area_intervals(score, score, positive, draw(np.arange(50), rng, 20))
    assert roc == (0.0, 0.0, 0.0) == pr
    assert bootstrap.verdict(roc, "ours", "theirs") == "no difference"


def test_perfect_scores_beat_their_opposite():
    positive = np.arange(40) % 2 == 0
    roc, _ = bootstrap.area_intervals(
        positive * 1.0, 1.0 - positive, positive, draw(np.arange(40), np.random.default_rng(0), 20)
    )
    assert roc == (1.0, 1.0, 1.0)
    assert bootstrap.verdict(roc, "ours", "theirs") == "ours"


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="at least one row"):
        draw(np.zeros(0, dtype=int), np.random.default_rng(0))
