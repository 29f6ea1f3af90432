"""Archive of the log: every event in it once, whoever is killed; whoever is erased is out of it."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from benchmarks.object_storage import storage
from infra import archive, object_store
from infra.object_store import ObjectStore, ObjectStoreUnavailable
from infra.store.engines import open_store
from infra.store.protocol import Store
from infra.store.statements import archive as sql
from models.schema import DAY_US
from services.privacy.erasure import erase_in_store
from services.worker.archive import ArchiveDuty
from tests.flows.test_fold_tables import T0_US, events
from tests.stores import append_events

HOUR_US = 3_600_000_000
LATER_US = T0_US + 10 * DAY_US


class Away(ObjectStore):
    """A folder whose writes fail after some, as those of a process that is killed."""

    def __init__(self, folder: Path, n_writes: int) -> None:
        super().__init__(f"file://{folder}")
        self.left = n_writes

    def write(self, name: str, data: bytes) -> None:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        super().write(name, data)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = events(np.random.default_rng(0), 300, T0_US, T0_US + 3 * DAY_US, "e")
    append_events(tmp_path, found, received_at_us=T0_US + 3 * DAY_US)
    with closing(open_store(tmp_path)) as opened:
        yield opened


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore(f"file://{tmp_path / 'objects'}")


def everything(store: Store, objects: ObjectStore) -> list[tuple[object, ...]]:
    since = archive.changed(store)
    columns = [archive.rows_of(objects, file, since).to_pydict().values() for file in archive.files(store)]
    return sorted((row for one in columns for row in zip(*one, strict=True)), key=lambda row: int(str(row[0])))


def of_log(store: Store) -> list[tuple[object, ...]]:
    return store.read(sql.RANGE, (0, 2**62))


def on_disk(tmp_path: Path) -> set[str]:
    return {str(path.relative_to(tmp_path / "objects")) for path in (tmp_path / "objects").rglob("*") if path.is_file()}


def archived(store: Store, objects: ObjectStore, now_us: int = LATER_US) -> int:
    duty, n = ArchiveDuty(store, objects, rows_a_range=70), 0
    while more := duty.step(now_us):
        n += more
    return n


def test_every_event_is_in_the_archive_once_as_it_is_in_the_log(store: Store, objects: ObjectStore, tmp_path: Path) -> None:
    assert archived(store, objects) == 300
    assert everything(store, objects) == of_log(store)
    assert on_disk(tmp_path) == {file.name for file in archive.files(store)}
    for file in archive.files(store):
        rows = archive.rows_of(objects, file, archive.changed(store)).to_pandas()
        assert (rows["occurred_at_us"] // DAY_US == file.day).all()
        assert {archive.shard_of(user) for user in rows["user_id"]} == {file.shard}
        assert len(rows) == file.n_rows


def test_a_range_waits_until_it_is_full_or_old(store: Store, objects: ObjectStore) -> None:
    duty = ArchiveDuty(store, objects, rows_a_range=200, longest_wait_s=3_600)
    came_us = T0_US + 3 * DAY_US
    assert [duty.step(came_us + HOUR_US - 1), duty.step(came_us + HOUR_US - 1)] == [200, 0]
    assert [duty.step(came_us + HOUR_US), duty.step(came_us + HOUR_US)] == [100, 0]


@pytest.mark.parametrize("n_writes", [0, 1, 5, 20])
def test_a_killed_step_leaves_no_range_twice_none_missing_and_no_file_that_nobody_knows(
    store: Store, objects: ObjectStore, tmp_path: Path, n_writes: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        archived(store, Away(tmp_path / "objects", n_writes))
    assert archived(store, objects) > 0
    assert everything(store, objects) == of_log(store)
    ArchiveDuty(store, objects).step(LATER_US + archive.LEFT_US + 1)
    assert on_disk(tmp_path) == {file.name for file in archive.files(store)}
    ArchiveDuty(store, objects).step(LATER_US + 3 * archive.LEFT_US)
    assert store.read("SELECT count(*) FROM archive_files WHERE state <> 'kept'") == [(0,)]


def test_of_two_that_archive_the_same_range_one_does(store: Store, objects: ObjectStore, tmp_path: Path) -> None:
    tail = store.tail(archive.CURSOR)
    until = tail.until(0, 100)
    assert archive.keep(store, objects, tail, 0, until, LATER_US)
    assert not archive.keep(store, objects, tail, 0, until, LATER_US)
    assert on_disk(tmp_path) == {file.name for file in archive.files(store)}
    assert len(everything(store, objects)) == 100


def erased(store: Store, user: str, now_us: int) -> None:
    store.write(lambda transaction: erase_in_store(transaction, "shop", user, f"er_{user}", now_us))


def test_an_erased_visitor_is_read_no_more_and_then_in_no_file(store: Store, objects: ObjectStore, tmp_path: Path) -> None:
    archived(store, objects)
    counts = Counter(row[3] for row in of_log(store))
    (gone, n), before = counts.most_common(1)[0], on_disk(tmp_path)
    erased(store, str(gone), LATER_US)
    assert everything(store, objects) == of_log(store)
    assert archive.forget(store, objects, [str(gone)], LATER_US) == {gone: n}
    assert everything(store, objects) == of_log(store)
    assert on_disk(tmp_path) == {file.name for file in archive.files(store)}
    assert on_disk(tmp_path) != before
    nobody = archive.Changed({}, {})
    assert all(str(gone) not in archive.rows_of(objects, file, nobody)["user_id"].to_pylist() for file in archive.files(store))
    assert archive.forget(store, objects, [str(gone)], LATER_US) == {}


def test_a_range_of_which_somebody_is_erased_meanwhile_is_read_again(store: Store, tmp_path: Path) -> None:
    gone = str(of_log(store)[0][3])

    class Erasing(ObjectStore):
        def write(self, name: str, data: bytes) -> None:
            super().write(name, data)
            if not store.read(sql.ALL_ERASED):
                erased(store, gone, LATER_US)

    objects = Erasing(f"file://{tmp_path / 'objects'}")
    tail = store.tail(archive.CURSOR)
    assert not archive.keep(store, objects, tail, 0, tail.until(0, 300), LATER_US)
    assert on_disk(tmp_path) == set()
    archived(store, objects)
    assert everything(store, objects) == of_log(store)


def test_an_erasure_is_not_over_while_a_range_is_being_written(store: Store, objects: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        archived(store, Away(tmp_path / "objects", 2))
    gone = str(of_log(store)[0][3])
    erased(store, gone, LATER_US)
    assert archive.forget(store, objects, [gone], LATER_US) is None
    assert archive.forget(store, objects, [gone], LATER_US + archive.LEFT_US + 1) == {}
    assert on_disk(tmp_path) == set()


def test_days_that_are_too_old_go(store: Store, objects: ObjectStore, tmp_path: Path) -> None:
    archived(store, objects)
    ArchiveDuty(store, objects, days=1).step(T0_US + 3 * DAY_US)
    left = everything(store, objects)
    assert 0 < len(left) < 300
    instant = sql.ARCHIVED_COLUMNS.index("occurred_at_us")
    assert min(int(str(row[instant])) for row in left) // DAY_US == (T0_US + 2 * DAY_US) // DAY_US
    assert on_disk(tmp_path) == {file.name for file in archive.files(store)}


def test_a_bucket_holds_the_archive_as_a_folder_does(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with storage() as bucket:
        for name, value in bucket.environment.items():
            monkeypatch.setenv(name, value)
        objects = object_store.opened()
        assert objects is not None
        archived(store, objects)
        gone = str(of_log(store)[0][3])
        erased(store, gone, LATER_US)
        assert archive.forget(store, objects, [gone], LATER_US)
        assert everything(store, objects) == of_log(store)
        assert {f"shop/{file.name}" for file in archive.files(store)} == {name for name in bucket.names() if name[-1] != "/"}
        bucket.is_away = True
        with pytest.raises(ObjectStoreUnavailable):
            ArchiveDuty(store, objects, days=1).step(LATER_US)
        bucket.is_away = False
        ArchiveDuty(store, objects, days=1).step(LATER_US)
        assert [name for name in bucket.names() if name[-1] != "/"] == []
