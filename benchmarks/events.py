"""``POST /v1/events`` under load: one worker, batches of 100, the generator on the same machine.

``python -m benchmarks.events``. Every acknowledged event is counted in the log afterwards. Two floors are measured in the same
run: the same rows appended to a plain SQLite file with the same sync, one commit per batch; and a plain write and fsync of the
same bytes, which is what the disk itself takes.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw
import msgspec

from benchmarks.load import measure, post
from benchmarks.serve import HOST, free_port, processor_s, stop
from infra.store.embedded.connection import connect
from infra.store.embedded.migrate import migrate
from infra.store.statements.events import APPEND_EVENT, FROM_SERVER
from models.events.rules import to_row
from services.http import partners

BATCH = 100
SECONDS = 5.0
N_BATCHES = 4_000  # for each number of connections; more than are sent
FLOOR_BATCHES = 300
CONNECTIONS = (1, 4, 8)
PATH = "/v1/events"


def events(batch: int) -> list[dict[str, Any]]:
    """One batch, no event like another."""
    ts = datetime.now(UTC).isoformat()
    context = {"device": "mobile", "timezone": "Europe/Berlin", "referrer": "search"}
    return [
        {
            "event_id": f"e-{batch}-{i}",
            "user_id": f"u-{batch % 500}-{i // 10}",
            "session_id": f"s-{batch}-{i // 10}",
            "type": "item_view",
            "item_id": f"sku-{(batch * 7 + i) % 5000:05d}",
            "category": f"c-{i % 20}",
            "price": 9.5 + i,
            "dwell_ms": 1200.0,
            "ts": ts,
            "context": context,
        }
        for i in range(BATCH)
    ]


def wait_until_started(port: int, child: "subprocess.Popen[bytes]") -> None:
    """Until the service is warm; it has no champion and needs none."""
    until = time.monotonic() + 90
    while time.monotonic() < until and child.poll() is None:
        try:
            urllib.request.urlopen(f"http://{HOST}:{port}/readyz", timeout=2)
        except urllib.error.HTTPError as answer:
            if b"starting" not in answer.read():
                return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.1)
    raise SystemExit("the service did not start")


def rows_floor(folder: Path) -> float:
    """Events per second of plain SQLite, one durable commit per batch."""
    connection = apsw.Connection(str(folder / "floor.db"))
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")
    migrate(connection)
    batches = [[("p", *to_row(event, "f" * 32), 1, *FROM_SERVER) for event in events(n)] for n in range(FLOOR_BATCHES)]
    began = time.perf_counter()
    for batch in batches:
        with connection:
            connection.executemany(APPEND_EVENT, batch)
    return FLOOR_BATCHES * BATCH / (time.perf_counter() - began)


def disk_floor(folder: Path) -> float:
    """Events per second of a file that grows by a batch's bytes and is synced."""
    body = msgspec.json.encode(events(0))
    began = time.perf_counter()
    with (folder / "floor.bin").open("wb", buffering=0) as file:
        for _ in range(FLOOR_BATCHES):
            file.write(body)
            os.fsync(file.fileno())
    return FLOOR_BATCHES * BATCH / (time.perf_counter() - began)


def main() -> None:
    """Print one JSON object."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        home = folder / "home"
        key = partners.add(home, "shop", time.time_ns() // 1000)
        port = free_port()
        command = [sys.executable, "-m", "services.cli", "serve", "--port", str(port)]
        child = subprocess.Popen(command, env={**os.environ, "ATTUNE_HOME": str(home)}, stdout=sys.stderr)
        found: dict[str, Any] = {"batch": BATCH}
        acknowledged = 0
        try:
            wait_until_started(port, child)
            for number, n in enumerate(CONNECTIONS):
                first = number * N_BATCHES
                bodies = [msgspec.json.encode({"events": events(first + i)}) for i in range(N_BATCHES)]
                before = processor_s(child.pid)
                load = measure(HOST, port, [post(PATH, body, key) for body in bodies], n, SECONDS)
                cost_us = (processor_s(child.pid) - before) / sum(load.statuses.values()) / BATCH * 1e6
                acknowledged += load.statuses.get("202", 0) * BATCH
                found[f"connections_{n}"] = {
                    "events_per_s": load.requests_per_s * BATCH, **load._asdict(), "server_cpu_us_per_event": round(cost_us, 1)
                }  # fmt: skip
        finally:
            stop(child)
        stored = connect(home).execute("SELECT count(*) FROM events").fetchall()[0][0]
        found |= {"acknowledged": acknowledged, "stored": stored}
        found |= {"sqlite_events_per_s": round(rows_floor(folder)), "disk_events_per_s": round(disk_floor(folder))}
    best = max(found[f"connections_{n}"]["events_per_s"] for n in CONNECTIONS)
    found["ratio_to_sqlite"] = round(best / found["sqlite_events_per_s"], 3)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
