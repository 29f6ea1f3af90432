"""The whole retraining flow, as a person starts it: what it leaves, and what a kill at any moment cannot break."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flows import retrain
from flows.simulate import write_shop
from infra import layout, registry
from infra.lock import held
from models.model_specs import MODEL_NAMES
from models.simulator import ShopConfig
from tests.waiting import PATIENCE_S

SHOP = ShopConfig(n_users=120, n_days=7, seed=3)
RUN = """
import json, sys
from pathlib import Path
from flows.retrain import run
events = Path(sys.argv[2]) if len(sys.argv) > 2 else None
print(json.dumps(run(Path(sys.argv[1]), events, "attune" if events else None)))
"""


def started(home: Path, *events: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(home), *map(str, events)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finished(process: "subprocess.Popen[str]") -> dict[str, Any]:
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shop") / "shop.jsonl"
    write_shop(SHOP, path, progress=False)
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("retrain") / "home"


@pytest.fixture(scope="module")
def first(home: Path, shop: Path) -> dict[str, Any]:
    """The first run on a fresh home."""
    return finished(started(home, shop))


def test_the_first_run_makes_champions_of_all_models(first: dict[str, Any], home: Path) -> None:
    assert first["versions"] == first["champions"] == dict.fromkeys(MODEL_NAMES, 1)
    assert first["promoted"]
    assert first["counts"]["accepted"] > 1000
    assert {rule["name"]: rule["verdict"] for rule in first["rules"]}["online = offline"] == "pass"
    assert registry.champions(home) == first["versions"]
    assert registry.verify_audit(home) == 3 * len(MODEL_NAMES)  # challenger, champion, challenger no more


def test_every_step_says_what_it_took(first: dict[str, Any]) -> None:
    assert set(first["seconds"]) == {"start", "ingest", "validate", "materialize", "train", "evaluate", "promote"}


def test_the_log_of_the_run_in_prefect_has_the_steps_with_their_numbers(first: dict[str, Any], home: Path) -> None:
    with closing(sqlite3.connect(next((home / layout.PREFECT).rglob("*.db")))) as connection:
        told = [text for (text,) in connection.execute("SELECT message FROM log")]
    assert any(text.startswith(f"ingest: {first['counts']['accepted']:,} accepted") for text in told), told
    assert any(text.startswith("promote: verdict ") for text in told)


def test_a_version_tells_where_it_comes_from(first: dict[str, Any], home: Path) -> None:
    lineage = {row.name: row.lineage for row in registry.versions(home)}["next_action"]
    assert lineage["window"]["n_events"] == first["counts"]["accepted"]
    assert lineage["periods"]["valid_from_us"] < lineage["periods"]["test_from_us"] < lineage["window"]["last_event_us"]
    assert lineage["validation"]["passed"]
    assert lineage["feature_service"] == "next_action_v1"
    assert lineage["code"]["attune"]
    assert lineage["params"]["action"]["n_rounds"] > 0


def test_the_reports_are_written_and_strict_json(first: dict[str, Any], home: Path) -> None:
    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    for name in ("evaluation.json", "promotion.json"):
        report = json.loads((home / layout.REPORTS / name).read_text(), parse_constant=refuse)
        assert report
    assert (report["verdict"], report["versions"]) == (first["verdict"], first["versions"])
    assert set(report["evidence"]["lineage"]["candidate"]) == set(MODEL_NAMES)
    page = (home / layout.REPORTS / "promotion.html").read_text()
    assert f"{first['verdict']}, promoted" in page
    assert "Against the champion" not in page  # there was none


def test_nothing_is_left_of_the_run(first: dict[str, Any], home: Path) -> None:
    assert not (home / layout.RUNS).exists()
    assert registry.sweep(home) == 0


def test_a_second_run_on_a_home_says_so_and_stops(first: dict[str, Any], home: Path) -> None:
    lock = f"held(Path({str(home / layout.RETRAIN_LOCK)!r}), 'retrain')"
    code = f"from pathlib import Path; from infra.lock import held\nwith {lock}: print('held', flush=True); input()"
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    other.stdout.readline()
    with pytest.raises(BlockingIOError, match=f"another retrain is running on .* \\(process {other.pid}\\)"):
        retrain.run(home)
    other.communicate("\n")


@pytest.mark.slow
@pytest.mark.parametrize(("after", "number"), [("start", signal.SIGINT), ("materialize", signal.SIGKILL)])
def test_a_killed_run_leaves_the_champion(first: dict[str, Any], home: Path, after: str, number: signal.Signals) -> None:
    process = started(home)
    assert process.stderr is not None
    while (line := process.stderr.readline()) and not line.strip().startswith(after):
        pass
    assert line, "the run ended before it could be killed"
    time.sleep(random.uniform(0.0, 1.0))
    os.kill(process.pid, number)
    process.communicate(timeout=PATIENCE_S)
    assert registry.champions(home) == first["versions"]
    assert registry.load(home, "intent").meta["intents"]
    with held(home / layout.RETRAIN_LOCK, "retrain"):  # nobody holds it any more
        pass


@pytest.mark.slow
def test_the_run_after_the_kills_is_clean(first: dict[str, Any], home: Path) -> None:
    """Runs last: it moves the champion. The champion is one of before there was a ranker."""
    registry.set_alias(home, "champion", {"ranker": None}, action="test", actor="test", reason="an older home")
    (home / layout.ARTIFACTS / "intent" / "half-written").mkdir()
    (home / layout.RUNS / "of-a-killed-run").mkdir(parents=True, exist_ok=True)
    summary = finished(started(home))
    failed = [rule["name"] for rule in summary["rules"] if rule["verdict"] == "fail"]
    assert all("ranker" in name for name in failed), failed  # which the associations may beat in so small a shop
    promoted = {name for name, one in summary["models"].items() if one["promote"]}
    assert {"intent", "next_action", "associations"} <= promoted
    serve = {name: summary["versions"][name] if name in promoted else 1 for name in promoted | set(MODEL_NAMES) - {"ranker"}}
    assert registry.champions(home) == serve
    for name in set(MODEL_NAMES) - promoted - {"ranker"}:  # a shop too small to judge them: the champion stays
        assert summary["models"][name]["why"].startswith("not enough data: ")
    report = json.loads((home / layout.REPORTS / "evaluation.json").read_text())
    verdicts = {rule["name"]: rule["verdict"] for rule in summary["rules"]}
    assert verdicts["intent log loss"] == verdicts["lineage"] == verdicts["online = offline"] == "pass"
    assert {"intent log loss, new users", "intent log loss, after 3 events", "shadow", "weights size, MB"} <= set(verdicts)
    assert {"engagement AUC", "engagement calibration"} <= set(verdicts)
    assert "Against the champion" in (home / layout.REPORTS / "promotion.html").read_text()
    assert "ranker" in report["candidate"]["associations"]["overall"]
    assert "ranker" not in report["champion"]["associations"]["overall"]
    assert all(summary["versions"][name] > first["versions"][name] for name in MODEL_NAMES)
    assert registry.sweep(home) == 0
    assert not (home / layout.RUNS).exists()
    registry.verify_audit(home)


def test_a_parameter_that_is_none_is_said_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no parameter rate; there are n_rounds, n_leaves, learning_rate"):
        retrain.run(tmp_path / "home", settings={"intent.rate": "0.1"})
    with pytest.raises(ValueError, match=r"expected MODEL.PARAMETER, of intent, next_action, engagement"):
        retrain.run(tmp_path / "home", settings={"itnent.l2": "0.1"})


def test_without_events_the_run_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the event log is empty: bring events with attune ingest FILE"):
        retrain.run(tmp_path / "empty")
