"""What a partner sees of its deliveries, and what it can have sent again: handlers on a real store, endpoints on loopback."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import msgspec
import pytest

from infra.store.engines import closed_store, open_store, open_writer
from services.api.deliveries import MAX_REPLAYED, MAX_TESTS, DeliveriesHandler
from services.api.subscriptions import SubscriptionsHandler
from services.delivery.outbound import Outbound
from services.http.calls import Call, Reply
from services.http.idempotency import Writes
from services.http.partners import SCOPES, Caller
from services.http.problems import Refusal
from services.http.reader import Reader
from services.signals.body import instant
from services.worker.delivery import DeliveryDuty
from tests.services.receivers import SEALS, Receiver, S, answer, emit, empty, hang, receiver, subscribe
from tests.stores import connect, copied
from tests.waiting import PATIENCE_S

__all__ = ["empty", "receiver"]  # fixtures


class Side(NamedTuple):
    """The handler and the worker of one home."""

    store: apsw.Connection
    handler: DeliveriesHandler
    duty: DeliveryDuty
    home: Path

    def ask(self, handler: Callable[[Call], Awaitable[Any]], partner: str = "shop", body: object = None, **more: Any) -> Any:
        caller = Caller(partner, frozenset(SCOPES), "sk")
        call = Call(caller, b"" if body is None else json.dumps(body).encode(), {"id": "s"}, received_at_us=100 * S, **more)
        reply: Any = asyncio.run(_awaited(handler, call))
        found = reply.body if isinstance(reply, Reply) else reply
        return json.loads(found if isinstance(found, bytes) else msgspec.json.encode(found))

    def settle(self, now_us: int) -> None:
        while self.duty.step(now_us):
            pass


async def _awaited(handler: Callable[[Call], Awaitable[Any]], call: Call) -> Any:
    return await handler(call)


@pytest.fixture
def side(tmp_path: Path, empty: Path, receiver: Receiver) -> Iterator[Side]:
    copied(empty, tmp_path, dirs_exist_ok=True)
    writer = open_writer(tmp_path, lambda: 100 * S)
    handler = DeliveriesHandler(
        Reader(closed_store(tmp_path, wait_ms=0)), Writes(writer, bytes(32)), SEALS, lambda _: Outbound(True, PATIENCE_S)
    )
    duty = DeliveryDuty(open_store(tmp_path), lambda: Outbound(True, PATIENCE_S), random.Random(7), SEALS)
    made = Side(connect(tmp_path), handler, duty, tmp_path)
    subscribe(made.store, "s", f"{receiver.url}/in", '["offer_discount"]')
    yield made
    duty.close()
    writer.close()


def test_deliveries_are_listed_newest_first_with_every_attempt(side: Side, receiver: Receiver) -> None:
    receiver.answers["/in"] = answer(500, b"not today")
    emit(side.store, 1)
    side.settle(10 * S)
    receiver.answers["/in"] = answer(200, b"thanks")
    emit(side.store, 2)
    side.settle(11 * S)
    second, first = side.ask(side.handler.deliveries)["deliveries"]
    assert (second["signal_id"], second["state"], second["cause"]) == ("sig_2", "delivered", "signal")
    assert "next_attempt_at" not in second
    assert (first["signal_id"], first["signal_type"], first["state"]) == ("sig_1", "offer_discount", "pending")
    assert [(a["outcome"], a["status"], a["answer"]) for a in first["attempts"]] == [("answered", 500, "not today")]
    assert instant(15 * S) < first["next_attempt_at"] < instant(17 * S)
    assert "whsec_" not in json.dumps([first, second])


def test_a_list_goes_on_where_the_page_before_ended_and_may_be_narrowed(side: Side) -> None:
    for n in range(5):
        emit(side.store, n)
    side.settle(10 * S)
    seen, query = [], {"limit": "2"}
    while True:
        page = side.ask(side.handler.deliveries, query=query)
        seen += [one["signal_id"] for one in page["deliveries"]]
        if page["next"] is None:
            break
        query["before"] = str(page["next"])
    assert seen == ["sig_4", "sig_3", "sig_2", "sig_1", "sig_0"]
    assert side.ask(side.handler.deliveries, query={"state": "pending"}) == {"deliveries": [], "next": None}


def test_a_replay_by_id_sends_the_same_message_again(side: Side, receiver: Receiver) -> None:
    for n in (1, 2):
        emit(side.store, n)
    side.settle(10 * S)
    found = side.ask(side.handler.replay, body={"signal_ids": ["sig_1", "sig_1", "of-somebody-else"]})
    assert found["queued"] == 1
    side.settle(200 * S)
    assert sorted(post.headers["webhook-id"] for post in receiver.posts[:2]) == ["sig_1", "sig_2"]
    assert receiver.posts[2].headers["webhook-id"] == "sig_1"
    assert receiver.posts[2].body in {receiver.posts[0].body, receiver.posts[1].body}
    assert side.ask(side.handler.deliveries)["deliveries"][0]["cause"] == "replay"


def test_a_replay_by_time_sends_what_was_missed_while_disabled(side: Side, receiver: Receiver) -> None:
    side.store.execute("UPDATE subscriptions SET state = 'disabled'")
    for n in range(6):
        emit(side.store, n, at_us=n * S, kind="offer_discount" if n != 3 else "recommend_product")
    side.settle(10 * S)
    span = {"from": "1970-01-01T00:00:02Z", "until": "1970-01-01T01:00:05+01:00"}
    with pytest.raises(Refusal) as caught:
        side.ask(side.handler.replay, body=span)
    assert caught.value.problem.status == 409
    side.store.execute("UPDATE subscriptions SET state = 'active'")
    assert side.ask(side.handler.replay, body=span)["queued"] == 2
    side.settle(200 * S)
    assert sorted(post.headers["webhook-id"] for post in receiver.posts) == ["sig_2", "sig_4"]


def test_a_replay_sent_twice_with_one_key_is_one_replay(side: Side, receiver: Receiver) -> None:
    emit(side.store, 1)
    side.settle(10 * S)
    once: dict[str, Any] = {"body": {"signal_ids": ["sig_1"]}, "headers": {"idempotency-key": "again"}}
    assert side.ask(side.handler.replay, **once) == side.ask(side.handler.replay, **once)
    side.settle(200 * S)
    assert len(receiver.posts) == 2


@pytest.mark.parametrize(("status", "outcome"), [(200, "delivered"), (410, "gone"), (500, "answered")])
def test_a_test_is_sent_at_once_and_says_what_came_back(side: Side, receiver: Receiver, status: int, outcome: str) -> None:
    receiver.answers["/in"] = answer(status, b"seen")
    found = side.ask(side.handler.test)
    assert (found["delivered"], found["outcome"], found["status"], found["answer"]) == (status == 200, outcome, status, "seen")
    assert json.loads(receiver.posts[0].body)["type"] == "signal.test"
    assert receiver.posts[0].headers["webhook-id"] == found["message_id"]
    (kept,) = side.ask(side.handler.deliveries)["deliveries"]
    assert (kept["cause"], kept["signal_id"]) == ("test", found["message_id"])
    side.settle(200 * S)
    assert len(receiver.posts) == 1
    assert side.store.execute("SELECT state FROM subscriptions").fetchall() == [("active",)]


def test_a_test_with_an_idempotency_key_is_sent_once(side: Side, receiver: Receiver) -> None:
    first, second = (side.ask(side.handler.test, headers={"idempotency-key": "k"}) for _ in "ab")
    assert first == second
    assert len(receiver.posts) == 1
    assert len(side.ask(side.handler.deliveries)["deliveries"]) == 1
    assert side.ask(side.handler.test, headers={"idempotency-key": "another"})["message_id"] != first["message_id"]


def test_a_test_of_an_inside_address_is_refused_where_the_setting_does_not_allow_it(side: Side, receiver: Receiver) -> None:
    handler = DeliveriesHandler(side.handler._reader, side.handler._writes, SEALS, lambda seconds: Outbound(False, seconds))
    assert side.ask(handler.test)["outcome"] == "inside"
    assert receiver.posts == []


def test_another_partner_finds_nothing(side: Side) -> None:
    for handler, body in (
        (side.handler.deliveries, None),
        (side.handler.test, None),
        (side.handler.replay, {"signal_ids": ["sig_1"]}),
    ):
        with pytest.raises(Refusal) as caught:
            side.ask(handler, partner="other", body=body)
        assert caught.value.problem.status == 404


def test_a_replay_reaches_only_signals_of_the_own_partner(side: Side) -> None:
    emit(side.store, 1)
    side.store.execute("UPDATE signals SET partner = 'other'")
    assert side.ask(side.handler.replay, body={"signal_ids": ["sig_1"]})["queued"] == 0


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"signal_ids": []},
        {"from": "2026-01-01T00:00:00Z"},
        {"until": "2026-01-01T00:00:00Z"},
        {"from": "2026-01-01", "until": "2026-01-02"},
        {"from": "2026-01-01T00:00:00", "until": "2026-01-02T00:00:00"},
        {"signal_ids": ["a"], "from": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"},
        {"signal_ids": ["a"], "more": 1},
        [],
    ],
)
def test_a_replay_of_nothing_certain_is_refused(side: Side, body: object) -> None:
    with pytest.raises(Refusal) as caught:
        side.ask(side.handler.replay, body=body)
    assert caught.value.problem.status == 422


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "201"}, {"limit": "x"}, {"before": "-1"}, {"state": "lost"}])
def test_a_parameter_out_of_range_is_refused(side: Side, query: dict[str, str]) -> None:
    with pytest.raises(Refusal) as caught:
        side.ask(side.handler.deliveries, query=query)
    assert caught.value.problem.status == 422


def test_a_replay_has_a_size_and_a_larger_one_leaves_nothing(side: Side) -> None:
    columns = "signal_id, partner, user_id, sequence, type, payload, score, predicted_action, cause_seq, created_at_us"
    side.store.execute(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?) "
        f"INSERT INTO signals ({columns}) SELECT 'sig_' || n, 'shop', 'u', n, 'offer_discount', '{{}}', 1, 'x', n, 1 FROM n",
        (MAX_REPLAYED + 1,),
    )
    with pytest.raises(Refusal) as caught:
        side.ask(side.handler.replay, body={"from": "1970-01-01T00:00:00Z", "until": "1970-01-02T00:00:00Z"})
    assert caught.value.problem.status == 422
    assert side.store.execute("SELECT count(*) FROM deliveries").fetchall() == [(0,)]


def test_a_partner_cannot_hold_more_than_some_tests_under_way(side: Side, receiver: Receiver) -> None:
    receiver.answers["/in"] = hang
    patience_s = [0.2]  # as long as nobody answers
    handler = DeliveriesHandler(side.handler._reader, side.handler._writes, SEALS, lambda _: Outbound(True, patience_s[0]))

    async def all_at_once() -> list[Any]:
        call = Call(Caller("shop", frozenset(SCOPES), "sk"), b"", {"id": "s"}, received_at_us=100 * S)
        found = await asyncio.gather(*(handler.test(call) for _ in range(MAX_TESTS + 1)), return_exceptions=True)
        return list(found)

    found = asyncio.run(all_at_once())
    assert [one.problem.status for one in found if isinstance(one, Refusal)] == [429]
    receiver.answers["/in"], patience_s[0] = answer(200), PATIENCE_S
    assert side.ask(handler.test)["delivered"]


def test_what_waits_for_a_deleted_subscription_is_cancelled(side: Side, receiver: Receiver) -> None:
    receiver.answers["/in"] = answer(500)
    emit(side.store, 1)
    side.settle(10 * S)
    writer = open_writer(side.home, lambda: 100 * S)
    subscriptions = SubscriptionsHandler(Reader(closed_store(Path(), wait_ms=0)), Writes(writer, bytes(32)), SEALS, True)
    call = Call(Caller("shop", frozenset(SCOPES), "sk"), b"", {"id": "s"}, received_at_us=100 * S)
    asyncio.run(subscriptions.delete(call))
    writer.close()
    assert side.store.execute("SELECT state, finished_at_us FROM deliveries").fetchall() == [("cancelled", 100 * S)]
    assert side.store.execute("SELECT count(*) FROM endpoint_health").fetchall() == [(0,)]
