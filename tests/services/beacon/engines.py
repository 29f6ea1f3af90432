"""Firefox and WebKit without packages of their own: WebDriver BiDi over a web socket, and WebDriver classic over HTTP.

Both have the part of `benchmarks.chromium.Browser` that tests of the beacon need, so one test drives all three engines.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, Final, Protocol

import pytest
from websockets.sync.client import connect

from benchmarks.chromium import PATIENCE_S, until
from tests.services.beacon.chromium import Browser as Chromium

MINI_BROWSERS: Final = (
    "/usr/lib/*/webkit2gtk-4.1/MiniBrowser",
    "/usr/lib/*/webkit2gtk-4.0/MiniBrowser",
    "/usr/libexec/*/MiniBrowser",
)
MIDDLE: Final = (
    "(() => {{ const e = document.querySelector({selector}); e.scrollIntoView({{ block: 'center' }}); "
    "const b = e.getBoundingClientRect(); return [Math.round(b.x + b.width / 2), Math.round(b.y + b.height / 2)] }})()"
)


class Engine(Protocol):
    """Browser with one tab."""

    def open(self, url: str) -> None:
        """Go to an address and wait until the page is there."""
        ...

    def value(self, expression: str) -> Any:
        """Value of an expression in the page; a promise's, when it has one."""
        ...

    def click(self, selector: str) -> None:
        """Click in the middle of an element, as a person does."""
        ...

    def kill(self) -> None:
        """End it as kill -9 does."""
        ...


def missing(said: str) -> None:
    """Leave a test out by name, or fail it where the environment says that browsers are required."""
    if os.environ.get("ATTUNE_TEST_BROWSERS") == "required":
        pytest.fail(said)
    pytest.skip(said)


class _Process:
    """Processes of a browser, in a group of their own."""

    def __init__(self, words: list[str], **environment: str) -> None:
        self.process = subprocess.Popen(
            words,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, **environment},
        )

    def kill(self) -> None:
        """End all of them as kill -9 does."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Firefox(_Process):
    """Firefox without a window, by WebDriver BiDi."""

    def __init__(self, profile: Path) -> None:
        found = shutil.which("firefox-esr") or shutil.which("firefox")
        if found is None:
            missing("no Firefox here; to have it: apt-get install firefox-esr")
        profile.mkdir(parents=True, exist_ok=True)
        said = profile / "WebDriverBiDiServer.json"
        said.unlink(missing_ok=True)
        words = [
            str(found),
            "--headless",
            "--no-remote",
            "--profile",
            str(profile),
            "--remote-debugging-port",
            "0",
            "about:blank",
        ]
        super().__init__(words, HOME=str(profile), MOZ_CRASHREPORTER_DISABLE="1")
        until(lambda: said.exists() and said.read_text().strip().endswith("}"), "Firefox does not start")
        told = json.loads(said.read_text())
        self._socket = connect(f"ws://{told['ws_host']}:{told['ws_port']}/session", max_size=None)
        self._numbers = count(1)
        self.call("session.new", capabilities={})
        self._tab = self.call("browsingContext.getTree")["contexts"][0]["context"]

    def call(self, method: str, **params: Any) -> Any:
        """Result of a command of the protocol.

        Raises
        ------
        RuntimeError
            If the browser refuses it.
        """
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while (answer := json.loads(self._socket.recv(timeout=PATIENCE_S))).get("id") != number:
            pass
        if answer["type"] == "error":
            raise RuntimeError(f"{method}: {answer['message']}")
        return answer["result"]

    def open(self, url: str) -> None:
        """Go to an address and wait until the page is there."""
        self.call("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    def value(self, expression: str) -> Any:
        """Value of an expression in the page; a promise's, when it has one."""
        whole = f"(async () => JSON.stringify(await ({expression})))()"
        found = self.call("script.evaluate", expression=whole, target={"context": self._tab}, awaitPromise=True)
        text = found["result"].get("value")
        return None if text is None else json.loads(text)

    def click(self, selector: str) -> None:
        """Click in the middle of an element."""
        x, y = self.value(MIDDLE.format(selector=json.dumps(selector)))
        steps = [
            {"type": "pointerMove", "x": x, "y": y},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        mouse = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": steps}
        self.call("input.performActions", context=self._tab, actions=[mouse])


class WebKit(_Process):
    """WebKitGTK under a display of its own, by WebDriver classic."""

    def __init__(self, profile: Path) -> None:
        driver, display = shutil.which("WebKitWebDriver"), shutil.which("Xvfb")
        browser = next((str(path) for pattern in MINI_BROWSERS for path in Path("/").glob(pattern.lstrip("/"))), None)
        if not (driver and display and browser):
            missing("no WebKit here; to have it: apt-get install webkit2gtk-driver xvfb")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        number = 100 + port % 800
        profile.mkdir(parents=True, exist_ok=True)
        script = f"{display} :{number} -screen 0 1280x900x24 -nolisten tcp & exec {driver} --port={port}"
        super().__init__(
            ["sh", "-c", script], DISPLAY=f":{number}", HOME=str(profile), XDG_DATA_HOME=str(profile),
            WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS="1", WEBKIT_DISABLE_COMPOSITING_MODE="1",
        )  # fmt: skip
        self._base = f"http://127.0.0.1:{port}"
        until(self._is_ready, "WebKitWebDriver does not start")
        options = {"browserName": "MiniBrowser", "webkitgtk:browserOptions": {"binary": browser, "args": ["--automation"]}}
        self._base += "/session/" + self._asked("/session", {"capabilities": {"alwaysMatch": options}})["sessionId"]

    def _is_ready(self) -> bool:
        with suppress(OSError):
            return bool(self._asked("/status")["ready"])
        time.sleep(0.1)
        return False

    def _asked(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(self._base + path, data), timeout=PATIENCE_S) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path}: {error.read().decode()[:400]}") from None

    def open(self, url: str) -> None:
        """Go to an address and wait until the page is there."""
        self._asked("/url", {"url": url})

    def value(self, expression: str) -> Any:
        """Value of an expression in the page; a promise's, when it has one."""
        script = f"const done = arguments[0]; (async () => JSON.stringify(await ({expression})))().then(done)"
        text = self._asked("/execute/async", {"script": script, "args": []})
        return None if text is None else json.loads(text)

    def click(self, selector: str) -> None:
        """Click in the middle of an element."""
        found = self._asked("/element", {"using": "css selector", "value": selector})
        self._asked(f"/element/{next(iter(found.values()))}/click", {})


ENGINES: Final = {"chromium": Chromium, "firefox": Firefox, "webkit": WebKit}
