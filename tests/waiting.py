"""Waiting, in tests: for conditions, never for spans; and ports that nobody else is given meanwhile."""

import os
import select
import socket
import time
from collections.abc import Callable
from itertools import count
from typing import IO, Final

PATIENCE_S: Final = 300.0  # far longer than anything takes: only what never comes fails, on a busy machine too
POLL_S: Final = 0.02
FIRST_PORT: Final = 20_000  # below those that systems hand out by themselves, to servers and clients alike
PORTS: Final = 2_400  # of one process of the tests
_process: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw4").removeprefix("gw")) % 5
_places: Final = count(os.getpid() * 7)


def until(condition: Callable[[], object], what: str = "it did not come true", poll_s: float = POLL_S) -> None:
    """Wait for a condition; `what` is said where it never comes."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(poll_s)


def has_come(pipe: IO[str], within_s: float = 0.0) -> bool:
    """Whether there is something to read: of `select.select` no file may have a number above 1,023, of a long run one has."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN | select.POLLHUP)
    return bool(poll.poll(within_s * 1000))


def free_port() -> int:
    """A loopback port for a server that starts later, another one each time and in each process of the tests."""
    for place in _places:
        port = FIRST_PORT + PORTS * _process + place % PORTS
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                continue
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("unreachable: the count has no end")
