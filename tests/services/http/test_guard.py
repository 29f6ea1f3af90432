"""What stands around every endpoint: keys, origins, rates, sizes, names of requests."""

import asyncio
import gzip
import json
import logging
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from infra.settings import Settings
from infra.store.connection import connect
from models.events.rules import parse_instant_us
from services.api.app import build_app
from services.http import partners
from services.http.calls import Call, Endpoint, Stream
from services.http.problems import Refusal
from services.serving.features import NoFeatures

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOW_US = parse_instant_us(NOW.isoformat())
SHOP = "https://shop.example"
JSON = {"content-type": "application/json"}


class Door:
    """The service with a server key and a browser key."""

    def __init__(self, home: Path, **settings: Any) -> None:
        self.home = home
        self.server = partners.add(home, "shop", NOW_US)
        self.browser = partners.add(home, "shop", NOW_US, "pk", origins=[SHOP])
        self.app = build_app(Settings(home=home, **settings), online=NoFeatures(), now_us=lambda: NOW_US)
        self.client = TestClient(self.app, raise_server_exceptions=False)

    def ask(self, body: Any, path: str = "/v1/events", method: str = "POST", key: str | None = None, **headers: str) -> Any:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = JSON | {"authorization": f"Bearer {self.server if key is None else key}"} | headers
        return self.client.request(method, path, content=content, headers=sent)


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    opened = Door(tmp_path)
    yield opened
    opened.app.writer.close()


def event(event_id: str = "e-1", **fields: Any) -> dict[str, Any]:
    ts = (NOW - timedelta(hours=1)).isoformat()
    return {"event_id": event_id, "user_id": "u-1", "type": "search", "ts": ts} | fields


def batch(*events: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"events": events or [event()], **more}


# ---- keys --------------------------------------------------------------------------------------------------------


def test_unknown_wrong_and_missing_keys_get_the_same_answer(door: Door) -> None:
    answers = [door.ask(batch(), key=key) for key in ("", "sk_" + "a" * 43, door.server[:-1], "pk_x")]
    bodies = [{k: v for k, v in answer.json().items() if k != "request_id"} for answer in answers]
    assert [answer.status_code for answer in answers] == [401] * 4
    assert all(body == bodies[0] for body in bodies)


def test_who_tries_keys_is_told_to_wait_and_whoever_has_one_is_not(tmp_path: Path) -> None:
    door = Door(tmp_path, requests_per_minute=100)
    answers = [door.ask(batch(), key=f"sk_{n}") for n in range(11)]
    assert {answer.status_code for answer in answers[:-1]} == {401}
    assert (answers[-1].status_code, answers[-1].headers["retry-after"]) == (429, "6")
    assert door.ask(batch()).status_code == 202
    door.app.writer.close()


def test_a_key_with_some_scopes_may_do_only_that(door: Door) -> None:
    key = partners.add(door.home, "other", NOW_US, scopes=["catalog:write"])
    assert door.ask({"items": []}, "/v1/catalog/items", "PUT", key).status_code == 200
    assert door.ask(batch(), key=key).status_code == 403
    with pytest.raises(ValueError, match="no scope"):
        partners.add(door.home, "other", NOW_US, scopes=["everything"])
    with pytest.raises(ValueError, match="no scope"):
        partners.add(door.home, "other", NOW_US, "pk", scopes=["privacy:erase"])


@pytest.mark.parametrize("padding", [0, 200_000])
def test_half_a_character_in_one_event_costs_no_event(door: Door, padding: int) -> None:
    cut = event("e-1", type="item_view", item_id="i-\ud83d", note="x" * 60_000)  # as JSON.stringify writes a text that was cut
    found = door.ask(batch(cut, event("e-2"), *(event(f"p-{n}", note="x" * 50_000) for n in range(padding // 50_000)))).json()
    assert (found["rejected"], found["results"][0]["status"], found["results"][1]["status"]) == (0, "accepted", "accepted")
    assert ("i-\ufffd",) in connect(door.home).execute("SELECT item_id FROM events").fetchall()
    items = {"items": [{"item_id": "i-1", "title": "Shoe \ud83d"}]}
    assert door.ask(items, "/v1/catalog/items", "PUT").status_code == 200
    assert door.ask(b'{"events": [], "x": "\\ud83d"', key=door.server).status_code == 400  # and it is no JSON besides


# ---- browsers ----------------------------------------------------------------------------------------------------


def test_a_page_of_the_shop_may_send_events_and_read_the_answer(door: Door) -> None:
    asked = {"origin": SHOP, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    preflight = door.client.options("/v1/events", headers=asked)
    assert (preflight.status_code, preflight.content) == (204, b"")
    assert preflight.headers["access-control-allow-origin"] == SHOP
    assert preflight.headers["access-control-allow-methods"] == "POST"
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    sent = door.ask(batch(), key=door.browser, origin=SHOP)
    assert (sent.status_code, sent.headers["access-control-allow-origin"]) == (202, SHOP)
    assert "x-request-id" in sent.headers["access-control-expose-headers"]
    assert door.ask(batch(), key=door.browser).status_code == 202  # no page: nothing to check
    refused = door.ask(b"{", key=door.browser, origin=SHOP)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (400, SHOP)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://shop.example.evil.example", "http://shop.example"])
def test_another_page_may_not(door: Door, origin: str) -> None:
    preflight = door.client.options("/v1/events", headers={"origin": origin, "access-control-request-method": "POST"})
    sent = door.ask(batch(), key=door.browser, origin=origin)
    assert (preflight.status_code, sent.status_code) == (204, 403)
    for answer in (preflight, sent):
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["vary"] == "Origin"


def test_only_what_a_browser_key_may_do_is_open_to_pages(door: Door) -> None:
    asked = {"origin": SHOP, "access-control-request-method": "POST"}
    assert "access-control-allow-methods" not in door.client.options("/v1/recommendations", headers=asked).headers
    assert door.ask({"user_id": "u"}, "/v1/recommendations", key=door.browser, origin=SHOP).status_code == 403


@pytest.mark.parametrize(
    "text", ["shop.example", "https://shop.example/", "https://*", "https://a b", "ftp://a", "https://A.example"]
)
def test_an_origin_is_written_as_browsers_send_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match="an origin is"):
        partners.add(tmp_path, "shop", NOW_US, "pk", origins=[text])
    with pytest.raises(ValueError, match="browser keys"):
        partners.add(tmp_path, "shop", NOW_US, origins=[SHOP])


# ---- rates and names ---------------------------------------------------------------------------------------------


def test_a_key_that_asks_too_often_is_told_when_to_come_back(door: Door) -> None:
    key = partners.add(door.home, "busy", NOW_US, requests_per_minute=2)
    first, second, third = (door.ask(batch(event(e)), key=key) for e in "abc")
    assert [a.status_code for a in (first, second, third)] == [202, 202, 429]
    assert first.headers["ratelimit-policy"] == '"key";q=2;w=60'
    assert second.headers["ratelimit"] == '"key";r=0;t=60'
    assert third.headers["retry-after"] == "30"
    assert door.ask(batch(event("c"))).status_code == 202


def test_every_answer_names_its_request(door: Door) -> None:
    answers = [
        door.ask(batch()),
        door.ask(b"{"),
        door.client.get("/nothing"),
        door.client.get("/livez"),
        door.client.get("/v1/events"),
    ]
    names = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(names)) == 5
    assert [answers[i].json()["request_id"] for i in (1, 2, 4)] == [names[i] for i in (1, 2, 4)]
    assert door.ask(batch(), **{"x-request-id": "order-17"}).headers["x-request-id"] == "order-17"
    for unsound in ("a b", "x" * 65, "<script>", ""):
        assert door.ask(batch(), **{"x-request-id": unsound}).headers["x-request-id"] != unsound


def test_a_fault_is_logged_with_the_name_of_the_request_and_nothing_that_was_sent(door: Door, caplog: Any) -> None:
    async def fail(call: Call) -> None:
        raise RuntimeError(call.body.decode())

    door.app.endpoints["POST", "/v1/broken/{id}"] = Endpoint("events:write", 200, 1000, fail)
    with caplog.at_level(logging.DEBUG):
        answer = door.ask({"a": "canary"}, "/v1/broken/canary?q=canary", **{"x-request-id": "order-17"})
    assert (answer.status_code, answer.json()["request_id"]) == (500, "order-17")
    (record,) = [r for r in caplog.records if r.name.startswith("attune")]
    assert record.getMessage() == "unforeseen RuntimeError at /v1/broken/{id}, request order-17"
    assert "canary" not in answer.text


# ---- addresses ---------------------------------------------------------------------------------------------------


def test_parts_of_an_address_and_parameters_reach_the_endpoint(door: Door) -> None:
    async def tell(call: Call) -> dict[str, Any]:
        return {"path": dict(call.path), "query": dict(call.query), "partner": call.partner, "address": call.address}

    door.app.endpoints["GET", "/v1/things/{id}/parts"] = Endpoint("events:write", 200, 0, tell)
    answer = door.ask(b"", "/v1/things/a%2Fb%20c/parts?after=7&after=8&empty=", "GET")
    assert answer.json()["path"] == {"id": "a/b c"}
    assert answer.json()["query"] == {"after": "8", "empty": ""}
    assert door.ask(b"", "/v1/things//parts", "GET").status_code == 404
    assert door.ask(b"", "/v1/things/%ff/parts", "GET").status_code == 404
    assert door.ask(b"", "/v1/things/a/parts?q=%ff", "GET").status_code == 422
    refused = door.ask(b"", "/v1/things/a/parts", "DELETE")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET")


def test_a_stream_is_sent_as_it_comes(door: Door) -> None:
    async def count(call: Call) -> Stream:
        async def numbers() -> Any:
            for n in range(3):
                yield b"data: %d\n\n" % n

        return Stream(numbers())

    door.app.endpoints["GET", "/v1/count"] = Endpoint("events:write", 200, 0, count)
    answer = door.ask(b"", "/v1/count", "GET")
    assert (answer.headers["content-type"], answer.content) == ("text/event-stream", b"data: 0\n\ndata: 1\n\ndata: 2\n\n")


@pytest.mark.parametrize("error", [Refusal(503, "the store cannot be read now"), ValueError("u-1")])
def test_a_stream_that_goes_wrong_ends(door: Door, caplog: Any, error: Exception) -> None:
    async def broken(call: Call) -> Stream:
        async def numbers() -> Any:
            yield b"data: 0\n\n"
            raise error

        return Stream(numbers())

    door.app.endpoints["GET", "/v1/numbers"] = Endpoint("events:write", 200, 0, broken)
    sent: list[Any] = []

    async def receive() -> Any:
        return await asyncio.Event().wait() if sent else {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {door.server}".encode())]
    scope = {"type": "http", "method": "GET", "path": "/v1/numbers", "query_string": b"", "headers": headers}
    asyncio.run(door.app(scope, receive, send))
    assert [message["type"].removeprefix("http.response.") for message in sent] == ["start", "body", "body"]
    assert [message.get("body") for message in sent] == [None, b"data: 0\n\n", b""]
    assert "u-1" not in caplog.text


# ---- bodies ------------------------------------------------------------------------------------------------------


def test_a_gzip_body_is_read(door: Door) -> None:
    zipped = gzip.compress(json.dumps(batch(*(event(str(i)) for i in range(400)))).encode())
    assert door.ask(zipped, **{"content-encoding": "gzip"}).json()["accepted"] == 400
    two = gzip.compress(b'{"events":') + gzip.compress(b"[]}")
    assert door.ask(two, **{"content-encoding": "GZIP"}).status_code == 202


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (gzip.compress(b"[" * 3_000_000), 413),
        (gzip.compress(b" " * 50_000_000), 413),
        (gzip.compress(b"{}")[:-4], 400),
        (b"not gzip", 400),
        (zlib.compress(b"{}"), 400),
        (gzip.compress(b"{}") + b"rest", 400),
        (b"", 400),
    ],
    ids=[
        "brackets",
        "blanks",
        "cut short",
        "no gzip",
        "zlib",
        "more behind",
        "empty",
    ],  # gzip holds the time: no name of a test
)
def test_a_bomb_and_what_is_no_gzip_are_refused(door: Door, body: bytes, status: int) -> None:
    assert door.ask(body, **{"content-encoding": "gzip"}).status_code == status


def test_size_is_checked_before_the_key(door: Door) -> None:
    assert door.ask(b"x" * 1_100_000, key="sk_wrong").status_code == 413


# ---- the clock ---------------------------------------------------------------------------------------------------


def occurred(door: Door) -> list[float]:
    """Hours before now."""
    rows = connect(door.home).execute("SELECT occurred_at_us FROM events ORDER BY seq").fetchall()
    return [(NOW_US - at_us) / 3_600_000_000 for (at_us,) in rows]


def test_a_clock_that_is_wrong_is_corrected_by_the_time_of_sending(door: Door) -> None:
    three_days = timedelta(days=3)
    wrong = [event("a", ts=(NOW + three_days - timedelta(hours=2)).isoformat())]
    assert door.ask(batch(*wrong)).json()["rejected"] == 1
    assert door.ask(batch(*wrong, sent_at=(NOW + three_days).isoformat())).json()["accepted"] == 1
    assert door.ask(batch(event("b"), sent_at=(NOW - timedelta(seconds=1)).isoformat())).json()["accepted"] == 1
    assert occurred(door) == [2.0, 1.0]
    assert door.ask(batch(sent_at="yesterday")).json()["pointer"] == "/sent_at"


@pytest.mark.parametrize(
    ("hours_ahead", "status"), [(23.9, "accepted"), (24.1, "rejected"), (-719, "accepted"), (-721, "rejected")]
)
def test_a_day_ahead_and_thirty_days_late_are_the_limits(door: Door, hours_ahead: float, status: str) -> None:
    (result,) = door.ask(batch(event(ts=(NOW + timedelta(hours=hours_ahead)).isoformat()))).json()["results"]
    assert (result["status"], result.get("pointer")) == (status, None if status == "accepted" else "/events/0/ts")


# ---- rejected events ---------------------------------------------------------------------------------------------


def test_a_rejected_event_is_kept_once_without_user_query_and_unknown_fields(door: Door) -> None:
    bad = event(user_id="canary-1", type="dance", query="canary-2", note="canary-3", category=["canary-4"])
    for _ in "ab":
        assert door.ask(batch(bad, event("good"))).json()["rejected"] == 1
    ((partner, reason, raw),) = connect(door.home).execute("SELECT partner, reason, raw FROM quarantine").fetchall()
    assert (partner, reason.split(":")[0]) == ("shop", "category")
    assert json.loads(raw)["type"] == "dance"
    stored = b"".join(path.read_bytes() for path in door.home.iterdir() if path.is_file())
    assert b"canary" not in stored


def test_foreign_names_are_read_as_ours(door: Door) -> None:
    ts = event()["ts"]
    ga4 = {"event_id": "1", "name": "view_item", "client_id": "u", "timestamp_micros": NOW_US,
           "params": {"ga_session_id": "s", "items": [{"item_id": "a", "item_category": "shoes", "price": 9.5}]}}  # fmt: skip
    segment = {"type": "track", "event": "Order Completed", "messageId": "2", "userId": "u", "timestamp": ts,
               "properties": {"products": [{"product_id": "a", "price": 3}, {"product_id": "b"}]}}  # fmt: skip
    retail = {"event_id": "3", "eventType": "detail-page-view", "visitorId": "u", "eventTime": ts, "sessionId": "s",
              "productDetails": [{"product": {"id": "a"}, "quantity": 1}]}  # fmt: skip
    search = {"event_id": "4", "eventType": "search", "visitorId": "u", "eventTime": ts, "searchQuery": "canary"}
    answer = door.ask(batch(ga4, segment, retail, search)).json()
    assert (answer["accepted"], answer["rejected"]) == (4, 0)
    names = "event_id, event_type, item_id, category, price, query_length, session_id"
    assert connect(door.home).execute(f"SELECT {names} FROM events ORDER BY seq").fetchall() == [
        ("1", "item_view", "a", "shoes", 9.5, None, "s"),
        ("2", "purchase", "a", None, 3.0, None, None),
        ("2~2", "purchase", "b", None, None, None, None),
        ("3", "item_view", "a", None, None, None, "s"),
        ("4", "search", None, None, None, 6.0, None),
    ]


def test_an_event_may_name_the_decision_that_led_to_it(door: Door) -> None:
    answer = door.ask(batch(event("a", decision_id="d-1"), event("b", decision_id=7), event("c"))).json()
    assert [(r["status"], r.get("pointer")) for r in answer["results"]][1] == ("rejected", "/events/1/decision_id")
    assert connect(door.home).execute("SELECT event_id, decision_id FROM events").fetchall() == [("a", "d-1"), ("c", None)]
