"""Bodies that come slowly or not at all, and connections that are no requests."""

import asyncio
import gzip
import random
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from infra.settings import Settings
from services.api.app import build_app
from services.http import asgi
from services.http.connections import Limits
from services.http.problems import Refusal


class Sender:
    """A client that sends some pieces of a body and then nothing."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    async def receive(self) -> dict[str, Any]:
        if not self.pieces:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": self.pieces.pop(0), "more_body": True}


def test_a_body_that_does_not_come_to_an_end_is_refused_before_the_connection_gives_up() -> None:
    with pytest.raises(Refusal, match="must come within") as refusal:
        asyncio.run(asgi.read_body(Sender(b"{").receive, 10, within_s=0.05))
    assert refusal.value.problem.status == 408
    assert Limits._field_defaults["answer_s"] > asgi.BODY_S


def test_a_body_that_is_too_large_is_not_waited_for() -> None:
    async def announced() -> None:
        await asgi.require_length({b"content-length": b"11"}, Sender(b"x").receive, 10)

    with pytest.raises(Refusal) as refusal:
        asyncio.run(asyncio.wait_for(announced(), 60))
    assert refusal.value.problem.status == 413


def test_a_gzip_body_may_be_strung_together_but_not_of_nothing_again_and_again() -> None:
    three = gzip.compress(b"[1,") + gzip.compress(b"") + gzip.compress(b"2]")
    assert asgi.expand(three, 10) == b"[1,2]"
    noise = random.Random(7).randbytes(3 * asgi.GZIP_PIECE)
    assert asgi.expand(gzip.compress(noise) + three, 1 << 20) == noise + b"[1,2]"
    assert asgi.expand(gzip.compress(b"") * asgi.GZIP_MEMBERS, 10) == b""
    for body, said in (
        (gzip.compress(b"") * (asgi.GZIP_MEMBERS + 1), "members at most"),
        (three[:-1], "ends too early"),
        (three + b"xyz", "not valid gzip"),
        (gzip.compress(bytes(11)), "10 bytes at most"),
    ):
        with pytest.raises(Refusal, match=said):
            asgi.expand(body, 10)


def test_a_web_socket_is_closed(tmp_path: Any) -> None:
    client = TestClient(build_app(Settings(home=tmp_path)))
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/v1/signals/stream"):
        pass
