"""WebKitGTK under a display of its own: driven by WebDriver classic over HTTP, or left to itself."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tests.services.beacon.chromium import missing
from tests.waiting import PATIENCE_S, free_port, until

MINI_BROWSERS: Final = (
    "/usr/lib/*/webkit2gtk-4.1/MiniBrowser",
    "/usr/lib/*/webkit2gtk-4.0/MiniBrowser",
    "/usr/libexec/*/MiniBrowser",
)


class Process:
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


class Displayed(Process):
    """Program of WebKitGTK under a display of its own, with what it keeps below a folder."""

    def __init__(self, profile: Path, *words: str) -> None:
        profile.mkdir(parents=True, exist_ok=True)
        number = 100 + free_port() % 20_000
        display, door = f":{number}", f"/tmp/.X11-unix/X{number}"
        shown = f"Xvfb {display} -screen 0 1280x900x24 -nolisten tcp & until [ -S {door} ]; do sleep 0.05; done"
        script = f"{shown}; exec {shlex.join(words)}"
        homes = dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), str(profile))
        super().__init__(
            ["sh", "-c", script], DISPLAY=display, **homes, WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS="1",
            WEBKIT_DISABLE_COMPOSITING_MODE="1",
        )  # fmt: skip


def mini_browser() -> str:
    """Path of WebKitGTK's own browser."""
    found = next((str(path) for pattern in MINI_BROWSERS for path in Path("/").glob(pattern.lstrip("/"))), "")
    if not (found and shutil.which("WebKitWebDriver") and shutil.which("Xvfb")):
        missing("no WebKit here; to have it: apt-get install webkit2gtk-driver xvfb")
    return found


class Undriven(Displayed):
    """WebKitGTK's browser at an address, as people start it: driven it would keep nothing beyond its end."""

    def __init__(self, profile: Path, url: str) -> None:
        super().__init__(profile, mini_browser(), url)


class WebKit(Displayed):
    """WebKitGTK by WebDriver classic."""

    def __init__(self, profile: Path) -> None:
        browser, port = mini_browser(), free_port()
        super().__init__(profile, "WebKitWebDriver", f"--port={port}")
        self._base = f"http://127.0.0.1:{port}"
        until(self._is_ready, "WebKitWebDriver does not start")
        options = {"browserName": "MiniBrowser", "webkitgtk:browserOptions": {"binary": browser, "args": ["--automation"]}}
        self._base += "/session/" + self._asked("/session", {"capabilities": {"alwaysMatch": options}})["sessionId"]

    def _is_ready(self) -> bool:
        with suppress(OSError):
            return bool(self._asked("/status")["ready"])
        time.sleep(0.1)
        return False

    def _asked(self, path: str, body: dict[str, Any] | None = None, *, delete: bool = False) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, method="DELETE" if delete else None)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path}: {error.read().decode()[:400]}") from None

    def open(self, url: str) -> None:
        """Go to an address and wait until the page is there."""
        self._asked("/url", {"url": url})

    def back(self) -> None:
        """Go back to the page before."""
        self._asked("/back", {})

    def close_tab(self) -> None:
        """Close the tab, and go on in another."""
        other = self._asked("/window/new", {"type": "tab"})["handle"]
        self._asked("/window", delete=True)
        self._asked("/window", {"handle": other})

    def value(self, expression: str) -> Any:
        """Value of an expression in the page; a promise's, when it has one."""
        script = f"const done = arguments[0]; (async () => JSON.stringify(await ({expression})))().then(done)"
        text = self._asked("/execute/async", {"script": script, "args": []})
        return None if text is None else json.loads(text)

    def click(self, selector: str) -> None:
        """Click in the middle of an element."""
        found = self._asked("/element", {"using": "css selector", "value": selector})
        self._asked(f"/element/{next(iter(found.values()))}/click", {})
