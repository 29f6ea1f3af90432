"""Dispatcher of HTTP requests: to the endpoint or page that an address means, or to the refusal of one that means nothing."""

from collections.abc import Callable
from typing import Final, NamedTuple

from starlette.types import Receive, Scope, Send

from services.http import asgi, cors
from services.http.endpoints import Endpoints
from services.http.guard import Guard
from services.http.problems import Refusal
from services.http.request_ids import HEADER, RequestIds
from services.http.router import Router

NOT_FOUND: Final = Refusal(404, "see /docs for what there is")


class Page(NamedTuple):
    """Page to look at without a key: `render` gives status and body."""

    media_type: bytes
    render: Callable[[], tuple[int, bytes]]


class Dispatcher:
    """Dispatcher to endpoints and pages.

    Parameters
    ----------
    endpoints, pages
        By method and address, or by address alone; more may be added before the first request.
    """

    def __init__(self, endpoints: Endpoints, pages: dict[str, Page], guard: Guard) -> None:
        self._router = Router(endpoints)
        self._pages = pages
        self._guard = guard
        self._ids = RequestIds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path, fields = scope["method"], scope["path"], dict(reversed(scope["headers"]))
        request_id = self._ids.of(fields)
        raw_path = scope.get("raw_path") or path.encode()
        match = self._router.find(method, path, raw_path)
        if match is not None:
            await self._guard.answer(match, scope, receive, send, fields, request_id)
        elif (page := self._pages.get(path)) is not None:
            await _show(page, method, send, request_id)
        elif methods := self._router.methods(path, raw_path):
            if cors.is_preflight(method, fields):
                await self._guard.preflight(methods, send, fields, request_id)
            else:
                await _refuse_method(", ".join(sorted(methods)), send, request_id)
        else:
            await asgi.reply_problem(send, NOT_FOUND, ((HEADER, request_id),), request_id)


async def _show(page: Page, method: str, send: Send, request_id: bytes) -> None:
    if method not in ("GET", "HEAD"):
        await _refuse_method("GET, HEAD", send, request_id)
        return
    status, body = page.render()
    await asgi.reply(send, status, body, page.media_type, ((HEADER, request_id),), head=method == "HEAD")


async def _refuse_method(allowed: str, send: Send, request_id: bytes) -> None:
    refusal = Refusal(405, f"use {allowed}", headers=((b"allow", allowed.encode()),))
    await asgi.reply_problem(send, refusal, ((HEADER, request_id),), request_id)
