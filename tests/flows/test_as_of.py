"""Backfill: what a retraining of the whole log gives for a past day is what it would have given on that day, bit for bit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows import train
from flows.materialize import materialize
from infra.artifacts import read_parts
from models.artifact import Parts
from models.model_specs import MODEL_NAMES
from models.simulator import ShopConfig, simulate
from tests.stores import append_events

SHOP = ShopConfig(n_users=90, n_days=6, seed=8)
DAY_US = 86_400_000_000
THAT_DAY_US = SHOP.start_us + 4 * DAY_US


def trained(home: Path, events: Any, as_of_us: int | None) -> dict[str, Parts]:
    append_events(home, events, received_at_us=SHOP.end_us)
    materialize(home, THAT_DAY_US)
    folder = train.prepare.fn(str(home), as_of_us, 100_000)
    for name in MODEL_NAMES:  # in the flow's order: some ask the models before them
        train.fit.fn(folder, name, 0)
    return {name: read_parts(Path(folder) / train.MODELS / name) for name in MODEL_NAMES}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Parts], dict[str, Parts]]:
    events = simulate(SHOP).events
    early = events[events["occurred_at_us"] <= THAT_DAY_US]
    assert 0.4 * len(events) < len(early) < 0.9 * len(events)
    home = tmp_path_factory.mktemp
    return trained(home("then"), early, None), trained(home("now"), events, THAT_DAY_US)


def undated(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata without the one thing that was asked differently and the log's own numbers, each shop's likewise."""
    shops = {name: undated(one) for name, one in meta.get("shops", {}).items()}
    return {**meta, "as_of_us": None, "shops": shops} | {name: None for name in ("built_to_seq",) if name in meta}


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_the_log_as_of_a_day_gives_the_models_of_that_day(name: str, both: Any) -> None:
    then, now = (found[name] for found in both)
    assert set(then.arrays) == set(now.arrays)
    for stem, array in then.arrays.items():
        assert array.dtype == now.arrays[stem].dtype
        assert array.tobytes() == np.asarray(now.arrays[stem]).tobytes(), stem
    assert undated(then.meta) == undated(now.meta)
