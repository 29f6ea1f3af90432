"""Pages of the demo shop, and what their scripts ask."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse

from services.client import AttuneError
from services.demo_shop.attune import Partner, complain
from services.demo_shop.goods import Goods, Product
from services.demo_shop.pictures import picture
from services.demo_shop.shoppers import CONSENTS, Shopper, Shoppers
from services.demo_shop.walks import AS, Walker

HERE: Final = Path(__file__).parent
COOKIE: Final = "demo_shop"
PER_PAGE: Final = 24
FORM_LIMIT: Final = 4_096
BODY_LIMIT: Final = 65_536
HEARTBEAT_S: Final = 15.0
SORTS: Final[Mapping[str, Callable[[Product], Any]]] = {
    "name": lambda one: one.title,
    "price": lambda one: one.price,
    "price down": lambda one: -one.price,
    "stars": lambda one: -one.stars,
}


class Settings(dict[str, Any]):
    """Settings that every page needs: `attune` (the service's address), `key` (for browsers), `bots`, `console`."""


class Pages:
    """Handlers of the shop."""

    def __init__(self, goods: Goods, partner: Partner, about: Settings) -> None:
        self._goods, self._partner, self._about = goods, partner, about
        self._shoppers, self._walker = Shoppers(), Walker()
        self._environment = Environment(
            loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        self._listeners: dict[asyncio.Queue[str], str] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    # ---- pages -----------------------------------------------------------------------------------------------------------

    async def home(self, request: Request) -> Response:
        """``GET /``."""
        return self._page(request, "home.html.j2", categories=self._goods.by_category)

    async def category(self, request: Request) -> Response:
        """``GET /c/{name}``: filters and order stand in the address."""
        name = request.path_params["name"]
        products = self._goods.by_category.get(name)
        if products is None:
            return self._nothing(request)
        return self._listing(request, products, category=name, query=None)

    async def search(self, request: Request) -> Response:
        """``GET /search``."""
        words = request.query_params.get("q", "")[:100]
        return self._listing(request, self._goods.matching(words), category=None, query=words)

    def _listing(self, request: Request, products: list[Product], *, category: str | None, query: str | None) -> Response:
        asked = request.query_params
        sort = asked.get("sort", "name") if asked.get("sort") in SORTS else "name"
        most, page = _number(asked.get("most")), max(int(_number(asked.get("page")) or 1), 1)
        found = sorted((one for one in products if most is None or one.price <= most), key=SORTS[sort])
        shown = found[(page - 1) * PER_PAGE : page * PER_PAGE]
        return self._page(
            request, "listing.html.j2", products=shown, n=len(found), category=category, query=query, sort=sort,
            sorts=list(SORTS), most=most, page=page, n_pages=-(-len(found) // PER_PAGE), limits=(25, 50, 100, 200),
        )  # fmt: skip

    async def item(self, request: Request) -> Response:
        """``GET /item/{item_id}``."""
        product = self._goods.by_id.get(request.path_params["item_id"])
        return self._nothing(request) if product is None else self._page(request, "item.html.j2", product=product)

    async def compare(self, request: Request) -> Response:
        """``GET /compare``."""
        _, shopper = self._shopper(request)
        return self._page(request, "compare.html.j2", products=[self._goods[one] for one in shopper.compared])

    async def cart(self, request: Request) -> Response:
        """``GET /cart``."""
        return self._page(request, "cart.html.j2", **self._lines(request))

    async def checkout(self, request: Request) -> Response:
        """``GET /checkout``: nothing personal is asked, since nothing is sold."""
        return self._page(request, "checkout.html.j2", **self._lines(request))

    async def thanks(self, request: Request) -> Response:
        """``GET /thanks``."""
        return self._page(request, "thanks.html.j2")

    def _lines(self, request: Request) -> dict[str, Any]:
        _, shopper = self._shopper(request)
        lines = [(self._goods[item_id], pieces) for item_id, pieces in shopper.cart.items()]
        return {"lines": lines, "total": sum(one.price * pieces for one, pieces in lines)}

    # ---- what a shopper does ---------------------------------------------------------------------------------------------

    async def act(self, request: Request) -> Response:
        """``POST /do/{what}``: put into the cart, take out, compare, consent, buy; then on to the page that shows it."""
        cookie, shopper = self._shopper(request)
        form = await _form(request)
        item_id, what = form.get("item_id", ""), request.path_params["what"]
        target = _local(request.headers.get("referer", "/"))
        if what == "consent" and form.get("state") in CONSENTS:
            shopper.consent = form["state"]
        elif what == "order":
            target = await self._order(shopper, form.get("session_id"))
        elif item_id in self._goods.by_id and what in ("put", "take", "compare"):
            {"put": shopper.put, "take": lambda one: shopper.cart.pop(one, None), "compare": shopper.compare}[what](item_id)
        else:
            return self._nothing(request)
        if request.headers.get("accept") == "application/json":
            return self._kept(JSONResponse({"n_pieces": shopper.n_pieces, "n_compared": len(shopper.compared)}), cookie)
        return self._kept(RedirectResponse(target, 303), cookie)

    async def _order(self, shopper: Shopper, session_id: str | None) -> str:
        lines = [(self._goods[item_id], pieces) for item_id, pieces in shopper.cart.items()]
        if lines and shopper.consent == "granted":
            try:
                order_id = f"order-{secrets.token_hex(6)}"
                await run_in_threadpool(self._partner.sold, shopper.user_id, session_id, order_id, lines)
            except AttuneError as error:  # the shop sells all the same
                complain(f"Attune was not told of an order: {error}")
        shopper.cart = {}
        return "/thanks" if lines else "/cart"

    # ---- what scripts ask ------------------------------------------------------------------------------------------------

    async def goods(self, request: Request) -> Response:
        """``GET /goods.json?ids=``: title, price and category by item."""
        wanted = request.query_params.get("ids", "").split(",")[:50]
        found = {one: self._goods[one] for one in wanted if one in self._goods.by_id}
        told = {one: [product.title, product.price, product.category] for one, product in found.items()}
        return JSONResponse(told, headers={"Cache-Control": "max-age=3600"})

    async def image(self, request: Request) -> Response:
        """``GET /picture/{item_id}.svg``."""
        product = self._goods.by_id.get(request.path_params["item_id"])
        if product is None:
            return Response(status_code=404)
        drawn = picture(product.item_id, product.category)
        return Response(drawn, media_type="image/svg+xml", headers={"Cache-Control": "max-age=86400"})

    async def walk(self, request: Request) -> Response:
        """``GET /walk?as=researcher&seed=7``."""
        kind = request.query_params.get("as", "")
        if kind not in AS:
            return JSONResponse({"detail": f"as must be one of {', '.join(AS)}"}, 422)
        seed = int(_number(request.query_params.get("seed")) or 1)
        return JSONResponse(await run_in_threadpool(self._walker.walk, kind, abs(seed) % 2**31))

    async def moment(self, request: Request) -> Response:
        """``POST /moment``: the shop's server asks for the engagement of this shopper."""
        cookie, shopper = self._shopper(request)
        body = await request.body()
        if shopper.consent != "granted" or len(body) > BODY_LIMIT:
            return self._kept(JSONResponse({}), cookie)
        try:
            told = await run_in_threadpool(self._partner.moment, shopper.user_id, json.loads(body))
        except (AttuneError, ValueError):
            told = {}
        return self._kept(JSONResponse(told), cookie)

    async def webhook(self, request: Request) -> Response:
        """``POST /hooks/attune``."""
        body = await request.body()
        return Response(status_code=204 if self._partner.take_webhook(dict(request.headers), body) else 400)

    async def signals(self, request: Request) -> Response:
        """``GET /signals``: server-sent events, one for each signal about this shopper; of others only that there was one."""
        _, shopper = self._shopper(request)
        return StreamingResponse(
            self._told(shopper.user_id), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    async def _told(self, user_id: str) -> AsyncIterator[str]:
        self._loop = asyncio.get_running_loop()
        queue: asyncio.Queue[str] = asyncio.Queue(100)
        self._listeners[queue] = user_id
        try:
            yield "retry: 2000\n\n"
            while True:
                try:
                    yield await asyncio.wait_for(queue.get(), HEARTBEAT_S)
                except TimeoutError:
                    yield ": still here\n\n"
        finally:
            del self._listeners[queue]

    def heard(self, signal: dict[str, Any]) -> None:
        """Hand a signal to whoever listens; called in the partner's threads."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._hand_out, signal)

    def _hand_out(self, signal: dict[str, Any]) -> None:
        for queue, user_id in self._listeners.items():
            is_own = signal["user_id"] == user_id
            told = {name: value for name, value in signal.items() if name != "user_id"} if is_own else {"other": signal["type"]}
            if not queue.full():
                queue.put_nowait(f"data: {json.dumps(told)}\n\n")

    # ---- answers ---------------------------------------------------------------------------------------------------------

    def _shopper(self, request: Request) -> tuple[str, Shopper]:
        if not hasattr(request.state, "shopper"):
            request.state.shopper = self._shoppers.of(request.cookies.get(COOKIE))
        found: tuple[str, Shopper] = request.state.shopper
        return found

    def _page(self, request: Request, name: str, status: int = 200, **more: Any) -> Response:
        cookie, shopper = self._shopper(request)
        token = self._partner.client.visitor_token(shopper.user_id)
        text = self._environment.get_template(name).render(
            shopper=shopper, token=token, kinds=AS, path=request.url.path, **self._about, **more
        )
        return self._kept(HTMLResponse(text, status, {"Cache-Control": "no-cache"}), cookie)

    async def missing(self, request: Request, error: Exception) -> Response:
        """Answer for an address that leads nowhere."""
        return self._nothing(request)

    def _nothing(self, request: Request) -> Response:
        return self._page(request, "nothing.html.j2", 404)

    def _kept(self, response: Response, cookie: str) -> Response:
        response.set_cookie(COOKIE, cookie, httponly=True, samesite="lax", path="/")
        return response


def _number(text: str | None) -> float | None:
    """A number of an address, or None.

    Examples
    --------
    >>> _number("12"), _number("x"), _number("nan"), _number(None)
    (12.0, None, None, None)
    """
    try:
        found = float(text or "")
    except ValueError:
        return None
    return found if abs(found) < 1e9 else None


async def _form(request: Request) -> dict[str, str]:
    body = await request.body()
    fields = parse_qs(body[:FORM_LIMIT].decode("utf-8", "replace"))
    return {name: values[0] for name, values in fields.items()}


def _local(address: str) -> str:
    """Path and query of an address: nobody is sent elsewhere.

    Examples
    --------
    >>> _local("https://elsewhere.example/item/1?a=b"), _local("//elsewhere.example//x"), _local("")
    ('/item/1?a=b', '/x', '/')
    """
    parts = urlsplit(address)
    path = "/" + parts.path.lstrip("/")
    return f"{path}?{parts.query}" if parts.query else path
