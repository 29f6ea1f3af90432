"""Session neighbours: a slow sum over all sessions gives the same, and odd sessions are answered."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.artifact import Parts
from models.ranker import neighbour_kernels as kernels
from models.ranker import neighbours
from models.ranker.neighbours import NeighbourParams
from tests.strategies import lists_of

PLAIN = NeighbourParams(position_decay=0.5, match_decay=0.25, idf_power=0.0, max_length=100)


def shop(sessions, n_items=6, params=PLAIN):
    offsets = np.cumsum([0, *map(len, sessions)])
    return neighbours.build(np.array([i for s in sessions for i in s], np.int64), offsets, n_items, params)


def answer(model, session, limit=20):
    items, scores = model.recommend(np.array(session, np.int64), limit)
    return dict(zip(items.tolist(), scores.tolist(), strict=True))


def test_scores_by_hand():
    model = shop([[0, 1], [1, 2], [3, 4]])
    # session 0 shares the newest item (1) and the one before; session 1 shares the newest only
    assert answer(model, [0, 1]) == {0: 1.5, 1: 2.5, 2: 1.0}
    # the item at hand is 5, unknown to all; sessions 0 and 1 match one and two places back
    assert answer(model, [0, 1, 5]) == {1: 0.5 * 0.25 + 0.25 * 0.25 + 0.5 * 0.25, 0: 0.75 * 0.25, 2: 0.5 * 0.25}


def test_the_newest_of_equally_alike_sessions_are_the_neighbours():
    assert set(answer(shop([[0, 1], [0, 2], [0, 3]], params=NeighbourParams(n_neighbours=2)), [0])) == {0, 2, 3}


def test_only_the_newest_sessions_of_an_item_are_looked_at():
    assert set(answer(shop([[0, 1], [0, 2], [0, 3]], params=NeighbourParams(max_sessions=1)), [0])) == {0, 3}


def test_only_the_last_touches_of_a_past_session_are_kept():
    assert set(answer(shop([[1, 0, 0, 2]], params=NeighbourParams(max_length=2)), [0])) == {0, 2}


def test_what_followed_the_item_at_hand_is_counted_apart():
    met = shop([[1, 0, 2]]).meet(np.array([0]))
    after = dict(zip(met.items.tolist(), met.sums[:, 1].tolist(), strict=True))
    assert after == {1: 0.0, 0: 0.0, 2: 1.0}


def test_what_stands_beside_the_shared_item_fades_with_its_distance():
    met = shop([[3, 1, 0, 2, 4]]).meet(np.array([0]))
    beside = dict(zip(met.items.tolist(), met.sums[:, kernels.BESIDE].tolist(), strict=True))
    fade = math.exp(-0.5)
    assert beside == pytest.approx({3: 0.5 * fade, 1: 0.5, 0: 0.3, 2: 1.0, 4: fade})


@pytest.mark.parametrize("session", [[], [-1], [99], [-1, 99, -(2**40)]])
def test_nothing_is_said_about_unknown_items(session):
    assert answer(shop([[0, 1]]), session) == {}


def test_an_empty_catalogue_and_sessions_without_items_are_answered():
    assert answer(shop([], 0), [0]) == {}
    assert answer(shop([[], [0], []]), [0]) == {0: 1.0}


def test_long_sessions_and_repeats_are_answered():
    model = shop([[0, 1], [1, 2]])
    assert answer(model, [0] * 500) == answer(model, [0])
    assert set(answer(model, [0, 1, 2] * 2000)) == {0, 1, 2}


@given(lists_of(st.integers(0, 5), most=6, most_sessions=12), st.lists(st.integers(-1, 6), max_size=6), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_scores_equal_the_slow_sum(sessions, session, n_neighbours):
    params = NeighbourParams(
        position_decay=0.5, match_decay=0.25, idf_power=0.0, max_length=100, n_neighbours=n_neighbours, length_power=1.0
    )
    anchors = list(dict.fromkeys(i for i in reversed(session) if 0 <= i < 6))
    found = []
    for number, past in enumerate(sessions):
        shared = [r for r, item in enumerate(anchors) if item in past]
        if shared:
            found.append((sum(0.5**r for r in shared), number, min(shared)))
    wanted: dict[int, float] = {}
    for likeness, number, match in sorted(found, reverse=True)[:n_neighbours]:
        past = sessions[number]
        length = 1 + sum(a != b for a, b in pairwise(past))
        for item in set(past):
            wanted[item] = wanted.get(item, 0.0) + likeness * 0.25**match / length
    assert answer(shop(sessions, params=params), session) == pytest.approx(wanted)


def test_parts_read_only_answer_the_same(tmp_path):
    model = shop([[0, 1], [1, 2], [0, 2, 3]])
    parts = neighbours.to_parts(model)
    for name, array in parts.arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    mapped = {name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in parts.arrays}
    assert answer(neighbours.from_parts(Parts(parts.meta, mapped)), [1, 2]) == answer(model, [1, 2])


@pytest.mark.parametrize(
    ("items", "offsets", "message"), [([0, 7], [0, 2], "item codes"), ([0, -1], [0, 2], "item codes"), ([0], [0, 2], "offsets")]
)
def test_wrong_codes_and_offsets_are_refused(items, offsets, message):
    with pytest.raises(ValueError, match=message):
        neighbours.build(np.array(items), np.array(offsets), 3)


@pytest.mark.parametrize("change", [{"n_neighbours": 0}, {"position_decay": -1.0}, {"idf_power": float("nan")}])
def test_senseless_parameters_are_refused(change):
    with pytest.raises(ValueError, match="must be finite and at least"):
        NeighbourParams(**change)
