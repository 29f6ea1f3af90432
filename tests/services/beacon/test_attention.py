"""Attention in Chromium: time in which nobody sees the page counts for nothing, and watching costs next to nothing."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.services.beacon.chromium import Browser
from tests.services.beacon.pages import Shop, shop
from tests.waiting import until

__all__ = ["shop"]

TALL = """<!doctype html><title>tall</title><body style="margin:0">
<script>window.shown = 0; let since;
addEventListener("DOMContentLoaded", () => since = performance.now());
document.addEventListener("visibilitychange", () => {
  if (document.hidden) window.shown += performance.now() - since; else since = performance.now();
});
addEventListener("pagehide", () => localStorage.setItem("last", performance.now() - since));
</script>
<main data-attune-page="item_view" data-attune-item="{item}" style="display:block;height:4000px"></main>
<script defer src="URL/attune/attune.js" data-key="KEY" data-bots MORE></script>"""
IDLE_S, COUNTED_S = 60.0, 30.0  # alone with the page; of that counts
INPUT_S = 3.0
MOST_SCRIPT_MS = 8.0  # of the processor, for each second in which mouse and page move


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    opened = Browser(tmp_path / "profile")
    opened.look(1280, 800, dark=False)
    yield opened
    opened.close()


def spans(shop: Shop) -> list[int]:
    return [dwell for kind, dwell in shop.events("event_type, dwell_ms") if kind == "item_engagement"]


@pytest.mark.parametrize("hidden_s", [3.0, pytest.param(10.0, marks=pytest.mark.slow)])
def test_time_in_which_the_page_is_hidden_counts_for_nothing(browser: Browser, shop: Shop, hidden_s: float) -> None:
    shop.serve()
    browser.open(shop.page("tall.html", text=TALL))
    browser.mouse("mouseMoved", 300, 300)
    until(lambda: browser.value("attune.session().events.find(e => e.dwell_ms > 900) !== undefined"), "no dwell")
    other = browser.call("Target.createTarget", url="about:blank")["targetId"]
    until(lambda: browser.value("document.hidden"), "another tab does not hide the page")
    first_ms = browser.value("shown")
    time.sleep(hidden_s)
    browser.call("Page.bringToFront")
    until(lambda: not browser.value("document.hidden"), "the page is not shown again")
    browser.mouse("mouseMoved", 400, 300)
    browser.call("Target.closeTarget", targetId=other)
    began = browser.value("performance.now()")
    until(lambda: browser.value("performance.now()") - began > 1200, "time stands still")
    browser.open(shop.page("next.html", text="<title>next</title>"))
    until(lambda: len(spans(shop)) == 2, "each time that it was looked at is one event")
    assert abs(spans(shop)[0] - first_ms) <= 200, "to the moment at which it was hidden"
    assert abs(spans(shop)[1] - browser.value("+localStorage.last")) <= 200, (
        "and anew from when it was shown, until it was left"
    )


@pytest.mark.slow
def test_a_page_that_nobody_touches_counts_for_half_a_minute(browser: Browser, shop: Shop) -> None:
    shop.serve()
    browser.open(shop.page("tall.html", text=TALL))
    browser.mouse("mouseMoved", 300, 300)
    dwell = "attune.session().events.find(e => e.type === 'item_engagement')?.dwell_ms ?? 0"
    until(lambda: browser.value(dwell) > 0, "no dwell")
    before_ms = browser.value(dwell)
    time.sleep(IDLE_S)
    added_ms = browser.value(dwell) - before_ms
    assert 1000 * COUNTED_S - 2000 <= added_ms <= 1000 * COUNTED_S


def metrics(browser: Browser) -> dict[str, float]:
    return {one["name"]: one["value"] for one in browser.call("Performance.getMetrics")["metrics"]}


def use(browser: Browser, url: str) -> tuple[int, float, list[dict[str, Any]]]:
    """Move the mouse and scroll at a page, the same way each time.

    Returns
    -------
    Layouts, the processor's time for scripts in ms a second, and what the browser did, as it traces it.
    """
    browser.open(url)
    browser.call("Performance.enable", timeDomain="threadTicks")
    categories = ["devtools.timeline", "disabled-by-default-devtools.timeline"]
    browser.call("Tracing.start", traceConfig={"includedCategories": categories})
    before, began, step = metrics(browser), time.monotonic(), 0
    while (spent := time.monotonic() - began) < INPUT_S:
        step += 1
        browser.mouse("mouseMoved", 200 + step % 400, 300)
        if step % 5 == 0:
            wheel = {"type": "mouseWheel", "x": 300, "y": 300, "deltaX": 0, "deltaY": 40}
            browser.call("Input.dispatchMouseEvent", **wheel)
        time.sleep(0.01)
    after = metrics(browser)
    browser.call("Tracing.end")
    until(lambda: browser.value("1") and browser.heard[-1].get("method") == "Tracing.tracingComplete", "no trace")
    traced = [one for told in browser.heard if told.get("method") == "Tracing.dataCollected" for one in told["params"]["value"]]
    browser.heard.clear()
    changed = {name: after[name] - before[name] for name in ("LayoutCount", "ScriptDuration")}
    return int(changed["LayoutCount"]), 1000 * changed["ScriptDuration"] / spent, traced


def within(traced: list[dict[str, Any]], name: str, script: str) -> int:
    """How often something was done while a script ran."""
    whole = [one for one in traced if one.get("ph") == "X"]
    ran = [one for one in whole if one["name"] == "FunctionCall" and script in one["args"]["data"].get("url", "")]
    assert ran, f"{script} did nothing"
    return sum(
        one["name"] == name and one["tid"] == call["tid"] and call["ts"] <= one["ts"] <= call["ts"] + call["dur"]
        for one in whole
        for call in ran
    )


FORCED = "<script>addEventListener('pointermove', () => { document.body.style.padding = Math.random() + 'px'; "
FORCED += "window.seen = document.body.offsetHeight })</script>"


def test_watching_forces_no_layout_and_takes_little_of_the_processor(browser: Browser, shop: Shop) -> None:
    shop.serve()
    unwatched, _, _ = use(browser, shop.page("denied.html", "data-consent=denied", text=TALL))
    watched, script_ms, traced = use(browser, shop.page("watched.html", text=TALL))
    assert within(traced, "Layout", "attune.js") == 0
    assert watched <= unwatched
    assert script_ms <= MOST_SCRIPT_MS
    _, _, traced = use(browser, shop.page("forced.html", text=TALL + FORCED))
    assert within(traced, "Layout", "forced.html") > 0, "one that forces them is seen"
