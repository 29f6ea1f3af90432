"""kill -9 of service and worker at random moments, under traffic: nothing acknowledged is lost, nothing counts twice, every
signal arrives under one id.

``make torture`` does it `ATTUNE_TEST_KILLS` times, `make test` a few times.
"""

import json
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import msgspec
import pytest

from feature_repo import store as features
from flows.materialize import materialize
from infra.secret import secret
from infra.store.engines import open_writer
from infra.store.events import frame_of
from infra.store.statements.events import READ_USERS
from infra.store.statements.signals import PUT_POLICY
from models.events.identity import partner_key, pseudonym
from models.events.rules import to_row
from models.schema import USER_FEATURES
from services.http import partners
from services.signals.policies import PolicyBody, Thresholds
from services.worker.features import online_rows
from tests.services.receivers import SECRET, Receiver
from tests.stores import connect, copied
from tests.waiting import PATIENCE_S, free_port, until

KILLS = int(os.environ.get("ATTUNE_TEST_KILLS", "12"))
N_USERS = 40
# Imports everything once, then forks services and workers and kills them; at last lets one of each live until told to end.
NURSERY = """
import gc, os, random, signal, socket, sys, threading, time
from pathlib import Path
import uvicorn
from feature_repo import store
from models import warm_up as warm
from services.api import app
from services.worker import action_weights, cleanup, delivery, erasure, features, retention, rewards, signals
from services.worker.runner import duties, follow_all
from services.serving.features import open_features, store_failures
from infra.settings import Settings

home, port, kills = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
settings = Settings(home=home, allow_private_webhooks=True)

def serve():
    uvicorn.run(app.build_app(settings), host="127.0.0.1", port=port, log_level="critical")

def work():
    follow_all(duties(settings), threading.Event(), store_failures())

def fork(what):
    child = os.fork()
    if child == 0:
        what()
        os._exit(1)
    return child

def answers():
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

for rehearse in warm.PARTS.values():
    rehearse()
store_failures(), open_features(settings)  # what they import takes longer than a cycle
for duty in duties(settings):
    getattr(duty, "close", lambda: None)()
assert threading.active_count() == 1, "a fork beside threads may wait for a lock that nobody holds"
gc.collect()
gc.freeze()
children = {what: fork(what) for what in (serve, work)}
print("born", flush=True)
for n in range(kills):
    while n % 3 and not answers():  # two kills of three hit a service that takes events, one may hit its start
        if os.waitpid(children[serve], os.WNOHANG)[0]:  # its port was taken for a moment
            children[serve] = fork(serve)
        time.sleep(0.02)
    time.sleep(random.uniform(0.0, 0.8))
    what = random.choice((serve, work))
    os.kill(children[what], signal.SIGKILL)
    os.waitpid(children[what], 0)
    children[what] = fork(what)
print("killed", flush=True)
sys.stdin.readline()
for child in children.values():
    os.kill(child, signal.SIGKILL)
"""


class Traffic(threading.Thread):
    """Sends batches until stopped; one that was not acknowledged is sent again with the same ids."""

    def __init__(self, url: str, key: str) -> None:
        super().__init__(daemon=True)
        self._url, self._headers = url, {"Authorization": f"Bearer {key}"}
        self.stopped = threading.Event()
        self.acknowledged: list[str] = []
        self.n_failed = 0

    def run(self) -> None:
        n = 0
        with httpx.Client(headers=self._headers, timeout=PATIENCE_S) as client:
            while not self.stopped.is_set():
                batch = [self._event(k) for k in range(n, n + 10)]
                while not self._send(client, batch):
                    self.n_failed += 1
                    time.sleep(0.05)
                n += 10
                time.sleep(0.02)

    def _send(self, client: httpx.Client, batch: list[dict[str, object]]) -> bool:
        try:
            reply = client.post(f"{self._url}/v1/events", json={"events": batch})
        except httpx.HTTPError:
            return False
        if reply.status_code != 202:
            assert reply.status_code == 503, reply.text
            return False
        results = reply.json()["results"]
        assert {result["status"] for result in results} <= {"accepted", "duplicate"}
        self.acknowledged += [result["event_id"] for result in results]
        return True

    @staticmethod
    def _event(n: int) -> dict[str, object]:
        kind = ("item_view", "add_to_cart", "search_refine")[n % 3]
        ts = datetime.now(UTC).isoformat()
        return {
            "event_id": f"t-{n}",
            "user_id": f"u{n % N_USERS}",
            "session_id": "s",
            "type": kind,
            "item_id": f"i{n % 7}",
            "ts": ts,
        }


@pytest.fixture
def home(crowned: Path, tmp_path: Path) -> Path:
    """ModelSet, online features, a partner who wants every signal."""
    mine = tmp_path / "home"
    copied(crowned, mine)
    eager = PolicyBody(Thresholds(min_score_product=0.0, min_score_content=0.0), cool_down_s=0, max_per_day=1000)
    connect(mine).execute(PUT_POLICY, ("shop", msgspec.json.encode(eager).decode(), 1))
    writer = open_writer(mine, lambda: time.time_ns() // 1000)
    first = {"event_id": "first", "type": "item_view", "item_id": "i1", "ts": datetime.now(UTC).isoformat()}
    writer.append("shop", [to_row(first, pseudonym(partner_key(secret(mine), "shop"), "u1"))]).result(PATIENCE_S)
    writer.close()
    materialize(mine)
    return mine


def test_kill_9_of_service_and_worker_loses_nothing_and_counts_nothing_twice(home: Path) -> None:
    receiver = Receiver()
    store = connect(home)
    columns = "id, partner, url, signal_types, min_score, secret, created_at_us, updated_at_us"
    values = ("sub", "shop", f"{receiver.url}/hook", "[]", 0.0, SECRET, 1, 1)
    store.execute(f"INSERT INTO subscriptions ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
    port = free_port()
    traffic = Traffic(f"http://127.0.0.1:{port}", partners.add(home, "shop", time.time_ns() // 1000))
    words = [sys.executable, "-c", NURSERY, str(home), str(port), str(KILLS)]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}  # a child that is forked beside OpenMP's threads waits for them for ever
    nursery = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=alone)
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    try:
        assert nursery.stdout.readline() == "born\n"
        traffic.start()
        assert nursery.stdout.readline() == "killed\n"
        enough = max(len(traffic.acknowledged) + 20, 20 * KILLS // 4 + 1)
        until(lambda: len(traffic.acknowledged) >= enough, "the last service takes no events")
        traffic.stopped.set()
        traffic.join(PATIENCE_S)
        until(lambda: settled(home), "the worker did not come to the end of the log", poll_s=0.2)
    finally:
        nursery.communicate("\n", timeout=PATIENCE_S)
    check_events(home, traffic)
    check_features(home)
    check_signals(home, receiver)
    receiver.close()
    sys.stdout.write(f"{KILLS} kills, {len(traffic.acknowledged)} events acknowledged, {len(receiver.posts)} deliveries\n")


def settled(home: Path) -> bool:
    """Whether every duty is at the end of its log, and every delivery done."""
    store = connect(home)
    ((end,),) = store.execute("SELECT max(seq) FROM events").fetchall()
    stand = dict(store.execute("SELECT name, seq FROM cursors WHERE name IN ('online_features', 'signals')").fetchall())
    waiting = store.execute("SELECT 1 FROM deliveries WHERE state = 'pending' LIMIT 1").fetchall()
    unsent = store.execute("SELECT 1 FROM signals WHERE signal_id NOT IN (SELECT signal_id FROM deliveries) LIMIT 1").fetchall()
    return set(stand.values()) == {end} and len(stand) == 2 and not waiting and not unsent


def check_events(home: Path, traffic: Traffic) -> None:
    kept = [str(row[0]) for row in connect(home).execute("SELECT event_id FROM events WHERE event_id LIKE 't-%'").fetchall()]
    assert len(kept) == len(set(kept))
    assert len(traffic.acknowledged) == len(set(traffic.acknowledged)) > 20 * KILLS / 4
    assert set(traffic.acknowledged) <= set(kept)


def check_features(home: Path) -> None:
    """The online rows are those of one fold over the log: no event is missing in them, none counted twice."""
    found = connect(home).execute(READ_USERS, (json.dumps(sorted(users_of(home))), 2**62)).fetchall()
    expected = online_rows(frame_of(found))[0].set_index("user_id")
    store = features.open_store(home)
    names = [f"user_features:{name}" for name in USER_FEATURES]
    entities = [{"user_id": user} for user in expected.index]
    online = store.get_online_features(names, entities).to_df().set_index("user_id")
    assert len(online) == N_USERS
    for name in USER_FEATURES:
        assert online[name].astype("float32").tolist() == expected.loc[online.index, name].astype("float32").tolist()


def users_of(home: Path) -> set[str]:
    return {
        str(user) for (user,) in connect(home).execute("SELECT DISTINCT user_id FROM events WHERE partner = 'shop'").fetchall()
    }


def check_signals(home: Path, receiver: Receiver) -> None:
    made = connect(home).execute("SELECT signal_id, user_id, sequence, cause_seq || '/' || silence_s FROM signals").fetchall()
    assert len(made) > 10
    assert len({cause for *_, cause in made}) == len(made)
    arrived = {post.headers["webhook-id"]: json.loads(post.body)["data"]["signal_id"] for post in receiver.posts}
    assert {signal_id for signal_id, *_ in made} <= set(arrived.values())
    assert len(arrived) == len(set(arrived.values()))  # one id each, however often it was sent
    for user in {user for _, user, *_ in made}:
        assert sorted(n for _, who, n, _ in made if who == user) == list(range(1, sum(who == user for _, who, *_ in made) + 1))
