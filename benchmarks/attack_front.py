"""Attacks on the HTTP front that need no key, or a browser's: headers, connections, unread answers, bodies that cost much.

Honest visitors ask all the while. What an attack does to them is told by the 99th percentile of their answers, over the same
without it.
"""

import gzip
import json
import resource
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from benchmarks.attack_target import MIB, Outcome, Service, service
from benchmarks.load import Load, measure, post
from benchmarks.serve import HOST, bodies
from benchmarks.simulated_home import make_champions
from models.simulator.config import ShopConfig

CONFIG: Final = ShopConfig(n_users=300, n_days=3, n_items=300)
SECONDS: Final = 4.0  # of honest traffic beside an attack
SLOWER: Final = 3.0  # times, at most
MORE_MEMORY: Final = 1.10
SETTLE_S: Final = 20.0  # until the deadlines of the front have passed
Seen = tuple[str, bool]  # what an attacker saw, and whether that is what must show
GET: Final = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n"


def run(home: Path, long: bool) -> Iterator[Outcome]:
    """All attacks of this kind on one service."""
    make_champions(home, CONFIG, n_rounds=10)
    n = 2_000 if long else 400
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with service(home) as served:
        honest = [post("/v1/recommendations", body, served.server_key) for body in bodies(CONFIG, 100)]
        _ask(served, honest)  # warm
        usual = _ask(served, honest)
        attacks: list[tuple[str, Callable[[Service], Seen]]] = [
            (
                "one header of 200 MiB" if long else "one header of 64 MiB",
                lambda s: large_header(s, (200 if long else 64) * MIB),
            ),
            (f"{n} silent connections", lambda s: silent(s, n, b"")),
            (f"{n // 4} connections with half a header", lambda s: silent(s, n // 4, GET)),
            (f"{n // 2} answers that nobody reads", lambda s: unread(s, n // 2)),
            ("gzip bodies of empty members", lambda s: bodies_again(s, empty_members(), gzipped=True)),
            ("bodies of half characters", lambda s: bodies_again(s, half_characters())),
        ]
        for name, attack in attacks:
            yield _tried(served, honest, usual, name, attack)
        yield _afterwards(served)
    yield from ()


def _ask(served: Service, honest: list[bytes]) -> Load:
    return measure(HOST, served.port, honest, 1, SECONDS)


def _tried(served: Service, honest: list[bytes], usual: Load, name: str, attack: Callable[[Service], Seen]) -> Outcome:
    before, said = served.memory_mib(), [("it never ended", False)]
    beside = threading.Thread(target=lambda: said.__setitem__(0, attack(served)), daemon=True)
    beside.start()
    load = _ask(served, honest)
    beside.join(60)
    slower, others = load.p99_ms / usual.p99_ms, {k: v for k, v in load.statuses.items() if k != "200"}
    until = time.monotonic() + SETTLE_S
    while served.memory_mib() > before * MORE_MEMORY and time.monotonic() < until:
        time.sleep(0.5)
    more = served.memory_mib() / before
    ((told, refused),) = said
    seen = f"{told}; honest p99 {slower:.2f} times the usual, {sum(others.values())} refused; memory {more:.2f} times"
    held = refused and slower <= SLOWER and not others and more <= MORE_MEMORY
    return Outcome(
        name,
        f"the attacker is sent away; p99 at most {SLOWER:g} times, none refused, memory at most {MORE_MEMORY:g} times",
        seen,
        held,
    )


def _afterwards(served: Service) -> Outcome:
    ours = [one for child in served.process.children(recursive=True) for one in child.net_connections("tcp")]
    open_ones = [one for one in ours if one.status == "ESTABLISHED" and one.laddr.port == served.port]
    return Outcome("connections left over", "none", f"{len(open_ones)} are still open", not open_ones)


@contextmanager
def connected(served: Service, n: int) -> Iterator[list[socket.socket]]:
    """Open so many connections; closed at the end."""
    made = []
    try:
        for _ in range(n):
            with suppress(OSError):
                made.append(socket.create_connection((HOST, served.port), timeout=5))
        yield made
    finally:
        for one in made:
            one.close()


def large_header(served: Service, size: int) -> Seen:
    """Send one header without end."""
    sent, chunk = 0, b"x" * MIB
    with connected(served, 1) as (one,), suppress(OSError):
        one.sendall(GET + b"X-Large: ")
        while sent < size:
            one.sendall(chunk)
            sent += len(chunk)
    return f"{sent / MIB:.0f} MiB were taken", sent <= 8 * MIB  # what fits into the buffers of the system


def silent(served: Service, n: int, first: bytes) -> Seen:
    """Open connections that say nothing more, and wait for the deadlines."""
    with connected(served, n) as made:
        for one in made:
            with suppress(OSError):
                one.sendall(first)
        until = time.monotonic() + SETTLE_S
        waiting = list(made)
        while waiting and time.monotonic() < until:
            waiting = [one for one in waiting if _is_open(one)]
            time.sleep(0.25)
        return f"{len(made)} opened, {len(waiting)} still open after {SETTLE_S:g} s", not waiting


def _is_open(one: socket.socket) -> bool:
    try:
        one.setblocking(False)
        return one.recv(4096) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def unread(served: Service, n: int) -> Seen:
    """Ask for a large page again and again without reading."""
    asks = b"GET /docs HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 50
    with connected(served, n // 50 or 1) as made:
        for one in made:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.settimeout(0.2)
            with suppress(OSError):
                one.sendall(asks)
        time.sleep(SECONDS)
        return f"{50 * len(made)} asked", True


def empty_members() -> bytes:
    """A gzip body of a mebibyte that holds nothing, many thousand times."""
    member = gzip.compress(b"")
    return member * (MIB // len(member))


def half_characters() -> bytes:
    """An event of many halves of characters."""
    event = {"event_id": "e", "user_id": "u", "type": "search", "query": "QUERY"}
    return json.dumps({"events": [event]}).replace("QUERY", "\\ud800" * 250).encode()


def bodies_again(served: Service, body: bytes, *, gzipped: bool = False) -> Seen:
    """Send a body again and again for as long as the honest ask."""
    request = post("/v1/events", body, served.browser_key)
    if gzipped:
        request = request.replace(b"Content-Length", b"Content-Encoding: gzip\r\nContent-Length", 1)
    n, until = 0, time.monotonic() + SECONDS
    while time.monotonic() < until:
        with connected(served, 1) as (one,), suppress(OSError):
            one.sendall(request)
            n += bool(one.recv(65536))
    return f"{n} sent", True
