"""A shop's pages on one port of loopback and the service on another, for tests of the beacon in a browser."""

import functools
import http.server
import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from infra.settings import Settings
from services.api.app import App, build_app
from services.beacon.files import DIST
from services.http import partners
from tests.stores import connect, copied
from tests.waiting import PATIENCE_S, free_port, until

ITEM = """<!doctype html><title>shop</title>
<main data-attune-page="item_view" data-attune-item="{item}" data-attune-category="shoes" data-attune-price="79">
<button data-attune-event="add_to_cart">add</button>
<form data-attune-search><input type=search value="canary-typed"></form></main>
<attune-items limit="3"><template><a data-bind="item_id" href="/item?{item_id}"></a></template></attune-items>
<script defer src="URL/attune/attune.js" data-key="KEY" data-bots MORE></script>"""


class Shop:
    """A shop's pages on one port of loopback, the service on another."""

    def __init__(self, home: Path, pages: Path) -> None:
        self.home, self.pages = home, pages
        self.looked_at: list[str] = []  # addresses of the shop's own server
        shop = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                shop.looked_at.append(self.path)

        handler = functools.partial(Handler, directory=str(pages))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        scopes, now_us = ("events:write", partners.PAGE), time.time_ns() // 1000
        self.key = partners.add(home, "shop", now_us, "pk", scopes=scopes, origins=[self.address])
        self.port = free_port()
        self.asked: list[tuple[str, str]] = []
        self.sent: list[
            str
        ] = []  # ids of events, as often as they were sent and taken; not of those that were only asked about
        self.answered: Counter[int] = Counter()  # visits, by status
        self.heard = b""  # all that browsers have said to the service
        self.a_minute = Settings.model_fields["browser_requests_per_peer"].default  # that one address may ask
        self.refusal: tuple[int, int] | None = None  # of visits: status, and seconds after which to come again
        self.running: tuple[uvicorn.Server, threading.Thread] | None = None

    def page(self, name: str, more: str = "", text: str = ITEM, item: str = "sku-00001") -> str:
        """Address of a new page."""
        told = {"{item}": item, "URL": f"http://127.0.0.1:{self.port}", "KEY": self.key, "MORE": more}
        for word, value in told.items():
            text = text.replace(word, value)
        (self.pages / name).write_text(text)
        return f"{self.address}/{name}"

    def page_that_stays(self, name: str, text: str = ITEM, item: str = "sku-00001") -> str:
        """Address of a new page that comes without the service: it has its own copy of the script."""
        shutil.copy(DIST / "attune.js", self.pages / "attune.js")
        own = text.replace('src="URL/attune/attune.js"', f'src="{self.address}/attune.js" data-url="URL"')
        return self.page(name, text=own, item=item)

    def serve(self) -> None:
        """Start the service."""
        app: App = build_app(Settings(home=self.home, browser_requests_per_peer=self.a_minute))

        async def watched(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            self.asked.append((scope["method"], scope["path"]))
            self.heard += repr((scope["path"], scope["query_string"], scope["headers"])).encode()
            if self.refusal is not None and scope["path"] == "/v1/visits":
                await self._refuse(receive, send, *self.refusal)
                return
            body = b""

            async def heard() -> Any:
                nonlocal body
                message = await receive()
                body += message.get("body", b"")
                self.heard += message.get("body", b"")
                return message

            async def told(message: Any) -> None:
                if scope["path"] == "/v1/visits" and message["type"] == "http.response.start":
                    self.answered[message["status"]] += 1
                    if message["status"] < 400:
                        self.sent += [event["event_id"] for event in json.loads(body)["events"] if "type" in event]
                await send(message)

            await app(scope, heard, told)

        server = uvicorn.Server(uvicorn.Config(watched, "127.0.0.1", self.port, log_level="error"))
        thread = threading.Thread(target=server.run)
        thread.start()
        until(lambda: server.started, "the service does not start")
        self.running = server, thread

    async def _refuse(self, receive: Any, send: Any, status: int, after_s: int) -> None:
        while (await receive()).get("more_body"):
            pass
        told = {"access-control-allow-origin": self.address, "access-control-expose-headers": "retry-after"}
        headers = [(name.encode(), text.encode()) for name, text in {**told, "retry-after": str(after_s)}.items()]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})

    def stop(self) -> None:
        """Stop the service."""
        if self.running:
            self.running[0].should_exit = True
            self.running[1].join(PATIENCE_S)
            self.running = None

    def close(self) -> None:
        """Stop both."""
        self.server.shutdown()
        self.server.server_close()
        self.stop()

    def events(self, columns: str = "event_type") -> list[tuple[Any, ...]]:
        """Browser events on record."""
        read = f"SELECT {columns} FROM events WHERE browser = 1 ORDER BY seq"
        found: list[tuple[Any, ...]] = connect(self.home).execute(read).fetchall()
        return found


@pytest.fixture
def shop(crowned: Path, tmp_path: Path) -> Iterator[Shop]:
    home = copied(crowned, tmp_path / "home")
    (tmp_path / "pages").mkdir()
    opened = Shop(home, tmp_path / "pages")
    yield opened
    opened.close()
