"""Drift measures on samples whose truth is known: what did not change is not called changed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.evaluation import drift
from models.evaluation.drift import DriftParams, Rule
from models.statistics.metrics import Interval

PARAMS = DriftParams()
QUIET = (Interval(0.01, 0.0, 0.02), Interval(0.06, 0.015, 0.1))
CALM = {
    "n_sessions": (500, 500),
    "features": {"a": 0.05, "b": 0.01},
    "intent_psi": 0.01,
    "ece": (0.03, 0.04),
    "purchase_ece": QUIET,
}


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=12), st.integers(2, 9))
def test_psi_is_nothing_for_the_same_shares_and_never_negative(counts: list[int], times: int) -> None:
    other = list(reversed(counts))
    assert drift.psi(counts, counts) == 0.0
    assert drift.psi(counts, other) == pytest.approx(drift.psi(other, counts))
    assert drift.psi(counts, other) >= 0.0
    assert np.isfinite(drift.psi(counts, [0] * len(counts)))


def test_psi_is_the_sum_that_one_can_compute_by_hand() -> None:
    # Shares 0.6 and 0.4 became 0.4 and 0.6, the half counts included: 2 * 0.2 * ln(1.5).
    assert drift.psi([59.5, 39.5], [39.5, 59.5]) == pytest.approx(0.4 * np.log(1.5))


@pytest.mark.parametrize("kind", ["numbers", "counts", "mostly zero", "missing"])
def test_two_samples_of_one_distribution_hardly_ever_cross_the_limit(kind: str) -> None:
    rng = np.random.default_rng(3)
    draw: Callable[[int], Any] = {
        "numbers": lambda n: rng.lognormal(size=n),
        "counts": lambda n: np.asarray(rng.poisson(3, n), dtype=float),
        "mostly zero": lambda n: np.where(rng.random(n) < 0.9, 0.0, rng.exponential(size=n)),
        "missing": lambda n: np.where(rng.random(n) < 0.5, np.nan, rng.normal(size=n)),
    }[kind]
    found = [drift.psi_of(draw(5_000), draw(PARAMS.min_sessions), PARAMS.n_bins) for _ in range(200)]
    assert np.mean(np.array(found) > PARAMS.psi_limit) <= 0.01


@pytest.mark.parametrize("kind", ["shifted", "wider", "missing", "no longer zero"])
def test_what_changed_is_found(kind: str) -> None:
    rng = np.random.default_rng(4)
    before = np.where(rng.random(5_000) < 0.5, 0.0, rng.normal(5, 1, 5_000))
    now = {
        "shifted": np.where(rng.random(400) < 0.5, 0.0, rng.normal(6, 1, 400)),
        "wider": np.where(rng.random(400) < 0.5, 0.0, rng.normal(5, 3, 400)),
        "missing": np.where(rng.random(400) < 0.2, np.nan, before[:400]),
        "no longer zero": rng.normal(5, 1, 400),
    }[kind]
    assert drift.psi_of(before, now) > PARAMS.psi_limit


def test_a_feature_that_was_constant_may_change_or_not() -> None:
    constant, other = np.full(300, 7.0), np.full(300, 8.0)
    assert drift.psi_of(constant, constant) == 0.0
    assert drift.psi_of(constant, other) > 1.0
    assert drift.psi_of(np.full(300, np.nan), np.full(300, np.nan)) == 0.0


def test_the_clock_is_no_drift_and_the_largest_shift_comes_first() -> None:
    rng = np.random.default_rng(5)
    before, now = rng.normal(size=(500, 3)), rng.normal((0, 3, 9), 1, (500, 3))
    assert list(drift.feature_psi(before, now, ("calm", "moved", "hour_sin"))) == ["moved", "calm"]


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({}, None),
        ({"features": {"a": 0.05, "b": 0.3}}, "features"),
        ({"intent_psi": 0.3}, "intent mix"),
        ({"ece": (0.03, 0.09)}, "calibration"),
        ({"purchase_ece": (Interval(0.01, 0.0, 0.02), Interval(0.06, 0.035, 0.1))}, "purchase calibration"),
        ({"purchase_ece": ()}, None),
        ({"rewards": {"reward per decision": (True, 0.1, 0.02)}}, "reward per decision"),
    ],
)
def test_each_rule_fails_by_itself(change: dict[str, object], failed: str | None) -> None:
    given_ = {**CALM, "rewards": {"reward per decision": (False, 0.1, 0.1)}, **change}
    found = drift.rules(**given_, params=PARAMS)  # type: ignore[arg-type]
    assert [rule.name for rule in found if rule.verdict == "fail"] == ([failed] if failed else [])
    assert drift.verdict(found) == ("drift" if failed else "no drift")


def test_too_few_sessions_say_nothing_whatever_they_look_like() -> None:
    loud = {**CALM, "n_sessions": (500, 199), "intent_psi": 9.0, "rewards": {"reward": (True, 0.1, 0.9)}}
    found = drift.rules(**loud, params=PARAMS)  # type: ignore[arg-type]
    assert {rule.verdict for rule in found} == {"not enough data"}
    assert found[0] == Rule("features", "not enough data", None, 0.2, "500 sessions before and 199 now, 200 are needed")
    assert drift.verdict(found) == "not enough data"


def test_histograms_over_different_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="same bins"):
        drift.psi([1, 2], [1, 2, 3])


def test_a_sample_keeps_the_order_and_has_no_row_twice() -> None:
    found = drift.sample(1000, 50, np.random.default_rng(1))
    assert len(np.unique(found)) == 50
    assert (np.diff(found) > 0).all()
