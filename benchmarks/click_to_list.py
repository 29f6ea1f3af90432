"""From a click in the demo shop to the changed list, as the page itself sees it: ``python -m benchmarks.click_to_list [HOME]``.

A person clicks "Specifications", "Reviews", "Compare", "Save" or "Add to cart" on products in Chromium; the time until the list
under it has been replaced is taken in the page, its 50 ms of waiting for more clicks included. Prints one JSON object.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.chromium import Browser, until
from benchmarks.demo import running

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


def summed(found: list[float]) -> dict[str, Any]:
    """Median and 95th percentile, ms."""
    p50, p95 = np.percentile(found, (50, 95)).round(1).tolist()
    return {"clicks": len(found), "p50_ms": p50, "p95_ms": p95, "max_ms": round(max(found), 1)}


def main(words: list[str]) -> None:
    """Measure with the visitors at work, and print."""
    home = Path(words[0]) if words else None
    with tempfile.TemporaryDirectory() as profile, running(home) as demo:
        browser = Browser(Path(profile))
        try:
            print(json.dumps(summed(measured(browser, demo.told["shop"]))))
        finally:
            browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
