"""Features: validate, materialize, join and read online, each beside the plainest thing that could do it.

``python -m benchmarks.features [USERS]`` simulates a shop (default 2,000 users, about 120,000 events) and prints one JSON
object. Redis figures appear when one answers at ATTUNE_TEST_REDIS_URL or on the usual port.
"""

import json
import os
import resource
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from feature_repo.features import declare
from feature_repo.store import DEFAULT_REDIS_URL, open_store
from flows.materialize import bring_online, materialize, training_set, write_tables
from flows.validate import validate
from infra.store.engines import open_store as open_log
from infra.store.events import append_events, read_events
from models.inference import examples
from models.schema import ITEM_FEATURES, LAST_EVENT_AT, USER_FEATURES
from models.simulator import ShopConfig, simulate

N_READS = 2_000


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def micros(read: Callable[[str], Any], keys: list[str]) -> dict[str, float]:
    """p50 and p99 of one read, µs."""
    for key in keys[:50]:
        read(key)
    took = sorted(timed(partial(read, key))[0] * 1e6 for key in keys)
    return {"p50_us": round(statistics.median(took), 1), "p99_us": round(took[int(len(took) * 0.99)], 1)}


def online(store: Any, users: list[str], items: list[str]) -> dict[str, Any]:
    names = [f"user_features:{name}" for name in (*USER_FEATURES, LAST_EVENT_AT)]
    recent = ["user_recent_items:recent_item_ids", "user_recent_items:recent_items_at_us"]
    of_item = [f"item_features:{name}" for name in ITEM_FEATURES]
    return {
        "recent_items": micros(lambda key: store.get_online_features(recent, [{"user_id": key}]).to_dict(), users),
        "user_features": micros(lambda key: store.get_online_features(names, [{"user_id": key}]).to_dict(), users),
        "item_features": micros(lambda key: store.get_online_features(of_item, [{"item_id": key}]).to_dict(), items),
    }


def plain_read(connection: Any, view: str, keys: dict[str, bytes], user: str) -> list[Any]:
    """The rows of a user in a view, as bytes."""
    rows = connection.execute(f'SELECT feature_name, value FROM "attune_{view}" WHERE entity_key = ?', (keys[user],))
    return list(rows)


def floors(home: Path, users: list[str]) -> dict[str, Any]:
    """The same rows read without Feast: bytes out of SQLite by key."""
    import apsw
    from feast.infra.key_encoding_utils import serialize_entity_key
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    def encoded(user: str) -> bytes:
        key = EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=user)])
        return bytes(serialize_entity_key(key, entity_key_serialization_version=3))

    connection = apsw.Connection(str(home / "feast/online.db"), flags=apsw.SQLITE_OPEN_READONLY)
    found = {}
    for view in ("user_recent_items", "user_features"):
        found[view] = micros(partial(plain_read, connection, view, {user: encoded(user) for user in users}), users)
    return found


def redis_part(home: Path, offline: Any, n_keys: int, users: list[str], items: list[str]) -> dict[str, Any] | None:
    from redis import Redis
    from redis.exceptions import RedisError

    url = os.environ.get("ATTUNE_TEST_REDIS_URL", DEFAULT_REDIS_URL)
    client = Redis.from_url(url, socket_connect_timeout=1)
    try:
        client.ping()
    except RedisError:
        return None
    project = f"attune_bench_{uuid.uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder), "scale", redis_url=url, project=project)
        seconds, _ = timed(lambda: bring_online(store, Path(folder), offline))
        keys = list(client.scan_iter(match=f"*{project}*", count=10_000))
        try:
            plain = micros(lambda key: client.hgetall(key), keys[:N_READS])
            reads = online(store, users, items)
        finally:
            for at in range(0, len(keys), 10_000):
                client.delete(*keys[at : at + 10_000])
    ratio = round(reads["user_features"]["p50_us"] / plain["p50_us"], 1)
    return {"keys_per_s": round(n_keys / seconds), "reads": reads, "plain_hgetall": plain, "ratio_user_features": ratio}


def join(home: Path) -> dict[str, Any]:
    with closing(open_log(home)) as store:
        log, frame = examples.read_log(read_events(store))
    rows = examples.choose(log, frame, examples.ExampleParams(at_most=100_000))
    entities = examples.entities(log, frame, rows)
    seconds, found = timed(lambda: training_set(home, entities))
    table = pd.read_parquet(home / "offline/user_features.parquet").sort_values("occurred_at")
    left = entities.sort_values("occurred_at")
    floor, other = timed(
        lambda: pd.merge_asof(left, table, on="occurred_at", by="user_id", allow_exact_matches=False).set_index("row_id")
    )
    same = np.array_equal(found.set_index("row_id")["user_n_events"], other["user_n_events"][found["row_id"]], equal_nan=True)
    return {
        "rows": len(entities),
        "seconds_three_views": round(seconds, 2),
        "rows_per_s": round(len(entities) / seconds),
        "merge_asof_one_view_s": round(floor, 2),
        "same_user_values": bool(same),
    }


def main() -> None:
    n_users = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    now_us = time.time_ns() // 1_000
    events = simulate(ShopConfig(n_users=n_users, n_days=14, seed=1, start_us=now_us - 14 * 86_400_000_000)).events
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with closing(open_log(home)) as store:
            store.write(lambda transaction: append_events(transaction, events, "bench", now_us))
        validated, result = timed(lambda: validate(home))
        tables, offline = timed(lambda: write_tables(home))
        features = open_store(home)
        pushed, _ = timed(lambda: bring_online(features, home, offline))
        again, _ = timed(lambda: materialize(home))
        declared = declare(home / "offline")
        latest = pd.read_parquet(home / "offline/user_features.parquet", columns=["user_id"])["user_id"]
        users = latest.drop_duplicates().head(N_READS).tolist()
        catalogue = pd.read_parquet(home / "offline/item_features.parquet", columns=["item_id"])["item_id"].drop_duplicates()
        n_keys = 2 * latest.nunique() + len(catalogue)
        reads, plain = online(features, users, catalogue.head(N_READS).tolist()), floors(home, users)
        print(
            json.dumps(
                {
                    "events": len(events),
                    "views": len(declared.views),
                    "validate": {
                        "events_per_s": round(len(events) / validated),
                        "seconds": round(validated, 2),
                        "passed": result.passed,
                    },
                    "offline_tables": {
                        "events_per_s": round(len(events) / tables),
                        "seconds": round(tables, 2),
                        "rows": offline.rows,
                    },
                    "materialize": {
                        "seconds_online": round(pushed, 2),
                        "seconds_all_again": round(again, 2),
                        "online_keys": n_keys,
                        "online_keys_per_s": round(n_keys / pushed),
                    },
                    "online_sqlite": reads,
                    "plain_sqlite": plain,
                    "ratio_to_plain_sqlite": {
                        "recent_items": round(reads["recent_items"]["p50_us"] / plain["user_recent_items"]["p50_us"], 1),
                        "user_features": round(reads["user_features"]["p50_us"] / plain["user_features"]["p50_us"], 1),
                    },
                    "redis": redis_part(home, offline, n_keys, users, catalogue.head(N_READS).tolist()),
                    "point_in_time_join": join(home),
                    "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                }
            )
        )


if __name__ == "__main__":
    main()
