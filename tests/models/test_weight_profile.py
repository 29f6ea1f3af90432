import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import weight_profile as weights
from models.artifact import Parts
from models.schema import EVENT_TYPES, INTENTS, N_EVENT_TYPES, N_INTENTS, EventType, Intent


def test_tables_name_only_what_the_schema_knows():
    assert set(weights.BASE_WEIGHTS) == set(EVENT_TYPES)
    assert set(weights.INTENT_FACTORS) == set(INTENTS)
    assert all(set(factors) <= set(EVENT_TYPES) for factors in weights.INTENT_FACTORS.values())


def test_design_fixes_three_base_weights_and_purchase_is_the_largest():
    base = weights.STATIC.base
    assert [base[EventType.PURCHASE], base[EventType.ADD_TO_CART], base[EventType.ITEM_VIEW]] == [1.0, 0.5, 0.2]
    assert base.max() == 1.0


@given(st.lists(st.floats(0.01, 1.0), min_size=N_INTENTS, max_size=N_INTENTS))
def test_static_profile_ignores_intent_and_heuristic_stays_within_its_factors(p):
    p_intent = np.array(p) / np.sum(p)
    np.testing.assert_allclose(weights.STATIC.scaled(p_intent), weights.STATIC.base)
    ratio = weights.HEURISTIC.scaled(p_intent) / weights.HEURISTIC.base
    factors = weights.HEURISTIC.factors
    assert (ratio >= factors.min(axis=0) - 1e-9).all()
    assert (ratio <= factors.max(axis=0) + 1e-9).all()


def test_buyer_weighs_cart_above_view_more_than_a_wanderer_does():
    wanderer, buyer = (weights.HEURISTIC.scaled(np.eye(N_INTENTS)[i]) for i in (Intent.EXPLORATORY, Intent.INTENT_TO_PURCHASE))
    cart, view = EventType.ADD_TO_CART, EventType.ITEM_VIEW
    assert buyer[cart] / buyer[view] > wanderer[cart] / wanderer[view]


@pytest.mark.parametrize("p", [[0.5, 0.4, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [np.nan, 1.0, 0.0, 0.0]])
def test_probabilities_that_do_not_sum_to_one_are_refused(p):
    with pytest.raises(ValueError, match="sum to 1"):
        weights.STATIC.scaled(np.array(p))


def test_profile_refuses_wrong_shape_and_negative_weight_and_is_frozen():
    ones = np.ones((N_INTENTS, N_EVENT_TYPES))
    with pytest.raises(ValueError, match="shape"):
        weights.profile(np.ones(3), ones)
    with pytest.raises(ValueError, match="negative"):
        weights.profile(-np.ones(N_EVENT_TYPES), ones)
    with pytest.raises(ValueError, match="read-only"):
        weights.STATIC.base[0] = 9.0


def test_parts_bring_the_profile_back_and_know_an_older_schema():
    parts = weights.to_parts(weights.HEURISTIC)
    json.dumps(parts.meta)
    back = weights.from_parts(parts)
    np.testing.assert_array_equal(back.factors, weights.HEURISTIC.factors)
    older = Parts(
        {**parts.meta, "event_types": list(EVENT_TYPES[:10])},
        {"base": np.multiply(parts.arrays["base"][:10], 0.5), "factors": parts.arrays["factors"][:, :10]},
    )
    assert weights.from_parts(older).base[EventType.PURCHASE] == 1.0
    assert weights.from_parts(older).base[EventType.ITEM_VIEW] == 0.1
    with pytest.raises(ValueError, match="event types"):
        weights.from_parts(Parts({**parts.meta, "event_types": ["click"]}, parts.arrays))


def test_relations_survive_the_file_and_are_one_in_files_of_before():
    related = np.linspace(0.5, 1.5, 2 * N_INTENTS).reshape(N_INTENTS, 2)
    one = weights.profile(weights.STATIC.base, weights.STATIC.factors, related)
    parts = weights.to_parts(one)
    np.testing.assert_array_equal(weights.from_parts(parts).relations, related)
    np.testing.assert_array_equal(one.related(np.eye(N_INTENTS)[2]), related[2])
    older = Parts(parts.meta, {name: parts.arrays[name] for name in ("base", "factors")})
    assert (weights.from_parts(older).relations == 1.0).all()
    with pytest.raises(ValueError, match="relations must have the shape"):
        weights.profile(one.base, one.factors, np.ones(2))
