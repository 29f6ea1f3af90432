"""Items as points: close to the exact singular vectors, and defined for any log."""

import numpy as np
import pytest

from models.ranker import item_vectors


def fit(sessions, n_items, **more):
    offsets = np.cumsum([0, *map(len, sessions)])
    return item_vectors.fit(np.array([i for s in sessions for i in s], np.int64), offsets, n_items, **more)


def test_angles_equal_the_exact_ones():
    rng = np.random.default_rng(5)
    sessions = [(rng.choice(6, 3, replace=False) + 6 * rng.integers(2)).tolist() for _ in range(60)]
    seen = np.zeros((60, 12))
    for row, session in enumerate(sessions):
        seen[row, session] = 1
    seen /= np.sqrt(seen.sum(1, keepdims=True)) * np.sqrt(seen.sum(0))
    exact = seen.T @ seen @ np.linalg.svd(seen)[2][:2].T
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    found = fit(sessions, 12, n_dims=2, n_rounds=40)
    assert found @ found.T == pytest.approx(exact @ exact.T, abs=1e-3)


def test_repeats_within_a_session_change_nothing():
    assert np.array_equal(fit([[0, 1, 0, 0], [1, 2]], 3), fit([[0, 1], [1, 2]], 3))


def test_vectors_have_length_one_or_none():
    assert np.linalg.norm(fit([[0, 1], [1, 2]], 5), axis=1) == pytest.approx([1, 1, 1, 0, 0], abs=1e-5)


@pytest.mark.parametrize(("sessions", "n_items"), [([], 0), ([], 3), ([[]], 2), ([[0]], 1)])
def test_small_logs_have_vectors(sessions, n_items):
    found = fit(sessions, n_items)
    assert found.shape == (n_items, n_items)
    assert np.isfinite(found).all()


def test_input_is_left_alone():
    items, offsets = np.array([0, 1, 1]), np.array([0, 2, 3])
    item_vectors.fit(items, offsets, 2)
    assert items.tolist() == [0, 1, 1]
    assert offsets.tolist() == [0, 2, 3]
