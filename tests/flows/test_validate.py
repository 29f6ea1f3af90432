"""Validation: what is not believable is held back row by row, or stops the batch; nothing is lost."""

import numpy as np
import pandas as pd
import pytest

from flows import quarantine
from flows.validate import ValidationStopped, check_events, check_tables, validate
from models.events.encode import encode
from models.features import tables as feature_tables
from models.features.sessions import sessionize
from models.schema import EVENT_COLUMNS, MEASURES
from tests.stores import append_events, read_events

NOW_US = 1_790_000_000_000_000


def views(n, prices=10.0, prefix="e"):
    """`n` views of one item in one session, a second apart."""
    frame = pd.DataFrame({name: pd.Series([None] * n, dtype=object) for name in EVENT_COLUMNS})
    for name in MEASURES:
        frame[name] = np.nan
    return frame.assign(
        event_id=[f"{prefix}{i}" for i in range(n)],
        user_id="u",
        session_id="s",
        event_type="item_view",
        item_id="shoe",
        price=prices,
        occurred_at_us=NOW_US - 10_000_000_000 + np.arange(n) * 1_000_000,
        utc_offset_min=np.int16(60),
    )


def append(home, frame):
    append_events(home, frame, received_at_us=NOW_US)


def seqs(home):
    return read_events(home)["seq"].tolist()


def test_a_believable_batch_passes_once_and_is_not_looked_at_again(tmp_path):
    append(tmp_path, views(30))
    result = validate(tmp_path)
    assert (result.n_rows, result.n_failed, result.passed) == (30, 0, True)
    assert result.n_expectations > 20
    assert validate(tmp_path).n_rows == 0


def test_the_result_is_written_as_pages_and_as_one_page_that_needs_no_network(tmp_path):
    append(tmp_path, views(3))
    validate(tmp_path)
    assert (tmp_path / "data_docs/events/index.html").is_file()
    page = (tmp_path / "reports/validation.html").read_text()
    assert "price_in_range" in page
    assert "http" not in page


def test_a_few_bad_rows_are_held_back_by_the_names_of_what_they_failed(tmp_path):
    frame = views(40, prices=[10.0] * 39 + [5_000.0])
    frame.loc[3, "device"] = "fridge"
    append(tmp_path, frame)
    result = validate(tmp_path)
    assert (result.n_failed, result.n_quarantined) == (2, 2)
    assert result.failed_by == {"device_known": 1, "price_ratio_in_range": 1}
    assert {row["seq"]: row["reason"] for row in quarantine.list_rows(tmp_path)} == {
        4: "device_known",
        40: "price_ratio_in_range",
    }
    assert seqs(tmp_path) == [seq for seq in range(1, 41) if seq not in (4, 40)]


def test_each_rule_names_itself(tmp_path):
    bad = {
        "price": -1.0,
        "scroll_depth": 1.5,
        "event_type": "teleport",
        "item_id": None,
        "occurred_at_us": NOW_US + 100_000_000_000,
        "utc_offset_min": 2_000,
        "user_id": "x" * 300,
    }
    frame = views(200)
    for row, (column, value) in enumerate(bad.items()):
        frame.loc[row, column] = value
    append(tmp_path, frame)
    validate(tmp_path)
    assert {row["seq"]: row["reason"] for row in quarantine.list_rows(tmp_path)} == {
        1: "price_in_range",
        2: "scroll_depth_in_range",
        3: "event_type_known",
        4: "item_id_where_required",
        5: "ahead_s_in_range",
        6: "utc_offset_min_in_range",
        7: "user_id_length",
    }


def test_too_many_bad_rows_stop_the_batch_and_leave_the_log_as_it_was(tmp_path):
    append(tmp_path, views(20).assign(event_type=["teleport"] * 2 + ["item_view"] * 18))
    for _ in range(2):  # looking again changes nothing
        with pytest.raises(ValidationStopped, match="2 of 20 new events failed validation") as stopped:
            validate(tmp_path)
        assert "\n" not in str(stopped.value)
    assert len(seqs(tmp_path)) == 20
    assert quarantine.list_rows(tmp_path) == []
    assert validate(tmp_path, tolerance=0.1).n_quarantined == 2


def test_an_event_released_by_a_replay_is_looked_at_again(tmp_path):
    append(tmp_path, views(40, prices=[10.0] * 39 + [5_000.0]))
    assert validate(tmp_path).n_quarantined == 1
    quarantine.replay(tmp_path)
    assert seqs(tmp_path)[-1] == 40
    append(tmp_path, views(60, prices=5_000.0, prefix="dearer"))  # the price was right, the item had become dearer
    result = validate(tmp_path)
    assert (result.n_rows, result.n_failed) == (61, 0)
    assert validate(tmp_path).n_rows == 0


def test_the_task_is_the_function(tmp_path):
    append(tmp_path, views(3))
    assert check_events.fn(str(tmp_path)).n_rows == 3


def write_tables(folder, spoil=lambda tables: None):
    frame = sessionize(views(4).assign(partner="shop"))
    encoded = encode(frame)
    users, recent = feature_tables.of_users(frame, encoded.events, encoded.item_ids)
    tables = {
        "session_features": feature_tables.of_sessions(frame, encoded.events),
        "user_features": users,
        "user_recent_items": recent,
        "item_features": feature_tables.of_items(encoded.events, encoded.item_ids, NOW_US),
    }
    spoil(tables)
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)


def test_whole_feature_tables_pass(tmp_path):
    write_tables(tmp_path)
    assert all(one.n_failed == 0 for one in check_tables(tmp_path, tmp_path, NOW_US))


def _spoil_values(tables):
    tables["session_features"].loc[1, "mean_dwell_ms"] = np.nan
    tables["user_features"].loc[0, "user_n_events"] = np.inf
    tables["item_features"].loc[0, "item_popularity"] = -0.5
    tables["session_features"].loc[0, "hour_sin"] = 1.5


def test_spoilt_values_are_not_taken_into_use(tmp_path):
    write_tables(tmp_path, _spoil_values)
    with pytest.raises(ValidationStopped) as stopped:
        check_tables(tmp_path, tmp_path, NOW_US)
    for said in (
        "no_value_missing: session_features.mean_dwell_ms;",
        "all_values_finite: user_features.user_n_events;",
        "not_below_range: item_features.item_popularity;",
        "not_above_range: session_features.hour_sin;",
    ):
        assert said in str(stopped.value)


def _spoil_tables(tables):
    tables["user_features"] = pd.concat([tables["user_features"]] * 2)
    tables["item_features"] = tables["item_features"].head(0)


def test_repeated_keys_empty_tables_and_rows_of_the_future_are_not_taken_into_use(tmp_path):
    write_tables(tmp_path, _spoil_tables)
    with pytest.raises(ValidationStopped) as stopped:
        check_tables(tmp_path, tmp_path, NOW_US - 20_000_000_000)
    for said in (
        "key_and_instant_unique: user_features;",
        "table_not_empty: item_features;",
        "nothing_later_than_as_of: session_features, user_features, user_recent_items;",
    ):
        assert said in str(stopped.value)
