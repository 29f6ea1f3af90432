"""The point-in-time join: the latest row at or before the instant, no row lost, linear in long sessions."""

import numpy as np
import pandas as pd
import pytest
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Float32, String

from feature_repo.store import open_store


def at(*seconds):
    return pd.to_datetime(np.array(seconds) * 1_000_000, unit="us", utc=True).as_unit("us")


@pytest.fixture
def store(tmp_path):
    opened = open_store(tmp_path)
    rows = {"key": ["a", "a", "b"], "occurred_at": at(10, 20, 15), "value": np.array([1, 2, 3], dtype=np.float32)}
    path = tmp_path / "rows.parquet"
    pd.DataFrame(rows).to_parquet(path, index=False)
    key = Entity(name="key", join_keys=["key"], value_type=ValueType.STRING)
    schema = [Field(name="key", dtype=String), Field(name="value", dtype=Float32)]
    source = FileSource(name="rows", path=str(path), timestamp_field="occurred_at")
    fading = [Field(name="key", dtype=String), Field(name="fading", dtype=Float32)]
    pd.DataFrame(rows).rename(columns={"value": "fading"}).to_parquet(tmp_path / "fading.parquet", index=False)
    faded = FileSource(name="fading_rows", path=str(tmp_path / "fading.parquet"), timestamp_field="occurred_at")
    always = FeatureView(name="always", entities=[key], ttl=pd.Timedelta(0), schema=schema, source=source)
    five_s = FeatureView(name="five_s", entities=[key], ttl=pd.Timedelta(5, "s"), schema=fading, source=faded)
    opened.apply([key, always, five_s])
    return opened


def joined(store, keys, seconds, *features):
    rows = pd.DataFrame({"row_id": range(len(keys)), "key": keys, "event_timestamp": at(*seconds)})
    return store.get_historical_features(rows, features=list(features)).to_df().sort_values("row_id")


def test_each_row_gets_the_last_value_at_or_before_its_instant(store):
    found = joined(store, ["a"] * 5 + ["b", "nobody"], [9, 10, 19, 20, 99, 16, 99], "always:value")
    np.testing.assert_array_equal(found["value"], [np.nan, 1, 1, 2, 2, 3, np.nan])


def test_a_value_older_than_the_views_lifetime_is_null_and_its_row_stays(store):
    found = joined(store, ["a"] * 4, [15, 16, 25, 26], "always:value", "five_s:fading")
    np.testing.assert_array_equal(found["value"], [1, 1, 2, 2])
    np.testing.assert_array_equal(found["fading"], [1, np.nan, 2, np.nan])


def test_rows_without_a_key_and_equal_rows_are_all_kept(store):
    found = joined(store, ["a", "a", None], [20, 20, 20], "always:value")
    np.testing.assert_array_equal(found["value"], [2, 2, np.nan])


def test_a_session_of_twenty_thousand_events_is_joined_at_each_of_them(store, tmp_path):
    n = 20_000  # by pairs these were 200 million
    rows = {"key": "long", "occurred_at": at(*range(n)), "value": np.arange(n, dtype=np.float32)}
    pd.DataFrame(rows).to_parquet(tmp_path / "rows.parquet", index=False)
    found = joined(store, ["long"] * n, range(n), "always:value")
    np.testing.assert_array_equal(found["value"], np.arange(n))
