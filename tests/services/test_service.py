"""The service as it is started: BentoML's supervisor and worker, a real port, a real key; and the Bento that it packs."""

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
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra import registry
from services.http import partners
from tests.waiting import PATIENCE_S, free_port, until

ROOT = Path(__file__).parents[2]


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
    return Path(shutil.copytree(crowned, tmp_path / "home"))


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


def test_attune_serve_answers_swaps_champions_and_stops_cleanly(home: Path, tmp_path: Path) -> None:
    key = partners.add(home, "shop", time.time_ns() // 1000)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "services.cli", "serve", "--port", str(port)]
    with running(command, url, {"ATTUNE_HOME": str(home)}, tmp_path / "log") as child:
        status, body = call(f"{url}/v1/recommendations", {"user_id": "u", "item_id": "sku-00001"}, key)
        assert status == 200
        assert len(json.loads(body)["items"]) == 20
        assert call(f"{url}/v1/recommendations", {"user_id": "u"})[0] == 401
        assert call(f"{url}/docs")[0] == 200
        assert b"attune_requests_total" in call(f"{url}/metrics")[1]
        only_we_listen(child.pid, port)

        version = registry.save(home, "weights", registry.load(home, "weights"), {})
        registry.set_alias(home, "champion", {"weights": version}, action="promote", actor="test", reason="test")
        until(
            lambda: json.loads(call(f"{url}/v1/intent", {}, key)[1])["models"]["weights"] == version,
            "the champion was not picked up",
        )

        family = psutil.Process(child.pid).children(recursive=True)
        child.send_signal(signal.SIGTERM)
        assert child.wait(PATIENCE_S) == 0
        assert psutil.wait_procs(family, timeout=PATIENCE_S)[1] == []
    assert "Traceback" not in (tmp_path / "log").read_text()


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


def keep_compiled(packed: Path) -> None:
    """Give the packed sources the machine code of ours, which numba takes for files of the same age."""
    for source in (ROOT / "models").rglob("*.py"):
        shutil.copystat(source, packed / source.relative_to(ROOT))
    for compiled in (ROOT / "models").rglob("*.nb[ic]"):  # nothing else: others write byte code there meanwhile
        copy = packed / compiled.relative_to(ROOT)
        copy.parent.mkdir(exist_ok=True)
        shutil.copy2(compiled, copy)


def test_bentoml_build_makes_a_bento_that_serves(home: Path, tmp_path: Path) -> None:
    env = {"BENTOML_HOME": str(tmp_path / "bentos"), "BENTOML_DO_NOT_TRACK": "True", "ATTUNE_HOME": str(home)}
    bentoml = [sys.executable, "-m", "bentoml"]
    built = subprocess.run(
        [*bentoml, "build", "-o", "tag", "."], env=os.environ | env, cwd=ROOT, capture_output=True, text=True, check=True
    )
    tag = built.stdout.strip().splitlines()[-1].removeprefix("__tag__:")
    keep_compiled(next((tmp_path / "bentos").glob("bentos/attune/*/src")))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    # From elsewhere, so that only what was packed can be imported first.
    with running([*bentoml, "serve", tag, "--port", str(port)], url, env, tmp_path / "log", cwd=tmp_path):
        key = partners.add(home, "shop", time.time_ns() // 1000)
        until(lambda: call(f"{url}/v1/intent", {}, key)[0] == 200, "the new key is not known")
        status, body = call(f"{url}/v1/intent", {}, key)
        assert (status, json.loads(body)["models"]["intent"]) == (200, 1)
