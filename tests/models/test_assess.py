from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from services.answering import engagement_answers

from infra import registry
from models.known import Known
from models.model_set import ModelSet
from models.schema import ITEM_FEATURES, NEXT_ACTIONS, USER_FEATURES
from models.weights import actions as action_weights
from services.api import wire
from services.api.session_data import EMPTY, LiveSession, live_session
from services.serving.features import UserFeatures

NOW_US = 1_700_000_000_000_000


def seen(*events: tuple[str, str]) -> LiveSession:
    """A session of (event type, item), a second apart."""
    listed = [{"type": kind, "item_id": item, "ts": f"2023-11-14T10:00:{n:02d}Z"} for n, (kind, item) in enumerate(events)]
    return live_session(msgspec.convert({"events": listed}, wire.SessionData), NOW_US)


def engage(session: LiveSession, champions: ModelSet, read: Read, item_id: str | None, now_us: int) -> wire.EngagementAnswer:
    """What the API answers, but for the nudge."""
    found = engagement_answers.assess(session, champions, read, item_id, now_us)
    return engagement_answers.answer(found, champions, wire.Signal("no_action", {}))


def test_engagement_without_model_rests_on_the_session() -> None:
    quiet = engage(EMPTY, ModelSet(), Known(), None, NOW_US)
    session = seen(("item_view", "a"), ("add_to_cart", "a"), ("add_to_cart", "b"))
    busy = engage(session, ModelSet(), Known(), None, NOW_US)
    assert quiet.engagement.score == 0.0
    assert busy.engagement.score > quiet.engagement.score
    assert busy.engagement.predicted == 0.0
    assert "next_action_model_missing" in busy.degraded
    assert sum(busy.next_action.short_term.values()) == pytest.approx(1)


def test_engagement_reads_user_and_item_features(crowned: Path) -> None:
    model = registry.load_model(crowned, "next_action", 1)
    champions = ModelSet(next_action=model)
    user = UserFeatures(np.ones(len(USER_FEATURES), dtype=np.float32), NOW_US - 10**9)
    item = np.ones(len(ITEM_FEATURES), dtype=np.float32)
    answer = engage(seen(("add_to_cart", "a")), champions, Known(user, item), "a", NOW_US)
    assert set(answer.next_action.medium_term) == set(NEXT_ACTIONS)
    assert sum(answer.next_action.medium_term.values()) == pytest.approx(1)
    assert 0 <= answer.engagement.predicted <= answer.engagement.score <= 1
    assert sorted(answer.degraded) == ["engagement_by_formula", "intent_by_rules", "weights_heuristic"]


def test_the_learned_score_answers_with_a_probability_under_sampled_weights(crowned: Path) -> None:
    model = registry.load_model(crowned, "engagement", 1)
    assert model is not None
    champions = ModelSet(engagement=model)
    view, cart = seen(("item_view", "a")), seen(("item_view", "a"), ("add_to_cart", "a"))
    quiet, busy = (engage(one, champions, Known(), None, NOW_US) for one in (view, cart))
    assert 0 < quiet.engagement.score < busy.engagement.score < 1
    assert busy.engagement.immediate == busy.engagement.score  # nothing is predicted
    assert "engagement_by_formula" not in busy.degraded
    known = action_weights.posterior(action_weights.counts_from_lists([]))
    heuristic = action_weights.ready(known, 1)
    louder = heuristic._replace(sampled=heuristic.sampled * 4)
    same, more = (
        engage(cart, replace(champions, actions=actions), Known(), None, NOW_US).engagement for actions in (heuristic, louder)
    )
    assert same.score == pytest.approx(busy.engagement.score)
    assert more.score != pytest.approx(busy.engagement.score)
