import json

import numpy as np
import pytest

from models.associations import model as associations
from models.associations.arrays import Pairs
from models.associations.model import AssociationParams
from models.associations.query import Session
from models.evaluation import ablation
from models.evaluation.ablation import AblationParams
from models.inference.examples import Log
from models.model_set import ModelSet
from models.questions.answers import LIMIT
from models.questions.later import Later
from models.questions.rest_of_session import Prefixes
from models.schema import N_EVENT_TYPES, N_INTENTS, EventType
from models.tuning import learning as weight_learning
from models.weight_profile import HEURISTIC, STATIC, profile
from models.weights import fit as weight_fit
from models.weights import fit_kernels as weight_kernels
from tests.builders import NO_EVENTS, NO_STARTS, item_ids, sessions_of

VIEW, CART, BUY = EventType.ITEM_VIEW, EventType.ADD_TO_CART, EventType.PURCHASE
EVEN = np.full(N_INTENTS, 1 / N_INTENTS)
MINUTE_US = 60_000_000


def log(sessions, n_items):
    events, starts = sessions_of(*sessions)
    session = np.cumsum(starts) - 1
    events["occurred_at_us"] = session * 100 * MINUTE_US + np.arange(len(events)) * MINUTE_US
    return Log(events, starts, session * 100 * MINUTE_US, session, [f"i{k}" for k in range(n_items)])


def shop(sessions, n_items):
    known = log(sessions, n_items)
    params = AssociationParams(min_llr=0.0, self_factor=0.0)
    store = associations.build(known.events, known.starts, np.array(known.item_ids, dtype=object), params)
    return ModelSet(associations=store), Later(known, np.tile(EVEN, (len(known.events), 1)))


# Views of 0 lead to many views of 1 and few purchases of 2: whoever counts purchases only answers 2 first.
SHOP = [[(VIEW, 0), (VIEW, 1)]] * 30 + [[(VIEW, 0), (BUY, 2)]] * 10 + [[(BUY, 0), (BUY, 2)]] * 5


def test_every_prefix_is_asked_of_every_arm_and_the_report_is_json():
    models, later = shop(SHOP, 3)
    popularity = np.bincount(later.log.events["item"], minlength=3)
    table = ablation.compare(models, later, ablation.arms(), popularity, np.random.default_rng(0), AblationParams(n_draws=100))
    assert table["n_prefixes"] == 45
    assert table["overall"]["purchase"]["purchase_only"]["mrr_20"] == 1.0
    # Among the answers to item 0 the item that is viewed most often comes second, wherever a purchase counts most.
    assert table["overall"]["view"]["static"]["mrr_20"] == 0.5
    assert table["overall"]["add_to_cart"] == {"n_prefixes": 0}
    assert table["winner"]["add_to_cart"] == "no difference"
    assert json.loads(json.dumps(table)) == table
    assert table["reachable"] == {"view": 1.0, "add_to_cart": None, "purchase": 1.0}
    assert table["by_history"]["never met"]["view"]["n_prefixes"] == table["overall"]["view"]["n_prefixes"]
    assert table["by_history"]["met this session"]["view"] == {"n_prefixes": 0}
    assert "own_behind" not in table["winner"].values()


def test_a_difference_of_the_smallest_size_is_seen_and_items_met_are_told_apart():
    """Two visitors of three come back to what they viewed first: nothing leads there but their own way."""
    rng = np.random.default_rng(0)
    visits = [rng.permutation(9)[:3].tolist() for _ in range(60)]
    sessions = [[(VIEW, a), (VIEW, b), (VIEW, a if k % 3 else c)] for k, (a, b, c) in enumerate(visits)]
    later = Later(log(sessions, 9), np.tile(EVEN, (180, 1)))
    store = associations.build(NO_EVENTS, NO_STARTS, item_ids(9))
    table = ablation.compare(ModelSet(associations=store), later, ablation.arms(), np.ones(9, np.int64), rng)
    back = table["by_history"]["met this session"]["view"]
    assert back["own_behind"]["mrr_20"] == 1.0
    assert back["static"]["mrr_20"] < 1.0
    own = table["overall"]["view"]["own_behind"]
    assert 0 < own["smallest_seen"] < own["decides"]["mean"]
    assert table["reachable"]["view"] == 0.2857  # 40 of 140


def test_arm_that_ranks_better_wins():
    # After a view of 0 comes a view of 1; purchases only know 2.
    models, later = shop([[(VIEW, 0), (VIEW, 1)]] * 30 + [[(BUY, 0), (BUY, 2)]] * 5, 3)
    views = Later(later.log.before(20 * 100 * MINUTE_US), later.p_intent[:40])
    only_purchase = ablation.arms()["purchase_only"]
    arms = {"static": only_purchase, "views_too": STATIC}
    popularity = np.ones(3, dtype=np.int64)
    table = ablation.compare(models, views, arms, popularity, np.random.default_rng(0), AblationParams(n_draws=50))
    gain = table["overall"]["view"]["views_too"]["decides"]
    assert table["winner"]["view"] == ("views_too" if gain["low"] > 0 else "no difference")
    assert table["overall"]["view"]["views_too"]["ndcg_20"] >= table["overall"]["view"]["static"]["ndcg_20"]


def test_equal_arms_make_no_difference():
    models, later = shop(SHOP, 3)
    arms = {"static": STATIC, "again": STATIC}
    table = ablation.compare(
        models, later, arms, np.ones(3, dtype=np.int64), np.random.default_rng(0), AblationParams(n_draws=50)
    )
    assert set(table["winner"].values()) == {"no difference"}
    assert table["overall"]["view"]["again"]["decides"] == {"mean": 0.0, "low": 0.0, "high": 0.0}


def test_control_is_measured_but_cannot_win():
    table = {"n_prefixes": 3, "static": {"ndcg_20": 0.1}, "control": {"ndcg_20": 0.5, "decides": {"low": 0.3, "high": 0.5}}}
    assert ablation.winner_of(table) == "control"
    assert ablation.winner_of(table, ("control",)) == "no difference"


def test_no_sessions_make_an_honest_empty_report():
    models, _ = shop(SHOP, 3)
    later = Later(log([], 3), np.zeros((0, N_INTENTS)))
    table = ablation.compare(models, later, ablation.arms(), np.ones(3, dtype=np.int64), np.random.default_rng(0))
    assert (table["n_prefixes"], table["verdict"]) == (0, "no prefix could be asked")


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ([[0, 1, 2, 3]], {"coverage": 1.0, "mean_popularity": 1.0, "gini": 0.0}),
        ([[0], [0]], {"coverage": 0.25, "mean_popularity": 2.8, "gini": 0.75}),
    ],
)
def test_what_is_shown_by_hand(lists, expected):
    assert ablation.shown(np.array(lists), np.array([7, 1, 1, 1])) == expected


def test_quadratic_form_is_the_score_that_the_store_ranks_by():
    rng = np.random.default_rng(5)
    kinds = [VIEW, CART, BUY, EventType.DETAIL_VIEW]
    sessions = [[(kinds[rng.integers(4)], int(rng.integers(12))) for _ in range(rng.integers(2, 8))] for _ in range(60)]
    models, later = shop(sessions, 12)
    events, begin, store = later.log.events, np.flatnonzero(later.log.starts), models.associations
    first, last = begin[:20], np.append(begin[1:], len(events))[:20] - 1
    p, index = store.params, store.index
    pairs = Pairs(index.offsets, index.target, index.types, index.strength)
    at_us, types = np.ascontiguousarray(events["occurred_at_us"]), np.ascontiguousarray(events["event_type"])
    asks = Session(
        events["item"].copy(), types, np.zeros(0), np.zeros(N_EVENT_TYPES),
        p.max_anchors, p.rank_decay, p.age_scale_s, p.unmatched, np.zeros(0),
    )  # fmt: skip
    for a, b in zip(first, last, strict=True):
        rows = slice(a, b + 1)
        hand = events["item"][b : b + 1]
        ranked = store.recommend(events["item"][rows], types[rows], (at_us[b] - at_us[rows]) / 1e6, STATIC.base, LIMIT, hand)
        wanted = ranked.items[: ranked.n_associated]
        asked = weight_kernels.Asked(np.array([a]), np.array([b]), hand, np.array([0, len(wanted)]), wanted)
        total, hit = weight_kernels.shares(pairs, asked, asks, at_us)
        w = STATIC.base
        np.testing.assert_allclose(np.einsum("a,tab,b->t", w, hit, w), ranked.scores[: ranked.n_associated], rtol=1e-6)
        np.testing.assert_allclose(w @ total[0] @ w, ranked.scores[: ranked.n_associated].sum(), rtol=1e-6)


def test_gradient_of_the_choice_loss_is_its_slope():
    rng = np.random.default_rng(0)
    hit = rng.random((4, N_EVENT_TYPES, N_EVENT_TYPES))
    total = np.stack([hit[:2].sum(axis=0), hit[2:].sum(axis=0)]) + rng.random((2, N_EVENT_TYPES, N_EVENT_TYPES))
    p_intent = rng.dirichlet(np.ones(N_INTENTS), 2)
    total, hit = (m + m.transpose(0, 2, 1) for m in (total, hit))
    choices = weight_fit.Choices(total, hit, np.array([0, 0, 1, 1]), np.full(4, 0.25), p_intent)
    logs = np.concatenate((np.log(HEURISTIC.base), np.log(HEURISTIC.factors).ravel()))
    _, gradient = weight_fit.choice_loss(choices, logs)
    for k in (0, 10, 14, 15, 40, 70):
        step = np.zeros(len(logs))
        step[k] = 1e-6
        slope = (weight_fit.choice_loss(choices, logs + step)[0] - weight_fit.choice_loss(choices, logs - step)[0]) / 2e-6
        assert gradient[k] == pytest.approx(slope, abs=1e-7)


def test_learner_is_no_worse_than_static_where_it_chooses_and_keeps_purchase_at_one():
    teach = [[(VIEW, 0), (CART, 1), (VIEW, 2)]] * 20 + [[(VIEW, 0), (VIEW, 3)]] * 40
    models, _ = shop(teach, 4)
    _, later = shop([[(VIEW, 0), (CART, 1), (VIEW, 2)]] * 60, 4)
    learned = weight_learning.learn(models, later, np.random.default_rng(0))
    assert set(learned.ndcg_20) >= {"static", "heuristic", "base"}
    assert learned.weights.base[BUY] == 1.0
    assert learned.ndcg_20[learned.chosen] >= learned.ndcg_20["static"]


def test_candidate_replaces_the_simpler_one_only_where_the_interval_says_so():
    nobody = np.zeros(40, dtype=np.int64)
    asked = Prefixes(nobody, nobody, nobody, np.arange(40), nobody, nobody)
    noise = np.random.default_rng(0).normal(size=40)
    found = {"static": np.zeros(40), "sure": np.full(40, 0.1), "lucky": noise - noise.mean() + 0.2}

    def better(name):
        return weight_learning._better(found, "static", [name], np.arange(40), asked, np.random.default_rng(1))

    assert [better(name) for name in ("sure", "lucky", "absent")] == ["sure", "static", "static"]


def test_better_over_all_is_not_enough_where_one_kind_of_target_surely_loses():
    """What lifts views and costs purchases does not replace the simpler weights."""
    nobody = np.zeros(80, dtype=np.int64)
    asked = Prefixes(nobody, nobody, nobody, np.arange(80), np.repeat([0, 2], 40), nobody)
    mixed, even = np.repeat([0.5, -0.1], 40), np.full(80, 0.2)
    found = {"static": np.zeros(80), "mixed": mixed, "even": even}

    def better(name):
        return weight_learning._better(found, "static", [name], np.arange(80), asked, np.random.default_rng(1))

    assert [better("mixed"), better("even")] == ["static", "even"]
    assert weight_learning._costs(mixed, np.arange(80), asked, np.random.default_rng(1))
    assert not weight_learning._costs(even, np.arange(80), asked, np.random.default_rng(1))


def test_what_serves_stays_unless_something_is_surely_better_and_each_half_is_judged_by_the_other():
    teach = [[(VIEW, 0), (CART, 1), (VIEW, 2)]] * 20 + [[(VIEW, 0), (VIEW, 3)]] * 40
    models, _ = shop(teach, 4)
    _, later = shop([[(VIEW, 0), (CART, 1), (VIEW, 2)]] * 60, 4)
    rng = np.random.default_rng
    fresh = weight_learning.learn(models, later, rng(0))
    again = weight_learning.learn(models, later, rng(0), incumbent=fresh.weights)
    assert again.chosen == weight_learning.INCUMBENT
    assert again.weights is fresh.weights
    base = np.where(np.arange(N_EVENT_TYPES) == CART, 1e-3, STATIC.base)
    worse = profile(base, np.ones((N_INTENTS, N_EVENT_TYPES)))  # puts the item last that everybody turns to
    better = weight_learning.learn(models, later, rng(0), incumbent=worse)
    assert better.chosen == fresh.chosen
    assert better.ndcg_20[weight_learning.INCUMBENT] < better.ndcg_20["static"]


def test_nothing_to_learn_from_leaves_the_base_static_and_the_factors_mild():
    models, _ = shop(SHOP, 3)
    alone = Later(log([[(VIEW, 0)]], 3), np.tile(EVEN, (1, 1)))
    learned = weight_learning.learn(models, alone, np.random.default_rng(0))
    assert learned.chosen == "shrunk to 0.25"
    np.testing.assert_array_equal(learned.weights.base, STATIC.base)
    np.testing.assert_allclose(EVEN @ learned.weights.factors, 1.0)  # who is like the mean is weighted as by static
    assert 1.0 < learned.weights.factors.max() < HEURISTIC.factors.max()


def test_parts_of_prefixes_keep_their_own_targets():
    every = np.arange(3)
    asked = Prefixes(every, every, every, np.array([0, 1, 2, 2]), np.zeros(4, dtype=np.int64), np.array([5, 6, 7, 8]))
    part = weight_learning._part(asked, np.array([True, False, True]))
    assert (part.prefix.tolist(), part.item.tolist(), part.last.tolist()) == ([0, 1, 1], [5, 7, 8], [0, 2])
