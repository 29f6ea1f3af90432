"""Time splits: whole sessions, and never the future before the past."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.statistics import split

SESSIONS = st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 5)), min_size=1, max_size=40)


@given(SESSIONS)
def test_the_periods_cover_all_rows_once_in_the_order_of_time(sessions: list[tuple[int, int]]) -> None:
    started_us = np.repeat(*np.array(sessions).T)
    periods = split.by_time(started_us, 0.2, 0.2)
    assert (periods.fit.astype(int) + periods.valid + periods.test == 1).all()
    for earlier, later in ((periods.fit, periods.valid), (periods.fit, periods.test), (periods.valid, periods.test)):
        if earlier.any() and later.any():
            assert started_us[earlier].max() < started_us[later].min()


@pytest.mark.parametrize("year", [1970, 1990, 2001])
def test_a_few_rows_of_long_ago_do_not_move_the_periods(year: int) -> None:
    good = np.arange(1_000) * 3_600_000_000 + 1_790_000_000_000_000
    old = np.full(5, (year - 1970) * 365 * 86_400_000_000)
    alone, with_old = split.by_time(good), split.by_time(np.concatenate([old, good]))
    assert abs(with_old.test_from_us - alone.test_from_us) <= 5 * 3_600_000_000
    assert abs(with_old.valid_from_us - alone.valid_from_us) <= 5 * 3_600_000_000
    assert with_old.fit[:5].all()


def test_shares_that_leave_nothing_to_learn_from_are_refused() -> None:
    with pytest.raises(ValueError, match=r"below 1 together, got 0\.5 and 0\.5"):
        split.by_time(np.array([1, 2]), 0.5, 0.5)


@given(SESSIONS, st.integers(1, 60))
def test_a_sample_holds_whole_sessions_and_is_small_enough(sessions: list[tuple[int, int]], at_most: int) -> None:
    sizes = [size for _, size in sessions]
    starts = np.concatenate([[True] + [False] * (size - 1) for size in sizes])
    keys = np.array([key for key, _ in sessions], dtype=np.uint64)
    chosen = split.sample(starts, keys, at_most)
    assert chosen.sum() <= at_most
    session = np.cumsum(starts) - 1
    assert all(len(set(chosen[session == k])) == 1 for k in range(len(sizes)))
    assert (chosen == split.sample(starts, keys, at_most)).all()
