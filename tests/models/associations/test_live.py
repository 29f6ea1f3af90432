"""What arrives after the build changes the answers as another build would."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.associations import indirect
from models.associations import model as associations
from models.associations.changes import changed_sessions
from models.associations.eviction import Bounds
from models.associations.goal_query import MOST_GUESTS
from models.associations.live import LiveAssociations
from models.associations.model import AssociationParams, AssociationStore, build
from models.associations.overlay import Rows
from models.events.encode import NO_CODE, TYPE_CODE
from models.features.sessions import sessionize, starts
from models.schema import DAY_US, N_EVENT_TYPES, EventType
from models.weight_profile import STATIC
from tests.builders import event_array

NOTHING_DROPPED = AssociationParams(min_llr=0.0, max_targets=10_000, n_popular=10_000)
# No decay by time and no gate: what is left can be computed in the head.
PLAIN = AssociationParams(
    gap_scale_s=1e15, half_life_s=1e15, min_llr=0.0, step_power=1.0, anchor_power=1.0, popularity_power=0.0, backward=0.5,
    self_factor=0.0, rank_decay=0.5, unmatched=0.0, age_scale_s=1e15,
)  # fmt: skip
UNBOUNDED = Bounds()


def log_of(*rows) -> pd.DataFrame:
    """A log of (user, item, type, second), in the order of arrival; a browse is of the category of that name."""
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "event_type", "second"]).astype({"item_id": object})
    frame["category"] = frame["item_id"].where(frame["event_type"] == "category_browse", "all")
    frame.loc[~frame["event_type"].isin(["item_view", "add_to_cart", "remove_from_cart", "purchase"]), "item_id"] = None
    at_us = (frame.pop("second").astype(float) * 1e6).astype(np.int64) + 10 * DAY_US
    return frame.assign(occurred_at_us=at_us, session_id=None, partner="p", seq=np.arange(1, len(frame) + 1))


def built(log: pd.DataFrame, params: AssociationParams = NOTHING_DROPPED) -> AssociationStore:
    log = sessionize(log)
    item, ids = pd.factorize(log["item_id"])
    category, categories = pd.factorize(log["category"])
    kinds, at_us = log["event_type"].map(TYPE_CODE), log["occurred_at_us"]
    events = event_array(len(log), item=item, category=category, event_type=kinds, occurred_at_us=at_us)
    events, names = indirect.with_categories(events, list(ids), list(categories))
    return build(*indirect.touched(events, starts(log)), np.array(names, dtype=object), params, list(categories))


def followed(store: AssociationStore, log: pd.DataFrame, after: int, step: int, most: Bounds = UNBOUNDED) -> LiveAssociations:
    """The store, brought up to date in batches as a tail reader would."""
    live = LiveAssociations(store, most)
    for first in range(after, len(log), step):
        users = log["user_id"][first : first + step]
        known = log[: first + step]
        known = known[known["user_id"].isin(users)]
        live.fold(known, (known["seq"] > first).to_numpy())
    return live


def entries(store: AssociationStore) -> dict[tuple[str, int, str, int], float]:
    """Strength by anchor, source, target and target type, wherever it stands."""
    found, x, o = {}, store.index, store.overlay
    for anchor in range(store.n_items):
        slot = o.slot[anchor] if len(o.slot) else 0
        arrays, factor = (o, o.overlay_factor) if slot else (x, o.index_factor)
        first, last = o.span[slot] if slot else x.offsets[anchor : anchor + 2] if anchor + 1 < len(x.offsets) else (0, 0)
        for e in range(first, last):
            target, types = int(arrays.target[e]), int(arrays.types[e])
            ratio = o.ratio[o.slot[target], types & 15] if len(o.slot) else 1.0
            key = (store.item_ids[anchor], types >> 4, store.item_ids[target], types & 15)
            found[key] = float(factor * ratio * arrays.strength[e])
    return found


def scores(store: AssociationStore, *items: str) -> dict[str, float]:
    codes = np.array([store.code(item) for item in items], np.int64)
    ranked = store.recommend(codes, np.zeros(len(items), np.int8), np.zeros(len(items)), STATIC.base, 1000)
    pairs = list(zip(ranked.items.tolist(), ranked.scores.tolist(), strict=True))[: ranked.n_associated]
    return {store.item_ids[code]: score for code, score in pairs}


def popular(store: AssociationStore) -> dict[str, float]:
    ranked = store.popular(1000)
    return {store.item_ids[code]: score for code, score in zip(ranked.items.tolist(), ranked.scores.tolist(), strict=True)}


def in_categories(store: AssociationStore) -> dict[tuple[str, str], float]:
    """Share of each listed item, by the name of its category."""
    span, item, share = (column.tolist() for column in store.categories[:3])
    rows = [(name, k) for name, bounds in zip(store.category_names, span, strict=False) for k in range(*bounds)]
    return {(name, store.item_ids[item[k]]): share[k] for name, k in rows}


def same(one: AssociationStore, two: AssociationStore) -> None:
    assert in_categories(one) == pytest.approx(in_categories(two), rel=1e-4)
    assert entries(one) == pytest.approx(entries(two), rel=1e-4)
    assert popular(one) == pytest.approx(popular(two), rel=1e-4)
    for item in two.item_ids:
        assert scores(one, item) == pytest.approx(scores(two, item), rel=1e-4)
    assert one.built_to_us == two.built_to_us


def test_a_new_pair_and_a_new_item_are_there_at_once():
    log = log_of(("u", "a", "item_view", 0), ("u", "b", "item_view", 1), ("v", "a", "item_view", 2), ("v", "c", "purchase", 3))
    store = built(log[:2], PLAIN)
    assert scores(store, "a") == pytest.approx({"b": 0.2 * 0.2})
    live = followed(store, log, 2, 1)
    # a was seen in two sessions now: each neighbour counts half; c is bought
    assert scores(live.view, "a") == pytest.approx({"b": 0.2 * 0.2 / 2, "c": 0.2 * 1.0 / 2})
    assert (live.view.n_items, live.view.item_ids[live.view.code("c")], live.view.code("d")) == (3, "c", NO_CODE)
    assert popular(live.view) == pytest.approx({"c": 1.0, "a": 0.4, "b": 0.2})
    same(live.view, built(log, PLAIN))


def test_a_session_that_goes_on_after_the_build_keeps_what_went_before():
    log = log_of(("u", "a", "item_view", 0), ("u", "b", "item_view", 10))
    live = followed(built(log[:1]), log, 1, 1)
    assert set(entries(live.view)) == {("a", 0, "b", 0), ("b", 0, "a", 0)}
    same(live.view, built(log))


def test_a_late_event_moves_apart_what_was_side_by_side():
    log = log_of(("u", "a", "item_view", 0), ("u", "b", "item_view", 20), ("u", "c", "item_view", 10))
    live = followed(built(log[:2], PLAIN), log, 2, 1)
    assert entries(live.view)["a", 0, "b", 0] == pytest.approx(0.5)  # two steps on
    same(live.view, built(log, PLAIN))


def test_a_late_event_joins_two_sessions():
    log = log_of(("u", "a", "item_view", 0), ("u", "b", "item_view", 3000), ("u", "c", "item_view", 1500))
    store = built(log[:2])
    assert entries(store) == {}
    same(followed(store, log, 2, 1).view, built(log))


def test_earlier_views_stay_as_they_were():
    log = log_of(*(("uv"[k % 2], "abcde"[k % 5], "item_view", k) for k in range(20)))
    live = LiveAssociations(built(log[:5]))
    views, told = [live.view], [scores(live.view, "a")]
    for first in range(5, 20, 3):
        known = log[: first + 3]
        live.fold(known, (known["seq"] > first).to_numpy())
        views.append(live.view)
        told.append(scores(live.view, "a"))
    live.settle()
    assert [scores(view, "a") for view in views] == told
    assert told[0] != told[-1]


def test_a_store_of_another_decade_fades_as_it_would_in_a_build():
    now = 11 * 365 * 86_400
    old = ("u", "a", "item_view", 0), ("u", "b", "item_view", 1)
    log = log_of(*old, ("v", "a", "item_view", now), ("v", "c", "item_view", now + 1))
    live = followed(built(log[:2]), log, 2, 1)
    assert list(scores(live.view, "a")) == ["c", "b"][: len(scores(live.view, "a"))]
    assert scores(live.view, "a")["c"] == pytest.approx(scores(built(log), "a")["c"], rel=1e-4)
    assert np.isfinite(list(scores(live.view, "a", "c").values())).all()


def test_an_empty_store_fills_up():
    log = log_of(*(("uv"[k % 2], "abcde"[k % 5], "item_view", k) for k in range(20)))
    same(followed(built(log[:0]), log, 0, 7).view, built(log))


def test_working_memory_has_room_for_every_item_of_a_view_that_has_grown():
    log = log_of(("u", "a", "item_view", 0), ("u", "b", "item_view", 1))
    live = LiveAssociations(built(log))
    assert scores(live.view, "a") != {}  # this thread has its working memory now
    more = [("u", f"new-{k}", "item_view", 2 + k) for k in range(500)]
    log = log_of(("u", "a", "item_view", 0), ("u", "b", "item_view", 1), *more)
    grown = live.fold(log, (log["seq"] > 2).to_numpy())
    assert grown.n_items == 502
    assert scores(grown, "new-499")["new-498"] > 0.0
    assert len(grown.scratch().sums) >= grown.n_items + MOST_GUESTS
    assert len(grown.places()) >= grown.n_items + MOST_GUESTS


def test_reasons_come_from_the_overlay_too():
    log = log_of(("u", "a", "item_view", 0), ("u", "b", "item_view", 1), ("v", "a", "item_view", 2), ("v", "c", "purchase", 3))
    view = followed(built(log[:2], PLAIN), log, 2, 2).view
    session = np.array([view.code("a")]), np.zeros(1, np.int8), np.zeros(1)
    ranked = view.recommend(*session, STATIC.base, 2)
    because = view.explain(ranked, *session, STATIC.base)
    assert [[c["item_id"] for c in each] for each in because] == [["a"], ["a"]]
    assert because[0][0] == {"item_id": "a", "source_event": "item_view", "target_event": "purchase", "share": 1.0}


def test_events_without_items_only_let_time_pass_where_there_are_none_in_the_session():
    log = log_of(("u", "a", "item_view", 0), ("u", "b", "item_view", 1), ("v", None, "search", 86_400))
    same(followed(built(log[:2]), log, 2, 1).view, built(log))
    assert entries(followed(built(log[:2]), log, 2, 1).view).keys() == entries(built(log[:2])).keys()


def test_a_category_that_is_new_since_the_build_leads_to_its_items_and_is_never_shown():
    browse = ("v", "hats", "category_browse", 2), ("v", "a", "item_view", 3), ("v", "c", "item_view", 4)
    log = log_of(("u", "a", "item_view", 0), ("u", "b", "item_view", 1), *browse)
    view = followed(built(log[:2]), log, 2, 1).view
    hats = indirect.anchor_of("hats")
    asked = np.array([view.code(hats)]), np.array([EventType.CATEGORY_BROWSE], np.int8), np.zeros(1)
    ranked = view.recommend(*asked, STATIC.base, 10)
    assert [view.item_ids[code] for code in ranked.items[: ranked.n_associated]] == ["a", "c"]
    assert view.explain(ranked, *asked, STATIC.base)[0][0]["item_id"] == "hats"
    assert hats not in scores(view, "a", "b", "c") | popular(view)
    assert popular(view).keys() == {"a", "b", "c"}


def test_pairs_that_were_pruned_begin_at_zero_and_the_others_are_exact():
    log = log_of(*((f"u{k // 4}", f"i{k * 7 % 11}", "item_view", 10 * k) for k in range(80)))
    few = AssociationParams(min_llr=0.0, max_targets=3)
    all_of = AssociationParams(min_llr=0.0, max_targets=10_000)
    store = built(log[:60], few)
    live, exact = entries(followed(store, log, 60, 4).view), entries(built(log, all_of))
    kept = live.keys() & entries(store).keys()
    assert len(kept) > 10
    assert {key: live[key] for key in kept} == pytest.approx({key: exact[key] for key in kept}, rel=1e-4)
    assert all(live[key] <= exact[key] * 1.0001 for key in live)


def test_a_store_without_a_ledger_says_so():
    store = built(log_of(("u", "a", "item_view", 0)))
    parts = associations.to_parts(store)
    old = associations.from_parts(parts._replace(arrays={k: v for k, v in parts.arrays.items() if k != "support"}))
    with pytest.raises(ValueError, match="ledger"):
        LiveAssociations(old)
    back = associations.from_parts(parts)
    assert LiveAssociations(back).view.popular(1).items.tolist() == [0]


def test_unchanged_sessions_are_left_alone():
    log = log_of(("u", "a", "item_view", 0), ("u", "b", "item_view", 9000), ("u", "c", "item_view", 9001))
    after, before = changed_sessions(log, np.array([False, False, True]), np.array([7, 8, 9]), np.ones(3, bool))
    assert (after.events["item"].tolist(), after.starts.tolist()) == ([8, 9], [True, False])
    assert (before.events["item"].tolist(), before.starts.tolist()) == ([8], [True])


events = st.lists(
    st.tuples(
        st.sampled_from("uvw"),
        st.sampled_from("abcdef"),
        st.sampled_from(["item_view", "add_to_cart", "remove_from_cart", "purchase", "search", "cart_view", "category_browse"]),
        st.integers(0, 9000),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(events, st.integers(0, 40), st.integers(1, 9))
def test_any_tail_in_any_batches_equals_a_rebuild(rows, cut, step):
    log = log_of(*rows)
    live = followed(built(log[:cut]), log, cut, step)
    same(live.view, built(log))
    same(live.settle(), built(log))


@settings(max_examples=30, deadline=None)
@given(events, st.integers(1, 9))
def test_gates_and_pruning_are_those_of_a_rebuild_where_the_store_has_dropped_nothing(rows, step):
    log, params = log_of(*rows), AssociationParams()
    same(followed(built(log[:0], params), log, 0, step).settle(), built(log, params))


@settings(max_examples=30, deadline=None)
@given(events, st.integers(0, 40), st.integers(1, 9), st.integers(1, 9))
def test_a_replay_of_the_tail_gives_the_same_state_however_it_is_cut(rows, cut, step, other_step):
    log = log_of(*rows)
    store = built(log[:cut], AssociationParams(max_targets=2, n_popular=3))
    one, two = followed(store, log, cut, step).settle(), followed(store, log, cut, other_step).settle()
    assert list(one.item_ids) == list(two.item_ids)
    assert entries(one) == pytest.approx(entries(two), rel=1e-6)
    assert popular(one) == pytest.approx(popular(two), rel=1e-6)


def test_weights_that_are_refused_are_refused_here_too():
    live = LiveAssociations(built(log_of(("u", "a", "item_view", 0))))
    with pytest.raises(ValueError, match="finite"):
        live.view.popular(3, np.full(N_EVENT_TYPES, np.nan))


def test_relation_counts_for_items_of_the_build_and_for_later_ones():
    log = log_of(("u", "a", "item_view", 0), ("u", "b", "item_view", 1), ("v", "a", "item_view", 0), ("v", "c", "item_view", 1))
    view = followed(built(log[:2], PLAIN), log, 2, 2).view  # all of one category; c came later
    session = np.array([view.code("a")]), np.zeros(1, np.int8), np.zeros(1)
    plain, related = (view.recommend(*session, STATIC.base, 2, None, relation) for relation in (None, np.array([3.0, 9.0])))
    score = [dict(zip(answer.items.tolist(), answer.scores.tolist(), strict=True)) for answer in (plain, related)]
    assert score[1] == pytest.approx({view.code(item): 3.0 * score[0][view.code(item)] for item in "bc"})


def test_an_item_that_came_after_the_build_is_popular_in_its_category_old_or_new():
    rows = [("u", "a", "item_view", 0), ("u", "b", "item_view", 1), ("v", "c", "item_view", 2), ("v", "d", "item_view", 3)]
    log = log_of(*rows, ("w", "c", "item_view", 4)).assign(category=["hats", "hats", "hats", "shoes", "hats"])
    store = built(log[:2], PLAIN)
    assert in_categories(store) == pytest.approx({("hats", "a"): 0.5, ("hats", "b"): 0.5})
    view = followed(store, log, 2, 1).view
    assert in_categories(view) == pytest.approx(
        {("hats", "c"): 0.5, ("hats", "a"): 0.25, ("hats", "b"): 0.25, ("shoes", "d"): 1.0}
    )
    same(view, built(log, PLAIN))


def test_a_category_that_is_known_is_not_turned_round_by_an_event():
    log = log_of(("u", "a", "item_view", 0), ("v", "a", "item_view", 1), ("v", "b", "item_view", 2), ("w", "b", "item_view", 3))
    log["category"] = ["hats", "shoes", "hats", "shoes"]
    view = followed(built(log[:1], PLAIN), log, 1, 1).view
    assert [view.category_names[code] for code in view.index.category[[view.code("a"), view.code("b")]]] == ["hats", "hats"]


def test_an_event_of_a_browser_that_does_not_count_names_no_category():
    rows = [("v", "b", "item_view", second) for second in range(3)]
    categories = pd.Series(["hats", None, None, "shoes"], dtype=object)
    log = log_of(("u", "a", "item_view", 0), *rows).assign(browser=[0, 1, 1, 1], category=categories)
    view = followed(built(log[:1], PLAIN), log, 1, 1).view
    assert view.index.category[view.code("b")] == NO_CODE


def visits_of(n: int, items, first: int = 0) -> list[tuple[str, str, str, int]]:
    """Two views by each of n visitors, of the items that a function names for the nth."""
    return [(f"v{k}", item, "item_view", 10 * k + j) for k in range(first, first + n) for j, item in enumerate(items(k))]


HONEST = visits_of(40, lambda k: ("abcdefgh"[k % 8], "abcdefgh"[(k * k + 1) % 8]))


def test_a_flood_of_new_categories_is_let_go_with_its_items():
    flood = visits_of(300, lambda k: (f"x{k}", f"y{k}"), first=100)
    log = log_of(*HONEST, *flood, *visits_of(8, lambda k: ("abcdefgh"[k % 8], "n"), first=500))
    log["category"] = [item if item[0] in "xy" else "hats" for item in log["item_id"]]
    view = followed(built(log[: len(HONEST)]), log, len(HONEST), 10, Bounds(items=20)).view
    assert len(view.category_names) <= 40
    assert view.category_names[0] == "hats"
    assert view.category_names[view.index.category[view.code("n")]] == "hats"
    kept = [item for item in view.item_ids[: view.n_items] if item[0] in "xy"]
    assert kept
    assert [view.category_names[view.index.category[view.code(item)]] for item in kept] == kept


@pytest.mark.parametrize("most", [Bounds(pairs=60), Bounds(items=20), Bounds(pairs=60, items=20)])
def test_a_flood_of_new_items_lets_itself_go_and_nothing_else(most):
    flood = visits_of(300, lambda k: (f"x{k}", f"y{k}"), first=100)
    more = visits_of(8, lambda k: ("abcdefgh"[k % 8], "n"), first=500)  # a new item that eight have met
    log = log_of(*HONEST, *flood, *more)
    store = built(log[: len(HONEST)])
    live, unbounded = followed(store, log, len(HONEST), 10, most), followed(store, log, len(HONEST), 10)
    assert live.n_evicted > 0
    assert unbounded.n_evicted == 0
    live.settle(), unbounded.settle()
    for anchor in "abcdefghn":
        assert scores(live.view, anchor) == pytest.approx(scores(unbounded.view, anchor), rel=1e-5)
    assert {item: score for item, score in popular(live.view).items() if item in "abcdefghn"} == pytest.approx(
        {item: score for item, score in popular(unbounded.view).items() if item in "abcdefghn"}, rel=1e-5
    )


def test_memory_is_flat_whatever_arrives():
    most, sizes = Bounds(pairs=100, items=50), []
    live = LiveAssociations(built(log_of(*HONEST)), most)
    for first in range(0, 4000, 20):
        log = log_of(*visits_of(20, lambda k: (f"x{k}", "a"), first=100 + first))
        live.fold(log.assign(seq=log["seq"] + first), np.ones(len(log), np.bool_))
        sizes.append((live.kept.pairs, live.view.n_items, len(live.view.overlay.target), len(live.view.overlay.span)))
    assert np.max(sizes, axis=0)[:2].tolist() <= [100 + 40, 8 + 50 + 20]
    assert np.max(sizes[100:], axis=0).tolist() <= np.max(sizes[:100], axis=0).tolist()


def test_a_tighter_bound_lets_go_at_once_and_one_that_is_kept_changes_nothing():
    flood = visits_of(100, lambda k: (f"x{k}", f"y{k}"), first=100)
    log = log_of(*HONEST, *flood)
    live = followed(built(log[: len(HONEST)]), log, len(HONEST), 10)
    kept, view = live.kept, live.view
    live.bound(kept)
    assert live.view is view
    live.bound(Bounds(kept.pairs, 40))
    assert live.kept.items == 30
    assert live.view.n_items == 8 + 30
    assert view.n_items == 8 + kept.items  # who reads goes on with what it has


def test_rows_leave_behind_what_newer_rows_replace():
    rows, one = Rows(), np.ones(1, np.int64)
    rows.put(2 * one, 3 * one, np.arange(3), np.zeros(3), np.zeros(3))
    for k in range(100):
        rows.put(one, 5_000 * one, np.full(5_000, k), np.zeros(5_000), np.zeros(5_000))
    span, target, _, _ = rows.published(3)
    assert rows.room <= 2 * (2 * 5_003 + (1 << 16) + 5_000)
    assert [target[a:b].tolist() for a, b in span.tolist()] == [[], [99] * 5_000, [0, 1, 2]]


def test_a_session_that_goes_on_after_an_eviction_does_no_harm():
    began, went_on = [("w", "a", "item_view", 5000), ("w", "x0", "item_view", 5001)], ("w", "b", "item_view", 6500)
    log = log_of(*HONEST, *began, *visits_of(30, lambda k: (f"y{k}", f"z{k}"), first=600), went_on)
    live = followed(built(log[: len(HONEST)]), log, len(HONEST), 4, Bounds(pairs=20, items=20))
    exact = built(log)
    assert live.view.code("x0") == NO_CODE
    for anchor in "abcdefgh":
        wanted = {item: score for item, score in scores(exact, anchor).items() if item in "abcdefgh"}
        assert scores(live.settle(), anchor) == pytest.approx(wanted, rel=0.2)
