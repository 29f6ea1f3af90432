"""Whatever may be looked at any time is simulated: how often it is ever wrong, and whether it finds what is there."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.experiments import sequential
from models.experiments.sequential import Effect, Moments, SequenceParams


def looked_at(lift: float, runs: int = 400, looks: int = 200, per_look: int = 40, rate: float = 0.05) -> np.ndarray:
    """Whether each run was ever clear of zero, on which side: -1, 0, 1; shape (runs,)."""
    rng = np.random.default_rng(11)
    n = per_look * np.arange(1.0, looks + 1)
    bought = [rng.binomial(per_look, p, size=(runs, looks)).cumsum(axis=1) for p in (rate * (1 + lift), rate)]
    mean = [b / n for b in bought]
    difference, variance = mean[0] - mean[1], sum(m * (1 - m) / (n - 1) for m in mean)
    clear = (np.abs(difference) > sequential.radius(variance, 2 * n, SequenceParams())) & (bought[0] + bought[1] >= 25)
    first = clear.argmax(axis=1)
    return np.where(clear.any(axis=1), np.sign(difference[np.arange(runs), first]), 0)


def test_two_hundred_looks_at_no_difference_are_wrong_less_often_than_said() -> None:
    assert (looked_at(0.0) != 0).mean() <= 0.05


def test_a_true_lift_is_found_on_its_side() -> None:
    found = looked_at(0.1, runs=100, per_look=1000)
    assert (found == 1).mean() >= 0.95
    assert not (found == -1).any()


def test_power_is_what_simulation_gives() -> None:
    """The promise is of one look at that size; whoever looked before as well has found more."""
    rates, params = (0.065, 0.05), SequenceParams()
    n = sequential.n_needed(rates[0] - rates[1], 2 * sum(p * (1 - p) for p in rates), params)
    assert n is not None
    rng = np.random.default_rng(3)
    mean = [rng.binomial(n // 2, p, size=2000) / (n // 2) for p in rates]
    variance = sum(m * (1 - m) / (n // 2) for m in mean)
    found = (mean[0] - mean[1] > sequential.radius(variance, n, params)).mean()
    assert 0.75 <= found <= 0.83  # a little below: the variance is estimated from the same visitors and grows with the effect


def test_the_interval_is_the_published_one() -> None:
    """Waudby-Smith et al., theorem 2.2, one mean with variance 1: sqrt(2 (t r + 1) / (t^2 r) log(sqrt(t r + 1) / alpha))."""
    params, t = SequenceParams(0.05, 500), 137.0
    r = params.rho_squared
    published = np.sqrt(2 * (t * r + 1) / (t**2 * r) * np.log(np.sqrt(t * r + 1) / 0.05))
    assert float(sequential.radius(1 / t, t, params)) == pytest.approx(float(published))


@given(st.integers(10, 10**6), st.floats(0.001, 0.5))
def test_wider_than_one_look_and_wider_for_a_smaller_error(n: int, alpha: float) -> None:
    wide = float(sequential.radius(1.0, n, SequenceParams(alpha)))
    assert wide > -NormalDist().inv_cdf(alpha / 2)
    assert float(sequential.radius(1.0, n, SequenceParams(alpha / 2))) > wide


def test_nobody_in_an_arm_says_nothing() -> None:
    nothing = sequential.effect(Moments(0, 0.0, 0.0), Moments(50, 0.2, 1.0))
    assert nothing.interval(SequenceParams()) == (-np.inf, np.inf)
    assert Effect(0.0, 1.0, 0).interval(SequenceParams()) == (-np.inf, np.inf)
    assert sequential.relative_effect(Moments(50, 0.3, 1.0), Moments(50, 0.0, 0.0)) is None
    assert sequential.relative_effect(Moments(50, 0.3, 1.0), Moments(50, -2e-18, 0.0)) is None


@pytest.mark.parametrize(("alpha", "tuned_for"), [(0.0, 10), (1.0, 10), (0.05, 0)])
def test_parameters_out_of_range_are_refused(alpha: float, tuned_for: int) -> None:
    with pytest.raises(ValueError, match="alpha"):
        SequenceParams(alpha, tuned_for)


@pytest.mark.parametrize(("counts", "refused"), [((9_600, 10_400), True), ((9_900, 10_100), False), ((0, 0), False)])
def test_the_sample_ratio_that_must_be_refused_is(counts: tuple[int, int], refused: bool) -> None:
    assert (sequential.p_counts(counts, (0.5, 0.5)) < 0.01) == refused


def test_a_split_as_dealt_is_hardly_ever_refused_however_often_one_looks() -> None:
    rng = np.random.default_rng(5)
    first = rng.binomial(200, 0.3, size=(300, 50)).cumsum(axis=1)
    n = 200 * np.arange(1, 51)
    ever = [
        any(sequential.p_counts((k, m - k), (0.3, 0.7)) < 0.05 for k, m in zip(row, n, strict=True)) for row in first.tolist()
    ]
    assert np.mean(ever) <= 0.05


@pytest.mark.parametrize("shares", [(0.5, 0.6), (1.0, 0.0), (1.0,)])
def test_shares_that_do_not_add_up_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="share"):
        sequential.p_counts((5, 5), shares)
