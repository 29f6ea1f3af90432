"""A load generator on raw sockets: so many keep-alive connections, each asking again as soon as it is answered, for so long.

It costs a fraction of a client library, because it shares the machine with the server it measures.
"""

import asyncio
import time
from functools import partial
from typing import NamedTuple, cast

import numpy as np


class Load(NamedTuple):
    """What came back: requests per second, latency in milliseconds, and answers by status."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    statuses: dict[str, int]


def post(path: str, body: bytes, key: str, host: str = "127.0.0.1") -> bytes:
    """The bytes of one request."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """Sends one request after the other until the end, and notes how long each answer took."""

    def __init__(self, requests: list[bytes], start: int, step: int, until: float, done: "asyncio.Future[None]") -> None:
        self._requests, self._next, self._step, self._until, self._done = requests, start, step, until, done
        self._got = bytearray()
        self._expected = -1
        self.seconds: list[float] = []
        self.statuses: dict[str, int] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class
        self._ask()

    def _ask(self) -> None:
        self._asked_at = time.perf_counter()
        self._transport.write(self._requests[self._next % len(self._requests)])
        self._next += self._step

    def data_received(self, data: bytes) -> None:
        self._got += data
        if self._expected < 0:
            end = self._got.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._got[:end]).lower()
            at = head.index(b"content-length:") + 15
            self._expected = end + 4 + int(head[at:].split(b"\r\n", 1)[0])
            status = head[9:12].decode()
            self.statuses[status] = self.statuses.get(status, 0) + 1
        if len(self._got) < self._expected:
            return
        now = time.perf_counter()
        self.seconds.append(now - self._asked_at)
        del self._got[:]
        self._expected = -1
        if now < self._until:
            self._ask()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)


async def _run(host: str, port: int, requests: list[bytes], connections: int, seconds: float) -> Load:
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    made = []
    for number in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        connect = partial(_Connection, requests, number, connections, began + seconds, done)
        _, protocol = await loop.create_connection(connect, host, port)
        made.append((protocol, done))
    await asyncio.wait_for(asyncio.gather(*(done for _, done in made)), seconds + 10)
    took = time.perf_counter() - began
    all_ms = np.concatenate([protocol.seconds for protocol, _ in made]) * 1e3
    statuses: dict[str, int] = {}
    for protocol, _ in made:
        for status, n in protocol.statuses.items():
            statuses[status] = statuses.get(status, 0) + n
    p50, p99 = np.percentile(all_ms, (50, 99))
    return Load(round(len(all_ms) / took), round(p50, 3), round(p99, 3), round(float(all_ms.max()), 3), statuses)


def measure(host: str, port: int, requests: list[bytes], connections: int, seconds: float) -> Load:
    """Put a server under load.

    Parameters
    ----------
    requests
        Whole requests, sent in turn.
    seconds
        After this long no new request is sent.
    """
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(host, port, requests, connections, seconds))
