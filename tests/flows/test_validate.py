"""Validation: what is not believable is held back by name, and the rest goes on; a person is asked when most of it fails."""

import re

import numpy as np
import pandas as pd
import pytest

from flows import decide, quarantine
from flows.check import Fault, check_tables
from flows.decide import Choice
from flows.expect import ValidationStopped
from flows.validate import check_events, validate
from models.events.encode import encode
from models.features import tables as feature_tables
from models.features.items import new_carry
from models.features.sessions import sessionize
from models.schema import EVENT_COLUMNS, MEASURES
from tests.stores import append_events, append_from_browsers, numbers, read_events

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
    """Places in the log of the events that count, from 1."""
    places = {seq: place for place, seq in enumerate(numbers(home), 1)}
    return [places[seq] for seq in read_events(home)["seq"]]


def reasons(home):
    """Why events are held back, by their place in the log."""
    places = {seq: place for place, seq in enumerate(numbers(home), 1)}
    return {places[row["seq"]]: row["reason"] for row in quarantine.list_rows(home)}


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
    for page in [*tmp_path.rglob("data_docs/**/*.html"), *tmp_path.rglob("data_docs/**/*.css")]:
        assert not re.search(
            r"""(<(script|img)\b[^>]*src|<link\b[^>]*href)=["']https?:|@import[^;]*https?:""", page.read_text()
        )
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
    assert reasons(tmp_path) == {
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
    assert reasons(tmp_path) == {
        1: "price_in_range",
        2: "scroll_depth_in_range",
        3: "event_type_known",
        4: "item_id_where_required",
        5: "ahead_s_in_range",
        6: "utc_offset_min_in_range",
        7: "user_id_length",
    }


def names(home):
    """Rows and visitors held back, by reason."""
    return {one["reason"]: (one["n_rows"], one["n_visitors"]) for one in decide.sums(home)}


def test_many_bad_rows_of_one_visitor_stop_nothing(tmp_path):
    """33 odd prices among 538 events are more than one in twenty."""
    append(tmp_path, views(538, prices=[10.0] * 505 + [5_000.0] * 33))
    result = validate(tmp_path)
    assert (result.n_rows, result.n_quarantined, result.n_visitors_held) == (538, 33, 1)
    assert names(tmp_path) == {"price_ratio_in_range": (33, 1)}
    assert len(seqs(tmp_path)) == 505


def test_a_machine_is_held_back_as_a_whole_and_named_whatever_its_share(tmp_path):
    append(tmp_path, views(20).assign(user_id=[f"u{i % 5}" for i in range(20)]))
    append(tmp_path, views(10_001, prefix="bot").assign(user_id="bot"))
    append(tmp_path, views(3, prefix="more").assign(user_id="bot", session_id="another"))
    append(tmp_path, views(10_002, prefix="busy").assign(user_id="busy", session_id=["a", "b"] * 5_001))
    result = validate(tmp_path)
    assert (result.n_rows, result.n_quarantined, result.n_visitors_held) == (20_026, 10_004, 1)
    (one,) = decide.sums(tmp_path)
    assert (one["reason"], one["visitor"], one["n_rows"]) == ("session_events_in_range", "bot", 10_004)
    assert set(read_events(tmp_path)["user_id"]) == {"busy", *(f"u{i}" for i in range(5))}


def test_without_a_session_id_a_machine_is_known_by_its_day(tmp_path):
    append(tmp_path, views(10_001).assign(session_id=None, user_id="bot"))
    append(tmp_path, views(10_001, prefix="slow").assign(
        session_id=None, user_id="slow", occurred_at_us=NOW_US - np.arange(10_001) * 100_000_000,
    ))  # fmt: skip
    validate(tmp_path)
    assert set(read_events(tmp_path)["user_id"]) == {"slow"}


def test_a_machine_that_begins_a_session_with_each_click_is_known_by_its_day(tmp_path):
    append(tmp_path, views(10_001, prefix="bot").assign(user_id="bot", session_id=[f"s{i}" for i in range(10_001)]))
    shared = [f"g{i // 3}" for i in range(10_002)]  # an id that all guests of a shop share, whose sessions are sessions
    append(tmp_path, views(10_002, prefix="guest").assign(user_id="guest", session_id=shared))
    validate(tmp_path)
    assert set(read_events(tmp_path)["user_id"]) == {"guest"}


def broken(n=200, n_good=50):
    """A batch in which something upstream has changed: most rows of most visitors are bad."""
    frame = views(n + n_good)
    return frame.assign(
        user_id=[f"u{i // 10}" for i in range(n + n_good)],
        event_type=["teleport"] * n + ["item_view"] * n_good,
    )


def test_when_most_of_it_is_bad_a_person_is_asked_until_one_has_decided(tmp_path):
    append(tmp_path, broken())
    for _ in range(2):  # looking again changes nothing
        with pytest.raises(ValidationStopped, match="200 of 250 new events failed validation") as stopped:
            validate(tmp_path)
        assert "\n" not in str(stopped.value)
        assert "attune quarantine drop" in str(stopped.value)
        assert names(tmp_path) == {"event_type_known": (200, 20)}  # held back all the same
    append(tmp_path, views(3, prefix="more"))
    assert decide.drop(tmp_path, Choice(everything=True), "the app was broken") == 200
    assert validate(tmp_path).n_rows == 53
    assert names(tmp_path) == {}
    assert len(seqs(tmp_path)) == 53


def test_what_a_person_accepts_passes_this_and_every_later_validation(tmp_path):
    append(tmp_path, broken().assign(event_type="item_view", device=["fridge"] * 200 + ["mobile"] * 50))
    with pytest.raises(ValidationStopped):
        validate(tmp_path)
    assert decide.accept(tmp_path, Choice(named="device_known"), "we sell fridges with screens") == 200
    result = validate(tmp_path)
    assert (result.n_rows, result.n_failed) == (250, 0)
    assert len(seqs(tmp_path)) == 250
    with pytest.raises(ValueError, match="no such row waits"):
        decide.drop(tmp_path, Choice(everything=True), "")


def test_strangers_cannot_stop_a_batch(tmp_path):
    append_from_browsers(tmp_path, broken(), received_at_us=NOW_US)
    assert validate(tmp_path).n_quarantined == 200
    assert len(seqs(tmp_path)) == 50


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
        "item_features": feature_tables.items_from(new_carry(), encoded.events, encoded.item_ids, NOW_US)[1],
    }
    spoil(tables)
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    return {name: [folder / f"{name}.parquet"] for name in tables}


def test_whole_feature_tables_pass(tmp_path):
    assert check_tables(tmp_path, write_tables(tmp_path), NOW_US) == []


def test_new_parts_are_checked_beside_those_that_stand(tmp_path):
    (tmp_path / "more").mkdir()
    files = write_tables(tmp_path)
    new = write_tables(tmp_path / "more", lambda tables: tables.update(
        {name: table.assign(occurred_at=table["occurred_at"] + pd.Timedelta(1, "h")) for name, table in tables.items()}
    ))  # fmt: skip
    assert check_tables(tmp_path, new, 2 * NOW_US, files) == []
    again = {name: parts for name, parts in files.items() if name == "user_features"}
    assert [(one.check, one.view, one.first_us) for one in check_tables(tmp_path, again, 2 * NOW_US, files)] == [
        ("key_and_instant_unique", "user_features", {"u": AT_US})
    ]


def _spoil_values(tables):
    tables["session_features"].loc[1, "mean_dwell_ms"] = np.nan
    tables["user_features"].loc[0, "user_n_events"] = np.inf
    tables["item_features"].loc[0, "item_popularity"] = -0.5
    tables["session_features"].loc[0, "hour_sin"] = 1.5


AT_US = NOW_US - 10_000_000_000  # of the first of the views
HOUR_US = 3_600_000_000


def test_spoilt_values_are_named_by_key_and_first_instant(tmp_path):
    assert sorted(check_tables(tmp_path, write_tables(tmp_path, _spoil_values), NOW_US)) == [
        Fault("all_values_finite", "user_features", "user_n_events", {"u": AT_US}),
        Fault("no_value_missing", "session_features", "mean_dwell_ms", {"shop/u/s": AT_US + 1_000_000}),
        Fault("not_above_range", "session_features", "hour_sin", {"shop/u/s": AT_US}),
        Fault("not_below_range", "item_features", "item_popularity", {"shoe": (AT_US // HOUR_US + 1) * HOUR_US}),
    ]


def _spoil_tables(tables):
    tables["user_features"] = pd.concat([tables["user_features"]] * 2)
    tables["item_features"] = tables["item_features"].head(0)


def test_repeated_keys_empty_tables_and_rows_of_the_future_are_named(tmp_path):
    files = write_tables(tmp_path, _spoil_tables)
    found = {(one.check, one.view): one.first_us for one in check_tables(tmp_path, files, AT_US + 1_500_000)}
    future = ("session_features", {"shop/u/s": AT_US + 2_000_000}), ("user_features", {"u": AT_US + 2_000_000})
    assert found == {
        ("key_and_instant_unique", "user_features"): {"u": AT_US},
        ("table_not_empty", "item_features"): {},
        **{("nothing_later_than_as_of", view): keys for view, keys in future},
        ("nothing_later_than_as_of", "user_recent_items"): {"u": AT_US + 3_000_000},
    }
