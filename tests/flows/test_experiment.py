"""The readout from a store: who counts, what counts, and what a home without decisions says."""

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from flows import experiment
from flows.commands import app
from flows.reports import experiment as experiment_page
from infra.store.statements.decisions import DECISION_COLUMNS, LOG_DECISION, LOG_FAILURE
from models.experiments.assignment import DYNAMIC_VS_STATIC, assign
from models.schema import EVENT_COLUMNS
from tests.stores import append_events, connect, nth, quarantine_events

DAY_US = 86_400_000_000
START_US = 1_790_000_000_000_000
NOW_US = START_US + 20 * DAY_US


def decision(user: str, at_us: int, variant: str, **more: Any) -> tuple[Any, ...]:
    row = {
        "decision_id": f"{user}-{at_us}-{variant}",
        "partner": "shop",
        "user_id": user,
        "decided_at_us": at_us,
        "experiment": "dynamic_vs_static",
        "variant": variant,
        "profile": "heuristic",
        "propensity": 1.0,
        "latency_us": 900,
        "context": "{}",
        "models": "{}",
        "items": "[]",
        "degraded": "[]",
        **more,
    }
    return tuple(row.get(name) for name in DECISION_COLUMNS)


def event(user: str, kind: str, at_us: int, price: float | None = None) -> dict[str, Any]:
    return {"user_id": user, "event_type": kind, "occurred_at_us": at_us, "item_id": "i-1", "price": price}


def filled(home: Path, decisions: Sequence[tuple[Any, ...]], events: Sequence[dict[str, Any]]) -> None:
    with closing(connect(home)) as connection, connection:
        connection.executemany(LOG_DECISION, decisions)
    if events:
        frame = pd.DataFrame(events).assign(event_id=[f"e-{k}" for k in range(len(events))], utc_offset_min=0)
        append_events(home, frame.reindex(columns=list(EVENT_COLUMNS)), received_at_us=START_US)


def shop(rates: dict[str, float], n: int = 3_000) -> tuple[list[tuple[Any, ...]], list[dict[str, Any]]]:
    """Visitors dealt as the service deals them, who buy with the rate of their variant a minute later."""
    rng = np.random.default_rng(6)
    decisions, events = [], []
    for k in range(n):
        user, at_us = f"u-{k}", START_US + int(k * 10 * DAY_US / n)
        variant = assign(DYNAMIC_VS_STATIC, user)
        decisions.append(decision(user, at_us, variant))
        events.append(event(user, "item_view", at_us - 5_000_000))
        if rng.random() < rates[variant]:
            events.append(event(user, "purchase", at_us + 60_000_000, float(rng.lognormal(4, 1))))
    return decisions, events


def told(home: Path) -> dict[str, Any]:
    return experiment.run(home, now_us=NOW_US)


@pytest.mark.parametrize(
    ("rates", "verdict"),
    [({"dynamic": 0.25, "static": 0.12}, "dynamic better"), ({"dynamic": 0.15, "static": 0.15}, "no difference yet")],
)
def test_the_report_says_what_is_true(tmp_path: Path, rates: dict[str, float], verdict: str) -> None:
    filled(tmp_path, *shop(rates))
    found = told(tmp_path)
    assert found["verdict"] == verdict
    assert sum(found["visitors"].values()) == 3_000
    assert found["n_maturing"] == 0
    fixed = found["fixed_horizon"]["metrics"]["conversion"]["dynamic"]
    ours = found["metrics"]["conversion"]["comparisons"]["dynamic"]["difference"]
    assert fixed["difference"] == pytest.approx(ours["estimate"], abs=0.002)
    assert ours["low"] < fixed["low"] < fixed["high"] < ours["high"]
    assert json.loads((tmp_path / "reports" / "experiment_dynamic_vs_static.json").read_text())["verdict"] == verdict
    assert "<polygon" in Path(found["page"]).read_text()


def grouped(home: Path) -> None:
    """A shop in which the dynamic variant helps new visitors only; three of the staff are among them."""
    rng = np.random.default_rng(7)
    decisions, events, segments = [], [], []
    for k in range(4_000):
        user, at_us, segment = f"u-{k}", START_US + k * 60_000_000, "new" if k % 2 else "loyal"
        variant = assign(DYNAMIC_VS_STATIC, user)
        decisions.append(decision(user, at_us, variant))
        events.append(event(user, "item_view", at_us - 5_000_000))
        segments.append(("staff" if k < 3 else segment, user))
        if rng.random() < (0.4 if segment == "new" and variant == "dynamic" else 0.15):
            events.append(event(user, "purchase", at_us + 60_000_000, 40.0))
    filled(home, decisions, events)
    with closing(connect(home)) as connection, connection:
        connection.executemany("UPDATE events SET segment = ? WHERE user_id = ? AND event_type = 'item_view'", segments)


def test_groups_are_told_apart_and_share_the_error(tmp_path: Path) -> None:
    grouped(tmp_path)
    found = told(tmp_path)
    segments = found["by_group"]["segment"]
    assert set(segments) == {"loyal", "new"}  # three of the staff are nobody's business
    new, loyal = (segments[name]["metrics"]["conversion"]["comparisons"]["dynamic"]["difference"] for name in ("new", "loyal"))
    assert new["low"] > 0
    assert new["estimate"] == pytest.approx(0.25, abs=0.06)
    assert loyal["low"] < 0 < loyal["high"]
    assert segments["new"]["alpha"] == pytest.approx(0.05 / 4)  # two groups, two measures
    whole = found["metrics"]["conversion"]["comparisons"]["dynamic"]["difference"]
    assert new["high"] - new["low"] > whole["high"] - whole["low"]
    assert "segment new" in experiment_page.text(found)
    assert "Groups of visitors" in Path(found["page"]).read_text()


def test_where_no_shop_names_groups_none_are_told(tmp_path: Path) -> None:
    filled(tmp_path, *shop({"dynamic": 0.2, "static": 0.2}, n=600))
    assert told(tmp_path)["by_group"] == {}


def test_a_shop_without_prices_has_conversion_and_no_revenue(tmp_path: Path) -> None:
    decisions, events = shop({"dynamic": 0.25, "static": 0.25}, n=300)
    filled(tmp_path, decisions, [{**one, "price": None} for one in events])
    found = told(tmp_path)
    assert found["verdict"] == "no difference yet"
    assert found["metrics"]["revenue_per_visitor"] is None
    assert found["metrics"]["conversion"]["variants"]["static"]["mean"] > 0.1
    assert set(found["fixed_horizon"]["metrics"]) == {"conversion"}
    assert "no data" in experiment_page.text(found)
    assert "no data" in Path(found["page"]).read_text()


def test_only_what_follows_the_first_exposure_of_a_believable_log_counts(tmp_path: Path) -> None:
    first = START_US + 2 * DAY_US
    events = [
        event("u-1", "purchase", first - 2_000_001, 10.0),  # before
        event("u-1", "purchase", first - 1_999_999, 20.0),  # as far as clocks may differ, or are cut to seconds
        event("u-1", "purchase", first + 8 * DAY_US, 40.0),  # after the window
        event("u-1", "purchase", first + 1, 80.0),  # held back by validation, below
        event("u-2", "purchase", first + 5, 5.0),  # another visitor, who was never exposed
        event("u-3", "purchase", NOW_US + 1, 3.0),  # later than now
    ]
    decisions = [
        decision("u-1", first, "dynamic"),
        decision("u-1", first + DAY_US, "dynamic"),
        decision("u-3", first, "static"),
    ]
    filled(tmp_path, decisions, events)
    quarantine_events(tmp_path, [(nth(tmp_path, 4), "too dear")])
    found = told(tmp_path)
    assert found["visitors"] == {"dynamic": 1, "static": 1}
    means = {name: one["mean"] for name, one in found["metrics"]["revenue_per_visitor"]["variants"].items()}
    assert means == {"dynamic": 20.0, "static": 0.0}
    assert found["verdict"] == "not enough data"


def test_who_saw_both_variants_is_left_out_and_counted(tmp_path: Path) -> None:
    decisions = [
        decision("u-1", START_US, "dynamic"),
        decision("u-1", START_US + 5, "static"),
        decision("u-2", START_US, "static", degraded='["unknown_user"]', latency_us=3_000),
        decision("u-2", START_US + 9, "static"),
        decision("u-3", START_US, "of before the code changed"),
    ]
    filled(tmp_path, decisions, [event("u-1", "purchase", START_US + 7, 9.0)])
    found = told(tmp_path)
    assert found["left_out"] == {"saw more than one variant": 1, "unknown variant": 1}
    assert found["visitors"] == {"dynamic": 0, "static": 1}
    assert found["guardrails"]["degraded_rate"]["variants"]["static"]["mean"] == 0.5
    assert found["guardrails"]["latency_ms"]["variants"]["static"]["n_answers"] == 3


def test_a_visitor_without_a_history_was_failed_by_nobody(tmp_path: Path) -> None:
    none_failed = '["history_unknown"]', '["clock_ahead","history_cut","items_gone"]', "[]"
    told_as = (*none_failed, '["history_unknown","unknown_item"]')
    filled(tmp_path, [decision(f"u-{k}", START_US, "dynamic", degraded=names) for k, names in enumerate(told_as)], [])
    assert told(tmp_path)["guardrails"]["degraded_rate"]["variants"]["dynamic"]["mean"] == 0.25


def test_who_was_only_dealt_a_failure_is_a_visitor_of_that_variant(tmp_path: Path) -> None:
    events = [event("u-2", "purchase", START_US + 7, 9.0), event("u-3", "purchase", START_US + 7, 5.0)]
    filled(tmp_path, [decision("u-1", START_US, "static"), decision("u-3", START_US + 9, "dynamic")], events)
    with closing(connect(tmp_path)) as connection, connection:
        failures = [("u-2", START_US), ("u-3", START_US), ("u-2", NOW_US + 1)]
        connection.executemany(LOG_FAILURE, [("shop", user, at, "dynamic_vs_static", "dynamic", "E") for user, at in failures])
    found = told(tmp_path)
    assert found["visitors"] == {"dynamic": 2, "static": 1}
    assert found["metrics"]["conversion"]["variants"]["dynamic"]["mean"] == 1.0  # both bought after their first request
    errors = found["guardrails"]["error_rate"]["variants"]
    assert (errors["dynamic"]["mean"], errors["dynamic"]["n_requests"], errors["static"]["mean"]) == (0.75, 3, 0.0)
    assert found["guardrails"]["latency_ms"]["variants"]["dynamic"]["mean"] == 0.9


def test_the_same_pseudonym_at_another_partner_is_another_visitor(tmp_path: Path) -> None:
    filled(tmp_path, [decision("u-1", START_US, "dynamic", partner="other")], [event("u-1", "purchase", START_US + 1, 9.0)])
    assert told(tmp_path)["metrics"]["conversion"]["variants"]["dynamic"]["mean"] == 0.0


def test_a_broken_split_is_withheld(tmp_path: Path) -> None:
    decisions, events = shop({"dynamic": 0.3, "static": 0.1}, 2_000)
    place = DECISION_COLUMNS.index("variant")
    lost = [row for k, row in enumerate(decisions) if row[place] == "dynamic" or k % 4]
    filled(tmp_path, lost, events)
    found = told(tmp_path)
    assert found["verdict"].startswith("withheld: sample ratio 5")
    assert found["metrics"] is found["fixed_horizon"] is None


def test_an_experiment_that_the_code_no_longer_knows_is_read_as_dealt_evenly(tmp_path: Path) -> None:
    filled(tmp_path, [decision(f"u-{k}", START_US + k, "ab"[k % 2], experiment="old") for k in range(10)], [])
    found = experiment.run(tmp_path, "old", NOW_US)
    assert (found["control"], found["sample_ratio"]["expected"]) == ("b", [0.5, 0.5])


@pytest.mark.parametrize("n", [3, 300])
def test_an_experiment_of_one_variant_has_nothing_to_compare(tmp_path: Path, n: int) -> None:
    events = [event(f"u-{k}", "purchase", START_US + k + 10, 5.0) for k in range(0, n, 2)]
    filled(tmp_path, [decision(f"u-{k}", START_US + k, "a", experiment="old") for k in range(n)], events)
    found = experiment.run(tmp_path, "old", NOW_US)
    assert found["sentence"] == "not enough data: everybody saw a, there is nothing to compare it with"
    assert f"visitors {n} a" in experiment_page.text(found)


def test_a_home_without_decisions_says_so_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTUNE_HOME", str(tmp_path))
    said = CliRunner().invoke(app, ["experiment", "report"])
    assert said.exit_code == 0
    assert said.stdout.startswith("not enough data: nobody has been part of dynamic_vs_static yet")
    assert said.stdout.count("\n") == 1
    as_json = json.loads(CliRunner().invoke(app, ["experiment", "report", "dynamic_vs_static", "--json"]).stdout)
    assert (as_json["verdict"], as_json["visitors"]) == ("not enough data", {"dynamic": 0, "static": 0})


def test_interleaved_lists_credit_the_newest_list_that_showed_the_item(tmp_path: Path) -> None:
    both = {"experiment": "associations_vs_ranker"}
    lists = [
        decision(f"u-{k}", START_US, "interleaved", items='["i-0", "i-1", "i-2"]', context='{"teams": "=ab"}', **both)
        for k in range(40)
    ]
    lists.append(decision("u-0", START_US + 10, "interleaved", items='["i-1", "i-2"]', context='{"teams": "ba"}', **both))
    events = [event(f"u-{k}", "item_view", START_US + 20) for k in range(38)]  # all of i-1
    events += [event("u-38", "item_view", START_US - 1), event("u-39", "item_view", START_US + 1_800_000_000)]
    events += [event("u-1", "purchase", START_US + 30, 9.0)]
    filled(tmp_path, lists, events)
    found = experiment.run(tmp_path, "associations_vs_ranker", NOW_US)
    assert found["verdict"] == "associations preferred"
    assert found["interleaving"]["visitors"] == {"associations": 37, "ranker": 1, "as much from both": 0}
    assert found["interleaving"]["n_lists"] == 41
    by_default = told(tmp_path)
    assert (by_default["experiment"], by_default["verdict"]) == ("dynamic_vs_static", "not enough data")
    assert by_default["interleaving"] == found["interleaving"]


def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="known are associations_vs_ranker, dynamic_vs_static"):
        experiment.run(tmp_path, "nothing")
