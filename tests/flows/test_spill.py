"""A log of which the beginning is read from the archive folds to the tables of one that is read from the store."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flows.spill import ARCHIVED, spill
from infra import archive, object_store
from infra.object_store import ObjectStore
from infra.store import identities
from infra.store.engines import open_store
from models.schema import DAY_US, VIEW_KEY
from services.privacy.erasure import erase_in_store
from services.worker.archive import ArchiveDuty
from tests.flows.test_fold_tables import T0_US, events, folded, table
from tests.stores import append_events, nth, quarantine_events

AS_OF_US = T0_US + 7 * DAY_US


def opened(url: str) -> ObjectStore:
    store = ObjectStore(url)
    assert object_store.opened() is not None
    return store


def test_tables_from_archive_and_tail_are_those_from_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, rng = f"file://{tmp_path / 'objects'}", np.random.default_rng(0)
    monkeypatch.setenv(object_store.URL, url)
    append_events(tmp_path, events(rng, 400, T0_US, T0_US + 8 * DAY_US, "e"), received_at_us=T0_US)
    with closing(open_store(tmp_path)) as log:
        ArchiveDuty(log, opened(url), rows_a_range=300).step(T0_US)
        quarantine_events(tmp_path, [(nth(tmp_path, n), "wrong") for n in (3, 50, 350)])
        log.write(lambda transaction: identities.join(transaction, "shop", "a", "b", T0_US))
        log.write(lambda transaction: erase_in_store(transaction, "shop", "c", "er_c", T0_US + DAY_US))
        files = spill(log, (log.tail("").end(), AS_OF_US), tmp_path / "spilled")
        assert {file.parent.name for file in files} == {ARCHIVED, "behind"}
        until = log.tail(archive.CURSOR).position()
        rows = pd.concat([pd.read_parquet(file) for file in files if file.parent.name == ARCHIVED])
        assert 150 < len(rows) < 300
        assert rows["seq"].max() <= until
        assert set(rows["user_id"]) == set("bdefgh")
    folded(tmp_path, tmp_path / "archived", AS_OF_US)
    monkeypatch.delenv(object_store.URL)
    folded(tmp_path, tmp_path / "plain", AS_OF_US)
    for view in VIEW_KEY:
        assert len(table(tmp_path / "plain", view)) > 0
        pd.testing.assert_frame_equal(table(tmp_path / "archived", view), table(tmp_path / "plain", view))


def test_a_file_that_is_written_anew_meanwhile_is_looked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"file://{tmp_path / 'objects'}"
    monkeypatch.setenv(object_store.URL, url)
    append_events(tmp_path, events(np.random.default_rng(0), 100, T0_US, T0_US + DAY_US, "e"), received_at_us=T0_US)
    with closing(open_store(tmp_path)) as log:
        objects = opened(url)
        ArchiveDuty(log, objects, rows_a_range=100).step(T0_US)
        before = archive.files(log)
        log.write(lambda transaction: erase_in_store(transaction, "shop", "c", "er_c", T0_US + 2 * DAY_US))
        listed = archive.files
        asked: list[int] = []

        def files(store: object) -> list[archive.File]:
            asked.append(1)
            if len(asked) == 1:
                assert archive.forget(log, objects, ["c"], T0_US)
                return before
            return listed(log)

        monkeypatch.setattr(archive, "files", files)
        found = spill(log, (log.tail("").end(), AS_OF_US), tmp_path / "spilled")
        rows = pd.concat([pd.read_parquet(file) for file in found])
        assert len(asked) == 2
        assert sorted(rows["seq"]) == [seq for (seq,) in log.read("SELECT seq FROM events ORDER BY seq")]
