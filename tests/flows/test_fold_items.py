"""The item fold in stretches: wherever the order of time is cut, the rows are those of one fold over all."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from flows.fold_items import Touches
from models.features import items
from models.features.items import HOUR_US
from models.features.tables import item_events, item_touches

BEGAN_US = 490_000 * HOUR_US


def events(n: int, n_hours: int) -> pd.DataFrame:
    """Events of seven items in the order of time, some at full hours, the last at the end of the last one."""
    rng = np.random.default_rng(3)
    at_us = np.sort(rng.integers(0, n_hours * 4 + 1, n)) * (HOUR_US // 4)
    at_us[-1] = n_hours * HOUR_US
    return pd.DataFrame(
        {
            "occurred_at_us": BEGAN_US + at_us,
            "event_type": rng.choice(["item_view", "add_to_cart", "purchase"], n),
            "item_id": [f"i{k}" for k in rng.integers(0, 7, n)],
            "price": rng.choice([1.0, 5.0, 20.0, np.nan], n),
        }
    )


def in_batches(frame: pd.DataFrame, n_rows: int) -> Iterator[pd.DataFrame]:
    return (frame.iloc[at : at + n_rows] for at in range(0, len(frame), n_rows))


@pytest.mark.parametrize("n_rows", [1, 13, 1_000])
@pytest.mark.parametrize("n_events", [1, 40, 1_000])
@pytest.mark.parametrize("end_us", [48 * HOUR_US, 48 * HOUR_US + 7])
def test_stretches_give_the_rows_of_one_fold(n_rows: int, n_events: int, end_us: int) -> None:
    frame, until_us, codes = events(300, 48), BEGAN_US + end_us, dict[str, int]()
    expected = items.fold(item_events(item_touches(frame, codes)), until_us)
    carry, found, ends = items.new_carry(), [], []
    touches = Touches([], in_batches(frame, n_rows))
    for end, some in touches.stretches([BEGAN_US + 24 * HOUR_US, until_us], n_events):
        carry, history = items.advance(carry, some, end)
        found.append(history)
        ends.append(end)
    assert touches.item_ids() == list(codes)
    assert ends == sorted(set(ends))
    assert (len(ends) > 2) == (n_events < len(frame))
    for name in items.ItemHistory._fields:
        np.testing.assert_array_equal(np.concatenate([getattr(one, name) for one in found]), getattr(expected, name))


def test_no_events_are_an_empty_stretch() -> None:
    ((end, some),) = Touches(["a"], []).stretches([BEGAN_US])
    assert (end, len(some)) == (BEGAN_US, 0)
