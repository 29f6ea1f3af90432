"""The ranker: its trees answer as LightGBM's, and it learns a rule that the counts alone do not show."""

import math
from dataclasses import replace

import numpy as np
import pytest

from models.arrays import Flags, Objects
from models.artifact import Parts
from models.associations.goal_query import Past
from models.events.encode import EventArray
from models.ranker import item_traits
from models.ranker import kernels as ranker_kernels
from models.ranker import model as ranker
from models.ranker import training as ranker_training
from models.ranker.embeddings import EmbeddingParams
from models.ranker.model import SourceParams
from models.ranker.training import GrowParams, Known, always
from models.schema import N_EVENT_TYPES, N_INTENTS, EventType
from tests.builders import event_array, in_a_row, same_events

WEIGHTS = np.eye(N_EVENT_TYPES)[0]
SMALL = GrowParams(n_trees=20, n_leaves=7, max_depth=4, min_rows_in_leaf=5)


def log(sessions: list[list[int]]) -> tuple[EventArray, Flags]:
    items, starts = in_a_row(sessions)
    return event_array(len(items), item=items, occurred_at_us=np.cumsum(starts) * 1_000_000), starts


def names(n: int) -> Objects:
    return np.array([f"i{k}" for k in range(n)], object)


def back_to_the_first(n_sessions=400, n_items=30):
    """After two items, visitors return to the first: items are random, so that pairs cannot tell."""
    rng = np.random.default_rng(3)
    return [[int(a), int(b), int(a)] for a, b in (rng.choice(n_items, 2, replace=False) for _ in range(n_sessions))]


@pytest.fixture(scope="module")
def model():
    return ranker_training.fit(*log(back_to_the_first()), names(30), always(WEIGHTS), grow=SMALL)


def rank(model, session, limit=5, exclude=None):
    items = np.array(session, np.int64)
    return model.rank(items, np.zeros(len(items), np.int8), WEIGHTS, limit, exclude)


def test_learns_what_visitors_do_next(model):
    assert model.fallback == ""
    pairs = np.random.default_rng(9).permuted(np.tile(np.arange(30), (20, 1)), axis=1)[:, :2]
    assert np.mean([rank(model, pair).items[0] == pair[0] for pair in pairs]) > 0.9


def test_answers_fall_differ_and_keep_to_limit_and_exclusion(model):
    answer = rank(model, [3, 4], 10, np.array([3, 4, 7]))
    assert len(answer.items) == len(set(answer.items.tolist())) == 10
    assert not {3, 4, 7} & set(answer.items.tolist())
    assert np.all(np.diff(answer.scores) <= 0)
    assert len(rank(model, [3], 0).items) == 0


@pytest.mark.parametrize("session", [[], [-1], [99, -5]])
def test_popular_items_answer_an_unknown_session(model, session):
    answer = rank(model, session)
    assert len(answer.items) == 5
    assert answer.n_ranked == 0


def test_long_sessions_and_repeats_are_answered(model):
    assert len(rank(model, [1] * 500).items) == 5
    assert len(rank(model, list(range(30)) * 170).items) == 5


def test_two_answers_do_not_touch_each_other(model):
    first = rank(model, [3, 4])
    kept = first.items.copy()
    rank(model, [8, 9])
    assert first.items.tolist() == kept.tolist() == rank(model, [3, 4]).items.tolist()


def test_same_seed_same_ranker(model):
    again = ranker_training.fit(*log(back_to_the_first()), names(30), always(WEIGHTS), grow=SMALL)
    assert all(np.array_equal(a, b) for a, b in zip(model.trees, again.trees or (), strict=True))


def test_parts_read_only_answer_the_same(model, tmp_path):
    parts = ranker.to_parts(model)
    for name, array in parts.arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    loaded = ranker.from_parts(Parts(parts.meta, {n: np.load(tmp_path / f"{n}.npy", mmap_mode="r") for n in parts.arrays}))
    for session in ([3, 4], [5], []):
        expected, found = rank(model, session, 20), rank(loaded, session, 20)
        assert expected.items.tolist() == found.items.tolist()
        assert expected.scores.tolist() == found.scores.tolist()
    assert loaded.params == model.params
    assert loaded.code("i7") == 7


def test_other_features_are_refused(model):
    parts = ranker.to_parts(model)
    with pytest.raises(ValueError, match="other features"):
        ranker.from_parts(Parts({**parts.meta, "features": ["what_comes_next"]}, parts.arrays))


@pytest.mark.parametrize("sessions", [[], [[0]], [[0, 1]], [[0], [0], [0]], [[0, 1, 2]] * 3])
def test_too_little_to_learn_from_is_a_named_fallback(sessions):
    found = ranker_training.fit(*log(sessions), names(3), always(WEIGHTS))
    assert found.fallback == "too_few_questions"
    assert found.trees is None
    assert set(rank(found, [0]).items.tolist()) <= {0, 1, 2}
    again = ranker.from_parts(ranker.to_parts(found))
    assert again.fallback == found.fallback


def test_an_empty_catalogue_answers_nothing():
    found = ranker_training.fit(*log([]), names(0), always(WEIGHTS))
    assert len(rank(found, [0]).items) == 0


def test_input_is_left_alone():
    events, starts = log(back_to_the_first(60))
    before = events.copy(), starts.copy()
    ranker_training.fit(events, starts, names(30), always(WEIGHTS), grow=SMALL)
    assert same_events(events, before[0])
    assert np.array_equal(starts, before[1])


def test_arguments_that_do_not_fit_are_refused(model):
    with pytest.raises(ValueError, match="as long"):
        model.rank(np.array([1]), np.zeros(2, np.int8), WEIGHTS, 5)
    with pytest.raises(ValueError, match="weights"):
        model.rank(np.array([1]), np.zeros(1, np.int8), WEIGHTS[:3], 5)
    with pytest.raises(ValueError, match="limit"):
        rank(model, [1], -1)
    with pytest.raises(ValueError, match="counts"):
        SourceParams(n_candidates=0)


def test_every_feature_is_finite(model):
    for session in ([], [1], [1, 1, 2], [5, 6, 5, 6]):
        items = np.array(session, np.int64)
        _, features, n = model.candidates(items, np.zeros(len(items), np.int8), WEIGHTS)
        assert np.isfinite(features[:n]).all()


def test_questions_are_asked_of_sources_that_do_not_know_the_answer():
    sessions = [[0, 1]] * 20 + [[2, 3]] * 5  # the pair 2, 3 occurs in the learning part only
    grow = GrowParams(learn_share=0.2, n_blocks=1)
    events, starts = log(sessions)
    rows = ranker_training.collect(events, starts, names(4), always(WEIGHTS), SourceParams(), grow, np.random.default_rng(0))
    assert rows.n_asked == 5
    assert len(rows.sizes) == 0


def test_intent_decides_where_nothing_else_tells():
    """Half of the visitors, whose intent is known, return to the first item, the others to one of its category."""
    rng = np.random.default_rng(4)
    sessions, intents = [], rng.integers(0, 2, 600)
    for returns in intents:
        a, b = (int(k) for k in rng.choice(15, 2, replace=False) * 2)  # even items; the odd one after each is of its category
        sessions.append([a, b, a if returns else b + 1])
    events, starts = log(sessions)
    events["category"] = events["item"] // 2
    p = np.eye(N_INTENTS)[np.repeat(intents, 3)]
    known = ranker_training.fit(
        events, starts, names(30), lambda rows: Known(np.tile(WEIGHTS, (len(rows), 1)), p[rows]), grow=SMALL
    )
    asked = np.array([4, 8]), np.zeros(2, np.int8), WEIGHTS, 1, None
    assert [known.rank(*asked, np.eye(N_INTENTS)[z]).items[0] for z in (1, 0)] == [4, 9]
    with pytest.raises(ValueError, match="p_intent"):
        known.rank(*asked, np.ones(3))


def test_a_file_of_before_answers_as_it_did(model):
    """It names fewer features, in another order, and does not know of history."""
    parts, names_now = ranker.to_parts(model), list(ranker_kernels.FEATURES)
    asked_for = sorted(set(model.trees.feature.tolist()), reverse=True)
    names_then = [names_now[k] for k in asked_for]
    renumbered = np.array([asked_for.index(k) for k in model.trees.feature.tolist()], np.int32)
    params = {name: parts.meta["params"][name] for name in parts.meta["params"] if name not in ranker.BEFORE}
    then = Parts({**parts.meta, "features": names_then, "params": params}, {**parts.arrays, "tree_feature": renumbered})
    found = ranker.from_parts(then)
    assert found.trees is not None
    assert found.trees.feature.tolist() == model.trees.feature.tolist()
    assert not found.params.history


def test_a_file_without_embeddings_answers_as_a_ranker_that_learned_none():
    params = SourceParams(embeddings=EmbeddingParams(n_rounds=0), n_reached=0, history=False)
    before = ranker_training.fit(*log(back_to_the_first()), names(30), always(WEIGHTS), params, SMALL)
    parts = ranker.to_parts(before)
    bare = {name: array for name, array in parts.arrays.items() if not name.startswith("embedding_")}
    told = {name: value for name, value in parts.meta["params"].items() if name not in ranker.BEFORE}
    found = ranker.from_parts(Parts({**parts.meta, "params": told}, bare))
    assert found.params == params
    for session in ([3, 4], [5], []):
        assert rank(found, session, 20).scores.tolist() == rank(before, session, 20).scores.tolist()


def test_embeddings_lead_to_items_that_no_source_offers():
    """The nearest kind of shop: 0 goes with 1 and 1 with 2, so that 2 lies two steps from 0."""
    sessions = [[0, 1], [1, 2]] * 40 + [[3, 4], [5, 6], [7, 8]] * 20
    codes = []
    for n_reached in (0, 5):
        params = SourceParams(n_dims=4, wide=replace(ranker.WIDE, min_llr=0.0), n_reached=n_reached)
        shop = ranker.Ranker(ranker.build_sources(*log(sessions), names(9), params), None, params)
        found, _, n = shop.candidates(np.array([0]), np.zeros(1, np.int8), WEIGHTS)
        codes.append(set(found[:n].tolist()))
    assert codes == [{0, 1}, {0, 1, 2}]


def test_only_so_many_candidates_are_reached_and_they_are_the_best_by_their_embeddings():
    rng = np.random.default_rng(1)
    params = SourceParams(n_dims=4, n_candidates=2, n_reached=3, wide=replace(ranker.WIDE, min_llr=0.0))
    sessions = [rng.choice(12, 4, replace=False).tolist() for _ in range(300)]
    shop = ranker.Ranker(ranker.build_sources(*log(sessions), names(12), params), None, params)
    found, features, n = shop.candidates(np.array([0]), np.zeros(1, np.int8), WEIGHTS)
    tells = shop.sources.embeddings
    led = tells.target @ tells.context[0] + tells.bias
    assert n == len(set(found[:n].tolist())) == 5
    assert features[:n, ranker_kernels.LED] == pytest.approx(led[found[:n]], abs=1e-5)
    others = [code for code in np.argsort(-led).tolist() if code not in found[:2] and code in tells.near[0]]
    assert set(found[2:n].tolist()) == set(others[:3])
    assert features[:n, ranker_kernels.LED_RANK].argsort().tolist() == (-led[found[:n]]).argsort().tolist()


def test_what_earlier_sessions_tell_by_hand(model):
    day_s = 86_400.0
    kinds = [EventType.PURCHASE, EventType.ITEM_VIEW, EventType.ADD_TO_CART, EventType.ITEM_VIEW]
    past = Past(np.array([7, 8, 7, 99]), np.array(kinds, np.int8), np.array([0.0, day_s, 7 * day_s, 8 * day_s]))
    codes, features, n = model.candidates(np.array([8, 5]), np.zeros(2, np.int8), WEIGHTS, None, past)
    told = {name: features[:n][codes[:n] == 7][0, k] for k, name in enumerate(ranker_kernels.FEATURES)}
    expected = {"n_past": 2, "past_recent": 1 + 0.64, "past_day": 1 + 2**-7, "past_week": 1.5, "past_carted": 0.5,
                "past_bought": 1, "n_before": 4, "before_share": 0.5, "n_seen": 0}  # fmt: skip
    assert {name: float(told[name]) for name in expected} == pytest.approx(expected)


def test_what_came_right_before_and_after_the_newest_item_by_hand(model):
    assert [feature(model, [5, 6, 5, 6, 7, 5], "came_after", code) for code in (5, 6, 7)] == [0, 2, 0]
    assert [feature(model, [5, 6, 5, 6, 7, 5], "came_before", code) for code in (5, 6, 7)] == [0, 1, 1]
    assert feature(model, [-1, 5, 99, 5], "came_after", 5) == 0


def feature(model, session, name, code, p_intent=None):
    items = np.array(session, np.int64)
    codes, features, n = model.candidates(items, np.zeros(len(items), np.int8), np.ones(N_EVENT_TYPES), p_intent)
    return float(features[:n][codes[:n] == code][0, ranker_kernels.FEATURES.index(name)])


def test_features_of_types_prices_and_categories_by_hand():
    """Item 0 leads to a cart with 1, a purchase of 2, and a view of 3."""
    events, starts = log([[0, 1], [0, 2], [0, 3]] * 10)
    events["event_type"][1::2] = [EventType.ADD_TO_CART, EventType.PURCHASE, EventType.ITEM_VIEW] * 10
    events["price"] = np.array([math.e - 1, math.e**2 - 1, np.nan, 1.0])[events["item"]]
    events["category"] = np.array([5, 5, 6, -1])[events["item"]]
    params = SourceParams(n_dims=2, wide=replace(ranker.WIDE, min_llr=0.0))
    model = ranker.Ranker(ranker.build_sources(events, starts, names(4), params), None, params)
    carts, buys = ([feature(model, [0], name, k) > 0 for k in (1, 2, 3)] for name in ("cart_sum", "purchase_sum"))
    assert carts == [True, False, False]
    assert buys == [False, True, False]
    assert [feature(model, [0], "same_category", k) for k in (1, 2, 3)] == [1.0, 0.0, -1.0]
    assert feature(model, [0], "price_ratio", 1) == pytest.approx(1.0)  # e times as dear
    assert feature(model, [0], "price_ratio", 2) == 0.0  # no price known
    p = np.array([0.1, 0.2, 0.3, 0.4])
    names_of_intents = [name for name in ranker_kernels.FEATURES if name.startswith("p_")]
    assert [feature(model, [0], name, 1, p) for name in names_of_intents] == pytest.approx(p)
    assert feature(model, [0], "cart_weight", 1) == 1.0


def test_price_and_conversion_rate_by_hand():
    events, _ = log([[0, 0, 1, 1]])
    events["event_type"][1] = EventType.PURCHASE
    events["price"] = [9.0, math.e - 1, np.nan, 0.0]
    found = item_traits.offers(events, 3)
    np.testing.assert_allclose(found[:, 0], [1.0, 0.0, 0.0])
    np.testing.assert_allclose(found[:, 1], [(1 + 5) / 22, 5 / 22, 5 / 20])
    assert item_traits.offers(events[:0], 2).tolist() == [[0.0, 0.0]] * 2


def test_a_log_of_bare_sequences_asks_for_nothing_that_it_does_not_have(model):
    absent = {"cart_sum", "purchase_sum", "price", "conversion_rate", "same_category", "price_ratio", "cart_weight"}
    used = {ranker_kernels.FEATURES[k] for k in model.trees.feature[model.trees.value == 0.0]}
    assert not used & (absent | {name for name in used if name.startswith("p_")})
