"""POST /v1/events: a verdict for every event."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flows.quarantine import replay
from infra.store.engines import open_writer
from models.events.identity import partner_key, partner_keys, pseudonym
from models.trust import kept_id
from services.api.event_verdicts import MAX_ROWS, EventsAnswer
from services.api.events import MAX_EVENTS, EventsHandler
from services.http.calls import Call
from services.http.decoding import decode
from services.http.idempotency import Writes
from services.http.partners import Caller
from services.http.problems import Refusal
from tests.stores import connect

NOW_US = 1_795_255_200_000_000  # 2026-11-21T10:00:00Z


def event(event_id: str = "e-1", **fields: Any) -> dict[str, Any]:
    return {"event_id": event_id, "user_id": "u-1", "type": "search", "ts": "2026-11-21T09:00:00Z", **fields}


def send(home: Path, events: Any, kind: str = "sk") -> EventsAnswer:
    writer = open_writer(home, lambda: NOW_US)
    try:
        handler = EventsHandler(Writes(writer, bytes(32)), partner_keys(bytes(32)))
        body = events if isinstance(events, bytes) else msgspec.json.encode({"events": events})
        reply = asyncio.run(handler.receive(Call(Caller("shop", frozenset(), kind), body, received_at_us=NOW_US)))
        assert reply.status == 202
        answer: EventsAnswer = reply.body
        return answer
    finally:
        writer.close()


def test_one_bad_event_does_not_sink_its_neighbours(tmp_path: Path) -> None:
    answer = send(tmp_path, [event("a"), event("b", type="dance"), event("c"), event("a"), 7])
    assert (answer.accepted, answer.duplicate, answer.rejected) == (2, 1, 2)
    assert [(r.event_id, r.status, r.pointer) for r in answer.results] == [
        ("a", "accepted", None),
        ("b", "rejected", "/events/1/type"),
        ("c", "accepted", None),
        ("a", "duplicate", None),
        (None, "rejected", "/events/4"),
    ]


def test_the_character_that_no_server_keeps_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    bad = [event("a\0"), event("b", session_id="\0"), event("c", order_id="x\0"), event("d", note={"deep": ["\0"]})]
    answer = send(tmp_path, [*bad, event("e", note="\\u0000")])
    assert [(r.status, r.pointer) for r in answer.results] == [
        ("rejected", "/events/0/event_id"),
        ("rejected", "/events/1/session_id"),
        ("rejected", "/events/2"),
        ("rejected", "/events/3"),
        ("accepted", None),
    ]
    assert decode(msgspec.json.Decoder(list[str]), msgspec.json.encode(["\0\0", "\\\0"])) == ["\ufffd\ufffd", "\\\ufffd"]
    assert decode(msgspec.json.Decoder(list[str]), msgspec.json.encode(["\\u0000"])) == ["\\u0000"]


def test_a_page_cannot_take_an_id_before_a_server_and_its_answer_shows_the_id_as_it_was_sent(tmp_path: Path) -> None:
    first = send(tmp_path, [event("order-1"), event("order-1")], "pk")
    assert [(r.event_id, r.status) for r in first.results] == [("order-1", "accepted"), ("order-1", "duplicate")]
    assert [r.status for r in send(tmp_path, [event("order-1"), event("order-1")]).results] == ["accepted", "duplicate"]
    kept = connect(tmp_path).execute("SELECT event_id, browser, believed FROM events ORDER BY seq").fetchall()
    assert kept == [(kept_id("order-1"), 1, 0), ("order-1", 0, 1)]
    for kind in ("sk", "pk"):
        (result,) = send(tmp_path, [event(kept_id("order-1"))], kind).results
        assert (result.status, result.pointer) == ("rejected", "/events/0/event_id")


def test_what_was_rejected_of_a_page_is_a_pages_when_it_is_sent_again(tmp_path: Path) -> None:
    for kind in ("pk", "sk"):
        send(tmp_path, [event("a", type="vote")], kind)
    store = connect(tmp_path)
    assert store.execute("SELECT browser FROM quarantine ORDER BY id").fetchall() == [(1,), (0,)]
    store.execute("UPDATE quarantine SET raw = replace(raw, 'vote', 'search')")
    assert replay(tmp_path) == (2, 0, 0)
    assert store.execute("SELECT browser, believed FROM events ORDER BY browser").fetchall() == [(0, 1), (1, 0)]


def test_the_log_holds_the_pseudonym_and_never_the_user(tmp_path: Path) -> None:
    send(tmp_path, [event(user_id="canary-user-id")])
    expected = pseudonym(partner_key(bytes(32), "shop"), "canary-user-id")
    assert connect(tmp_path).execute("SELECT user_id FROM events").fetchall() == [(expected,)]
    assert b"canary-user-id" not in b"".join(p.read_bytes() for p in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"event_id": ""}, "/event_id"),
        ({"user_id": None}, "/user_id"),
        ({"type": "purchase"}, "/item_id"),
        ({"type": ["purchase"]}, "/type"),
        ({"ts": "2026-11-21T09:00:00"}, "/ts"),
        ({"ts": "2026-11-23T09:00:00Z"}, "/ts"),
        ({"ts": 1795255200}, "/ts"),
        ({"price": -1}, "/price"),
        ({"price": "7"}, "/price"),
        ({"scroll_depth": 1.5}, "/scroll_depth"),
        ({"dwell_ms": True}, "/dwell_ms"),
        ({"item_id": "x" * 257}, "/item_id"),
    ],
)
def test_a_refused_event_is_told_where_and_why_without_its_value(tmp_path: Path, fields: dict[str, Any], pointer: str) -> None:
    (result,) = send(tmp_path, [event(**fields)]).results
    assert (result.status, result.pointer) == ("rejected", f"/events/0{pointer}")
    assert result.reason


@pytest.mark.parametrize(
    ("body", "status"), [(b"{", 400), (b'{"events": 7}', 422), (b"[]", 422), (b'{"events": [NaN]}', 400), (b"\xff", 400)]
)
def test_a_body_that_is_no_batch_is_refused(tmp_path: Path, body: bytes, status: int) -> None:
    with pytest.raises(Refusal) as refusal:
        send(tmp_path, body)
    assert refusal.value.problem.status == status


def test_half_a_character_is_replaced_and_a_body_full_of_them_refused(tmp_path: Path) -> None:
    def body(query: bytes) -> bytes:
        return msgspec.json.encode({"events": [event(query="-")]}).replace(b'"-"', b'"' + query + b'"')

    assert send(tmp_path, body(b"shoes \\ud83d")).accepted == 1
    with pytest.raises(Refusal) as refusal:
        send(tmp_path, body(b"\\ud83d" * 10_000))
    assert refusal.value.problem.status == 400


def test_verdicts_are_counted_once_also_when_a_request_is_repeated(tmp_path: Path) -> None:
    counted: list[tuple[str, int]] = []
    writer = open_writer(tmp_path, lambda: NOW_US)
    handler = EventsHandler(Writes(writer, bytes(32)), partner_keys(bytes(32)), lambda status, n: counted.append((status, n)))
    body = msgspec.json.encode({"events": [event("a"), event("b", type="dance"), event("c")]})
    call = Call(Caller("shop", frozenset(), "sk"), body, headers={"idempotency-key": "k"}, received_at_us=NOW_US)
    for _ in "ab":
        asyncio.run(handler.receive(call))
    writer.close()
    assert sorted(counted) == [("accepted", 2), ("rejected", 1)]


def test_too_many_events_are_refused_whole(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="500 events"):
        send(tmp_path, [event(str(i)) for i in range(MAX_EVENTS + 1)])


def test_orders_of_a_thousand_things_cannot_hold_up_the_others(tmp_path: Path) -> None:
    bought = {"products": [{"product_id": str(n), "price": 1.0, "category": "shoes"} for n in range(100)]}
    order = {"event": "Order Completed", "userId": "u", "timestamp": "2026-11-21T09:00:00Z", "properties": bought}
    orders = [{**order, "messageId": str(n)} for n in range(MAX_ROWS // 100 + 1)]
    with pytest.raises(Refusal) as refused:
        send(tmp_path, orders)
    assert (refused.value.problem.status, refused.value.problem.pointer) == (422, f"/events/{MAX_ROWS // 100}")
    assert connect(tmp_path).execute("SELECT count(*) FROM events").fetchall() == [(0,)]
    assert send(tmp_path, orders[:10]).accepted == 10
