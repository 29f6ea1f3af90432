"""Promote and rollback under load: how long until all workers answer with the new version, and whether a request fails.

``python -m benchmarks.champions [HOME]``. A service with two workers answers 200 recommendations a second on kept connections
while every model is promoted and rolled back; every answer names the versions it was made with. With a home (one that
`attune up` made), copies of its champions are promoted there; otherwise a simulated shop is trained first (`crown`, which makes
the homes of other benchmarks and tests, too).
"""

import asyncio
import dataclasses
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

from infra import promotion, registry
from models import weight_profile as weights
from models.artifact import Golden, flat
from models.associations import model as associations
from models.engagement import from_log as log_engagement
from models.engagement import model as engagement_model
from models.events.encode import encode
from models.features import items, sessions, users
from models.inference import intent, labels, next_action
from models.inference.examples import Log
from models.inference.next_action import NextActionParams, Targets
from models.learners import boosting
from models.learners.boosting import BoostParams
from models.model_specs import MODEL_NAMES
from models.ranker import from_log as log_ranker
from models.ranker import model as ranker
from models.schema import HORIZONS_S
from models.simulator.config import ShopConfig
from models.simulator.simulation import simulate

HOST = "127.0.0.1"
PER_SECOND = 200
CONNECTIONS = 8
WORKERS = 2
ROUNDS = 2
BETWEEN_S = 1.5
BAR_S = 1.0


def crown(home: Path, config: ShopConfig, n_rounds: int = 60) -> dict[str, int]:
    """Train all models on a simulated shop, save them and make them champions.

    The next-action model sees users and items without history: good enough to serve, not to judge.

    Returns
    -------
    Version of each model.
    """
    frame = sessions.sessionize(simulate(config).events)
    events, item_ids, _ = encode(frame)
    starts = sessions.starts(frame)
    features = sessions.fold(events, starts)
    began_us = events["occurred_at_us"][np.flatnonzero(starts)[np.cumsum(starts) - 1]]
    valid = boosting.later_rows(began_us, 0.2)
    probabilities = labels.intent_probabilities(events, starts)
    user_codes = np.unique(frame["user_id"].to_numpy(str), return_inverse=True)[1].astype(np.int64)
    unknown = np.tile(np.concatenate((users.NOTHING_YET, items.NOTHING_YET)), (len(events), 1))
    wide = np.hstack((features, unknown)).astype(np.float32)
    targets = {
        name: Targets(labels.next_actions(events, starts, horizon_s), labels.purchase_within(events, user_codes, horizon_s))
        for name, horizon_s in HORIZONS_S.items()
    }
    few = NextActionParams(
        *(
            dataclasses.replace(part, n_rounds=min(part.n_rounds, n_rounds))
            for part in (NextActionParams().action, NextActionParams().purchase)
        )
    )
    models = {
        "intent": intent.fit(features, probabilities, BoostParams(n_rounds=n_rounds), valid=valid),
        "next_action": next_action.fit(wide, targets, few, valid=valid),
    }
    rows = {"intent": features[:4], "next_action": wide[:4]}
    parts = {
        "intent": intent.to_parts(models["intent"]),
        "next_action": next_action.to_parts(models["next_action"]),
        "associations": associations.to_parts(associations.build(events, starts, item_ids)),
        "weights": weights.to_parts(weights.HEURISTIC),
        "engagement": engagement_model.to_parts(_engagement(Log(events, starts, began_us, user_codes, []), features, valid)),
        "ranker": ranker.to_parts(log_ranker.fit(Log(events, starts, began_us, user_codes, list(item_ids)))),
    }
    versions = {}
    for name in MODEL_NAMES:
        golden = None
        if name in models:
            golden = Golden(rows[name].tolist(), [flat(models[name].predict_one(row)).tolist() for row in rows[name]])
        versions[name] = registry.save(home, name, parts[name], {}, golden=golden)
    registry.set_alias(home, registry.CHAMPION, versions, action="promote", actor="benchmark", reason="to serve")
    return versions


def _engagement(
    log: Log, features: engagement_model.Floats32, valid: engagement_model.Flags
) -> engagement_model.EngagementModel | None:
    bought = labels.purchase_within(log.events, log.user_codes, engagement_model.PARAMS.horizon_s)
    clock_us = int(log.started_us[valid].min())
    return log_engagement.learn(log.before(clock_us), engagement_model.Rows(features, bought, valid, log.started_us), clock_us)


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
    streams = [asyncio.create_task(load.send(number, *ends)) for number, (_, *ends) in enumerate(opened)]
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
            crown(home, config)
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
