"""From a click to the changed list in the demo shop, and from an event to its row in the console, as the pages see it.

``python -m benchmarks.click_to_list [HOME]``

A person clicks "Specifications", "Reviews", "Compare", "Save" or "Add to cart" on products in Chromium; the time until the list
under it has been replaced is taken in the page, its 50 ms of waiting for more clicks included. Then somebody looks at the
console's sessions while new visitors' first events are sent by a server; the time until each visitor's row is there is taken by
the page's clock, from right before the call. Prints one JSON object.
"""

import json
import secrets
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np

from benchmarks.chromium import Browser, until
from benchmarks.demo import running
from benchmarks.screenshots import enter
from services.client import Attune

N_VISITORS: Final = 30
SHOWN: Final = 10  # letters of a visitor's pseudonym that the console shows
N_ITEMS: Final = 30
CLICKS: Final = (
    "[data-attune-event=detail_view]", "[data-attune-event=review_read]", "[data-attune-event=wishlist_add]",
    "[data-attune-event=spec_compare]", "[data-attune-event=add_to_cart]",
)  # fmt: skip
# A click's own time stamp, and the instant at which the widget has put the new list into the page.
WATCH: Final = """
addEventListener("click", (event) => { window.clicked = event.timeStamp; window.changed = 0; }, true);
new MutationObserver((changes) => {
  const inList = changes.some((one) => one.target.localName === "attune-items" && one.addedNodes.length);
  if (inList && window.clicked && !window.changed) window.changed = performance.now();
}).observe(document, { childList: true, subtree: true });
"""

# The instant at which each visitor's row is there first.
ROWS: Final = """
window.rows = {};
new MutationObserver(() => document.querySelectorAll("#sessions tbody a").forEach((row) => {
  window.rows[row.textContent] ??= Date.now();
})).observe(document, { childList: true, subtree: true });
"""


def measured(browser: Browser, shop: str, n_items: int = N_ITEMS) -> list[float]:
    """Milliseconds from each click to its list."""
    found: list[float] = []
    browser.pass_for_a_person()
    browser.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
    browser.open(f"{shop}/")
    browser.click("[name=state][value=granted]")
    until(
        lambda: browser.value("document.querySelector('.consent') === null && document.readyState === 'complete'"), "no consent"
    )
    for number in range(n_items):
        browser.open(f"{shop}/item/sku-{7 + 61 * number:05d}")
        until(lambda: browser.value("document.querySelectorAll('attune-items [data-why]').length > 0"), "no list comes")
        for selector in CLICKS:
            browser.click(selector)
            until(lambda: browser.value("window.changed || 0"), f"no list follows {selector}")
            found.append(float(browser.value("window.changed - window.clicked")))
    return found


def told(browser: Browser, sessions: str, client: Attune, n_visitors: int = N_VISITORS) -> list[float]:
    """Milliseconds from an event to its visitor's row in the console, whose sessions are open in the browser."""
    found: list[float] = []
    browser.open(sessions)
    browser.value(ROWS)
    for _ in range(n_visitors):
        user = f"row-{secrets.token_hex(6)}"
        name = json.dumps(client.call("POST", "/v1/engagement", {"user_id": user})["user"][:SHOWN])
        sent_ms = 1e3 * time.time()
        client.send_events([{"user_id": user, "session_id": user, "type": "item_view", "item_id": "sku-00007"}])
        until(lambda: browser.value(f"window.rows[{name}] ?? 0"), "the event stands in no row")  # noqa: B023
        found.append(float(browser.value(f"window.rows[{name}]")) - sent_ms)
    return found


def summed(found: list[float]) -> dict[str, Any]:
    """Median and 95th percentile, ms."""
    p50, p95 = np.percentile(found, (50, 95)).round(1).tolist()
    return {"n": len(found), "p50_ms": p50, "p95_ms": p95, "max_ms": round(max(found), 1)}


def main(words: list[str]) -> None:
    """Measure with the visitors at work, and print."""
    home = Path(words[0]) if words else None
    with tempfile.TemporaryDirectory() as profile, running(home) as demo:
        browser = Browser(Path(profile))
        try:
            clicks = summed(measured(browser, demo.told["shop"]))
            enter(browser, demo.told["console"])
            at = urlsplit(demo.told["console"])
            client = Attune(demo.told["key"], demo.told["docs"].removesuffix("/docs"))
            rows = summed(told(browser, f"{at.scheme}://{at.netloc}/sessions", client))
            print(json.dumps({"click_to_list": clicks, "event_to_row": rows}))
        finally:
            browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
