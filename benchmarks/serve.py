"""``POST /v1/recommendations`` under load: one worker, sessions of 15 events, the generator on the same machine.

``python -m benchmarks.serve [HOME | ITEMS]``. The same requests follow with the ranker asked for. Beside it, in the same run, a
plain uvicorn application that only decodes and encodes the same bodies: the floor that no service of this kind goes below. With
a home (one that `attune up` made), its champions and features serve; otherwise a simulated shop is trained first, of 2,000
items if no other number is named, whose visitors come back: their history is read from the online store. `attune_strangers` are
visitors that nobody has seen before.
`two_workers` is the same load on two worker processes, against one; on two cores the generator takes its share of both.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import psutil

from benchmarks.load import measure, post
from services.api import wire
from services.http import partners

HOST = "127.0.0.1"
N_EVENTS = 15
N_SESSIONS = 300
SECONDS = 6.0
PATH = "/v1/recommendations"


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """Decode a request, encode an answer of the same size, nothing else."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if body:
        _DECODER.decode(body)
    answer = msgspec.json.encode(_ANSWERS[0] if _ANSWERS else {})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


_DECODER = msgspec.json.Decoder(wire.RecommendationRequest)
_ANSWERS: list[wire.Recommendation] = []


def set_answer(sample: bytes) -> None:
    """Let the floor answer this."""
    _ANSWERS.append(msgspec.json.decode(sample, type=wire.Recommendation))


def serve_plain(port: int, sample: Path) -> None:
    """Run the floor."""
    import uvicorn

    set_answer(sample.read_bytes())
    uvicorn.run(plain, host=HOST, port=port, access_log=False, log_level="warning", lifespan="off")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def wait_until_ready(port: int, path: str, child: "subprocess.Popen[bytes]", seconds: float = 90) -> float:
    """Seconds until a server answers 200."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if child.poll() is not None:
            raise SystemExit(f"the server ended with {child.returncode}")
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=2):
                return time.monotonic() - began
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise SystemExit(f"the server was not ready within {seconds} s")


def bodies(config: Any, n: int) -> list[bytes]:
    """Requests made of the first events of simulated sessions that have at least `N_EVENTS`, each visitor's last such one."""
    from models.features.sessions import sessionize
    from models.schema import MEASURES
    from models.simulator.simulation import simulate

    frame = sessionize(simulate(config).events)
    last: dict[str, list[Any]] = {}
    for _, rows in ((k, list(g)) for k, g in groupby(frame.to_dict("records"), lambda r: r["session_id"])):
        if len(rows) >= N_EVENTS:
            last[rows[0]["user_id"]] = rows
    found: list[bytes] = []
    for user_id, rows in islice(last.items(), n):
        events = []
        for row in rows[:N_EVENTS]:
            ts = datetime.fromtimestamp(row["occurred_at_us"] / 1e6, UTC).isoformat().replace("+00:00", "Z")
            values = {name: row[name] for name in ("item_id", "category", *MEASURES)}
            events.append({"type": row["event_type"], "ts": ts} | {k: v for k, v in values.items() if v is not None and v == v})
        context = {"device": "mobile", "timezone": "Europe/Berlin", "referrer": "search"}
        session = {"session_id": rows[0]["session_id"][:200], "context": context, "events": events}
        found.append(msgspec.json.encode({"user_id": user_id, "session_data": session, "limit": 20}))
    return found


def with_ranker(body: bytes) -> bytes:
    """The same request, to be answered by the ranker."""
    return msgspec.json.encode({**msgspec.json.decode(body), "ranker": True})


def ask(port: int, body: bytes, key: str) -> bytes:
    """One answer."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"http://{HOST}:{port}{PATH}", body, headers), timeout=10) as reply:
        return bytes(reply.read())


def serve(home: Path, workers: int) -> "tuple[int, subprocess.Popen[bytes]]":
    """Start a service of a home; its port, and its process."""
    port = free_port()
    command = [sys.executable, "-m", "services.cli", "serve", "--port", str(port), "--workers", str(workers)]
    return port, subprocess.Popen(command, env={**os.environ, "ATTUNE_HOME": str(home)}, stdout=sys.stderr)


def stop(child: "subprocess.Popen[bytes]") -> None:
    """End a server that we started."""
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(20)
    except subprocess.TimeoutExpired:
        child.kill()


class Ready(NamedTuple):
    """Home to ask, a key for it, and the bodies of requests."""

    home: Path
    key: str
    bodies: list[bytes]


def ready(words: list[str], scratch: Path) -> Ready:
    """The home that was named, or else one of a simulated shop; and what its visitors ask."""
    from benchmarks.simulated_home import make_home
    from models.simulator.config import ShopConfig, ending_at

    n_items = int(words[0]) if words and words[0].isdigit() else 2000
    config = ending_at(ShopConfig(n_users=1500, n_days=5, n_items=n_items), time.time_ns() // 1000 - 60_000_000)
    is_new = not words or words[0].isdigit()
    home = scratch / "home" if is_new else Path(words[0])
    if is_new:
        make_home(home, config, "local")
    return Ready(home, partners.add(home, "local", time.time_ns() // 1000), bodies(config, N_SESSIONS))


def main(words: list[str]) -> None:
    """Measure service and floor, print one JSON object."""
    with tempfile.TemporaryDirectory() as folder:
        home, key, sessions = ready(words, Path(folder))
        requests = [post(PATH, body, key) for body in sessions]
        strangers = [post(PATH, body.replace(b'{"user_id":"', b'{"user_id":"new-'), key) for body in sessions]
        by_ranker = [post(PATH, with_ranker(body), key) for body in sessions]
        users = [msgspec.json.decode(body)["user_id"] for body in sessions]
        empty = [post(PATH, msgspec.json.encode({"user_id": user}), key) for user in users]  # these read Feast
        engagement = [post("/v1/engagement", body, key) for body in sessions]  # these too: user and item
        port, child = serve(home, workers=1)
        try:
            ready_s = wait_until_ready(port, "/readyz", child)
            start_cpu_s, mib = processor_s(child.pid), [worker_mib(child.pid)]
            sample = Path(folder) / "answer.json"
            sample.write_bytes(ask(port, sessions[0], key))
            found = {
                "ready_s": round(ready_s, 1),
                "start_cpu_s": round(start_cpu_s, 1),
                "request_bytes": len(sessions[0]),
                "answer_bytes": sample.stat().st_size,
                "attune": under_load(port, requests, child.pid),
                "attune_strangers": under_load(port, strangers, child.pid),
                "attune_ranker": under_load(port, by_ranker, child.pid),
                "ranker_degraded": msgspec.json.decode(ask(port, with_ranker(sessions[0]), key))["degraded"],
                "attune_without_session": measure(HOST, port, empty, 1, SECONDS / 2)._asdict(),
                "attune_engagement": under_load(port, engagement, child.pid),
            }
            found["worker_mib"] = [*mib, worker_mib(child.pid)]  # when ready, and after the load
        finally:
            stop(child)
        port, child = serve(home, workers=2)
        try:
            wait_until_ready(port, "/readyz", child)
            found["two_workers"] = under_load(port, requests, child.pid)
        finally:
            stop(child)
        found["plain"] = run_plain(sample, requests)
    found["two_workers_to_one"] = round(
        found["two_workers"]["connections_8"]["requests_per_s"] / found["attune"]["connections_8"]["requests_per_s"], 2
    )
    found["ratio_to_plain"] = {
        name: round(found["attune"][name]["requests_per_s"] / found["plain"][name]["requests_per_s"], 3)
        for name in ("connections_1", "connections_8")
    }
    print(json.dumps(found))


def under_load(port: int, requests: list[bytes], server: int) -> dict[str, dict[str, Any]]:
    """One and eight connections, after a warm-up; with the processor time that a request cost the server and its children."""
    measure(HOST, port, requests, 4, 1.0)
    found = {}
    for n in (1, 8):
        before = processor_s(server)
        load = measure(HOST, port, requests, n, SECONDS)
        cost_us = (processor_s(server) - before) / sum(load.statuses.values()) * 1e6
        found[f"connections_{n}"] = load._asdict() | {"server_cpu_us": round(cost_us)}
    return found


def processor_s(server: int) -> float:
    """Processor seconds that a process and its children have used."""
    return float(sum(times.user + times.system for times in (process.cpu_times() for process in family(server))))


def worker_mib(server: int) -> int:
    """Resident memory of the largest process of a server, MiB."""
    return int(max(process.memory_info().rss for process in family(server)) / 2**20)


def family(server: int) -> list[psutil.Process]:
    """A process and its children."""
    return [psutil.Process(server), *psutil.Process(server).children(recursive=True)]


def run_plain(sample: Path, requests: list[bytes]) -> dict[str, dict[str, Any]]:
    """Measure the floor."""
    port = free_port()
    child = subprocess.Popen([sys.executable, "-m", "benchmarks.serve", "plain", str(port), str(sample)])
    try:
        wait_until_ready(port, "/", child)
        return under_load(port, requests, child.pid)
    finally:
        stop(child)


if __name__ == "__main__":
    if sys.argv[1:2] == ["plain"]:
        serve_plain(int(sys.argv[2]), Path(sys.argv[3]))
    else:
        main(sys.argv[1:])
