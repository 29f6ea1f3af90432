"""The schedule: what is declared can be read, a scheduled run really fires, and so does one that drift asks for."""

import json
import math
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from flows import access, drift
from flows.schedule import DECLARED, read
from flows.server import connected
from infra import layout
from tests.waiting import PATIENCE_S, free_port, until

SOON = """
deployments:
  - name: soon
    entrypoint: flows.validate.validate_events
    parameters: {home: "{{ $ATTUNE_HOME }}"}
    concurrency_limit: 1
    schedules: [{interval: 10}]
  - name: every-minute
    entrypoint: flows.validate.validate_events
    parameters: {home: "{{ $ATTUNE_HOME }}"}
    schedules: [{cron: "* * * * *"}]
  - name: on-drift
    entrypoint: flows.validate.validate_events
    parameters: {home: "{{ $ATTUNE_HOME }}"}
"""


def test_the_declared_deployments_name_flows_of_ours_with_a_schedule_each(tmp_path: Path) -> None:
    found = read(DECLARED[0], tmp_path)
    assert {one["entrypoint"] for one in found} == {
        "flows.retrain.retrain",
        "flows.validate.validate_events",
        "flows.materialize.materialize_features",
        "flows.drift.watch",
        "flows.tune.tune_profiles",
    }
    for one in found:
        assert one["parameters"] == {"home": str(tmp_path)}
        assert one["concurrency_limit"] == 1
        assert all("cron" in each for each in one["schedules"])


def test_the_retraining_waits_for_the_event_that_drift_sends(tmp_path: Path) -> None:
    triggers = {one["entrypoint"]: one["triggers"] for one in read(DECLARED[0], tmp_path) if "triggers" in one}
    (trigger,) = triggers.pop("flows.retrain.retrain")
    assert triggers == {}
    assert (trigger["expect"], trigger["match"]) == ([drift.EVENT], {"prefect.resource.id": drift.RESOURCE})


@pytest.mark.parametrize("text", ["", "deployments: []", "a: [", "- 1"])
def test_a_declaration_that_says_nothing_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prefect.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="deployments"):
        read(path, tmp_path)


def asked(home: Path, path: str, body: Any) -> Any:
    """What the schedule's Prefect says to whoever may read its files; None before it is up."""
    try:
        secret = access.kept(home / layout.PREFECT_AUTH)
        return access.post((home / layout.PREFECT_URL).read_text(), path, body, secret)
    except OSError:
        return None


def flow_runs(home: Path, *states: str) -> list[dict[str, Any]]:
    return asked(home, "flow_runs/filter", {"limit": 100, "flow_runs": {"state": {"type": {"any_": states}}}}) or []


def attacked(home: Path, url: str, deployment: str) -> list[int]:
    """Statuses of what a page of elsewhere does to run a command: it changes a deployment, and starts it."""
    shell = {"pull_steps": [{"prefect.deployments.steps.run_shell_script": {"script": f"touch {home / 'PWNED'}"}}]}
    return [
        status_of(url, method, f"deployments/{deployment}{path}", body, headers)
        for headers in ({"Origin": "https://evil.example"}, {}, {"Host": "evil.example"})
        for method, path, body in (("PATCH", "", shell), ("POST", "/create_flow_run", {}))
    ]


def status_of(url: str, method: str, path: str, body: Any, headers: dict[str, str]) -> int:
    headers = {"Content-Type": "application/json", **headers}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{url}/{path}", json.dumps(body).encode(), headers, method=method)):
            return 200
    except urllib.error.HTTPError as error:
        return error.code


def ended(home: Path) -> dict[str, dict[str, Any]]:
    """Runs that ended, one of the clock's and one of the automation's, if there were any."""
    runs = flow_runs(home, "COMPLETED", "FAILED", "CRASHED")
    return {"clock" if run["auto_scheduled"] else "drift": run for run in runs}


def declaration(path: Path) -> Path:
    """The schedules of this test, and beside them the real trigger on a flow that is quick."""
    soon = yaml.safe_load(SOON)
    retrain = next(one for one in read(DECLARED[0], path) if one["entrypoint"] == "flows.retrain.retrain")
    soon["deployments"][-1]["triggers"] = retrain["triggers"]
    declared = path / "soon.yaml"
    declared.write_text(yaml.safe_dump(soon))
    return declared


@pytest.mark.slow
def test_runs_fire_on_time_and_on_drift_and_the_schedule_stops_cleanly(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    home = tmp_path / "home"
    command = [sys.executable, "-m", "flows.schedule", str(home), str(port), str(declaration(tmp_path))]
    schedule = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:

        def meanwhile(condition: Callable[[], object]) -> None:
            until(lambda: condition() or schedule.poll() is not None, poll_s=0.5)

        meanwhile(lambda: asked(home, "automations/count", {}))
        for one in asked(home, "deployments/filter", {}):
            assert set(attacked(home, url, one["id"])) <= {401, 403}
        rule = {"name": "features", "verdict": "fail", "observed": 0.31, "limit": 0.2, "about": ""}
        announced_s = -math.inf

        def has_ended(what: str) -> bool:
            nonlocal announced_s
            if time.monotonic() - announced_s > 30:  # as the hourly look does, until somebody has heard
                with connected(home, None):
                    drift.announce({"rules": [rule], "champion": 1})
                announced_s = time.monotonic()
            return what in ended(home)

        meanwhile(lambda: has_ended("drift") and has_ended("clock"))
        done = ended(home)
        assert set(done) == {"clock", "drift"}
        assert {run["state_type"] for run in done.values()} == {"COMPLETED"}
        assert done["drift"]["created_by"]["type"] == "AUTOMATION"
        # With an SQLAlchemy that Prefect does not stand, no run of a cron schedule is ever created.
        meanwhile(lambda: len(flow_runs(home, "SCHEDULED")) > 1)
        assert schedule.poll() is None
        assert (home / layout.PREFECT_URL).read_text() == url
        secret = access.kept(home / layout.PREFECT_AUTH)
        assert secret
        assert not any(secret.encode() in log.read_bytes() for log in home.rglob("*.log"))
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert f"another schedule is running on {home}" in second.stderr
    finally:
        schedule.send_signal(signal.SIGTERM)
        said = schedule.communicate(timeout=PATIENCE_S)[1]
    assert schedule.returncode == 0, said
    assert f"Prefect's pages: http://127.0.0.1:{port}" in said
    assert "flows.validate.validate_events (on-drift): on attune.drift.detected" in said
    assert secret not in said
    assert not {layout.PREFECT_URL, layout.PREFECT_AUTH, "PWNED"} & {path.name for path in home.iterdir()}


def test_ctrl_c_stops_a_schedule_that_a_shell_put_into_the_background(tmp_path: Path) -> None:
    """Such a process starts with SIGINT ignored. This one waits for somebody to write the declaration."""
    declared = tmp_path / "declared.yaml"
    os.mkfifo(declared)
    command = [sys.executable, "-m", "flows.schedule", str(tmp_path / "home"), str(free_port()), str(declared)]
    shell = "trap '' INT; exec " + shlex.join(command)
    schedule = subprocess.Popen(["sh", "-c", shell], stderr=subprocess.PIPE, text=True)
    # The home is made after the signal's handler is set.
    until(lambda: (tmp_path / "home").exists() or schedule.poll() is not None)
    schedule.send_signal(signal.SIGINT)
    said = schedule.communicate(timeout=PATIENCE_S)[1]
    assert schedule.returncode == -signal.SIGINT, said
