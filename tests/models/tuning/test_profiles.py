from dataclasses import replace

import numpy as np
import pytest

from models.features import sessions
from models.inference import examples, intent, labels
from models.inference.examples import Log
from models.inference.intent import IntentModel
from models.learners.trees import BoostParams
from models.schema import EVENT_TYPES, EventType
from models.simulator import ShopConfig, simulate
from models.tuning import profiles as profile_tuning
from models.tuning.profiles import PARAMS, Tuned
from models.weight_profile import HEURISTIC, arrays_of


@pytest.fixture(scope="module")
def log() -> Log:
    frame = simulate(ShopConfig(n_users=200, n_days=4, n_items=80, n_categories=5, seed=2)).events
    unread = frame["event_type"] != "review_read"  # a type that this shop does not know
    return examples.read_log(frame[unread].reset_index(drop=True))[0]


BY_GOAL = ("goals", "goals_flat", "goals_bold")


@pytest.fixture(scope="module")
def model(log: Log) -> IntentModel:
    p = labels.intent_probabilities(log.events, log.starts)
    valid = log.started_us >= np.quantile(log.started_us, 0.8)
    return intent.fit(sessions.fold(log.events, log.starts), p, BoostParams(n_rounds=3), valid=valid)


@pytest.fixture(scope="module")
def tuned(log: Log, model: IntentModel) -> Tuned:
    return profile_tuning.tune(log, model, np.random.default_rng(0), replace(PARAMS, at_most=300))


def test_the_set_holds_static_heuristic_and_a_profile_for_each_penalty(tuned: Tuned) -> None:
    assert tuned.profiles.names == ("static", "heuristic", "tuned_0.003", "tuned_0.03", "tuned_0.3", *BY_GOAL)
    assert set(tuned.ndcg_20) == set(tuned.profiles.names)
    assert tuned.n_sessions > 0


def test_the_stronger_the_penalty_the_closer_to_the_heuristic_table(tuned: Tuned) -> None:
    away = [np.abs(np.log(tuned.profiles.named(f"tuned_{l2:g}").factors / HEURISTIC.factors)).max() for l2 in PARAMS.l2_factors]
    assert away[0] > away[1] > away[2] > 0


def test_a_cell_without_data_stays_as_the_heuristic_table_has_it(tuned: Tuned) -> None:
    column = EventType.REVIEW_READ
    assert EVENT_TYPES[column] == "review_read"
    for name in tuned.profiles.names[2:5]:
        assert np.allclose(tuned.profiles.named(name).factors[:, column], HEURISTIC.factors[:, column])
        assert tuned.profiles.named(name).base[column] == pytest.approx(HEURISTIC.base[column])


def test_the_same_seed_tunes_the_same_profiles(log: Log, model: IntentModel, tuned: Tuned) -> None:
    again = profile_tuning.tune(log, model, np.random.default_rng(0), replace(PARAMS, at_most=300))
    for one, other in zip(tuned.profiles.profiles, again.profiles.profiles, strict=True):
        ours, theirs = arrays_of(one), arrays_of(other)
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_goal_profiles_differ_by_what_intent_does_to_them(tuned: Tuned) -> None:
    learned, flat, bold = (tuned.profiles.named(name).goals for name in BY_GOAL)
    assert learned is not None
    assert flat is not None
    assert bold is not None
    np.testing.assert_array_equal(flat.base, learned.base)
    np.testing.assert_array_equal(bold.slopes, 2 * learned.slopes)
    assert learned.slopes.any()
    assert not flat.slopes.any()


def test_sessions_of_one_instant_teach_nothing(log: Log, model: IntentModel) -> None:
    at_once = log._replace(started_us=np.zeros_like(log.started_us))
    with pytest.raises(ValueError, match="began at different instants"):
        profile_tuning.tune(at_once, model, np.random.default_rng(0))
