import asyncio
import json
import re
import struct
from datetime import datetime
from itertools import groupby
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.events.encode import EVENT_DTYPE, TYPE_CODE, encode
from models.events.json_events import read_events
from models.events.rules import event_problem, parse_instant_us
from models.features.sessions import features_of, fold, sessionize, starts
from models.live_session import EMPTY
from models.schema import MEASURES
from models.simulator.config import ShopConfig
from models.simulator.simulation import simulate
from services.api.session_data import SessionDecoder, live_session, parse
from services.api.wire import IntentRequest, RecommendationRequest, SessionData, SessionEvent
from services.http.calls import WARM_UP, Call
from services.http.problems import Refusal

NOW_US = parse_instant_us("2026-11-21T12:00:00Z")


def session(*events: dict[str, object], **rest: object) -> SessionData:
    return msgspec.convert({"events": list(events), **rest}, SessionData)


def view(item_id: str, second: int) -> dict[str, object]:
    return {"type": "item_view", "item_id": item_id, "ts": f"2026-11-21T10:00:{second:02d}Z"}


def test_a_row_has_the_layout_of_the_event_array() -> None:
    offsets = [EVENT_DTYPE.fields[name][1] for name in EVENT_DTYPE.names]  # type: ignore[index, union-attr]
    end = 24 + 8 * len(MEASURES)
    assert struct.calcsize(f"@qqq{'d' * len(MEASURES)}hbbb3x") == EVENT_DTYPE.itemsize
    assert offsets == [0, 8, 16, *range(24, end, 8), end, end + 2, end + 3, end + 4]
    assert tuple(SessionEvent.__struct_fields__)[4:] == tuple(MEASURES)


def test_fields_stand_where_they_belong() -> None:
    data = session(
        {"type": "search", "query_length": 12, "ts": "2026-11-21T10:00:00Z"},
        {**view("sku-9", 7), "category": "shoes", "price": 79.0, "unheard_of": [1]},
        context={"device": "mobile", "timezone": "Europe/Berlin", "referrer": "carrier pigeon"},
    )
    live = live_session(data, NOW_US)
    first, second = live.events
    assert (first["item"], first["category"], first["query_length"]) == (-1, -1, 12.0)
    assert np.isnan(first["price"])
    assert (second["event_type"], second["price"], second["device"], second["referrer"]) == (TYPE_CODE["item_view"], 79.0, 2, 0)
    assert second["utc_offset_min"] == 60
    assert (live.item_ids, live.categories) == (["sku-9"], ["shoes"])


def test_events_out_of_order_are_sorted_and_ties_keep_their_order() -> None:
    live = live_session(session(view("b", 9), view("a", 3), view("c", 9)), NOW_US)
    assert [live.item_ids[code] for code in live.events["item"]] == ["a", "b", "c"]


def test_a_clock_that_is_ahead_is_moved_back_and_said_to_be() -> None:
    ahead = {**view("a", 0), "ts": "2026-11-21T12:10:00Z"}
    live = live_session(session(view("b", 1), ahead), NOW_US)
    assert live.is_moved
    assert live.events["occurred_at_us"].max() == NOW_US
    a_little = {**view("a", 0), "ts": "2026-11-21T12:00:01Z"}
    assert not live_session(session(view("b", 1), a_little), NOW_US).is_moved


def test_no_session_is_an_empty_array() -> None:
    assert live_session(None, NOW_US) is EMPTY
    assert live_session(session(), NOW_US) is EMPTY


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"type": "teleport"}, "/session_data/events/1/type"),
        ({"ts": "2026-11-21T10:00:00"}, "/session_data/events/1/ts"),
        ({"ts": "yesterday"}, "/session_data/events/1/ts"),
        ({"ts": "2026-11-22T12:00:01Z"}, "/session_data/events/1/ts"),
        ({"ts": "1969-12-31T23:59:59Z"}, "/session_data/events/1/ts"),
        ({"item_id": None}, "/session_data/events/1/item_id"),
    ],
)
def test_a_broken_rule_is_pointed_to_without_the_value(change: dict[str, object], pointer: str) -> None:
    with pytest.raises(Refusal) as refused:
        live_session(session(view("a", 1), {**view("secret-sku", 2), **change}), NOW_US)
    problem = refused.value.problem
    assert (problem.status, problem.pointer) == (422, pointer)
    assert not any(str(value) in problem.detail for value in ("secret-sku", "teleport", "yesterday"))


@given(
    st.datetimes(),
    st.sampled_from(["Z", "+00:00", "-23:59", "+05:30", "", " ", "z"]),
    st.sampled_from(["auto", "minutes", "microseconds"]),
)
def test_instants_are_read_by_the_rules_of_the_log(moment: object, zone: str, precision: str) -> None:
    ts = moment.isoformat(timespec=precision) + zone  # type: ignore[attr-defined]
    problem = event_problem({"event_id": "e", "user_id": "u", "type": "search", "ts": ts}, NOW_US)
    data = session({"type": "search", "ts": ts})
    if problem is None:
        assert live_session(data, NOW_US).events["occurred_at_us"][0] == parse_instant_us(ts)
    else:
        with pytest.raises(Refusal, match=re.escape(problem.reason)):
            live_session(data, NOW_US)


def test_live_features_are_bit_for_bit_those_of_the_batch() -> None:
    frame = sessionize(simulate(ShopConfig(n_users=60, n_days=2, n_items=50, n_categories=5)).events)
    events, _, _ = encode(frame)
    first = starts(frame)
    batch = fold(events, first)[np.append(np.flatnonzero(first)[1:], len(frame)) - 1]
    last_us = int(events["occurred_at_us"].max())
    n_compared = 0
    for expected, (_, group) in zip(batch, groupby(frame.to_dict("records"), lambda row: row["session_id"]), strict=True):
        rows = list(group)
        if any(row["utc_offset_min"] for row in rows):
            continue  # the wire names a time zone, the log holds its offset; models.events has the tests of that
        data = session(*map(public, rows), context={"device": rows[0]["device"], "referrer": rows[0]["referrer"]})
        live = features_of(live_session(data, last_us).events)
        assert live.tobytes() == expected.tobytes()
        n_compared += 1
    assert n_compared >= 10


def public(row: dict[Any, Any]) -> dict[str, object]:
    ts = str(np.datetime64(row["occurred_at_us"], "us")) + "Z"
    values = {name: row[name] for name in ("item_id", "category", *MEASURES)}
    return {"type": row["event_type"], "ts": ts, **{k: v for k, v in values.items() if v is not None and v == v}}


# ---- the compiled pass over the text, and the slower way it stands in for -------------------------------------------

TEXTS = st.one_of(
    st.sampled_from(["sku-9", "shoes", "für Füße", "", 'a"b', "a\\b", "x" * 256, "x" * 257, "ü" * 200, "\0", "\x01"]),
    st.text(max_size=6),
)
NUMBERS = st.one_of(
    st.sampled_from([0, 1, 1.0, 0.5, 79.0, 1e-7, 1e300, -1, -0.0, 12345678.123456789, 123456789012345, 0.1, 5e-324, True, "3"]),
    st.floats(0, 1e9),
    st.floats(0, 1).map(lambda x: round(x, 3)),
    st.integers(0, 10**17),
)
INSTANTS = st.one_of(
    st.datetimes().map(lambda t: t.isoformat() + "Z"),
    st.sampled_from(
        [
            *("2026-11-21T10:00:00Z", "2026-11-21T10:00:00.123Z", "2026-11-21T10:00:00.123456+05:30", "2026-11-21t10:00:00z"),
            *("2024-02-29T23:59:59Z", "2023-02-29T00:00:00Z", "2000-02-29T00:00:00Z", "2100-02-29T00:00:00Z"),
            *("2026-11-21T12:00:01Z", "2026-11-21T13:00:00Z", "2026-11-23T12:00:00Z", "1969-12-31T23:59:59Z"),
            *("2016-12-31T23:59:60Z", "2026-11-21T24:00:00Z", "2026-04-31T10:00:00Z", "2026-11-21T10:00:00", "2026-11-21"),
            *(
                "2026-11-21T10:00:00.5Z",
                "2026-11-21T10:00:00.1234567Z",
                "2026-11-21T10:00:00-23:59",
                "2026-11-21T10:00:00+24:00",
            ),
        ]
    ),
)
EVENTS = st.dictionaries(
    st.sampled_from([*MEASURES, "unheard_of"]),
    st.one_of(st.none(), NUMBERS, st.lists(TEXTS, max_size=2), TEXTS),
    max_size=3,
).flatmap(
    lambda measures: st.fixed_dictionaries(
        {"type": st.sampled_from([*TYPE_CODE, "teleport"]), "ts": INSTANTS},
        optional={"item_id": st.one_of(st.none(), TEXTS), "category": st.one_of(st.none(), TEXTS)},
    ).map(lambda event: {**measures, **event})
)


def both_ways(body: bytes) -> tuple[object, object]:
    """What `parse` makes of a body, and what it makes of it with the slower way alone: a session, or a refusal."""

    class Slow(SessionDecoder[RecommendationRequest]):
        def quickly(self, body: bytes) -> None:
            return None

    found: list[object] = []
    for decoder in (SessionDecoder(RecommendationRequest), Slow(RecommendationRequest)):
        try:
            request, live = asyncio.run(parse(decoder, Call(WARM_UP, body, received_at_us=NOW_US)))
            told = [live.events[name].tobytes() for name in EVENT_DTYPE.names or ()]
            found.append((told, *live[1:], request.user_id, request.limit))
        except Refusal as refusal:
            found.append(refusal.problem)
    return found[0], found[1]


@settings(max_examples=400)
@given(st.lists(EVENTS, min_size=1, max_size=4), st.booleans(), st.sampled_from([None, "Europe/Berlin", "Mars/Olympus"]))
def test_the_compiled_pass_and_the_slower_way_agree_to_the_bit(events: list[object], is_ascii: bool, zone: str | None) -> None:
    context = {"device": "mobile", "timezone": zone, "segment": "vip"}
    body = {"user_id": "u", "session_data": {"context": context, "events": events}}
    quick, slow = both_ways(
        json.dumps(body, ensure_ascii=is_ascii, indent=1 if zone else None).encode("utf-8", "surrogatepass")
    )
    assert quick == slow


@given(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)), st.integers(-23 * 60, 23 * 60))
def test_an_instant_is_read_as_the_rules_read_it(instant: datetime, offset_min: int) -> None:
    ts = f"{instant.isoformat()}{'-' if offset_min < 0 else '+'}{abs(offset_min) // 60:02}:{abs(offset_min) % 60:02}"
    found = read_events(json.dumps([{"type": "search", "ts": ts}]).encode(), 2**62, 0, 0)
    assert found is not None or parse_instant_us(ts) < 0
    assert found is None or found.first_us == parse_instant_us(ts)


def test_what_programs_write_takes_the_compiled_pass() -> None:
    rows = [
        {**view(f"sku-{k % 3}", k), "category": "für Füße", "price": 79.99, "url": "/a", "more": {"a": [1, "}"]}}
        for k in range(9)
    ]
    found = read_events(json.dumps(rows, ensure_ascii=False).encode(), NOW_US, 2, 0)
    assert found is not None
    assert (found.item_ids, found.categories, found.is_sorted) == (["sku-0", "sku-1", "sku-2"], ["für Füße"], True)
    assert found.events["price"].tolist() == [79.99] * 9


@pytest.mark.parametrize("text", [b"{}", b"null", b"7", b"[[]]", b'[{"type":1}]', b'["a"]', b"[ ]", b"[1,{}]"])
def test_what_is_no_session_is_left_to_the_slower_way(text: bytes) -> None:
    assert read_events(text, NOW_US, 0, 0) is None


def test_a_request_without_a_session_needs_no_events() -> None:
    request, live = asyncio.run(parse(SessionDecoder(IntentRequest), Call(WARM_UP, b"{}", received_at_us=NOW_US)))
    assert (request.session_data, live) == (None, EMPTY)


def test_bytes_that_are_no_text_are_refused_in_either_way() -> None:
    body = (
        b'{"user_id": "u", "session_data": {"events": [{"type": "search", "ts": "2026-11-21T10:00:00Z", "category": "\xff"}]}}'
    )
    quick, slow = both_ways(body)
    assert quick == slow
