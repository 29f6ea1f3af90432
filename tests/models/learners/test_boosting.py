"""The shared classifier, its calibration and the report tables."""

import json

import numpy as np
import pytest

from models.evaluation import classification as report
from models.learners import boosting
from models.learners.trees import BoostParams
from models.statistics import calibration


@pytest.mark.parametrize(
    ("targets", "says"),
    [
        (np.array([0, 4]), "class codes must lie in 0 … 3"),
        (np.zeros((2, 3)), "4 probabilities"),
        (np.zeros(3, int), "one target"),
    ],
)
def test_targets_that_do_not_fit_are_refused(targets, says):
    with pytest.raises(ValueError, match=says):
        boosting.fit(np.zeros((2, 3), np.float32), targets, 4, BoostParams())


def test_features_of_another_width_are_refused():
    model = boosting.fit(np.zeros((0, 3), np.float32), np.zeros(0, int), 4, BoostParams())
    with pytest.raises(ValueError, match="rows of 3 features"):
        model.predict(np.zeros((1, 2), np.float32))


def test_held_out_rows_are_not_learned_from():
    x = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)
    codes = (x[:, 0] > 0).astype(int)
    valid = np.arange(400) >= 300
    spoilt = np.where(valid, 2, codes)
    model = boosting.fit(x, spoilt, 3, BoostParams(n_rounds=5), valid=valid)
    assert model.classes.tolist() == [0, 1]


def test_calibration_recovers_known_scale_and_shift():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20_000, 3)) * 2
    p = calibration.apply(calibration.Scaling(0.5, np.array([0.6, 0.0, -0.6])), scores)
    drawn = (p.cumsum(axis=1) < rng.random((len(p), 1))).sum(axis=1)
    found = calibration.fit(scores, np.eye(3)[drawn])
    assert found.scale == pytest.approx(0.5, abs=0.03)
    assert found.shift - found.shift.mean() == pytest.approx([0.6, 0.0, -0.6], abs=0.05)


def test_calibration_without_rows_changes_nothing():
    scaling = calibration.fit(np.empty((0, 3)), np.empty((0, 3)))
    scores = np.array([1.0, 2.0, 3.0])
    assert np.array_equal(calibration.apply(scaling, scores), calibration.softmax(scores))


def test_tables_are_json_without_nan():
    p = np.array([[0.7, 0.3], [0.6, 0.4]])
    table = report.early_decision({"model": p}, np.array([0, 0]), np.array([1, 2]), ("a", "b"), (1, 2, 3))
    text = json.dumps({"t": table, "y": report.yes_no(p[:, 0], np.array([True, True]))}, allow_nan=False)
    assert table["after_3"]["model"] == {"n_rows": 0}
    assert table["after_1"]["model"]["macro_f1"] == 1.0
    assert json.loads(text)["y"]["roc_auc"] is None


def test_calibration_table_says_what_was_said_and_what_came():
    rows = report.calibration_table(np.array([0.2, 0.2, 0.8, 0.8]), np.array([False, False, True, False]), 2)
    assert rows == [{"n_rows": 2, "mean_p": 0.2, "hit_rate": 0.0}, {"n_rows": 2, "mean_p": 0.8, "hit_rate": 0.5}]


def test_a_long_session_is_no_more_than_a_few_observations() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2_400, 1)).astype(np.float32)
    y = (x[:, 0] > 0) & (rng.random(2_400) < 0.9)
    session = np.arange(2_400)
    session[-800:] = 9_999  # one visitor, in whose rows it is the other way round
    y[-800:] = x[-800:, 0] < 0
    some = np.arange(2_400) % 4 == 0
    asked = np.array([[-1.0], [1.0]], np.float32)
    told, not_told = (
        np.diff(boosting.fit(x, y.astype(np.int64), 2, BoostParams(), valid=some, session=one).predict(asked)[:, 1])[0]
        for one in (session, None)
    )
    assert not_told < 0.4
    assert told > 0.6


def test_shares_are_right_though_long_sessions_weigh_less() -> None:
    rng = np.random.default_rng(4)
    session = np.concatenate((np.arange(600), np.repeat(np.arange(1_000, 1_040), 30)))
    y = (np.arange(len(session)) >= 600).astype(np.int64)  # those of long sessions alone
    x = rng.normal(size=(len(session), 2)).astype(np.float32)
    found = boosting.fit(x, y, 2, BoostParams(n_rounds=20), valid=rng.random(len(y)) < 0.2, session=session)
    assert abs(found.predict(x)[:, 1].mean() - y.mean()) < 0.02
