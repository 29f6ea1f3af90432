"""Delivery against real endpoints on loopback: what arrives, how often, when again, and what is kept of it."""

import json
import random
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import pytest
from standardwebhooks import Webhook

from infra.store.engines import open_store
from models.engagement.delivery import LONG_FAILURE_S, SCHEDULE_S
from services.delivery.answers import Answer
from services.delivery.outbound import Outbound
from services.worker.delivery import DeliveryDuty
from tests.services.receivers import (
    OLD_SECRET,
    SEALS,
    SECRET,
    Post,
    Receiver,
    S,
    answer,
    emit,
    empty,
    endless,
    hang,
    receiver,
    subscribe,
)
from tests.stores import connect, copied
from tests.waiting import PATIENCE_S, until

__all__ = ["empty", "receiver"]  # fixtures


class Worker(NamedTuple):
    """A home and its duty of delivering; the clock is the test's."""

    store: apsw.Connection
    duty: DeliveryDuty

    def settle(self, now_us: int) -> None:
        """Until nothing is left to do at this moment."""
        until(lambda: self.duty.step(now_us) == 0, "there is always something to do", poll_s=0)


def working(home: Path, empty: Path, timeout_s: float) -> Iterator[Worker]:
    copied(empty, home, dirs_exist_ok=True)
    duty = DeliveryDuty(open_store(home), lambda: Outbound(True, timeout_s), random.Random(7), SEALS)
    yield Worker(connect(home), duty)
    duty.close()


@pytest.fixture
def worker(tmp_path: Path, empty: Path) -> Iterator[Worker]:
    """One that waits for answers as long as they take."""
    yield from working(tmp_path, empty, PATIENCE_S)


@pytest.fixture
def hasty(tmp_path: Path, empty: Path) -> Iterator[Worker]:
    """One for endpoints that never answer."""
    yield from working(tmp_path, empty, 0.3)


def attempts(store: apsw.Connection) -> list[tuple[Any, ...]]:
    return store.execute("SELECT outcome, status, answer FROM delivery_attempts ORDER BY id").fetchall()


def states(store: apsw.Connection) -> list[tuple[Any, ...]]:
    return store.execute("SELECT state, n_attempts FROM deliveries ORDER BY delivery_id").fetchall()


def state_of(store: apsw.Connection, name: str) -> tuple[Any, ...]:
    return store.execute("SELECT state, disabled_reason FROM subscriptions WHERE id = ?", (name,)).fetchall()[0]


def test_a_signal_goes_to_everybody_who_wants_it_and_to_nobody_else(worker: Worker, receiver: Receiver) -> None:
    for name, types, score in (("all", "[]", 0.0), ("discounts", '["offer_discount"]', 0.0), ("sure", "[]", 0.9)):
        subscribe(worker.store, name, f"{receiver.url}/{name}", types, score)
    subscribe(worker.store, "products", f"{receiver.url}/products", '["recommend_product"]')
    subscribe(worker.store, "later", f"{receiver.url}/later", at_us=2)
    emit(worker.store, 1)
    worker.settle(10 * S)
    assert sorted(post.path for post in receiver.posts) == ["/all", "/discounts"]
    assert states(worker.store) == [("delivered", 1)] * 2
    assert json.loads(receiver.posts[0].body) == {
        "type": "signal.offer_discount",
        "timestamp": "1970-01-01T00:00:00.000001Z",
        "data": {
            "signal_id": "sig_1",
            "user_id": "user-1",
            "signal_type": "offer_discount",
            "payload": {"percent": 10},
            "engagement_score": 0.5,
            "predicted_action": "leave",
            "sequence": 1,
        },
    }


def rotated(worker: Worker, receiver: Receiver) -> Post:
    """A message of now, signed by two secrets."""
    now_us = time.time_ns() // 1000
    subscribe(worker.store, "s", f"{receiver.url}/in")
    overlap = "UPDATE subscriptions SET previous_secret = ?, previous_secret_until_us = ?"
    worker.store.execute(overlap, (OLD_SECRET, now_us + 60 * S))
    emit(worker.store, 1)
    worker.settle(now_us)
    return receiver.posts[0]


def test_the_reference_library_of_python_verifies_by_either_secret(worker: Worker, receiver: Receiver) -> None:
    post = rotated(worker, receiver)
    for secret in (SECRET, OLD_SECRET):
        assert Webhook(secret).verify(post.body, post.headers)["data"]["signal_id"] == "sig_1"
    worker.store.execute("UPDATE subscriptions SET previous_secret_until_us = 1")
    emit(worker.store, 2)
    worker.settle(time.time_ns() // 1000)
    assert len(receiver.posts[1].headers["webhook-signature"].split()) == 1


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scheme's own JavaScript library in it."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not here: the JavaScript reference library was not tried")
    folder = tmp_path_factory.mktemp("reference")
    words = [npm, "install", "--prefix", str(folder), "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts"]
    try:
        run = subprocess.run([*words, "standardwebhooks@1"], capture_output=True, check=False, timeout=60)
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not get the JavaScript reference library in time: it was not tried")
    if run.returncode:
        pytest.skip("npm cannot get the JavaScript reference library: it was not tried")
    return folder


def test_the_reference_library_of_javascript_verifies_by_either_secret(
    worker: Worker, receiver: Receiver, reference: Path
) -> None:
    post = rotated(worker, receiver)
    script = """
        const { Webhook } = require("standardwebhooks");
        const { secrets, headers, body } = JSON.parse(require("fs").readFileSync(0, "utf8"));
        for (const secret of secrets) console.log(new Webhook(secret).verify(body, headers).data.signal_id);
        try { new Webhook(secrets[0]).verify(body + " ", headers); } catch (error) { console.log(error.message); }
    """
    told = json.dumps({"secrets": [SECRET, OLD_SECRET], "headers": post.headers, "body": post.body.decode()})
    run = subprocess.run(["node", "-e", script], input=told, cwd=reference, capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[:3] == ["sig_1", "sig_1", "No matching signature found"]


def test_what_fails_is_tried_ten_times_under_one_id_and_then_the_endpoint_is_left_alone(
    worker: Worker, receiver: Receiver
) -> None:
    receiver.answers["/in"] = answer(500, b"boom")
    subscribe(worker.store, "s", f"{receiver.url}/in")
    emit(worker.store, 1)
    now_us = 10 * S
    worker.settle(now_us)
    for n, wait_s in enumerate(SCHEDULE_S[1:], start=1):
        worker.settle(now_us + wait_s * S - 1)
        assert len(receiver.posts) == n, "tried again before its time"
        now_us += int(wait_s * 1.1 * S) + 2 * S
        worker.settle(now_us)
    assert len(receiver.posts) == 10
    assert {post.headers["webhook-id"] for post in receiver.posts} == {"sig_1"}
    assert len({post.body for post in receiver.posts}) == 1
    assert len({post.headers["webhook-timestamp"] for post in receiver.posts}) == 10
    assert states(worker.store) == [("failed", 10)]
    state, reason = state_of(worker.store, "s")
    assert state == "disabled"
    assert reason.endswith("the last attempt answered 500")
    emit(worker.store, 2, now_us)
    worker.settle(now_us + 1)
    assert len(receiver.posts) == 10


def test_one_success_ends_a_failure_however_long(worker: Worker, receiver: Receiver) -> None:
    subscribe(worker.store, "s", f"{receiver.url}/in")
    for n, (status, at_us) in enumerate([(500, S), (204, 2 * S), (500, (LONG_FAILURE_S + 10) * S)]):
        receiver.answers["/in"] = answer(status)
        emit(worker.store, n)
        worker.settle(at_us)
    assert state_of(worker.store, "s") == ("active", None)


def test_retry_after_is_respected_by_every_message_to_that_endpoint(worker: Worker, receiver: Receiver) -> None:
    receiver.answers["/in"] = answer(429, Retry_After="600")
    subscribe(worker.store, "s", f"{receiver.url}/in")
    subscribe(worker.store, "other", f"{receiver.url}/other")
    emit(worker.store, 1)
    worker.settle(1 * S)
    receiver.answers["/in"] = answer(204)
    emit(worker.store, 2)
    worker.settle(590 * S)
    assert [post.path for post in receiver.posts].count("/in") == 1
    assert [post.path for post in receiver.posts].count("/other") == 2
    worker.settle(700 * S)
    assert states(worker.store) == [("delivered", 2), ("delivered", 1), ("delivered", 1), ("delivered", 1)]


def test_retry_after_may_be_a_date(worker: Worker, receiver: Receiver) -> None:
    back_at = (datetime.now(UTC) + timedelta(hours=2)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    receiver.answers["/in"] = answer(503, Retry_After=back_at)
    subscribe(worker.store, "s", f"{receiver.url}/in")
    emit(worker.store, 1)
    now_us = time.time_ns() // 1000
    worker.settle(now_us)
    ((due_at_us,),) = worker.store.execute("SELECT due_at_us FROM deliveries").fetchall()
    assert isinstance(due_at_us, int)
    assert 6_000 * S < due_at_us - now_us < 2.3 * 3600 * S


def test_gone_means_gone(worker: Worker, receiver: Receiver) -> None:
    receiver.answers["/in"] = answer(410)
    subscribe(worker.store, "s", f"{receiver.url}/in")
    emit(worker.store, 1)
    worker.settle(S)
    assert state_of(worker.store, "s") == ("disabled", "the endpoint answered 410: it is gone")
    assert states(worker.store) == [("failed", 1)]


def test_a_partner_who_enables_again_gets_what_was_waiting(worker: Worker, receiver: Receiver) -> None:
    receiver.answers["/in"] = answer(500)
    subscribe(worker.store, "s", f"{receiver.url}/in")
    emit(worker.store, 1)
    worker.settle(S)
    worker.store.execute("UPDATE subscriptions SET state = 'disabled'")
    receiver.answers["/in"] = answer(204)
    worker.settle(100 * S)
    assert len(receiver.posts) == 1
    worker.store.execute("UPDATE subscriptions SET state = 'active'")
    worker.settle(200 * S)
    assert states(worker.store) == [("delivered", 2)]


def test_a_redirect_is_not_followed(worker: Worker, receiver: Receiver) -> None:
    receiver.answers["/in"] = answer(307, Location=f"{receiver.url}/elsewhere")
    subscribe(worker.store, "s", f"{receiver.url}/in")
    emit(worker.store, 1)
    worker.settle(S)
    assert [post.path for post in receiver.posts] == ["/in"]
    assert attempts(worker.store) == [("redirect", 307, "")]


def test_the_first_bytes_of_an_answer_are_kept_and_no_more(worker: Worker, receiver: Receiver) -> None:
    receiver.answers["/in"] = answer(400, "falsch: ü\n\x00".encode() + b"\xff" + b"y" * 10_000)
    subscribe(worker.store, "s", f"{receiver.url}/in")
    emit(worker.store, 1)
    worker.settle(S)
    ((outcome, status, text),) = attempts(worker.store)
    assert (outcome, status) == ("answered", 400)
    assert text.startswith("falsch: ü··\ufffdyyy")
    assert len(text) == 256


def test_an_answer_without_an_end_counts_by_its_status(worker: Worker, receiver: Receiver) -> None:
    receiver.answers["/in"] = endless
    subscribe(worker.store, "s", f"{receiver.url}/in")
    emit(worker.store, 1)
    worker.settle(S)
    assert attempts(worker.store) == [("delivered", 200, "x" * 256)]


def test_what_cannot_be_reached_is_a_failure_with_a_name(worker: Worker, receiver: Receiver) -> None:
    subscribe(worker.store, "closed", "http://127.0.0.1:9/")
    subscribe(worker.store, "plain", receiver.url.replace("http:", "https:"))
    subscribe(worker.store, "nowhere", "http://no-such-host.invalid/")
    emit(worker.store, 1)
    worker.settle(S)
    assert sorted(attempts(worker.store)) == [
        ("connection", None, None),
        ("tls", None, None),
        ("unresolved", None, None),
    ]


def test_who_does_not_answer_is_not_waited_for(hasty: Worker, receiver: Receiver) -> None:
    receiver.answers["/hangs"] = hang
    subscribe(hasty.store, "hangs", f"{receiver.url}/hangs")
    emit(hasty.store, 1)
    hasty.settle(S)
    assert attempts(hasty.store) == [("timeout", None, None)]


def test_an_endpoint_that_hangs_does_not_hold_up_the_others(worker: Worker, receiver: Receiver) -> None:
    receiver.answers["/hangs"] = hang
    subscribe(worker.store, "hangs", f"{receiver.url}/hangs")
    subscribe(worker.store, "well", f"{receiver.url}/well")
    for n in range(50):
        emit(worker.store, n)
    until(lambda: worker.duty.step(S) is None or attempts(worker.store).count(("delivered", 204, "")) == 50, poll_s=0)
    assert [post.path for post in receiver.posts].count("/hangs") <= 2
    assert len(attempts(worker.store)) == 50  # the others are still waited for


class Bewitched(Outbound):
    """Fails at one address in a way that nobody foresaw."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        if url.endswith("/odd"):
            raise AssertionError("canary")
        return await super().post(url, body, headers)


def test_an_error_that_nobody_foresaw_holds_up_no_other_message(
    empty: Path, tmp_path: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    copied(empty, tmp_path, dirs_exist_ok=True)
    store = connect(tmp_path)
    for name in ("odd", "well", "unsigned"):
        subscribe(store, name, f"{receiver.url}/{name}")
    store.execute("UPDATE subscriptions SET secret = 'no base64' WHERE id = 'unsigned'")
    emit(store, 1)
    worker = Worker(store, DeliveryDuty(open_store(tmp_path), lambda: Bewitched(True, PATIENCE_S), random.Random(7), SEALS))
    worker.settle(S)
    worker.duty.close()
    assert [post.path for post in receiver.posts] == ["/well"]
    assert sorted(attempts(store)) == [("delivered", 204, ""), ("error", None, None), ("error", None, None)]
    assert "canary" not in caplog.text


def test_proxies_of_the_machine_are_not_used(worker: Worker, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    subscribe(worker.store, "s", f"{receiver.url}/in")
    emit(worker.store, 1)
    worker.settle(S)
    assert states(worker.store) == [("delivered", 1)]


def test_whoever_comes_after_a_killed_worker_sends_again_under_the_same_id(
    worker: Worker, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.answers["/in"] = hang
    subscribe(worker.store, "s", f"{receiver.url}/in")
    emit(worker.store, 1)
    until(lambda: worker.duty.step(S) is None or receiver.posts, poll_s=0)  # under way, and never written
    receiver.answers["/in"] = answer(204)
    second = DeliveryDuty(open_store(tmp_path), lambda: Outbound(True, PATIENCE_S), random.Random(8), SEALS)
    while second.step(2 * S):
        pass
    second.close()
    assert states(worker.store) == [("delivered", 1)]
    assert [post.headers["webhook-id"] for post in receiver.posts] == ["sig_1", "sig_1"]


def test_an_erased_signal_is_not_sent_and_leaves_no_answer_behind(worker: Worker, receiver: Receiver) -> None:
    receiver.answers["/in"] = answer(500, b"what about user-1?")
    subscribe(worker.store, "s", f"{receiver.url}/in")
    for n in (1, 2):
        emit(worker.store, n)
    worker.settle(S)
    worker.store.execute("DELETE FROM deliveries WHERE signal_id = 'sig_1'")
    worker.store.execute("DELETE FROM signals WHERE user_id IN ('user-1', 'user-2')")
    assert len(attempts(worker.store)) == 1
    worker.settle(20 * S)
    assert len(receiver.posts) == 2
    assert states(worker.store) == [("cancelled", 1)]


def test_erasure_while_an_attempt_is_under_way_keeps_nothing(hasty: Worker, receiver: Receiver) -> None:
    receiver.answers["/in"] = hang
    subscribe(hasty.store, "s", f"{receiver.url}/in")
    emit(hasty.store, 1)
    hasty.duty.step(S)
    hasty.store.execute("DELETE FROM deliveries WHERE signal_id = 'sig_1'")
    hasty.settle(2 * S)
    assert attempts(hasty.store) == []
