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
import type { components, webhooks } from "./api";
type Named = components["schemas"];
type Sent = webhooks["signal"]["post"]["requestBody"]["content"]["application/json"];
export const ask: Named["RecommendationRequest"] =
  { user_id: "u", session_data: { events: [{ type: "search", ts: "2026-11-21T10:00:00Z", query_length: 3 }] } };
export const batch: Named["EventBatch"] =
  { events: [{ event_id: "e", user_id: "u", type: "item_view", ts: "2026-11-21T10:00:00Z", item_id: "a" }] };
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
    words = ["openapi-python-client", "generate", "--path", document, "--output-path", tmp_path / "made", "--meta", "none"]
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
    call = importlib.import_module("made.api.answers.recommendations")
    arguments = {"transport": httpx.ASGITransport(app)}
    client = made.AuthenticatedClient(base_url="http://attune.test", token="sk", httpx_args=arguments)
    return await call.asyncio(client=client, body=models.RecommendationRequest(user_id="u"))
