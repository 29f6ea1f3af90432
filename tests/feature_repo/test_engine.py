"""Materialization by columns leaves in the embedded store what Feast's own engine leaves there, to the byte."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from feast import FeatureStore
from feast.repo_config import RepoConfig

from feature_repo.engine import KEYS_AT_ONCE
from feature_repo.features import ONLINE_VIEWS, declare
from feature_repo.store import open_store
from models.schema import (
    INSTANT,
    ITEM_FEATURES,
    LAST_EVENT_AT,
    RECENT_ITEMS_AT,
    USER_FEATURES,
    USER_RECENT_EVENTS,
    USER_RECENT_ITEMS,
)

FROM, UNTIL = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 30, tzinfo=UTC)
KEYS = ["a", "b", "x" * 300, "ü\u2028", "ab", "Z", "", "1", "10", "9"]  # of many lengths: the store orders by these first


def write_tables(folder: Path, rng: np.random.Generator, keys: list[str]) -> None:
    """A log of two rows a key, some values missing, some instants before the period."""
    folder.mkdir(parents=True)
    ids = np.array(keys * 2, dtype=object)
    seconds = rng.permutation(len(ids)) * 1_021.25
    at = pd.Series(pd.Timestamp("2026-10-31T12:00:00.000001Z") + pd.to_timedelta(seconds, "s")).dt.as_unit("us")

    def floats(names: tuple[str, ...]) -> dict[str, Any]:
        values = {name: rng.normal(0, 1e3, len(ids)).astype(np.float32) for name in names}
        for column in values.values():
            column[rng.random(len(ids)) < 0.2] = rng.choice([0.0, -0.0, np.nan, np.inf, 1e-45])
        return values

    instants = {INSTANT: at, LAST_EVENT_AT: rng.integers(0, 2**53, len(ids))}
    texts = pd.Series([list("abc")[: k % 4] if k % 5 else None for k in range(len(ids))])
    frames = {
        "session_features": pd.DataFrame({"session_id": ids, INSTANT: at}),
        "user_features": pd.DataFrame({"user_id": ids, **instants, **floats(USER_FEATURES)}),
        "user_recent_items": pd.DataFrame(
            {"user_id": ids, INSTANT: at, USER_RECENT_ITEMS: texts, RECENT_ITEMS_AT: -7, USER_RECENT_EVENTS: texts}
        ),
        "item_features": pd.DataFrame({"item_id": ids, INSTANT: at, **floats(ITEM_FEATURES)}),
    }
    for name, frame in frames.items():
        frame.to_parquet(folder / f"{name}.parquet", index=False)


def kept(home: Path, *, by_columns: bool) -> dict[str, list[tuple[Any, ...]]]:
    """Everything in the tables of a home's online store after a materialization by either engine."""
    store = open_store(home)
    if not by_columns:
        settings = store.config.model_dump(by_alias=True, exclude={"batch_engine"})
        settings |= {"batch_engine": "local", "materialization": {"pull_latest_features": True}}
        store = FeatureStore(config=RepoConfig(**settings))
    declared = declare(home / "offline")
    store.apply([*declared.entities, *declared.views, *declared.services])
    store.materialize(FROM, UNTIL, list(ONLINE_VIEWS))
    online: Any = store._get_provider().online_store
    tables = [f"attune_{view}" for view in ONLINE_VIEWS]
    select = "SELECT entity_key, feature_name, value, event_ts, created_ts, typeof(event_ts) FROM {} ORDER BY 1, 2"
    return {table: online._get_conn(store.config).execute(select.format(table)).fetchall() for table in tables}


@pytest.fixture(params=["UTC", "America/St_Johns"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("zone")
def test_both_engines_leave_the_same(tmp_path: Path) -> None:
    many = [f"sku-{n}" for n in range(KEYS_AT_ONCE)]
    for name in ("columns", "rows"):
        write_tables(tmp_path / name / "offline", np.random.default_rng(5), KEYS + many)
    by_columns, by_rows = kept(tmp_path / "columns", by_columns=True), kept(tmp_path / "rows", by_columns=False)
    assert len(by_rows["attune_item_features"]) > len(ITEM_FEATURES)
    assert by_columns == by_rows


def test_an_error_is_told(tmp_path: Path) -> None:
    write_tables(tmp_path / "offline", np.random.default_rng(5), KEYS)
    pd.DataFrame({"item_id": ["a"], INSTANT: pd.Timestamp("2026-11-02T00:00:00Z")}).to_parquet(
        tmp_path / "offline" / "item_features.parquet", index=False
    )
    with pytest.raises(Exception, match="item_"):
        kept(tmp_path, by_columns=True)
