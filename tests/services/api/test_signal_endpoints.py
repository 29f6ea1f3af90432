"""Subscriptions, policy, pull and stream, as a partner meets them."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from starlette.testclient import TestClient

from infra.secret import secret
from infra.settings import Settings
from infra.store.statements.signals import ADD_SIGNAL
from models.events.rules import parse_instant_us
from models.model_set import ModelSet
from services.api.app import build_app
from services.delivery.seals import Seals
from services.http.partners import SCOPES, Caller
from services.serving.features import NoFeatures
from tests.stores import connect

NOW_US = parse_instant_us("2026-11-21T12:00:00Z")
URL = {"url": "https://partner.example.com/hooks"}


class NoModels:
    """ModelSet of a home without any."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def current(self) -> ModelSet:
        return ModelSet()

    def problems(self) -> dict[str, str]:
        return {}


class Names:
    """Keys that are the partners' names; those that were revoked are remembered."""

    origins: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.revoked: set[str] = set()

    def authenticate(self, key: str, now_s: float) -> Caller | None:
        return None if not key or key in self.revoked else Caller(key, frozenset(SCOPES), "sk")

    def vouching(self, partner: str, now_s: float) -> list[str]:
        return []


KEYS = Names()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("signals")


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[TestClient]:
    app = build_app(Settings(home=home), authenticator=KEYS, champions=NoModels(), online=NoFeatures(), now_us=lambda: NOW_US)
    with TestClient(app) as opened:
        yield opened


class Partner(NamedTuple):
    """One partner, and how it asks."""

    name: str
    client: TestClient

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        fields = {"authorization": f"Bearer {self.name}", **headers}
        if body is not None:
            fields["content-type"] = "application/json"
        return self.client.request(method, path, content=None if body is None else json.dumps(body), headers=fields)


@pytest.fixture
def shop(client: TestClient, request: pytest.FixtureRequest) -> Partner:
    return Partner(request.node.name, client)


def emit(home: Path, partner: str, *names: str, user: str = "p1") -> list[int]:
    """Put signals into the outbox; their cursors."""
    store = connect(home)
    cursors = []
    for name in names:
        ((sequence,),) = store.execute("SELECT count(*) + 1 FROM signals WHERE partner = ? AND user_id = ?", (partner, user))
        ((cause,),) = store.execute("SELECT coalesce(max(cause_seq), 0) + 1 FROM signals")
        told = (name, json.dumps({"item_ids": ["a"]}), 0.5, "leave", cause, NOW_US, 0)
        store.execute(ADD_SIGNAL, (f"sig_{partner}_{cause}", partner, user, sequence, *told))
        cursors.append(store.last_insert_rowid())
    return cursors


# ---- subscriptions -------------------------------------------------------------------------------------------------


def test_a_subscription_is_made_shown_changed_and_deleted(shop: Partner) -> None:
    made = shop.ask("POST", "/v1/subscriptions", {**URL, "signal_types": ["offer_discount"], "min_score": 0.4})
    assert made.status_code == 201
    secret = made.json().pop("secret")
    assert secret.startswith("whsec_")
    assert 24 <= len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) <= 64
    path = f"/v1/subscriptions/{made.json()['id']}"
    shown = shop.ask("GET", path).json()
    assert shown == {name: value for name, value in made.json().items() if name != "secret"}  # shown once
    assert (shown["state"], shown["created_at"]) == ("active", "2026-11-21T12:00:00.000000Z")
    changed = shop.ask("PATCH", path, {"signal_types": [], "state": "disabled"}).json()
    assert (changed["signal_types"], changed["state"], changed["min_score"]) == ([], "disabled", 0.4)
    assert changed["disabled_reason"]
    again = shop.ask("PATCH", path, {"state": "active"}).json()
    assert again["state"] == "active"
    assert "disabled_reason" not in again
    assert shop.ask("GET", "/v1/subscriptions").json() == {"subscriptions": [again]}
    assert shop.ask("DELETE", path).status_code == 204
    assert [shop.ask(method, path).status_code for method in ("GET", "DELETE")] == [404, 404]


def test_a_rotated_secret_signs_beside_the_new_one_for_a_day(home: Path, shop: Partner) -> None:
    made = shop.ask("POST", "/v1/subscriptions", URL).json()
    rotated = shop.ask("POST", f"/v1/subscriptions/{made['id']}/rotate-secret").json()
    assert rotated["secret"] != made["secret"]
    assert rotated["previous_secret_until"] == "2026-11-22T12:00:00.000000Z"
    kept = connect(home).execute("SELECT secret, previous_secret FROM subscriptions WHERE id = ?", (made["id"],)).fetchall()
    seals = Seals(secret(home))
    assert [seals.opened(made["id"], one) for one in kept[0]] == [rotated["secret"], made["secret"]]
    assert "whsec_" not in str(kept)


def test_a_repeated_request_is_told_its_secret_again_while_the_subscription_is_there(home: Path, shop: Partner) -> None:
    headers: dict[str, str] = {"idempotency-key": "once"}
    first, again = (shop.ask("POST", "/v1/subscriptions", URL, **headers) for _ in range(2))
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()
    bodies = connect(home).execute("SELECT body FROM idempotent_answers").fetchall()
    assert bodies
    assert "whsec_" not in str(bodies)
    shop.ask("DELETE", f"/v1/subscriptions/{first.json()['id']}")
    later = shop.ask("POST", "/v1/subscriptions", URL, **headers)
    assert (later.status_code, later.json()["id"]) == (201, first.json()["id"])
    assert "secret" not in later.json()


def test_nobody_reaches_another_partners_subscription(shop: Partner) -> None:
    path = f"/v1/subscriptions/{shop.ask('POST', '/v1/subscriptions', URL).json()['id']}"
    other = shop._replace(name="other")
    assert other.ask("GET", "/v1/subscriptions").json() == {"subscriptions": []}
    calls = (
        ("GET", path, None),
        ("PATCH", path, {"state": "disabled"}),
        ("DELETE", path, None),
        ("POST", path + "/rotate-secret", None),
    )
    assert [other.ask(*call).status_code for call in calls] == [404] * 4
    assert shop.ask("GET", path).json()["state"] == "active"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/url"),
        ({"url": "https://127.0.0.1/x"}, "/url"),
        ({"url": "http://partner.example.com"}, "/url"),
        ({**URL, "signal_types": ["offer_discount", "no_action"]}, "/signal_types/1"),
        ({**URL, "min_score": 1.5}, "/min_score"),
        ({**URL, "secret": "mine"}, ""),
    ],
)
def test_a_subscription_that_does_not_fit_is_refused_with_a_pointer(shop: Partner, body: dict[str, Any], pointer: str) -> None:
    refused = shop.ask("POST", "/v1/subscriptions", body)
    assert (refused.status_code, refused.json().get("pointer", "")) == (422, pointer)
    if "url" in body:
        path = f"/v1/subscriptions/{shop.ask('POST', '/v1/subscriptions', URL).json()['id']}"
        assert shop.ask("PATCH", path, body).status_code == 422


def test_one_idempotency_key_makes_one_subscription(shop: Partner) -> None:
    first, second = (shop.ask("POST", "/v1/subscriptions", URL, **{"idempotency-key": "k-1"}) for _ in "ab")
    assert first.json() == second.json()
    assert len(shop.ask("GET", "/v1/subscriptions").json()["subscriptions"]) == 1


# ---- policy --------------------------------------------------------------------------------------------------------


def test_a_policy_is_set_shown_and_followed_by_engagement(shop: Partner) -> None:
    default = shop.ask("GET", "/v1/signals/policy").json()
    assert default["holdout_share"] == 0.05
    support = {"type": "search_refine", "ts": "2026-11-21T11:59:00Z"}
    body = {"user_id": "u", "session_data": {"events": [support] * 5, "context": {"timezone": "Asia/Tokyo"}}}
    shop.ask("PUT", "/v1/signals/policy", {"holdout_share": 0.0})
    assert shop.ask("POST", "/v1/engagement", body).json()["signal"]["type"] == "proactive_support"
    night = {"holdout_share": 0.0, "quiet_hours": {"from": "20:30", "to": "07:00"}}  # it is 21:00 in Tokyo
    assert shop.ask("PUT", "/v1/signals/policy", night).json() == {**default, **night}
    withheld = {"type": "proactive_support", "reason": "quiet_hours"}
    expected = {"type": "no_action", "payload": {}, "withheld": withheld}
    assert shop.ask("POST", "/v1/engagement", body).json()["signal"] == expected
    assert shop._replace(name="neighbour").ask("GET", "/v1/signals/policy").json() == default


def test_a_key_may_not_ask_for_dry_runs_again_and_again(shop: Partner) -> None:
    before = shop.ask("GET", "/v1/signals/policy").json()
    eager, patient = shop._replace(name="eager"), shop._replace(name="patient")
    asked = [eager.ask("PUT", "/v1/signals/policy?dry_run=true", {}) for _ in range(6)]
    assert [answer.status_code for answer in asked] == [200, 200, 200, 200, 429, 429]
    assert asked[-1].headers["retry-after"] == "60"  # four a minute, in all processes
    assert asked[-1].headers["content-type"] == "application/problem+json"
    assert patient.ask("PUT", "/v1/signals/policy?dry_run=true", {}).status_code == 200
    assert eager.ask("PUT", "/v1/signals/policy", {}).status_code == 200  # a policy may be set all the same
    assert shop.ask("GET", "/v1/signals/policy").json() == before


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"quiet_hours": {"from": "24:00", "to": "07:00"}}, "/quiet_hours/from"),
        ({"quiet_hours": {"from": "20:00"}}, "/quiet_hours/to"),
        ({"quiet_hours": {"from": "20:00", "to": "20:00"}}, "/quiet_hours/to"),
        ({"thresholds": {"min_p_leave": -0.1}}, "/thresholds/min_p_leave"),
        ({"signal_types": ["sing"]}, "/signal_types/0"),
        ({"discount_budget": {"per_day": -1}}, "/discount_budget/per_day"),
        ({"holdout": 0.5}, ""),
        ({"workflows": [{"name": "call", "when": "score >"}]}, "/workflows/0/when"),
        ({"workflows": [{"name": "call", "when": "score > 0.5 and score < 0.4"}]}, "/workflows/0/when"),
        ({"workflows": [{"name": "call", "when": " or ".join(["score>0"] * 60)}]}, "/workflows/0/when"),  # too dear
        ({"workflows": [{"name": "call", "when": "score > 0.5", "colour": "nobody"}]}, "/workflows/0"),
        ({"workflows": [{"name": "call", "when": "nobody > 0.5"}]}, "/workflows/0/when"),
        ({"workflows": [{"name": "call", "when": "score > 0.5", "fields": {"a/b": "{nobody}"}}]}, "/workflows/0/fields/a~1b"),
        ({"workflows": [{"name": "call", "when": "1 < 2"}], "signal_types": ["recommend_content"]}, "/workflows"),
        ({"discount_budget": {"per_day": 5}, "signal_types": ["recommend_content"]}, "/discount_budget"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused_with_a_pointer(shop: Partner, body: dict[str, Any], pointer: str) -> None:
    refused = shop.ask("PUT", "/v1/signals/policy", body)
    assert (refused.status_code, refused.json().get("pointer", "")) == (422, pointer)
    assert refused.headers["content-type"] == "application/problem+json"
    assert shop.ask("GET", "/v1/signals/policy").json()["workflows"] == []
    assert "nobody" not in refused.text


def test_a_workflow_of_the_partner_begins_with_its_fields(shop: Partner) -> None:
    call = {"name": "call", "when": "n_search_refine >= 2", "fields": {"text": "{n_search_refine} searches"}}
    assert shop.ask("PUT", "/v1/signals/policy", {"holdout_share": 0.0, "workflows": [call]}).json()["workflows"] == [call]
    events = [{"type": "search_refine", "ts": "2026-11-21T11:59:00Z"}] * 3
    answer = shop.ask("POST", "/v1/engagement", {"user_id": "u", "session_data": {"events": events}}).json()
    assert answer["signal"] == {"type": "start_workflow", "payload": {"workflow": "call", "fields": {"text": "3 searches"}}}


# ---- pull ----------------------------------------------------------------------------------------------------------


def test_pull_hands_out_every_signal_once_in_order(home: Path, shop: Partner) -> None:
    emit(home, shop.name, "offer_discount", "recommend_product")
    emit(home, "another", "start_workflow")
    emit(home, shop.name, "start_workflow", user="p2")
    seen, cursor, more = [], "0", True
    while more:
        page = shop.ask("GET", f"/v1/signals?after={cursor}&limit=2").json()
        seen += page["signals"]
        cursor, more = page["next_cursor"], page["has_more"]
    assert [s["type"] for s in seen] == ["signal.offer_discount", "signal.recommend_product", "signal.start_workflow"]
    assert [(s["data"]["user_id"], s["data"]["sequence"]) for s in seen] == [("p1", 1), ("p1", 2), ("p2", 1)]
    assert set(seen[0]["data"]) == {
        "signal_id", "user_id", "signal_type", "payload", "engagement_score", "predicted_action", "sequence"
    }  # fmt: skip
    assert shop.ask("GET", f"/v1/signals?after={cursor}").json() == {"signals": [], "next_cursor": cursor, "has_more": False}
    emit(home, shop.name, "offer_discount")
    assert len(shop.ask("GET", f"/v1/signals?after={cursor}").json()["signals"]) == 1


@pytest.mark.parametrize(
    "query", ["after=x", "after=-1", "after=" + "9" * 19, "limit=0", "limit=501", "limit=1.5", "after=%EF%BC%91"]
)
def test_a_cursor_or_limit_that_is_none_is_refused(shop: Partner, query: str) -> None:
    assert shop.ask("GET", f"/v1/signals?{query}").status_code == 422
