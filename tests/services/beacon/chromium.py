"""A Chromium without a window, driven by its DevTools protocol over a web socket: no driver, no package of its own."""

import itertools
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.waiting import until

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --remote-debugging-port=0 --window-size=1280,800 about:blank"
)


def command() -> str:
    """The browser; where there is none, its tests are left out, or fail if the environment says that they are required."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found:
        return found
    said = "no Chromium here, so the beacon was not tried in a browser; to have it: apt-get install chromium"
    if os.environ.get("ATTUNE_TEST_BROWSERS") == "required":
        pytest.fail(said)
    pytest.skip(said)


class Browser:
    """Browser with one tab."""

    def __init__(self, profile: Path) -> None:
        port = profile / "DevToolsActivePort"
        port.unlink(missing_ok=True)
        words = [command(), f"--user-data-dir={profile}", *FLAGS.split()]
        # With its children in a group of its own, so that a kill ends all of them at once.
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        until(lambda: port.exists() and len(port.read_text().split()) == 2, "Chromium does not start")
        number, path = port.read_text().split()
        self._socket = connect(f"ws://127.0.0.1:{number}{path}", max_size=None)
        self._numbers = itertools.count(1)
        self._session = ""
        tab = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        self.call("Page.enable")

    def call(self, method: str, **params: Any) -> Any:
        """Result of a command of the protocol."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params} | ({"sessionId": self._session} if self._session else {})
        self._socket.send(json.dumps(message))
        while (answer := json.loads(self._socket.recv(timeout=30))).get("id") != number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, url: str) -> None:
        """Go to an address and wait until the page is there."""
        self.call("Page.navigate", url=url)
        until(lambda: self.value("document.readyState === 'complete' && location.href") == url, f"{url} does not load")

    def value(self, expression: str) -> Any:
        """Value of an expression in the page; a promise's, when it has one."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        return found["result"].get("value")

    def mouse(self, kind: str, x: float, y: float) -> None:
        """Move or press the mouse, as a visitor would."""
        button = {"button": "left", "clickCount": 1} if kind != "mouseMoved" else {}
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

    def click(self, selector: str) -> None:
        """Click in the middle of an element."""
        x, y = self.value(
            f"(() => {{ const b = document.querySelector({json.dumps(selector)}).getBoundingClientRect(); "
            "return [b.x + b.width / 2, b.y + b.height / 2] })()"
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.mouse(kind, x, y)

    def kill(self) -> None:
        """End it as kill -9 does."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """End it; a kill does, where the test has not done so."""
        if self.process.poll() is None:
            self.kill()
