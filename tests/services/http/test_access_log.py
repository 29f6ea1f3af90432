"""The access log finds a request by its id, and tells nothing of who asked what."""

import json
from pathlib import Path

from starlette.testclient import TestClient

from infra.settings import Settings
from services.api.app import build_app
from services.http.access_log import AccessLog, access_log
from services.http.dispatch import Dispatcher
from services.http.guard import AdmitAll, Guard
from services.serving.features import NoFeatures

SECRETS = ("visitor-7", "sku-9", "red shoes", "sk_secret", "eyebrow")


def test_every_answer_is_a_line_and_nothing_that_was_sent_is_in_it(tmp_path: Path) -> None:
    lines: list[str] = []
    app = build_app(Settings(home=tmp_path), authenticator=AdmitAll(), online=NoFeatures())
    guard = Guard(AdmitAll(), app.shared.observer, app.shared.now_us, 1000)
    client = TestClient(Dispatcher(app.endpoints, app.pages, guard, AccessLog(True, lines.append, lambda: 1_000_000)))
    key = {"authorization": "Bearer sk_secret"}
    body = {"user_id": "visitor-7", "item_id": "sku-9", "query": "red shoes"}
    ids = [
        client.post("/v1/recommendations", json=body, headers=key | {"x-request-id": "order-17"}).headers["x-request-id"],
        client.post("/v1/recommendations", content=b"{", headers=key).headers["x-request-id"],
        client.request("DELETE", "/v1/users/visitor-7?why=eyebrow", headers=key).headers["x-request-id"],
        client.get("/sku-9/red shoes").headers["x-request-id"],
        client.request("EYEBROW", "/livez").headers["x-request-id"],
    ]
    told = [json.loads(line) for line in lines]
    assert [one["request_id"] for one in told] == ids
    assert ids[0] == "order-17"
    assert [(one["method"], one["route"], one["status"]) for one in told] == [
        ("POST", "/v1/recommendations", 200),
        ("POST", "/v1/recommendations", 415),
        ("DELETE", "/v1/users/{user_id}", 202),
        ("GET", "unknown", 404),
        ("-", "/livez", 405),
    ]
    assert [word for word in SECRETS if word in "\n".join(lines).lower()] == []
    app.shared.writer.close()


def test_the_setting_turns_it_on() -> None:
    assert access_log("off", lambda: 0) is None
    assert access_log("text", lambda: 0) is not None
