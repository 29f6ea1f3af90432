"""The service as it is started: BentoML's supervisor and worker, a real port, a real key.

One service for the first tests, since starting it takes seconds; its home lies on a small disk, which one of them fills.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from infra import registry
from services.http import partners
from tests.stores import connect, copied, embedded_only
from tests.waiting import PATIENCE_S, free_port, until

ROOT = Path(__file__).parents[2]
LEAST_MIB = 8


def call(url: str, body: Any = None, key: str = "") -> tuple[int, Any]:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=PATIENCE_S) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()
    except OSError:
        return 0, b""


@contextmanager
def running(
    command: list[str], url: str, env: dict[str, str], log: Path, cwd: Path = ROOT
) -> Iterator[subprocess.Popen[bytes]]:
    """A server that is ready, stopped by its process id at the end."""
    with log.open("wb") as out:
        child = subprocess.Popen(command, env=os.environ | env, stdout=out, stderr=out, cwd=cwd)
    try:
        until(lambda: call(f"{url}/readyz")[0] == 200 or child.poll() is not None, log.read_text(), poll_s=0.1)
        assert child.poll() is None, log.read_text()
        yield child
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            child.wait(PATIENCE_S)


@pytest.fixture
def home(crowned: Path, tmp_path: Path) -> Path:
    return copied(crowned, tmp_path / "home")


def only_we_listen(pid: int, port: int) -> None:
    """Nothing but our application is there: no page of BentoML, no port of its supervisor, no head without an end."""
    for path in ("schema.json", "docs.json", "healthz", "static_content/main.css", "v1%2fintent"):
        assert call(f"http://127.0.0.1:{port}/{path}")[0] == 404
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    listening = {c.laddr.port for one in family for c in one.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    assert listening == {port}
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client, suppress(ConnectionError):
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\nx: " + b"a" * 32_768)
        assert client.recv(100)[:12] in (b"HTTP/1.1 431", b"")
        assert client.recv(100) == b""


class Served(NamedTuple):
    """A service that runs, and its partner's key."""

    home: Path
    port: int
    key: str
    child: "subprocess.Popen[bytes]"
    log: Path

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        return call(f"http://127.0.0.1:{self.port}{path}", body, self.key)

    def get(self, path: str) -> tuple[int, Any]:
        return call(f"http://127.0.0.1:{self.port}{path}")

    def family(self) -> list[psutil.Process]:
        return list(psutil.Process(self.child.pid).children(recursive=True))


@pytest.fixture(scope="module")
def small_disk(crowned: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A disk with little more room than a home needs; a folder of the usual one where nothing can be mounted."""
    disk = tmp_path_factory.mktemp("disk")
    size = sum(path.stat().st_size for path in crowned.rglob("*") if path.is_file()) + (24 << 20)
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    if shutil.which("mount") is not None:
        subprocess.run(words, capture_output=True, check=False)
    yield disk
    if disk.is_mount():
        subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture(scope="module")
def served(crowned: Path, small_disk: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`attune serve` on a home of its own."""
    home, port = Path(copied(crowned, small_disk / "home")), free_port()
    key, log = partners.add(home, "shop", time.time_ns() // 1000), tmp_path_factory.mktemp("served") / "log"
    command = [sys.executable, "-m", "services.cli", "serve", "--port", str(port)]
    env = {"ATTUNE_HOME": str(home), "ATTUNE_LEAST_FREE_MIB": str(LEAST_MIB)}
    with running(command, f"http://127.0.0.1:{port}", env, log) as child:
        yield Served(home, port, key, child, log)


def test_attune_serve_answers_and_swaps_champions(served: Served) -> None:
    status, body = served.post("/v1/recommendations", {"user_id": "u", "item_id": "sku-00001"})
    assert status == 200
    assert len(json.loads(body)["items"]) == 20
    assert call(f"http://127.0.0.1:{served.port}/v1/recommendations", {"user_id": "u"})[0] == 401
    assert served.get("/docs")[0] == 200
    assert b"attune_requests_total" in served.get("/metrics")[1]
    only_we_listen(served.child.pid, served.port)

    version = registry.save(served.home, "weights", registry.load(served.home, "weights"), {})
    registry.set_alias(served.home, "champion", {"weights": version}, action="promote", actor="test", reason="test")
    until(
        lambda: json.loads(served.post("/v1/intent", {})[1])["models"]["weights"] == version,
        "the champion was not picked up",
    )


def fill(path: Path, left: int) -> None:
    """Write until so many bytes are free, or nothing is."""
    with suppress(OSError), path.open("ab", buffering=0) as file:
        while (free := shutil.disk_usage(path.parent).free) > left:
            file.write(bytes(min(1 << 16, max(1, free - left))))


@embedded_only("the disk of a server is not the home's")
def test_a_full_disk_stops_writes_and_nothing_else(served: Served, small_disk: Path) -> None:
    if not small_disk.is_mount():
        pytest.skip("nothing can be mounted here: a disk that is full was not tried")
    filler, ts, family = small_disk / "filler", datetime.now(UTC).isoformat(), served.family()
    acked: set[str] = set()

    def send(n: int) -> int:
        ids = [f"{n}-{i}" for i in range(200)]
        events = [{"event_id": one, "user_id": "u", "type": "item_view", "item_id": "i" * 200, "ts": ts} for one in ids]
        status, _ = served.post("/v1/events", {"events": events})
        acked.update(ids if status == 202 else ())
        return status

    def answers() -> None:
        assert served.post("/v1/recommendations", {"user_id": "u", "item_id": "sku-00001"})[0] == 200
        assert served.post("/v1/no-such-address", {})[0] == 404

    until(lambda: send(-1) == 202, "the key is not known")
    fill(filler, (LEAST_MIB + 2) << 20)
    statuses: list[int] = []
    while not statuses or statuses[-1] == 202:
        statuses.append(send(len(statuses)))
        answers()
    fill(filler, 0)
    statuses += [send(10_000 + n) for n in range(3)]
    answers()
    assert set(statuses) == {202, 503}
    assert b'status="503"' in served.get("/metrics")[1]

    def is_told() -> bool:
        fill(filler, 0)  # a checkpoint may have given room back meanwhile
        return b"refused" in served.get("/readyz")[1]

    until(is_told, "/readyz does not tell of it")
    filler.unlink()
    until(lambda: send(20_000) == 202, "it does not recover")
    answers()
    assert served.family() == family
    stored = {name for (name,) in connect(served.home).execute("SELECT event_id FROM events WHERE partner = 'shop'")}
    assert acked <= stored


def test_attune_serve_stops_cleanly(served: Served) -> None:
    family = served.family()
    served.child.send_signal(signal.SIGTERM)
    assert served.child.wait(PATIENCE_S) == 0
    assert psutil.wait_procs(family, timeout=PATIENCE_S)[1] == []
    assert "Traceback" not in served.log.read_text()


def test_a_port_that_is_taken_is_said_in_one_line(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "services.cli", "serve", "--port", port]
        run = subprocess.run(command, env=os.environ | {"ATTUNE_HOME": str(home)}, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith(f"attune: cannot listen on 127.0.0.1:{port}")
    assert len(run.stderr.splitlines()) == 1
