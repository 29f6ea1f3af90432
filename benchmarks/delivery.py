"""Webhooks: how soon a signal reaches its endpoint, whether one that hangs slows the others, how many a second.

Endpoints live in a process of their own and note when a request arrives. Two homes get the same signals at the same instants,
one of them with an endpoint more, that never answers: whatever else the machine does falls on both alike, and the rounds swap
the homes. Only differences above the spread between rounds mean something. At last a worker as an operator starts it, with all
its duties: from the durable event to the first attempt.

``python -m benchmarks.delivery [ROUNDS]`` prints one JSON object.
"""

import asyncio
import json
import multiprocessing
import random
import sys
import tempfile
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks import event_to_feature
from infra.store.embedded.connection import connect
from infra.store.engines import open_store, open_writer
from services.delivery.outbound import Outbound
from services.delivery.seals import Seals
from services.processes import spawn, stop
from services.worker.delivery import DeliveryDuty
from services.worker.runner import follow

ENDPOINTS: Final = 8
PER_S: Final = 25  # signals to each home; each goes to every endpoint of it
SECONDS: Final = 6.0
BURST: Final = 5_000
TIMEOUT_S: Final = 15.0
SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HANGS: Final = "/hang"
AFTER: Final = "/after-"  # such a path answers so many seconds later
EVENTS_PER_S: Final = 20
N_EVENTS: Final = 200
SUBSCRIBE: Final = (
    "INSERT INTO subscriptions (id, partner, url, signal_types, secret, created_at_us, updated_at_us) "
    "VALUES (?, 'shop', ?, '[]', ?, 0, 0)"
)
FIRST_ATTEMPTS: Final = (
    "SELECT min(a.started_at_us) - e.received_at_us FROM delivery_attempts a JOIN deliveries d USING (delivery_id) "
    "JOIN signals s USING (signal_id) JOIN events e ON e.seq = s.cause_seq GROUP BY signal_id ORDER BY e.seq"
)
ANSWER: Final = b"HTTP/1.1 204 No Content\r\n\r\n"


class _Endpoint(asyncio.Protocol):
    """Answers each POST at once, those to /hang never, those to /after-3/… 3 s later; notes path, message and instant."""

    def __init__(self, seen: list[tuple[str, str, float]]) -> None:
        self._seen = seen
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, found, rest = self._got.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if not found or len(rest) < int(fields[b"content-length"]):
            return
        path = head.split(b" ", 2)[1].decode()
        self._seen.append((path, fields[b"webhook-id"].decode(), time.perf_counter()))
        self._got = b""
        if path.startswith(AFTER):
            delay_s = float(path.removeprefix(AFTER).partition("/")[0])
            asyncio.get_running_loop().call_later(delay_s, self._transport.write, ANSWER)
        elif path != HANGS:
            self._transport.write(ANSWER)


def endpoints(pipe: Connection) -> None:
    """Serve until told to stop; hand over what arrived whenever asked."""

    async def serve() -> None:
        seen: list[tuple[str, str, float]] = []
        server = await asyncio.get_running_loop().create_server(lambda: _Endpoint(seen), "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        while await asyncio.to_thread(pipe.recv):
            pipe.send(seen.copy())
            seen.clear()

    asyncio.run(serve())


class Shop:
    """A home with subscriptions and its duty in a thread."""

    def __init__(self, home: Path, port: int, paths: list[str]) -> None:
        self.store = connect(home)
        for path in paths:
            url = f"http://127.0.0.1:{port}/{path}"
            self.store.execute(SUBSCRIBE, (path, url, SECRET))
        self._stopped = threading.Event()
        duty = DeliveryDuty(open_store(home), lambda: Outbound(True, TIMEOUT_S), random.Random(1), Seals(bytes(32)))
        words = (duty, self._stopped, (OSError,), lambda: time.time_ns() // 1000)
        self._thread = threading.Thread(target=follow, args=words)
        self._thread.start()

    def emit(self, first: int, n: int) -> float:
        """Commit signals; when that was done."""
        with self.store:
            self.store.executemany(
                "INSERT INTO signals (signal_id, partner, user_id, sequence, type, payload, score, predicted_action, "
                "cause_seq, created_at_us) VALUES (?, 'shop', ?, 1, 'offer_discount', '{\"percent\":10}', 0.5, 'leave', ?, ?)",
                [(f"sig_{i}", f"u-{i}", i, time.time_ns() // 1000) for i in range(first, first + n)],
            )
        return time.perf_counter()

    def close(self) -> None:
        """End the thread; what hangs is given up."""
        self._stopped.set()
        self._thread.join()


def arrivals(pipe: Connection, n: int) -> list[tuple[str, str, float]]:
    """What has arrived at endpoints that answer, as soon as that is `n`, or a minute is over."""
    seen: list[tuple[str, str, float]] = []
    until = time.monotonic() + 60
    while len(seen) < n and time.monotonic() < until:
        time.sleep(0.2)
        pipe.send(True)
        seen += [one for one in pipe.recv() if one[0] != HANGS]
    return seen


def side_by_side(port: int, pipe: Connection, hanging: int) -> list[np.ndarray]:
    """Milliseconds from commit to first attempt at the endpoints that answer, of both homes; one has an endpoint that hangs."""
    with tempfile.TemporaryDirectory() as folder:
        shops = []
        for home in (0, 1):
            paths = [f"{home}/{n}" for n in range(ENDPOINTS)] + ([HANGS[1:]] if home == hanging else [])
            shops.append(Shop(Path(folder) / str(home), port, paths))
        committed: dict[tuple[str, str], float] = {}
        began = time.perf_counter()
        # At random instants: an even pace falls into step with whatever polls.
        for n, at in enumerate(np.cumsum(np.random.default_rng(3).exponential(1 / PER_S, int(PER_S * SECONDS)))):
            time.sleep(max(0.0, began + at - time.perf_counter()))
            for home in (n % 2, 1 - n % 2):
                committed[str(home), f"sig_{n}"] = shops[home].emit(n, 1)
        seen = arrivals(pipe, len(committed) * ENDPOINTS)
        for shop in shops:
            shop.close()
    took = [(path[1], 1e3 * (at - committed[path[1], message])) for path, message, at in seen]
    return [np.array([ms for home, ms in took if home == str(wanted)]) for wanted in (1 - hanging, hanging)]


def burst(port: int, pipe: Connection) -> float:
    """Deliveries a second when very many are due to one endpoint."""
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop(Path(folder), port, ["well"])
        began = shop.emit(0, BURST)
        last = max(at for _, _, at in arrivals(pipe, BURST))
        shop.close()
    return BURST / (last - began)


def told(ms: np.ndarray) -> dict[str, float]:
    """Mean and percentiles."""
    p50, p99 = np.percentile(ms, (50, 99))
    return {"mean": round(float(ms.mean()), 1), "p50": round(float(p50), 1), "p99": round(float(p99), 1)}


def from_event(port: int) -> dict[str, float]:
    """Seconds from a durable event to the first attempt of the signal that it causes, through a whole worker."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        users = event_to_feature.prepare(home)
        store = connect(home)
        store.execute(SUBSCRIBE, ("well", f"http://127.0.0.1:{port}/well", SECRET))
        worker = spawn(("worker",), {"ATTUNE_HOME": folder, "ATTUNE_ALLOW_PRIVATE_WEBHOOKS": "true"}, home / "worker.log")
        writer = open_writer(home, lambda: time.time_ns() // 1000)
        try:
            event_to_feature.append(writer, users[0])
            until = time.monotonic() + 60
            while not store.execute(FIRST_ATTEMPTS).fetchall() and time.monotonic() < until:
                time.sleep(0.1)
            for user in users[1:N_EVENTS]:
                event_to_feature.append(writer, user)
                time.sleep(1 / EVENTS_PER_S)
            time.sleep(2.0)
        finally:
            stop([worker])
            writer.close()
        took = [float(str(us)) / 1e6 for (us,) in store.execute(FIRST_ATTEMPTS).fetchall()[1:]]
    return {"n_signals": len(took), **event_to_feature.percentiles(took)}


def main(rounds: int) -> dict[str, object]:
    """Measure all of it."""
    pipe, other = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=endpoints, args=(other,))
    process.start()
    port = pipe.recv()
    side_by_side(port, pipe, 0)  # warm
    found = [side_by_side(port, pipe, number % 2) for number in range(rounds)]
    rate = burst(port, pipe)
    whole = from_event(port)
    pipe.send(False)
    process.join()
    alone, beside = (told(np.concatenate([one[kind] for one in found])) for kind in (0, 1))
    return {
        "endpoints": ENDPOINTS,
        "signals_per_s": PER_S,
        "n": sum(len(one[0]) for one in found),
        "outbox_to_first_attempt_ms": alone,
        "outbox_to_first_attempt_ms_with_one_hanging": beside,
        "ratio_with_one_hanging": {name: round(beside[name] / alone[name], 3) for name in alone},
        "ratio_of_means_by_round": [round(float(one[1].mean() / one[0].mean()), 3) for one in found],
        "deliveries_per_s": round(rate),
        "event_to_first_attempt_s": whole,
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]) if len(sys.argv) > 1 else 4)))
