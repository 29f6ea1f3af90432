from collections.abc import Sequence

import numpy as np

from models import weight_profile as weights
from models.arrays import Flags, Ints
from models.associations import model as associations
from models.associations.model import AssociationParams
from models.events.encode import EventArray
from models.inference.examples import Log
from models.model_set import ModelSet
from models.questions import rest_of_session
from models.questions.answers import ranks
from models.questions.later import Later
from models.replay import replay
from models.schema import N_INTENTS
from models.tuning import learning as weight_learning
from models.weights import relations
from tests.builders import NO_EVENTS, NO_STARTS, event_array

# Items 0-4 are of category 0, items 5-9 of category 1.
N_ITEMS = 10
COMPARES, BUYS = 1, 2  # intents


def log(pairs: Sequence[Sequence[int]] | Ints) -> tuple[EventArray, Flags]:
    """Sessions of two views."""
    items = np.array(pairs).ravel()
    return event_array(len(items), item=items, category=items // 5), np.arange(len(items)) % 2 == 0


def visits(n, influence, seed):
    """Pairs of items and the intent: those who compare stay in the category, those who buy leave it; or by chance."""
    rng = np.random.default_rng(seed)
    intent, first = rng.choice([COMPARES, BUYS], n), rng.integers(0, N_ITEMS, n)
    stays = np.where(intent == COMPARES, rng.random(n) < 0.9, rng.random(n) < 0.1) if influence else rng.random(n) < 0.5
    category = np.where(stays, first // 5, 1 - first // 5)
    second = 5 * category + (first + rng.integers(1, 5, n)) % 5
    return np.column_stack((first, second)), intent


def shop(influence):
    """A store and later sessions, in which the intent is known with 80 %."""
    ids = np.array([f"i{k}" for k in range(N_ITEMS)], dtype=object)
    store = associations.build(*log(visits(400, influence, 1)[0]), ids, AssociationParams(min_llr=0.0))
    pairs, intent = visits(600, influence, 2)
    events, starts = log(pairs)
    p = np.full((len(intent), N_INTENTS), 0.2 / 3)
    p[np.arange(len(intent)), intent] = 0.8
    users = np.repeat(np.arange(len(intent)), 2)
    return store, Later(Log(events, starts, np.zeros(len(events), np.int64), users, list(ids)), np.repeat(p, 2, axis=0))


def asked_of(later):
    return rest_of_session.prefixes(later.log.events, later.log.starts, 10_000, np.random.default_rng(0))


def test_intent_that_decides_where_visitors_go_is_learned_and_mixed_by_the_mean_is_one():
    store, later = shop(influence=True)
    asked = asked_of(later)
    found = relations.learn(store, later, asked, np.random.default_rng(0))
    assert found[COMPARES, 0] > 1.5 > 1.0 > found[BUYS, 0]
    assert found[BUYS, 1] > 1.5 > 1.0 > found[COMPARES, 1]
    np.testing.assert_allclose(later.p_intent[asked.last].mean(axis=0) @ found, 1.0)


def test_intent_that_decides_nothing_leaves_all_at_one():
    store, later = shop(influence=False)
    np.testing.assert_array_equal(relations.learn(store, later, asked_of(later), np.random.default_rng(0)), relations.NEUTRAL)


def test_log_without_categories_leaves_all_at_one():
    store, later = shop(influence=True)
    unknown = associations.build(NO_EVENTS, NO_STARTS, np.array(store.item_ids, dtype=object))
    np.testing.assert_array_equal(relations.learn(unknown, later, asked_of(later), np.random.default_rng(0)), relations.NEUTRAL)


def test_learned_relations_rank_better_than_static_and_without_influence_are_static():
    store, later = shop(influence=True)
    models = ModelSet(associations=store)
    learned = weight_learning.learn(models, later, np.random.default_rng(0))
    asked = asked_of(later)
    asks = replay(models, later, asked.first, asked.last)

    def reciprocal_rank(profile):
        return float((1 / np.maximum(ranks(asks.answers(profile)[asked.prefix], asked.item), 1)).mean())

    assert reciprocal_rank(learned.static_related) > reciprocal_rank(weights.STATIC) + 0.05
    store, later = shop(influence=False)
    learned = weight_learning.learn(ModelSet(associations=store), later, np.random.default_rng(0))
    np.testing.assert_array_equal(learned.static_related.relations, weights.STATIC.relations)
