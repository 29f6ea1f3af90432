"""The demo shop where the visitor's browser blocks Attune, script or calls; and that a blocker's rules block neither."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from benchmarks.chromium import until
from tests.services.beacon.chromium import Browser
from tests.services.browser.house import House, stopped_by_a_blocker
from tests.stores import copied

KINDS = {"Document": "main_frame", "Script": "script", "Stylesheet": "stylesheet", "Image": "image", "Ping": "ping"}
VISIBLE = (
    "[...document.querySelectorAll('attune-items')].every(e => e.hidden || getComputedStyle(e).visibility === 'hidden' || "
)
VISIBLE += "e.childElementCount === 1)"


@pytest.fixture(scope="module")
def house(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    opened = House(copied(trained, tmp_path_factory.mktemp("house") / "home"))
    yield opened
    opened.close()


@pytest.mark.parametrize("blocked", ["*/attune/attune.js*", "*/v1/*"])
def test_the_shop_works_where_attune_is_blocked(house: House, tmp_path: Path, blocked: str) -> None:
    browser = Browser(tmp_path / "profile")
    try:
        browser.look(1280, 860, dark=False)
        browser.listen()
        browser.call("Network.setBlockedURLs", urls=[blocked])
        browser.open(f"{house.shop}/")
        browser.click("[name=state][value=granted]")
        until(lambda: browser.value("document.querySelector('.consent') === null"), "no consent")
        browser.open(f"{house.shop}/search?q=backpack")
        assert browser.value("document.querySelectorAll('main a[href^=\"/item/\"]').length") > 0
        browser.open(f"{house.shop}/item/sku-00005")
        browser.click("[data-attune-event=add_to_cart]")
        until(lambda: browser.value("document.querySelector('#n-pieces').textContent") != "0", "nothing lies in the cart")
        until(lambda: browser.value(VISIBLE), "an empty list is shown")
        browser.open(f"{house.shop}/checkout")
        browser.click("#order button")
        until(lambda: browser.value("location.pathname") == "/thanks", "nothing is sold")
        kept = [one for one in browser.complaints() if "ERR_BLOCKED_BY_CLIENT" not in one]
        assert kept == [], "but for what the browser itself says of what it blocked"
    finally:
        browser.close()


def test_a_blocker_stops_nothing_that_the_shop_asks_for(house: House, tmp_path: Path) -> None:
    browser = Browser(tmp_path / "profile")
    try:
        browser.listen()
        browser.open(f"{house.shop}/")
        browser.click("[name=state][value=granted]")
        until(lambda: browser.value("document.querySelector('.consent') === null"), "no consent")
        browser.open(f"{house.shop}/item/sku-00005")
        until(lambda: browser.value("document.querySelectorAll('[data-why]').length > 0"), "no list")
        browser.click("[data-attune-event=add_to_cart]")
        browser.open(f"{house.shop}/cart")
        until(lambda: browser.value("1") and any(one.endswith("/v1/visits") for one in browser.requests()), "nothing is sent")
        asked = [one["params"] for one in browser.heard if one.get("method") == "Network.requestWillBeSent"]
    finally:
        browser.close()
    requests = [
        {"url": one["request"]["url"], "sourceUrl": one["documentURL"], "type": KINDS.get(one["type"], "xmlhttprequest")}
        for one in asked
    ]
    assert {"/attune/attune.js", "/v1/page", "/v1/visits"} <= {urlsplit(one["url"]).path for one in requests}
    stopped = stopped_by_a_blocker(requests)
    assert [(one, rule) for one, rule in zip(requests, stopped, strict=True) if rule] == []
