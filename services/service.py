"""BentoML service: its workers, its tuning, and the application mounted in it.

BentoML starts, watches and replaces the worker processes and packs the image; the product's API is our own ASGI application.
What costs more than an answer is switched off: tracing (in the way of every request even without an exporter), the access log,
BentoML's own metrics (they make labels of raw paths), and the layers that BentoML puts around an application, with a task and a
timer for each request: a connection gives its requests straight to ours, behind what reads a proxy's headers, and keeps the
time for their answers (`services.http.connections`).

The process that only watches the workers imports this module too, so everything heavy waits for a worker.
"""

import asyncio
import gc
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import bentoml
from starlette.types import Receive, Scope, Send
from uvicorn.config import HTTP_PROTOCOLS, Config
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from infra.modes import OWNER_ONLY
from infra.settings import Settings
from services import metrics

SWITCH_S: Final = 0.0005  # a request must not wait 5 ms for a thread that writes decisions down
TEXT: Final = b"text/plain; charset=utf-8"


def without_blas() -> None:
    """Let numba take it that there is no BLAS, if it has not looked yet: no kernel multiplies matrices.

    To see whether there is one it loads `scipy.linalg` and what that stands on: a tenth of a start's processor time, 14 MiB.
    """
    name = "scipy.linalg"
    if name not in sys.modules:
        sys.modules[name] = None  # type: ignore[assignment]
        try:
            import numba.np.arraymath  # noqa: F401
        finally:
            del sys.modules[name]


class Worker:
    """Worker process: its application, built when it starts."""

    def __init__(self) -> None:
        self.app: Any = None
        self.crowd: Any = None
        self.door: Any = None

    def build(self) -> None:
        """Build the application; takes seconds."""
        gc.disable()  # until it has started: what is imported stays, and looking through it takes a tenth of a second
        without_blas()
        from services.api.app import build_app
        from services.gauges import Gauges
        from services.http.connections import Crowd, limits_of
        from services.http.dispatch import Page
        from services.processes import end_with_parent

        os.umask(OWNER_ONLY)
        end_with_parent()  # an orphan would keep the port and the home
        settings = Settings()
        metrics.join(settings.home)
        counted = metrics.Metrics()
        self.crowd = Crowd(limits_of(settings))
        self.app = build_app(settings, observer=counted)
        gauges = Gauges(settings.home)
        self.app.pages["/metrics"] = Page(TEXT, lambda: (200, counted.text() + gauges.text()))

    async def start(self) -> None:
        """Load and warm up; then let the collector leave alone what will live as long as the process."""
        await self.app.start()
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 50, 1000)
        gc.enable()
        sys.setswitchinterval(SWITCH_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


worker = Worker()


def connection(config: Config, **given: Any) -> asyncio.Protocol:
    """Protocol of a connection that a worker's server takes; BentoML leaves no other place to choose one."""
    from services.http.connections import Connection

    worker.door = worker.door or ProxyHeadersMiddleware(worker, config.forwarded_allow_ips)  # type: ignore[arg-type]
    return Connection(worker.crowd, worker.door, config=config, **given)


HTTP_PROTOCOLS["auto"] = f"{__name__}:connection"


def _without_remote_control() -> None:
    """Let the supervisor take commands from its own process only.

    As it comes it listens on two loopback ports, where any user of the machine may tell it, without a secret, to run a program.
    """
    from bentoml._internal.utils import circus

    class Arbiter(circus.Arbiter):
        def __init__(self, watchers: Any, **given: Any) -> None:
            super().__init__(watchers, **given | {"endpoint": "inproc://control", "pubsub_endpoint": "inproc://events"})

    circus.Arbiter = Arbiter  # type: ignore[misc]


def _take_over_release() -> None:
    """Let the home serve the models that were packed with this code, if any were and it does not know them yet."""
    root = Path(__file__).parents[1]
    if (root / "release").exists():  # in what `attune deploy` builds, nowhere else
        from infra import release

        home = Settings().home
        os.umask(OWNER_ONLY)
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        release.take_over(root / release.FOLDER, home, time.time_ns() // 1000)
        with suppress(OSError):  # a read-only image
            release.unpack_kernels(root / release.FOLDER, root / "models")


@bentoml.asgi_app(worker, path="/")
class _Attune:
    def __init__(self) -> None:
        worker.build()

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    def supervise() -> None:
        """Called in the supervisor only, before it listens."""
        _without_remote_control()
        _take_over_release()

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def begin(self) -> None:
        """Load in the background: the worker is alive at once, and ready when `/readyz` says so."""
        self._tasks = [asyncio.create_task(worker.start()), asyncio.create_task(worker.crowd.sweep())]

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def end(self) -> None:
        """Write what waits for the log, end the threads."""
        for task in self._tasks:
            task.cancel()
        await worker.app.stop()


Attune = bentoml.service(
    _Attune,
    name="attune",
    workers=Settings().workers,
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)
metrics.remove_at_exit()
