"""How fast the log takes events on a PostgreSQL server, against the embedded store of the same machine: durable, deduplicated.

One writer and two, each a process that appends groups of 1,000 with a verdict per row, one event in fifty twice. Both engines
take turns, and the medians of their rates are compared; what an append costs at the least, tells `benchmarks.append_floor`. The
server is that of ``ATTUNE_TEST_POSTGRES_URL``, else the local one.

    python -m benchmarks.append [ROUNDS]
"""

import json
import multiprocessing
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Final

import psycopg

from infra.store.engines import URL, open_store
from infra.store.statements.events import NOTHING_SAID
from infra.store.transaction import Row
from models.events.rules import to_row

GROUP: Final = 1_000
N_GROUPS: Final = 30  # of each writer, after the first ones
WARM: Final = 3
SERVER: Final = os.environ.get("ATTUNE_TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres")


def group(writer: int, number: int) -> list[Row]:
    """A group of events of twenty visitors; the last fiftieth are the first ones of the group before."""
    rows: list[Row] = []
    n_new = GROUP - GROUP // 50
    for k in range(GROUP):
        named = f"{writer}-{number}-{k}" if k < n_new else f"{writer}-{number - 1}-{k - n_new}"
        event = {"event_id": named, "type": "item_view", "item_id": f"sku-{k % 97}", "ts": "2026-11-21T10:00:00Z", "price": 9.5}
        rows.append(("shop", *to_row(event, f"visitor-{writer}-{number}-{k % 20}"), 7, 0, 1, *NOTHING_SAID))
    return rows


def write(home: Path, writer: int, begin: Barrier, took_s: "multiprocessing.Queue[float]") -> None:
    """Append groups in a process; from the moment when all writers are warm."""
    groups = [group(writer, n) for n in range(WARM + N_GROUPS)]
    with closing(open_store(home)) as store:
        for rows in groups[:WARM]:
            store.append(rows)
        begin.wait()
        began = time.perf_counter()
        for rows in groups[WARM:]:
            store.append(rows)
        took_s.put(time.perf_counter() - began)


def rate(home: Path, n_writers: int) -> float:
    """Events a second of some writers together, by the slowest of them."""
    context = multiprocessing.get_context("spawn")
    begin, took_s = context.Barrier(n_writers), context.Queue()
    writers = [context.Process(target=write, args=(home, k, begin, took_s)) for k in range(n_writers)]
    for one in writers:
        one.start()
    slowest = max(took_s.get(timeout=120) for _ in writers)
    for one in writers:
        one.join()
    return float(n_writers * N_GROUPS * GROUP / slowest)


def on_file(n_writers: int) -> float:
    """The rate of the embedded store, in a new home."""
    os.environ.pop(URL, None)
    with tempfile.TemporaryDirectory() as folder:
        open_store(Path(folder)).close()
        return rate(Path(folder), n_writers)


@contextmanager
def database() -> Iterator[str]:
    """A new database on the server, and the store of every home while it is there; its address."""
    name = f"attune_append_{secrets.token_hex(4)}"
    os.environ[URL] = f"{SERVER.rpartition('/')[0]}/{name}"
    try:
        with tempfile.TemporaryDirectory() as folder:
            open_store(Path(folder)).close()
        yield os.environ[URL]
    finally:
        del os.environ[URL]
        with closing(psycopg.connect(SERVER, autocommit=True)) as server:
            server.execute(psycopg.sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(psycopg.sql.Identifier(name)))


def on_server(n_writers: int) -> float:
    """The rate of a server, in a new database."""
    with database(), tempfile.TemporaryDirectory() as folder:
        return rate(Path(folder), n_writers)


def main(rounds: int = 5) -> dict[str, dict[str, float]]:
    """Rates of both engines and their ratio, by number of writers."""
    found: dict[str, dict[str, float]] = {}
    for n_writers in (1, 2):
        rates = [(on_file(n_writers), on_server(n_writers)) for _ in range(rounds)]
        embedded, server = (statistics.median(side) for side in zip(*rates, strict=True))
        ratio = statistics.median(b / a for a, b in rates)
        found[f"{n_writers} writers"] = {
            "embedded_per_s": round(embedded), "postgresql_per_s": round(server), "ratio": round(ratio, 2),
        }  # fmt: skip
    return found


if __name__ == "__main__":
    print(json.dumps(main(*map(int, sys.argv[1:]))))
