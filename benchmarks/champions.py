"""Promote and rollback under load: how long until all workers answer with the new version, and whether a request fails.

``python -m benchmarks.champions [HOME]``. A service with two workers answers 200 recommendations a second on kept connections
while every model is promoted and rolled back; every answer names the versions it was made with. With a home (one that
`attune up` made), copies of its champions are promoted there; otherwise a simulated shop is trained first.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from benchmarks.simulated_home import make_champions
from infra import promotion, registry
from models.simulator.config import ShopConfig

HOST = "127.0.0.1"
PER_SECOND = 200
CONNECTIONS = 8
WORKERS = 2
ROUNDS = 2
BETWEEN_S = 1.5
BAR_S = 1.0


class Seen(NamedTuple):
    """One answer: when it was sent and received, on which connection, with what status and versions."""

    sent_s: float
    received_s: float
    connection: int
    status: int
    versions: dict[str, int]


class Load:
    """A steady stream of requests over connections that are kept; every answer is noted."""

    def __init__(self, port: int, requests: list[bytes]) -> None:
        self._port, self._requests = port, requests
        self.seen: list[Seen] = []
        self.n_broken = 0
        self.stopping = asyncio.Event()

    async def send(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send requests at one connection's share of the rate; a connection that breaks is counted and made again."""
        every_s = CONNECTIONS / PER_SECOND
        due_s, k = time.perf_counter() + number * every_s / CONNECTIONS, number
        while not self.stopping.is_set():
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            due_s += every_s
            sent_s = time.perf_counter()
            try:
                writer.write(self._requests[k % len(self._requests)])
                status, body = await _reply(reader)
            except (OSError, asyncio.IncompleteReadError):
                self.n_broken += 1
                reader, writer = await asyncio.open_connection(HOST, self._port)
                continue
            versions = msgspec.json.decode(body)["models"] if status == 200 else {}
            self.seen.append(Seen(sent_s, time.perf_counter(), number, status, versions))
            k += CONNECTIONS
        writer.close()


async def _reply(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    at = head.index(b"content-length:") + 15
    return int(head[9:12]), await reader.readexactly(int(head[at:].split(b"\r\n", 1)[0]))


async def connect_evenly(port: int, server: int) -> list[tuple[int, asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open connections until each worker has its share of them; with the process that serves each."""
    import psutil

    opened: list[tuple[int, asyncio.StreamReader, asyncio.StreamWriter]] = []
    for _ in range(200):
        fresh = await asyncio.gather(*(asyncio.open_connection(HOST, port) for _ in range(CONNECTIONS)))
        await asyncio.sleep(0.2)
        pids = {
            one.raddr.port: process.pid
            for process in psutil.Process(server).children(recursive=True)
            for one in process.net_connections(kind="tcp")
            if one.raddr
        }
        for reader, writer in fresh:
            pid = pids.get(writer.get_extra_info("sockname")[1])
            if pid and sum(one[0] == pid for one in opened) < CONNECTIONS // WORKERS:
                opened.append((pid, reader, writer))
            else:
                writer.close()
        if len(opened) == CONNECTIONS:
            return opened
    raise SystemExit(f"the connections went to {len({one[0] for one in opened})} of {WORKERS} workers")


def swap_s(seen: list[Seen], worker: dict[int, int], name: str, version: int, began_s: float) -> float:
    """Seconds until every worker had answered with the new version, and none with the old one any more."""
    later = [one for one in seen if one.received_s >= began_s and one.status == 200]
    old = [one.sent_s for one in later if one.versions.get(name) != version]
    first = [
        min(
            (one.received_s for one in later if worker[one.connection] == pid and one.versions.get(name) == version),
            default=float("inf"),
        )
        for pid in set(worker.values())
    ]
    return max(*first, *old, began_s) - began_s


async def swaps(home: Path, port: int, requests: list[bytes], server: int, copies: dict[str, int]) -> dict[str, Any]:
    """Promote and roll back every model under load."""
    load = Load(port, requests)
    opened = await connect_evenly(port, server)
    worker = {number: pid for number, (pid, _, _) in enumerate(opened)}
    streams = [asyncio.create_task(load.send(number, reader, writer)) for number, (_, reader, writer) in enumerate(opened)]
    await asyncio.sleep(2.0)
    took: dict[str, list[float]] = {"promote": [], "rollback": []}
    for _ in range(ROUNDS):
        for name, version in copies.items():
            for action, move in (
                ("promote", lambda n=name, v=version: promotion.promote(home, f"{n}:{v}")),
                ("rollback", lambda n=name: promotion.rollback(home, n)),
            ):
                began_s = time.perf_counter()
                moved = await asyncio.to_thread(move)
                await asyncio.sleep(BETWEEN_S)
                took[action].append(swap_s(load.seen, worker, name, moved.to_version, began_s))
    load.stopping.set()
    await asyncio.gather(*streams)
    ms = np.array([one.received_s - one.sent_s for one in load.seen]) * 1e3
    slowest = max(max(one) for one in took.values())
    n_failed = sum(one.status != 200 for one in load.seen) + load.n_broken
    return {
        "workers": len(set(worker.values())),
        "requests": len(load.seen),
        "requests_per_s": round(len(load.seen) / (load.seen[-1].received_s - load.seen[0].sent_s), 1),
        "swaps": sum(map(len, took.values())),
        **{f"{action}_s": {"median": round(float(np.median(s)), 3), "max": round(max(s), 3)} for action, s in took.items()},
        "failed_requests": n_failed,
        "p50_ms": round(float(np.percentile(ms, 50)), 2),
        "p99_ms": round(float(np.percentile(ms, 99)), 2),
        "bar_s": BAR_S,
        "reached": slowest <= BAR_S and n_failed == 0 and len(set(worker.values())) == WORKERS,
    }


def main(words: list[str]) -> None:
    """Measure, print one JSON object."""
    from benchmarks.load import post
    from benchmarks.serve import PATH, bodies, free_port, stop, wait_until_ready
    from services.http import partners

    config = ShopConfig(n_users=400, n_days=4, n_items=500)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(words[0]) if words else Path(folder) / "home"
        if not words:
            make_champions(home, config)
        key = partners.add(home, "local", time.time_ns() // 1000)
        requests = [post(PATH, body, key) for body in bodies(config, 100)]
        champions = {name: registry.load_artifact(home, name) for name in registry.champions(home)}
        copies = {name: registry.save(home, name, one.parts, {}, golden=one.golden) for name, one in champions.items()}
        port = free_port()
        command = [sys.executable, "-m", "services.cli", "serve", "--port", str(port), "--workers", str(WORKERS)]
        child = subprocess.Popen(command, env={**os.environ, "ATTUNE_HOME": str(home)}, stdout=sys.stderr)
        try:
            wait_until_ready(port, "/readyz", child, 240)
            time.sleep(5.0)  # the other worker may still be warming up
            print(json.dumps(asyncio.run(swaps(home, port, requests, child.pid, copies))))
        finally:
            stop(child)


if __name__ == "__main__":
    main(sys.argv[1:])
