"""The beacon in three engines: nothing is lost when pages are left, killed or come back, and next to nothing is sent twice.

Chromium's smoke is in `test_in_chromium`; what is here is the slow lane, ``make browsers``.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.beacon.files import DIST
from tests.services.beacon.engines import ENGINES, Engine
from tests.services.beacon.pages import ITEM, Shop, shop
from tests.waiting import until

__all__ = ["shop"]

N_PAGES = int(os.environ.get("ATTUNE_TEST_BROWSER_PAGES", "200"))
KILLS = int(os.environ.get("ATTUNE_TEST_BROWSER_KILLS", "50"))
KEPT = """new Promise((done) => {
  const request = indexedDB.open("attune");
  request.onerror = () => done(["no database"]);
  request.onsuccess = () => {
    if (!request.result.objectStoreNames.length) return done(["no outbox"]);
    const keys = request.result.transaction("outbox").objectStore("outbox").getAllKeys();
    keys.onsuccess = () => (request.result.close(), done(keys.result));
  };
})"""
pytestmark = pytest.mark.slow


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    opened: Engine = ENGINES[request.param](tmp_path / "profile")
    yield opened
    opened.kill()


def carts(shop: Shop) -> int:
    return sum(kind == "add_to_cart" for (kind,) in shop.events())


def test_pages_left_at_once_lose_nothing_and_send_next_to_nothing_twice(engine: Engine, shop: Shop) -> None:
    shop.serve()
    for k in range(N_PAGES):
        engine.open(shop.page(f"page{k}.html", item=f"sku-{k % 90:05d}"))
        engine.click("[data-attune-event]")
    engine.open(shop.page("last.html"))
    until(lambda: carts(shop) == N_PAGES, f"{carts(shop)} of {N_PAGES} arrive")
    until(lambda: engine.value(f"({KEPT}).then(ids => ids.length)") <= 1, "they are kept for ever")
    different = len(set(shop.sent))
    assert len(shop.sent) <= 1.05 * different, f"{len(shop.sent)} events sent, {different} different"
    assert carts(shop) == N_PAGES
    assert {method for method, path in shop.asked if path.startswith("/v1/")} == {"POST"}, "no browser asked beforehand"


def test_a_page_that_comes_back_is_one_view_more(engine: Engine, shop: Shop) -> None:
    shop.serve()
    mark = "<script>addEventListener('pageshow', (e) => { window.restored = e.persisted })</script>"
    engine.open(shop.page("item.html", text=ITEM + mark))
    until(lambda: shop.events().count(("item_view",)) == 1, "no view")
    engine.open(shop.page("next.html", text="<title>next</title>"))
    engine.value("setTimeout(() => history.back())")
    until(lambda: engine.value("document.title") == "shop", "the page does not come back")
    until(lambda: shop.events().count(("item_view",)) == 2, "a page that is shown again is no view")
    assert engine.value("window.restored") is True, "out of the back/forward cache"


def test_a_refused_visitor_leaves_nothing(engine: Engine, shop: Shop) -> None:
    shop.serve()
    engine.open(shop.page("denied.html", "data-consent=denied"))
    engine.click("[data-attune-event]")
    engine.value("attune.flush()")
    assert engine.value("[Object.keys(localStorage).length, Object.keys(sessionStorage).length]") == [0, 0]
    assert [path for _, path in shop.asked if path.startswith("/v1/")] == []


@pytest.mark.parametrize("name", ["firefox"])  # Chromium's kills are in its own file; WebKit's profiles do not outlive it
def test_a_killed_browser_loses_nothing_while_the_service_is_away(name: str, shop: Shop, tmp_path: Path) -> None:
    shutil.copy(DIST / "attune.js", shop.pages / "attune.js")
    url = shop.page(
        "item.html", text=ITEM.replace('src="URL/attune/attune.js"', f'src="{shop.address}/attune.js" data-url="URL"')
    )
    sent: set[str] = set()
    for _ in range(KILLS):
        engine: Engine = ENGINES[name](tmp_path / "profile")
        try:
            engine.open(url)
            engine.click("[data-attune-event]")
            until(lambda: len(set(engine.value(KEPT)) - sent) >= 2, "nothing is kept")  # noqa: B023
            sent |= set(engine.value(KEPT))
        finally:
            engine.kill()
    shop.serve()
    engine = ENGINES[name](tmp_path / "profile")
    try:
        engine.open(url)
        until(lambda: {row[0].lstrip("\x1f") for row in shop.events("event_id")} >= sent, "events are lost")
    finally:
        engine.kill()
    assert carts(shop) == KILLS
