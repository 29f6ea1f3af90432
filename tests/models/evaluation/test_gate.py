"""The gate: what a champion is protected from, and what noise must not do to a candidate."""

from typing import Any

import numpy as np
import pytest

from models.evaluation import gate
from models.evaluation.comparison import EARLY, OVERALL, SLICE, Calibration, Comparison
from models.evaluation.gate import DEFAULT_PARAMS, Rule
from models.statistics.metrics import Interval


def compared(low: float, high: float, part: str = OVERALL, n_rows: int = 2000, n_sessions: int = 500) -> Comparison:
    gain = Interval((low + high) / 2, low, high)
    return Comparison("log loss", part, 0.6 - gain.mean, 0.6, gain, n_rows, n_sessions)  # tolerated: 0.05 * 0.6 + 0.01


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.02, 0.05, "pass"),
        (-0.03, 0.03, "pass"),  # no loss beyond the tolerance is possible
        (-0.03, -0.01, "pass"),  # a certain loss, but a tolerated one
        (-0.2, 0.1, "not_enough_data"),
        (-0.2, -0.1, "fail"),
    ],
)
def test_a_loss_must_be_certain_to_fail_and_ruled_out_to_pass(low: float, high: float, verdict: str) -> None:
    assert gate.not_worse([compared(low, high)], DEFAULT_PARAMS)[0].verdict == verdict


@pytest.mark.parametrize(
    "thin", [compared(-0.2, -0.1, n_rows=200), compared(-0.2, -0.1, n_sessions=20), compared(-0.2, -0.1, SLICE, n_sessions=200)]
)
def test_few_rows_or_sessions_say_nothing(thin: Comparison) -> None:
    assert gate.not_worse([thin], DEFAULT_PARAMS)[0].verdict == "not_enough_data"


def test_among_many_slices_one_that_looks_bad_is_no_evidence() -> None:
    one = compared(-0.16, -0.01, SLICE)
    assert gate.not_worse([one], DEFAULT_PARAMS)[0].verdict == "fail"
    assert gate.not_worse([one] + 29 * [compared(-0.01, 0.01, EARLY)], DEFAULT_PARAMS)[0].verdict == "not_enough_data"


def test_a_retrained_equal_is_hardly_ever_failed_by_chance() -> None:
    """300 candidates as good as the champion, 30 measures each, on noisy data: fewer than one in twenty meets a fail."""
    rng = np.random.default_rng(0)
    n_failed = 0
    for _ in range(300):
        means = rng.normal(0.0, 0.1, 30)
        rules = gate.not_worse([compared(m - 0.196, m + 0.196) for m in means], DEFAULT_PARAMS)
        n_failed += any(rule.verdict == "fail" for rule in rules)
    assert n_failed < 0.05 * 300


@pytest.mark.parametrize(
    ("low", "high", "n_sessions", "verdict"),
    [
        (0.0, 0.1, 500, "pass"),
        (0.1, 0.2, 500, "not_enough_data"),
        (0.16, 0.3, 500, "fail"),
        (0.16, 0.3, 150, "not_enough_data"),
    ],
)
def test_calibration_fails_only_where_the_error_is_certainly_too_large(
    low: float, high: float, n_sessions: int, verdict: str
) -> None:
    rules = gate.calibrated([Calibration("intent", (low + high) / 2, low, high, n_sessions)], DEFAULT_PARAMS, first=True)
    found = gate.judge(rules, first=True)
    assert found["verdict"] == verdict
    assert found["promote"] == (verdict != "fail")  # a shop's first models are better than none


def test_without_evidence_the_champion_stays() -> None:
    thin = gate.not_worse([compared(-0.2, 0.2)], DEFAULT_PARAMS)
    assert gate.judge(thin, first=False)["promote"] is False


def test_a_slice_or_speed_alone_is_no_evidence() -> None:
    rules = [*gate.not_worse([compared(0.1, 0.2, SLICE)], DEFAULT_PARAMS), *gate.quick({"intent": 0.01}, {}, DEFAULT_PARAMS)]
    assert gate.judge(rules, first=False)["verdict"] == "not_enough_data"


def test_a_defect_fails_whatever_the_measures_say() -> None:
    good = Rule("intent macro-F1", "pass", 0.6, ">= 0.5", decisive=True)
    assert gate.judge([good, gate.holds("parity", 1, 50, "bit for bit")], first=True)["promote"] is False


@pytest.mark.parametrize(
    ("ours", "champions", "verdict"), [(0.15, 0.01, "pass"), (0.5, 0.1, "fail"), (0.5, 0.2, "pass"), (2.5, 2.4, "fail")]
)
def test_a_slower_model_fails_where_it_can_be_felt(ours: float, champions: float, verdict: str) -> None:
    assert gate.quick({"intent": ours}, {"intent": champions}, DEFAULT_PARAMS)[0].verdict == verdict


def test_a_version_that_does_not_say_where_it_comes_from_fails() -> None:
    whole: dict[str, Any] = {key: {} for key in gate.LINEAGE}
    assert gate.complete({"intent": whole, "weights": whole}).verdict == "pass"
    rule = gate.complete({"intent": whole, "weights": {**whole, "validation": None}})
    assert (rule.verdict, rule.wanted) == ("fail", "nothing missing, not weights.validation")


def test_the_one_line_names_what_failed_with_observed_and_wanted() -> None:
    rules = [gate.at_most("size, MB", 30.0, 10.0), gate.at_most("latency", 1.0, 2.0), gate.holds("parity", 2, 9, "same bits")]
    told = gate.judge(rules, first=False)
    assert gate.in_words(told) == ("fail, the champion stays: size, MB is 30 (wanted: <= 10); parity is 2 (wanted: same bits)")
    assert gate.in_words({**told, "first": True}).startswith("fail, nothing serves yet: size, MB")
    assert gate.in_words({"verdict": "fail", "promoted": False, "champions": {}, "rules": []}).startswith(
        "fail, nothing serves"
    )
    assert "no measure had enough" in gate.in_words(gate.judge([], first=False))
    approved = {"verdict": "pass", "promoted": True, "approval": "approved by ada", "rules": []}
    assert gate.in_words(approved) == "pass, promoted, approved by ada"
    assert gate.in_words({**told, "promote": False, "approval": "ada did not approve it"}).endswith("ada did not approve it")
