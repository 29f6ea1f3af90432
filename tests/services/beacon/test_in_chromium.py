"""The beacon in a real browser: what a visitor does arrives, and the widget shows what goes with it."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.beacon.chromium import Browser
from tests.services.beacon.pages import ITEM, Shop, shop
from tests.stores import connect
from tests.waiting import until

__all__ = ["shop"]

CANARY = "canary-typed-by-a-visitor"


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    opened = Browser(tmp_path / "profile")
    yield opened
    opened.close()


def test_what_a_visitor_does_arrives_and_the_widget_shows_what_goes_with_it(browser: Browser, shop: Shop) -> None:
    shop.serve()
    browser.open(shop.page("item.html"))
    until(lambda: browser.value("document.querySelectorAll('attune-items > a').length") == 3, "the widget shows nothing")
    for step in range(20):
        browser.mouse("mouseMoved", 100 + 5 * step, 300)
    browser.click("[data-attune-event]")
    shown = browser.value(
        "[...document.querySelectorAll('attune-items > a')].map(a => [a.textContent, a.getAttribute('href')])"
    )
    assert all(href == f"/item?{item}" for item, href in shown)
    until(lambda: browser.value("attune.session().events.find(e => e.dwell_ms > 900) !== undefined"), "no dwell")
    browser.open("about:blank")
    until(lambda: len(shop.events()) >= 3, "not all events arrive")
    rows = shop.events("event_type, item_id, price, dwell_ms, cursor_distance_px, device")
    kinds = {row[0]: row for row in rows}
    assert sorted(row[0] for row in rows) == ["add_to_cart", "item_engagement", "item_view"]
    assert {row[1:3] for row in rows} == {("sku-00001", 79.0)}
    assert kinds["item_engagement"][3] >= 900
    assert kinds["item_engagement"][4] > 50
    methods = {method for method, path in shop.asked if path.startswith("/v1/")}
    assert methods == {"POST"}  # no browser asked beforehand
    assert "canary-typed" not in json.dumps(rows)
    decided = connect(shop.home).execute("SELECT context FROM decisions").fetchall()
    assert all(json.loads(context).get("door") == "page" for (context,) in decided)


def test_the_keyboard_stays_with_its_item_when_the_list_changes(browser: Browser, shop: Shop) -> None:
    shop.serve()
    markup = ITEM.replace('limit="', 'limit="2')
    text = markup.replace("<a data", "<p><a data").replace("</a><", "</a><button>why</button></p><")
    browser.open(shop.page("item.html", text=text))
    until(lambda: browser.value("document.querySelectorAll('attune-items button').length") == 23, "the widget shows nothing")
    where = "document.activeElement.localName + ' ' + document.activeElement.closest('[data-attune-item]').dataset.attuneItem"
    for selector in ("attune-items p:nth-of-type(2) button", "attune-items p:nth-of-type(3) a", "main > button"):
        browser.value(f"document.querySelector({selector!r}).focus(), window.was = document.querySelector('attune-items p')")
        stood = browser.value(where)
        browser.value("attune.track('search', {})")
        until(lambda: not browser.value("was.isConnected"), "the list is not replaced")
        assert browser.value(where) == stood


def test_a_database_that_never_answers_keeps_nothing_back(browser: Browser, shop: Shop) -> None:
    shop.serve()
    browser.call("Page.addScriptToEvaluateOnNewDocument", source="indexedDB.open = () => ({})")
    browser.open(shop.page("item.html"))
    until(lambda: shop.events() == [("item_view",)], "the view does not arrive while the page is looked at")


def test_who_does_not_consent_leaves_nothing_here_and_sends_nothing(browser: Browser, shop: Shop) -> None:
    shop.serve()
    kept = "[Object.keys(localStorage).length, Object.keys(sessionStorage).length]"
    browser.open(shop.page("denied.html", "data-consent=denied"))
    browser.click("[data-attune-event]")
    browser.value("attune.flush()")
    assert browser.value(kept) == [0, 0]
    assert [path for _, path in shop.asked if path.startswith("/v1/")] == []
    browser.open(shop.page("pending.html", "data-consent=pending"))
    browser.click("[data-attune-event]")
    assert browser.value(kept) == [0, 0]
    assert [path for _, path in shop.asked if path.startswith("/v1/")] == []
    browser.value("attune.consent('granted')")
    until(lambda: len(shop.events()) >= 2, "what waited for consent does not arrive")
    signal = "Object.defineProperty(navigator, 'globalPrivacyControl', { value: true })"
    browser.call("Page.addScriptToEvaluateOnNewDocument", source=signal)
    browser.open(shop.page("signal.html"))
    browser.click("[data-attune-event]")
    browser.value("attune.flush()")
    assert browser.value(kept) == [0, 0]
    assert browser.value("performance.getEntriesByType('resource').filter(e => e.name.includes('/v1/')).length") == 0
    assert browser.value("attune.session()") is None


def test_what_is_typed_is_told_by_its_length_alone(browser: Browser, shop: Shop) -> None:
    shop.serve()
    browser.open(shop.page("item.html"))
    until(lambda: browser.value("document.querySelectorAll('attune-items > a').length") == 3, "the widget shows nothing")
    browser.value("document.querySelector('[type=search]').value = '', document.querySelector('[type=search]').focus()")
    browser.call("Input.insertText", text=CANARY)
    browser.key("Enter")
    until(lambda: ("search", len(CANARY)) in shop.events("event_type, query_length"), "the search does not arrive")
    assert b"query_length" in shop.heard
    assert CANARY.encode() not in shop.heard
    shop.stop()
    kept = [path for path in shop.home.rglob("*") if path.is_file()]
    assert len(kept) > 1
    assert [path for path in kept if CANARY.encode() in path.read_bytes()] == []


TALL = """<!doctype html><title>tall</title><body style="margin:0">
<script>addEventListener("DOMContentLoaded", () => window.begun = performance.now());
addEventListener("pagehide", () => localStorage.setItem("looked", performance.now() - begun))</script>
<main data-attune-page="item_view" data-attune-item="{item}" style="display:block;height:4000px">
<button data-attune-zoom="2.5" style="position:fixed;top:0;left:0;width:60px;height:40px">+</button></main>
<script defer src="URL/attune/attune.js" data-key="KEY" data-bots MORE></script>"""


def test_attention_is_measured_as_it_was_paid(browser: Browser, shop: Shop) -> None:
    shop.serve()
    browser.look(1280, 800, dark=False)
    browser.open(shop.page("tall.html", text=TALL))
    browser.mouse("mouseMoved", 200, 300)
    time.sleep(0.5)  # a gap: what comes after it is no way from before
    for x in range(200, 1001, 20):
        browser.mouse("mouseMoved", x, 300)
        time.sleep(0.02)
    browser.value("scrollTo(0, 1200)")
    time.sleep(0.5)
    browser.click("[data-attune-zoom]")
    time.sleep(max(0.0, 3.0 - browser.value("performance.now() - begun") / 1000))
    told = browser.value("attune.session().events.find(e => e.type === 'item_engagement')")
    browser.open(shop.page("next.html", text="<title>next</title>"))
    until(lambda: ("item_engagement",) in shop.events(), "no engagement arrives")
    ((dwell, depth, zoom, cursor),) = shop.events("dwell_ms, scroll_depth, zoom_level, cursor_distance_px")[-1:]
    assert told["dwell_ms"] <= dwell
    assert dwell >= 2800
    assert abs(dwell - browser.value("+localStorage.looked")) <= 200, "from its beginning until it was left"
    assert abs(depth - (1200 + 800) / 4000) <= 0.02
    assert zoom == 2.5
    assert abs(cursor - 800) <= 0.05 * 800


def test_a_page_that_is_enlarged_by_hand_is_a_zoom(browser: Browser, shop: Shop) -> None:
    shop.serve()
    browser.look(390, 800, dark=False)
    browser.open(
        shop.page("tall.html", text=TALL.replace("<title>", '<meta name=viewport content="width=device-width"><title>'))
    )
    browser.call("Emulation.setPageScaleFactor", pageScaleFactor=1.8)
    until(lambda: abs(browser.value("visualViewport.scale") - 1.8) < 0.01, "nothing is enlarged")
    browser.mouse("mouseMoved", 100, 300)
    zoomed = "attune.session().events.find(e => e.type === 'item_engagement')?.zoom_level"
    until(lambda: abs((browser.value(zoomed) or 1) - 1.8) < 0.02, "no zoom")


LD = """<!doctype html><script type="application/ld+json">{"@graph": [{"@type": "Product", "sku": "LD-1", "category": "boots",
"offers": {"price": "12.5"}}]}</script><a id=on>on</a><script>
dataLayer = ["view_item", "add_to_cart"].map((event, n) => ({event, ecommerce: {items: [{item_id: "GA-" + n}]}}))
addEventListener("pageshow", (e) => { if (e.persisted) window.restored = true })
</script><script defer src="URL/attune/attune.js" data-key="KEY" data-bots MORE></script>"""


def test_a_page_has_one_source_and_each_time_it_is_shown_is_one_view(browser: Browser, shop: Shop) -> None:
    shop.serve()
    first = shop.page("ld.html", "data-ga4", LD)
    browser.open(first)
    until(lambda: len(shop.events()) >= 2, "JSON-LD and dataLayer are not read")
    assert sorted(shop.events("event_type, item_id")) == [("add_to_cart", "GA-1"), ("item_view", "LD-1")]
    assert shop.events("price, category")[0] == (12.5, "boots")
    browser.value("history.pushState({}, '', '/ld.html?another'); history.pushState({}, '', '/ld.html?another#part')")
    until(lambda: shop.events().count(("item_view",)) == 2, "another page of the same script is no view")
    browser.open(shop.page("next.html", text="<title>next</title>"))
    browser.value("history.back()")
    until(lambda: browser.value("window.restored") is True, "the page does not come back from the cache")
    until(lambda: shop.events().count(("item_view",)) == 3, "a page that is shown again is no view")


STRICT = (
    "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; script-src URL; connect-src URL; img-src 'self'; "
    "base-uri 'none'; require-trusted-types-for 'script'\">"
)


def test_it_works_under_a_strict_policy(browser: Browser, shop: Shop) -> None:
    shop.serve()
    browser.listen()
    browser.open(shop.page("strict.html", text=STRICT + ITEM))
    until(lambda: browser.value("document.querySelectorAll('attune-items > a').length") == 3, "the widget shows nothing")
    browser.click("[data-attune-event]")
    browser.open("about:blank")
    until(lambda: len(shop.events()) >= 2, "events do not arrive")
    assert [one for one in browser.complaints() if "favicon" not in one] == []
