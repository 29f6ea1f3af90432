"""One battery for every learner of rows: a module of `models` with `fit(features, …)`, `to_parts` and `from_parts`."""

import importlib
import inspect
import itertools
import json
import pkgutil
import threading
from typing import Any

import numpy as np
import pytest

import models
from models.artifact import flat
from models.inference import intent, labels, next_action
from models.learners.trees import BoostParams
from models.schema import INTENT_FEATURES, N_INTENTS, NEXT_ACTION_FEATURES, NEXT_ACTIONS, EventType

N = 400
SMALL = BoostParams(n_rounds=8, n_leaves=5, min_rows_in_leaf=10)


def _features(n, names, seed=0):
    return np.random.default_rng(seed).normal(size=(n, len(names))).astype(np.float32)


def intent_data(n=N):
    x = _features(n, INTENT_FEATURES)
    return x, ((x[:, 0] > 0) * 2 + (x[:, 1] > 0)).astype(np.int8)


def next_action_data(n=N):
    x = _features(n, NEXT_ACTION_FEATURES)
    action = np.where(x[:, 0] > 0, 0, np.where(x[:, 1] > 0, 14, labels.LEAVE))
    second_us, rng = 1_000_000, np.random.default_rng(1)
    wait_us = np.where(action == labels.LEAVE, labels.NEVER, rng.integers(1, 600, n) * second_us)
    bought_us = np.where(x[:, 2] > 0.5, rng.integers(1, 4000, n) * second_us, labels.NEVER)
    return x, next_action.Waits(action, wait_us, bought_us, np.full(n, 7200 * second_us))


PARAMS: dict[str, Any] = {"intent": SMALL, "next_action": next_action.NextActionParams(SMALL, SMALL)}
DATA = {"intent": intent_data, "next_action": next_action_data}


def _is_learner(name):
    module = importlib.import_module(name)
    if not all(hasattr(module, part) for part in ("fit", "to_parts", "from_parts")):
        return False
    return next(iter(inspect.signature(module.fit).parameters)) == "features"


LEARNERS = [info.name for info in pkgutil.walk_packages(models.__path__, "models.") if _is_learner(info.name)]


@pytest.fixture(params=LEARNERS)
def learner(request):
    name = request.param.rpartition(".")[2]
    assert name in DATA, f"{request.param} is a learner: give this battery data for it"
    return importlib.import_module(request.param), name


def fitted(learner, n=N, **options):
    module, name = learner
    x, targets = DATA[name](n)
    return module.fit(x, targets, PARAMS[name], **options), x


def answers(model, rows):
    return np.array([flat(model.predict_one(row)) for row in rows])


def test_both_learners_are_found():
    assert {name.rpartition(".")[2] for name in LEARNERS} >= {"intent", "next_action"}


def test_same_seed_same_result(learner):
    first, x = fitted(learner, seed=3)
    second, _ = fitted(learner, seed=3)
    assert learner[0].to_parts(first) == learner[0].to_parts(second)
    assert np.array_equal(answers(first, x[:20]), answers(second, x[:20]))


def test_dump_and_load_change_nothing(learner):
    module = learner[0]
    model, x = fitted(learner)
    parts = module.to_parts(model)
    loaded = module.from_parts(parts._replace(meta=json.loads(json.dumps(parts.meta))))
    assert np.array_equal(answers(model, x[:50]), answers(loaded, x[:50]))
    assert dict(loaded.meta) == dict(model.meta)


def test_one_row_is_answered_like_many(learner):
    model, x = fitted(learner)
    many = model.predict(x[:50])
    if isinstance(many, dict):
        many = np.column_stack([np.column_stack((many[name].p_action, many[name].p_purchase)) for name in sorted(many)])
    assert np.array_equal(answers(model, x[:50]), many)


def test_missing_features_and_unseen_categories_do_not_crash(learner):
    model, x = fitted(learner)
    odd = np.array([np.full(x.shape[1], value, np.float32) for value in (np.nan, -1e9, 1e9, 99.0)])
    found = answers(model, odd)
    assert np.isfinite(found).all()
    assert ((found >= 0) & (found <= 1)).all()


def test_input_is_left_unchanged(learner):
    module, name = learner
    x, targets = DATA[name]()
    kept = x.copy()
    x.setflags(write=False)
    model = module.fit(x, targets, PARAMS[name])
    model.predict(x)
    model.predict_one(x[0])
    assert np.array_equal(x, kept)


@pytest.mark.parametrize("n", [0, 1, 5, 60, 90])
def test_little_data_gives_an_answer_and_says_so(learner, n):
    model, _ = fitted(learner, n=n)
    module, name = learner
    found = answers(model, _features(3, INTENT_FEATURES if name == "intent" else NEXT_ACTION_FEATURES))
    assert np.isfinite(found).all()
    assert model.meta["fallback"] not in ("", {"short_term": {}, "medium_term": {}})
    again = module.from_parts(module.to_parts(model))
    assert np.array_equal(found, answers(again, _features(3, INTENT_FEATURES if name == "intent" else NEXT_ACTION_FEATURES)))


def test_a_model_of_other_features_is_refused(learner):
    module = learner[0]
    model, _ = fitted(learner)
    parts = module.to_parts(model)
    with pytest.raises(ValueError, match="train again"):
        module.from_parts(parts._replace(meta={**parts.meta, "features": ["n_clicks"]}))


def test_threads_get_the_same_answers(learner):
    model, x = fitted(learner)
    expected = answers(model, x)
    found = {}
    threads = [threading.Thread(target=lambda k=k: found.update({k: answers(model, x)})) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(np.array_equal(expected, got) for got in found.values())


def test_intent_learns_what_can_be_learned():
    x, true = intent_data(4000)
    model = intent.fit(x[:3000], true[:3000], BoostParams(n_rounds=30))
    assert (model.predict(x[3000:]).argmax(axis=1) == true[3000:]).mean() > 0.9


def test_intent_keeps_the_doubt_of_its_labels():
    x, true = intent_data(4000)
    doubtful = 0.5 * np.eye(N_INTENTS)[true] + 0.125
    p = intent.fit(x[:3000], doubtful[:3000], BoostParams(n_rounds=30)).predict(x[3000:])
    assert p.max(axis=1).mean() == pytest.approx(0.625, abs=0.05)


def test_one_intent_only_is_a_fallback_to_its_share():
    x, _ = intent_data()
    model = intent.fit(x, np.full(N, 2))
    assert model.meta["fallback"] == "one_class"
    assert model.predict_one(x[0]).argmax() == 2


def test_actions_never_seen_have_probability_zero():
    x, waits = next_action_data()
    found = next_action.fit(x, waits, PARAMS["next_action"]).predict(x)["short_term"].p_action
    seen = [0, 14, NEXT_ACTIONS.index("leave")]
    assert (np.delete(found, seen, axis=1) == 0).all()
    assert found[:, seen].sum(axis=1) == pytest.approx(1.0)


def test_what_comes_after_a_silence_is_the_curve_given_that_nothing_came_before():
    x, waits = next_action_data()
    model = next_action.fit(x, waits, PARAMS["next_action"])
    leave = NEXT_ACTIONS.index("leave")
    until, both = model.curve(x[:9], [200.0, 500.0])
    for k in range(9):
        after = model.predict_one(x[k], 200.0)["short_term"]
        quiet = until.p_action[k, leave]
        assert after.p_action[leave] == pytest.approx(both.p_action[k, leave] / quiet)
        moved = (both.p_action[k] - until.p_action[k]) / quiet
        assert np.delete(after.p_action, leave) == pytest.approx(np.delete(moved, leave), abs=1e-9)
        assert after.p_action[EventType.PURCHASE] <= after.p_purchase <= 1 - after.p_action[leave]
        late = model.predict_one(x[k], 3600.0)["medium_term"]  # behind the last interval
        assert late.p_action.sum() == pytest.approx(1)
        assert 0 <= late.p_purchase <= 1


def test_rows_near_the_end_of_the_log_are_not_learned_from():
    x, waits = next_action_data()
    covered = np.arange(N) < 300
    known_us = np.where(covered, waits.known_us, 59_000_000)
    spoilt = waits._replace(kind=np.where(covered, waits.kind, 3), known_us=known_us)
    model = next_action.fit(x, spoilt, PARAMS["next_action"])
    assert (model.predict(x)["medium_term"].p_action[:, 3] == 0).all()


def test_probabilities_never_fall_with_the_horizon_and_say_one_thing():
    x, waits = next_action_data()
    seconds = (0.0, 1.0, 30.0, 60.0, 61.0, 300.0, 301.0, 1800.0, 3600.0)
    curve = next_action.fit(x, waits, PARAMS["next_action"]).curve(x, seconds)
    leave, purchase = labels.LEAVE, EventType.PURCHASE
    for one in curve:
        assert one.p_action.sum(axis=1) == pytest.approx(1.0)
        assert (one.p_purchase >= one.p_action[:, purchase] - 1e-12).all()
        assert (one.p_purchase <= 1 - one.p_action[:, leave] + 1e-12).all()
    for before, after in itertools.pairwise(curve):
        rise = after.p_action - before.p_action
        assert (np.delete(rise, leave, axis=1) >= -1e-12).all()
        assert (rise[:, leave] <= 1e-12).all()
        assert (after.p_purchase >= before.p_purchase - 1e-12).all()
    assert (curve[0].p_action[:, leave] == 1).all()
    assert curve[-1].p_action[:, 0].mean() > curve[2].p_action[:, 0].mean() + 0.1


def test_both_horizons_are_read_from_the_curve():
    x, waits = next_action_data()
    model = next_action.fit(x, waits, PARAMS["next_action"])
    for name, one in zip(("short_term", "medium_term"), model.curve(x, (300.0, 3600.0)), strict=True):
        assert np.array_equal(model.predict(x)[name].p_action, one.p_action)
        assert np.array_equal(model.predict(x)[name].p_purchase, one.p_purchase)


def test_what_takes_long_is_foreseen_for_the_long_horizon_only():
    x, waits = next_action_data(4000)
    slow_us = np.where(x[:, 0] > 0, 2_000_000_000, waits.wait_us)  # half an hour where type 0 follows
    model = next_action.fit(x, waits._replace(wait_us=slow_us), PARAMS["next_action"])
    found, rows = model.predict(x), x[:, 0] > 0.5
    assert found["short_term"].p_action[rows, 0].mean() < 0.05
    assert found["medium_term"].p_action[rows, 0].mean() > 0.9


def test_a_horizon_behind_the_last_interval_and_rows_without_waits_are_refused():
    x, waits = next_action_data()
    with pytest.raises(ValueError, match="between 0 and 3600 s"):
        next_action.fit(x, waits, PARAMS["next_action"]).curve(x, (3601.0,))
    with pytest.raises(ValueError, match="one wait per row"):
        next_action.fit(x[:5], waits, PARAMS["next_action"])


def test_baselines_give_probabilities():
    x, true = intent_data()
    assert intent.majority(true).sum() == pytest.approx(1.0)
    assert intent.by_rules(np.abs(x)).sum(axis=1) == pytest.approx(1.0)
