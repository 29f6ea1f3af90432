"""Answers that a strict parser refuses: whoever has said 200 has the message."""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from services.delivery.answers import Answer, seconds
from services.delivery.outbound import Outbound

BODY = b"{}"
COOKIES = b"".join(b"Set-Cookie: c%d=1; Path=/\r\n" % n for n in range(300))
LONG = b"X-Trace: " + b"a" * 9_216 + b"\r\n"


def answered(raw: bytes) -> Answer:
    """What an endpoint that sends these bytes and closes is taken to have said."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                asked = b""
                while not asked.endswith(BODY):
                    asked += connection.recv(65_536)
                connection.sendall(raw)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()

        async def post() -> Answer:
            outbound = Outbound(allow_private=True)
            try:
                return await outbound.post(f"http://127.0.0.1:{server.getsockname()[1]}/", BODY, {})
            finally:
                await outbound.close()

        found = asyncio.run(post())
        thread.join()
    return found


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n" + LONG + b"Content-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + COOKIES + b"Content-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: soon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno header\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200\nContent-Length: 2\n\n",
    ],
    ids=["9 KB", "300 cookies", "too short", "two lengths", "no number", "no header", "no chunks", "line feeds"],
)
def test_a_careless_200_is_delivered_and_its_status_recorded(head: bytes) -> None:
    found = answered(head + b"ok")
    assert (found.outcome, found.status, found.text) == ("delivered", 200, "ok")


def test_gone_and_retry_after_are_understood_in_a_careless_answer_too() -> None:
    assert answered(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\nreally").outcome == "gone"
    busy = answered(b"HTTP/1.1 503 Busy\r\nRetry-After: 30\r\n" + LONG + b"Content-Length: 1\r\n\r\nlater")
    assert (busy.outcome, busy.status, busy.retry_after_s) == ("answered", 503, 30.0)
    assert answered(b"220 mail.example ESMTP\r\n").outcome == "connection"


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = os.environ.get("TZ")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.delenv("TZ") if before is None else monkeypatch.setenv("TZ", before)
    time.tzset()


@pytest.mark.parametrize("form", ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"])
@pytest.mark.usefixtures("in_tokyo")
def test_a_date_to_wait_for_is_utc_in_each_of_its_forms(form: str) -> None:
    at = datetime.now(UTC) + timedelta(hours=1)
    assert 3_000 < seconds(at.strftime(form)) <= 3_600
