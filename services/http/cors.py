"""CORS for a shop's own pages: which origins may send events, and the preflight that asks.

A preflight carries no key, so it is answered by the origins of all browser keys together; the request that follows is held
against the origins of its own key. What goes out is the text that the operator stored, never the header that came in.
"""

from collections.abc import Mapping
from typing import Final

from services.http.partners import BROWSER_SCOPES, Caller
from services.http.problems import Headers, Refusal

VARY: Final = (b"vary", b"Origin")
EXPOSED: Final = (
    b"access-control-expose-headers",
    b"idempotent-replayed, ratelimit, ratelimit-policy, retry-after, x-request-id",
)
PREFLIGHT: Final = (
    (b"access-control-allow-headers", b"authorization, content-encoding, content-type, idempotency-key, x-request-id"),
    (b"access-control-max-age", b"600"),
)


def allowing(headers: Mapping[bytes, bytes], origins: frozenset[str]) -> Headers:
    """Headers that let a page of these origins read the answer; none for another page."""
    given = headers.get(b"origin")
    if given is None:
        return ()
    origin = given.decode("latin-1")
    if origin not in origins:
        return (VARY,)
    return (b"access-control-allow-origin", origin.encode()), VARY, EXPOSED


def require_own_origin(headers: Mapping[bytes, bytes], caller: Caller) -> None:
    """Refuse a browser key on a page that it is not for.

    Raises
    ------
    Refusal
        403.
    """
    if caller.kind == "pk" and (given := headers.get(b"origin")) is not None and given.decode("latin-1") not in caller.origins:
        raise Refusal(403, "this key may not be used from this origin; see: attune partner add --browser --origin")


def is_preflight(method: str, headers: Mapping[bytes, bytes]) -> bool:
    """Whether a browser asks what it may do."""
    return method == "OPTIONS" and b"origin" in headers and b"access-control-request-method" in headers


def preflight(methods: Mapping[str, str], allowed: Headers) -> Headers:
    """Headers of the answer to a preflight.

    Parameters
    ----------
    methods
        Scope that each method of the address needs.
    allowed
        What `allowing` says of the origin.
    """
    open_to_pages = sorted(method for method, scope in methods.items() if scope in BROWSER_SCOPES)
    if len(allowed) < 2 or not open_to_pages:
        return (VARY,)
    return (*allowed, (b"access-control-allow-methods", ", ".join(open_to_pages).encode()), *PREFLIGHT)
