"""Item embeddings: they find what comes next where no pair tells it, and are defined for any log."""

import numpy as np
import pytest

from models.associations.arrays import Pairs
from models.ranker import embeddings, item_vectors
from models.ranker.embeddings import EmbeddingParams


def pairs(targets):
    """Pairs of equal kinds, of falling strength in the order told."""
    flat = [target for row in targets for target in row]
    strength = [1.0 / (k + 1) for row in targets for k in range(len(row))]
    offsets = np.cumsum([0, *map(len, targets)])
    return Pairs(offsets, np.array(flat, np.int32), np.zeros(len(flat), np.uint8), np.array(strength, np.float32))


def fit(sessions, n_items, params=None, targets=None, seed=0):
    items, offsets = np.array([i for s in sessions for i in s], np.int64), np.cumsum([0, *map(len, sessions)])
    vectors = item_vectors.fit(items, offsets, n_items, 8)
    return embeddings.fit(items, offsets, vectors, pairs(targets or [[]] * n_items), params or EmbeddingParams(), seed)


def test_direction_is_learned():
    """Round a circle, always onwards: pairs without a direction could not tell the item after from the one before."""
    found = fit([[k % 10, (k + 1) % 10] for k in range(600)], 10, EmbeddingParams(n_rounds=10))
    told = found.context @ found.target.T + found.bias
    assert told.argmax(axis=1).tolist() == [(k + 1) % 10 for k in range(10)]


def test_near_items_are_two_steps_away_at_most_and_the_best_first():
    found = fit([[0, 1], [1, 2], [2, 3]] * 50, 5, targets=[[1], [2], [3], [4], []])
    told = found.context @ found.target.T + found.bias
    assert [set(row[row >= 0].tolist()) for row in found.near] == [{1, 2}, {2, 3}, {3, 4}, {4}, set()]
    assert all(told[i, row[0]] >= told[i, row[1]] for i, row in enumerate(found.near[:3]))


def test_only_the_strongest_pairs_and_so_many_near_items_count():
    params = EmbeddingParams(n_strongest=1, n_near=1)
    found = fit([[0, 1], [1, 2], [2, 3]] * 50, 4, params, targets=[[1, 3], [], [], []])
    assert found.near.tolist() == [[1], [-1], [-1], [-1]]


def test_repeats_in_a_row_teach_nothing():
    untaught = fit([[0, 0], [1, 1, 1]], 2)
    assert untaught.bias.tolist() == [0.0, 0.0]


def test_same_seed_same_embeddings():
    sessions = [[0, 1, 2], [2, 3], [3, 0]] * 20
    first, again, other = fit(sessions, 4), fit(sessions, 4), fit(sessions, 4, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first.target, other.target)


def test_no_rounds_tell_nothing_and_lead_nowhere():
    found = fit([[0, 1]] * 9, 2, EmbeddingParams(n_rounds=0), targets=[[1], [0]])
    assert not found.context.any()
    assert not found.target.any()
    assert found.near.shape == (2, 0)


@pytest.mark.parametrize(("sessions", "n_items"), [([], 0), ([], 3), ([[]], 2), ([[0]], 1), ([[0], [0, 0], [1, 0]], 4)])
def test_small_logs_have_embeddings(sessions, n_items):
    found = fit(sessions, n_items)
    assert len(found.context) == len(found.target) == len(found.bias) == len(found.near) == n_items
    assert all(np.isfinite(array).all() for array in found)


def test_input_is_left_alone():
    items, offsets = np.array([0, 1, 1, 2]), np.array([0, 2, 4])
    vectors, told = item_vectors.fit(items, offsets, 3), pairs([[1], [2], []])
    before = [array.copy() for array in (items, offsets, vectors, *told)]
    embeddings.fit(items, offsets, vectors, told, EmbeddingParams())
    assert all(np.array_equal(a, b) for a, b in zip((items, offsets, vectors, *told), before, strict=True))


@pytest.mark.parametrize("wrong", [{"n_others": 0}, {"n_rounds": -1}, {"penalty": -0.1}, {"decay": float("nan")}])
def test_parameters_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match="at least"):
        EmbeddingParams(**wrong)
