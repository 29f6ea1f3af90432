"""Connections that send no requests, or too much: a real server, raw sockets."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from math import inf
from typing import Any

import pytest
import uvicorn

from services.http.connections import HEAD_LIMIT, PIPELINED, Connection, Crowd, Limits
from tests.waiting import PATIENCE_S, until

GET = b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n"
LIMITS = Limits(total=12, per_peer=2, head_s=0.4, idle_s=0.4, unread_s=0.4, answer_s=2.0)


class Site:
    """A small server: it counts, answers with the size of the body, and can wait or answer with much."""

    def __init__(self) -> None:
        self.crowd = Crowd(LIMITS)
        self.n_asked = 0
        self.n_waiting = 0
        self.open = threading.Event()
        self.bound = socket.socket()
        self.bound.bind(("127.0.0.1", 0))
        protocol: Any = partial(Connection, self.crowd)
        config = uvicorn.Config(self.answer, http=protocol, interface="asgi3", lifespan="off", log_level="critical")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, args=([self.bound],))

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        self.n_asked += 1
        n = 0
        if scope["path"] == "/wait":
            self.n_waiting += 1
            try:
                while not self.open.is_set():
                    await asyncio.sleep(0.01)
            finally:
                self.n_waiting -= 1
        elif scope["path"] != "/refuse":
            more = True
            while more:
                message = await receive()
                n, more = n + len(message.get("body", b"")), message.get("more_body", False)
        if scope["path"] == "/drip":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
            for nth in range(5):
                await asyncio.sleep(0.5)
                await send({"type": "http.response.body", "body": b".", "more_body": nth < 4})
            return
        body = bytes(8 << 20) if scope["path"] == "/much" else b"%d" % n
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    async def sweep(self) -> None:
        await self.crowd.sweep()

    def connect(self) -> socket.socket:
        client = socket.create_connection(self.bound.getsockname(), timeout=PATIENCE_S)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def ask(self, request: bytes, n_answers: int = 1) -> bytes:
        with self.connect() as client:
            client.sendall(request)
            return answers(client, n_answers)


def answers(client: socket.socket, n: int = 1) -> bytes:
    """What comes until the n-th answer, or until the connection ends."""
    got = b""
    with suppress(ConnectionError):
        while got.count(b"\r\n\r\n") < n or got.endswith(b"\r\n\r\n"):
            piece = client.recv(1 << 16)
            if not piece:
                break
            got += piece
    return got


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    site = Site()
    loops: list[asyncio.AbstractEventLoop] = []
    sweeping: list[Any] = []

    async def tick() -> None:  # uvicorn calls it on its own loop
        if not loops:
            loops.append(asyncio.get_running_loop())
            sweeping.append(asyncio.create_task(site.sweep()))

    site.server.config.callback_notify = tick
    site.server.config.timeout_notify = 0
    site.thread.start()
    until(lambda: loops)
    yield site
    site.open.set()
    site.server.should_exit = True
    site.thread.join()


def ended(client: socket.socket) -> bytes:
    """All that comes until the server ends the connection."""
    got = b""
    with suppress(ConnectionError):
        while piece := client.recv(1 << 16):
            got += piece
    return got


def test_a_header_of_64_mib_is_refused_early_and_others_are_answered(site: Site) -> None:
    piece, n_sent = b"a" * 65536, 0
    with site.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nx: ")
        with suppress(ConnectionError):
            while n_sent < 64 << 20:
                client.sendall(piece)
                n_sent += len(piece)
                assert site.ask(GET % b"/").startswith(b"HTTP/1.1 200")
    assert n_sent < 64 << 20


@pytest.mark.parametrize("before", [b"", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"])
@pytest.mark.parametrize("n_bytes", [1, 1000, 65536])
def test_a_head_has_a_limit_however_it_is_cut_also_behind_another_request(site: Site, before: bytes, n_bytes: int) -> None:
    def head(size: int) -> bytes:
        start = b"GET / HTTP/1.1\r\nHost: a\r\nx: "
        return start + b"a" * (size - len(start) - 4) + b"\r\n\r\n"

    def said(request: bytes) -> bytes:
        with site.connect() as client:
            if before:
                client.sendall(before)
                assert answers(client).endswith(b"3")
            cut = len(request) if n_bytes > HEAD_LIMIT else HEAD_LIMIT - 2 * n_bytes
            with suppress(ConnectionError):
                client.sendall(request[:cut])
                for at in range(cut, len(request), n_bytes):
                    client.sendall(request[at : at + n_bytes])
            return answers(client)

    assert said(head(HEAD_LIMIT)).startswith(b"HTTP/1.1 200")
    assert said(head(HEAD_LIMIT + 1))[:12] in (b"HTTP/1.1 431", b"")


def test_a_body_does_not_count_as_head(site: Site) -> None:
    big = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + b"a" * 300_000
    assert site.ask(big + big, 2).count(b"\r\n\r\n300000") == 2


def test_a_body_that_nobody_reads_does_not_count_as_head_either(site: Site) -> None:
    with site.connect() as client:
        client.sendall(b"POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n")
        assert answers(client).startswith(b"HTTP/1.1 200")
        client.sendall(b"a" * 200_000)
        client.sendall(GET % b"/")
        assert answers(client).startswith(b"HTTP/1.1 200")


def test_who_sends_nothing_or_half_a_head_or_nothing_more_is_let_go(site: Site) -> None:
    with site.connect() as silent, site.connect() as half, site.connect() as idle:
        half.sendall(b"GET / HTTP/1.1\r\nHo")
        idle.sendall(GET % b"/")
        assert ended(silent) == b""
        assert ended(half).startswith(b"HTTP/1.1 408")
        assert ended(idle).startswith(b"HTTP/1.1 200")
    until(lambda: len(site.crowd) == 0)


def test_a_body_that_does_not_come_and_an_answer_that_takes_too_long_end_in_words(site: Site) -> None:
    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
    site.open.clear()
    with site.connect() as silent, site.connect() as begun, site.connect() as slow:
        silent.sendall(post)
        begun.sendall(post + b"{")
        slow.sendall(GET % b"/wait")
        for client, status in ((silent, b"408"), (begun, b"408"), (slow, b"504")):
            got = ended(client)
            assert got.startswith(b"HTTP/1.1 " + status)
            assert b"application/problem+json" in got
            assert json.loads(got.partition(b"\r\n\r\n")[2])["status"] == int(status)
        assert site.ask(GET % b"/").startswith(b"HTTP/1.1 200")
    until(lambda: len(site.crowd) == 0)
    until(lambda: site.n_waiting == 0)  # nobody works on for an answer that is over


def test_an_answer_that_has_begun_goes_on(site: Site) -> None:
    with site.connect() as client:
        client.sendall(b"GET /drip HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert ended(client).endswith(b".....")


def test_silent_connections_make_room_for_one_that_asks(site: Site) -> None:
    with ExitStack() as held:
        silent = [held.enter_context(site.connect()) for _ in range(3 * LIMITS.total)]
        assert site.ask(GET % b"/").startswith(b"HTTP/1.1 200")
        assert len(site.crowd) <= LIMITS.total
        assert ended(silent[0]) == b""


def test_when_all_are_answered_nobody_is_cut_off_and_the_next_one_is_refused(site: Site) -> None:
    site.open.clear()
    with ExitStack() as held:
        busy = [held.enter_context(site.connect()) for _ in range(LIMITS.total)]
        for client in busy:
            client.sendall(GET % b"/wait")
        until(lambda: site.n_waiting == LIMITS.total)
        assert site.ask(GET % b"/").startswith(b"HTTP/1.1 503")
        site.open.set()
        assert all(answers(client).startswith(b"HTTP/1.1 200") for client in busy)


def test_requests_sent_at_once_are_answered_in_their_order_up_to_a_limit(site: Site) -> None:
    some = b"".join(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (n, b"a" * n) for n in range(1, 9))
    got = site.ask(some, 8)
    assert [part[:1] for part in got.split(b"\r\n\r\n")[1:]] == [b"%d" % n for n in range(1, 9)]
    before = site.n_asked
    with site.connect() as client:
        with suppress(ConnectionError):
            client.sendall(GET % b"/" * 10_000)
        ended(client)
    assert site.n_asked - before <= PIPELINED + 1


def test_an_answer_that_nobody_reads_is_given_up(site: Site) -> None:
    with site.connect() as client:
        client.sendall(GET % b"/much")
        until(lambda: len(site.crowd) == 1)
        until(lambda: len(site.crowd) == 0)  # while it is still connected


def test_who_asks_for_a_web_socket_gets_a_plain_answer(site: Site) -> None:
    upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAA\r\n\r\n"
    assert site.ask(upgrade).startswith(b"HTTP/1.1 200")
    assert site.ask(b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400")
    until(lambda: len(site.crowd) == 0)


class Held:
    """A connection that does nothing by itself."""

    def __init__(self, deadline: float = 1.0, has_asked: bool = False) -> None:
        self.deadline, self.has_asked, self.is_open, self.transport = deadline, has_asked, True, self

    def abort(self) -> None:
        self.is_open = False


def test_a_peer_has_its_own_limit_and_its_silent_ones_go_before_its_idle_ones() -> None:
    def admitted(peer: str, **state: Any) -> tuple[Any, bool]:
        one: Any = Held(**state)
        return one, crowd.admit(one, peer)

    crowd = Crowd(LIMITS)
    idle, _ = admitted("192.0.2.7", has_asked=True)
    silent, _ = admitted("192.0.2.7", deadline=2.0)
    busy, is_in = admitted("192.0.2.7", deadline=inf, has_asked=True)
    assert (is_in, idle.is_open, silent.is_open) == (True, True, False)
    assert admitted("192.0.2.7", deadline=inf)[1]
    assert (idle.is_open, busy.is_open) == (False, True)
    assert not admitted("::ffff:192.0.2.7")[1]
    assert admitted("192.0.2.8")[1]
    assert [admitted("2001:db8::1", deadline=inf)[1] for _ in range(3)] == [True, True, False]
    assert [admitted(peer, deadline=inf)[1] for peer in ("127.0.0.1", "127.0.0.1", "127.0.0.1", "::1", "")] == [True] * 5
    crowd.leave(busy)
    crowd.leave(busy)
    assert admitted("192.0.2.7")[1]
