"""A full disk: a small tmpfs as home of a service as it is started. Writes are refused, answers go on, nothing ends."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from infra.store.embedded.connection import connect
from services.http import partners
from tests.services.test_service import call, running
from tests.waiting import free_port, until

LEAST_MIB = 8


@pytest.fixture
def small(crowned: Path, tmp_path: Path) -> Iterator[Path]:
    """A home on a disk of its own that has little more room than it needs."""
    disk = tmp_path / "disk"
    disk.mkdir()
    size = sum(path.stat().st_size for path in crowned.rglob("*") if path.is_file()) + (24 << 20)
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here: a disk that is full was not tried")
    yield Path(shutil.copytree(crowned, disk / "home"))
    subprocess.run(["umount", str(disk)], check=True)


def fill(path: Path, left: int) -> None:
    """Write until so many bytes are free, or nothing is."""
    with suppress(OSError), path.open("ab", buffering=0) as file:
        while shutil.disk_usage(path.parent).free > left:
            file.write(bytes(min(1 << 16, max(1, shutil.disk_usage(path.parent).free - left))))


def test_a_full_disk_stops_writes_and_nothing_else(small: Path, tmp_path: Path) -> None:
    key, port = partners.add(small, "shop", time.time_ns() // 1000), free_port()
    url, ts = f"http://127.0.0.1:{port}", datetime.now(UTC).isoformat()
    command = [sys.executable, "-m", "services.cli", "serve", "--port", str(port)]
    env = {"ATTUNE_HOME": str(small), "ATTUNE_LEAST_FREE_MIB": str(LEAST_MIB)}
    acked: set[str] = set()

    def send(n: int) -> int:
        ids = [f"{n}-{i}" for i in range(200)]
        events = [{"event_id": one, "user_id": "u", "type": "item_view", "item_id": "i" * 200, "ts": ts} for one in ids]
        status, _ = call(f"{url}/v1/events", {"events": events}, key)
        acked.update(ids if status == 202 else ())
        return status

    def answers() -> None:
        assert call(f"{url}/v1/recommendations", {"user_id": "u", "item_id": "sku-00001"}, key)[0] == 200
        assert call(f"{url}/v1/no-such-address", {}, key)[0] == 404

    with running(command, url, env, tmp_path / "log") as child:
        family = {one.pid for one in psutil.Process(child.pid).children(recursive=True)}
        until(lambda: send(-1) == 202, "the key is not known")
        fill(small / "filler", (LEAST_MIB + 2) << 20)
        statuses = []
        while not statuses or statuses[-1] == 202:
            statuses.append(send(len(statuses)))
            answers()
        fill(small / "filler", 0)
        statuses += [send(10_000 + n) for n in range(3)]
        answers()
        assert set(statuses) == {202, 503}
        assert b'status="503"' in call(f"{url}/metrics")[1]
        assert b"refused" in call(f"{url}/readyz")[1]
        (small / "filler").unlink()
        until(lambda: send(20_000) == 202, "it does not recover")
        answers()
        assert {one.pid for one in psutil.Process(child.pid).children(recursive=True)} == family
    stored = {name for (name,) in connect(small).execute("SELECT event_id FROM events WHERE partner = 'shop'")}
    assert acked <= stored
