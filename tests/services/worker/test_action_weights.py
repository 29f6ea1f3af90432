"""Live is flow: whatever order and portions events come in, the worker's duty keeps what one fold of the whole log gives."""

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.fold_actions import bring_up, rebuild
from flows.quarantine import replay
from infra.store.engines import open_store
from infra.store.statements.action_weights import CURSOR, FREEZE, SERVING, THAW
from models.schema import EventType
from models.simulator import ShopConfig, simulate
from models.weights import actions as aw
from services.worker.action_weights import ActionWeightDuty
from tests.stores import append_events, connect, numbers, quarantine_events

HOUR_US = 3_600_000_000
KEPT = ("action_observations", "action_due")


@pytest.fixture(scope="module")
def shop() -> pd.DataFrame:
    return simulate(ShopConfig(n_users=60, n_days=3, n_items=60, n_categories=4, seed=3)).events


def kept(home: Path) -> dict[str, Any]:
    connection = connect(home)
    tables = {
        name: connection.execute(f"SELECT * FROM {name} ORDER BY {'1, 2, 3, 4, 5' if name == KEPT[0] else '1'}").fetchall()
        for name in KEPT
    }
    ((_, _, _, counts),) = connection.execute(SERVING).fetchall()
    return {**tables, "counts": counts}


def all_steps(duty: ActionWeightDuty, now_us: int) -> None:
    while duty.step(now_us):
        pass


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_duty_keeps_what_the_flow_makes_of_the_whole_log(shop: pd.DataFrame, tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    events = shop.iloc[rng.permutation(len(shop))]  # as late and as mixed up as can be
    end_us = int(shop["occurred_at_us"].max())
    cuts = [0, *sorted(rng.integers(0, len(events), 4).tolist()), len(events)]
    duty = ActionWeightDuty(open_store(tmp_path))
    for k, (a, b) in enumerate(pairwise(cuts)):
        append_events(tmp_path, events.iloc[a:b])
        all_steps(duty, end_us - (4 - k) * HOUR_US)
        if k == 2:
            duty = ActionWeightDuty(open_store(tmp_path))  # a worker that died, and came back
    clock_us = end_us + HOUR_US // 2
    all_steps(duty, clock_us)
    live = kept(tmp_path)
    rebuild(tmp_path, clock_us)
    assert kept(tmp_path) == live
    assert live["action_due"]
    assert len(live["action_observations"]) > 100


def test_the_flow_folds_what_is_new_due_or_held_back_to_what_it_makes_of_the_whole_log(
    shop: pd.DataFrame, tmp_path: Path
) -> None:
    end_us, n = int(shop["occurred_at_us"].max()), len(shop)
    append_events(tmp_path, shop.iloc[: n * 9 // 10])
    whole = bring_up(tmp_path, end_us)
    append_events(tmp_path, shop.iloc[n * 9 // 10 :])
    assert 0 < bring_up(tmp_path, end_us)["observations"] < whole["observations"] / 2
    quarantine_events(tmp_path, [(seq, "odd") for seq in numbers(tmp_path)[:40:3]])
    bring_up(tmp_path, end_us + HOUR_US // 2)
    found = kept(tmp_path)
    rebuild(tmp_path, end_us + HOUR_US // 2)
    assert kept(tmp_path) == found


def test_a_pending_action_is_decided_when_its_horizon_has_passed_without_a_new_event(
    shop: pd.DataFrame, tmp_path: Path
) -> None:
    append_events(tmp_path, shop)
    end_us = int(shop["occurred_at_us"].max())
    duty = ActionWeightDuty(open_store(tmp_path))
    all_steps(duty, end_us)
    before = kept(tmp_path)
    assert before["action_due"]
    assert duty.step(end_us) == 0
    all_steps(duty, end_us + 2 * HOUR_US)
    after = kept(tmp_path)
    assert after["action_due"] == []
    assert len(after["action_observations"]) >= len(before["action_observations"])
    assert after["counts"] != before["counts"]


def test_what_quarantine_holds_back_or_releases_behind_the_cursor_is_folded_again_once(
    shop: pd.DataFrame, tmp_path: Path
) -> None:
    connection = connect(tmp_path)
    append_events(tmp_path, shop)
    clock_us = int(shop["occurred_at_us"].max()) + 2 * HOUR_US
    assert clock_us < time.time_ns() // 1_000  # quarantine's clock is ahead of the duty's: it must not fold for ever
    duty = ActionWeightDuty(open_store(tmp_path))
    all_steps(duty, clock_us)
    whole = kept(tmp_path)
    bought = connection.execute("SELECT seq, user_id FROM events WHERE event_type = 'purchase'").fetchall()
    quarantine_events(tmp_path, [(seq, "odd") for seq, _ in bought])
    assert [duty.step(clock_us), duty.step(clock_us)] == [len({user for _, user in bought}), 0]
    held = kept(tmp_path)
    assert held["counts"] != whole["counts"]
    rebuild(tmp_path, clock_us)
    assert kept(tmp_path) == held
    assert replay(tmp_path).accepted == len(bought)
    assert [duty.step(clock_us), duty.step(clock_us)] == [len({user for _, user in bought}), 0]
    assert kept(tmp_path) == whole


SET_BROWSER = "UPDATE events SET browser = 1 WHERE event_id = ?"


def test_what_browser_keys_tell_is_counted_apart_action_by_action(shop: pd.DataFrame, tmp_path: Path) -> None:
    connection = connect(tmp_path)
    append_events(tmp_path, shop)
    views = shop[(shop["event_type"] == "item_view") & (shop["user_id"] == shop["user_id"].iloc[0])]
    connection.executemany(SET_BROWSER, [(event_id,) for event_id in views["event_id"]])
    all_steps(ActionWeightDuty(open_store(tmp_path)), int(shop["occurred_at_us"].max()) + 2 * HOUR_US)
    found = connection.execute("SELECT DISTINCT user_id, event_type FROM action_observations WHERE browser = 1").fetchall()
    assert found == [(views["user_id"].iloc[0], EventType.ITEM_VIEW)]
    counted = connection.execute("SELECT DISTINCT event_type FROM action_observations WHERE user_id = ?", found[0][:1])
    assert len(counted.fetchall()) > 1  # the rest of what this visitor did counts in full


def test_what_is_not_believed_is_counted_nowhere_and_flow_and_worker_agree(shop: pd.DataFrame, tmp_path: Path) -> None:
    connection = connect(tmp_path)
    append_events(tmp_path, shop)
    connection.execute("UPDATE events SET believed = 0, browser = 1 WHERE seq % 3 = 0")
    connection.execute("UPDATE events SET browser = 1 WHERE seq % 3 = 1")
    end_us = int(shop["occurred_at_us"].max()) + 2 * HOUR_US
    all_steps(ActionWeightDuty(open_store(tmp_path)), end_us)
    live = kept(tmp_path)
    rebuild(tmp_path, end_us)
    assert kept(tmp_path) == live
    connection.execute("DELETE FROM events WHERE believed = 0")
    rebuild(tmp_path, end_us)
    assert kept(tmp_path) == live


def test_a_freeze_keeps_what_serves_until_the_thaw(shop: pd.DataFrame, tmp_path: Path) -> None:
    connection = connect(tmp_path)
    duty = ActionWeightDuty(open_store(tmp_path))
    end_us = int(shop["occurred_at_us"].max()) + 2 * HOUR_US
    append_events(tmp_path, shop.iloc[: len(shop) // 2])
    all_steps(duty, end_us)
    connection.execute(FREEZE, (end_us,))
    frozen = connection.execute(SERVING).fetchall()
    assert frozen[0][0] == 1
    append_events(tmp_path, shop.iloc[len(shop) // 2 :])
    all_steps(duty, end_us)
    assert connection.execute(SERVING).fetchall() == frozen
    connection.execute(THAW)
    assert connection.execute(SERVING).fetchall() != frozen


def test_a_log_that_ends_earlier_than_the_cursor_and_an_empty_one_do_no_harm(tmp_path: Path) -> None:
    connection = connect(tmp_path)
    duty = ActionWeightDuty(open_store(tmp_path))
    assert duty.step(HOUR_US) == 0
    assert connection.execute(SERVING).fetchall() == [(0, 0, HOUR_US, "[]")]
    connection.execute("INSERT INTO cursors VALUES (?, 99, 0)", (CURSOR,))
    assert duty.step(HOUR_US) == 0
    assert aw.ready(aw.posterior(aw.counts_from_lists([])), 0).is_heuristic
    assert rebuild(tmp_path, HOUR_US) == {"observations": 0, "pending": 0}
