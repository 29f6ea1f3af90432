"""What stands around every endpoint: keys, origins, rates, sizes, names of requests."""

import asyncio
import gzip
import json
import logging
import zlib
from pathlib import Path
from typing import Any

import pytest

from services.api.collaborators import Unobserved
from services.http import partners
from services.http.calls import Call, Stream
from services.http.endpoints import Endpoint
from services.http.problems import Refusal
from tests.services.shop_door import JSON, NOW_US, SHOP, Service, batch, event, service
from tests.stores import connect

__all__ = ["service"]

# ---- keys --------------------------------------------------------------------------------------------------------


def test_unknown_wrong_and_missing_keys_get_the_same_answer(service: Service) -> None:
    answers = [service.ask(batch(), key=key) for key in ("", "sk_" + "a" * 43, service.server[:-1], "pk_x")]
    bodies = [{k: v for k, v in answer.json().items() if k != "request_id"} for answer in answers]
    assert [answer.status_code for answer in answers] == [401] * 4
    assert all(body == bodies[0] for body in bodies)


def test_who_tries_keys_is_told_to_wait_and_whoever_has_one_is_not(tmp_path: Path) -> None:
    service = Service(tmp_path, requests_per_minute=100)
    answers = [service.ask(batch(), key=f"sk_{n}") for n in range(11)]
    assert {answer.status_code for answer in answers[:-1]} == {401}
    assert (answers[-1].status_code, answers[-1].headers["retry-after"]) == (429, "6")
    assert service.ask(batch()).status_code == 202
    service.app.shared.writer.close()


def test_a_key_with_some_scopes_may_do_only_that(service: Service) -> None:
    key = partners.add(service.home, "other", NOW_US, scopes=["catalog:write"])
    assert service.ask({"items": []}, "/v1/catalog/items", "PUT", key).status_code == 200
    assert service.ask(batch(), key=key).status_code == 403
    with pytest.raises(ValueError, match="no scope"):
        partners.add(service.home, "other", NOW_US, scopes=["everything"])
    with pytest.raises(ValueError, match="no scope"):
        partners.add(service.home, "other", NOW_US, "pk", scopes=["privacy:erase"])


@pytest.mark.parametrize("padding", [0, 200_000])
def test_half_a_character_in_one_event_costs_no_event(service: Service, padding: int) -> None:
    cut = event("e-1", type="item_view", item_id="i-\ud83d", note="x" * 60_000)  # as JSON.stringify writes a text that was cut
    found = service.ask(
        batch(cut, event("e-2"), *(event(f"p-{n}", note="x" * 50_000) for n in range(padding // 50_000)))
    ).json()
    assert (found["rejected"], found["results"][0]["status"], found["results"][1]["status"]) == (0, "accepted", "accepted")
    assert ("i-\ufffd",) in connect(service.home).execute("SELECT item_id FROM events").fetchall()
    items = {"items": [{"item_id": "i-1", "title": "Shoe \ud83d"}]}
    assert service.ask(items, "/v1/catalog/items", "PUT").status_code == 200
    assert service.ask(b'{"events": [], "x": "\\ud83d"', key=service.server).status_code == 400  # and it is no JSON besides


# ---- browsers ----------------------------------------------------------------------------------------------------


def test_a_page_of_the_shop_may_send_events_and_read_the_answer(service: Service) -> None:
    asked = {"origin": SHOP, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    preflight = service.client.options("/v1/events", headers=asked)
    assert (preflight.status_code, preflight.content) == (204, b"")
    assert preflight.headers["access-control-allow-origin"] == SHOP
    assert preflight.headers["access-control-allow-methods"] == "POST"
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    sent = service.ask(batch(), key=service.browser, origin=SHOP)
    assert (sent.status_code, sent.headers["access-control-allow-origin"]) == (202, SHOP)
    assert "x-request-id" in sent.headers["access-control-expose-headers"]
    assert service.ask(batch(), key=service.browser).status_code == 202  # no page: nothing to check
    refused = service.ask(b"{", key=service.browser, origin=SHOP)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (400, SHOP)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://shop.example.evil.example", "http://shop.example"])
def test_another_page_may_not(service: Service, origin: str) -> None:
    preflight = service.client.options("/v1/events", headers={"origin": origin, "access-control-request-method": "POST"})
    sent = service.ask(batch(), key=service.browser, origin=origin)
    assert (preflight.status_code, sent.status_code) == (204, 403)
    for answer in (preflight, sent):
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["vary"] == "Origin"


def test_only_what_a_browser_key_may_do_is_open_to_pages(service: Service) -> None:
    asked = {"origin": SHOP, "access-control-request-method": "POST"}
    assert "access-control-allow-methods" not in service.client.options("/v1/recommendations", headers=asked).headers
    assert service.ask({"user_id": "u"}, "/v1/recommendations", key=service.browser, origin=SHOP).status_code == 403


@pytest.mark.parametrize(
    "text", ["shop.example", "https://shop.example/", "https://*", "https://a b", "ftp://a", "https://A.example"]
)
def test_an_origin_is_written_as_browsers_send_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match="an origin is"):
        partners.add(tmp_path, "shop", NOW_US, "pk", origins=[text])
    with pytest.raises(ValueError, match="browser keys"):
        partners.add(tmp_path, "shop", NOW_US, origins=[SHOP])


# ---- rates and names ---------------------------------------------------------------------------------------------


def test_a_key_that_asks_too_often_is_told_when_to_come_back(service: Service) -> None:
    key = partners.add(service.home, "busy", NOW_US, requests_per_minute=2)
    first, second, third = (service.ask(batch(event(e)), key=key) for e in "abc")
    assert [a.status_code for a in (first, second, third)] == [202, 202, 429]
    assert first.headers["ratelimit-policy"] == '"key";q=2;w=60'
    assert second.headers["ratelimit"] == '"key";r=0;t=60'
    assert third.headers["retry-after"] == "30"
    assert service.ask(batch(event("c"))).status_code == 202


def test_every_answer_names_its_request(service: Service) -> None:
    answers = [
        service.ask(batch()),
        service.ask(b"{"),
        service.client.get("/nothing"),
        service.client.get("/livez"),
        service.client.get("/v1/events"),
    ]
    names = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(names)) == 5
    assert [answers[i].json()["request_id"] for i in (1, 2, 4)] == [names[i] for i in (1, 2, 4)]
    assert service.ask(batch(), **{"x-request-id": "order-17"}).headers["x-request-id"] == "order-17"
    for unsound in ("a b", "x" * 65, "<script>", ""):
        assert service.ask(batch(), **{"x-request-id": unsound}).headers["x-request-id"] != unsound


def test_a_fault_is_logged_with_the_name_of_the_request_and_nothing_that_was_sent(service: Service, caplog: Any) -> None:
    async def fail(call: Call) -> None:
        raise RuntimeError(call.body.decode())

    service.app.endpoints["POST", "/v1/broken/{id}"] = Endpoint(fail, "events:write", "fail", "Fails", limit=1000)
    with caplog.at_level(logging.DEBUG):
        answer = service.ask({"a": "canary"}, "/v1/broken/canary?q=canary", **{"x-request-id": "order-17"})
    assert (answer.status_code, answer.json()["request_id"]) == (500, "order-17")
    (record,) = [r for r in caplog.records if r.name.startswith("attune")]
    assert record.getMessage() == "unforeseen RuntimeError at /v1/broken/{id}, request order-17"
    assert "canary" not in answer.text


def test_an_answer_that_is_stopped_since_it_takes_too_long_is_counted_as_what_was_said(tmp_path: Path) -> None:
    async def late(call: Call) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()  # as the connection does
        await asyncio.sleep(60.0)

    counted = list[tuple[str, int]]()

    class Counts(Unobserved):
        def answered(self, route: str, status: int, seconds: float) -> None:
            counted.append((route, status))

    service = Service(tmp_path, observer=Counts())
    service.app.endpoints["POST", "/v1/late"] = Endpoint(late, "events:write", "late", "Late", limit=1000)
    answer = service.ask({}, "/v1/late")
    assert (answer.status_code, answer.json()["status"], counted) == (504, 504, [("/v1/late", 504)])
    service.app.shared.writer.close()


# ---- addresses ---------------------------------------------------------------------------------------------------


def test_an_encoded_slash_separates_nothing(service: Service) -> None:
    assert service.ask(batch()).status_code == 202
    assert service.ask(batch(), "/v1%2fevents").status_code == 404
    assert service.ask(batch(), "/%2Fv1/events").status_code == 404


def test_a_header_that_counts_once_may_not_come_twice(service: Service) -> None:
    for name, value in (("host", "other"), ("authorization", "Bearer other"), ("idempotency-key", "a")):
        headers = [*JSON.items(), ("authorization", f"Bearer {service.server}"), ("idempotency-key", "b"), (name, value)]
        headers += [("host", "testserver")] if name == "host" else []
        answer = service.client.request("POST", "/v1/events", content=json.dumps(batch()), headers=headers)
        assert (answer.status_code, "twice" in answer.json()["detail"]) == (400, True)


def test_parts_of_an_address_and_parameters_reach_the_endpoint(service: Service) -> None:
    async def tell(call: Call) -> dict[str, Any]:
        return {"path": dict(call.path), "query": dict(call.query), "partner": call.partner, "address": call.address}

    service.app.endpoints["GET", "/v1/things/{id}/parts"] = Endpoint(tell, "events:write", "tell", "Tells")
    answer = service.ask(b"", "/v1/things/a%2Fb%20c/parts?after=7&after=8&empty=", "GET")
    assert answer.json()["path"] == {"id": "a/b c"}
    assert answer.json()["query"] == {"after": "8", "empty": ""}
    assert service.ask(b"", "/v1/things//parts", "GET").status_code == 404
    assert service.ask(b"", "/v1/things/%ff/parts", "GET").status_code == 404
    assert service.ask(b"", "/v1/things/a/parts?q=%ff", "GET").status_code == 422
    refused = service.ask(b"", "/v1/things/a/parts", "DELETE")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET")


def test_a_stream_is_sent_as_it_comes(service: Service) -> None:
    async def count(call: Call) -> Stream:
        async def numbers() -> Any:
            for n in range(3):
                yield b"data: %d\n\n" % n

        return Stream(numbers())

    service.app.endpoints["GET", "/v1/count"] = Endpoint(count, "events:write", "count", "Counts")
    answer = service.ask(b"", "/v1/count", "GET")
    assert (answer.headers["content-type"], answer.content) == ("text/event-stream", b"data: 0\n\ndata: 1\n\ndata: 2\n\n")
    assert answer.headers["x-accel-buffering"] == "no"  # nginx gathers otherwise, and passes on nothing


@pytest.mark.parametrize("error", [Refusal(503, "the store cannot be read now"), ValueError("u-1")])
def test_a_stream_that_goes_wrong_ends(service: Service, caplog: Any, error: Exception) -> None:
    async def broken(call: Call) -> Stream:
        async def numbers() -> Any:
            yield b"data: 0\n\n"
            raise error

        return Stream(numbers())

    service.app.endpoints["GET", "/v1/numbers"] = Endpoint(broken, "events:write", "numbers", "Breaks")
    sent: list[Any] = []

    async def receive() -> Any:
        return await asyncio.Event().wait() if sent else {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {service.server}".encode())]
    scope = {"type": "http", "method": "GET", "path": "/v1/numbers", "query_string": b"", "headers": headers}
    asyncio.run(service.app(scope, receive, send))
    assert [message["type"].removeprefix("http.response.") for message in sent] == ["start", "body", "body"]
    assert [message.get("body") for message in sent] == [None, b"data: 0\n\n", b""]
    assert "u-1" not in caplog.text


# ---- bodies ------------------------------------------------------------------------------------------------------


def test_a_gzip_body_is_read(service: Service) -> None:
    zipped = gzip.compress(json.dumps(batch(*(event(str(i)) for i in range(400)))).encode())
    assert service.ask(zipped, **{"content-encoding": "gzip"}).json()["accepted"] == 400
    two = gzip.compress(b'{"events":') + gzip.compress(b"[]}")
    assert service.ask(two, **{"content-encoding": "GZIP"}).status_code == 202


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
def test_a_bomb_and_what_is_no_gzip_are_refused(service: Service, body: bytes, status: int) -> None:
    assert service.ask(body, **{"content-encoding": "gzip"}).status_code == status


def test_size_is_checked_before_the_key(service: Service) -> None:
    assert service.ask(b"x" * 1_100_000, key="sk_wrong").status_code == 413
