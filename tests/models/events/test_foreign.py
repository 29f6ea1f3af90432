"""Other people's events read as ours, and what is kept of the rejected ones."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.events.foreign import own_events
from models.events.names import NAMES, RETAIL, SEGMENT
from models.events.public_form import CONTEXT, FIELDS
from models.events.rejected import kept_form, lateness_problem
from models.schema import EVENT_TYPES, LATE_S

KEY = bytes(32)
NAMED = st.sampled_from([*NAMES, *EVENT_TYPES, "track", "unheard of"])
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
WORDS = ("type", "event", "name", "event_id", "user_id", "userId", "ts", "timestamp_micros", "item_id", "items", "products",
         "properties", "params", "productDetails", "pageCategories", "query", "search_term", "context", "price")  # fmt: skip
EVENTS = st.dictionaries(st.sampled_from(WORDS), JSON | NAMED, max_size=8)


@pytest.mark.parametrize(("name", "table"), [("Segment", SEGMENT), ("Google Retail", RETAIL)])
def test_the_document_shows_every_name(name: str, table: dict[str, str]) -> None:
    text = (Path(__file__).parents[3] / "docs" / "events.md").read_text()
    section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    assert dict(re.findall(r"^\| ([^|]+?) \| ([a-z_]+) \|$", section, re.M)) == table


def test_every_name_means_one_of_our_types() -> None:
    assert set(NAMES.values()) <= set(EVENT_TYPES)


@given(EVENTS)
def test_any_object_is_read_without_complaint_and_without_its_query(event: dict[str, Any]) -> None:
    before = json.dumps(event)
    found = own_events(event)
    assert json.dumps(event) == before
    assert found
    assert all(not {"query", "search_term", "searchQuery"} & set(own) for own in found if own.get("type") in EVENT_TYPES)


@given(st.sampled_from(EVENT_TYPES), st.dictionaries(st.sampled_from(["event_id", "note", "price", "items"]), JSON))
def test_an_event_in_our_own_words_stays_as_it_is(kind: str, more: dict[str, Any]) -> None:
    assert own_events({"type": kind} | more) == [{"type": kind} | more]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"name": "search", "params": {"search_term": "red shoes"}}, {"type": "search", "query_length": 9}),
        ({"name": "purchase", "items": []}, {"type": "purchase"}),
        (
            {"name": "view_item_list", "items": [{"item_id": "a", "item_category": "c"}]},
            {"type": "category_browse", "category": "c"},
        ),
        ({"eventType": "category-page-view", "pageCategories": ["a > b"]}, {"type": "category_browse", "category": "a > b"}),
        ({"name": "view_item", "timestamp_micros": 0}, {"type": "item_view", "ts": "1970-01-01T00:00:00+00:00"}),
        ({"name": "view_item", "event_timestamp": "1500000"}, {"type": "item_view", "ts": "1970-01-01T00:00:01.500000+00:00"}),
        ({"name": "view_item", "timestamp": "9" * 30}, {"type": "item_view", "ts": "9" * 30}),
        ({"name": "view_item", "timestamp_micros": 10**30}, {"type": "item_view", "ts": 10**30}),
        ({"name": "page_view", "params": {"percent_scrolled": 90}}, {"type": "content_view", "scroll_depth": 0.9}),
        ({"type": "track", "event": "Never Heard", "userId": "u"}, {"type": "Never Heard", "user_id": "u"}),
        ({"note": 1}, {"note": 1}),
    ],
)
def test_fields_come_from_where_each_vocabulary_has_them(event: dict[str, Any], expected: dict[str, Any]) -> None:
    assert own_events(event) == [expected]


@given(EVENTS | st.fixed_dictionaries({"user_id": JSON, "note": st.just("canary")}))
def test_what_is_kept_of_a_rejected_event_has_our_fields_and_no_user(event: dict[str, Any]) -> None:
    kept = kept_form(event, KEY)
    assert set(kept) <= {*FIELDS, *CONTEXT}
    assert all(len(value) <= 1024 for value in kept.values() if isinstance(value, str))
    assert all(not value for value in kept.values() if isinstance(value, list | dict))
    if event.get("user_id"):
        assert re.fullmatch("!?[0-9a-f]{32}", kept["user_id"])
    assert "canary" not in json.dumps(kept)


def test_thirty_days_are_late_and_no_more() -> None:
    now_us = 10**15
    assert lateness_problem(now_us - LATE_S * 1_000_000, now_us) is None
    problem = lateness_problem(now_us - LATE_S * 1_000_000 - 1, now_us)
    assert problem is not None
    assert problem.pointer == "/ts"
