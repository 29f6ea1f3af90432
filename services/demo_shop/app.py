"""Composition of the demo shop, and its process."""

import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.demo_shop.attune import HOOK, Partner
from services.demo_shop.goods import stocked
from services.demo_shop.pages import HERE, Pages, Settings

POLICY: Final = (
    "default-src 'none'; script-src 'self' {attune}; style-src 'self'; img-src 'self' data:; connect-src 'self' {attune}; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
GRACE_S: Final = 2


class Headers:
    """Middleware that tells browsers what these pages may do."""

    def __init__(self, app: ASGIApp, policy: str) -> None:
        self._app = app
        self._added = [
            (b"content-security-policy", policy.encode()), (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"same-origin"),
        ]  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._added]
            await send(message)

        await self._app(scope, receive, told if scope["type"] == "http" else send)


def build(partner: Partner, about: Settings, hosts: list[str]) -> tuple[Starlette, Pages]:
    """Build the shop's application; nothing is asked of Attune yet."""
    pages = Pages(stocked(), partner, about)
    answers: list[tuple[str, Callable[[Any], Awaitable[Any]], str]] = [
        ("/", pages.home, "GET"), ("/c/{name}", pages.category, "GET"), ("/search", pages.search, "GET"),
        ("/item/{item_id}", pages.item, "GET"), ("/compare", pages.compare, "GET"), ("/cart", pages.cart, "GET"),
        ("/checkout", pages.checkout, "GET"), ("/thanks", pages.thanks, "GET"), ("/do/{what}", pages.act, "POST"),
        ("/goods.json", pages.goods, "GET"), ("/picture/{item_id}.svg", pages.image, "GET"), ("/walk", pages.walk, "GET"),
        ("/moment", pages.moment, "POST"), ("/signals", pages.signals, "GET"), (HOOK, pages.webhook, "POST"),
    ]  # fmt: skip
    routes: list[BaseRoute] = [Route(path, answer, methods=[method]) for path, answer, method in answers]
    routes.append(Mount("/static", StaticFiles(directory=HERE / "static")))
    policy = POLICY.format(attune=about["attune"])
    middleware = [Middleware(TrustedHostMiddleware, allowed_hosts=hosts), Middleware(Headers, policy=policy)]
    return Starlette(routes=routes, middleware=middleware, exception_handlers={404: pages.missing}), pages


def serve(
    *, host: str, port: int, url: str, key: str, browser_key: str, console: str | None = None, bots: bool = False
) -> None:
    """Serve the shop until Ctrl-C.

    Parameters
    ----------
    url
        Of Attune's service.
    key, browser_key
        ``sk_…``, which stays here, and ``pk_…``, which stands in the pages.
    console
        Address of the console, for the link in the panel.
    bots
        Whether driven browsers count.
    """
    own_url = f"http://{host}:{port}"
    partner = Partner(key, url, own_url)
    about = Settings(attune=url, key=browser_key, bots=bots, console=console)
    app, pages = build(partner, about, ["127.0.0.1", "localhost", "[::1]", host])
    partner.hear(pages.heard)
    threading.Thread(target=partner.introduce, args=(stocked(),), daemon=True).start()
    sys.stdout.write(f"shop   {own_url}\n")
    sys.stdout.flush()
    uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE_S)
