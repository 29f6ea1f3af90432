"""Access to a Prefect server of ours: a secret of each start, our own pages, our own names.

As it comes, that server asks nobody for a secret, answers pages of every origin and is called by any name; and whoever may
change a deployment runs commands here (a deployment's ``pull_steps`` may be a shell script; cf. GHSA-4v9f-r55g-g6hc). So a web
page that is open on this machine would be its operator. Here the server asks for a secret (Basic authentication, on web sockets
too), wants a token before every change, and `OwnPages` stands in front of it.

The secret travels in the environment and in files of mode 0600, never on a command line.
"""

import base64
import json
import os
import secrets
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, Final

ANSWER_S: Final = 30.0
NAMES: Final = ("127.0.0.1", "localhost")
Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


def new_secret() -> str:
    """A secret of one start, as user and password of Basic authentication."""
    return f"attune:{secrets.token_urlsafe(32)}"


def server_environment(secret: str, port: int) -> dict[str, str]:
    """Settings of a Prefect server that serves us only."""
    return {
        "PREFECT_SERVER_API_AUTH_STRING": secret,
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": ",".join(f"http://{host}" for host in own_hosts(port)),
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
    }


def client_environment(secret: str) -> dict[str, str]:
    """Settings with which Prefect's clients may speak to that server."""
    return {"PREFECT_API_AUTH_STRING": secret, "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "true"}


def own_hosts(port: int) -> list[str]:
    """Names by which a browser on this machine calls a server at a port; the usual port is left out.

    Examples
    --------
    >>> own_hosts(4200), own_hosts(80)
    (['127.0.0.1:4200', 'localhost:4200'], ['127.0.0.1', 'localhost'])
    """
    return list(NAMES) if port == 80 else [f"{name}:{port}" for name in NAMES]


def keep(path: Path, secret: str) -> None:
    """Write a secret for other processes of the home's owner, and for nobody else, whatever was there before."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{secret}\n")


def kept(path: Path) -> str | None:
    """The secret that `keep` wrote; None if it did not."""
    try:
        return path.read_text().strip() or None
    except FileNotFoundError:
        return None


def post(api: str, path: str, body: Any, secret: str | None) -> Any:
    """Answer of a Prefect API to a call that changes something, without Prefect's client, which takes a second to import.

    Raises
    ------
    OSError
        If it cannot be reached, or refuses; an `urllib.error.HTTPError` has its status.
    """
    headers = {"Content-Type": "application/json"}
    if secret:
        headers["Authorization"] = f"Basic {base64.b64encode(secret.encode()).decode()}"
    client = secrets.token_hex(16)
    try:
        token = _answer(urllib.request.Request(f"{api}/csrf-token?client={client}", headers=headers))["token"]
        headers |= {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": client}
    except urllib.error.HTTPError as error:
        if error.code != 422:  # so says a server that wants no token
            raise
    return _answer(urllib.request.Request(f"{api}/{path}", json.dumps(body).encode(), headers, method="POST"))


def _answer(request: urllib.request.Request) -> Any:
    with urllib.request.urlopen(request, timeout=ANSWER_S) as reply:
        return json.load(reply)


class OwnPages:
    """ASGI middleware that refuses whatever comes under another name than ours, or from a page that is not ours.

    A name that is not ours is what a page of elsewhere uses that had its own name point to this machine (DNS rebinding); web
    sockets, which know no CORS, are refused to foreign pages here too.

    Parameters
    ----------
    port
        Where the server listens, on loopback.
    """

    def __init__(self, app: App, port: int) -> None:
        self._app = app
        self._hosts = {host.encode() for host in own_hosts(port)}
        self._origins = {b"http://" + host for host in self._hosts}

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        if scope["type"] == "lifespan" or self._is_own(scope["headers"]):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

    def _is_own(self, headers: list[tuple[bytes, bytes]]) -> bool:
        hosts = [value for name, value in headers if name == b"host"]
        origins = {value for name, value in headers if name == b"origin"}
        return len(hosts) == 1 and hosts[0].lower() in self._hosts and origins <= self._origins
