"""The worker's duties: each in its thread, tried again after a failure, none in another's way."""

import logging
import threading
from collections.abc import Callable

import pytest

from services.worker.runner import follow, follow_all
from tests.waiting import PATIENCE_S, until


class Chore:
    """A duty that does what it is given, step by step, and then nothing."""

    poll_s = 0.001

    def __init__(self, name: str, *steps: Callable[[], int]) -> None:
        self.name = name
        self._steps = iter(steps)
        self.n_steps = 0
        self.threads: set[int] = set()

    def step(self, now_us: int) -> int:
        self.n_steps += 1
        self.threads.add(threading.get_ident())
        return next(self._steps, lambda: 0)()


def failing(error: Exception) -> Callable[[], int]:
    def step() -> int:
        raise error

    return step


def test_a_store_that_fails_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    stopped = threading.Event()
    done: list[int] = []
    chore = Chore("chore", failing(OSError("secret")), lambda: 1, lambda: done.append(1) or stopped.set() or 0)  # type: ignore[func-returns-value]
    with caplog.at_level(logging.WARNING):
        follow(chore, stopped, (OSError,), lambda: 7, least_rest_s=0.001)
    assert done == [1]
    assert "chore is tried again" in caplog.text
    assert "secret" not in caplog.text


def test_an_unforeseen_error_stops_neither_its_duty_nor_the_others(caplog: pytest.LogCaptureFixture) -> None:
    stopped = threading.Event()
    bad = Chore("bad", failing(KeyError("u-1")), failing(KeyError("u-1")))
    good = Chore("good")
    runner = threading.Thread(target=follow_all, args=([bad, good], stopped, (OSError,)), kwargs={"least_rest_s": 0.001})
    with caplog.at_level(logging.ERROR):
        runner.start()
        until(lambda: bad.n_steps > 4 and good.n_steps > 4)
    stopped.set()
    runner.join(PATIENCE_S)
    assert not runner.is_alive()
    assert bad.threads.isdisjoint(good.threads)
    assert "unforeseen KeyError at test_runner.py" in caplog.text
    assert "u-1" not in caplog.text


def test_a_slow_step_does_not_hold_up_another_duty() -> None:
    stopped, release = threading.Event(), threading.Event()
    slow = Chore("slow", lambda: int(release.wait(PATIENCE_S)))
    quick = Chore("quick")
    runner = threading.Thread(target=follow_all, args=([slow, quick], stopped, (OSError,)))
    runner.start()
    until(lambda: quick.n_steps > 20)
    assert slow.n_steps == 1
    stopped.set()
    release.set()  # the step under way is let come to its end
    runner.join(PATIENCE_S)
    assert not runner.is_alive()


def test_what_a_duty_holds_is_let_go_in_its_thread() -> None:
    class Holder(Chore):
        closed_in = 0

        def close(self) -> None:
            self.closed_in = threading.get_ident()

    stopped, holder = threading.Event(), Holder("holder")
    runner = threading.Thread(target=follow_all, args=([holder], stopped, (OSError,)))
    runner.start()
    until(lambda: holder.n_steps > 0)
    stopped.set()
    runner.join(PATIENCE_S)
    assert holder.threads == {holder.closed_in}


class Clock(threading.Event):
    """An event that nobody waits for: it keeps for how long it was asked to wait, and is set after so many times."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.waited: list[float] = []
        self._most = most

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout or 0.0)
        if len(self.waited) == self._most:
            self.set()
        return self.is_set()


def test_a_duty_gathers_what_comes_slowly_and_catches_up_without_a_pause() -> None:
    chore = Chore("chore", lambda: 5_000, lambda: 100, lambda: 3, lambda: 0, lambda: 1)
    chore.gather_s = 0.4  # type: ignore[attr-defined]
    clock = Clock(3)
    follow(chore, clock, (OSError,), lambda: 7)
    assert clock.waited == [0.4, 0.001, 0.4]
    assert chore.n_steps == 5
    plain = Chore("plain", lambda: 3, lambda: 2)
    clock = Clock(1)
    follow(plain, clock, (OSError,), lambda: 7)
    assert (clock.waited, plain.n_steps) == ([0.001], 3)
