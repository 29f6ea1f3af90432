"""Calls that cost seconds are limited by key, whichever process of a home is asked."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.store.engines import open_writer
from infra.store.protocol import Writer
from services.http.calls import Call
from services.http.dear_calls import DearCalls
from services.http.idempotency import Writes
from services.http.partners import Caller
from services.http.problems import Refusal

NOW_US = 1_795_255_200_000_000


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[list[DearCalls]]:
    """The limits of two processes of a home."""
    writers: list[Writer] = [open_writer(tmp_path, lambda: NOW_US) for _ in "ab"]
    yield [DearCalls(Writes(writer, bytes(32)), 4, ("tries", "tries")) for writer in writers]
    for writer in writers:
        writer.close()


def call(after_s: float = 0.0, key_id: int = 1) -> Call:
    caller = Caller("shop", frozenset(), "sk", key_id)
    return Call(
        caller, b"{}", headers={"idempotency-key": "same"}, received_at_us=NOW_US + round(after_s * 1e6), address="PUT /"
    )


def test_a_key_has_one_limit_in_all_processes_and_gets_it_back_after_a_minute(processes: list[DearCalls]) -> None:
    async def play() -> None:
        for k in range(4):
            await processes[k % 2].take(call(after_s=k))
        for process in processes:
            with pytest.raises(Refusal, match="4 tries a minute") as refusal:
                await process.take(call(after_s=10))
            assert refusal.value.problem.status == 429
            assert dict(refusal.value.headers)[b"retry-after"] == b"50"  # when the first was a minute ago
        await processes[0].take(call(after_s=10, key_id=2))  # another key has a limit of its own
        await processes[1].take(call(after_s=60))
        with pytest.raises(Refusal):
            await processes[0].take(call(after_s=60))
        await processes[0].take(call(after_s=61))

    asyncio.run(play())


def test_of_many_calls_at_one_moment_as_many_get_through_as_there_are_leases(processes: list[DearCalls]) -> None:
    async def play() -> list[object]:
        tries = [processes[k % 2].take(call(key_id=7)) for k in range(24)]
        return await asyncio.gather(*tries, return_exceptions=True)

    found = asyncio.run(play())
    assert [one for one in found if one is not None and not isinstance(one, Refusal)] == []
    assert sum(one is None for one in found) == 4
