"""Writing a simulated shop: same seed same bytes, lines in the form of the events door, the truth in a sidecar."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from flows.simulate import truth_path, write_shop
from models.events.rules import event_problem
from models.simulator import ShopConfig, simulate, to_public

CONFIG = ShopConfig(n_users=60, n_days=2, seed=21)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    counts = [write_shop(CONFIG, path, progress=False) for path in (first, second)]
    assert counts[0] == counts[1]
    assert first.read_bytes() == second.read_bytes()
    assert truth_path(first).read_bytes() == truth_path(second).read_bytes()


def test_lines_are_the_public_events_in_time_order(tmp_path: Path) -> None:
    out = tmp_path / "shop.jsonl"
    counts = write_shop(CONFIG, out, progress=False)
    events = lines(out)
    shop = simulate(CONFIG)
    assert events == list(to_public(shop.events, shop.timezones))
    assert counts["events"] == len(events)
    assert counts["purchases"] == sum(event["type"] == "purchase" for event in events)
    assert [event_problem(event, CONFIG.end_us) for event in events] == [None] * len(events)
    instants = [datetime.fromisoformat(str(event["ts"])) for event in events]
    assert instants == sorted(instants)


def test_sidecar_has_the_causes_and_one_line_per_event(tmp_path: Path) -> None:
    out = tmp_path / "shop.jsonl"
    write_shop(CONFIG, out, progress=False)
    header, *rows = lines(tmp_path / "shop.truth.jsonl")
    assert header["parameters"].keys() == {"config", "intent_effects", "event_effects", "signal_effects"}
    assert [row["event_id"] for row in rows] == [event["event_id"] for event in lines(out)]
    assert {"intent", "p_purchase", "signal"} <= set(rows[0])


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"no folder .*nowhere"):
        write_shop(CONFIG, tmp_path / "nowhere" / "shop.jsonl", progress=False)
