"""What an append costs a PostgreSQL server at the least: processor time for the same rows, table by table and index by index.

All statements take the groups of `benchmarks.append`, in turn, so that all meet the same machine. Beside them stand the append
as it is, its client and the embedded store. All are microseconds of processor time an event, medians over groups, and can be
compared on a machine that others use as well. The server must be on this one, where its process can be looked at.

    python -m benchmarks.append_floor [GROUPS]
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from benchmarks.append import GROUP, WARM, database, group
from infra.store.engines import URL, open_store
from infra.store.postgres import rows
from infra.store.postgres.connection import Connection, connect_server
from infra.store.statements.events import APPEND_COLUMNS
from infra.store.transaction import Row

IDS: Final = 'partner TEXT COLLATE "C" NOT NULL, event_id TEXT COLLATE "C" NOT NULL, seq BIGINT NOT NULL'
# What each table of the floor has beside its rows; `ids` only has the ids.
TABLES: Final = {
    "heap": (),
    "heap, number": ("CREATE UNIQUE INDEX ON {0} (seq)",),
    "heap, visitor": ("CREATE INDEX ON {0} (user_id, browser)",),
    "heap, age": ("CREATE INDEX ON {0} (occurred_at_us)",),
    "heap, dedupe": ("CREATE UNIQUE INDEX ON {0} (partner, event_id)",),
    "heap, all of them": (
        "CREATE UNIQUE INDEX ON {0} (seq)",
        "CREATE INDEX ON {0} (user_id, browser)",
        "CREATE INDEX ON {0} (occurred_at_us)",
        "CREATE UNIQUE INDEX ON {0} (partner, event_id)",
    ),
}
Do = Callable[[list[Row]], object]


def processor_us(pid: int) -> float:
    """Processor time of a process of this machine, microseconds."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e3


def statements(connection: Connection) -> Iterator[tuple[str, Do]]:
    """The floor: each statement's name, and what does it for a group."""
    shape, _ = _sent(group(0, 1))
    kinds = dict(zip(APPEND_COLUMNS, shape, strict=True))
    names = [name for name, kind in kinds.items() if kind != rows.ABSENT]
    cast = {name: f"${k + 1}::{rows.SENT[name]}" for k, name in enumerate(names)}
    many = [name for name in names if kinds[name] == rows.MANY]
    arrays = ", ".join(f"{cast[name]}[]" for name in many)
    source = f"unnest({arrays}) WITH ORDINALITY AS row ({', '.join(many)}, nth)"
    values = {name: f"row.{name}" if name in many else cast[name] for name in names}
    begin = "(SELECT log_position() - 1 AS before) AS own"

    def run(statement: str) -> Do:
        return lambda told: connection.execute(statement, _sent(told)[1])

    yield "arrays only", run(f"SELECT {', '.join(f'count({one})' for one in values.values())} FROM {source}")
    for number, (name, indices) in enumerate(TABLES.items()):
        table = f"floor_{number}"
        connection.execute(f"CREATE TABLE {table} (LIKE events INCLUDING DEFAULTS)")
        for index in indices:
            connection.execute(index.format(table))
        insert = f"INSERT INTO {table} (seq, {', '.join(names)}) SELECT own.before + nth, {', '.join(values.values())}"
        known = "ON CONFLICT DO NOTHING" if any("event_id" in index for index in indices) else ""
        yield name, run(f"{insert} FROM {begin}, {source} {known}")
    connection.execute(f"CREATE TABLE floor_ids ({IDS}, PRIMARY KEY (partner, event_id))")
    ids = "INSERT INTO floor_ids SELECT $1::text, row.event_id, own.before + nth"
    ids_of = f"{ids} FROM {begin}, unnest($2::text[]) WITH ORDINALITY AS row (event_id, nth) ON CONFLICT DO NOTHING"
    yield "ids, dedupe", lambda told: connection.execute(ids_of, (told[0][0], rows.array([row[1] for row in told])))
    yield "append", lambda told: rows.append(connection, told, 0)


def _sent(told: list[Row]) -> tuple[rows.Shape, list[Any]]:
    columns = list(zip(*told, strict=True))
    shape = rows.shape_of(columns)
    pairs = zip(shape, columns, strict=True)
    return shape, [rows.array(each) if kind == rows.MANY else each[0] for kind, each in pairs if kind != rows.ABSENT]


def on_server(n_groups: int) -> dict[str, float]:
    """The floor, and the append with its client."""
    spent: dict[str, list[float]] = {}
    client: list[float] = []
    with database() as url, closing(connect_server(url)) as connection:
        each = list(statements(connection))
        for n in range(WARM + n_groups):
            for writer, (name, do) in enumerate(each):
                told, before, began = group(writer, n), processor_us(connection.info.backend_pid), time.process_time()
                with connection.transaction():
                    do(told)
                client.append((time.process_time() - began) * 1e6 / GROUP)  # the last one's is the append's
                spent.setdefault(name, []).append((processor_us(connection.info.backend_pid) - before) / GROUP)
    found = {name: statistics.median(took[WARM:]) for name, took in spent.items()}
    return found | {"client of append": statistics.median(client[len(each) - 1 :: len(each)][WARM:])}


def on_file(n_groups: int) -> float:
    """The embedded store, client and all."""
    spent = []
    with tempfile.TemporaryDirectory() as folder, closing(open_store(Path(folder))) as store:
        for n in range(WARM + n_groups):
            told, began = group(0, n), time.process_time()
            store.append(told)
            spent.append((time.process_time() - began) * 1e6 / GROUP)
    return statistics.median(spent[WARM:])


def main(n_groups: int = 40) -> dict[str, Any]:
    """Microseconds an event by name, and what shares of the embedded store's speed they leave, the client included."""
    os.environ.pop(URL, None)
    embedded, server = on_file(n_groups), on_server(n_groups)
    least = server["heap, number"] - server["arrays only"] + server["ids, dedupe"]  # what no log can do without
    of_client = server["client of append"]
    return {
        "us_per_event": {name: round(us, 2) for name, us in (server | {"embedded": embedded}).items()},
        "share_of_append": round(embedded / (server["append"] + of_client), 2),
        "share_of_numbered_rows_and_their_ids": round(embedded / (least + of_client), 2),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*map(int, sys.argv[1:]))) + "\n")
