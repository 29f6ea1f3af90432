"""Live action weights move goal weights a little, and never against what the visitor's intent says."""

import numpy as np
import pytest

from models.goal_prior import heuristic_goals
from models.goal_weights import one_goal, scale_of
from models.schema import EVENT_TYPES, INTENTS, N_EVENT_TYPES
from models.weight_profile import STATIC
from models.weights.contextual import MOST_TILT, tilt

SIGNS = {
    "exploratory": {"item_view": 1, "category_browse": 1, "purchase": -1},
    "comparative": {"item_view": 1, "spec_compare": 1},
    "intent_to_purchase": {"add_to_cart": 1, "cart_view": 1, "checkout_view": 1},
    "research": {"item_view": 1, "review_read": 1},
}
GOALS = heuristic_goals()


@pytest.mark.parametrize("ratio", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("intent", INTENTS)
def test_no_action_weight_turns_round_what_an_intent_raises_or_lowers(intent: str, ratio: float) -> None:
    p, mixture = np.eye(len(INTENTS))[INTENTS.index(intent)], one_goal("view")
    tilted = tilt(np.full(N_EVENT_TYPES, ratio), GOALS, mixture, p)
    shown = scale_of(GOALS, mixture, p, tilted).source
    for kind, sign in SIGNS[intent].items():
        at = EVENT_TYPES.index(kind)
        assert sign * (shown[at] - STATIC.base[at]) > 0


def test_a_tilt_is_bounded_and_moves_sources_and_targets() -> None:
    p, mixture = np.full(len(INTENTS), 0.25), one_goal("view")
    tilted = tilt(np.full(N_EVENT_TYPES, 100.0), heuristic_goals(0.0), mixture, p)
    np.testing.assert_allclose(tilted, MOST_TILT)
    before, after = scale_of(GOALS, mixture, p), scale_of(GOALS, mixture, p, tilted)
    np.testing.assert_allclose(after.pairs, before.pairs * 1.25**2)
