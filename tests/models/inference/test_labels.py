"""Weak labels follow from what the four intents mean; next actions are read off the log."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.events.encode import NO_CODE
from models.inference import labels
from models.schema import NEXT_ACTIONS, EventType, Intent
from tests.builders import event_array, same_events

E = EventType
NAN = float("nan")


def session(*rows, gap_s=20):
    """Events of one session from (type, item, category) rows, `gap_s` apart, nothing measured."""
    kinds, items, categories = np.array([(*row, NO_CODE, NO_CODE)[:3] for row in rows], dtype=np.int64).reshape(-1, 3).T
    at_us = np.arange(len(rows)) * gap_s * 1_000_000
    return event_array(len(rows), event_type=kinds, item=items, category=categories, occurred_at_us=at_us)


def starts_of(*lengths):
    starts = np.zeros(sum(lengths), bool)
    starts[np.cumsum((0, *lengths[:-1]))] = True
    return starts


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(E.CATEGORY_BROWSE,), (E.ITEM_VIEW, 1, 1), (E.CATEGORY_BROWSE,), (E.ITEM_VIEW, 2, 2)], Intent.EXPLORATORY),
        ([(E.ITEM_VIEW, 1, 1), (E.ITEM_VIEW, 2, 2), (E.ITEM_VIEW, 3, 3), (E.ITEM_VIEW, 4, 4)], Intent.EXPLORATORY),
        ([(E.ITEM_VIEW, 1, 1), (E.SPEC_COMPARE,), (E.ITEM_VIEW, 2, 1), (E.SPEC_COMPARE,)], Intent.COMPARATIVE),
        ([(E.ITEM_VIEW, 1, 1), (E.ITEM_VIEW, 2, 1), (E.ITEM_VIEW, 1, 1), (E.ITEM_VIEW, 2, 1)], Intent.COMPARATIVE),
        ([(E.ITEM_VIEW, 1, 1), (E.ADD_TO_CART, 1, 1), (E.CART_VIEW,), (E.CHECKOUT_VIEW,)], Intent.INTENT_TO_PURCHASE),
        ([(E.ITEM_VIEW, 1, 1), (E.REVIEW_READ, 1, 1), (E.DETAIL_VIEW, 1, 1), (E.CONTENT_VIEW,)], Intent.RESEARCH),
    ],
    ids=["browses", "many categories", "compares", "back and forth", "checks out", "reads"],
)
def test_a_session_that_fits_a_definition_gets_its_label(rows, expected):
    assert (labels.intents(session(*rows), starts_of(len(rows))) == expected).all()


def test_a_label_changes_when_the_session_does():
    rows = [(E.REVIEW_READ, 1, 1)] * 6 + [(E.CART_VIEW,), (E.CHECKOUT_VIEW,), (E.CHECKOUT_VIEW,), (E.PURCHASE, 1, 1)]
    found = labels.intents(session(*rows), starts_of(len(rows)))
    assert found[0] == Intent.RESEARCH
    assert found[-1] == Intent.INTENT_TO_PURCHASE


def test_what_comes_later_in_the_session_counts_and_what_comes_in_the_next_does_not():
    view, buy = (E.ITEM_VIEW, 1, 1), (E.CHECKOUT_VIEW,)
    rows = session(view, buy, buy)
    together = labels.intent_probabilities(rows, starts_of(3))[0, Intent.INTENT_TO_PURCHASE]
    apart = labels.intent_probabilities(rows, starts_of(1, 2))[0, Intent.INTENT_TO_PURCHASE]
    assert together > 0.6 > apart


def test_a_long_look_among_short_ones_is_research():
    many = 120
    events = session(*[(E.ITEM_ENGAGEMENT, i, NO_CODE) for i in range(many)])
    events["dwell_ms"] = np.where(np.arange(many) < many // 2, 2_000.0, 60_000.0) + np.arange(many)
    found = labels.intent_probabilities(events, np.arange(many) % 10 == 0)
    assert found[many // 2 :, Intent.RESEARCH].mean() > 2 * found[: many // 2, Intent.RESEARCH].mean()


def test_logs_without_measures_or_with_views_only_get_labels():
    events = session(*[(E.ITEM_VIEW, i % 3) for i in range(200)])
    p = labels.intent_probabilities(events, np.arange(200) % 5 == 0)
    assert np.isfinite(p).all()
    assert p.sum(axis=1) == pytest.approx(1.0)


def test_no_events_no_labels():
    assert labels.intents(session(), np.zeros(0, bool)).shape == (0,)


@pytest.mark.parametrize(("starts", "says"), [([True], "one start flag per event"), ([False, True], "must start a session")])
def test_flags_that_do_not_fit_are_refused(starts, says):
    with pytest.raises(ValueError, match=says):
        labels.intents(session((E.SEARCH,), (E.SEARCH,)), np.array(starts))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(list(E)), st.integers(-1, 4), st.integers(-1, 2), st.booleans()), min_size=1, max_size=30
    )
)
def test_any_log_gives_probabilities_and_stays_unchanged(rows):
    events = session(*rows)
    starts = np.array([row[3] for row in rows])
    starts[0] = True
    before = events.copy()
    p = labels.intent_probabilities(events, starts)
    assert p.sum(axis=1) == pytest.approx(1.0)
    assert (p >= 0).all()
    assert same_events(events, before)


def named(codes):
    return [NEXT_ACTIONS[code] for code in codes]


def test_what_follows_is_the_same_visitors_next_event_in_whatever_order_the_rows_are():
    events = session((E.ADD_TO_CART, 1), (E.SEARCH,), (E.ITEM_VIEW, 1), (E.ITEM_VIEW, 2))
    events["occurred_at_us"] = [500_000_000, 0, 100_000_000, 50_000_000]
    found = labels.following(events, np.array([7, 7, 7, 3]))
    assert named(found.kind) == ["leave", "item_view", "add_to_cart", "leave"]
    assert found.wait_us.tolist() == [labels.NEVER, 100_000_000, 400_000_000, labels.NEVER]
    assert (found.purchase_wait_us == labels.NEVER).all()


def test_one_user_is_needed_per_event_and_nothing_follows_nothing():
    with pytest.raises(ValueError, match="one user per event"):
        labels.following(session((E.SEARCH,)), np.zeros(2, dtype=np.int64))
    assert [len(column) for column in labels.following(session(), np.zeros(0, dtype=np.int64))] == [0, 0, 0]


@pytest.mark.parametrize(
    ("users", "at_s", "kinds", "expected"),
    [
        ([0, 0, 0], [0, 10, 20], [E.ITEM_VIEW, E.PURCHASE, E.SEARCH], [True, False, False]),
        ([0, 0], [0, 301], [E.ITEM_VIEW, E.PURCHASE], [False, False]),  # one second too late
        ([0, 1], [0, 10], [E.ITEM_VIEW, E.PURCHASE], [False, False]),  # somebody else
        ([0, 1, 0], [20, 5, 30], [E.PURCHASE, E.ITEM_VIEW, E.PURCHASE], [True, False, False]),  # the next, not the own one
        ([0, 0], [10, 0], [E.PURCHASE, E.ITEM_VIEW], [False, True]),  # any order of rows
        ([], [], [], []),
    ],
)
def test_purchase_within_looks_ahead_for_the_same_user(users, at_s, kinds, expected):
    events = session(*[(kind, 1) for kind in kinds])
    events["occurred_at_us"] = np.array(at_s, dtype=np.int64) * 1_000_000
    assert labels.purchase_within(events, np.array(users, dtype=np.int64), 300).tolist() == expected


def test_rows_whose_horizon_the_log_does_not_reach_are_marked():
    at_us = np.array([0, 5_000_000, 10_000_000])
    assert labels.covered(at_us, 5, 10_000_000).tolist() == [True, True, False]
