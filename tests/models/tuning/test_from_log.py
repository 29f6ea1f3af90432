from typing import Any

import numpy as np
import pytest

from models import weight_profile as weights
from models.events.encode import encode
from models.features import sessions
from models.inference import examples, intent, labels
from models.inference.intent import IntentModel
from models.schema import N_INTENTS
from models.simulator import ShopConfig, simulate
from models.statistics import split
from models.tuning import from_log as log_weights
from models.tuning.learning import LearnParams
from models.weight_profile import STATIC

FEW = LearnParams(at_most=3_500, l2_factors=(0.1,))
Cuts = tuple[int, int]


@pytest.fixture(scope="module")
def shop() -> tuple[examples.Log, IntentModel, Cuts]:
    frame = sessions.sessionize(simulate(ShopConfig(600, 14, 5)).events)
    starts, encoded = sessions.starts(frame), encode(frame)
    started_us = split.session_starts_us(np.ascontiguousarray(encoded.events["occurred_at_us"]), starts)
    users = np.unique(frame["user_id"].to_numpy(dtype=str), return_inverse=True)[1]
    log = examples.Log(encoded.events, starts, started_us, users, [str(i) for i in encoded.item_ids])
    first, second = (int(us) for us in np.quantile(started_us, [0.4, 0.9]))
    past = log.before(first)
    weak = labels.intent_probabilities(past.events, past.starts)
    model = intent.fit(sessions.fold(past.events, past.starts), weak, valid=past.started_us > np.quantile(past.started_us, 0.8))
    return log, model, (first, second)


def test_relations_are_learned_between_the_periods_and_the_held_out_one_is_not_seen(shop: Any) -> None:
    log, model, cuts = shop
    learned = log_weights.learn(log, model, cuts, FEW)
    found = learned.weights
    np.testing.assert_array_equal(learned.static_related.base, STATIC.base)
    comparative, buys = found.relations[1], found.relations[2]
    assert comparative[0] > 1 > comparative[1]  # compares what could stand in for each other
    assert buys[1] > 1 > buys[0]  # goes on to what goes with it
    assert weights.from_parts(weights.to_parts(found)).relations.shape == (N_INTENTS, 2)
    again = log_weights.learn(log.before(cuts[1]), model, cuts, FEW)
    np.testing.assert_array_equal(again.weights.relations, found.relations)


def test_empty_period_teaches_nothing(shop: Any) -> None:
    log, model, _ = shop
    end = int(log.started_us.max()) + 1
    learned = log_weights.learn(log, model, (end, end), FEW)
    assert (learned.weights.relations == 1.0).all()
    assert learned.chosen == "shrunk to 0.25"
