"""Child processes: one `attune up` per home, and nobody is left behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra import layout
from infra.lock import is_free
from services.processes import hold_service, only_one, put_behind, require_no_service, spawn, stop, tell_address
from tests.waiting import PATIENCE_S, until


def test_a_second_up_on_the_same_home_is_told_who_holds_it(tmp_path: Path) -> None:
    with only_one(tmp_path), pytest.raises(OSError, match=f"process {os.getpid()}.*ATTUNE_HOME"), only_one(tmp_path):
        pass
    with only_one(tmp_path):
        assert (tmp_path / layout.LOCK).read_text() == str(os.getpid())


def test_a_stale_lock_file_of_a_killed_up_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / layout.LOCK).write_text("123456789")
    with only_one(tmp_path):
        assert (tmp_path / layout.LOCK).read_text() == str(os.getpid())


SERVES = """
import os, sys
from pathlib import Path
from services.processes import hold_service
hold_service(Path(sys.argv[1]))
print("held", flush=True)
os.execv(sys.executable, [sys.executable, "-c", "import threading; threading.Event().wait()"])  # as it becomes BentoML's
"""


def test_a_second_service_of_a_home_is_told_which_one_serves_and_how_to_stop_it(tmp_path: Path) -> None:
    tell_address(tmp_path, "http://127.0.0.1:4000")
    with subprocess.Popen([sys.executable, "-c", SERVES, str(tmp_path)], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        said = f"served already at http://127.0.0.1:4000; stop that with: kill {first.pid}"
        for second in (hold_service, require_no_service):
            with pytest.raises(OSError, match=said):
                second(tmp_path)
        command = [sys.executable, "-m", "services.cli", "serve", "--port", "0"]
        run = subprocess.run(
            command, env=os.environ | {"ATTUNE_HOME": str(tmp_path)}, capture_output=True, text=True, check=False
        )
        assert (run.returncode, run.stdout, len(run.stderr.splitlines())) == (2, "", 1)
        assert said in run.stderr
        assert not hold_service(tmp_path, beside=True)
        assert (tmp_path / layout.SERVICE_URL).read_text() == "http://127.0.0.1:4000\n"
        first.kill()
        first.wait()
    require_no_service(tmp_path)
    assert is_free(tmp_path / layout.SERVE_LOCK)


def test_children_are_stopped_and_their_output_kept(tmp_path: Path) -> None:
    child = spawn(("--help",), {}, tmp_path / "help.log")
    assert child.wait(PATIENCE_S) == 0
    assert "services.cli" in (tmp_path / "help.log").read_text()
    stop([child])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
def test_a_killed_parent_takes_its_children_with_it(tmp_path: Path) -> None:
    code = (
        "import services.processes as p, sys, time\n"
        "p.command = lambda *words: [sys.executable, '-c', 'import time; time.sleep(3600)']\n"
        "print(p.spawn((), {}).pid, flush=True); time.sleep(3600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert _runs(child)
    parent.kill()
    parent.wait()
    until(lambda: not _runs(child), "the child lives on")


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_process_that_was_put_behind_and_what_it_starts_yield_to_others() -> None:
    words = [sys.executable, "-c", "import os, threading; input(); threading.Thread(target=lambda: print(os.nice(0))).start()"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        own = os.getpriority(os.PRIO_PROCESS, 0)
        put_behind(child, min(own + 3, 19))
        told, _ = child.communicate(b"\n", timeout=60)
    assert int(told) == min(own + 3, 19)
