"""What makes a batch believable, on rows a reader can compute."""

import numpy as np
import pandas as pd
import pytest

from models.events.quality import feature_bounds, summary, with_checks
from models.schema import ITEM_FEATURES, SESSION_FEATURES, USER_FEATURES


def frame(prices, items, sessions=None):
    n = len(prices)
    return pd.DataFrame(
        {
            "partner": "p",
            "session_id": sessions or ["s"] * n,
            "event_type": "item_view",
            "item_id": items,
            "price": prices,
            "occurred_at_us": 0,
            "received_at_us": 0,
        }
    )


def test_a_price_is_measured_against_the_items_own_median():
    checked = with_checks(frame([10.0, 10.0, 10.0, 10.0, 1_000.0, 7.0], ["hat"] * 5 + ["shoe"]))
    np.testing.assert_array_equal(checked["price_ratio"], [1, 1, 1, 1, 100, np.nan])  # one price is no median


def test_a_price_of_zero_or_none_is_neither_measured_nor_part_of_the_median():
    checked = with_checks(frame([0.0, np.nan, 10.0, 10.0, 10.0, 10.0, 20.0], ["hat"] * 7))
    np.testing.assert_array_equal(checked["price_ratio"], [np.nan, np.nan, 1, 1, 1, 1, 2])


def test_events_are_counted_within_their_session():
    checked = with_checks(frame([1.0] * 5, ["hat"] * 5, ["a", "b", "a", None, "a"]))
    assert checked["nth_in_session"].tolist() == [1, 1, 2, 0, 3]


def test_the_frame_given_is_left_as_it_was():
    given = frame([1.0], ["hat"])
    before = given.copy()
    with_checks(given)
    pd.testing.assert_frame_equal(given, before)


def test_an_empty_batch_has_the_columns():
    assert {"item_is_missing", "ahead_s", "nth_in_session", "price_ratio"} <= set(with_checks(frame([], [])).columns)


@pytest.mark.parametrize("name", [*SESSION_FEATURES, *USER_FEATURES, *ITEM_FEATURES])
def test_every_feature_has_a_range(name):
    low, high = feature_bounds(name)
    assert low <= 0 < high


def test_a_column_without_a_finite_value_has_the_range_zero():
    assert summary(np.array([np.nan, np.inf])) == (1, 1, 0.0, 0.0)
    assert summary(np.array([])) == (0, 0, 0.0, 0.0)
