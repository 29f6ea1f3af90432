"""kill -9 at random moments: each signal once, sequences without a gap, promises that add up, nothing forgotten."""

import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np

from infra.store.engines import open_writer
from infra.store.statements.signals import PUT_POLICY
from models.events.rules import to_row
from services.signals.policies import PolicyBody, Thresholds
from tests.stores import connect, settled
from tests.waiting import PATIENCE_S, has_come

KILLS = 12
N_USERS = 30
# Forks a worker with everything imported, kills it after a moment, again and again; at last lets one come to the end.
NURSERY = """
import gc, os, random, signal, sys, time
from pathlib import Path
import numpy as np
from models.inference.next_action import Outlook
from models.schema import NEXT_ACTIONS
from services.signals.catalog import CatalogOffer
from models.model_set import ModelSet
from infra.settings import Settings
from models.visitor_groups import NOBODY_NAMED
from services.serving.features import NoFeatures, OnlineSource
from services.worker.signals import SignalDuty
from services.signals.shelf import NoCatalogs
from infra.store.engines import open_store

home, kills = Path(sys.argv[1]), int(sys.argv[2])

class Leaving:
    groups = NOBODY_NAMED

    def predict_one(self, row, silent_s=0.0):
        p = np.zeros(len(NEXT_ACTIONS))
        p[NEXT_ACTIONS.index("leave")] = 1
        return {name: Outlook(p, np.float64(0.1)) for name in ("short_term", "medium_term")}

class Models:
    def current(self):
        return ModelSet(next_action=Leaving())

class Shop(NoCatalogs):
    def offers(self, partner):
        return [CatalogOffer("two", None, None, 2.0, None, None, 20.0, None, (), (), None, None, True)]

def work(until_done):
    online = OnlineSource(Settings(home=home), NoFeatures())
    duty = SignalDuty(open_store(home), Models(), online, Shop(), random.SystemRandom())
    while duty.step(time.time_ns() // 1000) or not until_done:
        pass

work(True)  # compiled and imported: what is forked gets to the point where being killed hurts
gc.collect()
print("warm", flush=True)
for n in range(kills):
    child = os.fork()
    if child == 0:
        work(False)
    time.sleep(random.uniform(0.01, 0.12))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
print("killed", flush=True)
sys.stdin.readline()
work(True)
"""


def test_kill_9_at_any_moment_loses_and_doubles_nothing(tmp_path: Path) -> None:
    eager = PolicyBody(Thresholds(min_score_discount=0.0), holdout_share=0.2, cool_down_s=0, max_per_day=1000)
    connect(tmp_path).execute(PUT_POLICY, ("shop", msgspec.json.encode(eager).decode(), 1))
    writer = open_writer(tmp_path, lambda: time.time_ns() // 1000)
    nursery = subprocess.Popen(
        [sys.executable, "-c", NURSERY, str(tmp_path), str(KILLS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    n_events = 0
    while n_events < 300 or not has_come(nursery.stdout):
        ts = np.datetime64(time.time_ns() // 1000, "us").item().isoformat() + "Z"
        event = {"type": "add_to_cart", "item_id": "sku", "price": 20.0, "ts": ts}
        batch = range(n_events, n_events + 10)
        writer.append("shop", [to_row({"event_id": f"e{n}", **event}, f"p{n % N_USERS}") for n in batch]).result(PATIENCE_S)
        if n_events == 0:
            assert nursery.stdout.readline() == "warm\n"
        n_events += len(batch)
        time.sleep(0.01)
    writer.close()
    assert nursery.stdout.readline() == "killed\n"
    settled(tmp_path)
    nursery.stdin.write("go on\n")
    nursery.stdin.close()
    assert nursery.wait(PATIENCE_S) == 0
    _check(tmp_path)


def _check(home: Path) -> None:
    store = connect(home)
    (end,) = store.execute("SELECT seq, (SELECT max(seq) FROM events) FROM cursors WHERE name = 'signals'")
    assert end[0] == end[1]
    causes = store.execute("SELECT cause_seq FROM signals UNION ALL SELECT cause_seq FROM holdout").fetchall()
    assert len(causes) == len(set(causes)) >= N_USERS
    newest = store.execute("SELECT max(seq) FROM events GROUP BY user_id").fetchall()
    assert set(newest) <= set(causes)  # the last thing that anybody did was acted on
    uneven = "SELECT user_id FROM signals GROUP BY user_id HAVING max(sequence) <> count(*) OR min(sequence) <> 1"
    assert store.execute(uneven).fetchall() == []
    ((spent, n),) = store.execute("SELECT sum(spent_cents), sum(n_signals) FROM offer_spend").fetchall()
    assert (spent, n) == (2_000, 10)  # the budget, to the cent
    assert store.execute("SELECT count(*) FROM signals WHERE type = 'offer_discount'").fetchall() == [(10,)]
    both = "SELECT count(*) FROM signals JOIN holdout USING (partner, user_id)"
    assert store.execute(both).fetchall() == [(0,)]
