"""Work on a Dask cluster: results as in this process, a worker that dies costs nothing, what is wrong is one line."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from distributed import Client, LocalCluster, get_task_stream

from feature_repo import parts
from flows import train
from flows.fold_tables import fold_tables
from flows.materialize import write_offline
from flows.simulate import write_shop
from flows.spread import here, spread
from infra import registry
from infra.artifacts import read_parts
from infra.store.engines import open_store
from models.associations.model import from_parts
from models.inference.examples import Log
from models.model_specs import MODEL_NAMES
from models.schema import DAY_US, VIEW_KEY
from models.simulator import ShopConfig
from tests.builders import event_array
from tests.flows.test_fold_tables import T0_US, events, table
from tests.stores import append_events
from tests.training import empty_rows, write_run
from tests.waiting import PATIENCE_S


@pytest.fixture(scope="module")
def dask() -> Iterator[str]:
    with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster:
        yield cluster.scheduler_address


def die_once(mark: Path) -> int:
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def half(n: int) -> float:
    if n == 3:
        raise ValueError("3 is odd")
    return n / 2


def test_results_come_in_the_order_of_the_arguments(dask: str) -> None:
    with spread(dask) as over:
        assert list(over(half, [8, 2, 6, 4])) == list(here(half, [8, 2, 6, 4])) == [4.0, 1.0, 3.0, 2.0]


def test_what_a_call_raises_is_raised(dask: str) -> None:
    with spread(dask) as over, pytest.raises(ValueError, match="3 is odd"):
        list(over(half, [2, 3]))


def test_the_work_of_a_worker_that_dies_is_done_by_another(dask: str, tmp_path: Path) -> None:
    with spread(dask) as over:
        (found,) = over(die_once, [tmp_path / "died"])
    assert found != os.getpid()


def test_where_no_scheduler_answers_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.spread.CONNECT_S", 0.5)
    with pytest.raises(ValueError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"), spread("tcp://127.0.0.1:9"):
        pass


def test_tables_folded_on_a_cluster_are_the_tables(dask: str, tmp_path: Path) -> None:
    append_events(tmp_path, events(np.random.default_rng(0), 400, T0_US, T0_US + 12 * DAY_US, "e"), received_at_us=T0_US)
    folders = {}
    for name, address in (("here", None), ("there", dask)):
        folder = folders[name] = tmp_path / name
        (folder / ".drafts").mkdir(parents=True)
        with closing(open_store(tmp_path)) as log, spread(address) as over:
            draft = fold_tables(log, folder, folder / ".drafts", T0_US + 13 * DAY_US, events_a_range=60, spread=over)
        parts.take(folder, folder / ".drafts", draft.tables)
    alone, spread_out = (parts.read(folders[name]) for name in ("here", "there"))
    assert alone is not None
    assert spread_out is not None
    assert alone.parts == spread_out.parts
    assert len(spread_out.parts["session_features"]) > 3
    for view in VIEW_KEY:
        found, expected = table(folders["there"], view), table(folders["here"], view)
        assert found.equals(expected), view


def test_the_task_that_writes_the_tables_drives_the_cluster(dask: str, tmp_path: Path) -> None:
    append_events(tmp_path, events(np.random.default_rng(0), 40, T0_US, T0_US + DAY_US, "e"), received_at_us=T0_US)
    with Client(dask) as watching, get_task_stream(watching) as done:
        found = write_offline.fn(str(tmp_path), T0_US + 2 * DAY_US, dask)
    assert [one["key"].partition("-")[0] for one in done.data] == ["fold_range"]
    assert 0 < found.rows["session_features"] <= 40


def test_pairs_counted_on_a_cluster_are_those_of_one_build(dask: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.associations.build.EVENTS_A_PART", 100)
    rng = np.random.default_rng(0)
    found = event_array(400, item=rng.integers(0, 9, 400), event_type=rng.integers(0, 3, 400))
    log = Log(found, rng.random(400) < 0.2, np.zeros(400, np.int64), np.zeros(400, np.int64), list("abcdefghi"))
    pairs = {}
    for name, address in (("here", None), ("there", dask)):
        write_run(tmp_path / name, empty_rows(400), log)
        with Client(dask) as watching, get_task_stream(watching) as done:
            store = from_parts(read_parts(Path(train.fit.fn(str(tmp_path / name), "associations", 0, address))))
        assert len(done.data) == (4 if address else 0)
        anchor = np.repeat(np.arange(store.n_items), np.diff(store.index.offsets)).tolist()
        keys = zip(anchor, store.index.target.tolist(), store.index.types.tolist(), strict=True)
        pairs[name] = dict(zip(keys, store.index.strength.tolist(), strict=True))
    assert len(pairs["here"]) > 100
    assert pairs["there"] == pytest.approx(pairs["here"], rel=2e-7)


@pytest.mark.slow
def test_a_retraining_folds_on_the_cluster_and_promotes(dask: str, tmp_path: Path) -> None:
    write_shop(ShopConfig(n_users=120, n_days=7, seed=3), tmp_path / "shop.jsonl", progress=False)
    words = ["retrain", "--events", str(tmp_path / "shop.jsonl"), "--dask", dask]
    command = [sys.executable, "-m", "services.cli", *words]
    with Client(dask) as watching, get_task_stream(watching) as done:
        subprocess.run(command, env={**os.environ, "ATTUNE_HOME": str(tmp_path / "home")}, check=True, timeout=PATIENCE_S)
    assert len(done.data) == 1
    assert set(registry.champions(tmp_path / "home")) == set(MODEL_NAMES)
