"""Pictures of every page of shop and console: ``python -m benchmarks.screenshots FOLDER [HOME]``.

Each at 1280 and 390 pixels, light and dark, as small PNGs of 32 colours. Prints of whom the pages asked
something, what they complained of, and by how many pixels one is wider than its window (at 320, too).
"""

import json
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from benchmarks.chromium import Browser, until
from benchmarks.demo import Demo, running

WIDTHS: Final = {1280: (1280, 860, 0.5), 390: (390, 844, 0.75)}  # width, height, and scale of the picture
N_COLOURS: Final = 32
CONSOLE: Final = (
    "/", "/sessions", "/weights", "/associations?item=sku-00005", "/signals", "/deliveries", "/experiments", "/models",
    "/data", "/drift",
    "/partners", "/privacy", "/reports", "/audit",
)  # fmt: skip
SHOP: Final = ("/", "/c/shoes", "/search?q=backpack", "/item/sku-00005", "/compare", "/cart")
# What forms of the console answer: the page, and what is pressed there, one after the other.
ANSWERS: Final = {"rehearsal": ("/signals", "#policy button[formaction]"), "again": ("/sessions", "#sessions a", "#ask button")}
SETTLE_S: Final = 1.2  # for the live blocks and the lists
ENTITLED: Final = "[...document.querySelectorAll('[data-title]')].every((one) => one.textContent !== '…')"
VISIT_S: Final = 60.0


def main(words: list[str]) -> None:
    """Take the pictures and print what was seen."""
    folder, home = Path(words[0]), Path(words[1]) if len(words) > 1 else None
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile, running(home) as demo:
        time.sleep(VISIT_S)  # so that somebody has been there
        browser = Browser(Path(profile))
        try:
            browser.pass_for_a_person()
            browser.listen()
            found = pictures(browser, demo, folder)
        finally:
            browser.close()
    print(json.dumps(found | {"bytes": sum(path.stat().st_size for path in folder.glob("*.png"))}))


def enter(browser: Browser, link: str) -> None:
    """Enter the console by its link."""
    browser.open(link)
    browser.click("main button")
    until(lambda: browser.value("location.pathname === '/' && document.readyState === 'complete'"), "the console does not open")


def shop_around(browser: Browser, shop: str) -> None:
    """Say yes, look at two items, compare them, and put one into the cart."""
    browser.open(f"{shop}/")
    browser.click("[name=state][value=granted]")
    until(
        lambda: browser.value("document.querySelector('.consent') === null && document.readyState === 'complete'"), "no consent"
    )
    for item in ("sku-00007", "sku-00005"):
        browser.open(f"{shop}/item/{item}")
        for selector in (
            "[data-attune-event=detail_view]",
            "[data-attune-event=spec_compare]",
            "[data-attune-event=add_to_cart]",
        ):
            browser.click(selector)
        time.sleep(SETTLE_S)


def pictures(browser: Browser, demo: Demo, folder: Path) -> dict[str, Any]:
    """Take all pictures into a folder; what was wider than its window, asked elsewhere or complained of."""
    shop, link = demo.told["shop"], urlsplit(demo.told["console"])
    console = f"{link.scheme}://{link.netloc}"
    shop_around(browser, shop)
    enter(browser, demo.told["console"])
    wide: dict[str, int] = {}
    for name, base, paths in (("shop", shop, SHOP), ("console", console, CONSOLE)):
        for path in paths:
            title = f"{name}_{urlsplit(path).path.strip('/').split('/')[0] or ('home' if name == 'shop' else 'now')}"
            browser.look(320, 800, dark=False)
            browser.open(base + path)
            wide[f"{title} at 320"] = _over(browser)
            for size, dark in ((size, dark) for size in WIDTHS.values() for dark in (False, True)):
                browser.look(*size[:2], dark=dark)
                browser.open(base + path)
                wide[f"{title} at {size[0]} {dark}"] = _taken(browser, folder, title, size, dark)
    for name, (path, *pressed) in ANSWERS.items():
        browser.look(1280, 860, dark=False)
        browser.open(console + path)
        for selector in pressed:
            browser.value(f"window.left = true, document.querySelector({json.dumps(selector)}).click()")
            until(lambda: browser.value("!window.left && document.readyState === 'complete'"), f"{selector} leads nowhere")
        for size, dark in ((size, dark) for size in WIDTHS.values() for dark in (False, True)):
            browser.look(*size[:2], dark=dark)
            wide[f"{name} at {size[0]} {dark}"] = _taken(browser, folder, f"console_{name}", size, dark)
    hosts = {urlsplit(one).hostname for one in browser.requests() if one.startswith("http")}
    wider = {name: by for name, by in wide.items() if by > 0}
    return {"wider": wider, "asked_of": sorted(map(str, hosts)), "complaints": browser.complaints()}


def _taken(browser: Browser, folder: Path, title: str, size: tuple[int, int, float], dark: bool) -> int:
    """Take a picture of what is open; by how much it is too wide."""
    width, height, scale = size
    time.sleep(SETTLE_S)
    until(lambda: browser.value(ENTITLED), f"no titles in {title}")
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": scale}
    taken = browser.call("Page.captureScreenshot", format="png", clip=clip)
    (folder / f"{title}_{width}_{'dark' if dark else 'light'}.png").write_bytes(small(taken["data"]))
    return _over(browser)


def _over(browser: Browser) -> int:
    return max(0, int(browser.value("document.documentElement.scrollWidth - document.documentElement.clientWidth")))


def small(encoded: str) -> bytes:
    """A PNG of few colours, out of one in base64 of eight-bit colours."""
    import base64

    pixels = decoded(base64.b64decode(encoded))
    flat = pixels[..., :3].reshape(-1, 3)
    colours, counts = np.unique(flat & 0xF8, axis=0, return_counts=True)
    palette = colours[np.argsort(-counts)[:N_COLOURS]].astype(np.int64)
    near = {tuple(one): int(((palette - one) ** 2).sum(axis=1).argmin()) for one in colours.astype(np.int64)}
    keys = (flat[:, 0].astype(np.int64) >> 3) << 10 | (flat[:, 1].astype(np.int64) >> 3) << 5 | flat[:, 2].astype(np.int64) >> 3
    table = np.zeros(1 << 15, dtype=np.uint8)
    for (r, g, b), place in near.items():
        table[(r >> 3) << 10 | (g >> 3) << 5 | b >> 3] = place
    # The mean of what became one colour is nearer than its first three bits.
    index = table[keys]
    sums = np.array([flat[index == k].mean(axis=0) if (index == k).any() else (0, 0, 0) for k in range(len(palette))])
    return encoded_by_palette(index.reshape(pixels.shape[:2]), np.round(sums).astype(np.uint8))


def encoded_by_palette(index: npt.NDArray[np.uint8], palette: npt.NDArray[np.uint8]) -> bytes:
    """PNG of an image of palette indices, shape (height, width), and colours, shape (n, 3)."""
    height, width = index.shape
    lines = b"".join(b"\0" + row.tobytes() for row in index)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts: Sequence[tuple[bytes, bytes]] = (
        (b"IHDR", header), (b"PLTE", palette.tobytes()), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b"")
    )  # fmt: skip
    chunks = (struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def decoded(png: bytes) -> npt.NDArray[np.uint8]:
    """Pixels of a PNG of eight-bit colours without interlacing, as browsers make them; shape (height, width, channels)."""
    at, data, width, height, channels = 8, b"", 0, 0, 0
    while at < len(png):
        (size,), name = struct.unpack(">I", png[at : at + 4]), png[at + 4 : at + 8]
        body = png[at + 8 : at + 8 + size]
        if name == b"IHDR":
            width, height, _, kind = struct.unpack(">IIBB", body[:10])
            channels = {2: 3, 6: 4}[kind]
        elif name == b"IDAT":
            data += body
        at += size + 12
    rows = np.frombuffer(zlib.decompress(data), dtype=np.uint8).reshape(height, 1 + width * channels)
    found = np.zeros((height, width, channels), dtype=np.uint8)
    above = np.zeros((width, channels), dtype=np.uint8)
    for place, row in enumerate(rows):
        above = found[place] = _unfiltered(int(row[0]), row[1:].reshape(width, channels), above)
    return found


def _unfiltered(kind: int, line: npt.NDArray[np.uint8], above: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A line of a PNG without its filter; RFC 2083, section 6."""
    if kind == 0:
        return line
    if kind == 1:
        return np.cumsum(line, axis=0, dtype=np.uint8)
    if kind == 2:
        return line + above
    found = np.zeros_like(line)
    left = np.zeros(line.shape[1], dtype=np.int64)
    corner = np.zeros(line.shape[1], dtype=np.int64)
    up = above.astype(np.int64)
    for x in range(len(line)):
        if kind == 3:
            guess = (left + up[x]) // 2
        else:
            p = left + up[x] - corner
            a, b, c = abs(p - left), abs(p - up[x]), abs(p - corner)
            guess = np.where((a <= b) & (a <= c), left, np.where(b <= c, up[x], corner))
        left = (line[x] + guess) & 0xFF
        corner = up[x]
        found[x] = left
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
