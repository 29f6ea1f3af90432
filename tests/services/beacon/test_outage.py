"""The beacon while the service cannot be reached, or refuses for a while: it waits longer and longer, and loses nothing."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.beacon.chromium import Browser
from tests.services.beacon.pages import ITEM, Shop, shop
from tests.waiting import until

__all__ = ["shop"]

TRIES = "performance.getEntriesByType('resource').filter(e => e.name.endsWith('/v1/visits')).map(e => e.startTime)"
N_CARTS = 3
N_KEPT = 30
MOST_WRITES = 12
COUNTED = """<script>
window.writes = 0;
const begun = IDBDatabase.prototype.transaction;
IDBDatabase.prototype.transaction = function (...how) { writes++; return begun.apply(this, how) };
</script>"""


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    opened = Browser(tmp_path / "profile")
    yield opened
    opened.close()


def carts(shop: Shop) -> int:
    return sum(kind == "add_to_cart" for (kind,) in shop.events())


def test_what_happens_while_the_service_is_away_arrives_when_it_is_back(browser: Browser, shop: Shop) -> None:
    shop.serve()
    browser.open(shop.page("item.html"))
    until(lambda: shop.events() != [], "the service does not hear the first event")
    shop.stop()
    for _ in range(N_CARTS):
        browser.click("[data-attune-event]")
    until(lambda: len(browser.value(TRIES)) >= 3, "it does not try again")
    tries = browser.value(TRIES)
    assert all(later - sooner >= 500 for sooner, later in itertools.pairwise(tries)), "it hammers"
    assert browser.value("document.querySelectorAll('attune-items > a').length") == 3, "the list of before stays"
    assert carts(shop) == 0
    shop.serve()
    until(lambda: carts(shop) == N_CARTS, "events are lost")


@pytest.mark.parametrize("status", [503, pytest.param(429, marks=pytest.mark.slow)])
def test_a_service_that_refuses_is_left_alone_for_as_long_as_it_says(browser: Browser, shop: Shop, status: int) -> None:
    shop.serve()
    shop.refusal = status, 3
    browser.open(shop.page("item.html"))
    browser.click("[data-attune-event]")
    until(lambda: len(browser.value(TRIES)) >= 2, "it does not try again")
    first, second = browser.value(TRIES)[:2]
    assert second - first >= 3000
    shop.refusal = None
    until(lambda: carts(shop) == 1, "events are lost")
    assert len(shop.sent) == len(set(shop.sent)), "what was refused is sent once"


def test_a_new_event_does_not_wait_behind_many_writes(browser: Browser, shop: Shop) -> None:
    """A busy browser takes its time for each transaction, and one that is killed forgets those that have not had their turn."""
    browser.open(shop.page_that_stays("item.html", COUNTED + ITEM))
    browser.value(f"for (let k = 0; k < {N_KEPT}; k++) attune.track('add_to_cart', {{ item_id: 'sku-00002' }})")
    until(lambda: browser.value(TRIES), "it does not try")
    browser.click("[data-attune-event]")
    until(lambda: browser.value("Object.keys(localStorage).length") >= N_KEPT + 2, "the click is not kept")
    assert 0 < browser.value("writes") <= MOST_WRITES
    shop.serve()
    until(lambda: carts(shop) == N_KEPT + 1, "events are lost")
