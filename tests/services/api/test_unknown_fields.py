"""A misspelt field of a request does not pass in silence."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from infra.settings import Settings
from infra.store.engines import open_store
from services.api.app import App, build_app
from services.api.session_data import LARGE_BODY
from services.http.guard import AdmitAll
from services.serving.features import NoFeatures


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    built = build_app(Settings(home=tmp_path_factory.mktemp("home")), authenticator=AdmitAll(), online=NoFeatures())
    yield built
    built.shared.writer.close()


@pytest.mark.parametrize("path", ["/v1/recommendations", "/v1/engagement", "/v1/intent"])
def test_degraded_names_fields_that_nobody_reads(app: App, path: str) -> None:
    client = TestClient(app)
    plain = client.post(path, json={"user_id": "u", "session_data": {"events": []}}).json()["degraded"]
    asked = {"user_id": "u", "session_data": {"events": [], "inside": 1}, "limmit": 3, "<script>": 1}
    odd = {"unknown_field:user_id"} if path == "/v1/intent" else set()
    told = client.post(path, json=asked).json()["degraded"]
    assert set(told) - set(plain) | odd == {"unknown_field:limmit", "unknown_field"} | odd
    assert {name for name in plain if name.startswith("unknown_field")} == odd


def test_a_large_body_is_looked_at_too_and_only_so_many_are_named(app: App) -> None:
    asked = {"user_id": "u", "padding": "x" * LARGE_BODY} | {f"f_{'abcdefghij'[n % 10]}{'_' * (n // 10)}": n for n in range(50)}
    told = TestClient(app).post("/v1/recommendations", json=asked).json()["degraded"]
    assert [name for name in told if name.startswith("unknown_field")] == [
        "unknown_field:padding", *(f"unknown_field:f_{letter}" for letter in "abcdefghi")
    ]  # fmt: skip


def test_the_names_stay_out_of_what_is_kept(tmp_path: Path) -> None:
    app = build_app(Settings(home=tmp_path), authenticator=AdmitAll(), online=NoFeatures())
    TestClient(app).post("/v1/recommendations", json={"user_id": "u", "limmit": 3})
    app.shared.decisions.close()
    app.shared.writer.close()
    ((degraded,),) = open_store(tmp_path).read("SELECT degraded FROM decisions", ())
    assert "session_empty" in degraded
    assert "unknown_field" not in degraded
