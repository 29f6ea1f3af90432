"""Cells as other tools write them: integers as floats, words for nothing, times with an offset or in another unit."""

import numpy as np
import pandas as pd
import pytest

from models.events.foreign import own_events
from models.events.identity import pseudonym
from models.events.plain import plain
from models.events.sources import SOURCES, former_ids, protect
from models.events.sources.attune import flatten
from models.events.sources.frames import content_ids

NOW_US = 1_800_000_000_000_000
KEY = bytes(32)
ROWS = {
    "rees46": ("2019-10-01 00:00:01 UTC", "view", "9", "205", "", "acme", "35.79", "7", "s-1"),
    "jdata": ("7", "9", "2016-02-01 08:00:00", "", "1", "8", "403"),
    "retailrocket": ("1433221332117", "7", "view", "9", ""),
    "taobao": ("7", "9", "8", "pv", "1511544070"),
    "trivago": ("7", "s", "1541551426", "1", "interaction item info", "9", "DE", "Paris", "mobile", "", "", ""),
}
ITEM = {"rees46": "product_id", "jdata": "sku_id", "retailrocket": "itemid", "taobao": "item_id", "trivago": "reference"}
TIME = {"rees46": "event_time", "jdata": "time", "retailrocket": "timestamp", "taobao": "timestamp", "trivago": "timestamp"}


def chunk(name, **cells):
    row = dict(zip(SOURCES[name].columns, ROWS[name], strict=True)) | cells
    return pd.DataFrame([row], dtype=object)


def read(name, **cells):
    raw = protect(SOURCES[name], chunk(name, **cells), KEY)
    events, reasons = SOURCES[name].to_events(raw, NOW_US)
    return events.iloc[0], reasons[0]


@pytest.mark.parametrize(
    ("written", "integer"),
    [
        *(
            ("512301.0", "512301"),
            ("512301.00", "512301"),
            ("1.0E+07", "10000000"),
            ("1e+07", "10000000"),
            ("5.12e8", "512000000"),
        ),
        *(
            ("1.00317E+12", "1003170000000"),
            ("1.E+3", "1000"),
            ("-1.0", "-1"),
            ("0.0", "0"),
            (" 7 ", "7"),
            ("9" * 30 + ".0", "9" * 30),
        ),
    ],
)
@pytest.mark.parametrize("name", ROWS)
def test_an_id_that_was_written_as_a_float_is_the_integer(name, written, integer):
    event, reason = read(name, **{SOURCES[name].user: written, ITEM[name]: written})
    assert reason is None or name == "trivago"  # whose items are never negative
    assert event["user_id"] == pseudonym(KEY, integer)
    assert event["item_id"] == integer or integer.startswith("-")


@pytest.mark.parametrize(
    "text", ["12E3", "1.25", "1e5", "A1.0", "1.0.0", "1.5E+0", "0x10", "007", "1_000.0", "1e+999", "null-1"]
)
def test_an_id_that_only_looks_like_a_number_stays(text):
    assert plain(text) == text


@pytest.mark.parametrize(
    "word",
    ["(not set)", "undefined", "null", "NULL", "nan", "NaN", "None", "N/A", "n/a", "NA", "", "  ", "<NA>", "#N/A", "(null)",
     "\\N", "[object Object]", "00000000-0000-0000-0000-000000000000"],
)  # fmt: skip
@pytest.mark.parametrize("name", ROWS)
def test_a_word_for_nothing_is_no_user_and_no_item(name, word):
    assert read(name, **{SOURCES[name].user: word})[1] == "user_id: user_id is required"
    assert read(name, **{ITEM[name]: word})[1] == "item_id: this event type needs an item_id"


def test_a_word_for_nothing_is_no_category_no_session_and_no_price():
    event, reason = read("rees46", category_code="(not set)", category_id="null", user_session="undefined", price="N/A")
    assert reason is None
    assert event[["category", "session_id"]].tolist() == [None, None]
    assert np.isnan(event["price"])


def test_codes_of_actions_may_be_floats_too():
    assert read("jdata", type="4.0", cate="8.0")[0][["event_type", "category"]].tolist() == ["purchase", "8"]


@pytest.mark.parametrize(
    ("name", "written", "hour"),
    [
        ("jdata", "2016-02-01 08:00:00", 0),
        ("jdata", "2016-02-01T08:00:00+08:00", 0),
        ("jdata", "2016-02-01T00:00:00Z", 0),
        ("jdata", "2016-02-01 00:00:00 UTC", 0),
        ("jdata", "2016-02-01 00:00:00 GMT", 0),
        ("jdata", "2016-02-01 03:00:00 +0300", 0),
        ("jdata", "2016-02-01 08:00:00.250", 0),
        ("jdata", "2016-02-01 00:00:00.5+00", 0),
        ("jdata", "2016-02-01T05:30+05:30", 0),
        ("jdata", "2016-02-01", -8),
        ("rees46", "2016-02-01 00:00:00 UTC", 0),
        ("rees46", "2016-02-01T03:00:00.000+03:00", 0),
        ("rees46", "2016-02-01 00:00:00.000000+00", 0),
        ("rees46", "2016-01-31T19:00:00-05:00", 0),
        ("rees46", "2016-02-01 01:00:00 Europe/Berlin", 0),
        ("rees46", "2016-02-01T01:00:00+01:00[Europe/Berlin]", 0),
        ("jdata", "2016-01-31 19:00:00 EST", 0),
    ],
)
def test_a_written_offset_wins_over_the_zone_of_a_source(name, written, hour):
    event, reason = read(name, **{TIME[name]: written})
    assert reason is None
    assert event["occurred_at_us"] // 1_000_000 == 1_454_284_800 + hour * 3600


@pytest.mark.parametrize(
    ("name", "written", "says"),
    [
        ("retailrocket", "1433221332", "looks like seconds; milliseconds"),
        ("retailrocket", "1433221332117000", "looks like microseconds; milliseconds"),
        ("retailrocket", "1433221332117000000", "looks like nanoseconds; milliseconds"),
        ("taobao", "1511544070000", "looks like milliseconds; seconds"),
        ("taobao", "1511544070000000", "looks like microseconds; seconds"),
        ("taobao", "43739.5", "looks like days of a spreadsheet; seconds"),
        ("trivago", "1541551426000", "looks like milliseconds; seconds"),
        ("rees46", "43739.0000115741", "a spreadsheet's number of days"),
        ("rees46", "1569888001", "numbers need a map"),
        ("rees46", "1569888001000", "numbers need a map"),
        ("rees46", "01/10/2019 00:00", "must be a time such as"),
        ("rees46", "2019-10-27 02:30:00 Mars/Olympus", "must be a time such as"),
        ("rees46", "00:01", "must be a time such as"),
        ("jdata", "null", "must be a time such as"),
    ],
)
def test_a_time_in_another_form_is_refused_and_its_form_is_named(name, written, says):
    reason = read(name, **{TIME[name]: written})[1]
    assert reason.startswith(f"{TIME[name]}: ")
    assert says in reason
    assert written not in reason


@pytest.mark.parametrize("written", ["2015-06-02 05:02:12.117", "2015-06-02T05:02:12.117Z", "2015-06-02 08:02:12.117+03:00"])
def test_a_clock_where_a_unix_time_is_due_is_the_same_event(written):
    event, reason = read("retailrocket", timestamp=written)
    assert reason is None
    assert (event["occurred_at_us"], event["event_id"]) == (1433221332117000, read("retailrocket")[0]["event_id"])


@pytest.mark.parametrize("name", ROWS)
def test_the_id_that_an_earlier_version_gave_a_row_is_known(name):
    user = SOURCES[name].user
    raw = chunk(name, **{user: "7.0"})
    earlier = raw.assign(**{user: pseudonym(KEY, "7.0")})
    mask = SOURCES[name].mask
    assert former_ids(SOURCES[name], raw, KEY).tolist() == content_ids(name, mask(earlier) if mask else earlier).tolist()
    assert former_ids(SOURCES[name], chunk(name), KEY).tolist() == [None]


# ---- GA4 -----------------------------------------------------------------------------------------------------------------

PAGE = {"event_name": "page_view", "event_timestamp": "1795000000000000", "user_pseudo_id": "9.9", "event_params": []}
CART = PAGE | {"event_name": "add_to_cart", "items": [{"item_id": "hat"}]}


def ga4(*documents):
    source = SOURCES["ga4"]
    assert source.flatten is not None
    columns = source.flatten(list(documents)).columns
    raw = pd.DataFrame(dict(zip(source.columns, columns, strict=True)), dtype=object)
    return raw, source.to_events(protect(source, raw, KEY), NOW_US)


def text(key, value):
    return {"event_params": [{"key": key, "value": {"string_value": value}}]}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (PAGE | {"batch_event_index": "1"}, PAGE | {"batch_event_index": "2"}),
        (PAGE | {"batch_page_id": 1}, PAGE | {"batch_page_id": 2}),
        (PAGE | {"batch_ordering_id": 1}, PAGE | {"batch_ordering_id": 2}),
        (PAGE | {"event_bundle_sequence_id": -5}, PAGE | {"event_bundle_sequence_id": 6}),
        (PAGE | text("page_location", "https://shop.example/a"), PAGE | text("page_location", "https://shop.example/b")),
        (PAGE | text("page_title", "a"), PAGE | text("page_title", "b")),
        (CART, CART | {"items": [{"item_id": "hat", "item_variant": "red"}]}),
        (CART, CART | {"items": [{"item_id": "hat", "quantity": 2}]}),
        (CART | {"event_name": "purchase", "ecommerce": {"transaction_id": "1"}},
         CART | {"event_name": "purchase", "ecommerce": {"transaction_id": "2"}}),
    ],
)  # fmt: skip
def test_events_of_one_instant_that_differ_in_what_they_say_are_two(one, other):
    _, (events, reasons) = ga4(one, other)
    assert reasons.tolist() == [None, None]
    assert events["event_id"].nunique() == 2


@pytest.mark.parametrize(
    "again",
    [
        PAGE | {"user_ltv": {"revenue": 3}, "is_active_user": True},
        PAGE | {"event_timestamp": 1795000000000000, "items": []},
        PAGE | {"event_params": {}, "batch_event_index": None},
        {name: PAGE[name] for name in reversed(PAGE)},
    ],
)
def test_the_same_ga4_event_told_in_another_way_is_one(again):
    _, (events, _) = ga4(PAGE, again)
    assert events["event_id"][0] == events["event_id"][1]


def test_no_page_that_tells_ga4_events_apart_can_be_guessed_from_what_is_kept():
    raw, _ = ga4(PAGE | text("page_location", "https://shop.example/?q=shoes"))
    kept = protect(SOURCES["ga4"], raw, KEY)["digest"][0]
    assert kept != raw["digest"][0]
    assert kept != protect(SOURCES["ga4"], raw, b"\x01" * 32)["digest"][0]


@pytest.mark.parametrize(
    ("term", "length"),
    [({"int_value": 2024}, 4.0), ({"string_value": "hats"}, 4.0), ({"double_value": 3.5}, 3.0), ({"int_value": "2024"}, 4.0)],
)
def test_a_search_for_a_number_has_the_length_of_its_digits(term, length):
    _, (events, _) = ga4(PAGE | {"event_name": "search", "event_params": [{"key": "search_term", "value": term}]})
    assert events["query_length"].tolist() == [length]


@pytest.mark.parametrize(
    "item", [{"item_id": "(not set)", "item_name": "Wool hat"}, {"item_id": None}, {"item_id": "undefined"}, {}]
)
def test_a_ga4_item_without_an_id_is_none(item):
    _, (_, reasons) = ga4(CART | {"items": [item]})
    assert reasons.tolist() == ["item_id: this event type needs an item_id"]


def test_milliseconds_where_ga4_has_microseconds_are_named():
    _, (_, reasons) = ga4(PAGE | {"event_timestamp": 1795000000000})
    assert "looks like milliseconds; microseconds" in reasons[0]


# ---- the door's vocabularies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "user"),
    [
        ({"userId": "", "anonymousId": "a"}, "a"),
        ({"userId": None, "anonymousId": "a"}, "a"),
        ({"userId": "undefined", "anonymousId": "a"}, "a"),
        ({"userId": 90817}, "90817"),
        ({"userId": 90817.0}, "90817"),
        ({"userId": "null", "anonymousId": "(not set)"}, None),
        ({"distinct_id": "d"}, "d"),
    ],
)
def test_a_foreign_user_is_the_first_id_that_is_one(sent, user):
    assert own_events({"type": "track", "event": "Product Viewed", **sent})[0].get("user_id") == user


@pytest.mark.parametrize(
    ("properties", "ours"),
    [
        ({"product_id": 7654321, "price": "12.50", "quantity": "2"}, {"item_id": "7654321", "price": 12.5, "quantity": 2.0}),
        ({"product_id": "a", "price": ""}, {"item_id": "a"}),
        ({"product_id": "undefined", "sku": "s"}, {"item_id": "s"}),
        ({"product_id": "a", "price": "cheap"}, {"item_id": "a", "price": "cheap"}),
        ({"product_id": "a", "price": "1e3", "category": 5}, {"item_id": "a", "price": 1000.0, "category": "5"}),
        ({"products": [{"product_id": 1, "price": "2"}]}, {"item_id": "1", "price": 2.0}),
        ({"product_id": True}, {"item_id": True}),
    ],
)
def test_foreign_values_come_as_their_tools_write_them(properties, ours):
    found = own_events({"type": "track", "event": "Product Viewed", "properties": properties})
    assert found == [{"type": "item_view"} | ours]


def test_an_order_of_120_products_is_120_events():
    order = {
        "type": "track",
        "event": "Order Completed",
        "messageId": "m",
        "properties": {"products": [{"id": i} for i in range(120)]},
    }
    found = own_events(order)
    assert [event["item_id"] for event in found] == [str(i) for i in range(120)]
    assert len({event["event_id"] for event in found}) == 120


@pytest.mark.parametrize("at", [1_795_000_000, 1_795_000_000_000, 1_795_000_000_000_000])
def test_a_foreign_unix_time_is_read_in_the_unit_in_which_it_can_be(at):
    (event,) = own_events({"type": "track", "event": "Product Viewed", "timestamp": at})
    assert event["ts"].startswith("2026-11-18T")


@pytest.mark.parametrize("name", ["user_id", "session_id", "item_id", "category"])
def test_a_word_for_nothing_in_our_own_form_is_nothing_at_the_door_and_in_files(name):
    event = {"type": "search", "event_id": "e", name: "undefined"}
    assert name not in own_events(event)[0]
    flat = flatten([event])
    assert flat.columns[SOURCES["attune"].columns.index(name)] == [None]
