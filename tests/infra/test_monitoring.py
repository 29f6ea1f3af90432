"""Alerts and dashboards: they ask only for what is exported, and each alert fires where it should."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families

from models.degraded import REASONS
from services.gauges import ABOUT, PREFIX
from services.metrics import Metrics

FOLDER = Path(__file__).parents[2] / "infra" / "deploy" / "chart" / "monitoring"
BOARDS = sorted(FOLDER.glob("*.json"))
NAME = re.compile(rf"\b{PREFIX}\w+")


def exported() -> set[str]:
    """Names of all series that the service's page of metrics has once everything has happened."""
    counted = Metrics()
    counted.answered("/v1/intent", 200, 0.1)
    counted.judged("accepted", 1)
    counted.decided("logged", 1)
    counted.shadowed("agrees")
    counted.admitted({"no_consent": 1})
    families = text_string_to_metric_families(counted.text().decode())
    return {sample.name for family in families for sample in family.samples} | {f"{PREFIX}{name}" for name in ABOUT}


def questions() -> list[str]:
    """All expressions of alerts and dashboards."""
    rules = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"][0]["rules"]
    boards = [json.loads(file.read_text()) for file in BOARDS]
    return [one["expr"] for one in rules] + [t["expr"] for board in boards for p in board["panels"] for t in p["targets"]]


def test_there_are_ten_alerts_that_say_what_to_do_and_four_dashboards() -> None:
    rules = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"][0]["rules"]
    assert len({one["alert"] for one in rules}) == 10
    assert all(one["annotations"].keys() == {"summary", "action"} for one in rules)
    assert [board.stem for board in BOARDS] == ["log", "models", "signals", "traffic"]


def test_every_question_names_what_is_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    there = exported()
    for expression in questions():
        assert set(NAME.findall(expression)) <= there, expression
        for names in re.findall(r'attune_degraded_total\{name=~?"([^"]+)"', expression):
            assert set(names.split("|")) <= REASONS.keys()


def test_alerts_fire_where_they_should_and_are_silent_where_all_is_well() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not there: apt-get install prometheus")
    for words in (["check", "rules", "alerts.yaml"], ["test", "rules", "alerts.test.yaml"]):
        run = subprocess.run([promtool, *words], cwd=FOLDER, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr
