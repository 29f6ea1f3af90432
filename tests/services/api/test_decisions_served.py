"""From the request to the record: who was shown what, how likely that was, and nothing in the clear."""

import asyncio
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from infra import layout
from infra.settings import Settings
from infra.store.engines import open_store
from models.bandit.thompson import DEFAULT_PARAMS
from models.events.identity import partner_key, partner_keys, pseudonym
from services.api.app import build_app
from services.api.recommendations import RecommendationHandler
from services.http.calls import WARM_UP, Call
from services.http.guard import AdmitAll
from services.http.partners import SCOPES, Caller
from services.serving.decision_log import DecisionLog
from services.serving.features import NoFeatures
from services.serving.model_watch import ChampionWatcher
from services.serving.profiles import Profiles, replay
from services.worker.rewards import RewardDuty
from tests.stores import connect, copied, settled

NOW_US = 1_763_719_200_000_000  # 2025-11-21T10:00:00Z
CANARY = "canary-user-7f3a"
SHOP = Caller("shop", frozenset(SCOPES), "sk")


class Service:
    """A handler over a home, with its decision log and bandit."""

    def __init__(self, home: Path) -> None:
        self.home = home
        champions = ChampionWatcher(home)
        champions.refresh()
        self.log = DecisionLog(home, gather_s=60)
        shared = build_app(Settings(home=home), champions=champions, online=NoFeatures()).shared
        shared = replace(shared, key=partner_keys(bytes(32)), profiles=Profiles(home, check_s=0), decisions=self.log)
        self.handler = RecommendationHandler(shared, random.Random(1))

    def ask(self, user: str, caller: Caller = SHOP) -> Any:
        event = {"type": "add_to_cart", "item_id": "sku-00001", "ts": "2025-11-21T09:59:00Z"}
        context = {"device": "mobile", "timezone": "Europe/Berlin"}
        body = {"user_id": user, "limit": 3, "session_data": {"session_id": "s-1", "context": context, "events": [event]}}
        call = Call(caller, json.dumps(body).encode(), received_at_us=NOW_US)
        return asyncio.run(self.handler.answer(call))

    def logged(self) -> list[dict[str, Any]]:
        self.log.close()
        found: Any = connect(self.home).execute("SELECT * FROM decisions ORDER BY seq")
        rows = [dict(zip([column[0] for column in found.description], row, strict=True)) for row in found]
        return [
            {k: json.loads(v) if k in ("context", "models", "items", "degraded") else v for k, v in row.items()} for row in rows
        ]


@pytest.fixture
def service(crowned: Path, tmp_path: Path) -> Service:
    home = tmp_path / "home"
    copied(crowned, home)
    return Service(home)


def test_an_answer_is_on_record_with_what_it_was_made_of(service: Service) -> None:
    reply = service.ask(CANARY)
    service.ask("service itself", WARM_UP)
    (row,) = service.logged()
    assert row["decision_id"] == reply.decision_id
    assert row["user_id"] == pseudonym(partner_key(bytes(32), "shop"), CANARY)
    assert row["items"] == [item.item_id for item in reply.items]
    assert (row["experiment"], row["variant"]) == (reply.experiment.name, reply.experiment.variant)
    assert row["models"] == dict(reply.models)
    told = {name: row["context"][name] for name in ("device", "hour", "segment", "intent")}
    assert told == {"device": "mobile", "hour": 10, "segment": "carter", "intent": reply.intent.label}  # 10:59 in Berlin
    assert row["session_id"] == "s-1"
    assert row["latency_us"] > 0


def test_no_user_is_in_the_store_in_the_clear(service: Service) -> None:
    service.ask(CANARY)
    service.log.close()
    RewardDuty(service.home, open_store(service.home)).step(NOW_US)
    for path in service.home.glob(f"{layout.STORE}*"):
        assert CANARY.encode() not in path.read_bytes()


def test_before_anything_was_learned_the_champion_weights_serve_and_the_decision_says_so(service: Service) -> None:
    for k in range(20):
        service.ask(f"u-{k}")
    rows = service.logged()
    dynamic = [row for row in rows if row["variant"] == "dynamic"]
    assert {row["profile"].partition("@")[0] for row in dynamic} == {"heuristic"}
    assert {(row["propensity"], row["snapshot"]) for row in rows} == {(1.0, None)}


def test_the_bandit_deals_within_the_dynamic_variant_and_a_replay_repeats_it(service: Service) -> None:
    RewardDuty(service.home, open_store(service.home)).step(NOW_US)
    for k in range(60):
        service.ask(f"u-{k}")
    rows = service.logged()
    dynamic = [row for row in rows if row["variant"] == "dynamic"]
    assert {row["profile"].partition("@")[0] for row in dynamic} == {"static", "heuristic"}
    assert all(row["propensity"] >= DEFAULT_PARAMS.floor and row["snapshot"] == 1 for row in dynamic)
    assert {(row["profile"].partition("@")[0], row["propensity"]) for row in rows if row["variant"] == "static"} == {
        ("static", 1.0)
    }
    assert replay(service.home) == (len(dynamic), [])


def test_an_event_that_names_its_decision_is_its_reward(service: Service) -> None:
    service.log.close()
    event = {"event_id": "e-1", "user_id": CANARY, "type": "purchase", "item_id": "sku-00002", "price": 9.5}
    app = build_app(Settings(home=service.home), authenticator=AdmitAll(), online=NoFeatures(), now_us=lambda: NOW_US)
    with TestClient(app) as client:
        answer = client.post("/v1/recommendations", json={"user_id": CANARY, "item_id": "sku-00001"}).json()
        told = event | {"ts": "2025-11-21T10:00:00Z", "decision_id": answer["decision_id"]}
        for _ in range(2):
            assert client.post("/v1/events", json={"events": [told]}).status_code == 202
    settled(service.home)
    RewardDuty(service.home, open_store(service.home)).step(NOW_US + 10_000_000)
    assert connect(service.home).execute("SELECT decision_id, reward, revenue FROM rewards").fetchall() == [
        (answer["decision_id"], 1.0, 9.5)
    ]
