"""A real browser on a page of elsewhere, and what it can do to Prefect's server: nothing. Without Chromium, this is left out.

The same page against a server that lets everything through shows that every attempt of it does arrive.
"""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest

from flows import access
from flows.server import Server
from tests.waiting import until

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NAMES: Final = {"stranger": "evil.example", "rebound": "rebound.example"}  # all lead to this machine, see `browsing`
SOME_ID: Final = "00000000-0000-4000-8000-000000000000"
PAGE: Final = """<!doctype html><iframe name="hidden"></iframe><script>
const api = "%(api)s", rebound = "%(rebound)s", found = {};
const flow = JSON.stringify({name: "stranger"}), json = {"Content-Type": "application/json"};
const step = JSON.stringify({pull_steps: [{"prefect.deployments.steps.run_shell_script": {script: "true"}}]});
const ask = async (name, url, options) => {
  try { const answer = await fetch(url, options); found[name] = answer.type === "opaque" ? "not told" : answer.status; }
  catch (error) { found[name] = "blocked"; }
};
const socket = () => new Promise(done => {
  const made = new WebSocket(api.replace("http", "ws") + "/events/out", "prefect");
  made.onopen = () => { found["web socket"] = "open"; done(); };
  made.onerror = () => { found["web socket"] = "blocked"; done(); };
});
const form = () => new Promise(done => {
  const made = document.createElement("form"), field = document.createElement("input");
  made.method = "POST"; made.action = api + "/flows/"; made.enctype = "text/plain"; made.target = "hidden";
  field.name = '{"name": "stranger", "x": "'; field.value = '"}';
  made.append(field); document.body.append(made);
  document.querySelector("iframe").onload = () => { found["form"] = "sent"; done(); };
  made.submit();
});
(async () => {
  await ask("post", api + "/flows/", {method: "POST", headers: json, body: flow});
  await ask("post without asking", api + "/flows/", {method: "POST", mode: "no-cors", body: flow});
  await ask("with credentials", api + "/flows/", {method: "POST", headers: json, body: flow, credentials: "include"});
  await ask("change", api + "/deployments/%(id)s", {method: "PATCH", headers: json, body: step});
  await ask("read", api + "/flows/filter", {method: "POST", headers: json, body: "{}"});
  await ask("by a name that leads here", rebound + "/flows/", {method: "POST", mode: "no-cors", body: flow});
  await socket();
  await form();
  await fetch("/done", {method: "POST", body: JSON.stringify(found)});
})();
</script>"""


class Site(ThreadingHTTPServer):
    """A stranger's site with a page, what the page reports; and, as a target, a server that lets everything through."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Visit)
        self.page, self.found, self.got = "", dict[str, Any](), list[tuple[str, str, str]]()
        self.url = f"http://127.0.0.1:{self.server_port}/api"


class Visit(BaseHTTPRequestHandler):
    server: Site

    def answered(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/done":
            self.server.found = json.loads(body)
        elif self.path.startswith("/api"):
            self.server.got.append((self.command, self.path, self.headers.get("Host", "")))
        self.send_response(200)
        self.send_header("Access-Control-Allow-Origin", self.headers.get("Origin", "*"))
        for name, value in (("Methods", "*, POST, PATCH"), ("Headers", "content-type"), ("Credentials", "true")):
            self.send_header(f"Access-Control-Allow-{name}", value)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(self.server.page.encode())

    do_GET = do_POST = do_PATCH = do_OPTIONS = answered  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def site() -> Iterator[Site]:
    made = Site()
    threading.Thread(target=made.serve_forever, daemon=True).start()
    try:
        yield made
    finally:
        made.shutdown()
        made.server_close()


@contextmanager
def browsing(url: str, profile: Path) -> Iterator[None]:
    """Chromium on a page, as anybody has it open; strangers' names lead to this machine."""
    assert CHROMIUM is not None
    rules = ", ".join(f"MAP {name} 127.0.0.1" for name in NAMES.values())
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    browser = subprocess.Popen([*command, f"--host-resolver-rules={rules}", "--remote-debugging-port=0", url], **quiet)
    try:
        yield
    finally:
        browser.terminate()
        browser.wait()


def visited(api: str, profile: Path) -> dict[str, Any]:
    """What a stranger's page reports of its attempts at an API."""
    with site() as stranger:
        rebound = api.replace("127.0.0.1", NAMES["rebound"])
        stranger.page = PAGE % {"api": api, "rebound": rebound, "id": SOME_ID}
        with browsing(f"http://{NAMES['stranger']}:{stranger.server_port}/", profile):
            until(lambda: stranger.found, "the page has not reported")
        return stranger.found


needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="left out: a real browser's attack on Prefect, no Chromium here")


@needs_chromium
@pytest.mark.slow
def test_a_page_of_elsewhere_in_a_real_browser_runs_and_reads_nothing(tmp_path: Path) -> None:
    server = Server(tmp_path / "home", full=True)
    try:
        server.wait()
        found = visited(server.url, tmp_path / "profile")
        flows = access.post(server.url, "flows/filter", {}, server.secret)
    finally:
        server.stop()
    blocked = ("post", "with credentials", "change", "read", "web socket")
    told = {"post without asking": "not told", "by a name that leads here": "not told", "form": "sent"}
    assert found == dict.fromkeys(blocked, "blocked") | told
    assert flows == []


@needs_chromium
@pytest.mark.slow
def test_the_same_page_reaches_a_server_that_lets_it(tmp_path: Path) -> None:
    with site() as target:
        found = visited(target.url, tmp_path / "profile")
        got = target.got
    changed = ("PATCH", f"/api/deployments/{SOME_ID}", f"127.0.0.1:{target.server_port}")
    assert [found[name] for name in ("post", "with credentials", "change", "read", "form")] == [200, 200, 200, 200, "sent"]
    assert changed in got
    assert [host for method, path, host in got if (method, path) == ("POST", "/api/flows/")].count(
        f"{NAMES['rebound']}:{target.server_port}"
    ) == 1
    assert sum((method, path) == ("POST", "/api/flows/") for method, path, _ in got) == 5
