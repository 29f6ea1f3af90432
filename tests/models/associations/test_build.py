from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.associations import build as steps
from models.associations import kernels
from models.associations import survey as association_survey
from models.associations.arrays import Totals
from models.associations.model import AssociationParams, AssociationStore, Ledger, build
from models.events.encode import NO_CODE
from tests.builders import event_array, item_ids

ALL = AssociationParams(min_llr=0.0, max_targets=1000)


def rows(items, seconds=None):
    at_us = (np.arange(len(items)) if seconds is None else np.asarray(seconds)) * 1_000_000
    return event_array(len(items), item=items, event_type=np.arange(len(items)) % 3, occurred_at_us=at_us)


def log(seed, n_events, n_items):
    rng = np.random.default_rng(seed)
    return rows(rng.integers(0, n_items, n_events)), rng.random(n_events) < 0.2


def ledger(store: AssociationStore) -> Ledger:
    assert store.ledger is not None
    return store.ledger


def assert_same(one: AssociationStore, two: AssociationStore) -> None:
    for a, b in zip((*one.index, *ledger(one)), (*two.index, *ledger(two)), strict=True):
        np.testing.assert_array_equal(a, b)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(NO_CODE, 4), min_size=1, max_size=60), st.integers(0, 9), st.integers(1, 3))
def test_rows_without_an_item_change_no_bit(items, seed, window):
    events = rows(items)
    starts = np.random.default_rng(seed).random(len(items)) < 0.1
    starts[0] = True
    session, kept = np.cumsum(starts), events["item"] >= 0
    without = np.diff(session[kept], prepend=0) != 0
    params = replace(ALL, window=window)
    built = build(events, starts, item_ids(5), params)
    alone = build(events[kept], without, item_ids(5), params)
    if kept.any() and events["occurred_at_us"][kept].max() == events["occurred_at_us"].max():  # ages count from the newest row
        assert_same(built, alone)
    assert ledger(built).n_sessions[0] == len(np.unique(session[kept]))


def test_looking_touches_up_for_few_anchors_at_a_time_changes_no_bit():
    events, starts = log(1, 4000, 20)
    whole = steps.log_of(events, starts, int(events["occurred_at_us"].max()))
    rules = steps.rules_of(ALL, 1e-6)
    n_touches, n_with, _, _, n_sessions = association_survey.survey(whole, 20, 1e-6)
    totals = Totals(n_with, steps.damping(n_with, ALL), n_sessions)
    at_once = list(steps.gathered(whole, n_touches, totals, rules, least_touches=4000))
    in_turn = list(steps.gathered(whole, n_touches, totals, rules, least_touches=1))
    assert len(in_turn) > len(at_once)
    for column in kernels.OUT.names or ():
        one, two = (np.concatenate([each.entries[column][: each.n] for each in found]) for found in (at_once, in_turn))
        np.testing.assert_array_equal(one, two)


def test_a_row_that_grows_within_a_session_still_counts_the_session_once():
    others = np.arange(1, 900)
    items = np.stack((np.zeros_like(others), others), axis=1).ravel()  # 0 between all others
    built = build(rows(items), np.arange(len(items)) == 0, item_ids(900), ALL)
    row = slice(*built.index.offsets[:2])
    assert row.stop > 1000  # more than there was room for at first
    assert (ledger(built).support[row] == 1).all()


def test_touches_tell_sessions_apart():
    events = rows([2, 1, NO_CODE, 1, 1, 2])
    starts = np.array([True, False, False, False, True, False])
    touches = association_survey.by_item(steps.log_of(events, starts, 0), 1, 3, np.array([0, 3, 2]))
    assert touches.offsets.tolist() == [0, 3, 5]
    assert touches.order.tolist() == [~1, 3, ~4, ~0, ~5]


@pytest.mark.parametrize("every", [1, 2])
def test_strided_and_read_only_rows_are_taken_and_left_as_they_were(every):
    events, starts = log(2, 400, 10)
    plain = build(events[::every].copy(), starts[::every].copy(), item_ids(10), ALL)
    before = events.tobytes()
    events.flags.writeable = starts.flags.writeable = False
    assert_same(build(events[::every], starts[::every], item_ids(10), ALL), plain)
    assert events.tobytes() == before


def test_category_is_that_of_the_last_row_that_has_one():
    events = rows([0, 0, 0, 1, NO_CODE])
    events["category"] = [3, 4, NO_CODE, NO_CODE, 7]
    assert build(events, np.ones(5, bool), item_ids(3)).index.category.tolist() == [4, NO_CODE, NO_CODE]
