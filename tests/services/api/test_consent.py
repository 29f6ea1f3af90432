"""Without consent nothing about a visitor is kept or read, whichever way it is said."""

import json
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from flows.append import ingest_file
from infra.secret import secret
from infra.settings import Settings
from infra.store.engines import open_store
from models.events.identity import partner_key, pseudonym
from models.events.touches import History
from models.known import RecentItems, UserFeatures
from services.api.app import build_app
from services.http import partners
from services.serving.features import NoFeatures, OnlineFeatures, OnlineSource
from services.serving.model_watch import ChampionWatcher
from services.signals.catalog import Catalog
from services.worker.signals import SignalDuty
from tests.stores import connect, copied, settled
from tests.waiting import until

GPC = {"Sec-GPC": "1"}
NO = {"consent": False, "device": "mobile"}
USER = "someone-7d1c"
THEIRS = "SELECT DISTINCT partner, user_id FROM {} WHERE partner IN ('first', 'second')"
WAYS = [({}, NO), (GPC, {"device": "mobile"}), (GPC, NO), (GPC, None)]


class Watched(OnlineFeatures):
    """Remembers whom it was asked about."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def user(self, user_id: str, now_us: int) -> UserFeatures | None:
        self.asked.append(user_id)
        return None

    def recent_items(self, user_id: str, now_us: int) -> RecentItems | None:
        self.asked.append(user_id)
        return None

    def history(self, user_id: str, now_us: int) -> History | None:
        self.asked.append(user_id)
        return None

    def item(self, item_id: str, now_us: int) -> None:
        return None


class Service:
    """A service with champions, its key, and the features it reads."""

    def __init__(self, client: TestClient, home: Path, key: str, online: Watched) -> None:
        self.client, self.home, self.key, self.online = client, home, key, online

    def post(self, path: str, body: Any, headers: dict[str, str]) -> Any:
        reply = self.client.post(path, json=body, headers={"Authorization": f"Bearer {self.key}"} | headers)
        assert reply.status_code in (200, 202), reply.text
        return reply.json()

    def holding(self) -> list[str]:
        """Files that hold the visitor, by the partner's id or by ours."""
        names = USER, pseudonym(partner_key(secret(self.home), "shop"), USER)
        contents = ((path, path.read_bytes()) for path in self.home.rglob("*") if path.is_file())
        return [path.name for path, content in contents if any(name.encode() in content for name in names)]


@pytest.fixture(scope="module")
def service(crowned: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = copied(crowned, tmp_path_factory.mktemp("consent") / "home")
    key = partners.add(home, "shop", time.time_ns() // 1000)
    online = Watched()
    with TestClient(build_app(Settings(home=home), online=online)) as client:
        online.asked.clear()
        yield Service(client, home, key, online)


def now() -> str:
    """Of the moment: what is some minutes old causes no signal."""
    return datetime.now(UTC).isoformat()


def event(n: int, **more: Any) -> dict[str, Any]:
    return {"event_id": f"e-{n}", "user_id": USER, "session_id": "s", "type": "search", "ts": now()} | more


@pytest.mark.parametrize(("headers", "context"), WAYS)
def test_events_are_rejected_and_not_even_quarantined(
    service: Service, headers: dict[str, str], context: dict[str, Any] | None
) -> None:
    sent = [event(1, context=context), event(2, context=context, type="no such type"), event(3, event_id=7, context=context)]
    answer = service.post("/v1/events", {"events": sent}, headers)
    assert (answer["accepted"], answer["rejected"]) == (0, 3)
    assert {result["reason"] for result in answer["results"]} == {"the visitor does not consent"}
    assert [result["event_id"] for result in answer["results"]] == ["e-1", "e-2", None]
    connection = connect(service.home)
    assert connection.execute("SELECT 1 FROM events UNION ALL SELECT 1 FROM quarantine").fetchall() == []
    assert service.holding() == []


@pytest.mark.parametrize(("headers", "context"), WAYS)
def test_answers_come_from_the_session_alone(service: Service, headers: dict[str, str], context: dict[str, Any] | None) -> None:
    for events in ([], [{"type": "item_view", "item_id": "sku-00001", "ts": now()}]):
        session = {"session_data": {"session_id": "s", "events": events} | ({"context": context} if context else {})}
        found = service.post("/v1/recommendations", {"user_id": USER, "limit": 3, **session}, headers)
        assert len(found["items"]) == 3
        told = service.post("/v1/engagement", {"user_id": USER, **session}, headers)
        assert told["signal"] == {"type": "no_action", "payload": {}}
        about = service.post("/v1/intent", session, headers)
        assert all("no_consent" in answer["degraded"] for answer in (found, told, about))
    assert service.online.asked == []
    time.sleep(0.3)  # decisions are written behind the answers
    assert connect(service.home).execute("SELECT 1 FROM decisions").fetchall() == []
    assert service.holding() == []


def test_one_visitor_without_consent_does_not_sink_the_others(service: Service) -> None:
    sent = [event(1, context=NO), event(2, user_id="another", context={"consent": True})]
    answer = service.post("/v1/events", {"events": sent}, {"Sec-GPC": "0"})
    assert [(r["status"], r.get("pointer")) for r in answer["results"]] == [
        ("rejected", "/events/0/context/consent"),
        ("accepted", None),
    ]
    assert service.holding() == []


def test_with_consent_features_are_read_and_the_decision_is_on_record(service: Service) -> None:
    answer = service.post("/v1/recommendations", {"user_id": "another", "session_data": {"context": {"consent": True}}}, {})
    assert "no_consent" not in answer["degraded"]
    assert len(set(service.online.asked)) == 1
    until(lambda: connect(service.home).execute("SELECT 1 FROM decisions").fetchall(), "the decision is not on record")
    assert connect(service.home).execute("SELECT decision_id FROM decisions").fetchall() == [(answer["decision_id"],)]


def test_files_of_our_own_format_are_read_by_the_same_rule(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    lines = [event(1, context=NO), event(2, user_id="another"), event(3, context=NO, type="no such type")]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert ingest_file(file, "attune", tmp_path / "home") == (1, 0, 0)
    file.write_text(f"{json.dumps(lines[0])}\n")
    assert ingest_file(file, "attune", tmp_path / "home") == (0, 0, 0)


def is_known(service: Service, headers: dict[str, str]) -> bool:
    return bool(service.client.get("/v1/signals", headers=headers).status_code == 200)


def test_two_partners_cannot_join_their_users(service: Service) -> None:
    keys = {name: partners.add(service.home, name, time.time_ns() // 1000) for name in ("first", "second")}
    for name, key in keys.items():
        headers = {"Authorization": f"Bearer {key}"}
        until(partial(is_known, service, headers), "the key is not known")
        policy = service.client.put("/v1/signals/policy", json={"holdout_share": 0.0, "cool_down_s": 0}, headers=headers)
        assert policy.status_code == 200
        kinds = ["search"] + ["search_refine"] * 4  # who searches so long does not find something
        sent = [event(n, type=kind, user_id="same", event_id=f"{name}-{n}") for n, kind in enumerate(kinds)]
        service.post("/v1/events", {"events": sent}, headers)
        service.post("/v1/recommendations", {"user_id": "same"}, headers)
    until(
        lambda: len(connect(service.home).execute(THEIRS.format("decisions")).fetchall()) == 2,
        "the decisions are not on record",
    )
    champions = ChampionWatcher(service.home)
    champions.refresh()
    online = OnlineSource(Settings(home=service.home), NoFeatures())
    duty = SignalDuty(open_store(service.home), champions, online, Catalog(service.home), random.Random(1))
    settled(service.home)
    while duty.step(time.time_ns() // 1000):
        pass
    expected = {name: pseudonym(partner_key(secret(service.home), name), "same") for name in keys}
    assert len(set(expected.values())) == 2
    for table in ("events", "decisions", "signals"):
        known = connect(service.home).execute(THEIRS.format(table)).fetchall()
        assert set(known) == set(expected.items())
    for name, key in keys.items():
        told = service.client.get("/v1/signals?after=0", headers={"Authorization": f"Bearer {key}"})
        assert {one["data"]["user_id"] for one in told.json()["signals"]} == {expected[name]}
