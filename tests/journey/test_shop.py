"""The whole path on the simulated shop, and what users find afterwards: a service that runs, learns and tells nobody."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from infra.secret import secret
from models.events.identity import partner_key, pseudonym
from models.model_specs import MODEL_NAMES
from tests import canary
from tests.journey.path import Started, command, is_whole, left_out, up
from tests.stores import connect
from tests.waiting import PATIENCE_S, free_port, until

KNOWN = "sku-00001"
BUSY = 503  # the store is being written: a client asks once more


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Started:
    home, events = tmp_path_factory.mktemp("shop"), tmp_path_factory.mktemp("events") / "small.jsonl"
    config = ("--users", "250", "--days", "7", "--seed", "5", "--end", "2026-11-01")  # the same shop whenever this runs
    assert command(home, "simulate", *config, "--out", str(events)).returncode == 0
    with events.open() as file:
        last = max((json.loads(line) for line in file), key=lambda event: str(event["ts"]))
    with events.open("a") as file:
        file.write(canary.lines(KNOWN, last["ts"]))
    return up(home, "--events", str(events))


def test_a_simulated_shop_ends_in_an_answer_with_reasons(shop: Started) -> None:
    assert is_whole(shop.answer, left_out(shop)), shop.answer
    assert all(item["because"] for item in shop.answer["items"])
    assert 0 < sum(b["share"] for b in shop.answer["items"][0]["because"]) <= 1 + 1e-9


def test_the_second_start_serves_the_champion_at_once(shop: Started) -> None:
    again = up(shop.home)
    assert "champion found" in again.err
    assert again.answer["models"] == shop.answer["models"]
    assert again.answer["items"] == shop.answer["items"]


def test_every_part_left_what_the_three_users_look_at(shop: Started) -> None:
    rows = json.loads(command(shop.home, "models", "--json").stdout)
    assert {row["name"] for row in rows if "champion" in row["aliases"]} == set(MODEL_NAMES) - left_out(shop)
    assert all(row["lineage"] for row in rows)
    findings = json.loads(command(shop.home, "doctor", "--json").stdout)
    assert [f for f in findings if f["state"] == "fail"] == []
    assert list((shop.home / "data_docs").rglob("index.html"))
    assert list((shop.home / "reports").glob("evaluation*.json"))
    assert (shop.home / "prefect" / "prefect.db").exists()


@pytest.fixture(scope="module")
def url(shop: Started) -> Iterator[str]:
    """A running `attune up`; at the end Ctrl-C must stop all of it."""
    port = free_port()
    words = [sys.executable, "-m", "services.cli", "up", "--no-open", "--port", str(port)]
    env = {**os.environ, "ATTUNE_HOME": str(shop.home), "ATTUNE_LOG_LEVEL": "DEBUG"}
    with (shop.home / "logs" / "up.log").open("w") as err:
        running = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=err, text=True)
    assert running.stdout is not None
    try:
        assert any(line.startswith("ready ") for line in running.stdout)
        yield f"http://127.0.0.1:{port}"
    finally:
        running.send_signal(signal.SIGINT)
        assert running.wait(PATIENCE_S) == 0
        assert not_listening(port)


def not_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def ask(shop: Started, url: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {(shop.home / 'local.key').read_text()}"}
    replies: list[httpx.Response] = []

    def taken() -> bool:
        replies.append(httpx.post(f"{url}{path}", json=body, headers=headers, timeout=PATIENCE_S))
        return replies[-1].status_code != BUSY

    until(taken)
    assert replies[-1].status_code < 300, replies[-1].text
    return dict(replies[-1].json())


def test_an_event_at_the_door_changes_the_next_answers(shop: Started, url: str) -> None:
    anybody = {"user_id": "newcomer", "limit": 3}
    assert "unknown_user" in ask(shop, url, "/v1/recommendations", anybody)["degraded"]
    known, now = shop.answer["items"][0]["item_id"], datetime.now(UTC).isoformat()
    event = {"user_id": "newcomer", "session_id": "s", "type": "item_view", "ts": now}
    sent = [{**event, "event_id": f"n-{n}", "item_id": item} for n, item in enumerate((known, "never-seen-before"))]
    assert ask(shop, url, "/v1/events", {"events": sent})["accepted"] == 2
    beside = {"user_id": "x", "item_id": "never-seen-before", "limit": 3}

    def is_remembered() -> bool:
        return "recent_items" in ask(shop, url, "/v1/recommendations", anybody)["degraded"]

    def is_associated() -> bool:
        return known in {item["item_id"] for item in ask(shop, url, "/v1/recommendations", beside)["items"]}

    until(is_remembered, "the worker did not bring the event into the online features")
    until(is_associated, "the associations did not learn the new pair")


def test_no_user_query_key_or_address_is_found_anywhere(shop: Started, url: str) -> None:
    key = (shop.home / "local.key").read_text()
    answers = canary.send(url, key, KNOWN, datetime.now(UTC).isoformat())
    assert {answer.status_code for answer in answers} >= {200, 202, 400, 401, 404, 405, 413, 422}
    assert [answer.url.path for answer in answers if answer.status_code >= 500 and answer.status_code != BUSY] == []
    said = [
        (answer.request.method, answer.url.path, word) for answer in answers for word in canary.WORDS if word in answer.content
    ]
    assert said == []
    anybody = {"user_id": canary.USER, "limit": 3}
    until(lambda: "recent_items" in ask(shop, url, "/v1/recommendations", anybody)["degraded"], "the worker has not been there")
    connection = connect(shop.home)
    known = pseudonym(partner_key(secret(shop.home), "local"), canary.USER)
    for table in ("events", "decisions"):  # decisions are written a moment after their answers
        statement = f"SELECT 1 FROM {table} WHERE user_id = ? LIMIT 1"
        until(
            lambda statement=statement: connection.execute(statement, (known,)).fetchall(),  # type: ignore[misc]
            f"none among the {table}",
        )
    assert canary.holding(shop.home) == {}
    assert not any(word in httpx.get(f"{url}/metrics", timeout=PATIENCE_S).content + shop.err.encode() for word in canary.WORDS)
    holding_key = [path.name for path in shop.home.rglob("*") if path.is_file() and key.encode() in path.read_bytes()]
    assert holding_key == ["local.key"]


def test_a_second_up_on_the_same_home_says_so_and_stops(shop: Started, url: str) -> None:
    second = command(shop.home, "up", "--once", "--no-open", "--port", str(free_port()))
    assert second.returncode == 2
    assert second.stderr.startswith("attune: another `attune up`")
