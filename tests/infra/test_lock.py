"""File locks: who holds one is told, and a look at one stands in nobody's way."""

import subprocess
import sys
from pathlib import Path

from infra.lock import exclusive, held, is_free, kept, noted

HOLDS = """
import sys
from pathlib import Path
from infra.lock import kept
kept(Path(sys.argv[1]), "me")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_lock_is_kept_until_its_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    assert is_free(path)
    command = [sys.executable, "-c", HOLDS, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        assert (kept(path, "other"), is_free(path), noted(path)) == (None, False, "me")
        child.kill()
        child.wait()
    assert is_free(path)
    assert noted(tmp_path / "none.lock") == "unknown"


def test_who_holds_a_lock_for_longer_than_a_look_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with exclusive(path):
        code = f"from pathlib import Path; from infra.lock import held\nwith held(Path({str(path)!r}), 'flow'): print('held')"
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, err = child.communicate()
    assert (out, "another flow is running" in err) == ("", True)
    with held(path, "flow"):
        assert not is_free(path)
