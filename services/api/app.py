"""Composition root: settings in, one ASGI application out.

Every module of `MODULES` declares its endpoints beside their handlers; what stands around a handler is in
`services.http.guard`.
"""

import asyncio
import random
import secrets
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Final

import msgspec
from starlette.types import Receive, Scope, Send

from infra import registry
from infra.quotas import RedisQuotas
from infra.secret import secret
from infra.settings import Settings
from infra.store.engines import closed_store, open_store, open_writer
from infra.store.errors import StoreUnavailable
from infra.store.free_space import FreeSpace
from models.events.identity import partner_keys
from services.api import (
    catalog,
    deliveries,
    engagement,
    erasure,
    event_types,
    events,
    identify,
    intent,
    messages,
    page,
    policies,
    recommendations,
    signals,
    stream,
    subscriptions,
)
from services.api.collaborators import Collaborators, Observer, Unobserved
from services.api.unknown_fields import told_of_unknown
from services.beacon import files as beacon_files
from services.delivery.seals import Seals
from services.http import asgi, docs_page
from services.http.access_log import access_log
from services.http.calls import WARM_UP, Call
from services.http.dispatch import Dispatcher, Page
from services.http.endpoints import Endpoint, Endpoints
from services.http.guard import Authenticator, Guard
from services.http.idempotency import Writes
from services.http.partners import Keys
from services.http.problems import Refusal
from services.http.reader import Reader
from services.http.shared_quotas import SharedQuotas
from services.serving.associations import LiveChampions
from services.serving.decision_log import DecisionLog
from services.serving.event_names import EventNames
from services.serving.experiments import Runs
from services.serving.features import OnlineFeatures, OnlineSource, StoreUnreachable
from services.serving.identities import Identities
from services.serving.model_watch import ChampionSource, ChampionWatcher
from services.serving.profiles import Profiles
from services.serving.shadow import Shadow
from services.signals.catalog import Catalog

MODULES: Final = (
    recommendations, page, intent, engagement, events, event_types, identify, catalog, erasure, subscriptions, deliveries,
    policies, signals, stream,
)  # fmt: skip


def quotas_of(settings: Settings, now_us: Callable[[], int]) -> SharedQuotas | None:
    """Quotas over replicas, where a Redis is named; else each process has its share."""
    if settings.redis_url is None:
        return None
    return SharedQuotas(RedisQuotas(settings.redis_url, secrets.token_hex(8)), settings.workers, now_us)


class App:
    """ASGI application of a process. `start` makes it ready; until then `/readyz` says so.

    Attributes
    ----------
    endpoints, pages
        By method and address, or by address alone; more may be added before the first request.
    """

    def __init__(self, shared: Collaborators) -> None:
        self.shared = shared
        self.started = False
        self.endpoints: Endpoints = {}
        for module in MODULES:
            self.endpoints |= {place: told_of_unknown(one) for place, one in module.endpoints(shared).items()}
        documents = docs_page.Documents(self.endpoints, shared.now_us, messages.webhooks())
        self.pages: dict[str, Page] = {
            "/livez": Page(asgi.JSON, lambda: (200, b'{"status":"alive"}')),
            "/readyz": Page(asgi.JSON, self._readiness),
            "/openapi.json": Page(asgi.JSON, lambda: (200, documents.current().document)),
            **beacon_files.pages(),
            **dict.fromkeys(("/docs", "/"), Page(docs_page.HTML, lambda: (200, documents.current().page))),
        }
        settings = shared.settings
        self._quotas = quotas_of(settings, shared.now_us)
        guard = Guard(
            shared.authenticator, shared.observer, shared.now_us, settings.requests_per_minute, settings.workers,
            (settings.browser_requests_per_minute, settings.browser_requests_per_peer),
            traces=settings.log_level == "DEBUG", shared=self._quotas,
        )  # fmt: skip
        self._dispatch = Dispatcher(self.endpoints, self.pages, guard, access_log(settings.access_log, shared.now_us))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._dispatch(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})  # before it was accepted: the server answers 403
        else:
            raise ValueError(f"expected an HTTP request, got {scope['type']}")

    # ---- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load models and features in a thread, answer a first request of each kind here, then say ready."""
        await asyncio.to_thread(self._load)
        for endpoint in self.endpoints.values():
            await self._warm_up(endpoint)
        self.started = True

    def _load(self) -> None:
        self.shared.catalog.refresh(self.shared.now_us() / 1e6)
        self.shared.champions.start()
        self.shared.shadow.start()
        self.shared.online.start()
        if self._quotas is not None:
            self._quotas.start()

    async def _warm_up(self, endpoint: Endpoint) -> None:
        for body in endpoint.warm_up:
            await endpoint.handler(Call(WARM_UP, msgspec.json.encode(body), received_at_us=self.shared.now_us()))

    async def stop(self) -> None:
        """Write what waits for the log, end the background threads."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        if self._quotas is not None:
            self._quotas.stop()
        self.shared.online.stop()
        self.shared.shadow.stop()
        self.shared.champions.stop()
        self.shared.writer.close()
        self.shared.decisions.close()
        with suppress(StoreUnavailable), closing(open_store(self.shared.settings.home)) as store:
            store.scrub()  # what a stopped service leaves is one file

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
        champions = self.shared.champions
        versions, left_out = dict(champions.current().versions), self._left_out()
        judged = versions or left_out  # where nothing was fit to serve, the fallbacks do
        status = "starting" if not self.started else "ready" if judged else "no champion model yet; run: attune retrain"
        body = {
            "status": status,
            "models": versions,
            "problems": dict(champions.problems()),
            "left_out": left_out,
            "online_store": self._online_state(),
            "writes": "refused: the disk is nearly full" if self.shared.space.is_short() else "taken",
        }
        return 200 if status == "ready" else 503, msgspec.json.encode(body)

    def _left_out(self) -> dict[str, str]:
        try:
            return registry.left_out(self.shared.reader.rows)
        except Refusal:
            return {}

    def _online_state(self) -> str:
        try:
            self.shared.online.current().recent_items("-", self.shared.now_us())
        except StoreUnreachable:
            return "unreachable"
        return "reachable"


def wall_clock_us() -> int:
    """The wall clock, microseconds since 1970."""
    return time.time_ns() // 1000


def build_app(
    settings: Settings,
    *,
    authenticator: Authenticator | None = None,
    champions: ChampionSource | None = None,
    online: OnlineFeatures | None = None,
    observer: Observer | None = None,
    space: FreeSpace | None = None,
    now_us: Callable[[], int] = wall_clock_us,
) -> App:
    """Put the service together.

    Parameters
    ----------
    authenticator, champions, online
        Where keys, models and features come from; the home's partners, registry and feature store if not given.
    space
        Room on the disk; that of the home, with the watermark of the settings, if not given.
    """
    home, master, observer = settings.home, secret(settings.home), observer or Unobserved()
    champions = champions or LiveChampions(home, ChampionWatcher(home))
    open_store(home).close()  # what is wrong with it is said now, and not by every request
    space = space or FreeSpace(home, settings.least_free_mib << 20)
    writer = open_writer(home, now_us, space)
    reads = closed_store(home, wait_ms=0)  # all other requests wait behind it
    return App(
        Collaborators(
            settings=settings,
            authenticator=authenticator or Keys(home),
            observer=observer,
            champions=champions,
            online=OnlineSource(settings, online),
            catalog=Catalog(home),
            profiles=Profiles(home),
            experiments=Runs(home),
            decisions=DecisionLog(home, observer.decided, space=space, admitted=observer.admitted),
            shadow=Shadow(home, settings.shadow_share, champions, random.Random(), observer.shadowed),
            reader=Reader(reads),
            identities=Identities(reads),
            event_names=EventNames(reads),
            writer=writer,
            writes=Writes(writer, master),
            space=space,
            seals=Seals(master),
            key=partner_keys(master),
            now_us=now_us,
        )
    )
