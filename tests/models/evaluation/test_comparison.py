"""Candidate beside champion: differences with intervals, on rows whose answer is known by construction."""

import numpy as np
import pytest

from models.evaluation import comparison, gate, predictions
from models.evaluation.comparison import EARLY, OVERALL, SLICE, Truth
from models.evaluation.predictions import Predictions
from models.schema import DEVICES, HORIZONS_S, INTENTS, N_INTENTS, NEXT_ACTIONS
from models.statistics import bootstrap

N_SESSIONS, LENGTH = 120, 5
N = N_SESSIONS * LENGTH
MEDIUM = list(HORIZONS_S).index("medium_term")


def shop(seed: int = 0) -> Truth:
    rng = np.random.default_rng(seed)
    label = rng.integers(N_INTENTS, size=N_SESSIONS).repeat(LENGTH)
    return Truth(
        p_intent=np.eye(N_INTENTS)[label],
        next_action=rng.integers(3, size=(N, len(HORIZONS_S))),
        purchase=rng.random((N, len(HORIZONS_S))) < 0.2,
        covered=np.ones((N, len(HORIZONS_S)), dtype=bool),
        session=np.arange(N) // LENGTH,
        position=np.arange(N) % LENGTH + 1,
        device=np.full(N, DEVICES.index("mobile")),
        is_new=np.arange(N) < N // 2,
        question_session=np.arange(50),
    )


def said(came: Truth, sharpness: float, seed: int = 1) -> Predictions:
    """Predictions that know the truth, and doubt it the more the less sharp they are."""
    rng = np.random.default_rng(seed)

    def towards(truth: np.ndarray, n: int) -> np.ndarray:
        raw = np.exp(sharpness * np.eye(n)[truth] + rng.normal(0, 0.5, (len(truth), n)))
        return np.asarray(raw / raw.sum(axis=1, keepdims=True))

    return Predictions(
        towards(came.p_intent.argmax(axis=1), N_INTENTS),
        {name: towards(came.next_action[:, k], len(NEXT_ACTIONS)) for k, name in enumerate(HORIZONS_S)},
        {name: towards(came.purchase[:, k].astype(int), 2)[:, 1] for k, name in enumerate(HORIZONS_S)},
        {"dynamic": np.where(rng.random(50) < sharpness / 4, 1, 0)},
        towards(came.purchase[:, MEDIUM].astype(int), 2)[:, 1],
    )


def test_the_better_model_gains_everywhere_and_the_worse_one_loses_by_the_same() -> None:
    came = shop()
    sharp, dull = said(came, 3.0), said(came, 0.5)
    gains = comparison.compare(sharp, dull, came, np.random.default_rng(2))
    losses = comparison.compare(dull, sharp, came, np.random.default_rng(2))
    assert all(one.gain.low > 0 for one in gains)
    assert [one.gain.mean for one in losses] == pytest.approx([-one.gain.mean for one in gains])
    assert {one.part for one in gains} == {OVERALL, EARLY, SLICE}


def test_what_is_measured_is_named_and_counted() -> None:
    came = shop()
    found = {one.name: one for one in comparison.compare(said(came, 2.0), said(came, 2.0), came, np.random.default_rng(0))}
    assert {
        "intent macro-F1",
        "intent log loss, after 3 events",
        "intent log loss, new users",
        "purchase AUC, medium term",
        "engagement AUC",
    } <= set(found)
    assert "intent log loss, after 10 events" not in found  # no session is that long
    assert "intent log loss, device desktop" not in found
    assert found["intent log loss, after 1 event"].n_rows == N_SESSIONS
    assert (found["intent log loss, new users"].n_rows, found["intent log loss, new users"].n_sessions) == (
        N // 2,
        N_SESSIONS // 2,
    )
    assert found["next item MRR@20"].n_sessions == 50


def test_no_slice_looks_at_what_is_to_be_foreseen() -> None:
    """A model that says the class shares, whatever it sees, beats an honest one on the rows of the most frequent label."""
    came = shop()
    names = {one.name for one in comparison.compare(said(came, 2.0), said(came, 1.0), came, np.random.default_rng(0))}
    assert not {name for name in names if name.rpartition(", ")[2] in INTENTS}


def test_what_is_better_for_most_and_surely_worse_for_one_partner_is_stopped() -> None:
    large, small = np.arange(N) < 0.8 * N, np.arange(N) >= 0.8 * N
    came = shop()._replace(
        of_partner={"large": (np.flatnonzero(large), np.arange(40)), "small": (np.flatnonzero(small), np.arange(40, 50))}
    )
    serves, new = said(came, 2.0), said(came, 2.5)
    harmed = new._replace(p_intent=np.where(small[:, None], np.roll(serves.p_intent, 1, axis=1), new.p_intent))
    rng, params = np.random.default_rng(0), gate.GateParams(min_rows=1, min_sessions=1)
    harms = {rule.name: rule for rule in gate.not_worse(comparison.compare(harmed, serves, came, rng), params)}
    told = harms["intent log loss, partner small"]
    assert told.verdict == gate.FAIL
    assert " for partner small, " in told.says
    assert {rule.verdict for name, rule in harms.items() if name.endswith("partner large")} == {gate.PASS}
    better = gate.not_worse(comparison.compare(new, serves, came, rng), params)
    assert "next item MRR@20, partner small" in {rule.name for rule in better}
    assert not [rule for rule in better if rule.verdict == gate.FAIL]


def test_every_measure_says_which_models_it_judges() -> None:
    came, rng = shop(), np.random.default_rng(0)
    found = comparison.compare(said(came, 2.0), said(came, 1.0), came, rng)
    about = {one.name: one.about for one in found} | {
        one.name: one.about for one in comparison.calibrations(said(came, 2.0), came, rng)
    }
    assert all(about.values())
    assert about["purchase AUC, medium term"] == about["purchase calibration, medium term"] == ("next_action",)
    assert about["next item MRR@20"] == ("associations", "weights")


def test_the_same_model_gains_exactly_nothing() -> None:
    came = shop()
    one = said(came, 1.0)
    assert all(tuple(row.gain) == (0, 0, 0) for row in comparison.compare(one, one, came, np.random.default_rng(0)))


def test_a_measure_that_does_not_exist_is_left_out() -> None:
    came = shop()._replace(purchase=np.zeros((N, len(HORIZONS_S)), dtype=bool), question_session=np.zeros(0, dtype=np.int64))
    names = {one.name for one in comparison.compare(said(came, 1.0), said(came, 2.0), came, np.random.default_rng(0))}
    assert not {name for name in names if name.startswith(("purchase", "next item"))}


def test_predictions_come_back_from_their_files() -> None:
    one = said(shop(), 1.0)
    again = predictions.from_parts(predictions.to_parts(one))
    assert again.p_intent is one.p_intent
    assert set(again.p_action) == set(HORIZONS_S) == set(again.p_purchase)
    assert again.ranks["dynamic"].tolist() == one.ranks["dynamic"].tolist()
    assert again.p_engagement is one.p_engagement
    unlearned = predictions.from_parts(predictions.to_parts(one._replace(p_engagement=None)))
    assert unlearned.p_engagement is None


def test_engagement_is_compared_and_judged_only_where_it_was_learned() -> None:
    came, rng = shop(), np.random.default_rng(0)
    learned = said(came, 2.0)
    unlearned = learned._replace(p_engagement=None)
    for pair in ((learned, unlearned), (unlearned, learned)):
        assert "engagement AUC" not in {one.name for one in comparison.compare(*pair, came, rng)}
    assert "engagement calibration" not in {one.name for one in comparison.calibrations(unlearned, came, rng)}


def test_an_engagement_score_that_promises_too_much_is_certainly_above_the_limit() -> None:
    came, rng = shop(), np.random.default_rng(0)
    honest = said(came, 1.0)._replace(p_engagement=np.full(N, 0.2) + rng.normal(0, 0.01, N))
    boastful = honest._replace(p_engagement=np.full(N, 0.6) + rng.normal(0, 0.01, N))
    told = [
        next(one for one in comparison.calibrations(side, came, rng) if one.name == "engagement calibration")
        for side in (honest, boastful)
    ]
    assert told[0].low < 0.05
    assert told[1].low > 0.3


def test_a_purchase_that_is_promised_three_times_too_often_is_a_certain_loss_though_the_order_is_the_same() -> None:
    came, rng = shop(), np.random.default_rng(0)
    rare = came._replace(purchase=came.purchase & (rng.random((N, len(HORIZONS_S))) < 0.3))
    kept = 0.06 + rng.normal(0, 0.01, N).clip(-0.03, 0.03)
    honest = said(rare, 1.0)._replace(p_engagement=kept, p_purchase=dict.fromkeys(HORIZONS_S, kept))
    boastful = honest._replace(p_engagement=3 * kept, p_purchase=dict.fromkeys(HORIZONS_S, 3 * kept))
    found = comparison.compare(boastful, honest, rare, np.random.default_rng(2))
    params = gate.GateParams(min_rows=N, min_groups=5)  # a small shop, whose intervals say enough
    verdicts = {rule.name: rule.verdict for rule in gate.not_worse(found, params)}
    for name in ("engagement AUC", "purchase AUC, short term"):
        assert verdicts[name] == "pass"
    for name in ("engagement log loss", "purchase log loss, short term", "purchase log loss, medium term"):
        assert verdicts[name] == "fail"
    row = next(one for one in found if one.name == "engagement log loss")
    assert row.n_sessions == len(np.unique(rare.session[rare.purchase[:, MEDIUM]]))


@pytest.mark.parametrize("true_error", [0.0, 0.1])
def test_the_calibration_error_is_freed_of_the_noise_of_few_rows(true_error: float) -> None:
    """100 samples of 60 sessions of 4 rows: the measured error is too large, the interval's lower end hardly ever."""
    rng = np.random.default_rng(3)
    intervals, measured = [], []
    for _ in range(100):
        p = rng.uniform(0.2, 0.8, 240)
        hit = (rng.random(240) < p + true_error).astype(float)
        ece, interval = comparison.calibration_interval(p, hit, bootstrap.draw(np.arange(240) // 4, rng, 200))
        measured.append(ece)
        intervals.append(interval)
    assert np.mean(measured) > true_error + 0.02
    assert sum(one.low > true_error for one in intervals) <= 5
    assert sum(one.high < true_error for one in intervals) <= 25
