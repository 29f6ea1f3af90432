"""Access log: one line for every answer, found by the request id that the answer carries.

It holds the template of the address, never the address, and nothing else of what was sent: no key, no user, no query, no peer.
"""

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from starlette.types import Message, Send

LOGGER: Final = logging.getLogger("attune.access")
METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
ELSEWHERE: Final = "unknown"  # an address that means nothing here


class AccessLog:
    """Access log of a process.

    Parameters
    ----------
    as_json
        Whether a line is a JSON object.
    write
        Takes a line without its end.
    now_us
        The clock, microseconds since 1970.
    """

    def __init__(self, as_json: bool, write: Callable[[str], None], now_us: Callable[[], int]) -> None:
        self._as_json = as_json
        self._write = write
        self._now_us = now_us

    def watching(self, send: Send, method: str, route: str, request_id: bytes) -> Send:
        """The same `send`, which writes the line when the answer has ended."""
        began, status = time.perf_counter(), 0
        known = method if method in METHODS else "-"

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self._write(self.line(known, route, status, time.perf_counter() - began, request_id.decode()))

        return watched

    def line(self, method: str, route: str, status: int, seconds: float, request_id: str) -> str:
        """One line.

        Examples
        --------
        >>> AccessLog(False, print, lambda: 0).line("POST", "/v1/intent", 200, 0.00123, "r-1")
        '1970-01-01T00:00:00.000Z POST /v1/intent 200 1.23 ms r-1'
        >>> AccessLog(True, print, lambda: 0).line("GET", "unknown", 404, 0.0, "r-2")
        '{"ts":"1970-01-01T00:00:00.000Z","method":"GET","route":"unknown","status":404,"ms":0.0,"request_id":"r-2"}'
        """
        ts = datetime.fromtimestamp(self._now_us() / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        ms = round(seconds * 1000, 2)
        if not self._as_json:
            return f"{ts} {method} {route} {status} {ms} ms {request_id}"
        told = {"ts": ts, "method": method, "route": route, "status": status, "ms": ms, "request_id": request_id}
        return json.dumps(told, separators=(",", ":"))


def access_log(kind: str, now_us: Callable[[], int]) -> AccessLog | None:
    """Access log on standard error as the setting asks for it: ``text``, ``json``, or None for ``off``."""
    if kind == "off":
        return None
    if not LOGGER.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        LOGGER.addHandler(handler)
        LOGGER.setLevel(logging.INFO)
        LOGGER.propagate = False
    return AccessLog(kind == "json", LOGGER.info, now_us)
