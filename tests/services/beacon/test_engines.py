"""The beacon in three engines: nothing is lost, next to nothing is sent twice and nothing counted twice, however pages end.

Pages are left, come back, lose their tab or their browser, find no service or one that refuses. Chromium's smoke is in
`test_in_chromium`; what is here is the slow lane, ``make browsers``, and prints what it saw.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.services.beacon.engines import ENGINES, Engine
from tests.services.beacon.pages import ITEM, Shop, shop
from tests.services.beacon.webkit import Undriven, WebKit
from tests.waiting import until

__all__ = ["shop"]

N_PAGES = int(os.environ.get("ATTUNE_TEST_BROWSER_PAGES", "200"))
KILLS = int(os.environ.get("ATTUNE_TEST_BROWSER_KILLS", "50"))
KILLED_AFTER_S = 0.3
TROUBLE_S = 30.0
MOST_TWICE = 0.05
LEAST_RESTORED = 0.5  # a browser may make a page anew instead, such as one whose database is at work just then
SHOWN_AGAIN = (
    "document.title === 'shop' && document.readyState === 'complete' && 'restored' in window && (restored || !window.left)"
)
RESTORED = """<script>
addEventListener("pageshow", (event) => { window.restored = event.persisted });
const asked = fetch;
window.busy = 0;
window.fetch = (...how) => (busy++, asked(...how).finally(() => busy--));
</script>"""
# No engine keeps a page of which an answer is still on the way; a list follows a click after 50 ms.
AT_REST = (
    "new Promise((done) => setTimeout(done, 100)).then(() => attune.flush()).then(() => (window.left = true) && busy === 0)"
)
# As long as this browser takes to keep anything: on a busy machine that may be longer than `KILLED_AFTER_S`.
WRITTEN = """new Promise((done) => {
  const request = indexedDB.open("probe");
  request.onupgradeneeded = () => request.result.createObjectStore("probe");
  request.onsuccess = () => {
    const writing = request.result.transaction("probe", "readwrite");
    writing.objectStore("probe").put(1, Math.random());
    writing.oncomplete = () => (request.result.close(), done(1));
  };
})"""
# What a visitor does, without one: a browser that nobody drives cannot be clicked at.
BY_ITSELF = f"""<script>onload = () => {{
  attune.track("add_to_cart", {{ item_id: "{{item}}" }});
  {WRITTEN}.then(() => fetch("/told"));
}}</script>"""
# How many events the browser keeps, as words and in its database; null where that does not answer.
KEPT = """new Promise((done) => {
  const words = Object.keys(localStorage).filter((name) => name.startsWith("attune.o.")).length;
  setTimeout(done, 5000, [words, null]);
  const request = indexedDB.open("attune");
  request.onerror = () => done([words, -1]);
  request.onsuccess = () => {
    if (!request.result.objectStoreNames.length) return done([words, -1]);
    const count = request.result.transaction("outbox").objectStore("outbox").count();
    count.onsuccess = () => (request.result.close(), done([words, count.result]));
  };
})"""
pytestmark = pytest.mark.slow


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    opened: Engine = ENGINES[request.param](tmp_path / "profile")
    yield opened
    opened.kill()


def name_of(engine: Engine) -> str:
    return next(name for name, kind in ENGINES.items() if isinstance(engine, kind))


def arrived(shop: Shop, kind: str) -> int:
    return shop.events().count((kind,))


def visit(engine: Engine, shop: Shop, k: int, text: str = ITEM) -> None:
    """Look at a page, and put its item into the cart."""
    engine.open(shop.page_that_stays(f"page{k}.html", text, f"sku-{k % 90:05d}"))
    engine.click("[data-attune-event]")


def settle(engine: Engine, shop: Shop, what: str, carts: int, views: int) -> None:
    """Look at one more page; then nothing is missing or kept, and next to nothing was sent twice."""
    engine.open(shop.page_that_stays("last.html"))
    wanted = {"add_to_cart": carts, "item_view": views + 1}
    until(lambda: {kind: arrived(shop, kind) for kind in wanted} == wanted, f"{what}: of {wanted} not all arrive, or too many")
    # In WebKit a page in the back/forward cache may keep all others out of the database; then the words tell.
    well = {0, 1, None} if isinstance(engine, WebKit) else {0, 1}
    until(lambda: well.issuperset(engine.value(KEPT)), "they are kept for ever")
    different = len(set(shop.sent))
    told: dict[str, Any] = {
        "pages": carts,
        "events": different,
        "lost": 0,
        "sent_twice": len(shop.sent) - different,
        "visits": dict(shop.answered),
        "kept": engine.value(KEPT),
    }
    sys.stdout.write(f"\n{name_of(engine)}, {what}: {json.dumps(told)}\n")
    assert told["sent_twice"] <= max(1, MOST_TWICE * different), told
    assert {kind: arrived(shop, kind) for kind in wanted} == wanted, "nothing is counted twice"
    assert {method for method, path in shop.asked if path.startswith("/v1/")} == {"POST"}, "no browser asked beforehand"


def test_pages_left_at_once(engine: Engine, shop: Shop) -> None:
    shop.serve()
    for k in range(N_PAGES):
        visit(engine, shop, k)
    settle(engine, shop, "left at once", N_PAGES, N_PAGES)


def test_tabs_closed_at_once(engine: Engine, shop: Shop) -> None:
    shop.serve()
    for k in range(N_PAGES):
        visit(engine, shop, k)
        engine.close_tab()
    settle(engine, shop, "tab closed", N_PAGES, N_PAGES)


def test_a_page_that_comes_back_is_one_view_more(engine: Engine, shop: Shop) -> None:
    shop.a_minute = 20 * N_PAGES  # one address is all of these visitors, and each waits for its list
    shop.serve()
    after = shop.page("next.html", text="<title>next</title>")
    n_restored = 0
    for k in range(N_PAGES):
        visit(engine, shop, k, ITEM + RESTORED)
        until(lambda: engine.value(AT_REST), "it goes on asking")
        engine.open(after)
        engine.back()
        until(lambda: engine.value(SHOWN_AGAIN), "the page does not come back")
        n_restored += engine.value("restored")
    sys.stdout.write(f"\n{name_of(engine)}: {n_restored} of {N_PAGES} pages out of the back/forward cache\n")
    assert n_restored >= LEAST_RESTORED * N_PAGES
    settle(engine, shop, "back", N_PAGES, 2 * N_PAGES)


@pytest.mark.parametrize("status", [None, 503, 429], ids=["away", "503", "429"])
def test_pages_looked_at_while_the_service_cannot(engine: Engine, shop: Shop, status: int | None) -> None:
    """Half of the pages, and at least half a minute."""
    began_s = 0.0
    shop.serve()
    for k in range(N_PAGES):
        if k == N_PAGES // 4:
            began_s = time.monotonic()
            shop.refusal = (status, 1) if status else None
            if status is None:
                shop.stop()
        if k == 3 * N_PAGES // 4:
            time.sleep(max(0.0, TROUBLE_S - (time.monotonic() - began_s)))
            shop.refusal = None
            if status is None:
                shop.serve()
        visit(engine, shop, k)
    settle(engine, shop, f"{status or 'away'} for {TROUBLE_S:g} s", N_PAGES, N_PAGES)


def test_a_refused_visitor_leaves_nothing(engine: Engine, shop: Shop) -> None:
    shop.serve()
    engine.open(shop.page("denied.html", "data-consent=denied"))
    engine.click("[data-attune-event]")
    engine.value("attune.flush()")
    assert engine.value("[Object.keys(localStorage).length, Object.keys(sessionStorage).length]") == [0, 0]
    assert [path for _, path in shop.asked if path.startswith("/v1/")] == []


def killed(once: Callable[[], None], shop: Shop, again: Callable[[], Engine | Undriven], carts: int) -> dict[str, int]:
    """Kill a browser again and again while the service is away; what arrives of it when it is back, at one more page."""
    for _ in range(KILLS):
        once()
    shop.serve()
    last = again()
    try:
        with suppress(AssertionError):  # then the numbers tell
            until(lambda: (arrived(shop, "item_view"), arrived(shop, "add_to_cart")) == (KILLS + 1, carts))
    finally:
        last.kill()
    return {kind: arrived(shop, kind) for kind in ("item_view", "add_to_cart")}


@pytest.mark.parametrize("name", ["chromium", "firefox"])
def test_a_killed_browser_loses_nothing_while_the_service_is_away(name: str, shop: Shop, tmp_path: Path) -> None:
    url = shop.page_that_stays("item.html")

    def opened() -> Engine:
        engine: Engine = ENGINES[name](tmp_path / "profile")
        engine.open(url)
        return engine

    def once() -> None:
        engine = opened()
        engine.click("[data-attune-event]")
        began_s = time.monotonic()
        engine.value(WRITTEN)
        time.sleep(max(0.0, KILLED_AFTER_S - (time.monotonic() - began_s)))
        engine.kill()

    assert killed(once, shop, opened, KILLS) == {"item_view": KILLS + 1, "add_to_cart": KILLS}
    sys.stdout.write(f"\n{name}: {KILLS} kills, nothing lost\n")


def test_a_killed_webkit_loses_nothing_while_the_service_is_away(shop: Shop, tmp_path: Path) -> None:
    url = shop.page_that_stays("item.html", ITEM + BY_ITSELF)

    def once() -> None:
        shop.looked_at.clear()
        browser = Undriven(tmp_path / "profile", url)
        until(lambda: "/told" in shop.looked_at, "the page is not looked at")
        time.sleep(KILLED_AFTER_S)
        browser.kill()

    found = killed(once, shop, lambda: Undriven(tmp_path / "profile", url), KILLS + 1)  # the last page tells of one, too
    assert found == {"item_view": KILLS + 1, "add_to_cart": KILLS + 1}
    sys.stdout.write(f"\nwebkit: {KILLS} kills, nothing lost\n")
