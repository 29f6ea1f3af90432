"""Server-sent events: nothing missed after a break, one look into the outbox for all, and an end when it is time."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from infra.store.embedded.store import EmbeddedStore
from infra.store.engines import closed_store
from infra.store.statements.signals import ADD_SIGNAL
from services.api import stream as signal_stream
from services.api.stream import HEARTBEAT, HELLO, StreamHandler
from services.http.calls import Call
from services.http.partners import SCOPES, Caller
from services.http.problems import Refusal
from services.http.reader import Reader
from tests.stores import connect, embedded_only
from tests.waiting import PATIENCE_S


class Keys:
    """Everybody's key is valid until it is revoked."""

    revoked = False

    def authenticate(self, key: str, now_s: float) -> Caller | None:
        return None if self.revoked else Caller("shop", frozenset(SCOPES), "sk")


def emit(home: Path, n: int, partner: str = "shop") -> None:
    """Put signals into the outbox."""
    store = connect(home)
    with store:
        for _ in range(n):
            ((seq,),) = store.execute("SELECT coalesce(max(seq), 0) + 1 FROM signals")
            told = ("offer_discount", "{}", 0.5, "leave", seq, 0, 0)
            store.execute(ADD_SIGNAL, (f"sig_{seq}", partner, "p1", seq, *told))


def call(partner: str = "shop", **headers: str) -> Call:
    return Call(
        Caller(partner, frozenset(SCOPES), "sk"), b"", headers={name.replace("_", "-"): v for name, v in headers.items()}
    )


def run(home: Path, story: Callable[[StreamHandler, Keys], Awaitable[None]], **settings: Any) -> None:
    """Let a story happen on an event loop."""

    async def tell() -> None:
        keys = Keys()
        streams = StreamHandler(Reader(closed_store(home, wait_ms=0)), keys, poll_s=0.01, **settings)
        await asyncio.wait_for(story(streams, keys), PATIENCE_S)
        streams.close()

    asyncio.run(tell())


async def begun(streams: StreamHandler, asked: Call) -> AsyncIterator[bytes]:
    chunks = (await streams.listen(asked)).chunks
    assert await anext(chunks) == HELLO
    return chunks


async def ids(chunks: AsyncIterator[bytes], n: int) -> list[int]:
    """Cursors of the next signals; heartbeats are passed over."""
    found: list[int] = []
    while len(found) < n:
        chunk = await anext(chunks)
        if chunk != HEARTBEAT:
            found.append(int(chunk.split(b"\n")[0].removeprefix(b"id: ")))
    return found


def test_a_listener_gets_what_is_new_for_its_partner(tmp_path: Path) -> None:
    emit(tmp_path, 3)

    async def story(streams: StreamHandler, keys: Keys) -> None:
        chunks, others = await begun(streams, call()), await begun(streams, call("other"))
        await asyncio.to_thread(emit, tmp_path, 1, "other")
        await asyncio.to_thread(emit, tmp_path, 2)
        lines = (await anext(chunks)).decode().split("\n")
        assert lines[:2] == ["id: 5", "event: signal.offer_discount"]
        assert json.loads(lines[2].removeprefix("data: "))["data"]["signal_id"] == "sig_5"
        assert lines[3:] == ["", ""]
        assert (await ids(chunks, 1), await ids(others, 1)) == ([6], [4])

    run(tmp_path, story)


@pytest.mark.parametrize("n", [7, 1_300])  # more than a page
def test_who_comes_back_misses_nothing_and_gets_nothing_twice(tmp_path: Path, n: int) -> None:
    emit(tmp_path, n)

    async def story(streams: StreamHandler, keys: Keys) -> None:
        chunks = await begun(streams, call(last_event_id="2"))
        assert await ids(chunks, n - 5) == list(range(3, n - 2))
        await asyncio.to_thread(emit, tmp_path, 2)
        assert await ids(chunks, 5) == list(range(n - 2, n + 3))

    run(tmp_path, story)


def test_a_slow_listener_whom_the_memory_outran_reads_the_outbox(tmp_path: Path) -> None:
    async def story(streams: StreamHandler, keys: Keys) -> None:
        chunks = await begun(streams, call())
        await asyncio.to_thread(emit, tmp_path, 20)
        assert await ids(chunks, 1) == [1]
        await asyncio.sleep(0.05)
        assert await ids(chunks, 19) == list(range(2, 21))

    run(tmp_path, story, kept=3)


def test_a_quiet_stream_beats_and_ends_when_its_key_is_revoked(tmp_path: Path) -> None:
    async def story(streams: StreamHandler, keys: Keys) -> None:
        chunks = await begun(streams, call())
        assert await anext(chunks) == HEARTBEAT
        keys.revoked = True
        assert await anext(chunks, None) is None

    run(tmp_path, story, heartbeat_s=0.02)


def test_a_partner_has_so_many_streams_and_no_more(tmp_path: Path) -> None:
    async def story(streams: StreamHandler, keys: Keys) -> None:
        opened: list[Any] = [await begun(streams, call()) for _ in range(signal_stream.PER_PARTNER)]
        with pytest.raises(Refusal) as refused:
            await streams.listen(call())
        assert refused.value.problem.status == 429
        await begun(streams, call("other"))
        await opened[0].aclose()
        await begun(streams, call())

    run(tmp_path, story)


@embedded_only("the driver's trace counts statements")
def test_all_streams_share_one_look_into_the_outbox_and_end_together(tmp_path: Path) -> None:
    async def story(streams: StreamHandler, keys: Keys) -> None:
        opened = [await begun(streams, call()) for _ in range(5)]
        statements: list[str] = []

        def trace(cursor: apsw.Cursor, text: str, bindings: Any) -> bool:
            statements.append(text)
            return True

        store = streams._reader.store
        assert isinstance(store, EmbeddedStore)
        store.connection.exec_trace = trace
        await asyncio.to_thread(emit, tmp_path, 3)
        assert [await ids(chunks, 3) for chunks in opened] == [[1, 2, 3]] * 5
        assert len([text for text in statements if "FROM signals" in text]) < len(opened)
        streams.close()
        assert [await anext(chunks, None) for chunks in opened] == [None] * 5

    run(tmp_path, story)


def test_a_cursor_that_is_none_is_refused(tmp_path: Path) -> None:
    async def story(streams: StreamHandler, keys: Keys) -> None:
        with pytest.raises(Refusal):
            await streams.listen(call(last_event_id="abc"))

    run(tmp_path, story)
