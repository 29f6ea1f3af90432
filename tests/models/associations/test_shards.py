"""Pairs counted by parts of a log are those of one build over it."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from models.associations import shards
from models.associations.build import log_of, rules_of
from models.associations.model import AssociationParams, AssociationStore, build
from models.associations.shards import PairSums
from tests.builders import event_array, item_ids

N_ITEMS = 30
RULES = rules_of(AssociationParams(), 1e-6)


def log(n_events: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    events = event_array(
        n_events,
        item=rng.integers(-1, N_ITEMS, n_events) * rng.integers(0, 2, n_events),  # some are met far more often
        event_type=rng.integers(0, 3, n_events),
        occurred_at_us=rng.integers(0, 90 * 86_400_000_000, n_events),
        category=rng.integers(-1, 4, n_events),
    )
    return events, rng.random(n_events) < 0.15


def by_pair(store: AssociationStore) -> tuple[Any, Any, Any]:
    """Pairs of a store in their order, their strengths and supports."""
    index, ledger = store.index, store.ledger
    assert ledger is not None
    anchor = np.repeat(np.arange(store.n_items), np.diff(index.offsets))
    pair = (anchor * N_ITEMS + index.target) * 2**16 + index.types
    order = np.argsort(pair)
    return pair[order], index.strength[order], ledger.support[order]


@pytest.mark.parametrize("params", [AssociationParams(), AssociationParams(min_llr=0.0, max_targets=4, repeats=0.3)])
def test_pairs_counted_by_parts_are_those_of_one_build(params: AssociationParams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.associations.build.EVENTS_A_PART", 500)
    asked: list[int] = []

    def over(function: Any, arguments: Sequence[Any], /) -> Iterator[PairSums]:
        asked.append(len(arguments))
        return map(function, arguments)

    events, starts = log(6_000)
    one = build(events, starts, item_ids(N_ITEMS), params)
    many = build(events, starts, item_ids(N_ITEMS), params, spread=over)
    assert asked[0] > 10
    (pairs, strengths, supports), (those, by_parts, seen) = by_pair(one), by_pair(many)
    assert len(pairs) > 100
    assert pairs.tolist() == those.tolist()
    assert supports.tolist() == seen.tolist()
    np.testing.assert_allclose(by_parts, strengths, rtol=2e-7)
    assert one.ledger is not None
    assert many.ledger is not None
    np.testing.assert_array_equal(one.ledger.n_sessions_with, many.ledger.n_sessions_with)
    np.testing.assert_allclose(one.ledger.popularity, many.ledger.popularity, rtol=1e-5)
    assert one.ledger.n_sessions == many.ledger.n_sessions
    np.testing.assert_array_equal(one.index.category, many.index.category)


def test_a_part_ends_with_a_session_and_none_is_lost() -> None:
    starts = np.random.default_rng(1).random(1_000) < 0.1
    found = shards.cuts(starts, 100)
    assert [one.start for one in found] == [0, *(one.stop for one in found[:-1])]
    assert found[-1].stop == 1_000
    assert all(starts[one.start] for one in found[1:])
    assert all(one.stop - one.start >= 100 for one in found[:-1])


def test_merging_few_anchors_at_a_time_changes_no_bit() -> None:
    events, starts = log(2_000)
    parts = [log_of(events[span], starts[span], 0) for span in shards.cuts(starts, 300)]
    sums = [shards.counted(part, N_ITEMS, RULES) for part in parts]
    totals = shards.nothing_normalised(N_ITEMS)
    (whole,), in_turn = shards.merged(sums, totals, RULES), list(shards.merged(sums, totals, RULES, at_once=50))
    assert len(in_turn) > 5
    np.testing.assert_array_equal(whole.sizes, np.concatenate([rows.sizes for rows in in_turn]))
    joined = np.concatenate([rows.entries[: rows.n] for rows in in_turn])
    assert joined.tolist() == whole.entries[: whole.n].tolist()


def test_a_log_without_a_pair_is_a_store() -> None:
    events = event_array(3, item=[-1, 0, -1])
    sums = [
        shards.counted(part, 1, RULES)
        for part in (log_of(events[:1], np.array([True]), 0), log_of(events[1:], np.array([True, False]), 0))
    ]
    assert shards.surveyed(sums).n_touches.tolist() == [1]
    assert [rows.n for rows in shards.merged(sums, shards.nothing_normalised(1), RULES)] == [0]
