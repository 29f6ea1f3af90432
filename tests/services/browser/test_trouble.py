"""The demo shop where the visitor's browser blocks Attune: the script itself, or all that it would ask."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.chromium import until
from tests.services.beacon.chromium import Browser
from tests.services.browser.house import House
from tests.stores import copied

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
