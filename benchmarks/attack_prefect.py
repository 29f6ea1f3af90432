"""Attacks on the scheduler's server: a page of a stranger, another user of the machine, a name that leads here.

Each tries what runs a shell command where nothing stands in the way: a deployment is given a pull step, and a run is asked for.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from benchmarks.attack_target import Outcome
from flows.server import Server

EVIL: Final = "https://evil.example"
REFUSED: Final = (400, 401, 403, 405)


def run(home: Path, long: bool) -> Iterator[Outcome]:
    """The requests of a foreign page against a server with pages and schedules, and against that of one run."""
    for full in (True, False):
        server = Server(home, full=full)
        try:
            server.wait()
            kind = "the scheduler's server" if full else "the server of a retraining"
            yield from _attacks(server.url, kind)
        finally:
            server.stop()


def _attacks(url: str, kind: str) -> Iterator[Outcome]:
    foreign = {"Origin": EVIL}
    step = {"pull_steps": [{"prefect.deployments.steps.run_shell_script": {"script": "true"}}]}
    asks: tuple[tuple[str, str, str, Mapping[str, str], object], ...] = (
        ("a foreign page makes a flow", "POST", "/flows/", foreign, {"name": "stranger"}),
        ("a foreign page reads the flows", "POST", "/flows/filter", foreign, {}),
        ("no secret, no origin", "POST", "/flows/filter", {}, {}),
        ("a deployment is given a shell command", "PATCH", f"/deployments/{'0' * 8}-0000-0000-0000-{'0' * 12}", foreign, step),
        ("a foreign Host", "POST", "/flows/filter", {"Host": "evil.example"}, {}),
    )
    for name, method, path, headers, body in asks:
        status, _ = answer(url + path, method, headers, body)
        yield Outcome(f"{kind}: {name}", "refused", f"answered {status}", status in REFUSED)
    status, allowed = answer(f"{url}/flows/", "OPTIONS", foreign | {"Access-Control-Request-Method": "POST"}, None)
    yield Outcome(f"{kind}: a preflight", "no origin is allowed", f"allows {allowed or 'none'}", allowed not in ("*", EVIL))


def answer(url: str, method: str, headers: Mapping[str, str], body: object) -> tuple[int, str]:
    """Status of an answer, and the origin that it allows."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as found:
            return found.status, found.headers.get("access-control-allow-origin", "")
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("access-control-allow-origin", "")
