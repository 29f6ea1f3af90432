"""Attention in Chromium: time in which nobody sees the page counts for nothing, and watching forces no layout."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.beacon.chromium import Browser
from tests.services.beacon.pages import Shop, shop
from tests.waiting import until

__all__ = ["shop"]

TALL = """<!doctype html><title>tall</title><body style="margin:0">
<script>window.shown = 0; let since = performance.now();
document.addEventListener("visibilitychange", () => {
  if (document.hidden) window.shown += performance.now() - since; else since = performance.now();
});</script>
<main data-attune-page="item_view" data-attune-item="{item}" style="display:block;height:4000px"></main>
<script defer src="URL/attune/attune.js" data-key="KEY" data-bots MORE></script>"""
HIDDEN_S = 3.0


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    opened = Browser(tmp_path / "profile")
    opened.look(1280, 800, dark=False)
    yield opened
    opened.close()


def spans(shop: Shop) -> list[int]:
    return [dwell for kind, dwell in shop.events("event_type, dwell_ms") if kind == "item_engagement"]


def test_time_in_which_the_page_is_hidden_counts_for_nothing(browser: Browser, shop: Shop) -> None:
    shop.serve()
    browser.open(shop.page("tall.html", text=TALL))
    browser.mouse("mouseMoved", 300, 300)
    until(lambda: browser.value("attune.session().events.find(e => e.dwell_ms > 900) !== undefined"), "no dwell")
    other = browser.call("Target.createTarget", url="about:blank")["targetId"]
    until(lambda: browser.value("document.hidden"), "another tab does not hide the page")
    first_ms = browser.value("shown")
    time.sleep(HIDDEN_S)
    browser.call("Page.bringToFront")
    until(lambda: not browser.value("document.hidden"), "the page is not shown again")
    browser.mouse("mouseMoved", 400, 300)
    browser.call("Target.closeTarget", targetId=other)
    began = browser.value("performance.now()")
    until(lambda: browser.value("performance.now()") - began > 1200, "time stands still")
    second_ms = browser.value("performance.now() - since")
    browser.open("about:blank")
    until(lambda: len(spans(shop)) == 2, "each time that it was looked at is one event")
    assert abs(spans(shop)[0] - first_ms) <= 200, "to the moment at which it was hidden"
    assert abs(spans(shop)[1] - second_ms) <= 500, "and anew from the moment at which it was shown, until it was left"


def layouts(browser: Browser, url: str) -> int:
    """Layouts while somebody moves the mouse and scrolls, the same way each time."""
    browser.open(url)
    browser.call("Performance.enable")

    def count() -> int:
        told = browser.call("Performance.getMetrics")["metrics"]
        return int(next(one["value"] for one in told if one["name"] == "LayoutCount"))

    before = count()
    for step in range(40):
        browser.mouse("mouseMoved", 200 + 10 * step, 300)
        if step % 5 == 0:
            browser.value(f"scrollTo(0, {40 * step})")
    browser.value("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return count() - before


def test_watching_forces_no_layout(browser: Browser, shop: Shop) -> None:
    shop.serve()
    unwatched = layouts(browser, shop.page("denied.html", "data-consent=denied", text=TALL))
    assert layouts(browser, shop.page("watched.html", text=TALL)) <= unwatched
