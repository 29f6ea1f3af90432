"""What makes a batch believable, on rows a reader can compute."""

import numpy as np
import pandas as pd
import pytest

from models.events.quality import LEAST_ALARM_ROWS, feature_bounds, is_alarming, of_visitors, summary, with_checks
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


def test_a_visitor_counts_with_the_longest_session_or_with_all_events_where_those_are_few():
    assert of_visitors({"bot": 30, "ann": 2}, {"bot": 20})["session_events"].to_dict() == {"bot": 20, "ann": 2}
    assert of_visitors({}, {})["session_events"].tolist() == []


@pytest.mark.parametrize(
    ("bad", "total", "expected"),
    [
        ((600, 60), (1_000, 100), True),
        ((600, 50), (1_000, 100), False),  # most rows, by half of the visitors: machines
        ((500, 60), (1_000, 100), False),
        ((LEAST_ALARM_ROWS - 1, 60), (100, 60), False),  # too few to say anything
    ],
)
def test_a_person_is_asked_when_most_rows_of_most_visitors_are_bad(bad, total, expected):
    assert is_alarming(bad, total) is expected


def test_the_frame_given_is_left_as_it_was():
    given = frame([1.0], ["hat"])
    before = given.copy()
    with_checks(given)
    pd.testing.assert_frame_equal(given, before)


def test_an_empty_batch_has_the_columns():
    assert {"item_is_missing", "ahead_s", "price_ratio"} <= set(with_checks(frame([], [])).columns)


@pytest.mark.parametrize("name", [*SESSION_FEATURES, *USER_FEATURES, *ITEM_FEATURES])
def test_every_feature_has_a_range(name):
    low, high = feature_bounds(name)
    assert low <= 0 < high


def test_a_column_without_a_finite_value_has_the_range_zero():
    assert summary(np.array([np.nan, np.inf])) == (1, 1, 0.0, 0.0)
    assert summary(np.array([])) == (0, 0, 0.0, 0.0)
