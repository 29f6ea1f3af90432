"""kill -9 at random moments of delivering: every committed signal arrives, under one id, and what is on record has happened."""

import subprocess
import sys
from pathlib import Path

from tests.services.receivers import Receiver, answer, emit, receiver, subscribe
from tests.stores import connect
from tests.waiting import PATIENCE_S, has_come

__all__ = ["receiver"]  # a fixture

KILLS = 12
# Forks a worker with everything imported, kills it after a moment, again and again; at last lets one come to the end.
NURSERY = """
import os, random, signal, sys, time
from pathlib import Path
from services.worker.delivery import DeliveryDuty
from services.delivery.outbound import Outbound
from services.delivery.seals import Seals
from infra.store.engines import open_store

home, kills = Path(sys.argv[1]), int(sys.argv[2])

def work(until_done):
    duty = DeliveryDuty(open_store(home), lambda: Outbound(True, 300.0), random.SystemRandom(), Seals(bytes(32)))
    while duty.step(time.time_ns() // 1000) or not until_done:
        pass
    duty.close()

for n in range(kills):
    child = os.fork()
    if child == 0:
        work(False)
    time.sleep(random.uniform(0.005, 0.1))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
print("killed", flush=True)
sys.stdin.readline()
work(True)
"""


def test_kill_9_at_any_moment_loses_no_signal_and_changes_no_id(receiver: Receiver, tmp_path: Path) -> None:
    store = connect(tmp_path)
    receiver.answers["/unwell"] = answer(500)
    for name in ("well", "unwell"):
        subscribe(store, name, f"{receiver.url}/{name}")
    words = [sys.executable, "-c", NURSERY, str(tmp_path), str(KILLS)]
    nursery = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    n = 0
    while n <= 30 or not has_come(nursery.stdout, 0.005):
        emit(store, n)
        n += 1
    assert nursery.stdout.readline() == "killed\n"
    nursery.stdin.write("go on\n")
    nursery.stdin.close()
    assert nursery.wait(PATIENCE_S) == 0

    arrived: dict[str, list[str]] = {"well": [], "unwell": []}
    for post in receiver.posts:
        arrived[post.path[1:]].append(post.headers["webhook-id"])
    committed = {f"sig_{i}" for i in range(n)}
    assert n > 30
    assert set(arrived["well"]) == set(arrived["unwell"]) == committed
    assert store.execute("SELECT DISTINCT state FROM deliveries WHERE subscription_id = 'well'").fetchall() == [("delivered",)]
    assert store.execute("SELECT DISTINCT state FROM deliveries WHERE subscription_id = 'unwell'").fetchall() == [("pending",)]
    assert store.execute("SELECT count(*) FROM deliveries").fetchall() == [(2 * n,)]
    # What was written has happened; what happened last before a kill was not written, and was done once more.
    written = "SELECT count(*) FROM delivery_attempts JOIN deliveries USING (delivery_id) WHERE subscription_id = ?"
    for name, made in arrived.items():
        assert n <= store.execute(written, (name,)).fetchall()[0][0] <= len(made)
    counted = "SELECT count(*) FROM delivery_attempts a WHERE a.delivery_id = d.delivery_id"
    assert store.execute(f"SELECT 1 FROM deliveries d WHERE n_attempts <> ({counted})").fetchall() == []
