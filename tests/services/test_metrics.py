"""Metrics: no page of a full disk is needed, one run's numbers are its own, and a killed one leaves nothing for ever."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra import lock
from services import metrics
from services.metrics import FILE_BYTES, MULTIPROCESS, OWNER

COUNTS = """
import json, os, sys
from pathlib import Path
from services import metrics
home, memory, routes = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
metrics.prepare(home, memory)
metrics.join(home)
counted = metrics.Metrics()
for route in routes:
    for status in range(100, 130):
        counted.answered(route, status, 0.1)
for status in ("accepted", "duplicate", "rejected"):
    counted.judged(status, 2)
    counted.decided(status, 2)
    counted.shadowed(status)
print(os.environ.get(metrics.MULTIPROCESS, ""), sorted(path.stat().st_size for path in memory.rglob("*.db")))
print(counted.text().decode())
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MULTIPROCESS, "")


def counting(home: Path, memory: Path, routes: list[str]) -> list[str]:
    command = [sys.executable, "-c", COUNTS, str(home), str(memory), json.dumps(routes)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return run.stdout.splitlines()


def test_every_route_with_every_status_has_room_in_the_pages_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    where, *lines = counting(
        tmp_path, tmp_path / "memory", [f"/v1/a-route-of-a-length-that-is-usual/{{id}}/{n}" for n in range(40)]
    )
    assert where.endswith(f"[{FILE_BYTES}, {FILE_BYTES}]")  # a file that must grow has pages that are not there
    assert 'attune_events_total{status="duplicate"} 2.0' in lines


def test_where_no_file_can_be_made_a_process_counts_for_itself(tmp_path: Path) -> None:
    (tmp_path / "metrics").write_text("in the way")
    where, *lines = counting(tmp_path, tmp_path / "no such folder", ["/v1/events"])
    assert where.startswith(" ")
    assert 'attune_events_total{status="duplicate"} 2.0' in lines


def test_a_second_start_leaves_a_live_run_alone_and_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    metrics.prepare(tmp_path, tmp_path)
    live = Path(os.environ[MULTIPROCESS])
    dead = live.with_name(f"{live.name}-dead")
    dead.mkdir()
    (dead / OWNER).write_text("1")
    other = tmp_path / "attune-of-somebody-else"
    other.mkdir()
    metrics.prepare(tmp_path, tmp_path)
    assert live.exists()
    assert Path(os.environ[MULTIPROCESS]) != live
    assert (dead.exists(), other.exists()) == (False, True)
    assert live.stat().st_mode & 0o077 == 0
    assert lock.noted(live / OWNER) == str(os.getpid())


def test_a_worker_that_is_started_again_goes_on_in_the_files_of_the_one_that_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MULTIPROCESS, str(tmp_path))
    gone = subprocess.Popen(["true"])
    gone.wait()
    for kind in metrics.KINDS:
        (tmp_path / f"{kind}_{gone.pid}.db").write_bytes(b"numbers")
        (tmp_path / f"{kind}_{os.getppid()}.db").write_bytes(b"of another")
    metrics.join(tmp_path)
    assert (tmp_path / f"counter_{os.getpid()}.db").read_bytes() == b"numbers"
    assert len(list(tmp_path.glob("*.db"))) == 4
