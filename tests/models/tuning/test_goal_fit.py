"""Goal weights are fitted by the gradient of their loss, and find what a log was made by."""

import numpy as np
import pytest
from scipy.optimize import check_grad

from models import goal_prior
from models.associations import model as associations
from models.goal_weights import (
    KINSHIP,
    N_DECAYS,
    N_GOALS,
    N_PARTS,
    N_TOLD,
    OWN,
    SOURCE,
    TARGET,
    GoalWeights,
    goal_weights,
    one_goal,
    scale_of,
)
from models.inference.examples import Log
from models.model_set import ModelSet
from models.questions import rest_of_session
from models.questions.later import Later
from models.replay import replay
from models.schema import GOALS, N_INTENTS
from models.tuning import goal_fit
from models.tuning.goal_fit import GoalParams
from models.tuning.goal_kernels import Lessons, loss
from models.weight_profile import STATIC
from tests.builders import encoded

DAY_US = 86_400_000_000
Shop = tuple[ModelSet, Later, GoalWeights]


def _lessons() -> Lessons:
    """Two moments of anything, with three items each."""
    rng, n_items, n_kinds, n_entries = np.random.default_rng(0), 6, 10, 24
    return Lessons(
        kinds_at=np.array([0, 5, n_kinds]),
        parts=rng.integers(0, N_PARTS + 1, (n_kinds, 3)).astype(np.int16),
        items_at=np.array([0, 3, n_items]),
        entries_at=np.arange(n_items + 1) * (n_entries // n_items),
        kind=rng.integers(0, 5, n_entries).astype(np.uint16),
        amount=rng.gamma(1.0, size=n_entries).astype(np.float32),
        many=rng.gamma(2.0, size=n_items).astype(np.float32),
        wanted=np.array([1.0, 0.0, 0.0, 0.0, 0.5, 0.5]),
        centered=rng.normal(size=(2, N_INTENTS)),
    )


def test_the_gradient_is_that_of_the_loss() -> None:
    lessons, rng = _lessons(), np.random.default_rng(1)

    def both(x: np.ndarray) -> tuple[float, np.ndarray]:
        slopes = x[N_PARTS + 1 :].reshape(N_PARTS, N_INTENTS)
        found = loss(lessons, x[:N_PARTS], slopes, float(np.exp(x[N_PARTS])))
        return float(found.each.mean()), np.concatenate((found.to_base, [found.to_power], found.to_slopes.ravel()))

    x = 0.3 * rng.normal(size=N_PARTS + 1 + N_PARTS * N_INTENTS)
    assert check_grad(lambda y: both(y)[0], lambda y: both(y)[1], x) < 1e-5


def test_the_loss_is_that_of_its_definition() -> None:
    lessons, rng = _lessons(), np.random.default_rng(1)
    base, slopes, power = rng.normal(size=N_PARTS), rng.normal(size=(N_PARTS, N_INTENTS)), 1.3
    found = loss(lessons, base, slopes, power)
    for q in range(2):
        w = np.append(np.exp(base + slopes @ lessons.centered[q]), 1.0)
        of_kind = w[lessons.parts[lessons.kinds_at[q] : lessons.kinds_at[q + 1]]].prod(axis=1)
        items = np.arange(*lessons.items_at[q : q + 2])
        entries = [slice(*lessons.entries_at[j : j + 2]) for j in items]
        score = np.array([of_kind[lessons.kind[e]] @ lessons.amount[e] for e in entries])
        chance = lessons.many[items] * score**power
        assert found.top[q] == pytest.approx(score.max())
        assert found.each[q] == pytest.approx(-lessons.wanted[items] @ np.log(score**power / chance.sum()))


def test_what_the_heuristic_says_of_an_intent_is_weakened_and_never_turned_round(shop: "Shop") -> None:
    models, sessions, _ = shop
    p_intent = sessions.p_intent.copy()
    p_intent[::2] = np.eye(N_INTENTS)[np.arange(len(p_intent[::2])) % N_INTENTS]
    moved, rng = sessions._replace(p_intent=p_intent), np.random.default_rng(0)
    asked = rest_of_session.prefixes(sessions.log.events, sessions.log.starts, 10_000, rng)
    asks = replay(models, moved, asked.first, asked.last)
    found = goal_fit.learn(asks, moved, asked, GoalParams(l2_slopes=(1e-4,), powers=(0.5,)), rng)
    prior = goal_prior.slopes(0.5)
    share = found.slopes[:, prior != 0] / prior[prior != 0]
    assert share.min() >= goal_fit.LEAST_OF_PRIOR - 1e-9
    assert abs(share - 1.0).max() > 0.01  # and it was free to move


def test_where_the_heuristic_says_nothing_any_more_its_direction_still_holds() -> None:
    around, heuristic = goal_fit.prior(0.0, np.full(N_INTENTS, 0.25)), goal_prior.slopes(1.0)
    assert not around.slopes.any()
    lessons = _lessons()
    slopes = goal_fit.fit(lessons, 0.01, 1e-4, 30, around, goal_fit.levels(lessons, 30, around))[1]
    assert (slopes * heuristic >= 0).all()
    assert (slopes[heuristic == 0] != 0).any()  # what it has nothing to say of is free


@pytest.mark.parametrize(
    ("second", "chosen"), [([0.9, 0.9, 0.9, 0.9], 1), ([0.0, 0.0, 1.3, 1.3], 0), ([1.1, 1.1, 1.1, 1.1], 0)]
)
def test_the_simpler_choice_stays_unless_another_is_surely_better(second: list[float], chosen: int) -> None:
    told = np.array([np.ones(4), second])
    assert goal_fit._surely_least((0, 1), lambda one: told[one], np.array([0, 0, 1, 1])) == chosen


def test_without_intent_a_source_weighs_what_the_table_says(shop: "Shop") -> None:
    _, _, found = shop
    plain = found.base[:, SOURCE:TARGET] - found.slopes[:, SOURCE:TARGET] @ found.center
    np.testing.assert_allclose(np.exp(plain), np.tile(STATIC.base, (N_GOALS, 1)))


def test_without_lessons_the_prior_answers(shop: "Shop") -> None:
    models, sessions, _ = shop
    asked = rest_of_session.prefixes(sessions.log.events, sessions.log.starts, 10, np.random.default_rng(0))
    asks = replay(models, sessions, asked.first, asked.last)
    found = goal_fit.learn(asks, sessions, asked, GoalParams(), np.random.default_rng(0))
    np.testing.assert_array_equal(found.base, goal_prior.heuristic_goals().base)
    assert found.mixture(sessions.log.events[:1], np.full(N_INTENTS, 0.25))[GOALS.index("view")] > 0.7


@pytest.fixture(scope="module")
def shop() -> Shop:
    """Two sessions a day apart of each visitor: three views, then what was viewed last the day before is bought."""
    rng, n_users = np.random.default_rng(1), 160
    seen = np.array([rng.permutation(12) for _ in range(n_users)])
    items = np.column_stack((seen[:, :3], seen[:, 3:6], seen[:, 2:3])).reshape(n_users, 7)
    kinds = (["item_view"] * 6 + ["purchase"]) * n_users
    events = encoded(kinds, items.ravel().tolist())
    minute = np.tile([0, 1, 2, 1440, 1441, 1442, 1443], n_users) * 60_000_000
    events["occurred_at_us"] = minute + DAY_US
    starts = np.tile([True, False, False, True, False, False, False], n_users)
    users = np.repeat(np.arange(n_users), 7)
    begins = np.repeat(events["occurred_at_us"][starts], np.diff(np.append(np.flatnonzero(starts), len(starts))))
    log = Log(events, starts, begins, users, [f"sku-{k}" for k in range(12)])
    store = associations.build(
        events[starts.cumsum() % 2 == 1], starts[starts.cumsum() % 2 == 1], np.array(log.item_ids, object)
    )
    sessions = Later(log.since(DAY_US + 1), np.full((4 * n_users, N_INTENTS), 0.25), log)
    models = ModelSet(associations=store)
    asked = rest_of_session.prefixes(sessions.log.events, sessions.log.starts, 10_000, rng)
    asks = replay(models, sessions, asked.first, asked.last)
    found = goal_fit.learn(asks, sessions, asked, GoalParams(), rng)
    return models, sessions, found


def test_history_is_found_to_lead_to_purchases_and_session_to_be_no_way_back(shop: Shop) -> None:
    _, _, found = shop
    own = np.exp(found.base[GOALS.index("purchase"), OWN : OWN + 2 * N_DECAYS]).reshape(2, N_DECAYS)  # of views
    assert own[1].max() > 5 * own[0].max()


def test_a_goal_brings_what_it_was_asked_for(shop: Shop) -> None:
    models, sessions, found = shop
    last = np.flatnonzero(sessions.log.starts) + 2
    asks = replay(models, sessions, last - 2, last)
    bought = sessions.log.events["item"][last + 1]
    by_goal = {goal: asks.answers(STATIC._replace(goals=found), goal=goal)[:, 0] for goal in GOALS}
    assert (by_goal["purchase"] == bought).mean() > 0.9
    assert (asks.answers(STATIC)[:, 0] == bought).mean() < 0.5


def test_a_session_of_three_views_is_told_from_one_of_one(shop: Shop) -> None:
    _, sessions, found = shop
    p = np.full(N_INTENTS, 0.25)
    early, late = found.mixture(sessions.log.events[:1], p), found.mixture(sessions.log.events[:3], p)
    assert early.sum() == pytest.approx(1.0)
    assert late[GOALS.index("purchase")] > early[GOALS.index("purchase")]


def test_a_mixture_weighs_the_goals_and_intent_moves_them_around_the_mean() -> None:
    base, slopes = np.zeros((N_GOALS, N_PARTS)), np.zeros((N_GOALS, N_PARTS, N_INTENTS))
    base[:, KINSHIP] = np.log([1.0, 2.0, 3.0])
    slopes[0, KINSHIP, 1] = 2.0
    center = np.full(N_INTENTS, 0.25)
    found = goal_weights(base, slopes, center, np.zeros((N_GOALS, N_TOLD)))
    for mixture, expected in ((one_goal("purchase"), 3.0), (np.array([0.5, 0.5, 0.0]), 1.5)):
        np.testing.assert_allclose(scale_of(found, mixture, center).pairs[0], expected)
    buys = np.eye(N_INTENTS)[1]
    np.testing.assert_allclose(scale_of(found, one_goal("view"), buys).pairs[0], np.exp(2.0 * 0.75))
    assert scale_of(found, one_goal("view"), buys).popular.tolist() == [1.0]
