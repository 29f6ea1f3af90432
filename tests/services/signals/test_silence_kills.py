"""kill -9 while carts that were left lying fall due: each is noticed once, none is lost, sequences have no gap."""

import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from infra.store.engines import open_writer
from infra.store.statements.signals import PUT_POLICY
from models.events.rules import to_row
from services.signals.policies import PolicyBody
from tests.stores import connect, settled
from tests.waiting import PATIENCE_S

# Forks a worker with everything imported, kills it after a moment, again and again; at last one works until no timer of the
# first step is left.
NURSERY = """
import gc, os, random, signal, sys, time
from pathlib import Path
from models.model_set import ModelSet
from infra.settings import Settings
from infra.store.embedded.connection import connect
from infra.store.engines import open_store
from services.serving.features import NoFeatures, OnlineSource
from services.signals.shelf import NoCatalogs
from services.worker.signals import SignalDuty

LEFT = "SELECT 1 FROM silences WHERE user_id <> 'warmth' AND due_at_us < since_us + 1000000000"
home, kills = Path(sys.argv[1]), int(sys.argv[2])

class Champions:
    def current(self):
        return ModelSet()

def opened():
    online = OnlineSource(Settings(home=home), NoFeatures())
    return SignalDuty(open_store(home), Champions(), online, NoCatalogs(), random.SystemRandom(), (300, 86_000))

def now_us():
    return time.time_ns() // 1000

duty = opened()
while duty.step(now_us()):  # compiled and imported: what is forked gets to the point where being killed hurts
    pass
del duty
gc.collect()
print("warm", flush=True)
sys.stdin.readline()
for n in range(kills):
    child = os.fork()
    if child == 0:
        duty = opened()
        while True:
            duty.step(now_us())
    time.sleep(random.uniform(0.01, 0.12))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
duty, store = opened(), connect(home)
while duty.step(now_us()) or store.execute(LEFT).fetchall():
    pass
"""


@pytest.mark.parametrize("kills", [4, pytest.param(200, marks=pytest.mark.slow)])
def test_kill_9_at_any_moment_loses_and_doubles_no_silence(tmp_path: Path, kills: int) -> None:
    policy = PolicyBody(holdout_share=0.2, cool_down_s=0, max_per_day=1000)
    connect(tmp_path).execute(PUT_POLICY, ("shop", msgspec.json.encode(policy).decode(), 1))
    put(tmp_path, ["warmth"], time.time_ns() // 1000)
    command = [sys.executable, "-c", NURSERY, str(tmp_path), str(kills)]
    nursery = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    assert nursery.stdout.readline() == "warm\n"
    users = [f"p{n}" for n in range(20 * kills)]
    put(tmp_path, users, time.time_ns() // 1000 - 299_900_000)
    nursery.stdin.write("go on\n")
    nursery.stdin.close()
    assert nursery.wait(PATIENCE_S) == 0
    store = connect(tmp_path)
    caused = "SELECT user_id, silence_s FROM {} WHERE user_id <> 'warmth'"
    sent, held = (store.execute(caused.format(name)).fetchall() for name in ("signals", "holdout"))
    assert sorted(user for user, _ in sent + held) == sorted(users)
    assert {silence for _, silence in sent + held} == {300}
    assert store.execute("SELECT count(*) FROM signals WHERE sequence <> 1").fetchall() == [(0,)]
    assert min(len(sent), len(held)) > 0


def put(home: Path, users: list[str], begin_us: int) -> None:
    """Everybody puts something into the cart, one each 7 ms, from an instant on."""
    rows = []
    for n, user in enumerate(users):
        ts = np.datetime64(begin_us + n * 7_000, "us").item().isoformat() + "Z"
        rows.append(to_row({"event_id": user, "type": "add_to_cart", "item_id": "sku", "ts": ts}, user))
    writer = open_writer(home, lambda: time.time_ns() // 1000)
    writer.append("shop", rows).result(PATIENCE_S)
    writer.close()
    settled(home)
