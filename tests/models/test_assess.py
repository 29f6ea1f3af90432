"""Assess: engagement and next action from a session, with learned models and without."""

from dataclasses import replace

import numpy as np
import pytest

from models.assess import Assessment, assess
from models.engagement.silence import PRESENT
from models.events.touches import history_of
from models.known import NOTHING_KNOWN, Known, UserFeatures
from models.live_session import EMPTY, LiveSession
from models.model_set import NO_MODELS, ModelSet
from models.schema import HORIZONS_S, ITEM_FEATURES, NEXT_ACTIONS, USER_FEATURES, EventType
from models.weights import actions as action_weights
from tests.builders import visit
from tests.fitted import Fitted

NOW_US = 1_700_000_000_000_000


def engage(session: LiveSession, models: ModelSet, known: Known = NOTHING_KNOWN, item_id: str | None = None) -> Assessment:
    return assess(session, models, known, item_id, NOW_US)


def test_engagement_without_model_rests_on_the_session() -> None:
    quiet = engage(EMPTY, NO_MODELS)
    busy = engage(visit(("item_view", "a"), ("add_to_cart", "a"), ("add_to_cart", "b")), NO_MODELS)
    assert quiet.score == 0.0
    assert busy.score > quiet.score
    assert busy.predicted == 0.0
    assert "next_action_model_missing" in busy.degraded
    assert (busy.outlook, busy.p_next) == (None, None)
    assert busy.cart_ids == ["b", "a"]


def test_engagement_reads_user_and_item_features(fitted: Fitted) -> None:
    models = ModelSet(next_action=fitted.models.next_action)
    user = UserFeatures(np.ones(len(USER_FEATURES), dtype=np.float32), NOW_US - 10**9)
    item = np.ones(len(ITEM_FEATURES), dtype=np.float32)
    found = engage(visit(("add_to_cart", "a")), models, Known(user, item), "a")
    assert found.outlook is not None
    assert set(found.outlook) == set(HORIZONS_S)
    for outlook in found.outlook.values():
        assert outlook.p_action.shape == (len(NEXT_ACTIONS),)
        assert outlook.p_action.sum() == pytest.approx(1)
    assert 0 <= found.predicted <= found.score <= 1
    assert sorted(found.degraded) == ["engagement_by_formula", "intent_by_rules", "weights_heuristic"]


def test_the_learned_score_answers_with_a_probability_under_sampled_weights(fitted: Fitted) -> None:
    models = ModelSet(engagement=fitted.models.engagement)
    assert models.engagement is not None
    view, cart = visit(("item_view", "a")), visit(("item_view", "a"), ("add_to_cart", "a"))
    quiet, busy = engage(view, models), engage(cart, models)
    assert 0 < quiet.score < busy.score < 1
    assert busy.immediate == busy.score  # nothing is predicted
    assert "engagement_by_formula" not in busy.degraded
    known = action_weights.posterior(action_weights.counts_from_lists([]))
    heuristic = action_weights.ready(known, 1)
    louder = heuristic._replace(sampled=heuristic.sampled * 4)
    same, more = (engage(cart, replace(models, actions=actions)) for actions in (heuristic, louder))
    assert same.score == pytest.approx(busy.score)
    assert more.score != pytest.approx(busy.score)


def test_in_silence_engagement_fades_and_what_was_left_lying_is_named(fitted: Fitted) -> None:
    session = visit(("item_view", "a"), ("add_to_cart", "a"))
    there, silent, longer = (assess(session, fitted.models, NOTHING_KNOWN, None, NOW_US, s) for s in (0.0, 300.0, 1200.0))
    assert there.silence == PRESENT
    assert silent.silence == (300.0, ("cart", ["a"]))
    assert there.immediate >= silent.immediate >= longer.immediate
    assert there.p_next is not None
    assert silent.p_next is not None
    leave = NEXT_ACTIONS.index("leave")
    assert silent.p_next[leave] > there.p_next[leave]
    assert silent.product_ids == there.product_ids


def test_what_was_just_bought_is_recommended_no_more_and_what_was_bought_long_ago_is(fitted: Fitted) -> None:
    models = ModelSet(associations=fitted.models.associations)
    asked = visit(("item_view", fitted.models.associations.item_ids[0]))  # type: ignore[union-attr]
    at_us = int(asked.events["occurred_at_us"][-1])
    first = engage(asked, models).product_ids[0]
    week_us = 7 * 86_400_000_000
    for ago_us, is_left_out in ((3_600_000_000, True), (week_us + 1, False)):
        history = history_of([first], [int(EventType.PURCHASE)], [at_us - ago_us])
        assert (first not in engage(asked, models, Known(history=history)).product_ids) is is_left_out
