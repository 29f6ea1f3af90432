"""Adapters on literal rows: what each name becomes, and what is refused."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.events.identity import pseudonym
from models.events.sources import SOURCES, protect, source
from models.events.sources.frames import content_ids
from models.schema import EVENT_COLUMNS, EVENT_TYPES, SOURCE_FORMATS

NOW_US = 1_700_000_000_000_000
KEY = bytes(32)


def mapped(name, *told):
    adapter, rows = source(name), list(told)
    if adapter.flatten is not None:
        rows = list(zip(*adapter.flatten(rows).columns, strict=True))
    raw = pd.DataFrame(rows, columns=list(adapter.columns), dtype=object)
    return adapter.to_events(protect(adapter, raw, KEY), NOW_US)


def one(name, row):
    events, reasons = mapped(name, row)
    assert reasons.tolist() == [None]
    return {k: v for k, v in events.iloc[0].items() if v is not None and v == v}


def test_the_document_shows_every_mapping_table():
    text = (Path(__file__).parents[3] / "docs" / "sources.md").read_text()
    sections = dict(zip(re.findall(r"^## (\S+)$", text, re.M), re.split(r"^## \S+$", text, flags=re.M)[1:], strict=True))
    assert tuple(sections) == tuple(SOURCES) == SOURCE_FORMATS
    for name, adapter in SOURCES.items():
        rows = dict(re.findall(r"^\| ([^|]+?) \| ([a-z_]+) \|$", sections[name], re.M))
        assert name == "attune" or rows == dict(adapter.event_types)


@pytest.mark.parametrize("adapter", SOURCES.values(), ids=SOURCES)
def test_every_mapping_ends_in_our_vocabulary(adapter):
    assert set(adapter.event_types.values()) <= set(EVENT_TYPES)


@pytest.mark.parametrize("adapter", SOURCES.values(), ids=SOURCES)
def test_an_empty_chunk_gives_an_empty_event_frame(adapter):
    events, reasons = adapter.to_events(pd.DataFrame(columns=list(adapter.columns), dtype=object), NOW_US)
    assert tuple(events.columns) == EVENT_COLUMNS
    assert len(events) == len(reasons) == 0


def test_a_trivago_clickout_is_a_purchase_at_the_price_that_was_shown():
    row = ("u", "s", "1541551426", "1", "clickout item", "8", "DE", "Paris, France", "mobile", "", "7|8", "70|80")
    event = one("trivago", row)
    assert event["event_type"] == "purchase"
    assert (event["item_id"], event["price"], event["session_id"]) == ("8", 80.0, "s")
    assert (event["occurred_at_us"], event["device"], event["utc_offset_min"]) == (1541551426000000, "mobile", 60)
    assert event["user_id"] == pseudonym(KEY, "u")


def test_a_trivago_search_keeps_the_length_of_its_text_and_not_the_text():
    row = ("u", "s", "1541551426", "1", "search for destination", "Niagara Falls", "XX", "Paris, France", "tv", "", "", "")
    event = one("trivago", row)
    assert (event["event_type"], event["query_length"], event["device"]) == ("search", 13.0, "unknown")
    assert "item_id" not in event
    assert not any("Niagara" in str(v) or "Paris" in str(v) for v in event.values())


def test_a_trivago_item_action_without_an_item_is_refused():
    row = ("u", "s", "1541551426", "1", "interaction item info", "unknown", "UK", "", "desktop", "", "", "")
    assert mapped("trivago", row).reasons.tolist() == ["item_id: this event type needs an item_id"]


def test_rees46_falls_back_to_the_category_id():
    row = ("2019-10-01 00:00:01 UTC", "cart", "9", "205", "", "acme", "35.79", "u", "s-1")
    event = one("rees46", row)
    assert (event["event_type"], event["category"], event["price"]) == ("add_to_cart", "205", 35.79)
    assert event["occurred_at_us"] == 1_569_888_001_000_000


def test_retailrocket_times_are_milliseconds_and_sessions_are_left_open():
    event = one("retailrocket", ("1433221332117", "257597", "transaction", "355908", "1"))
    assert (event["event_type"], event["occurred_at_us"]) == ("purchase", 1433221332117000)
    assert "session_id" not in event


def test_taobao_hours_are_those_of_china():
    event = one("taobao", ("1", "22", "25", "fav", "1511544070"))
    assert (event["event_type"], event["utc_offset_min"], event["category"]) == ("wishlist_add", 480, "25")


def test_jdata_times_are_beijing_times():
    event = one("jdata", ("26.0", "13.0", "2016-01-31 08:00:00", "", "6", "8", "403"))
    assert (event["event_type"], event["item_id"]) == ("item_engagement", "13")
    assert event["occurred_at_us"] == 1_454_198_400_000_000
    assert event["user_id"] == pseudonym(KEY, "26")


def test_an_otto_line_is_a_visitor_with_many_events():
    line = {"session": 7, "events": [{"aid": 1, "ts": 1659304800025, "type": "clicks"}, {"aid": 2, "ts": 5, "type": "orders"}]}
    events, reasons = mapped("otto", line)
    assert events["event_type"].tolist() == ["item_view", "purchase"]
    assert set(events["user_id"]) == {pseudonym(KEY, "7")}
    assert reasons.tolist() == [None, None]


@pytest.mark.parametrize("line", [{}, {"session": 7}, {"session": 7, "events": 3}, {"session": 7, "events": [4]}])
def test_an_otto_line_without_events_is_refused_not_dropped(line):
    assert mapped("otto", line).reasons.tolist()[0] is not None


GA4 = {
    "event_name": "purchase",
    "event_timestamp": "1605000000000000",
    "user_pseudo_id": "u",
    "event_params": [
        {"key": "ga_session_id", "value": {"int_value": 5}},
        {"key": "search_term", "value": {"string_value": "abc"}},
    ],
    "items": [{"item_id": "a", "price": 5.5}, {"item_id": "b", "item_category": "shoes"}],
    "device": {"category": "mobile", "time_zone_offset_seconds": 7200},
    "traffic_source": {"medium": "organic"},
}


def test_a_ga4_purchase_is_one_event_per_item():
    events, reasons = mapped("ga4", GA4)
    assert reasons.tolist() == [None, None]
    assert events["item_id"].tolist() == ["a", "b"]
    assert events["event_id"].nunique() == 2
    first = events.iloc[0]
    assert (first["session_id"], first["price"], first["device"], first["referrer"]) == ("5", 5.5, "mobile", "search")
    assert (first["utc_offset_min"], first["query_length"]) == (120, 3.0)


def test_a_ga4_list_view_is_one_event_without_an_item():
    events, _ = mapped("ga4", GA4 | {"event_name": "view_item_list"})
    assert events[["event_type", "item_id"]].to_numpy().tolist() == [["category_browse", None]]


def test_ga4_housekeeping_is_refused_by_name():
    assert mapped("ga4", GA4 | {"event_name": "session_start"}).reasons[0].startswith("event_name: must be one of view_item, ")


def test_ga4_parameters_may_be_a_plain_object():
    assert one("ga4", GA4 | {"event_name": "search", "event_params": {"search_term": "ab"}})["query_length"] == 2.0


EVENT = {"event_id": "e", "user_id": "u", "session_id": "s", "type": "search", "ts": "2023-11-01T00:00:00Z", "query_length": 3}


def test_our_own_form_reads_its_context():
    event = one("attune", EVENT | {"context": {"device": "mobile", "referrer": "fax", "timezone": "Europe/Berlin"}})
    assert (event["event_id"], event["event_type"], event["query_length"]) == ("e", "search", 3.0)
    assert (event["device"], event["referrer"], event["utc_offset_min"]) == ("mobile", "unknown", 60)


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"type": "dance"}, "type"),
        ({"type": 3}, "type"),
        ({"type": "purchase"}, "item_id"),
        ({"ts": "yesterday"}, "ts"),
        ({"ts": "2023-11-01T00:00:00"}, "ts"),
        ({"ts": 5}, "ts"),
        ({"ts": "1969-11-01T00:00:00Z"}, "occurred_at_us"),
        ({"ts": "2999-11-01T00:00:00Z"}, "occurred_at_us"),
        ({"price": -1}, "price"),
        ({"price": "cheap"}, "price"),
        ({"price": True}, "price"),
        ({"price": 10**400}, "price"),
        ({"item_id": True}, "item_id"),
        ({"item_id": ["x"]}, "item_id"),
        ({"item_id": "x" * 257}, "item_id"),
        ({"user_id": "x" * 257}, "user_id"),
        ({"user_id": {"a": 1}}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": None}, "user_id"),
        ({"event_id": None}, "event_id"),
        ({"event_id": ""}, "event_id"),
    ],
)
def test_our_own_form_refuses_what_the_door_refuses(change, column):
    reason = mapped("attune", EVENT | change, EVENT).reasons.tolist()
    names = {"type": "(type|event_type)"}
    assert re.match(names.get(column, column) + ": ", reason[0])
    assert reason[1] is None


def test_a_file_of_our_own_form_may_have_numbers_for_ids_and_texts_for_numbers():
    found = mapped("attune", EVENT | {"user_id": 7, "item_id": 9.0, "session_id": 5, "price": "12.50", "quantity": "2"})
    assert found.reasons.tolist() == [None]
    assert found.events.loc[0, ["item_id", "session_id", "price", "quantity"]].tolist() == ["9", "5", 12.5, 2.0]


def test_a_batch_or_a_session_in_a_line_is_its_events():
    said = {
        "session_id": "s",
        "user_id": "u",
        "context": {"device": "mobile"},
        "events": [EVENT, {**EVENT, "event_id": "e2"}, 7],
    }
    found = mapped("attune", said)
    assert found.reasons.tolist() == [None, None]
    assert found.events["device"].tolist() == ["mobile", "mobile"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"price": "-1"}, "price: price must be a number from 0"),
        ({"price": "dear"}, "price: must be a number"),
        ({"price": "inf"}, "price: price must be a number from 0"),
        ({"event_time": "2999-01-01 00:00:00 UTC"}, "event_time: must be a time"),
        ({"event_time": "2200-01-01 00:00:00 UTC"}, "occurred_at_us: ts must not be more than 24 hours"),
        ({"event_time": "1960-01-01 00:00:00 UTC"}, "occurred_at_us: ts must not be before 1970"),
        ({"event_time": ""}, "event_time: must be a time"),
        ({"event_type": "steal"}, "event_type: must be one of view"),
        ({"user_id": ""}, "user_id: user_id is required"),
        ({"user_id": "u" * 257}, "user_id: user_id must be a text of 1 to 256"),
        ({"product_id": ""}, "item_id: "),
        ({"product_id": "9" * 257}, "item_id: "),
    ],
)
def test_a_table_refuses_one_row_and_keeps_its_neighbour(change, says):
    names = SOURCES["rees46"].columns
    row = dict(zip(names, ("2019-10-01 00:00:01 UTC", "cart", "9", "205", "", "acme", "35.79", "u", "s-1"), strict=True))
    reasons = mapped("rees46", tuple((row | change).values()), tuple(row.values())).reasons
    assert reasons[0].startswith(says)
    assert reasons[1] is None


@pytest.mark.parametrize("at", ["-5", "99999999999999999999", "soon", "", "nan", "1e300", "4102444800"])
def test_an_impossible_unix_time_is_refused(at):
    assert mapped("taobao", ("1", "2", "3", "pv", at)).reasons[0] is not None


def test_protecting_twice_masks_no_more_and_writes_into_nothing():
    adapter = SOURCES["trivago"]
    row = ("u", "s", "1", "1", "search for poi", "Eiffel", "FR", "Paris", "mobile", "", "", "")
    raw = pd.DataFrame([row], columns=list(adapter.columns))
    before = raw.copy()
    protected = protect(adapter, raw, KEY)
    pd.testing.assert_frame_equal(raw, before)
    assert adapter.mask is not None
    pd.testing.assert_frame_equal(adapter.mask(protected), protected)


def test_an_unknown_format_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown format 'csv': use one of attune, trivago"):
        source("csv")


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), min_size=1, max_size=8))
def test_rows_have_one_id_exactly_when_they_are_equal(rows):
    rows = [tuple(text.replace("\x1f", "") for text in row) for row in rows]
    ids = content_ids("s", pd.DataFrame(rows, columns=["a", "b"]))
    assert np.unique(ids.astype(str)).size == len(set(rows))
