"""The composition root: settings in, one ASGI application out.

Every part adds its endpoints in `build_app`: method, address, scope, limit, handler. What stands around a handler is in
`services.http.guard`. Starlette's own routes may follow behind (`routes`), and whatever wraps everything comes as `middleware`.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

import msgspec
from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from infra.secret import secret
from infra.settings import Settings
from infra.store.writer import LogWriter
from services.api import catalog as catalog_door
from services.api import deliveries as delivery_routes
from services.api import events as events_door
from services.api import signal_routes
from services.api.catalog import CatalogDoor
from services.api.engagement import EngagementDesk
from services.api.events import EventsDoor
from services.api.recommendations import Desk
from services.http import asgi, cors, docs_page, openapi
from services.http.calls import WARM_UP, Call, Endpoint
from services.http.guard import Authenticator, Gate, Observer
from services.http.idempotency import Writes
from services.http.partners import Keys
from services.http.problems import Refusal
from services.http.rate_limits import WITHOUT_KEY, RateLimits, Strangers
from services.http.reader import Reader
from services.http.request_ids import HEADER, RequestIds
from services.http.routes import Endpoints, Routes
from services.privacy.erasure import ErasureDoor
from services.serving.associations import LiveChampions
from services.serving.decision_log import DecisionLog
from services.serving.features import NoFeatures, OnlineFeatures, StoreUnreachable, open_features
from services.serving.model_watch import ChampionSource, ChampionWatcher
from services.serving.profiles import Profiles
from services.serving.shadow import Shadow
from services.signals.catalog import Catalog

Middleware = Callable[[ASGIApp], ASGIApp]
HTML: Final = b"text/html; charset=utf-8"
REOPEN_S: Final = 10.0
NOT_FOUND: Final = Refusal(404, "see /docs for what there is")


class Page(NamedTuple):
    """Something to look at without a key: answers status and body."""

    media_type: bytes
    render: Callable[[], tuple[int, bytes]]


class App:
    """The application. `start` makes it ready; until then `/readyz` says so.

    Attributes
    ----------
    endpoints, pages
        By method and address, or by address alone; more may be added before the first request. Addresses may be templates:
        ``app.endpoints["GET", "/v1/subscriptions/{id}"] = Endpoint(…)``.
    """

    def __init__(
        self,
        settings: Settings,
        champions: ChampionSource,
        online: OnlineFeatures | None,
        authenticator: Authenticator,
        observer: Observer | None,
        now_us: Callable[[], int],
        master: bytes,
        decided: Callable[[str, int], None] | None = None,
        shadowed: Callable[[str], None] | None = None,
    ) -> None:
        self._settings = settings
        self._champions = champions
        self._online: OnlineFeatures = online or NoFeatures()
        self._opens_online = online is None
        self._now_us = now_us
        self.started = False
        self.writer = LogWriter(settings.home, now_us)
        self.writes = Writes(self.writer, master)
        self._ids = RequestIds()
        limits = RateLimits(settings.requests_per_minute, settings.workers)
        strangers = Strangers(max(1, settings.requests_per_minute // WITHOUT_KEY), settings.workers)
        self._gate = Gate(authenticator, limits, strangers, observer, now_us, traces=settings.log_level == "DEBUG")
        self._reopening: asyncio.Task[None] | None = None
        self.decisions = DecisionLog(settings.home, decided)
        self.goods = Catalog(settings.home)
        desk = Desk(
            # Ids must differ and need not be secret: asking the system for noise lets go of the interpreter in every request.
            champions,
            lambda: self._online,
            master,
            random.Random(),
            Profiles(settings.home),
            self.decisions,
            self.goods,
        )
        self.reader = Reader(settings.home)
        engaged = EngagementDesk(champions, lambda: self._online, master, self.reader, self.goods)
        self.shadow = Shadow(settings.home, settings.shadow_share, champions, random.Random(), shadowed)
        desk.shadow = engaged.shadow = self.shadow
        reads = "recommendations:read"
        self.endpoints: Endpoints = {
            ("POST", "/v1/recommendations"): Endpoint(reads, 200, asgi.BODY_LIMIT, desk.recommendations),
            ("POST", "/v1/intent"): Endpoint(reads, 200, asgi.BODY_LIMIT, desk.intent),
            ("POST", "/v1/engagement"): Endpoint(reads, 200, asgi.BODY_LIMIT, engaged.engagement),
        }
        self._routes = Routes(self.endpoints)
        self.pages: dict[str, Page] = {
            "/livez": Page(asgi.JSON, lambda: (200, b'{"status":"alive"}')),
            "/readyz": Page(asgi.JSON, self._readiness),
            "/openapi.json": Page(asgi.JSON, lambda: (200, self._described()[0])),
            "/docs": Page(HTML, lambda: (200, self._described()[1])),
            "/": Page(HTML, lambda: (200, self._described()[1])),
        }
        self._documents: dict[date, tuple[bytes, bytes]] = {}
        self.others: ASGIApp | None = None
        self.entry: ASGIApp = self.dispatch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.entry(scope, receive, send)

    async def dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a request to its endpoint or page; everything else to the routes behind."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})  # before it was accepted: the server answers 403
            return
        if scope["type"] != "http":
            raise ValueError(f"expected an HTTP request, got {scope['type']}")
        method, path, fields = scope["method"], scope["path"], dict(reversed(scope["headers"]))
        request_id = self._ids.of(fields)
        raw_path = scope.get("raw_path") or path.encode()
        match = self._routes.find(method, path, raw_path)
        if match is not None:
            await self._gate.answer(match, scope, receive, send, fields, request_id)
        elif (page := self.pages.get(path)) is not None:
            await _show(page, method, send, request_id)
        elif methods := self._routes.methods(path, raw_path):
            if cors.is_preflight(method, fields):
                await self._gate.preflight(methods, send, fields, request_id)
            else:
                await _refuse_method(", ".join(sorted(methods)), send, request_id)
        elif self.others is not None:
            await self.others(scope, receive, send)
        else:
            await asgi.reply_problem(send, NOT_FOUND, ((HEADER, request_id),), request_id)

    def _described(self) -> tuple[bytes, bytes]:
        """The OpenAPI document of today, as JSON and as a page."""
        today = datetime.fromtimestamp(self._now_us() / 1e6, UTC).date()
        if today not in self._documents:
            document = openapi.document(self.endpoints, today)
            self._documents = {today: (msgspec.json.encode(document), docs_page.render(document).encode())}
        return self._documents[today]

    # ---- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load models and features in a thread, answer a first request of each kind here, then say ready."""
        await asyncio.to_thread(self._load)
        for path, body in openapi.EXAMPLES.items():
            await self._ask("POST", path, body)
        if self._champions.current().ranker is not None:
            path = "/v1/recommendations"
            await self._ask("POST", path, {**openapi.EXAMPLES[path], "ranker": True})
        self.started = True
        if self._opens_online:
            self._reopening = asyncio.create_task(self._reopen())

    async def _ask(self, method: str, path: str, body: object) -> None:
        call = Call(WARM_UP, msgspec.json.encode(body), received_at_us=self._now_us())
        await self.endpoints[method, path].answer(call)

    def _load(self) -> None:
        self.goods.refresh(self._now_us() / 1e6)
        if isinstance(self._champions, LiveChampions):
            self._champions.start()
        self.shadow.start()
        if self._opens_online:
            self._online = open_features(self._settings)

    async def _reopen(self) -> None:
        """Try again to open a feature store that could not be opened at the start."""
        while isinstance(self._online, NoFeatures):
            await asyncio.sleep(REOPEN_S)
            self._online = await asyncio.to_thread(open_features, self._settings)

    async def stop(self) -> None:
        """Write what waits for the log, end the background threads."""
        if self._reopening is not None:
            self._reopening.cancel()
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self.shadow.stop()
        if isinstance(self._champions, LiveChampions):
            self._champions.stop()
        self.writer.close()
        self.decisions.close()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    def _readiness(self) -> tuple[int, bytes]:
        """Ready means warm and with a champion. A missing online store is told, but answers can do without it."""
        versions = dict(self._champions.current().versions)
        status = "starting" if not self.started else "ready" if versions else "no champion model yet; run: attune retrain"
        body = {
            "status": status,
            "models": versions,
            "problems": dict(self._champions.problems()),
            "online_store": self._online_state(),
        }
        return 200 if status == "ready" else 503, msgspec.json.encode(body)

    def _online_state(self) -> str:
        try:
            self._online.recent_items("-", self._now_us())
        except StoreUnreachable:
            return "unreachable"
        return "reachable"


async def _show(page: Page, method: str, send: Send, request_id: bytes) -> None:
    if method not in ("GET", "HEAD"):
        await _refuse_method("GET, HEAD", send, request_id)
        return
    status, body = page.render()
    await asgi.reply(send, status, body, page.media_type, ((HEADER, request_id),), head=method == "HEAD")


async def _refuse_method(allowed: str, send: Send, request_id: bytes) -> None:
    refusal = Refusal(405, f"use {allowed}", headers=((b"allow", allowed.encode()),))
    await asgi.reply_problem(send, refusal, ((HEADER, request_id),), request_id)


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer an address that nobody has, behind Starlette's routes."""
    await asgi.reply_problem(send, NOT_FOUND)


def now_us() -> int:
    """The wall clock, microseconds since 1970."""
    return time.time_ns() // 1000


def build_app(
    settings: Settings,
    *,
    authenticator: Authenticator | None = None,
    champions: ChampionSource | None = None,
    online: OnlineFeatures | None = None,
    observer: Observer | None = None,
    judged: Callable[[str, int], None] | None = None,
    decided: Callable[[str, int], None] | None = None,
    shadowed: Callable[[str], None] | None = None,
    routes: Sequence[BaseRoute] = (),
    middleware: Sequence[Middleware] = (),
    now_us: Callable[[], int] = now_us,
) -> App:
    """Put the service together.

    Parameters
    ----------
    authenticator, champions, online
        Where keys, models and features come from; the home's partners, registry and feature store if not given.
    observer
        Is told about every answer.
    judged
        Is told how many events got each verdict.
    decided
        Is told how many decisions went on record or were dropped.
    shadowed
        Is told how each answer of a challenger compares.
    routes
        Further Starlette routes, asked when no fixed address fits.
    middleware
        What wraps everything, outermost first.
    """
    master = secret(settings.home)
    keys = authenticator or Keys(settings.home)
    app = App(
        settings,
        champions or LiveChampions(settings.home, ChampionWatcher(settings.home)),
        online,
        keys,
        observer,
        now_us,
        master,
        decided,
        shadowed,
    )
    door = EventsDoor(app.writes, master, judged)
    app.endpoints["POST", "/v1/events"] = Endpoint("events:write", 202, events_door.BODY_LIMIT, door.receive)
    goods = CatalogDoor(app.writes)
    app.endpoints["PUT", "/v1/catalog/items"] = Endpoint("catalog:write", 200, catalog_door.BODY_LIMIT, goods.put_items)
    app.endpoints["PUT", "/v1/offers"] = Endpoint("catalog:write", 200, catalog_door.BODY_LIMIT, goods.put_offers)
    eraser = ErasureDoor(app.reader, app.writes, master)
    app.endpoints["DELETE", "/v1/users/{user_id}"] = Endpoint("privacy:erase", 202, 0, eraser.delete)
    app.endpoints["GET", "/v1/erasures/{receipt_id}"] = Endpoint("privacy:erase", 200, 0, eraser.show)
    app.endpoints |= signal_routes.endpoints(settings, keys, app.writes, app.reader)
    app.endpoints |= delivery_routes.endpoints(settings, app.writes, app.reader)
    if routes:
        app.others = Router(routes=list(routes), default=not_found)
    for wrap in reversed(middleware):
        app.entry = wrap(app.entry)
    return app
