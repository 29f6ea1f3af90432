"""Dispatcher of HTTP requests: to the endpoint or page that an address means, or to the refusal of one that means nothing."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from starlette.types import Receive, Scope, Send

from services.http import asgi, cors
from services.http.access_log import ELSEWHERE, AccessLog
from services.http.endpoints import Endpoints
from services.http.guard import Guard
from services.http.problems import Headers, Refusal
from services.http.request_ids import HEADER, RequestIds
from services.http.router import Router

NOT_FOUND: Final = Refusal(404, "see /docs for what there is")
AMBIGUOUS: Final = Refusal(400, "a header that may be sent once came twice")
ONCE: Final = frozenset(
    {b"host", b"authorization", b"content-type", b"content-encoding", b"content-length", b"origin", b"idempotency-key"}
)


class Page(NamedTuple):
    """Page to look at without a key: `render` gives status and body; with an ``ETag`` among `headers` it is sent once."""

    media_type: bytes
    render: Callable[[], tuple[int, bytes]]
    headers: Headers = ()


class Dispatcher:
    """Dispatcher to endpoints and pages.

    Parameters
    ----------
    endpoints, pages
        By method and address, or by address alone; more may be added before the first request.
    access
        None keeps no log of answers.
    """

    def __init__(self, endpoints: Endpoints, pages: dict[str, Page], guard: Guard, access: AccessLog | None = None) -> None:
        self._router = Router(endpoints)
        self._pages = pages
        self._guard = guard
        self._access = access
        self._ids = RequestIds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path, headers = scope["method"], scope["path"], scope["headers"]
        fields = dict(reversed(headers))
        request_id = self._ids.of(fields)
        raw_path = scope.get("raw_path") or path.encode()
        match = self._router.find(method, path, raw_path)
        if self._access is not None:
            route = match.route if match is not None else path if path in self._pages else ELSEWHERE
            send = self._access.watching(send, method, route, request_id)
        if len(fields) != len(headers) and is_ambiguous(headers):
            await asgi.reply_problem(send, AMBIGUOUS, ((HEADER, request_id),), request_id)
        elif match is not None:
            await self._guard.answer(match, scope, receive, send, fields, request_id)
        elif (page := self._pages.get(path)) is not None:
            await _show(page, method, fields, send, request_id)
        elif methods := self._router.methods(path, raw_path):
            if cors.is_preflight(method, fields):
                await self._guard.preflight(methods, send, fields, request_id)
            else:
                await _refuse_method(", ".join(sorted(methods)), send, request_id)
        else:
            await asgi.reply_problem(send, NOT_FOUND, ((HEADER, request_id),), request_id)


def is_ambiguous(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether a header that counts once came twice: what stands before us might have believed the other one.

    Examples
    --------
    >>> is_ambiguous([(b"host", b"a"), (b"accept", b"*/*"), (b"accept", b"text/html")])
    False
    >>> is_ambiguous([(b"host", b"a"), (b"host", b"b")])
    True
    """
    seen = [name for name, _ in headers if name in ONCE]
    return len(seen) != len(set(seen))


async def _show(page: Page, method: str, fields: asgi.Fields, send: Send, request_id: bytes) -> None:
    if method not in ("GET", "HEAD"):
        await _refuse_method("GET, HEAD", send, request_id)
        return
    status, body = page.render()
    headers = ((HEADER, request_id), *page.headers)
    if (known := fields.get(b"if-none-match")) is not None and (b"etag", known.removeprefix(b"W/")) in page.headers:
        status, body = 304, b""
    await asgi.reply(send, status, body, page.media_type, headers, head=method == "HEAD")


async def _refuse_method(allowed: str, send: Send, request_id: bytes) -> None:
    refusal = Refusal(405, f"use {allowed}", headers=((b"allow", allowed.encode()),))
    await asgi.reply_problem(send, refusal, ((HEADER, request_id),), request_id)
