"""Chromium without a window, driven by its DevTools protocol over a web socket: no driver, no package of its own."""

import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from websockets.sync.client import connect

FLAGS: Final = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-features=BackForwardCacheMemoryControls --remote-debugging-port=0 "
    "--window-size=1280,800 about:blank"
)
INSTALL: Final = "no Chromium here; to have it: apt-get install chromium"
PATIENCE_S: Final = 120.0  # only what never comes fails, on a busy machine too


def command() -> str | None:
    """Path of the browser, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def until(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait for a condition.

    Raises
    ------
    TimeoutError
        With `what`, where it never comes.
    """
    end = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.01)


class Browser:
    """Browser with one tab.

    Attributes
    ----------
    heard
        Events of the protocol, as they come: requests, errors on the console.

    Raises
    ------
    FileNotFoundError
        If there is no Chromium.
    """

    def __init__(self, profile: Path, *flags: str) -> None:
        found = command()
        if found is None:
            raise FileNotFoundError(INSTALL)
        profile.mkdir(parents=True, exist_ok=True)
        port = profile / "DevToolsActivePort"
        port.unlink(missing_ok=True)
        words = [found, f"--user-data-dir={profile}", *flags, *FLAGS.split()]
        # With its children in a group of its own, so that a kill ends all of them at once.
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        until(lambda: port.exists() and len(port.read_text().split()) == 2, "Chromium does not start")
        number, path = port.read_text().split()
        self._socket = connect(f"ws://127.0.0.1:{number}{path}", max_size=None)
        self._numbers = itertools.count(1)
        self.heard: list[dict[str, Any]] = []
        self._tab = ""
        self._begin_tab()

    def _begin_tab(self) -> None:
        self._session = ""
        self._tab = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=self._tab, flatten=True)["sessionId"]
        self.call("Page.enable")

    def close_tab(self) -> None:
        """Close the tab, as a person does, and go on in another."""
        before = self._tab
        self._begin_tab()
        self.call("Target.closeTarget", targetId=before)

    def call(self, method: str, **params: Any) -> Any:
        """Result of a command of the protocol.

        Raises
        ------
        RuntimeError
            If the browser refuses it.
        """
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params} | ({"sessionId": self._session} if self._session else {})
        self._socket.send(json.dumps(message))
        while (answer := json.loads(self._socket.recv(timeout=PATIENCE_S))).get("id") != number:
            self.heard.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def pass_for_a_person(self) -> None:
        """Let pages, which leave robots out, take this for a browser with a person in front of it."""
        named = self.value("navigator.userAgent").replace("Headless", "")
        self.call("Emulation.setUserAgentOverride", userAgent=named)
        self.call(
            "Page.addScriptToEvaluateOnNewDocument", source="Object.defineProperty(navigator, 'webdriver', { value: false })"
        )

    def listen(self) -> None:
        """Hear of requests, of what pages write on their console, and of what their policies forbid."""
        for domain in ("Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def requests(self) -> list[str]:
        """Addresses asked for since `listen`."""
        return [one["params"]["request"]["url"] for one in self.heard if one.get("method") == "Network.requestWillBeSent"]

    def complaints(self) -> list[str]:
        """Errors and broken policies since `listen`."""
        found = []
        for one in self.heard:
            if one.get("method") == "Runtime.exceptionThrown":
                found.append(json.dumps(one["params"]["exceptionDetails"])[:400])
            elif one.get("method") == "Log.entryAdded" and one["params"]["entry"]["level"] == "error":
                entry = one["params"]["entry"]
                found.append(f"{entry['text']} {entry.get('url', '')}")
        return found

    def open(self, url: str) -> None:
        """Go to an address and wait until the page is there."""
        self.call("Page.navigate", url=url)
        until(lambda: self.value("document.readyState === 'complete' && location.href") == url, f"{url} does not load")

    def back(self) -> None:
        """Go back to the page before, as its button does."""
        told = self.call("Page.getNavigationHistory")
        self.call("Page.navigateToHistoryEntry", entryId=told["entries"][told["currentIndex"] - 1]["id"])

    def value(self, expression: str) -> Any:
        """Value of an expression in the page; a promise's, when it has one."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        return found["result"].get("value")

    def mouse(self, kind: str, x: float, y: float) -> None:
        """Move or press the mouse, as a visitor would."""
        button = {"button": "left", "clickCount": 1} if kind != "mouseMoved" else {}
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

    def click(self, selector: str) -> None:
        """Click in the middle of an element, which is brought into view."""
        x, y = self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoViewIfNeeded?.(); "
            "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2] })()"
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.mouse(kind, x, y)

    def key(self, name: str, text: str = "") -> None:
        """Press a key, such as ``Tab`` or ``Enter``."""
        code = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}.get(name, 0)
        text = "\r" if name == "Enter" else text
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=name,
                windowsVirtualKeyCode=code,
                text=text if kind == "keyDown" else "",
            )

    def look(self, width: int, height: int, *, dark: bool) -> None:
        """Let pages have a size, and the reader a taste."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme, {"name": "prefers-reduced-motion", "value": "reduce"}])

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Keep what is seen, or the whole page, as PNG."""
        taken = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(taken["data"]))

    def kill(self) -> None:
        """End it as kill -9 does."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """End it; a kill does."""
        if self.process.poll() is None:
            self.kill()
