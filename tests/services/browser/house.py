"""A service, a demo shop and a console on ports of loopback, for tests in a browser; and what these take from npm."""

import fcntl
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

import pytest
import uvicorn

from infra.settings import Settings
from infra.store.engines import closed_store
from services.api.app import build_app
from services.console import access
from services.console.access import Doorkeeper
from services.console.app import SignIn
from services.console.app import build as build_console
from services.console.guard import Guard
from services.console.serve import COOKIE, names_of
from services.console.sources import Sources
from services.demo_shop.app import build as build_shop
from services.demo_shop.attune import Partner
from services.demo_shop.pages import Settings as About
from services.local_keys import DEMO, local_key, page_key
from tests.waiting import PATIENCE_S, free_port, until

HERE: Final = Path(__file__).parent
AXE: Final = HERE / "node_modules" / "axe-core" / "axe.min.js"
BLOCKER: Final = HERE / "node_modules" / "@ghostery" / "adblocker" / "package.json"
RULES: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


class Served:
    """An application on a port, in a thread."""

    def __init__(self, app: Any, port: int) -> None:
        self.server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", port, log_level="error", timeout_graceful_shutdown=1))
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        until(lambda: self.server.started, "a server does not start")

    def close(self) -> None:
        """Stop it."""
        self.server.should_exit = True
        self.thread.join(PATIENCE_S)


class House:
    """All of it over one home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        ports = [free_port() for _ in range(3)]
        self.attune, self.shop, self.console = (f"http://127.0.0.1:{port}" for port in ports)
        key = page_key(home, [self.shop])
        self.partner = Partner(local_key(home, DEMO), self.attune, self.shop)
        about = About(attune=self.attune, key=key, bots=True, console=self.console)
        shop, pages = build_shop(self.partner, about, ["127.0.0.1"])
        self.partner.hear(pages.heard)
        self.sources = Sources(home)
        self.sources.models()
        keeper = Doorkeeper(closed_store(home), lambda: time.time_ns() // 1000)
        app, self._console = build_console(self.sources, keeper, SignIn(COOKIE, False))
        apps = (build_app(Settings(home=home)), shop, Guard(app, names_of("127.0.0.1", ports[2])))
        self.served = [Served(app, port) for app, port in zip(apps, ports, strict=True)]
        until(self._is_ready, "the service is not ready")

    def _is_ready(self) -> bool:
        with suppress(OSError), urlopen(f"{self.attune}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    def link(self) -> str:
        """A link into the console, for an administrator."""
        return f"{self.console}/enter/{access.add(self.home, 'tester', access.ADMIN, time.time_ns() // 1000)}"

    def close(self) -> None:
        """Stop all."""
        self._console.close()
        for one in reversed(self.served):
            one.close()
        self.sources.close()


def from_npm(wanted: Path, what: str) -> Path:
    """A file of a package; fetched once by npm where there is one, otherwise the test is left out by name."""
    with (HERE / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests in other processes want the same
        if not wanted.exists() and shutil.which("npm"):
            words = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            subprocess.run(words, cwd=HERE, check=False, capture_output=True, timeout=120)
    if not wanted.exists():
        pytest.skip(f"{what}; to have it (Node): cd tests/services/browser && npm ci")
    return wanted


def axe() -> str:
    """The rules of accessibility, as a script."""
    return from_npm(AXE, "axe-core is not here, so accessibility was not checked").read_text(encoding="utf-8")


def stopped_by_a_blocker(requests: list[dict[str, str]]) -> list[str | None]:
    """The rule of `rules.txt` by which a blocker's engine stops a request, or None, for each.

    Parameters
    ----------
    requests
        Each with `url`, `sourceUrl` (the page) and `type`, as extensions are told: ``script``, ``xmlhttprequest``, ``ping`` …
    """
    from_npm(BLOCKER, "no blocker's engine is here, so none was asked")
    command = ["node", str(HERE / "blocked.mjs"), str(HERE / "rules.txt")]
    done = subprocess.run(command, input=json.dumps(requests), capture_output=True, text=True, check=True, timeout=60)
    return list(json.loads(done.stdout))


def violations(value: Callable[[str], Any], script: str) -> list[str]:
    """Violations of WCAG 2.2 AA in the page that is open: rule, and the first element."""
    if value("typeof axe") != "object":
        value(f"{script}; undefined")
    options = json.dumps({"runOnly": RULES, "resultTypes": ["violations"]})
    told = value(
        f"axe.run(document, {options}).then(r => r.violations.map(v => v.id + ': ' + v.nodes[0].target.join(' ') + ' ' + "
        "v.nodes[0].failureSummary.slice(0, 200)))"
    )
    return list(told)
