"""Guard of the console: who is asked for by another name, sends too much or comes from another page gets no further."""

from collections.abc import Collection
from typing import Final

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_LIMIT: Final = 64 * 1024
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# Of reports and Data Docs, which bring their own styles: no script at all, since they stand on the console's origin.
FILE_POLICY: Final = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"same-origin"), (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"), (b"cross-origin-resource-policy", b"same-origin"),
)  # fmt: skip


class Guard:
    """Guard in front of the application.

    Parameters
    ----------
    hosts
        What the console may be called, each with its port: another `Host` is somebody's name that leads here (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.encode() for host in hosts)
        self._origins = frozenset(f"{scheme}://{host}".encode() for host in hosts for scheme in ("http", "https"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = self._refused(scope)
        if refused is not None:
            await PlainTextResponse(refused[1], refused[0])(scope, receive, _decked(send))
            return
        await self._app(scope, _limited(receive), _decked(send))

    def _refused(self, scope: Scope) -> tuple[int, str] | None:
        headers = dict(scope["headers"])
        if headers.get(b"host") not in self._hosts:
            return 421, "the console does not go by this name; start it with --name to add one"
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return 405, "only GET and POST"
        if scope["method"] == "POST":
            if headers.get(b"origin") not in self._origins:
                return 403, "this was sent from another page"
            length = headers.get(b"content-length", b"")
            if not length.isdigit() or int(length) > BODY_LIMIT:
                return 413, "too much"
        return None


def _decked(send: Send) -> Send:
    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {name for name, _ in message["headers"]}
            policy = [] if b"content-security-policy" in own else [(b"content-security-policy", POLICY.encode())]
            store = [] if b"cache-control" in own else [(b"cache-control", b"no-store")]
            message["headers"] = [*message["headers"], *_HEADERS, *policy, *store]
        await send(message)

    return told


def _limited(receive: Receive) -> Receive:
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > BODY_LIMIT:
            return {"type": "http.disconnect"}
        return message

    return counted
