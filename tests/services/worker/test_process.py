"""One worker works at a time: a second one is in standby, and takes over when the first is gone, however it went."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from infra.store.engines import closed_store, server
from services.worker.process import await_lease, keep_lease

HOLDS = """
import sys, threading
from pathlib import Path
from infra.store.engines import closed_store
store = closed_store(Path(sys.argv[1]))
print(store.lease("worker", "first", 5.0), flush=True)
threading.Event().wait()
"""


def test_the_second_worker_waits_and_takes_over_when_the_first_is_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped, store = threading.Event(), closed_store(tmp_path)
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "1\n"
        assert store.lease("worker", "second", 5.0) is None
        first.kill()
        first.wait()
    assert await_lease(store, "second", stopped)
    assert store.lease("worker", "second", 5.0) == 2
    stopped.set()
    assert not await_lease(closed_store(tmp_path), "third", stopped)
    assert server(tmp_path) or capsys.readouterr().err == ""  # where a lease has to lapse, it says that it waits


def test_a_worker_in_standby_says_so_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, stopped = closed_store(tmp_path), closed_store(tmp_path), threading.Event()
    assert await_lease(first, "first", stopped)
    waits = threading.Thread(target=await_lease, args=(second, "second", stopped))
    waits.start()
    first.lease("worker", "first", 0)
    waits.join()
    assert second.lease("worker", "second", 5.0) == 2
    assert len(capsys.readouterr().err.splitlines()) <= 1  # none, if the first was faster


class Taken:
    """A store whose lease somebody else has."""

    def lease(self, name: str, holder: str, seconds: float) -> int | None:
        return None


def test_a_worker_that_has_lost_its_lease_ends_its_duties() -> None:
    ended = threading.Event()
    keep_lease(Taken(), "first", threading.Event(), ended)  # type: ignore[arg-type]
    assert ended.is_set()
