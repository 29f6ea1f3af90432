import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from services.http.batching import Batching, Steps, at_once


def told(taken: list[str], name: str, n: int = 2, error: Exception | None = None) -> Steps[str]:
    """Steps that write down when they are taken, and then return the name or raise."""
    for step in range(n):
        taken.append(f"{name}{step}")
        yield
    if error is not None:
        raise error
    return name


def together(*asked: Coroutine[Any, Any, str]) -> list[Any]:
    async def all_of() -> list[Any]:
        return list(await asyncio.gather(*asked, return_exceptions=True))

    return asyncio.run(all_of())


def test_requests_that_wait_at_the_same_time_take_each_step_together() -> None:
    batching, taken = Batching(), list[str]()
    assert together(*(batching.answer(told(taken, name)) for name in "abc")) == ["a", "b", "c"]
    assert taken == ["a0", "b0", "c0", "a1", "b1", "c1"]


def test_one_that_fails_or_has_fewer_steps_leaves_the_others_alone() -> None:
    batching, taken = Batching(), list[str]()
    asked = told(taken, "a", 1, KeyError("of a")), told(taken, "b", 3), told(taken, "c", 0)
    failed, *others = together(*map(batching.answer, asked))
    assert isinstance(failed, KeyError)
    assert others == ["b", "c"]


def test_a_batch_takes_no_more_than_it_may_and_the_rest_come_behind() -> None:
    batching, taken = Batching(most=2), list[str]()
    assert together(*(batching.answer(told(taken, name)) for name in "abcde")) == list("abcde")
    assert taken == ["a0", "b0", "a1", "b1", "c0", "d0", "c1", "d1", "e0", "e1"]


def test_whoever_has_gone_away_is_not_answered_and_the_others_are() -> None:
    batching, taken = Batching(), list[str]()

    async def one_leaves() -> list[Any]:
        first, second = (asyncio.create_task(batching.answer(told(taken, name))) for name in "ab")
        await asyncio.sleep(0)  # both wait
        first.cancel()
        return list(await asyncio.gather(first, second, return_exceptions=True))

    left, answered = asyncio.run(one_leaves())
    assert isinstance(left, asyncio.CancelledError)
    assert answered == "b"
    assert taken == ["b0", "b1"]


def test_one_alone_takes_its_steps_at_once() -> None:
    taken: list[str] = []
    assert at_once(told(taken, "a", 3)) == "a"
    with pytest.raises(KeyError):
        at_once(told(taken, "b", 1, KeyError("of b")))
    assert taken == ["a0", "a1", "a2", "b0"]


def test_batches_follow_one_another() -> None:
    batching, taken = Batching(), list[str]()

    async def twice() -> list[str]:
        return [await batching.answer(told(taken, name)) for name in "ab"]

    assert asyncio.run(twice()) == ["a", "b"]
    assert taken == ["a0", "a1", "b0", "b1"]
