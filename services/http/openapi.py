"""OpenAPI document, built from the endpoints and from the structs that decode requests and encode answers."""

import re
from datetime import date
from typing import Any, Final

from services.http.endpoints import Endpoint, Endpoints, Schemas
from services.http.openapi_schemas import components, for_clients, ref
from services.http.problems import TITLES, Problem

VERSION: Final = "1"
_ABOUT: Final = """What a session is about, which items go with it, and whether a nudge is worth it.

Every request needs `Authorization: Bearer` with a key; calls of web pages (`/v1/visits`, `/v1/page`) carry a browser key in
the body's field `key` instead, and may say `Content-Type: text/plain`, so that a browser asks no preflight. Every answer
names its request in `X-Request-Id` (a sound one of yours is kept) and tells in `RateLimit` what is left of the key's quota.
Writes take an `Idempotency-Key`: the same key with the same request gets the first answer again for 24 hours, with
`Idempotent-Replayed: true`, and has no second effect. Bodies may come as gzip."""
_PAGES: Final = {
    "/livez": ("The process is alive", "application/json"),
    "/readyz": ("Models are loaded and warm", "application/json"),
    "/metrics": ("Prometheus metrics", "text/plain"),
    "/openapi.json": ("This document", "application/json"),
    "/docs": ("This document, to read", "text/html"),
    "/attune/attune.js": ("The beacon, for pages", "text/javascript"),
    "/attune/attune.mjs": ("The beacon, as a module", "text/javascript"),
    "/.well-known/gpc.json": ("Global Privacy Control is heeded", "application/json"),
}
_LICENSE: Final = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
_TAGS: Final = {
    "answers": "What this session is about, what goes with it, whether a nudge is worth it.",
    "events": "What visitors do.",
    "catalog": "What may be recommended and offered.",
    "signals": "Signals, and where they go.",
    "privacy": "Erasure of a visitor.",
    "service": "How the service is, and what it offers.",
}
_TAG_OF: Final = {
    "recommendations": "answers", "page": "answers", "intent": "answers", "engagement": "answers",
    "offers": "catalog", "catalog": "catalog", "subscriptions": "signals", "signals": "signals",
    "users": "privacy", "erasures": "privacy",
}  # fmt: skip
_ALWAYS: Final = (401, 403, 405, 408, 413, 422, 429, 500, 503, 504)
_WITH_BODY: Final = (400, 415)
_WITH_PARTS: Final = (404,)
_STATEFUL: Final = (409,)


def document(endpoints: Endpoints, today: date, webhooks: Schemas | None = None) -> dict[str, Any]:
    """The whole document, OpenAPI 3.1.

    Parameters
    ----------
    endpoints
        By method and address.
    today
        Of the endpoints' own schemas: events of a session must have happened by then, or soon after.
    webhooks
        What we send by ourselves: operations by name; their schemas are among those of the endpoints.
    """
    paths: dict[str, Any] = {}
    for (method, path), endpoint in endpoints.items():
        paths.setdefault(path, {})[method.lower()] = _operation(path, endpoint)
    for path, (summary, media) in _PAGES.items():
        paths[path] = {"get": _page(path, summary, media)}
    key = {"type": "http", "scheme": "bearer", "description": "sk_ server key; pk_ browser key, for the pages of a shop"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Attune", "version": VERSION, "description": _ABOUT, "license": _LICENSE},
        "servers": [{"url": "/", "description": "The service that this document comes from."}],
        "tags": [{"name": name, "description": about} for name, about in _TAGS.items()],
        "paths": paths,
        "webhooks": {name: {"post": operation} for name, operation in (webhooks or {}).items()},
        "components": {"schemas": _schemas(endpoints, today), "securitySchemes": {"key": key}},
    }


def _schemas(endpoints: Endpoints, today: date) -> Schemas:
    """Schemas of all structs, and those that the endpoints make themselves."""
    bodies = [body for endpoint in endpoints.values() for body in (endpoint.request, endpoint.answer)]
    schemas = components(Problem, *(body for body in bodies if isinstance(body, type)))
    for own in dict.fromkeys(endpoint.schemas for endpoint in endpoints.values()):
        schemas |= own(today) if own is not None else {}
    return {name: for_clients(schema) for name, schema in schemas.items()}


def _operation(path: str, endpoint: Endpoint) -> dict[str, Any]:
    parts = re.findall(r"\{(\w+)\}", path)
    refusals = [*_ALWAYS, *(_WITH_BODY if endpoint.request else ()), *(_WITH_PARTS if parts else ()), *_STATEFUL]
    problem = {"application/problem+json": {"schema": ref("Problem")}}
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "tags": [_tag(path)],
        "summary": endpoint.summary,
        "description": f"Needs the scope `{endpoint.scope}`.",
        "security": [] if endpoint.from_pages else [{"key": []}],
        "responses": {
            str(endpoint.status): {"description": "Answered."} | _content(endpoint),
            **{str(code): {"description": f"{TITLES[code]}.", "content": problem} for code in sorted(refusals)},
        },
    }
    if parameters := [*map(_part, parts), *_parameters(endpoint)]:
        operation["parameters"] = parameters
    if endpoint.request:
        content = {"schema": ref(_name(endpoint.request)), "example": endpoint.example}
        about = f"At most {endpoint.limit} bytes."
        # In words: generators of clients know no JSON that is said to be text, and programs need not pretend.
        about += " Pages say `text/plain`, of which a browser asks no preflight." if endpoint.from_pages else ""
        operation["requestBody"] = {"required": True, "description": about, "content": {"application/json": content}}
    return operation


def _tag(path: str) -> str:
    """Tag of an address, by its first word behind the version; what no group claims is about visits, as events are.

    Examples
    --------
    >>> _tag("/v1/offers")
    'catalog'
    """
    return _TAG_OF.get(path.split("/")[2], "events")


def _part(name: str) -> dict[str, Any]:
    """Parameter that stands in the address."""
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1, "maxLength": 256}}


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {"name": parameter.name, "in": place, "schema": parameter.schema, "description": parameter.description}
        for place, given in (("query", endpoint.query), ("header", endpoint.headers))
        for parameter in given
    ]


def _content(endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.answer is None and endpoint.media_type == "application/json":
        return {}
    return {"content": {endpoint.media_type: {} if endpoint.answer is None else {"schema": ref(_name(endpoint.answer))}}}


def _name(body: type | str) -> str:
    return body if isinstance(body, str) else body.__name__


def _page(path: str, summary: str, media: str) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": {"description": "Found.", "content": {media: {}}}}
    if path == "/readyz":
        responses["503"] = {"description": "Not ready yet.", "content": {media: {}}}
    refused = {"application/problem+json": {"schema": ref("Problem")}}
    responses["405"] = {"description": f"{TITLES[405]}.", "content": refused}
    name = re.sub(r"\W+", "_", path).strip("_")
    return {"operationId": name, "tags": ["service"], "summary": summary, "security": [], "responses": responses}
