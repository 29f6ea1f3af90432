"""Chromium, Firefox and WebKit, driven alike; Firefox without a package of its own, by WebDriver BiDi over a web socket.

All have the part of `benchmarks.chromium.Browser` that tests of the beacon need.
"""

import json
import shutil
from itertools import count
from pathlib import Path
from typing import Any, Final, Protocol

from websockets.sync.client import connect

from tests.services.beacon.chromium import Browser as Chromium
from tests.services.beacon.chromium import missing
from tests.services.beacon.webkit import Process, WebKit
from tests.waiting import PATIENCE_S, until

MIDDLE: Final = (
    "(() => {{ const e = document.querySelector({selector}); e.scrollIntoView({{ block: 'center' }}); "
    "const b = e.getBoundingClientRect(); return [Math.round(b.x + b.width / 2), Math.round(b.y + b.height / 2)] }})()"
)


class Engine(Protocol):
    """Browser with one tab."""

    def open(self, url: str) -> None:
        """Go to an address and wait until the page is there."""
        ...

    def back(self) -> None:
        """Go back to the page before, as the browser's button does."""
        ...

    def value(self, expression: str) -> Any:
        """Value of an expression in the page; a promise's, when it has one."""
        ...

    def click(self, selector: str) -> None:
        """Click in the middle of an element, as a person does."""
        ...

    def close_tab(self) -> None:
        """Close the tab, as a person does, and go on in another."""
        ...

    def kill(self) -> None:
        """End it as kill -9 does."""
        ...


class Firefox(Process):
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

    def back(self) -> None:
        """Go back to the page before."""
        self.call("browsingContext.traverseHistory", context=self._tab, delta=-1)

    def close_tab(self) -> None:
        """Close the tab, and go on in another."""
        before = self._tab
        self._tab = self.call("browsingContext.create", type="tab")["context"]
        self.call("browsingContext.close", context=before)

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


ENGINES: Final = {"chromium": Chromium, "firefox": Firefox, "webkit": WebKit}
