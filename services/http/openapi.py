"""The OpenAPI document, built from the endpoints and from the structs that decode requests and encode answers."""

import re
from datetime import date
from typing import Any, Final

import msgspec

from services.api import wire
from services.http.openapi_calls import CALLS, EXAMPLES, Described
from services.http.openapi_schemas import REF, complete, ref
from services.http.problems import TITLES, Problem
from services.http.routes import Endpoints

VERSION: Final = "1"
_ABOUT: Final = """What a session is about, which items go with it, and whether a nudge is worth it.

Every request needs `Authorization: Bearer` with a key. Every answer names its request in `X-Request-Id` (a sound one of yours
is kept) and tells in `RateLimit` what is left of the key's quota. Writes take an `Idempotency-Key`: the same key with the same
request gets the first answer again for 24 hours, with `Idempotent-Replayed: true`, and has no second effect. Bodies may come
as gzip."""
_PAGES: Final = {
    "/livez": ("The process is alive", "application/json"),
    "/readyz": ("Models are loaded and warm", "application/json"),
    "/metrics": ("Prometheus metrics", "text/plain"),
    "/openapi.json": ("This document", "application/json"),
    "/docs": ("This document, to read", "text/html"),
}
_ALWAYS: Final = (401, 403, 405, 408, 413, 422, 429, 500, 503)
_WITH_BODY: Final = (400, 415)
_WITH_PARTS: Final = (404,)
_STATEFUL: Final = (409,)


def document(endpoints: Endpoints, today: date) -> dict[str, Any]:
    """The whole document, OpenAPI 3.1.

    Parameters
    ----------
    endpoints
        What the service answers; one that `openapi_calls` does not describe is left out, and a test fails.
    """
    found = {key: CALLS[key] for key in endpoints if key in CALLS}
    structs = {kind for call in found.values() for kind in (call.request, call.answer) if isinstance(kind, type)}
    ordered = sorted({*structs, wire.SessionEvent, Problem}, key=lambda kind: kind.__name__)
    _, schemas = msgspec.json.schema_components(ordered, ref_template=REF)
    complete(schemas, today)
    paths: dict[str, Any] = {}
    for (method, path), call in found.items():
        endpoint = endpoints[method, path]
        paths.setdefault(path, {})[method.lower()] = _call(path, call, endpoint.scope, endpoint.status)
    for path, (summary, media) in _PAGES.items():
        paths[path] = {"get": _page(path, summary, media)}
    key = {"type": "http", "scheme": "bearer", "description": "sk_ server key; pk_ browser key, which may only send events"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Attune", "version": VERSION, "description": _ABOUT},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"key": key}},
    }


def _call(path: str, call: Described, scope: str, status: int) -> dict[str, Any]:
    parts = re.findall(r"\{(\w+)\}", path)
    refusals = [*_ALWAYS, *(_WITH_BODY if call.request else ()), *(_WITH_PARTS if parts else ()), *_STATEFUL]
    problem = {"application/problem+json": {"schema": ref("Problem")}}
    told: dict[str, Any] = {
        "operationId": call.name,
        "summary": call.summary,
        "description": f"Needs the scope `{scope}`.",
        "security": [{"key": []}],
        "responses": {
            str(status): {"description": "Answered."} | _content(call),
            **{str(code): {"description": f"{TITLES[code]}.", "content": problem} for code in sorted(refusals)},
        },
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1, "maxLength": 256}}
        for name in parts
    ] + [
        {"name": parameter.name, "in": place, "schema": parameter.schema, "description": parameter.description}
        for place, given in (("query", call.query), ("header", call.headers))
        for parameter in given
    ]
    if parameters:
        told["parameters"] = parameters
    if call.request:
        content = {"schema": ref(_name(call.request)), "example": call.example}
        told["requestBody"] = {"required": True, "content": {"application/json": content}}
    return told


def _content(call: Described) -> dict[str, Any]:
    if call.answer is None and call.media_type == "application/json":
        return {}
    return {"content": {call.media_type: {} if call.answer is None else {"schema": ref(_name(call.answer))}}}


def _name(kind: Any) -> str:
    return kind if isinstance(kind, str) else str(kind.__name__)


def _page(path: str, summary: str, media: str) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": {"description": "Found.", "content": {media: {}}}}
    if path == "/readyz":
        responses["503"] = {"description": "Not ready yet.", "content": {media: {}}}
    refused = {"application/problem+json": {"schema": ref("Problem")}}
    responses["405"] = {"description": f"{TITLES[405]}.", "content": refused}
    return {"operationId": path.strip("/").replace(".", "_"), "summary": summary, "responses": responses}


__all__ = ["EXAMPLES", "document"]
