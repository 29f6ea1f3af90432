"""The gate: what a champion is protected from, and what noise must not do to a candidate."""

from typing import Any

import numpy as np
import pytest

from models.evaluation import gate
from models.evaluation.comparison import EARLY, OVERALL, SLICE, Calibration, Comparison
from models.evaluation.gate import DEFAULT_PARAMS, Rule, Standing
from models.statistics.metrics import Interval


def judge(rules: list[Rule], *, first: bool, **more: Any) -> dict[str, Any]:
    """The verdict on a candidate of one model."""
    return gate.judge(rules, {"intent": Standing(first, **more)})


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


@pytest.mark.parametrize(("about", "verdict"), [(("ranker",), "fail"), (("intent",), "not_enough_data")])
def test_what_nobody_needs_must_not_be_worse_on_average(about: tuple[str, ...], verdict: str) -> None:
    one = compared(-0.2, 0.1)._replace(about=about)
    assert gate.over_baseline([one], DEFAULT_PARAMS)[0].verdict == verdict


@pytest.mark.parametrize(
    ("low", "high", "n_sessions", "verdict"),
    [
        (0.0, 0.1, 500, "pass"),
        (0.1, 0.2, 500, "not_enough_data"),
        (0.16, 0.3, 500, "fail"),
        (0.16, 0.3, 31, "fail"),
        (0.16, 0.3, 29, "not_enough_data"),
    ],
)
def test_calibration_fails_only_where_the_error_is_certainly_too_large(
    low: float, high: float, n_sessions: int, verdict: str
) -> None:
    rules = gate.calibrated([Calibration("intent", (low + high) / 2, low, high, n_sessions)], DEFAULT_PARAMS, first=True)
    found = judge(rules, first=True, says_p=True)
    assert found["verdict"] == verdict
    assert found["promote"] == (verdict != "fail" and n_sessions > 30)  # unseen is not safe: the fallback answers


def test_without_evidence_the_champion_stays() -> None:
    thin = gate.not_worse([compared(-0.2, 0.2)], DEFAULT_PARAMS)
    assert judge(thin, first=False)["promote"] is False


def test_a_newer_count_needs_no_evidence_but_nothing_may_speak_against_it() -> None:
    thin = gate.not_worse([compared(-0.2, 0.2)], DEFAULT_PARAMS)
    assert judge(thin, first=False, is_counted=True)["promote"]
    assert not judge([*thin, gate.at_most("size, MB", 9.0, 1.0)], first=False, is_counted=True)["promote"]


def test_a_slice_or_speed_alone_is_no_evidence() -> None:
    rules = [*gate.not_worse([compared(0.1, 0.2, SLICE)], DEFAULT_PARAMS), *gate.quick({"intent": 0.01}, {}, DEFAULT_PARAMS)]
    assert judge(rules, first=False)["verdict"] == "not_enough_data"


def test_a_defect_fails_whatever_the_measures_say() -> None:
    good = Rule("intent macro-F1", "pass", 0.6, ">= 0.5", decisive=True)
    assert judge([good, gate.holds("parity", 1, 50, "bit for bit")], first=True)["promote"] is False


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


def test_the_one_line_says_what_serves_and_of_the_rest_why_not() -> None:
    rules = [
        gate.at_most("size, MB", 30.0, 10.0)._replace(about=("intent",)),
        gate.holds("golden rows", 2, 9, "repeated")._replace(about=("intent",)),
    ]
    standings = {
        "intent": Standing(False),
        "associations": Standing(True),
        "ranker": Standing(True, needs=("intent",), instead="B"),
    }
    told = gate.judge(rules, standings)
    assert (told["verdict"], told["promote"]) == ("fail", True)
    assert gate.in_words(told) == (
        "fail, promoted associations; "
        "intent is left out, the champion stays: size, MB is 30 (wanted: <= 10); golden rows is 2 (wanted: repeated); "
        "ranker is left out, B: it was fitted to intent, which is left out"
    )
    assert gate.in_words(judge(rules, first=False)).startswith(
        "fail, nothing new serves; intent is left out, the champion stays"
    )
    fine = judge([Rule("F1", "pass", 0.6, "", decisive=True)], first=False)
    assert gate.in_words({**fine, "approval": "approved by ada"}) == "pass, promoted, approved by ada"
    no = {**fine, "promote": False, "approval": "ada did not approve it"}
    assert gate.in_words(no) == "pass, nothing new serves, ada did not approve it"


def test_one_spoiled_model_keeps_none_but_those_that_were_fitted_to_it() -> None:
    good = [Rule(f"{name} F1", "pass", 0.6, "", True, (name,)) for name in ("intent", "weights", "next_action", "engagement")]
    spoiled = Rule("purchase calibration", "fail", 0.4, "<= 0.15", about=("next_action",), says="it is off by 0.4")
    standings = {name: Standing(False) for name in ("intent", "next_action", "weights")}
    told = gate.judge([*good, spoiled], {**standings, "engagement": Standing(False, needs=("next_action",))})
    assert {name: one["promote"] for name, one in told["models"].items()} == {
        "intent": True,
        "next_action": False,
        "weights": True,
        "engagement": False,
    }
    assert told["models"]["next_action"]["why"] == "it is off by 0.4"


def test_what_learned_from_nothing_is_never_promoted() -> None:
    good = [Rule("F1", "pass", 0.6, "", decisive=True)]
    for first in (True, False):
        told = judge(good, first=first, learned=False)
        assert (told["verdict"], told["promote"]) == ("not_enough_data", False)
        assert told["models"]["intent"]["why"] == "not enough data: there was nothing to learn from"


@pytest.mark.parametrize(
    ("low", "high", "n_sessions", "verdict", "promoted"),
    [
        (0.02, 0.05, 40, "pass", True),
        (-0.05, 0.05, 40, "not_enough_data", True),  # no difference to tell, and no harm
        (-0.3, -0.1, 40, "fail", False),
        (-0.3, -0.1, 20, "not_enough_data", False),
    ],
)
def test_a_first_model_must_not_be_surely_worse_than_its_baseline(
    low: float, high: float, n_sessions: int, verdict: str, promoted: bool
) -> None:
    rules = gate.over_baseline([compared(low, high, n_sessions=n_sessions)], DEFAULT_PARAMS)
    told = judge(rules, first=True, says_p=True)
    assert (told["verdict"], told["promote"]) == (verdict, promoted)


def test_a_loss_is_told_as_a_sentence() -> None:
    gain = Interval(-0.046, -0.06, -0.04)
    one = Comparison("intent log loss, device mobile", SLICE, 0.746, 0.7, gain, 2000, 500)
    (rule,) = gate.not_worse([one], DEFAULT_PARAMS)
    assert (rule.verdict, rule.says) == ("fail", "intent log loss is worse by 0.046 for mobile visitors, 0.045 is tolerated")
