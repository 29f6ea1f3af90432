"""Webhook endpoints on loopback that answer as they are told to, and a store with something to send them."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import apsw
import pytest

from services.delivery.seals import Seals
from tests.stores import connect

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
SEALS = Seals(bytes(32))
S = 1_000_000


class Post(NamedTuple):
    """What an endpoint received."""

    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """Endpoints by path: each path answers as it was told to, 204 if it was not."""

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.posts.append(Post(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                receiver.answers.get(self.path, answer(204))(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.released = threading.Event()  # type: ignore[attr-defined]
        self._server.posts = self.posts  # type: ignore[attr-defined]
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.released.set()  # type: ignore[attr-defined]
        self._server.shutdown()
        self._server.server_close()


def answer(status: int, body: bytes = b"", **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def send(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return send


def hang(request: BaseHTTPRequestHandler) -> None:
    """Say nothing until the test is over."""
    request.server.released.wait()  # type: ignore[attr-defined]
    request.close_connection = True


def endless(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    while True:
        request.wfile.write(b"x" * 65_536)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with its tables, to be copied: making them takes longer than a test."""
    home = tmp_path_factory.mktemp("empty")
    connect(home).close()
    return home


def subscribe(store: apsw.Connection, name: str, url: str, types: str = "[]", min_score: float = 0.0, at_us: int = 0) -> None:
    values = (name, "shop", url, types, min_score, SECRET, at_us, at_us)
    columns = "id, partner, url, signal_types, min_score, secret, created_at_us, updated_at_us"
    store.execute(f"INSERT INTO subscriptions ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)


def emit(store: apsw.Connection, n: int, at_us: int = 1, kind: str = "offer_discount", score: float = 0.5) -> None:
    values = (f"sig_{n}", "shop", f"user-{n}", 1, kind, '{"percent":10}', score, "leave", n, at_us)
    columns = "signal_id, partner, user_id, sequence, type, payload, score, predicted_action, cause_seq, created_at_us"
    store.execute(f"INSERT INTO signals ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
