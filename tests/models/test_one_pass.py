"""One pass of a request answers what its steps answer, to the bit."""

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import goal_weights
from models.arrays import Floats
from models.associations import model as associations
from models.associations.live import LiveAssociations
from models.events.encode import encode
from models.events.touches import history_of
from models.features import sessions
from models.goal_prior import HEURISTIC_GOALS
from models.item_ranking import AUTO, Asked, rank_items, weigh
from models.known import Known, RecentItems
from models.live_session import LiveSession, cut
from models.model_set import ModelSet
from models.one_pass import in_one_pass, is_plain
from models.schema import GOALS, N_EVENT_TYPES, N_INTENTS
from models.simulator import ShopConfig, simulate
from models.weight_profile import HEURISTIC, STATIC, WeightProfile
from models.weights.actions import N_CONTEXTS, ActionWeights

NOW_US = 1_763_719_200_000_000


@cache
def log() -> tuple[Any, Any, Any]:
    frame = sessions.sessionize(simulate(ShopConfig(n_users=150, n_days=3, n_items=80, n_categories=5, seed=4)).events)
    return encode(frame), sessions.starts(frame), frame


@cache
def store(*, live: bool) -> associations.AssociationStore:
    """Built of all but the last tenth; live, the rest has been added since."""
    encoded, starts, frame = log()
    n = int(np.flatnonzero(starts)[int(starts.sum() * 0.9)])
    built = associations.build(encoded.events[:n], starts[:n], encoded.item_ids, categories=tuple(encoded.categories))
    if not live:
        return built
    follows = LiveAssociations(built)
    is_new = np.arange(len(frame)) >= n
    told = frame.assign(seq=np.arange(len(frame)) + 1, is_new=is_new).sort_values("occurred_at_us", kind="stable")
    follows.fold(told, told["is_new"].to_numpy())
    return follows.settle()


def random_profile(rng: np.random.Generator) -> WeightProfile:
    goals = goal_weights.goal_weights(*(rng.normal(0.0, 0.4, shape) for shape in goal_weights.SHAPES))
    return HEURISTIC._replace(goals=goals)


def random_session(rng: np.random.Generator) -> LiveSession:
    encoded, _, _ = log()
    first = int(rng.integers(len(encoded.events) - 20))
    session = cut(encoded.events[first : first + int(rng.integers(0, 20))], encoded.item_ids, encoded.categories)
    session.events["occurred_at_us"].sort()
    return session._replace(item_ids=[f"new-{k}" if rng.random() < 0.1 else one for k, one in enumerate(session.item_ids)])


@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 2**32 - 1), live=st.booleans(), is_static=st.booleans(), has_actions=st.booleans())
def test_one_pass_answers_what_its_steps_answer(seed: int, live: bool, is_static: bool, has_actions: bool) -> None:
    rng = np.random.default_rng(seed)
    session, models = random_session(rng), ModelSet(associations=store(live=live))
    items = log()[0].item_ids
    asked = Asked(
        item_id=str(rng.choice([*items[:40], "never seen"])) if rng.random() < 0.4 else None, limit=int(rng.integers(0, 120)),
        exclude_seen=bool(rng.random() < 0.3), goal=str(rng.choice([AUTO, *GOALS])),
    )  # fmt: skip
    n = int(rng.integers(0, 8))
    at_us = [*-np.sort(-rng.integers(0, NOW_US, n)), 1]
    touches = [*rng.choice(items, n), "gone"], [*rng.integers(0, N_EVENT_TYPES, n), 0], at_us
    flags = rng.random(len(items) + 40) < 0.8
    known = Known(
        history=history_of(*touches) if rng.random() < 0.7 else None, allowed=(lambda _: flags) if rng.random() < 0.5 else None
    )
    profile, p = STATIC if is_static else random_profile(rng), rng.dirichlet(np.ones(N_INTENTS))
    mean = rng.gamma(2.0, 0.2, (N_CONTEXTS, N_EVENT_TYPES))
    actions = ActionWeights(1, mean, mean, mean[0]) if has_actions else None
    mixer = profile if profile.goals is not None else HEURISTIC_GOALS
    told: tuple[list[str], list[str]] = ([], [])

    assert is_plain(asked, session, models, known)
    found = in_one_pass(asked, session, models, known, profile, mixer, actions, p, NOW_US, told[0])
    weighing = weigh(profile, actions, session.events, p, NOW_US, asked.goal)
    assert found.ranking == rank_items(asked, session, models, known, weighing, told[1])
    assert told[0] == told[1]
    assert found.weights.tolist() == weighing.shown.tolist()
    expected = weigh(mixer, None, session.events, p, NOW_US, asked.goal).mixture
    assert expected is not None
    assert found.mixture.tolist() == expected.tolist()


@pytest.mark.parametrize("more", [Asked(explain=True), Asked(ranker=True), Asked(interleave=True)])
def test_what_needs_the_steps_apart_is_not_plain(more: Asked) -> None:
    models, session = ModelSet(associations=store(live=False)), random_session(np.random.default_rng(1))
    assert is_plain(Asked(), session, models, Known())
    assert not is_plain(more, session, models, Known())
    assert not is_plain(Asked(), session, ModelSet(), Known())
    empty = session._replace(events=session.events[:0], item_ids=[])
    assert not is_plain(Asked(), empty, models, Known(recent=RecentItems(["a"], 0)))


@pytest.mark.parametrize("p", [np.zeros(N_INTENTS), np.full(N_INTENTS, np.nan)])
def test_intents_that_do_not_sum_to_one_are_refused(p: Floats) -> None:
    models, session = ModelSet(associations=store(live=False)), random_session(np.random.default_rng(1))
    with pytest.raises(ValueError, match="sum to 1"):
        in_one_pass(Asked(), session, models, Known(), STATIC, HEURISTIC_GOALS, None, p, NOW_US, [])


def test_action_weights_of_another_shape_are_refused() -> None:
    models, session = ModelSet(associations=store(live=False)), random_session(np.random.default_rng(1))
    narrow = np.ones((N_CONTEXTS, N_EVENT_TYPES - 1))
    actions = ActionWeights(1, narrow, narrow, narrow[0])
    with pytest.raises(ValueError, match="action weights must have the shape"):
        in_one_pass(Asked(), session, models, Known(), STATIC, HEURISTIC_GOALS, actions, np.full(N_INTENTS, 0.25), NOW_US, [])
