"""The document describes every endpoint, and what it shows is accepted."""

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import msgspec
import numpy as np
import pytest
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient

from infra.settings import Settings
from models.engagement.policy import SENDABLE
from models.engagement.signals import Offer, Shelf, SignalThresholds, choose
from models.schema import NEXT_ACTIONS, SESSION_FEATURES
from services.api.app import App, build_app
from services.delivery.webhooks import headers
from services.http.guard import AdmitAll
from services.http.openapi_schemas import INSTANT
from services.serving.features import NoFeatures
from services.signals.body import OutboxSignal, signal_body


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


def fields_of(schema: Any) -> Iterator[tuple[str, Any]]:
    """All fields of a schema and of the schemas inside it."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {}).items()
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from fields_of(part)


def test_no_field_has_a_default_that_a_generator_would_take_for_always_there(document: Any) -> None:
    fields = list(fields_of(document["components"]["schemas"]))
    assert len(fields) > 200
    assert [name for name, field in fields if isinstance(field, dict) and "default" in field] == []
    assert document["components"]["schemas"]["RecommendationRequest"]["properties"]["limit"]["description"] == "Default 20."
    assert document["components"]["schemas"]["RecommendationRequest"]["required"] == ["user_id"]


def test_every_call_has_a_tag_and_says_whether_it_needs_a_key(document: Any) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for call in methods.values():
            assert set(call["tags"]) <= tags, path
            keyed = path.startswith("/v1/") and path not in ("/v1/visits", "/v1/page")
            assert call["security"] == ([{"key": []}] if keyed else []), path
    assert document["servers"]
    assert document["info"]["license"]


def test_open_objects_are_open_and_no_docstring_is_shown_raw(document: Any) -> None:
    assert document["components"]["schemas"]["Signal"]["properties"]["payload"]["additionalProperties"] is True
    assert "-----" not in json.dumps(document)
    assert "erased_at" not in document["components"]["schemas"]["Receipt"]["description"]
    assert document["components"]["schemas"]["Receipt"]["properties"]["completed"]["description"].startswith("Whether no copy")


@pytest.mark.parametrize(("of", "names"), [
    ("OfferPut", ["PercentOffer", "AmountOffer"]), ("ReplayRequest", ["ReplayByIds", "ReplayByTime"])
])  # fmt: skip
def test_alternatives_are_schemas_with_names(document: Any, of: str, names: list[str]) -> None:
    told = document["components"]["schemas"][of]
    assert [option["$ref"].rpartition("/")[2] for option in told["oneOf"]] == names
    assert {document["components"]["schemas"][name]["type"] for name in names} == {"object"}


def test_the_webhook_tells_the_signals_apart_and_fits_what_is_sent(document: Any) -> None:
    told = document["webhooks"]["signal"]["post"]
    message = told["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    kinds = document["components"]["schemas"][message]["discriminator"]["mapping"]
    assert set(kinds) == {f"signal.{name}" for name in SENDABLE}
    assert {h["name"] for h in told["parameters"]} <= set(headers("sig_1", 0, b"", [f"whsec_{'A' * 32}"]))
    for payload in sent_payloads():
        row = OutboxSignal(1, "sig_1", "shop", "p1", 1, payload["type"], json.dumps(payload["payload"]), 0.5, "leave", 7, 0)
        schema(document, message).validate(msgspec.to_builtins(signal_body(row)))
        schema(document, kinds[f"signal.{payload['type']}"].rpartition("/")[2]).validate(msgspec.to_builtins(signal_body(row)))


def sent_payloads() -> Iterator[Any]:
    """One signal of each type, as the rules make it."""
    shelf = Shelf(["sku-1"], ["article"], ["sku-2"], [Offer("ten", None, amount_cents=100, terms={"code": "X"})], 900)
    session, leaves = np.zeros(len(SESSION_FEATURES), np.float32), np.eye(len(NEXT_ACTIONS))[NEXT_ACTIONS.index("leave")]
    for name, counts in (
        ("recommend_product", {}), ("recommend_content", {"n_review_read": 9}), ("proactive_support", {"n_checkout_view": 9}),
        ("offer_discount", {"cart_size": 1}), ("start_workflow", {"cart_size": 1}),
    ):  # fmt: skip
        features = session.copy()
        for column, n in counts.items():
            features[SESSION_FEATURES.index(column)] = n
        found = choose(0.6, leaves, features, SignalThresholds(), shelf, (name,))
        assert found["type"] == name
        yield found


def test_every_example_fits_its_schema_and_is_answered_as_promised(app: App, document: Any) -> None:
    client = TestClient(app)
    for (method, path), endpoint in app.endpoints.items():
        if endpoint.example is None:
            continue
        told = document["paths"][path][method.lower()]
        body = told["requestBody"]["content"]["application/json"]
        schema(document, body["schema"]["$ref"].rpartition("/")[2]).validate(endpoint.example)
        if "{" in path:
            continue
        reply = client.request(method, path, json=endpoint.example, headers={"origin": "https://shop.example"})
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


def filled(document: Any, schema: Any, longest: str, path: str = "") -> Any:
    """A value with every field of a schema; texts of 64 characters, and one list (`longest`) as long as it may be."""
    while "$ref" in schema or "anyOf" in schema or "oneOf" in schema or "allOf" in schema:
        option = next(
            options for options in (schema.get("anyOf"), schema.get("oneOf"), schema.get("allOf"), [schema]) if options
        )[0]
        schema = document["components"]["schemas"][option["$ref"].rpartition("/")[2]] if "$ref" in option else option
    if "properties" in schema:
        return {name: filled(document, part, longest, f"{path}/{name}") for name, part in schema["properties"].items()}
    if schema.get("type") == "array":
        n = schema["maxItems"] if path == longest else 1
        return [filled(document, schema["items"], longest, path)] * n
    if schema.get("type") in ("number", "integer"):
        return 123_456.78
    return "x" * min(64, schema.get("maxLength", 64))


def lists_of(document: Any, schema: Any, path: str = "") -> Iterator[str]:
    """Addresses of the lists of a schema that say how long they may be."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "maxItems" in schema:
        yield path
    for name, part in schema.get("properties", {}).items():
        yield from lists_of(document, part, f"{path}/{name}")
    for part in [
        schema.get("items", {}),
        *(part for options in ("anyOf", "oneOf", "allOf") for part in schema.get(options, [])),
    ]:
        yield from lists_of(document, part, path) if part else ()


def test_a_body_with_a_list_as_long_as_the_document_admits_is_not_too_large(app: App, document: Any) -> None:
    seen = set()
    for (method, path), endpoint in app.endpoints.items():
        if endpoint.request is None:
            continue
        body = document["paths"][path][method.lower()]["requestBody"]
        assert body["description"].startswith(f"At most {endpoint.limit} bytes.")
        told = body["content"]["application/json"]["schema"]
        for longest in sorted(set(lists_of(document, told))):
            size = len(json.dumps(filled(document, told, longest)))
            assert size <= endpoint.limit, (path, longest, size)
            seen.add((path, longest))
    assert {("/v1/events", "/events"), ("/v1/visits", "/events"), ("/v1/offers", "/offers/item_ids")} <= seen
