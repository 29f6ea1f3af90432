"""Generated clients compile strictly and their natural calls work, where the generators are on the PATH."""

import asyncio
import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from infra.settings import Settings
from services.api.app import App, build_app
from services.http.guard import AdmitAll
from services.serving.features import NoFeatures

NATURAL = """
import type { components, paths, webhooks } from "./api";
type Named = components["schemas"];
type Asked<P extends keyof paths> =
  paths[P] extends { post: { requestBody: { content: { "application/json": infer B } } } } ? B : never;
type Sent = webhooks["signal"]["post"]["requestBody"]["content"]["application/json"];
export const ask: Named["RecommendationRequest"] =
  { user_id: "u", session_data: { events: [{ type: "search", ts: "2026-11-21T10:00:00Z", query_length: 3 }] } };
export const batch: Named["EventBatch"] =
  { events: [{ event_id: "e", user_id: "u", type: "item_view", ts: "2026-11-21T10:00:00Z", item_id: "a" }] };
const seen = { event_id: "e", user_id: "u", type: "item_view" as const, ts: "2026-11-21T10:00:00Z", item_id: "a" };
export const visits: Asked<"/v1/visits"> = { key: "pk_1", events: [seen] };
export const page: Asked<"/v1/page"> = { key: "pk_1", item_id: "a", limit: 6, goal: "add_to_cart" };
export const joined: Asked<"/v1/identify"> = { anonymous_id: "cookie", user_id: "u" };
export const state: Asked<"/v1/engagement"> = { user_id: "u", current_state: { category: "shoes", query: "red" } };
export const bought: Asked<"/v1/events"> =
  { events: [{ ...seen, type: "purchase", order_id: "o", quantity: 2, currency: "EUR", revenue: 20 }] };
export const soon = (told: Named["EngagementAnswer"]): number =>
  (told.purchase?.short_term ?? 0) + told.next_action.medium_term["leave"];
export const wanted = (told: Named["Recommendation"]): number => told.goal["purchase"];
export const offers: Named["OffersPut"] = { offers: [{ offer_id: "o", percent: 5 }] };
export const again: Named["ReplayRequest"] = { signal_ids: ["sig_1"] };
export const policy: Named["PolicyBody"] = { max_per_day: 2 };
export const hook: Named["NewSubscription"] = { url: "https://shop.example/hook" };
export const shown = (signal: Named["Signal"]): unknown => signal.payload["item_ids"];
export function receive(sent: Sent): string {
  return sent.type === "signal.offer_discount" ? sent.data.payload.offer_id : sent.data.user_id;
}
"""


def require(*tools: str) -> None:
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not on the PATH: {', '.join(missing)}")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    built = build_app(Settings(home=tmp_path_factory.mktemp("home")), authenticator=AdmitAll(), online=NoFeatures())
    yield built
    built.shared.writer.close()


@pytest.fixture(scope="module")
def document(app: App, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    path.write_text(json.dumps(TestClient(app).get("/openapi.json").json()))
    return path


def test_natural_typescript_compiles_strictly(document: Path, tmp_path: Path) -> None:
    require("openapi-typescript", "tsc")
    (tmp_path / "natural.ts").write_text(NATURAL)
    subprocess.run(["openapi-typescript", document, "-o", tmp_path / "api.d.ts"], check=True, capture_output=True)
    words = ["tsc", "--strict", "--noEmit", "--target", "es2022", "--moduleResolution", "node", "natural.ts"]
    told = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout


def test_a_generated_python_client_asks_and_is_answered(app: App, document: Path, tmp_path: Path) -> None:
    require("openapi-python-client")
    paths = ["--path", str(document), "--output-path", str(tmp_path / "made")]
    words = ["openapi-python-client", "generate", *paths, "--meta", "none"]
    told = subprocess.run([*words, "--fail-on-warning"], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout
    sys.path.insert(0, str(tmp_path))
    try:
        answer = asyncio.run(asked(app))
    finally:
        sys.path.remove(str(tmp_path))
    assert answer.decision_id
    assert answer.items == []


async def asked(app: App) -> Any:
    made, models = importlib.import_module("made"), importlib.import_module("made.models")
    origin, through = {"origin": "https://shop.example"}, {"transport": httpx.ASGITransport(app)}
    client = made.AuthenticatedClient(base_url="http://attune.test", token="sk", httpx_args=through)
    page = made.Client(base_url="http://attune.test", headers=origin, httpx_args=through)

    async def call(name: str, body: Any) -> Any:
        whose = page if name in ("events.visits", "answers.page") else client
        return await importlib.import_module(f"made.api.{name}").asyncio(client=whose, body=body)

    event = models.Event(
        event_id="e", user_id="u", type_=models.EventType("purchase"), ts="2025-11-21T10:00:00Z", item_id="a", order_id="o"
    )
    assert (await call("events.events", models.EventBatch(events=[event]))).accepted == 0  # it is a year old
    assert (await call("events.visits", models.VisitBatch(key="pk_1", events=[]))).accepted == 0
    assert (await call("events.identify", models.Identity(anonymous_id="cookie", user_id="u"))).status == "joined"
    assert (await call("answers.page", models.PageRequest(key="pk_1"))).items == []
    engaged = await call("answers.engagement", models.EngagementRequest(user_id="u"))
    assert engaged.next_action.short_term["leave"] > 0
    assert not engaged.purchase  # without a model nobody knows
    return await call("answers.recommendations", models.RecommendationRequest(user_id="u", limit=3))
