"""The doors for pages: visits and items, with a browser key in the body and without a preflight."""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from infra.secret import secret
from infra.settings import Settings
from models.events.identity import partner_key, pseudonym
from models.events.touches import History
from models.known import RecentItems, UserFeatures
from services.api.app import build_app
from services.api.visitor_token import user_of
from services.client import Attune
from services.http import partners
from services.http.partners import key_hash
from services.serving.features import NoFeatures, OnlineFeatures
from tests.services.shop_door import NOW_US, SHOP, Service, event, service
from tests.stores import connect

__all__ = ["service"]

TEXT = {"content-type": "text/plain;charset=UTF-8", "origin": SHOP}


class Remembered(OnlineFeatures):
    """A store that knows every user's history, and whom it was asked about."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.items = ["sku-1"]

    def user(self, user_id: str, now_us: int) -> UserFeatures | None:
        self.asked.append(user_id)
        return None

    def recent_items(self, user_id: str, now_us: int) -> RecentItems | None:
        self.asked.append(user_id)
        return RecentItems(self.items, now_us)

    def history(self, user_id: str, now_us: int) -> History | None:
        self.asked.append(user_id)
        return None

    def item(self, item_id: str, now_us: int) -> None:
        return None


class Page:
    """A page of the shop that may ask for items."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.known = Remembered()
        self.server = partners.add(home, "shop", NOW_US)
        self.plain, self.asking, self.explaining = (
            partners.add(home, "shop", NOW_US, "pk", scopes=("events:write", *more), origins=[SHOP])
            for more in ((), (partners.PAGE,), (partners.PAGE, partners.EXPLAIN))
        )
        self.app = build_app(Settings(home=home), online=self.known, now_us=lambda: NOW_US)
        self.client = TestClient(self.app, raise_server_exceptions=False)

    def send(self, path: str, body: Any, **headers: str) -> Any:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(path, content=content, headers=TEXT | headers)

    def ask(self, key: str | None = None, **more: Any) -> Any:
        return self.send("/v1/page", {"key": key or self.asking, "user_id": "v-1", **more})

    def recorded(self) -> list[tuple[str, str]]:
        """Pseudonyms and contexts of the decisions on record, after all that waits is written."""
        self.app.shared.decisions.close()
        rows = connect(self.home).execute("SELECT user_id, context FROM decisions ORDER BY seq").fetchall()
        return [(user, json.loads(context).get("door")) for user, context in rows]

    def whose(self, user_id: str) -> str:
        return pseudonym(partner_key(secret(self.home), "shop"), user_id)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    opened = Page(tmp_path)
    yield opened
    opened.app.shared.writer.close()


def token(page: Page, user_id: str = "u-1", now_s: float = NOW_US / 1e6, monkeypatch: Any = None) -> str:
    monkeypatch.setattr(time, "time", lambda: now_s)
    return Attune(page.server).visitor_token(user_id)


# ---- visits --------------------------------------------------------------------------------------------------------------


def test_a_page_sends_visits_as_plain_text_and_each_event_gets_its_verdict(page: Page) -> None:
    batch = {"key": page.plain, "events": [event("e-1"), event("e-1"), event("e-2", type="nonsense"), event("e-3")]}
    sent = page.send("/v1/visits", batch)
    assert (sent.status_code, [r["status"] for r in sent.json()["results"]]) == (
        202,
        ["accepted", "duplicate", "rejected", "accepted"],
    )
    assert sent.headers["access-control-allow-origin"] == SHOP
    assert "access-control-allow-credentials" not in sent.headers
    assert connect(page.home).execute("SELECT count(*), sum(browser) FROM events").fetchall() == [(2, 2)]


def test_a_page_asks_by_id_alone_what_has_arrived_and_its_question_leaves_no_trace(page: Page) -> None:
    named = [{"event_id": event_id} for event_id in ("e-1", "e-2", "e-of-the-server")]
    page.send("/v1/visits", {"key": page.plain, "events": [event("e-1")]})
    of_server = {"authorization": f"Bearer {page.server}", "content-type": "application/json"}
    page.send("/v1/events", {"events": [event("e-of-the-server")]}, **of_server)
    told = page.send("/v1/visits", {"key": page.plain, "events": [event("e-3"), *named, {"event_id": "e-3"}]}).json()
    assert [r["status"] for r in told["results"]] == ["accepted", "duplicate", "unknown", "unknown", "duplicate"]
    assert (told["accepted"], told["duplicate"], told["rejected"]) == (1, 2, 0)
    assert connect(page.home).execute("SELECT count(*) FROM quarantine").fetchall() == [(0,)]
    server = page.send("/v1/events", {"events": named[:1]}, **of_server).json()
    assert [r["status"] for r in server["results"]] == ["rejected"], "a server's event is never a question"


def test_who_sends_no_valid_key_of_a_browser_is_refused_and_its_page_may_read_why(page: Page) -> None:
    wanted = [
        ({"events": []}, {}, 401),
        ({"key": "pk_wrong", "events": []}, {}, 401),
        ({"key": page.server, "events": []}, {}, 403),
        (b'{"key": "pk_', {}, 400),
        ({"key": 7, "events": []}, {}, 422),
        ({"key": page.plain, "events": {}}, {}, 422),
        ({"key": page.plain, "events": []}, {"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"key": page.plain, "events": []}, {"content-encoding": "gzip"}, 415),
        (b" " * 300_000, {}, 413),
    ]
    for body, headers, status in wanted:
        answer = page.send("/v1/visits", body, **headers)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), (body, headers)
        assert answer.headers["access-control-allow-origin"] == SHOP, status
    foreign = page.send("/v1/visits", {"key": page.plain, "events": []}, origin="https://elsewhere.example")
    assert (foreign.status_code, "access-control-allow-origin" in foreign.headers) == (403, False)


def test_one_visitor_does_not_use_up_what_the_shop_may_send(tmp_path: Path) -> None:
    service = Service(tmp_path, browser_requests_per_peer=2)
    body = json.dumps({"key": service.browser, "events": []})
    answers = [service.client.post("/v1/visits", content=body, headers=TEXT) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[-1].headers["access-control-allow-origin"] == SHOP
    assert "retry-after" in answers[-1].headers
    service.app.shared.writer.close()


def test_a_browser_that_opts_out_leaves_nothing(page: Page) -> None:
    sent = page.send("/v1/visits", {"key": page.plain, "events": [event("e-1")]}, **{"sec-gpc": "1"})
    assert sent.json()["rejected"] == 1
    assert page.ask(**SESSION, **{}).status_code == 200
    opted_out = page.send("/v1/page", {"key": page.asking, "user_id": "v-1"}, **{"sec-gpc": "1"})
    assert "no_consent" in opted_out.json()["degraded"]
    assert connect(page.home).execute("SELECT count(*) FROM events").fetchall() == [(0,)]
    assert page.recorded() == []


# ---- items ---------------------------------------------------------------------------------------------------------------

SESSION: dict[str, Any] = {
    "session_data": {"events": [{"type": "item_view", "item_id": "sku-9", "ts": "2026-11-21T11:59:00Z"}]}
}


def test_only_a_page_of_the_key_with_the_scope_may_ask(page: Page) -> None:
    assert page.ask(page.plain).status_code == 403
    without = page.client.post("/v1/page", content=json.dumps({"key": page.asking}), headers={"content-type": "text/plain"})
    assert (without.status_code, "Origin" in without.json()["detail"]) == (403, True)
    answer = page.ask(**SESSION)
    assert (answer.status_code, set(answer.json())) == (200, {"decision_id", "intent", "items", "degraded"})
    with pytest.raises(ValueError, match="no scope"):
        partners.add(page.home, "shop", NOW_US, scopes=[partners.PAGE])


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"limit": 25}, "/limit"),
        ({"session_data": {"events": [{"type": "search", "ts": "2026-11-21T11:00:00Z"}] * 101}}, "/session_data/events"),
        ({"goal": "fame"}, "/goal"),
    ],
)
def test_a_question_beyond_the_limits_is_refused(page: Page, more: dict[str, Any], pointer: str) -> None:
    answer = page.ask(**more)
    assert (answer.status_code, answer.json()["pointer"]) == (422, pointer)
    assert page.send("/v1/page", b" " * 33_000).status_code == 413


def test_reasons_and_weights_need_a_key_made_for_them(page: Page) -> None:
    refused = page.ask(explain=True, **SESSION)
    assert (refused.status_code, refused.json()["pointer"]) == (403, "/explain")
    assert "weights" in page.ask(page.explaining, explain=True, **SESSION).json()
    assert "weights" not in page.ask(page.explaining, **SESSION).json()


def test_without_a_token_the_answer_is_the_same_whatever_the_user_has_done(page: Page, monkeypatch: Any) -> None:
    def told(answer: Any) -> Any:
        return {name: value for name, value in answer.json().items() if name != "decision_id"}

    before = told(page.ask(user_id="u-1"))
    page.known.items = ["sku-2"]
    history = [event(f"h-{n}", user_id="u-1", type="purchase", item_id=f"sku-{n}", price=5.0) for n in range(20)]
    headers = {"authorization": f"Bearer {page.server}"}
    assert page.client.post("/v1/events", json={"events": history}, headers=headers).json()["accepted"] == 20
    assert told(page.ask(user_id="u-1")) == before
    assert page.known.asked == []
    assert page.ask(visitor_token=token(page, monkeypatch=monkeypatch)).status_code == 200
    assert set(page.known.asked) == {page.whose("u-1")}


def test_the_signal_of_the_moment_comes_with_a_token_only(page: Page, monkeypatch: Any) -> None:
    assert "signal" not in page.ask(with_signal=True, **SESSION).json()
    given = token(page, monkeypatch=monkeypatch)
    assert "signal" not in page.ask(visitor_token=given, **SESSION).json()
    assert page.ask(visitor_token=given, with_signal=True, **SESSION).json()["signal"]["type"] == "no_action"


def test_a_token_ends_within_a_day_and_is_of_one_partner(page: Page, monkeypatch: Any) -> None:
    now_s, hashes = NOW_US / 1e6, [key_hash(page.server)]
    given = token(page, "ü 1", monkeypatch=monkeypatch)
    assert [user_of(given, hashes, now_s + later) for later in (0, 3_500, 3_700)] == ["ü 1", "ü 1", None]
    assert user_of(given, [key_hash("sk_other")], now_s) is None
    forged = base64.urlsafe_b64encode(json.dumps({"user_id": "u-2", "until": now_s + 60}).encode()).decode().rstrip("=")
    assert user_of(f"{forged}.{given.partition('.')[2]}", hashes, now_s) is None
    endless = Attune(page.server).visitor_token("u-1", 10**9)
    assert [user_of(endless, hashes, now_s + later) for later in (0, 86_401)] == ["u-1", None]
    monkeypatch.setattr(time, "time", lambda: now_s + 90_000)
    assert user_of(Attune(page.server).visitor_token("u-1", 3_600), hashes, now_s) is None
    refused = page.ask(visitor_token=f"{given}x")
    assert (refused.status_code, refused.json()["pointer"]) == (403, "/visitor_token")
    other = partners.add(page.home, "other", NOW_US)
    assert page.ask(visitor_token=Attune(other).visitor_token("u-1")).status_code == 403


def test_a_token_ends_with_its_server_key(page: Page, monkeypatch: Any) -> None:
    given = token(page, monkeypatch=monkeypatch)
    keys = partners.Keys(page.home, check_s=0)
    assert keys.vouching("shop", NOW_US / 1e6) == [key_hash(page.server)]
    partners.revoke(page.home, "shop", NOW_US)
    assert user_of(given, keys.vouching("shop", NOW_US / 1e6), NOW_US / 1e6) is None


def test_what_a_page_decided_goes_on_record_only_as_far_as_its_visitor_counts(page: Page, monkeypatch: Any) -> None:
    headers = {"authorization": f"Bearer {page.server}"}
    page.client.post("/v1/events", json={"events": [event("s-1", user_id="customer")]}, headers=headers)
    page.send("/v1/visits", {"key": page.asking, "events": [event("b-1", user_id="visitor")]})
    for user_id in ("visitor", "made-up", "customer"):
        assert page.ask(user_id=user_id, **SESSION).status_code == 200
    assert page.ask(visitor_token=token(page, "customer", monkeypatch=monkeypatch), **SESSION).status_code == 200
    assert page.recorded() == [(page.whose("visitor"), "page"), (page.whose("customer"), "page")]


def test_a_visitor_has_so_many_decisions_on_record_a_day(page: Page, monkeypatch: Any) -> None:
    monkeypatch.setattr("services.serving.decision_log.PARAMS", partners_of_two())
    given = token(page, "customer", monkeypatch=monkeypatch)
    assert {page.ask(visitor_token=given, **SESSION).status_code for _ in range(4)} == {200}
    assert page.recorded() == [(page.whose("customer"), "page")] * 2


def partners_of_two() -> Any:
    from models.trust import TrustParams

    return TrustParams(events_a_visitor=2)


def test_the_command_makes_keys_that_may_ask(tmp_path: Path, monkeypatch: Any) -> None:
    from typer.testing import CliRunner

    from services.commands import app

    monkeypatch.setenv("ATTUNE_HOME", str(tmp_path))
    add = ["partner", "add", "shop", "--browser"]
    scopes = []
    for more in ([], ["--recommend"], ["--explain"]):
        made = CliRunner().invoke(app, [*add, "--origin", SHOP, *more])
        caller = partners.Keys(tmp_path).authenticate(made.stdout.strip(), time.time())
        assert caller is not None
        scopes.append(caller.scopes)
    assert scopes == [{"events:write"}, {"events:write", partners.PAGE}, {"events:write", partners.PAGE, partners.EXPLAIN}]
    assert CliRunner().invoke(app, [*add, "--recommend"]).exit_code == 2


def test_a_service_without_features_answers_too(tmp_path: Path) -> None:
    home = Page(tmp_path)
    app = build_app(Settings(home=tmp_path), online=NoFeatures(), now_us=lambda: NOW_US)
    answer = TestClient(app).post("/v1/page", content=json.dumps({"key": home.asking, **SESSION}), headers=TEXT)
    assert answer.status_code == 200
    app.shared.writer.close()
    home.app.shared.writer.close()
