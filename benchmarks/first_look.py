"""From the first page to "why is this item here", as a merchandiser gets there: ``python -m benchmarks.first_look [HOME]``.

Starts what ``make run`` starts, goes to the addresses that it prints, and counts the clicks: in the shop, to the reason of an
item in a list; in the console, by the link that lets in, to what others did who looked at an item. Prints one JSON object with
the clicks and what was read, and fails where a click leads nowhere.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.chromium import Browser, until
from benchmarks.demo import running

# Chromium takes no click at a page that nobody has seen yet.
PAINTED: Final = "new Promise((done) => requestAnimationFrame(() => setTimeout(done, 100)))"
IN_SHOP: Final = (("[name=state][value=granted]", "[data-why]"), ("[data-why]", "#why"))
IN_CONSOLE: Final = (
    ("main button", "nav a[href='/associations']"),
    ("nav a[href='/associations']", "#found a"),
    ("#found a", "#ranked tbody tr"),
)


def clicked(browser: Browser, url: str, steps: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """Open an address and click one thing after the other; of each, what must be there then. The clicks, and the last text."""
    browser.open(url)
    text = ""
    for selector, wanted in steps:
        until(lambda: _is_ready(browser) and _text(browser, selector) is not None, f"there is no {selector}")  # noqa: B023
        browser.value(PAINTED)
        browser.click(selector)
        until(lambda: _text(browser, wanted), f"{selector} does not lead to {wanted}")  # noqa: B023
        text = str(_text(browser, wanted))
    return {"clicks": len(steps), "read": text}


def _is_ready(browser: Browser) -> bool:
    return bool(browser.value("document.readyState === 'complete'"))


def _text(browser: Browser, selector: str) -> str | None:
    """Text of the first such element; None where there is none."""
    found = browser.value(f"document.querySelector({json.dumps(selector)})?.innerText.trim().replace(/\\s+/g, ' ') ?? null")
    return None if found is None else str(found)


def main(words: list[str]) -> None:
    """Go both ways and print."""
    with tempfile.TemporaryDirectory() as profile, running(Path(words[0]) if words else None) as demo:
        browser = Browser(Path(profile))
        try:
            browser.pass_for_a_person()
            told = {
                "shop": clicked(browser, f"{demo.told['shop']}/", IN_SHOP),
                "console": clicked(browser, demo.told["console"], IN_CONSOLE),
            }
        finally:
            browser.close()
    print(json.dumps(told, ensure_ascii=False))


if __name__ == "__main__":
    main(sys.argv[1:])
