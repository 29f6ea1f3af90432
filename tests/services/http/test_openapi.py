"""The document describes every endpoint, and what it shows is accepted."""

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient

from infra.settings import Settings
from services.api.app import App, build_app
from services.http.guard import AdmitAll
from services.http.openapi_schemas import INSTANT
from services.serving.features import NoFeatures


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    built = build_app(Settings(home=tmp_path_factory.mktemp("home")), authenticator=AdmitAll(), online=NoFeatures())
    yield built
    built.shared.writer.close()


@pytest.fixture(scope="module")
def document(app: App) -> Any:
    return TestClient(app).get("/openapi.json").json()


def schema(document: Any, name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": document["components"]})


def test_every_endpoint_is_described_and_nothing_else(app: App, document: Any) -> None:
    told = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert told == set(app.endpoints) | {("GET", page) for page in {*app.pages, "/metrics"} - {"/"}}
    names = [call["operationId"] for methods in document["paths"].values() for call in methods.values()]
    assert len(set(names)) == len(names)


def test_every_example_fits_its_schema_and_is_answered_as_promised(app: App, document: Any) -> None:
    client = TestClient(app)
    for (method, path), endpoint in app.endpoints.items():
        if endpoint.example is None or "{" in path or path == "/v1/events":
            continue
        told = document["paths"][path][method.lower()]
        body = told["requestBody"]["content"]["application/json"]
        schema(document, body["schema"]["$ref"].rpartition("/")[2]).validate(endpoint.example)
        reply = client.request(method, path, json=endpoint.example)
        promised = told["responses"][str(reply.status_code)]["content"]["application/json"]["schema"]
        assert reply.status_code < 300, path
        schema(document, promised["$ref"].rpartition("/")[2]).validate(reply.json())


def test_a_refusal_fits_its_schema(app: App, document: Any) -> None:
    for body in (b"{", b'{"limit":0,"user_id":"u"}'):
        reply = TestClient(app).post("/v1/recommendations", content=body, headers={"content-type": "application/json"})
        schema(document, "Problem").validate(reply.json())


@pytest.mark.parametrize(
    ("name", "body", "fits"),
    [
        ("OfferPut", {"offer_id": "o", "percent": 5}, True),
        ("OfferPut", {"offer_id": "o", "percent": 5, "budget": 7}, False),
        ("OfferPut", {"offer_id": "o", "percent": 5, "budget": 7, "currency": "EUR"}, True),
        ("OfferPut", {"offer_id": "o", "amount": 5}, False),
        ("OfferPut", {"offer_id": "o", "amount": 5, "currency": "EUR", "budget": 7}, True),
        ("OfferPut", {"offer_id": "o", "amount": 5, "percent": 5, "currency": "EUR"}, False),
        ("SessionEvent", {"type": "search", "ts": "2026-01-01T00:00:00Z"}, True),
        ("SessionEvent", {"type": "purchase", "ts": "2026-01-01T00:00:00Z"}, False),
        ("SessionEvent", {"type": "purchase", "ts": "2026-01-01T00:00:00+01:00", "item_id": "a"}, True),
        ("SessionEvent", {"type": "search", "ts": "9999-01-01T00:00:00Z"}, False),
        ("SessionEvent", {"type": "search", "ts": f"{date.today()}T00:00:00.123456Z"}, True),
        ("ReplayRequest", {"signal_ids": ["a"]}, True),
        ("ReplayRequest", {"from": "2026-01-01T00:00:00Z"}, False),
        ("EventBatch", {"events": [7], "sent_at": None}, True),
        ("EventBatch", {"events": None}, False),
    ],
)
def test_the_schemas_say_what_the_types_cannot(document: Any, name: str, body: Any, fits: bool) -> None:
    assert schema(document, name).is_valid(body) is fits


def test_patterns_are_regular_expressions_of_json_schema_too(document: Any) -> None:
    text = json.dumps(document)
    assert json.dumps(INSTANT) in text
    assert r"\\Z" not in text
