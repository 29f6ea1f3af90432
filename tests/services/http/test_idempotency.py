"""A write that is sent again has one effect, and the answer of the first time."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from infra.store.engines import open_writer
from infra.store.protocol import Transaction, Writer
from models.events.identity import partner_keys
from services.api.events import EventsHandler
from services.http.calls import Call, Reply
from services.http.idempotency import CLAIM_US, KEPT_US, Writes
from services.http.partners import Caller
from services.http.problems import Refusal
from tests.stores import connect

NOW_US = 1_795_255_200_000_000
EVENT = {"event_id": "e-1", "user_id": "u-1", "type": "search", "ts": "2026-11-21T09:00:00Z"}
REPLAYED = ((b"idempotent-replayed", b"true"),)


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[list[Writer]]:
    """Those of two worker processes."""
    opened = [open_writer(tmp_path, lambda: NOW_US) for _ in "ab"]
    yield opened
    for writer in opened:
        writer.close()


def call(key: str | None = "k-1", body: bytes = b"{}", partner: str = "shop", now_us: int = NOW_US) -> Call:
    headers = {} if key is None else {"idempotency-key": key}
    return Call(Caller(partner, frozenset(), "sk"), body, headers=headers, received_at_us=now_us, address="PUT /v1/offers")


def insert(transaction: Transaction) -> dict[str, int]:
    """An effect that could happen twice."""
    transaction.execute("INSERT INTO cursors VALUES (?, 1, 1)", (secrets.token_hex(8),))
    return {"written": 1}


async def admitted(send: Callable[[], Awaitable[Reply]]) -> Reply:
    """Send again for as long as the store is busy: on a slow disk the other process may hold it for long."""
    while True:
        try:
            return await send()
        except Refusal as refusal:
            if refusal.problem.status != 503:
                raise
            await asyncio.sleep(0.05)


def n_effects(home: Path) -> int:
    ((n,),) = connect(home).execute("SELECT count(*) FROM cursors").fetchall()
    return int(n)


def test_64_parallel_copies_of_a_request_have_one_effect_and_one_answer(tmp_path: Path, writers: list[Writer]) -> None:
    async def send_all() -> list[Reply]:
        handlers = [Writes(writer, bytes(32)) for writer in writers]
        return await asyncio.gather(*(admitted(partial(handlers[i % 2].write, call(), insert, 201)) for i in range(64)))

    replies = asyncio.run(send_all())
    assert n_effects(tmp_path) == 1
    assert {(reply.status, reply.body) for reply in replies} == {(201, b'{"written":1}')}
    assert sorted(reply.headers for reply in replies) == [(), *[REPLAYED] * 63]


def test_64_parallel_copies_of_one_event_are_one_event(tmp_path: Path, writers: list[Writer]) -> None:
    body = msgspec.json.encode({"events": [EVENT]})

    async def send_all() -> list[Reply]:
        handlers = [EventsHandler(Writes(writer, bytes(32)), partner_keys(bytes(32))) for writer in writers]
        return await asyncio.gather(*(admitted(partial(handlers[i % 2].receive, call(None, body))) for i in range(64)))

    verdicts = [reply.body.results[0].status for reply in asyncio.run(send_all())]
    assert sorted(verdicts) == ["accepted", *["duplicate"] * 63]
    assert connect(tmp_path).execute("SELECT count(*) FROM events").fetchall() == [(1,)]


def test_a_key_stands_for_one_request_of_one_partner_for_a_day(tmp_path: Path, writers: list[Writer]) -> None:
    writes = Writes(writers[0], bytes(32))

    def write(**parts: Any) -> Reply:
        return asyncio.run(writes.write(call(**parts), insert))

    assert write().headers == ()
    assert write().headers == REPLAYED
    with pytest.raises(Refusal, match="another request") as refusal:
        write(body=b'{"other":1}')
    assert refusal.value.problem.status == 422
    assert write(partner="other").headers == ()
    assert write(now_us=NOW_US + KEPT_US - 1).headers == REPLAYED
    assert write(now_us=NOW_US + KEPT_US).headers == ()
    assert write(key=None).headers == write(key=None).headers == ()
    assert n_effects(tmp_path) == 5


def test_a_page_cannot_take_a_key_before_a_server_or_another_page(tmp_path: Path, writers: list[Writer]) -> None:
    writes = Writes(writers[0], bytes(32))
    callers = [Caller("shop", frozenset(), kind, key_id) for kind, key_id in (("pk", 1), ("pk", 2), ("sk", 3), ("sk", 4))]
    told = [asyncio.run(writes.write(call()._replace(caller=caller), insert)).headers for caller in callers]
    assert told == [(), (), (), REPLAYED]  # a partner's server keys take over from each other


def test_what_is_refused_is_not_written_and_may_be_tried_again(tmp_path: Path, writers: list[Writer]) -> None:
    writes = Writes(writers[0], bytes(32))

    def refuse(transaction: Transaction) -> None:
        insert(transaction)
        raise Refusal(404, "not yet")

    with pytest.raises(Refusal, match="not yet"):
        asyncio.run(writes.write(call(), refuse))
    assert n_effects(tmp_path) == 0
    assert asyncio.run(writes.write(call(), insert)).headers == ()


def test_64_parallel_copies_of_an_act_outside_the_store_act_once(tmp_path: Path, writers: list[Writer]) -> None:
    acts: list[int] = []

    async def send_all() -> list[Any]:
        handlers = [Writes(writer, bytes(32)) for writer in writers]
        others_told = asyncio.Event()

        async def act() -> int:
            acts.append(1)
            await others_told.wait()
            return 7

        async def send(i: int) -> Any:
            try:
                return await handlers[i % 2].act(call(), act, lambda transaction, n: insert(transaction) | {"n": n})
            except Refusal as refusal:
                told.append(refusal.problem.status)
                if len(told) == 63:
                    others_told.set()
                return None

        told: list[int] = []
        first = [reply for reply in await asyncio.gather(*(send(i) for i in range(64))) if reply]
        assert told == [409] * 63
        return [*first, await send(0)]

    replies = asyncio.run(send_all())
    assert (acts, n_effects(tmp_path)) == ([1], 1)
    assert [(reply.body, reply.headers) for reply in replies] == [
        (b'{"written":1,"n":7}', ()),
        (b'{"written":1,"n":7}', REPLAYED),
    ]


def test_an_act_that_fails_or_dies_frees_its_key(tmp_path: Path, writers: list[Writer]) -> None:
    writes = Writes(writers[0], bytes(32))

    async def fail() -> None:
        raise Refusal(429, "too many")

    async def die() -> None:
        raise asyncio.CancelledError

    async def do() -> None: ...

    def act(what: Any, now_us: int = NOW_US) -> Reply:
        return asyncio.run(writes.act(call(now_us=now_us), what, lambda transaction, _: insert(transaction)))

    with pytest.raises(Refusal, match="too many"):
        act(fail)
    with pytest.raises(asyncio.CancelledError):
        act(die)
    with pytest.raises(Refusal, match="under way"):
        act(do, NOW_US + CLAIM_US - 1)
    assert act(do, NOW_US + CLAIM_US).headers == ()
    assert n_effects(tmp_path) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb", "schlüssel"])
def test_a_key_that_is_none_is_refused(writers: list[Writer], key: str) -> None:
    with pytest.raises(Refusal, match="Idempotency-Key") as refusal:
        asyncio.run(Writes(writers[0], bytes(32)).write(call(key), insert))
    assert refusal.value.problem.status == 422


def test_keys_and_bodies_are_not_stored(tmp_path: Path, writers: list[Writer]) -> None:
    asyncio.run(Writes(writers[0], bytes(32)).write(call("canary-key", b'{"user_id":"canary-user"}'), insert))
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"canary" not in stored
