"""The item fold: hourly rows by hand, and nothing from the future in them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from models.events.encode import NO_CODE
from models.features import items
from models.schema import ITEM_FEATURES
from tests.models.features.rows import events_of
from tests.strategies import priced_rows

HOUR_US = items.HOUR_US
DAY_US = 24 * HOUR_US


def named(row: np.ndarray) -> dict[str, float]:
    return dict(zip(ITEM_FEATURES, row.tolist(), strict=True))


def test_an_item_has_a_row_at_the_end_of_each_hour_with_an_event() -> None:
    history = items.fold(
        events_of(
            ("item_view", 3 * HOUR_US + 5, 1, np.nan),
            ("item_view", 10, 0, np.nan),
            ("item_view", 20, 0, np.nan),
            ("search", 30, NO_CODE, np.nan),
            ("item_view", 40, 1, np.nan),
        )
    )
    assert history.items.tolist() == [0, 1, 1]
    assert history.hour_end_us.tolist() == [HOUR_US, HOUR_US, 4 * HOUR_US]
    assert history.features[:, ITEM_FEATURES.index("item_n_views")].tolist() == pytest.approx([2, 1, 2], rel=0.1)


def test_counts_halve_in_three_days_and_are_told_as_of_the_end_of_the_hour() -> None:
    history = items.fold(events_of(("item_view", HOUR_US - 1, 0, 10.0), ("purchase", 3 * DAY_US + HOUR_US - 1, 0, 40.0)))
    first, second = named(history.features[0]), named(history.features[1])
    assert (first["item_n_views"], first["item_popularity"]) == (1, 1)
    assert second["item_n_views"] == pytest.approx(0.5)
    assert (second["item_n_purchases"], second["item_popularity"]) == pytest.approx((1, 1.5))
    assert second["item_conversion_rate"] == pytest.approx(1 / 10.5)
    assert second["item_mean_price"] == pytest.approx((10 * 0.5 + 40) / 1.5)


def test_an_item_without_price_has_no_band() -> None:
    only = named(items.fold(events_of(("add_to_cart", 0, 0, np.nan))).features[0])
    assert (only["item_price_band"], only["item_mean_price"]) == (-1, 0)
    assert only["item_n_carts"] == pytest.approx(1, rel=0.01)


def test_bands_are_fifths_of_the_catalogue_as_it_stood() -> None:
    then = [("item_view", 0, item, 10.0 * (item + 1)) for item in range(5)]
    later = [("item_view", DAY_US, 5, 1.0)]
    bands = items.fold(events_of(*then, *later)).features[:, ITEM_FEATURES.index("item_price_band")]
    assert bands.tolist() == [0, 1, 2, 3, 4, 0]


def test_the_unfinished_hour_is_told_as_of_now_and_later_events_are_left_out() -> None:
    rows = events_of(("item_view", 10, 0, np.nan), ("item_view", 500, 1, np.nan))
    history = items.fold(rows, until_us=100)
    assert (history.items.tolist(), history.hour_end_us.tolist()) == ([0], [100])


def test_the_present_on_a_full_hour_is_told_once() -> None:
    rows = events_of(("item_view", 10, 0, np.nan), ("item_view", HOUR_US, 0, np.nan))
    now = items.fold(rows, until_us=HOUR_US)
    assert (now.items.tolist(), now.hour_end_us.tolist()) == ([0], [HOUR_US])
    assert now.features[0, ITEM_FEATURES.index("item_n_views")] == pytest.approx(2, rel=0.01)
    assert items.fold(rows, until_us=HOUR_US + 1).hour_end_us.tolist() == [HOUR_US, HOUR_US + 1]
    assert items.fold(events_of(("item_view", 0, 0, np.nan)), until_us=0).hour_end_us.tolist() == [0]


def test_an_unknown_type_code_is_refused() -> None:
    broken = events_of(("search", 0, 0, np.nan))
    broken["event_type"] = -1
    with pytest.raises(ValueError, match="codes are -1 to -1, expected 0 to 14"):
        items.fold(broken)


def test_no_events_no_rows() -> None:
    assert items.fold(events_of()).features.shape == (0, len(ITEM_FEATURES))
    assert items.fold(events_of(("search", 0, NO_CODE, np.nan))).items.tolist() == []


ROW = priced_rows(7, 3 * DAY_US)


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, max_size=30), st.integers(0, 72))
def test_what_happens_later_changes_no_row_of_an_earlier_hour(rows: list[tuple[str, int, int, float]], hour: int) -> None:
    whole = items.fold(events_of(*rows))
    past = items.fold(events_of(*(row for row in rows if row[1] < hour * HOUR_US)))
    known = whole.hour_end_us <= hour * HOUR_US
    assert np.isfinite(whole.features).all()
    assert_array_equal(whole.items[known], past.items)
    assert_array_equal(whole.features[known], past.features, strict=True)


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 3 * DAY_US), st.integers(NO_CODE, 4), st.sampled_from([np.nan, 1.0, 9.0])), max_size=40),
    st.integers(0, 72),
)
def test_a_fold_that_goes_on_from_a_full_hour_gives_the_rows_of_one_over_everything(
    rows: list[tuple[int, int, float]], hour: int
) -> None:
    events, until_us = events_of(*(("item_view", *row) for row in rows)), 3 * DAY_US + 5
    cut_us = hour * HOUR_US
    early = events["occurred_at_us"] < cut_us
    carry, before = items.advance(items.new_carry(), events[early], cut_us)
    _, after = items.advance(carry, events[~early], until_us)
    whole = items.fold(events, until_us)
    for one, two, all_of_it in zip(before, after, whole, strict=True):
        assert_array_equal(np.concatenate((np.asarray(one), np.asarray(two))), all_of_it, strict=True)
