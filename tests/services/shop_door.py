"""A service with the keys of one shop, as a test client sees it; its clock stands."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from infra.settings import Settings
from models.events.rules import parse_instant_us
from services.api.app import build_app
from services.api.collaborators import Observer
from services.http import partners
from services.serving.features import NoFeatures

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOW_US = parse_instant_us(NOW.isoformat())
SHOP = "https://shop.example"
JSON = {"content-type": "application/json"}


class Service:
    """The service with a server key and a browser key."""

    def __init__(self, home: Path, observer: Observer | None = None, **settings: Any) -> None:
        self.home = home
        self.server = partners.add(home, "shop", NOW_US)
        self.browser = partners.add(home, "shop", NOW_US, "pk", origins=[SHOP])
        self.app = build_app(Settings(home=home, **settings), online=NoFeatures(), observer=observer, now_us=lambda: NOW_US)
        self.client = TestClient(self.app, raise_server_exceptions=False)

    def ask(self, body: Any, path: str = "/v1/events", method: str = "POST", key: str | None = None, **headers: str) -> Any:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = JSON | {"authorization": f"Bearer {self.server if key is None else key}"} | headers
        return self.client.request(method, path, content=content, headers=sent)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    opened = Service(tmp_path)
    yield opened
    opened.app.shared.writer.close()


def event(event_id: str = "e-1", **fields: Any) -> dict[str, Any]:
    ts = (NOW - timedelta(hours=1)).isoformat()
    return {"event_id": event_id, "user_id": "u-1", "type": "search", "ts": ts} | fields


def batch(*events: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"events": events or [event()], **more}
