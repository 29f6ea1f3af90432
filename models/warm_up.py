"""Compile every kernel once, with next to no data: ``python -m models.warm_up [PART...]``, beside other work on a fresh
machine.

A process that meets a kernel first compiles it, seconds each; what is compiled lies in numba's disk cache afterwards. The order
is that of the day: folds, labels, associations, the ranker.
"""

import sys
from collections.abc import Callable
from typing import Final

import numpy as np

from models import goal_weights
from models.arrays import frozen
from models.associations import goals as association_goals
from models.associations import live as live_associations
from models.associations import model as associations
from models.associations.goals import Told
from models.engagement import model as engagement
from models.engagement.model import Calibration
from models.events.encode import EVENT_DTYPE
from models.events.touches import parse_message
from models.features import items, sessions, users
from models.goal_prior import HEURISTIC_GOALS
from models.inference import intent, labels
from models.inference.examples import Log
from models.item_ranking import Asked, inquire, weigh
from models.known import NOTHING_KNOWN
from models.learners import boosting
from models.learners.tree_walk import SingleRow, Trees
from models.live_session import LiveSession
from models.model_set import ModelSet
from models.one_pass import in_one_pass
from models.questions.later import Later
from models.ranker import model as ranker
from models.ranker.embeddings import EmbeddingParams
from models.schema import N_EVENT_TYPES, N_INTENTS
from models.statistics import calibration
from models.statistics.logistic import Logistic
from models.tuning import goal_fit
from models.tuning import learning as weight_learning
from models.weights.contextual import tilt


def _leaf(threshold: type[np.floating]) -> Trees:
    """One tree of one leaf."""
    whole = np.zeros(1, np.int32)
    return frozen(Trees(whole, np.zeros(1, threshold), np.zeros(2, np.int32), np.zeros(1), whole, np.ones(1, np.int32)))


def rehearse_folds() -> None:
    """Call the kernels of the folds, the labels and the associations with the types that everyone calls them with."""
    events = np.zeros(3, dtype=EVENT_DTYPE)
    events["occurred_at_us"] = (0, 1_000_000, 2_000_000)
    events["item"] = (0, 1, 0)
    starts = np.array([True, False, False])
    session_features = sessions.fold(events, starts)
    user_features = users.fold(events, np.zeros(3, dtype=np.int64)).features
    items.fold(events)
    users.as_of(user_features, 0, 1)
    labels.intent_probabilities(events, starts)
    store = associations.build(events, starts, np.array(["a", "b"], dtype=object))
    query = events["item"][:2].copy(), events["event_type"][:2].copy(), np.array([1.0, 0.0])
    weights = np.ones(N_EVENT_TYPES)
    ranked = store.recommend(*query, weights, 2)
    store.explain(ranked, *query, weights)
    goals = goal_weights.goal_weights(*(np.zeros(shape) for shape in goal_weights.SHAPES))
    scale = goal_weights.scale_of(goals, goal_weights.one_goal("view"), np.full(N_INTENTS, 1 / N_INTENTS))
    association_goals.explain(store, association_goals.recommend(store, Told(*query), scale, weights, 2), Told(*query), scale)
    session, p_intent = LiveSession(events, ["a", "b"], []), np.full(N_INTENTS, 1 / N_INTENTS)
    inquire(Asked(), session, store, NOTHING_KNOWN, [])
    weigh(HEURISTIC_GOALS, None, events, p_intent, 0)
    given = Asked(), session, ModelSet(associations=store), NOTHING_KNOWN, HEURISTIC_GOALS, HEURISTIC_GOALS
    in_one_pass(*given, None, p_intent, 0, [])
    parse_message(b"")
    tilt(np.ones(N_EVENT_TYPES), goals, goal_weights.one_goal("view"), p_intent)
    calibration.apply(calibration.identity(N_INTENTS), p_intent)
    live_associations.rehearse()
    SingleRow([_leaf(np.float64)], 1, [1])(np.zeros(1))
    intent.rehearse(boosting.rehearse(_leaf(np.float64), sessions.N_FEATURES))
    line = Calibration(engagement.PLATT, np.arange(2.0), np.arange(2.0))
    regression = Logistic(np.zeros(3), np.ones(3), np.zeros(4))
    sequence = np.zeros((N_EVENT_TYPES + 1, N_EVENT_TYPES))
    engagement.EngagementModel(sequence, 0.0, regression, line, 0.0, engagement.PARAMS).immediate(session_features[:1], weights)


def rehearse_ranker() -> None:
    """Call the kernels of the ranker: without trees, and those that run trees; and those of the weights."""
    sessions_of_two = np.zeros(6, dtype=EVENT_DTYPE)
    sessions_of_two["item"] = (0, 1, 0, 1, 0, 1)
    starts = np.array([True, False] * 3)
    params = ranker.SourceParams(n_dims=2, embeddings=EmbeddingParams(n_rounds=0))
    sources = ranker.build_sources(sessions_of_two, starts, np.array(["a", "b"], dtype=object), params)
    for trees in (None, _leaf(np.float32)):
        model = ranker.Ranker(sources, trees, params)
        model.rank(sessions_of_two["item"], sessions_of_two["event_type"], np.ones(N_EVENT_TYPES), 2)
    who, p = np.repeat(np.arange(3), 2), np.full((6, N_INTENTS), 1 / N_INTENTS)
    later = Later(Log(sessions_of_two, starts, np.zeros(6, dtype=np.int64), who, ["a", "b"]), p)
    weight_learning.learn(ModelSet(associations=sources.wide), later, np.random.default_rng(0))
    goal_fit.rehearse()


PARTS: Final[dict[str, Callable[[], None]]] = {"folds": rehearse_folds, "ranker": rehearse_ranker}


if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
