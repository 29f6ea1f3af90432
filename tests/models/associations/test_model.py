import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.arrays import Bytes, Floats, Ints
from models.artifact import Parts
from models.associations import kernels
from models.associations.model import AssociationParams, AssociationStore, Ranked, build, from_parts, to_parts
from models.events.encode import NO_CODE
from models.schema import N_EVENT_TYPES, EventType
from models.weight_profile import STATIC
from tests.builders import event_array, item_ids, sessions_of
from tests.strategies import lists_of, typed

VIEW, CART, BUY, SEARCH = EventType.ITEM_VIEW, EventType.ADD_TO_CART, EventType.PURCHASE, EventType.SEARCH
# No decay by time and no gate: what is left can be computed in the head.
PLAIN = AssociationParams(
    gap_scale_s=1e15, half_life_s=1e15, min_llr=0.0, step_power=1.0, anchor_power=0.0, popularity_power=0.0, backward=0.5,
    self_factor=0.0, rank_decay=0.5, unmatched=0.0, age_scale_s=1e15,
)  # fmt: skip


def store_of(sessions, params=PLAIN, n_items=None) -> AssociationStore:
    """Sessions of (item, type); one second between events."""
    events, starts = sessions_of(*([(kind, item) for item, kind in session] for session in sessions))
    return build(events, starts, item_ids(n_items or events["item"].max(initial=-1) + 1, "sku-"), params)


def entries(store) -> dict[Any, float]:
    x = store.index
    return {
        (anchor, int(x.types[e]) >> 4, int(x.target[e]), int(x.types[e]) & 15): float(x.strength[e])
        for anchor in range(store.n_items)
        for e in range(x.offsets[anchor], x.offsets[anchor + 1])
    }


def ask(store: AssociationStore, session, limit=20, weights=STATIC.base, **more) -> Ranked:
    return store.recommend(*arrays(session), weights, limit, **more)


def arrays(session: Sequence[tuple[int, int]]) -> tuple[Ints, Bytes, Floats]:
    items, types = np.array([i for i, _ in session], dtype=np.int64), np.array([t for _, t in session], dtype=np.int8)
    return items, types, np.zeros(len(session))


def test_pairs_are_typed_directional_and_fade_with_distance():
    store = store_of([[(0, VIEW), (1, VIEW), (2, CART)]])
    assert entries(store) == {
        (0, VIEW, 1, VIEW): 1.0,
        (0, VIEW, 2, CART): 0.5,  # two steps on
        (1, VIEW, 0, VIEW): 0.5,  # against the arrow
        (1, VIEW, 2, CART): 1.0,
        (2, CART, 1, VIEW): 0.5,
        (2, CART, 0, VIEW): 0.25,
    }


@pytest.mark.parametrize(("repeats", "expected"), [(1.0, 4.0), (0.5, 2.5), (0.0, 1.0)])
def test_a_pair_met_again_in_one_session_counts_as_much_as_repeats_says(repeats, expected):
    twice = [(0, VIEW), (0, VIEW), (1, VIEW), (1, VIEW)]  # four co-occurrences of 0 before 1, all one step on
    store = store_of([twice, [(0, VIEW), (2, VIEW)]], replace(PLAIN, repeats=repeats))
    assert entries(store)[0, VIEW, 1, VIEW] == pytest.approx(expected)


def test_whole_numbers_as_parameters_mean_the_same():
    sessions = [[(0, VIEW), (1, VIEW)], [(0, VIEW), (2, VIEW)], [(1, VIEW), (2, VIEW)]]
    whole = replace(PLAIN, anchor_power=1, popularity_power=1, backward=1, min_llr=0)
    assert entries(store_of(sessions, whole)) == entries(
        store_of(sessions, replace(PLAIN, anchor_power=1.0, popularity_power=1.0, backward=1.0))
    )


def test_pairs_end_with_the_session_and_events_without_item_are_passed_over():
    store = store_of([[(0, VIEW), (NO_CODE, SEARCH), (1, VIEW)], [(2, VIEW)]])
    assert set(entries(store)) == {(0, VIEW, 1, VIEW), (1, VIEW, 0, VIEW)}


def test_time_halves_the_old_and_the_far():
    events = event_array(4, item=[0, 1, 2, 3], occurred_at_us=np.array([0, 10, 100, 100]) * 1_000_000)
    params = AssociationParams(**{**PLAIN.__dict__, "gap_scale_s": 10.0, "half_life_s": 100.0})
    found = entries(build(events, np.array([True, False, True, False]), np.array(list("abcd"), dtype=object), params))
    assert found[(0, VIEW, 1, VIEW)] == pytest.approx(0.5 * 0.5)  # ten seconds apart, a half-life ago
    assert found[(2, VIEW, 3, VIEW)] == pytest.approx(1.0)


def test_strength_is_divided_by_how_often_both_occur():
    params = AssociationParams(**{**PLAIN.__dict__, "anchor_power": 1.0, "popularity_power": 0.5})
    found = entries(store_of([[(0, VIEW), (1, VIEW)], [(1, VIEW)], [(1, VIEW)], [(1, VIEW)]], params))
    assert found[(0, VIEW, 1, VIEW)] == pytest.approx(1 / 4**0.5)
    assert found[(1, VIEW, 0, VIEW)] == pytest.approx(0.5 / 4)


def test_gate_keeps_what_chance_does_not_explain():
    together, apart = [(0, VIEW), (1, VIEW)], [[(0, VIEW), (2, VIEW)], [(2, VIEW)], [(2, VIEW)], [(2, VIEW)], [(3, VIEW)]]
    gated = AssociationParams(**{**PLAIN.__dict__, "min_llr": 3.84})
    found = entries(store_of([together] * 4 + apart, gated))
    assert (0, VIEW, 1, VIEW) in found
    assert (0, VIEW, 2, VIEW) not in found
    supported = AssociationParams(**{**PLAIN.__dict__, "min_sessions": 2})
    assert set(entries(store_of([together] * 2 + apart, supported))) == {(0, VIEW, 1, VIEW), (1, VIEW, 0, VIEW)}


def test_log_likelihood_ratio_agrees_with_its_definition():
    observed = np.array([[10.0, 20.0], [30.0, 400.0]])
    expected = observed.sum(1, keepdims=True) * observed.sum(0) / observed.sum()
    by_hand = 2 * (observed * np.log(observed / expected)).sum()
    table = np.array([0.0, *(x * np.log(x) for x in range(1, 4096))])
    assert kernels.llr(10.0, 30.0, 40.0, 460.0, table) == pytest.approx(by_hand)
    assert kernels.llr(0.0, 230.0, 230.0, 460.0, table) < 0  # never together although both are frequent


def test_row_is_pruned_to_its_best_targets():
    params = AssociationParams(**{**PLAIN.__dict__, "max_targets": 2})
    found = entries(store_of([[(0, VIEW), (1, VIEW), (2, VIEW), (3, BUY)]], params))
    assert {target for anchor, _, target, _ in found if anchor == 0} == {1, 3}  # the purchase outweighs its distance


def reference(sessions, p) -> dict[Any, float]:
    """The docstring's sum, the slow way."""
    found: dict[Any, float] = {}
    for session in sessions:
        steps = np.cumsum([0, *(a[0] != b[0] for a, b in pairwise(session))])
        for x, (i, a) in enumerate(session):
            for y, (j, b) in enumerate(session):
                d = abs(int(steps[x] - steps[y]))
                if x == y or d > p.window or abs(x - y) > kernels.REACH * p.window or (i == j and y < x):
                    continue
                factor = (1.0 if y > x else p.backward) * (p.self_factor if i == j else 1.0)
                if factor > 0:
                    found[(i, a, j, b)] = found.get((i, a, j, b), 0.0) + factor * max(d, 1) ** -p.step_power
    return found


logs = lists_of(typed([VIEW, CART, BUY], st.integers(0, 5)).map(lambda event: event[::-1]), most=12, most_sessions=5)


@settings(max_examples=60, deadline=None)
@given(logs, st.integers(1, 4), st.sampled_from([0.0, 2.0]))
def test_build_equals_the_slow_sum(sessions, window, self_factor):
    params = AssociationParams(**{**PLAIN.__dict__, "window": window, "self_factor": self_factor})
    expected = reference(sessions, params)
    assert entries(store_of(sessions, params, n_items=6)) == pytest.approx(expected, rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(logs, logs.map(lambda sessions: [event for session in sessions for event in session]), st.integers(0, 7))
def test_recommend_equals_the_slow_ranking(sessions, session, limit):
    store = store_of(sessions, n_items=6)
    items = list(dict.fromkeys(i for i, _ in reversed(session)))
    score = np.zeros(6)
    for (i, a, j, b), strength in entries(store).items():
        if (i, a) in session:
            score[j] += 0.5 ** items.index(i) * STATIC.base[a] * STATIC.base[b] * strength
    ranked = ask(store, session, limit)
    assert ranked.n_associated == min(limit, np.count_nonzero(score))
    np.testing.assert_allclose(ranked.scores[: ranked.n_associated], np.sort(score)[::-1][: ranked.n_associated])
    np.testing.assert_allclose(score[ranked.items[: ranked.n_associated]], ranked.scores[: ranked.n_associated])
    assert (np.diff(ranked.scores) <= 0).all()
    assert len(set(ranked.items.tolist())) == len(ranked.items) <= limit


def test_weights_choose_among_the_types():
    store = store_of([[(0, VIEW), (1, VIEW)]] * 3 + [[(0, VIEW), (2, BUY)]])
    views, buys = np.zeros(N_EVENT_TYPES), np.zeros(N_EVENT_TYPES)
    views[VIEW], buys[VIEW], buys[BUY] = 1.0, 0.4, 1.0
    assert ask(store, [(0, VIEW)], 1, views).items.tolist() == [1]
    assert ask(store, [(0, VIEW)], 1, buys).items.tolist() == [1]
    buys[VIEW] = 0.3  # three views of 0.3 * 0.3 against one purchase of 0.3 * 1
    assert ask(store, [(0, VIEW)], 1, buys).items.tolist() == [2]


def test_an_association_of_another_type_counts_as_much_as_unmatched_says():
    params = AssociationParams(**{**PLAIN.__dict__, "unmatched": 0.25})
    store = store_of([[(0, CART), (1, CART)]], params)
    assert ask(store, [(0, VIEW)]).scores[0] == pytest.approx(0.25 * ask(store, [(0, CART)]).scores[0])


def test_equal_scores_stand_in_the_order_of_their_codes():
    store = store_of([[(3, VIEW), (2, VIEW)], [(3, VIEW), (1, VIEW)], [(3, VIEW), (0, VIEW)]])
    assert ask(store, [(3, VIEW)], 3).items.tolist() == [0, 1, 2]
    assert ask(store, [(3, VIEW)], 2).items.tolist() == [0, 1]


def test_excluded_items_never_come_back_not_even_as_popular_ones():
    store = store_of([[(0, VIEW), (1, VIEW), (2, VIEW)], [(3, VIEW)], [(1, VIEW)]])
    ranked = ask(store, [(0, VIEW)], exclude=np.array([1, 3, NO_CODE, 99]))
    assert (ranked.items.tolist(), ranked.n_associated) == ([2, 0], 1)
    assert store.popular(9, exclude=np.array([1])).items.tolist() == [0, 2, 3]


def test_few_associations_are_filled_up_with_popular_items_below_them():
    store = store_of([[(0, VIEW), (1, VIEW)], [(2, VIEW)], [(2, VIEW)], [(3, VIEW)]])
    ranked = ask(store, [(0, VIEW)], 3)
    assert (ranked.items.tolist(), ranked.n_associated) == ([1, 2, 0], 1)
    assert ranked.scores[0] > ranked.scores[1] > ranked.scores[2] > 0


@pytest.mark.parametrize("session", [[], [(NO_CODE, VIEW)], [(99, VIEW)], [(0, 15)], [(0, -1)], [(0, 127)]])
def test_a_session_that_says_nothing_gets_the_popular_items(session):
    store = store_of([[(0, VIEW), (1, VIEW)], [(1, VIEW)]])
    ranked = ask(store, session)
    assert (ranked.items.tolist(), ranked.n_associated) == ([1, 0], 0)
    assert ranked.scores.tolist() == store.popular(20).scores.tolist()


def test_popular_items_follow_the_weights():
    store = store_of([[(0, VIEW)], [(0, VIEW)], [(1, BUY)]])
    weights = np.zeros(N_EVENT_TYPES)
    weights[VIEW], weights[BUY] = 1.0, 1.0
    assert store.popular(2, weights).items.tolist() == [0, 1]
    assert store.popular(2).items.tolist() == [1, 0]  # base weights: a purchase is worth five views


def test_one_item_500_times_and_5000_events_are_sessions_like_others():
    store = store_of([[(0, VIEW), (1, VIEW)], [(1, VIEW), (2, VIEW)]], AssociationParams(min_llr=0.0))
    once, often = ask(store, [(1, VIEW)]), ask(store, [(1, VIEW)] * 500)
    assert once.items.tolist() == often.items.tolist()
    np.testing.assert_array_equal(once.scores, often.scores)
    long = ask(store, [(k % 3, VIEW) for k in range(5000)])
    assert long.n_associated == 3
    store = store_of([[(0, VIEW)] * 500, [(k % 49, k % 15) for k in range(5000)]])
    assert ask(store, [(7, VIEW)]).n_associated == 20


def test_empty_catalogue_and_a_single_session_are_stores():
    empty = store_of([])
    assert ask(empty, [(0, VIEW)]).items.tolist() == []
    assert empty.popular(5).items.tolist() == []
    assert empty.code("sku-0") == NO_CODE
    assert from_parts(to_parts(empty)).n_items == 0
    assert ask(store_of([[(0, VIEW)]]), [(0, VIEW)]).items.tolist() == [0]
    assert ask(store_of([[(NO_CODE, SEARCH)]], n_items=2), [(0, VIEW)]).items.tolist() == []


def test_limit_zero_and_zero_weights_give_nothing():
    store = store_of([[(0, VIEW), (1, VIEW)]])
    assert ask(store, [(0, VIEW)], 0).items.tolist() == []
    assert ask(store, [(0, VIEW)], 5, np.zeros(N_EVENT_TYPES)).items.tolist() == []


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_impossible_weights_and_limits_are_refused(bad):
    store, weights = store_of([[(0, VIEW), (1, VIEW)]]), STATIC.base.copy()
    weights[3] = bad
    with pytest.raises(ValueError, match="finite and not negative"):
        ask(store, [(0, VIEW)], weights=weights)
    with pytest.raises(ValueError, match="finite and not negative"):
        store.popular(3, weights)
    with pytest.raises(ValueError, match="limit"):
        ask(store, [], -1)
    with pytest.raises(ValueError, match="as long"):
        store.recommend(np.zeros(2, np.int64), np.zeros(1, np.int8), np.zeros(2), STATIC.base, 5)


def test_build_refuses_what_does_not_fit_together():
    events = event_array(2, item=0)
    with pytest.raises(ValueError, match="starts"):
        build(events, np.ones(1, dtype=bool), np.array(["a"], dtype=object))
    with pytest.raises(ValueError, match="no text"):
        build(events, np.ones(2, dtype=bool), np.array([], dtype=object))
    with pytest.raises(ValueError, match="differ"):
        build(events, np.ones(2, dtype=bool), np.array(["a", "a"], dtype=object))
    with pytest.raises(ValueError, match="window"):
        AssociationParams(window=0)


def test_shares_say_why_an_item_is_there():
    store = store_of([[(0, VIEW), (1, CART)], [(0, VIEW), (1, VIEW)], [(2, VIEW), (1, VIEW)], [(3, VIEW)]])
    session = arrays([(2, VIEW), (0, VIEW)])
    ranked = store.recommend(*session, STATIC.base, 4)
    because = dict(zip(ranked.items.tolist(), store.explain(ranked, *session, STATIC.base), strict=True))
    assert [(c["item_id"], c["source_event"], c["target_event"]) for c in because[1]] == [
        ("sku-0", "item_view", "add_to_cart"),
        ("sku-0", "item_view", "item_view"),
        ("sku-2", "item_view", "item_view"),
    ]
    assert [c["share"] for c in because[1]] == pytest.approx([0.1 / 0.16, 0.04 / 0.16, 0.02 / 0.16])
    assert because[3] == []  # a popular one


@settings(max_examples=30, deadline=None)
@given(logs, logs.map(lambda sessions: [event for session in sessions for event in session]))
def test_shares_fall_and_sum_to_at_most_one(sessions, session):
    store = store_of(sessions, AssociationParams(min_llr=0.0), n_items=6)
    ranked = ask(store, session)
    for k, because in enumerate(store.explain(ranked, *arrays(session), STATIC.base)):
        shares = [c["share"] for c in because]
        assert bool(shares) == (k < ranked.n_associated)
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) <= 1 + 1e-9


def test_parts_can_be_mapped_read_only_and_answer_the_same(tmp_path):
    store = store_of([[(0, VIEW), (1, CART), (2, BUY)]], AssociationParams())
    store = from_parts(to_parts(AssociationStore(store.index, ["ü", "日本", "\ud800"], store.params, store.built_to_us)))
    parts = to_parts(store)
    for name, array in parts.arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    mapped = {name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in parts.arrays}
    back = from_parts(Parts(json.loads(json.dumps(parts.meta)), mapped))
    assert [back.code(item_id) for item_id in ("ü", "日本", "\ud800", "x", None)] == [0, 1, 2, NO_CODE, NO_CODE]
    assert (back.params, back.built_to_us) == (store.params, 2_000_000)
    for one, two in zip(ask(store, [(0, VIEW)]), ask(back, [(0, VIEW)]), strict=True):
        np.testing.assert_array_equal(one, two)
    with pytest.raises(ValueError, match="event types"):
        from_parts(Parts({**parts.meta, "event_types": ["click"]}, mapped))


def test_arguments_are_left_as_they_were_and_other_dtypes_are_taken():
    store = store_of([[(0, VIEW), (1, VIEW)]])
    items: Any = np.array([0], np.int32)
    types: Any = np.array([0], np.int64)
    ages: Any = np.array([np.nan], np.float32)
    for array in (items, types, ages):
        array.flags.writeable = False
    assert store.recommend(items, types, ages, STATIC.base, 1).items.tolist() == [1]


def test_threads_share_a_store():
    rng = np.random.default_rng(3)
    store = store_of([[(int(i), VIEW) for i in rng.integers(0, 200, 20)] for _ in range(100)], AssociationParams())
    sessions = [[(int(i), VIEW) for i in rng.integers(0, 200, 5)] for _ in range(200)]
    alone = [ask(store, session).items.tolist() for session in sessions]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda session: ask(store, session).items.tolist(), sessions)) == alone


def categorised(sessions, categories):
    """A store whose items are of the given categories, -1 for none."""
    events, starts = sessions_of(*([(kind, item) for item, kind in session] for session in sessions))
    events["category"] = np.array(categories)[events["item"]]
    return build(events, starts, item_ids(len(categories), "sku-"), PLAIN)


def test_relation_scales_associations_within_the_category_and_out_of_it_and_leaves_unknown_ones():
    store = categorised([[(0, VIEW), (k, VIEW)] for k in (1, 2, 3)], [5, 5, 6, -1])
    even = dict(zip(*(array.tolist() for array in ask(store, [(0, VIEW)])[:2]), strict=True))
    found = ask(store, [(0, VIEW)], relation=np.array([3.0, 0.5]))
    assert found.items[: found.n_associated].tolist() == [1, 3, 2]
    np.testing.assert_allclose(found.scores[:3], [3.0 * even[1], even[3], 0.5 * even[2]])


def test_relation_of_one_changes_nothing():
    store = categorised([[(0, VIEW), (1, VIEW), (0, VIEW)]] * 3, [5, 6])
    for session in ([(0, VIEW)], [(0, VIEW), (1, VIEW)]):
        plain, same = ask(store, session), ask(store, session, relation=np.ones(2))
        np.testing.assert_array_equal(plain.scores, same.scores)


def test_item_met_again_has_no_relation():
    events, starts = event_array(6, item=0, occurred_at_us=np.arange(6)), np.tile([True, False], 3)
    store = build(events, starts, np.array(["sku-0"], dtype=object), replace(PLAIN, self_factor=1.0))
    plain = ask(store, [(0, VIEW)])
    assert plain.n_associated == 1
    np.testing.assert_array_equal(ask(store, [(0, VIEW)], relation=np.full(2, 9.0)).scores, plain.scores)


def test_contributions_know_the_relation():
    store = categorised([[(0, VIEW), (1, VIEW)], [(2, VIEW), (1, VIEW)]], [5, 5, 6])
    session, relation = [(0, VIEW), (2, VIEW)], np.array([4.0, 1.0])
    ranked = ask(store, session, limit=1, relation=relation)
    shares = {c["item_id"]: c["share"] for c in store.explain(ranked, *arrays(session), STATIC.base, relation)[0]}
    assert shares["sku-0"] == pytest.approx(4 * 0.5 / (4 * 0.5 + 1))  # the older item's recency is half


@pytest.mark.parametrize(("relation", "message"), [([1.0], "shape"), ([1.0, -1.0], "negative"), ([np.nan, 1.0], "finite")])
def test_unusable_relation_is_refused(relation, message):
    with pytest.raises(ValueError, match=message):
        ask(store_of([[(0, VIEW), (1, VIEW)]]), [(0, VIEW)], relation=np.array(relation))


def test_file_from_before_the_categories_answers_as_if_there_were_none():
    store = categorised([[(0, VIEW), (1, VIEW)]] * 3, [5, 5])
    parts = to_parts(store)
    older = from_parts(Parts(parts.meta, {name: array for name, array in parts.arrays.items() if name != "category"}))
    plain = ask(store, [(0, VIEW)]).scores
    np.testing.assert_array_equal(ask(older, [(0, VIEW)], relation=np.array([3.0, 3.0])).scores, plain)
    np.testing.assert_array_equal(ask(from_parts(parts), [(0, VIEW)], relation=np.array([3.0, 3.0])).scores[0], 3.0 * plain[0])
