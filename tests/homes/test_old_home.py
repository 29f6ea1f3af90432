"""A home of the commit before there were migrations: it opens, answers, takes events, retrains and rolls back."""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw
import pytest
from starlette.testclient import TestClient

from infra import layout
from infra.settings import Settings
from infra.store.embedded.connection import found_revision
from infra.store.embedded.migrate import newest, revisions
from infra.store.engines import open_store
from models.trust import kept_id
from services.api.app import build_app
from tests.stores import embedded_only
from tests.waiting import PATIENCE_S, until

pytestmark = embedded_only("the home of before has a file")
PACKED = Path(__file__).with_name("before_migrations.tar.xz")
YEARS_S = 10 * 365 * 86_400  # the fixture does not grow older
READER = "reader-0"
BROWSER_KEY = "pk_f4RccNkIbZLgNwO6GNPz_A1mNYED4cgDuk6cvsOQOOs"
TABLES = "SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
IN_SIDE_TABLES = (
    "SELECT (SELECT count(*) FROM event_decisions), (SELECT count(*) FROM browser_events), "
    "(SELECT count(*) FROM key_options WHERE origins <> '[]'), (SELECT sum(requests_per_minute) FROM key_options)"
)
IN_COLUMNS = (
    "SELECT (SELECT count(decision_id) FROM events), (SELECT sum(browser) FROM events), "
    "(SELECT count(*) FROM api_keys WHERE origins <> '[]'), (SELECT sum(requests_per_minute) FROM api_keys)"
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with tarfile.open(PACKED) as packed:
        packed.extractall(tmp_path / "home", filter="data")
    return tmp_path / "home"


@pytest.fixture
def client(home: Path) -> Iterator[TestClient]:
    app = build_app(Settings(home=home, feature_max_age_s=YEARS_S))
    with TestClient(app, headers={"Authorization": f"Bearer {(home / 'local.key').read_text()}"}) as client:
        until(lambda: client.get("/readyz").status_code == 200, "the service is ready")
        yield client


def raw(home: Path, statement: str) -> list[Any]:
    """Rows of the file as it lies there."""
    with closing(apsw.Connection(str(home / layout.STORE))) as store:
        return list(store.execute(statement))


def attune(home: Path, *words: str) -> Any:
    settings = {"ATTUNE_HOME": str(home), "ATTUNE_FEATURE_MAX_AGE_S": str(YEARS_S)}
    command = [sys.executable, "-m", "services.cli", *words, "--json"]
    run = subprocess.run(
        command, env={**os.environ, **settings}, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def as_sql(text: str | None) -> str | None:
    """A definition without what is no part of it: comments and the way it is written."""
    lines = (line.partition("--")[0] for line in (text or "").splitlines())
    return " ".join(" ".join(lines).split()).replace("( ", "(").replace(" )", ")")


def test_the_first_revision_makes_the_tables_that_the_home_has(home: Path, tmp_path: Path) -> None:
    with closing(apsw.Connection(str(tmp_path / "made.db"))) as made:
        made.execute(revisions()[0].sql)
        ours = [(name, as_sql(text)) for name, text in made.execute(TABLES)]
    assert [(name, as_sql(text)) for name, text in raw(home, TABLES)] == ours


def test_what_stood_beside_events_and_keys_is_theirs_when_it_was_opened(home: Path) -> None:
    assert found_revision(home) == 1
    beside = raw(home, IN_SIDE_TABLES)
    events = raw(home, "SELECT seq, partner, event_id, user_id, occurred_at_us FROM events")
    assert open_store(home).read(IN_COLUMNS) == beside == [(18, 9, 1, 3000)]
    assert found_revision(home) == newest()
    assert raw(home, "SELECT seq, partner, event_id, user_id, occurred_at_us FROM events") == events
    assert raw(home, "PRAGMA integrity_check") == [("ok",)]
    assert raw(home, "PRAGMA foreign_key_check") == []


def test_it_answers_with_its_champions_and_its_features(client: TestClient) -> None:
    reply = client.post("/v1/recommendations", json={"user_id": READER, "limit": 5, "explain": True})
    answer = reply.json()
    assert reply.status_code == 200, answer
    assert len(answer["items"]) == 5
    assert answer["models"]["intent"] == answer["models"]["ranker"] == 2
    assert "unknown_user" not in answer["degraded"]


def test_its_keys_may_what_they_might_and_its_events_are_known(client: TestClient, home: Path) -> None:
    event = {"event_id": "new-1", "user_id": READER, "type": "search", "ts": datetime.now(UTC).isoformat()}
    page = {"Authorization": f"Bearer {BROWSER_KEY}", "Origin": "https://shop.example"}
    assert client.post("/v1/events", json={"events": [event]}, headers=page).json()["accepted"] == 1
    assert (
        client.post("/v1/events", json={"events": [event]}, headers={**page, "Origin": "https://elsewhere.example"}).status_code
        == 403
    )
    ((known,),) = open_store(home).read("SELECT event_id FROM events WHERE partner = 'local' AND browser = 0 LIMIT 1")
    again = client.post("/v1/events", json={"events": [{**event, "event_id": known}]}).json()
    assert (again["accepted"], again["duplicate"]) == (0, 1)
    assert open_store(home).read("SELECT browser FROM events WHERE event_id = ?", (kept_id("new-1"),)) == [(1,)]


@pytest.mark.slow
def test_it_takes_a_file_retrains_and_rolls_back(home: Path, tmp_path: Path) -> None:
    n_before = raw(home, "SELECT count(*) FROM events")[0][0]
    file = tmp_path / "day.jsonl"
    subprocess.run(
        [sys.executable, "-m", "services.cli", "simulate", "--users", "60", "--seed", "9", "--days", "1", "--out", str(file)],
        env={**os.environ, "ATTUNE_HOME": str(home)},
        capture_output=True,
        check=True,
        timeout=PATIENCE_S,
    )
    summary = attune(home, "retrain", "--events", str(file))
    assert raw(home, "SELECT count(*) FROM events")[0][0] > n_before
    assert summary["versions"]["intent"] == 3
    attune(home, "promote", "intent:3")
    assert attune(home, "rollback", "intent")["to_version"] == 2
    states = {finding["part"]: finding["state"] for finding in attune(home, "doctor")}
    assert states["store"] == states["audit"] == states["model intent"] == "ok"
