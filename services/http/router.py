"""Router: one look into a dictionary, or templates such as ``/v1/subscriptions/{id}`` behind it."""

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote

from services.http.calls import NOTHING
from services.http.endpoints import Endpoint, Endpoints

MAX_PART: Final = 1024  # characters of one part of an address


class Match(NamedTuple):
    """Match of an address: the endpoint, the template it stands under, and the parts that were filled in."""

    route: str
    endpoint: Endpoint
    path: Mapping[str, str] = NOTHING


class Router:
    """Router from method and address to an endpoint.

    Parameters
    ----------
    endpoints
        By method and address; may grow until the first address is looked up.
    """

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._known = 0
        self._fixed: dict[tuple[str, str], Match] = {}
        self._templates: list[tuple[str, list[str]]] = []

    def find(self, method: str, path: str, raw_path: bytes) -> Match | None:
        """The endpoint, or None where the address has none for this method."""
        if self._known != len(self._endpoints):
            self._compile()
        found = self._fixed.get((method, path))
        # An encoded slash is part of a name and separates nothing.
        return found if found is not None and b"%" not in raw_path else self._by_template(method, raw_path)

    def methods(self, path: str, raw_path: bytes) -> dict[str, str]:
        """Methods that an address has, and the scope that each needs; empty for an address that nobody has."""
        known = {method for method, _ in self._endpoints}
        found = {method: self.find(method, path, raw_path) for method in known}
        return {method: match.endpoint.scope for method, match in found.items() if match is not None}

    def _compile(self) -> None:
        self._known = len(self._endpoints)
        self._fixed = {key: Match(key[1], endpoint) for key, endpoint in self._endpoints.items() if "{" not in key[1]}
        self._templates = [(method, path.split("/")) for method, path in self._endpoints if "{" in path]

    def _by_template(self, method: str, raw_path: bytes) -> Match | None:
        # The raw address is cut, so that an encoded slash stays part of its part.
        parts = raw_path.decode("latin-1").split("/")
        for wanted, template in self._templates:
            if wanted == method and len(template) == len(parts):
                filled = _fill(template, parts)
                if filled is not None:
                    route = "/".join(template)
                    return Match(route, self._endpoints[method, route], filled)
        return None


def _fill(template: list[str], parts: list[str]) -> dict[str, str] | None:
    """Values of a template's names; None where the address does not fit it."""
    filled = {}
    for expected, part in zip(template, parts, strict=True):
        if not expected.startswith("{"):
            if part != expected:
                return None
            continue
        try:
            filled[expected[1:-1]] = value = unquote(part, errors="strict")
        except UnicodeDecodeError:
            return None
        if not 0 < len(value) <= MAX_PART:
            return None
    return filled
