"""What a monitoring system learns of worker and retraining."""

import time
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from infra import archive
from infra.registry import champions
from infra.store.engines import open_store
from infra.store.protocol import Transaction
from infra.store.statements.action_weights import CURSOR
from models.simulator import ShopConfig, simulate
from services.gauges import ABOUT, FOLLOW, PREFIX, Gauges
from services.worker import features, rewards, signals
from tests.stores import append_events, nth


def read(home: Path) -> dict[str, dict[str, float]]:
    families = text_string_to_metric_families(Gauges(home).text().decode())
    return {
        family.name.removeprefix(PREFIX): {next(iter(s.labels.values()), ""): s.value for s in family.samples}
        for family in families
    }


def test_gauges_tell_how_far_worker_and_models_are(crowned: Path) -> None:
    store = open_store(crowned)
    store.write(lambda transaction: store.tail("signals").move(transaction, 3, 2_000_000))
    found = read(crowned)
    assert found["champion_version"] == champions(crowned)
    assert found["worker_position"]["signals"] == 3
    assert found["worker_behind"] == {"signals": 0}
    assert found["worker_moved_timestamp_seconds"]["signals"] == 2.0
    assert found["trained_timestamp_seconds"].keys() >= champions(crowned).keys()
    without = {"log_received_timestamp_seconds", "delivery_oldest_timestamp_seconds", "archive_lag_seconds"}
    assert found.keys() == ABOUT.keys() - without


def put_delivery(row: tuple[object, ...], transaction: Transaction) -> None:
    transaction.execute(
        "INSERT INTO deliveries (subscription_id, partner, signal_id, cause, run, state, due_at_us, created_at_us) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        row,
    )


def test_gauges_tell_since_when_nothing_comes_and_what_waits_longest(tmp_path: Path) -> None:
    for at_s, ids in ((5, "ab"), (9, "cd")):
        frame = simulate(ShopConfig(n_users=2, n_days=1)).events.head(2).assign(event_id=list(ids))
        append_events(tmp_path, frame, received_at_us=at_s * 1_000_000)
    with closing(open_store(tmp_path)) as store:
        for name in ("signals", "materialize", "delivery"):
            store.write(partial(store.tail(name).move, until=nth(tmp_path, 1), now_us=1))
        for signal, state, at_s in (("x", "delivered", 2), ("y", "pending", 3), ("z", "pending", 4)):
            waits = ("s", "shop", signal, "signal", "", state, at_s * 1_000_000, at_s * 1_000_000)
            store.write(partial(put_delivery, waits))
    found = read(tmp_path)
    assert found["log_received_timestamp_seconds"] == {"": 9.0}
    assert found["delivery_oldest_timestamp_seconds"] == {"": 3.0}
    assert found["deliveries_pending"] == {"": 2.0}
    assert found["worker_behind"] == {"signals": 3.0}


def test_the_lag_of_the_archive_is_the_age_of_the_first_event_that_it_lacks(tmp_path: Path) -> None:
    came_us = time.time_ns() // 1_000 - 100_000_000
    for nth_s, name in enumerate("ab"):
        frame = simulate(ShopConfig(n_users=2, n_days=1)).events.head(1).assign(event_id=[name])
        append_events(tmp_path, frame, received_at_us=came_us + 60_000_000 * nth_s)
    for passed, lag_s in ((0, 100.0), (1, 40.0), (2, 0.0)):
        with closing(open_store(tmp_path)) as store:
            store.write(partial(store.tail(archive.CURSOR).move, until=nth(tmp_path, passed), now_us=1))
        assert read(tmp_path)["archive_lag_seconds"][""] == pytest.approx(lag_s, abs=30.0 if lag_s else 0.0)


def test_duties_that_follow_the_log_are_those_that_have_a_cursor_there() -> None:
    assert {features.CURSOR, CURSOR, signals.CURSOR, rewards.CURSOR} == FOLLOW


def test_a_home_without_anything_has_gauges_without_a_label_only(tmp_path: Path) -> None:
    assert read(tmp_path) == {"log_position": {"": 0}, "deliveries_pending": {"": 0}, "quarantine_waiting": {"": 0}}
