"""Delivery's shares: a partner that is slow leaves the others room, and an endpoint gets nothing that it has not agreed to."""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import apsw
import pytest

from infra.store.engines import open_store
from models.engagement.delivery import SLOW, Slots
from services.delivery.outbound import Outbound
from services.delivery.webhooks import Secrets
from services.worker.delivery import MOST_STARTED, DeliveryDuty, Target
from tests.services.receivers import SEALS, Post, Receiver, S, answer, emit, empty, hang, receiver, subscribe
from tests.stores import connect, copied
from tests.waiting import PATIENCE_S, until

__all__ = ["empty", "receiver"]  # fixtures
Make = Callable[..., DeliveryDuty]


@pytest.fixture
def make(tmp_path: Path, empty: Path) -> Iterator[Make]:
    """Makes duties of one home."""
    copied(empty, tmp_path, dirs_exist_ok=True)
    made: list[DeliveryDuty] = []

    def duty(**more: Any) -> DeliveryDuty:
        outbound, rng = (lambda: Outbound(True, PATIENCE_S)), random.Random(7)
        made.append(DeliveryDuty(open_store(tmp_path), outbound, rng, SEALS, **more))
        return made[-1]

    yield duty
    for one in made:
        one.close()


@pytest.fixture
def store(make: Make, tmp_path: Path) -> apsw.Connection:
    connection: apsw.Connection = connect(tmp_path)
    return connection


def settle(duty: DeliveryDuty, now_us: int) -> None:
    until(lambda: duty.step(now_us) == 0, "there is always something to do", poll_s=0)


def outcomes(store: apsw.Connection) -> list[Any]:
    return [outcome for (outcome,) in store.execute("SELECT outcome FROM delivery_attempts ORDER BY id")]


def test_a_partner_whose_endpoints_hang_leaves_room_for_the_others(
    make: Make, store: apsw.Connection, receiver: Receiver
) -> None:
    receiver.answers["/hangs"] = hang
    for n in range(12):
        subscribe(store, f"a{n}", f"{receiver.url}/hangs")
    subscribe(store, "well", f"{receiver.url}/well")
    store.execute("UPDATE subscriptions SET partner = 'other' WHERE id = 'well'")
    duty = make(most=16)
    for n in range(6):
        emit(store, n)
    until(lambda: duty.step(S) is None or len(receiver.posts) == 8, "half of all slots are not used", poll_s=0)
    for n in range(6, 12):
        emit(store, n)
    store.execute("UPDATE signals SET partner = 'other' WHERE cause_seq >= 6")
    until(lambda: duty.step(2 * S) is None or outcomes(store) == ["delivered"] * 6, "the others wait", poll_s=0)
    assert [post.path for post in receiver.posts].count("/hangs") == 8


def test_slow_endpoints_leave_their_own_partner_room(make: Make) -> None:
    duty = make()
    slow, well = (Target(name, "shop", "http://x/", False, Secrets("s")) for name in ("slow", "well"))
    duty._slots[slow.key] = Slots(16, SLOW)
    duty._under_way = dict.fromkeys(range(85))  # type: ignore[assignment]
    held = Counter[object]({"shop": 85, ("shop", SLOW): 85, (None, SLOW): 85})
    assert (duty._room(slow, held), duty._room(well, held)) == (0, 43)
    held = Counter[object]({(None, SLOW): 96})  # of all partners
    assert (duty._room(slow, held), duty._room(well, held)) == (0, 85)
    duty._under_way.clear()


def test_messages_to_a_slow_endpoint_begin_a_few_at_a_time(make: Make, store: apsw.Connection, receiver: Receiver) -> None:
    def begun() -> list[str]:
        return [one.target.subscription_id for one in duty._under_way.values()]

    receiver.answers["/hangs"] = receiver.answers["/well"] = hang
    subscribe(store, "a slow one", f"{receiver.url}/hangs")
    subscribe(store, "well", f"{receiver.url}/well")
    duty = make()
    duty._slots["a slow one", f"{receiver.url}/hangs"] = Slots(16, SLOW)
    for n in range(12):
        emit(store, n)
    duty.step(S)
    assert begun() == ["well"] * 2 + ["a slow one"] * MOST_STARTED[SLOW]
    until(lambda: duty.step(S) is None or begun().count("a slow one") == 12, "the others never begin", poll_s=0)


def echo(request: BaseHTTPRequestHandler) -> None:
    """Repeat what a challenge asks for, and nothing else."""
    posts: list[Post] = request.server.posts  # type: ignore[attr-defined]
    answer(200, json.loads(posts[-1].body)["data"].get("challenge", "taken").encode())(request)


def test_an_endpoint_that_must_consent_gets_nothing_before_it_has(
    make: Make, store: apsw.Connection, receiver: Receiver
) -> None:
    def types() -> list[str]:
        return [json.loads(post.body)["type"] for post in receiver.posts]

    subscribe(store, "s", f"{receiver.url}/in")
    emit(store, 1)
    duty = make(asks_consent=True)
    settle(duty, S)
    assert (types(), outcomes(store)) == (["endpoint.challenge"], ["no_consent"])
    assert receiver.posts[0].headers["webhook-signature"].startswith("v1,")
    receiver.answers["/in"] = echo
    settle(duty, 20 * S)
    emit(store, 2)
    settle(make(asks_consent=True), 30 * S)
    assert types()[1:] == ["endpoint.challenge", "signal.offer_discount", "signal.offer_discount"]
    store.execute("UPDATE subscriptions SET url = url || '?moved'")  # an address that has said nothing yet
    emit(store, 3)
    settle(make(asks_consent=True), 40 * S)
    assert types()[4:] == ["endpoint.challenge"]
