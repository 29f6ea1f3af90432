"""Endpoint of the API: who answers it, what it asks of a caller, and what the OpenAPI document says about it.

Each is declared once, beside its handler; routing, guard, document and warm-up all read that declaration.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

from services.http.calls import Call

Schemas = dict[str, Any]  # JSON schemas by name
Handler = Callable[[Call], Awaitable[Any]]


class Parameter(NamedTuple):
    """Parameter behind the question mark, or header, with its JSON schema."""

    name: str
    schema: dict[str, Any]
    description: str


def number(name: str, default: int, most: int, description: str) -> Parameter:
    """Parameter that is a whole number from 1 to `most`."""
    return Parameter(name, {"type": "integer", "minimum": 1, "maximum": most, "default": default}, description)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Endpoint: one method of one address.

    Attributes
    ----------
    handler
        May raise `services.http.problems.Refusal`; answers a struct, None (no body), `Reply` or `Stream`.
    scope
        What the caller's key must be good for.
    name
        ``operationId`` in the document.
    request, answer
        Structs, the name of one of `schemas`, or None for no body.
    example
        A request body that the document shows.
    status
        Of a good answer.
    limit
        Bytes of body at most; 0 for an endpoint that takes none.
    query, headers
        Those of its own.
    media_type
        Of the answer.
    schemas
        Schemas of which the structs' types do not tell the whole, as of a day.
    from_pages
        Whether pages of a shop call it, without a preflight: JSON as ``text/plain``, a browser key in its field ``key``.
    warm_up
        Bodies that the service asks itself before it says that it is ready.
    """

    handler: Handler
    scope: str
    name: str
    summary: str
    request: type | str | None = None
    answer: type | str | None = None
    example: dict[str, Any] | None = None
    status: int = 200
    limit: int = 0
    query: tuple[Parameter, ...] = ()
    headers: tuple[Parameter, ...] = ()
    media_type: str = "application/json"
    schemas: Callable[[date], Schemas] | None = None
    from_pages: bool = False
    warm_up: tuple[dict[str, Any], ...] = ()


Endpoints = dict[tuple[str, str], Endpoint]  # by method and address, which may be a template: ``/v1/subscriptions/{id}``
