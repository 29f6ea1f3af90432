"""Drift from a store: the same shop a week later has none, a shop whose visitors changed has, and who is told what."""

import json
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from flows import drift
from flows.commands import app
from flows.reports import drift as drift_page
from infra import layout, registry
from infra.store.statements.decisions import DECISION_COLUMNS
from models.engagement import from_log as log_engagement
from models.engagement import model as engagement_model
from models.features import sessions
from models.inference import examples, intent, labels
from models.simulator import Causes, ShopConfig, simulate
from tests.stores import append_events, connect

DAY_US = 86_400_000_000
BEFORE = ShopConfig(n_users=450, n_days=7, seed=5)
LATER = replace(BEFORE, seed=6, start_us=BEFORE.end_us)
NOW_US = LATER.end_us + DAY_US // 12


@pytest.fixture(scope="module")
def trained() -> Any:
    """A champion of the first week: its events and its model."""
    frame = simulate(BEFORE).events
    log, _ = examples.read_log(frame)
    model = intent.fit(sessions.fold(log.events, log.starts), labels.intent_probabilities(log.events, log.starts))
    earlier = log.started_us < BEFORE.start_us + 5 * DAY_US
    rows = engagement_model.Rows(
        sessions.fold(log.events, log.starts),
        labels.purchase_within(log.events, log.user_codes, 3600.0),
        ~earlier,
        log.started_us,
    )
    bought = log_engagement.learn(log.before(BEFORE.start_us + 5 * DAY_US), rows, BEFORE.start_us + 5 * DAY_US)
    assert bought is not None
    return frame, {"intent": intent.to_parts(model), "engagement": engagement_model.to_parts(bought)}


@pytest.fixture
def home(trained: Any, tmp_path: Path) -> Path:
    frame, parts = trained
    append_events(tmp_path, frame, received_at_us=BEFORE.end_us)
    window = {"first_event_us": BEFORE.start_us, "last_event_us": int(frame["occurred_at_us"].max())}
    versions = {name: registry.save(tmp_path, name, part, {"window": window}) for name, part in parts.items()}
    registry.set_champions(tmp_path, versions, actor="test", reason="test")
    return tmp_path


@cache
def later_events(config: ShopConfig) -> pd.DataFrame:
    events = simulate(config).events
    return events.assign(event_id="later-" + events["event_id"])


def with_later(home: Path, config: ShopConfig) -> dict[str, Any]:
    append_events(home, later_events(config), received_at_us=config.end_us)
    return drift.measure.fn(str(home), NOW_US)


def failed(report: dict[str, Any]) -> set[str]:
    return {rule["name"] for rule in report["rules"] if rule["verdict"] == "fail"}


def test_the_same_shop_a_week_later_has_not_drifted(home: Path) -> None:
    report = with_later(home, LATER)
    assert report["verdict"] == "no drift", report["sentence"]
    assert drift.tell(home, report) == "nothing to tell"
    assert sum(report["intent_mix"]["current"].values()) > 500


def test_what_was_before_the_champions_window_is_not_read(home: Path) -> None:
    report = with_later(home, LATER)
    earlier = simulate(replace(BEFORE, seed=7, start_us=BEFORE.start_us - 8 * DAY_US, p_intent=(0.05, 0.05, 0.85, 0.05))).events
    append_events(home, earlier.assign(event_id="earlier-" + earlier["event_id"]), received_at_us=BEFORE.end_us)
    again = drift.measure.fn(str(home), NOW_US)
    assert {**again, "measured_at": ""} == {**report, "measured_at": ""}


def test_visitors_who_come_for_something_else_are_seen(home: Path) -> None:
    report = with_later(home, replace(LATER, p_intent=(0.05, 0.05, 0.85, 0.05)))
    assert {"features", "intent mix"} <= failed(report)
    assert report["verdict"] == "drift"
    page = drift_page.page(json.loads(json.dumps(report)))
    assert "intent mix" in page
    assert "http" not in page


def test_visitors_who_buy_more_are_seen_by_the_reward(home: Path) -> None:
    report = with_later(home, replace(LATER, causes=Causes(base=-4.5)))
    assert {"purchases per session", "purchase calibration"} <= failed(report)


def decided(home: Path, at_us: list[int], rewarded: list[bool]) -> None:
    with closing(connect(home)) as connection, connection:
        for k, (at, has_reward) in enumerate(zip(at_us, rewarded, strict=True)):
            row = dict.fromkeys(DECISION_COLUMNS, "") | {
                "decision_id": f"d-{k}",
                "decided_at_us": at,
                "latency_us": 1,
                "propensity": 1.0,
                "snapshot": 0,
            }
            names = ", ".join(row)
            connection.execute(f"INSERT INTO decisions ({names}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))
            if has_reward:
                connection.execute("INSERT INTO rewards VALUES (?, 1, 0, 0)", (f"d-{k}",))


TWO_WEEKS = [BEFORE.start_us + k * (14 * DAY_US // 1_200) for k in range(1_200)]
CHANCE = np.random.default_rng(1).random(1_200)


def test_rewards_of_decisions_are_watched_where_there_are_enough(home: Path) -> None:
    decided(home, TWO_WEEKS, list(np.where(np.array(TWO_WEEKS) < BEFORE.end_us, 0.5, 0.1) > CHANCE))
    assert failed(with_later(home, LATER)) == {"reward per decision"}


def test_a_busy_hour_that_may_still_be_rewarded_is_no_drift(home: Path) -> None:
    lately = [NOW_US - k * 1_000_000 for k in range(800)]
    decided(home, [*TWO_WEEKS, *lately], [*(CHANCE < 0.5), *([False] * len(lately))])
    assert failed(with_later(home, LATER)) == set()


def test_a_week_with_hardly_anybody_says_nothing(home: Path) -> None:
    report = with_later(home, replace(LATER, n_users=30))
    assert report["verdict"] == "not enough data"
    assert "200 are needed" in report["rules"][0]["about"]


def test_after_a_retraining_nobody_is_asked_for_another(home: Path) -> None:
    report = {"verdict": "drift", "rules": [], "champion": 1}
    assert drift.tell(home, report).startswith("held back: a candidate was trained 0.0 hours ago")


def test_a_home_without_a_champion_says_so_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTUNE_HOME", str(tmp_path))
    said = CliRunner().invoke(app, ["drift"])
    assert said.exit_code == 0
    assert said.stdout == ("**not enough data**: there is no champion to compare with; train one with: attune retrain\n")


def test_the_report_is_kept_as_json_and_as_a_page(home: Path) -> None:
    report = drift.measure.fn(str(home), NOW_US)
    drift.keep(home, report)
    kept = json.loads((home / layout.REPORTS / drift.REPORT).read_text())
    assert kept["verdict"] == report["verdict"] == "not enough data"
    assert (home / layout.REPORTS / drift.PAGE).read_text().startswith("<!doctype html>")
