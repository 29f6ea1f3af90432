"""Simulated visitors against the real application: what they do is in the log, what they think is not."""

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from infra.settings import Settings
from infra.store.engines import open_store
from models.schema import INTENTS
from services import visitors
from services.api.app import build_app
from services.client import Attune, AttuneError
from services.http.guard import AdmitAll
from tests.stores import copied


class Through(Attune):
    """The client, its calls made to an application in this process."""

    def __init__(self, app: TestClient) -> None:
        super().__init__("sk_x")
        self.app = app

    def call(self, method: str, path: str, body: Any = None, query: Any = None) -> Any:
        reply = self.app.request(method, path, json=body)
        if reply.status_code >= 400:
            raise AttuneError(reply.status_code, reply.text)
        return reply.json()


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.now = time.time() - 3_600

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(scope="module")
def home(crowned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(crowned, tmp_path_factory.mktemp("visited") / "home")


@pytest.fixture(scope="module")
def app(home: Path) -> Iterator[TestClient]:
    with TestClient(build_app(Settings(home=home), authenticator=AdmitAll())) as opened:
        yield opened


def test_what_they_do_is_in_the_log_and_what_is_on_their_minds_in_a_file_of_its_own(app: TestClient, home: Path) -> None:
    clock, truth = Clock(), io.StringIO()
    seen = visitors.run(Through(app), 0.5, 60.0, truth, clock=clock, wait=clock.wait)
    told = [json.loads(line) for line in truth.getvalue().splitlines()]
    assert seen.visitors > 10
    assert (seen.events, seen.failed) == (len(told), 0)
    assert seen.asked > seen.visitors / 2
    assert {one["intent"] for one in told} <= set(INTENTS)
    kept = {row[0] for row in open_store(home).read("SELECT event_id FROM events WHERE event_id LIKE 's-%'")}
    assert kept == {one["event_id"] for one in told}


def test_the_same_seed_is_the_same_visitors(app: TestClient) -> None:
    runs = []
    for _ in range(2):
        clock, truth = Clock(), io.StringIO()
        visitors.run(Through(app), 0.5, 20.0, truth, seed=3, clock=clock, wait=clock.wait)
        runs.append([(one["intent"], one["p_purchase"]) for one in map(json.loads, truth.getvalue().splitlines())])
    assert runs[0] == runs[1]


def test_a_service_that_refuses_is_counted_and_they_go_on(app: TestClient) -> None:
    class Closed(Through):
        def call(self, method: str, path: str, body: Any = None, query: Any = None) -> Any:
            raise AttuneError(503, "not now")

    clock = Clock()
    seen = visitors.run(Closed(app), 0.5, 20.0, clock=clock, wait=clock.wait)
    assert seen.failed == seen.events > 0


def test_a_key_that_is_not_taken_is_said_at_once(app: TestClient) -> None:
    class Locked(Through):
        def call(self, method: str, path: str, body: Any = None, query: Any = None) -> Any:
            raise AttuneError(401, "the key is missing or not valid")

    clock = Clock()
    with pytest.raises(ValueError, match="401: the key is missing or not valid; give --key"):
        visitors.run(Locked(app), 0.5, 20.0, clock=clock, wait=clock.wait)


def test_ctrl_c_ends_with_what_was_seen(app: TestClient) -> None:
    clock = Clock()

    def interrupted(seconds: float) -> None:
        clock.wait(seconds)
        if clock.now > began + 10:
            raise KeyboardInterrupt

    began = clock.now
    assert visitors.run(Through(app), 0.5, 1e9, clock=clock, wait=interrupted).events > 0
