"""Killed at any write: the process of a retraining ends at the n-th file or database operation, for every second n."""

import json
import subprocess
import sys
from pathlib import Path

from tests.stores import embedded_only

CRASHES = """
import json, os, sys
from pathlib import Path
from infra import registry
from infra.store.engines import open_store
from models import weight_profile as weights

home, names = Path(sys.argv[1]), ("intent", "weights")
parts = weights.to_parts(weights.STATIC)
left = None  # operations until the end, in a child

def operation():
    global left
    if left is not None:
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)

def on_event(event, args):
    if event == "open" and (args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) or args[1] in ("w", "wb")):
        operation()
    elif event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.fsync"):
        operation()

def traced(home):
    store = open_store(home)
    store.connection.exec_trace = lambda cursor, statement, bindings: operation() or True
    return store

def retrain():
    new = {name: registry.save(home, name, parts, {"seed": 0}) for name in names}
    registry.set_alias(home, registry.CHALLENGER, new, action="train", actor="flow", reason="new candidate")
    for name in names:
        registry.record(home, name, new[name], verdict={"verdict": "pass"})
    registry.set_champions(home, new, actor="gate", reason="gate: pass")

retrain()
registry.open_store = traced
sys.addaudithook(on_event)
fsync = os.fsync
os.fsync = lambda handle: (operation(), fsync(handle))[1]
told = []
for n in range(int(sys.argv[2]), 10_000, int(sys.argv[3])):
    before = registry.champions(home)
    pid = os.fork()
    if pid == 0:
        left = n
        retrain()
        os._exit(0)
    killed = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
    after = registry.champions(home)
    for name in names:
        assert registry.load(home, name, after[name]).arrays['base'].shape == parts.arrays['base'].shape
    told.append({
        "killed": killed,
        "moved": [after[name] != before[name] for name in names],
        "audit": registry.verify_audit(home),
        "orphans": registry.sweep(home),
        "swept": registry.sweep(home),
        "rows": all((home / row.artifact).is_dir() for row in registry.versions(home)),
    })
    if not killed:
        break
print(json.dumps(told))
"""


@embedded_only("the driver's trace counts statements")
def test_wherever_a_writer_is_killed_the_champion_is_whole_and_the_next_run_is_clean(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", CRASHES, str(tmp_path), "0", "2"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    told = json.loads(run.stdout.splitlines()[-1])
    *killed, last = told
    assert len(killed) > 40
    assert all(one["killed"] for one in killed)
    assert not last["killed"]  # the run after them all
    assert last["moved"] == [True, True]
    assert last["orphans"] == 0
    assert all(len(set(one["moved"])) == 1 for one in told)  # never a mixture
    assert all(one["rows"] and one["swept"] == 0 for one in told)  # no version without its files, nothing left over
    assert any(one["orphans"] for one in killed)  # some were killed between the files and their row
