import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.schema import EVENT_TYPES, N_EVENT_TYPES, EventType
from models.weight_profile import HEURISTIC, base_weights
from models.weights import action_outcomes, contextual
from models.weights import action_report as action_weight_report
from models.weights import actions as aw
from models.weights.actions import Counts
from tests.builders import event_array
from tests.strategies import lists_of

BASE = base_weights()
VIEW, CART, BUY = EventType.ITEM_VIEW, EventType.ADD_TO_CART, EventType.PURCHASE
HOUR_US = 3_600_000_000
DAY = 86_400_000_000


def nothing() -> Counts:
    return Counts(*(np.zeros((aw.N_CONTEXTS, N_EVENT_TYPES, 2)) for _ in range(2)))


def observed(rates: dict[str, float], n: float = 5000, code: int = 0, browser: int = 0, start: Counts | None = None) -> Counts:
    counts = start or nothing()
    for name, rate in rates.items():
        counts.trials[code, EVENT_TYPES.index(name), browser] += n
        counts.rewards[code, EVENT_TYPES.index(name), browser] += n * rate
    return counts


def events(*rows: tuple[int, int], user: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Events (instant, type) of one visitor and session."""
    at_us, kinds = np.array(rows).T
    found = event_array(len(rows), occurred_at_us=at_us, event_type=kinds)
    starts = np.arange(len(rows)) == 0
    return found, starts, np.full(len(rows), user)


def test_without_data_the_heuristic_weights_serve_in_every_context():
    known = aw.posterior(nothing())
    assert np.allclose(aw.weights(known), BASE)
    assert np.allclose(aw.by_context(known), BASE)
    assert np.allclose(aw.by_context(known, np.random.default_rng(0)), BASE)
    assert known.alpha[0, [VIEW, CART]].tolist() == pytest.approx([60, 150])  # 300 pseudo-observations of 0.2 and 0.5
    assert aw.ready(known, 7).is_heuristic


def test_an_action_that_leads_to_purchases_more_often_than_it_should_gains_weight():
    rates = dict.fromkeys(EVENT_TYPES[:-1], 0.05)
    known = aw.posterior(observed(rates | {"review_read": 0.4, "add_to_cart": 0.02}))
    w = aw.weights(known)
    assert w[EventType.REVIEW_READ] > BASE[EventType.REVIEW_READ]
    assert w[CART] < BASE[CART]
    assert w[BUY] == 1.0
    assert (w >= 0.25 * BASE).all()
    assert (w <= np.minimum(4 * BASE, 1)).all()
    assert not aw.ready(known, 7).is_heuristic


def test_a_rate_that_differs_for_all_types_alike_changes_no_weight():
    """Half of all purchases leave the log: the shop converts less, but no action means less."""
    odds = BASE[:-1] / (1 - BASE[:-1]) / 4
    known = aw.posterior(observed(dict(zip(EVENT_TYPES, odds / (1 + odds), strict=False))))
    assert np.allclose(aw.weights(known)[:-1], BASE[:-1], rtol=0.05)


def test_a_type_that_is_hardly_seen_keeps_its_heuristic_weight_and_says_so():
    rates = dict.fromkeys(("item_view", "add_to_cart"), 0.2)
    known = aw.posterior(observed({"wishlist_add": 0.9}, 30, start=observed(rates)))
    rows = {row.event_type: row for row in action_weight_report.table(known)}
    assert (rows["wishlist_add"].weight, rows["wishlist_add"].fallback) == (BASE[EventType.WISHLIST_ADD], True)
    assert (rows["item_view"].fallback, rows["purchase"].fallback) == (False, False)
    assert rows["item_view"].low < rows["item_view"].p < rows["item_view"].high
    assert rows["add_to_cart"].n == pytest.approx(5000)


def test_a_thin_context_leans_on_its_segment_and_a_rich_one_on_itself():
    rates = dict.fromkeys(EVENT_TYPES[:-1], 0.1)
    counts = observed(rates | {"review_read": 0.2}, 20_000, int(aw.context(0, 2, 12)))
    counts = observed(rates | {"detail_view": 0.2}, 20_000, int(aw.context(0, 1, 12)), start=counts)
    w = aw.by_context(aw.posterior(counts))
    mobile, desktop, tablet = (w[aw.context(0, device, 12)] for device in (2, 1, 3))
    assert mobile[EventType.REVIEW_READ] > tablet[EventType.REVIEW_READ] > desktop[EventType.REVIEW_READ]
    assert mobile[EventType.DETAIL_VIEW] < tablet[EventType.DETAIL_VIEW] < desktop[EventType.DETAIL_VIEW]


def test_samples_are_seeded_and_scatter_less_the_more_is_known():
    def spread(n: float) -> float:
        known = aw.posterior(observed(dict.fromkeys(EVENT_TYPES[:-1], 0.2), n))
        return float(np.std([aw.weights(known, np.random.default_rng(seed))[VIEW] for seed in range(50)]))

    assert spread(50_000) < spread(500)
    known = aw.posterior(observed(dict.fromkeys(EVENT_TYPES[:-1], 0.2)))
    assert np.array_equal(aw.ready(known, 5).sampled, aw.ready(known, 5).sampled)
    assert not np.array_equal(aw.ready(known, 5).sampled, aw.ready(known, 6).sampled)


def test_browser_keys_alone_cannot_move_a_weight_beyond_their_share():
    usual = dict.fromkeys(EVENT_TYPES[:-1], 0.05)
    moved = aw.weights(aw.posterior(observed({"search": 1.0}, 1e9, browser=1, start=observed(usual, 1000))))
    little = aw.weights(aw.posterior(observed({"search": 1.0}, 330, browser=1, start=observed(usual, 1000))))
    assert moved[EventType.SEARCH] == pytest.approx(little[EventType.SEARCH], abs=0.01)


def test_one_visitor_cannot_move_a_weight():
    usual = observed(dict.fromkeys(EVENT_TYPES[:-1], 0.05), 1000)
    rows = [
        row
        for day in range(10)
        for k in range(30)
        for row in ((day * DAY + k * 2, EventType.SEARCH), (day * DAY + k * 2 + 1, BUY))
    ]
    found = action_outcomes.fold(*events(*rows), clock_us=50 * DAY)
    assert found.trials.sum() == 7 * aw.SCALE  # a day is one observation, and the latest seven count
    one = aw.faded(found.day, found.event_type, found.context, 0 * found.day, found.trials, found.rewards)
    both = Counts(*(a + b for a, b in zip(usual, one, strict=True)))
    moved = aw.weights(aw.posterior(both)) - aw.weights(aw.posterior(usual))
    assert 0 < np.abs(moved).max() < 0.02


def test_older_observations_count_less_and_the_weights_follow_a_change():
    def weight_after(days_since_change: int) -> float:
        day = np.repeat(np.arange(60), N_EVENT_TYPES - 1)
        kind = np.tile(np.arange(N_EVENT_TYPES - 1), 60)
        changed = (kind == EventType.WISHLIST_ADD) & (day >= 60 - days_since_change)
        rewards = np.where(changed, 30, 10) * aw.SCALE
        counts = aw.faded(day, kind, 0 * day, 0 * day, np.full(len(day), 200 * aw.SCALE), rewards)
        return float(aw.weights(aw.posterior(counts))[EventType.WISHLIST_ADD])

    assert weight_after(0) < weight_after(7) < weight_after(14) < weight_after(60)
    assert weight_after(28) - weight_after(0) > 0.7 * (weight_after(60) - weight_after(0))


def test_an_action_is_rewarded_by_a_purchase_within_the_horizon_and_pending_until_the_horizon_has_passed():
    visit = events((0, VIEW), (10, CART), (2 * HOUR_US, VIEW), (2 * HOUR_US + 5, BUY))
    at_once = action_outcomes.fold(*visit, clock_us=HOUR_US // 2)
    assert len(at_once.day) == 0
    assert at_once.due_us.tolist() == [HOUR_US + 1]
    bought = action_outcomes.fold(*visit, clock_us=2 * HOUR_US + 6)
    assert (bought.trials.sum(), bought.rewards.sum()) == (2 * aw.SCALE, 0)  # the second view has its reward, and still waits
    assert bought.due_us.tolist() == [3 * HOUR_US + 1]
    later = action_outcomes.fold(*visit, clock_us=3 * HOUR_US + 1)
    assert later.due_us.tolist() == [action_outcomes.NEVER]
    told = {
        (EVENT_TYPES[k], t / aw.SCALE, r / aw.SCALE)
        for k, t, r in zip(later.event_type, later.trials, later.rewards, strict=True)
    }
    assert {("add_to_cart", 1.0, 0.0), ("item_view", 0.5, 0.5)} <= told


def test_what_is_dated_after_the_clock_counts_when_the_horizon_has_passed():
    visit = events((0, VIEW), (HOUR_US // 2, BUY))
    assert len(action_outcomes.fold(*visit, clock_us=HOUR_US).day) == 0
    assert action_outcomes.fold(*visit, clock_us=HOUR_US + 1).rewards.tolist() == [aw.SCALE]


@pytest.mark.parametrize("hours", [1.5, 2.0, 24.0])
def test_the_rates_of_a_young_log_are_those_of_an_old_one(hours):
    """A view is rewarded in 5 % of all visits; purchases that have come already are no more of the truth than that."""
    rng, n = np.random.default_rng(5), 20_000
    at = rng.integers(0, int(hours * HOUR_US), n)
    bought = np.flatnonzero(rng.random(n) < 0.05)
    bought = bought[at[bought] + HOUR_US // 6 <= hours * HOUR_US]  # ten minutes later, if that is in the log yet
    user = np.append(np.arange(n), bought)
    kinds = np.where(np.arange(len(user)) < n, VIEW, BUY)
    visits = event_array(len(user), event_type=kinds, occurred_at_us=np.append(at, at[bought] + HOUR_US // 6))
    order = np.lexsort((visits["occurred_at_us"], user))
    starts = np.diff(user[order], prepend=-1) > 0
    found = action_outcomes.fold(visits[order], starts, user[order], clock_us=int(hours * HOUR_US))
    rate = found.rewards.sum() / found.trials.sum()
    assert abs(rate - 0.05) < 4 * np.sqrt(0.05 * 0.95 * aw.SCALE / found.trials.sum())


HISTORIES = lists_of(st.tuples(st.integers(0, 3 * DAY), st.integers(0, N_EVENT_TYPES - 1)), most=12, most_sessions=5, least=1)


@given(HISTORIES, st.integers(0, 4 * DAY))
def test_visitors_may_be_folded_together_or_one_by_one(histories, clock_us):
    visits = [events(*sorted(rows), user=user) for user, rows in enumerate(histories)]
    whole, starts, users = (np.concatenate(parts) for parts in zip(*visits, strict=True))
    together = action_outcomes.fold(whole, starts, users, clock_us=clock_us)
    alone = [action_outcomes.fold(*visit, clock_us=clock_us, n_users=len(visits)) for visit in visits]
    for name in ("user", "day", "event_type", "context", "trials", "rewards"):
        assert np.array_equal(getattr(together, name), np.concatenate([getattr(one, name) for one in alone]))
    assert together.due_us.tolist() == [int(one.due_us[user]) for user, one in enumerate(alone)]
    order = np.random.default_rng(0).permutation(len(together.day))
    args = (together.day, together.event_type, together.context, 0 * together.day, together.trials, together.rewards)
    day, kind, context, age, trials, rewards = (part[order] for part in args)
    a, b = aw.faded(*args), aw.faded(day, kind, context, age, trials, rewards)
    assert np.array_equal(a.trials, b.trials)
    assert np.array_equal(a.rewards, b.rewards)
    assert (a.rewards <= a.trials).all()


def test_action_weights_move_a_learned_profile_as_far_as_the_heuristic_one():
    w = BASE.copy()
    w[VIEW] *= 2
    moved = contextual.applied(HEURISTIC._replace(base=BASE * 0.5), w)
    assert moved.base[VIEW] == pytest.approx(BASE[VIEW])
    assert moved.base[CART] == pytest.approx(BASE[CART] / 2)


@given(st.integers(0, 4), st.integers(0, 23), st.integers(-720, 840), st.integers(0, 3))
def test_the_context_of_a_session_is_the_one_that_the_fold_gives_its_next_action(device, hour, offset_min, intent):
    visit, p_intent = events((hour * HOUR_US, VIEW))[0], np.eye(4)[intent]
    visit["device"], visit["utc_offset_min"] = device, offset_min
    local_hour = (hour * 60 + offset_min) // 60 % 24
    assert contextual.code_at(visit, p_intent, 0) == aw.context(1 + intent, device, local_hour)
    assert contextual.code_at(visit[:0], p_intent, hour * HOUR_US) == aw.context(0, 0, hour)
