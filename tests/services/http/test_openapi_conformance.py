"""Every answer is one that the OpenAPI document promises: a few cases per call here, thousands with `make conformance`."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.conformance import SEED, conformance
from infra.settings import Settings
from services.api.app import build_app
from services.http import partners
from services.http.dispatch import Page
from tests.stores import copied
from tests.waiting import PATIENCE_S, free_port, until


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """An application behind a real port."""
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", free_port(), log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started, "the server does not answer")
        yield f"http://127.0.0.1:{server.config.port}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)


@pytest.fixture(scope="module")
def service(crowned: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address of a service with champions, and a key for everything."""
    home = copied(crowned, tmp_path_factory.mktemp("conformance") / "home")
    key = partners.add(home, "shop", time.time_ns() // 1000)
    app = build_app(Settings(home=home, requests_per_minute=100_000_000))
    app.pages["/metrics"] = Page(b"text/plain; charset=utf-8", lambda: (200, b""))  # the process around it has them
    with serving(app) as url:
        yield url, key


def test_no_answer_breaks_the_document(service: tuple[str, str]) -> None:
    found = conformance(*service, cases=8, seed=SEED, thorough=False)
    assert found.examples == {}
    assert found.is_clean, found
    assert found.cases >= 150
    assert {"200", "201", "202", "204", "404", "422"} <= set(found.by_status)


def test_the_stream_of_signals_keeps_what_the_document_says(service: tuple[str, str]) -> None:
    url, key = service
    told = httpx.get(f"{url}/openapi.json", timeout=PATIENCE_S).json()["paths"]["/v1/signals/stream"]["get"]["responses"]
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.stream("GET", f"{url}/v1/signals/stream", params={"after": "0"}, headers=headers, timeout=PATIENCE_S) as reply:
        assert reply.status_code == 200
        assert set(told["200"]["content"]) == {reply.headers["content-type"]} == {"text/event-stream"}
        assert next(reply.iter_bytes()).startswith(b"retry: ")
    for asked, sent, status in (("x", headers, 422), ("1" * 5000, headers, 422), ("0", {}, 401)):
        refused = httpx.get(f"{url}/v1/signals/stream", params={"after": asked}, headers=sent, timeout=PATIENCE_S)
        assert refused.status_code == status
        assert refused.headers["content-type"] in told[str(status)]["content"]


def test_an_answer_that_breaks_its_document_is_found() -> None:
    answer = {"description": "ok", "content": {"application/json": {"schema": {"type": "integer"}}}}
    get = {"operationId": "one", "responses": {"200": answer}}
    document = {"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {"/one": {"get": get}}}
    routes = [Route("/openapi.json", lambda _: JSONResponse(document)), Route("/one", lambda _: JSONResponse("text"))]
    with serving(Starlette(routes=routes)) as url:
        found = conformance(url, "sk_none", cases=2, seed=SEED, thorough=False)
    assert not found.is_clean
    assert any("schema" in name for name in found.failures)
