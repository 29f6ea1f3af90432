"""The store's protocol, kept by every engine: transactions, errors, stamps, leases, tails."""

import threading
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from infra import layout
from infra.store.engines import closed_store, open_store
from infra.store.errors import ConflictingWrite, StoreBusy, StoreUnavailable
from infra.store.protocol import LogTail, Store, Transaction
from infra.store.statements.events import NOTHING_SAID
from infra.store.statements.partners import ADD_PARTNER
from infra.store.statements.signals import NEWEST_SIGNAL
from infra.store.watch import StoreWatch
from models.events.rules import to_row
from tests.stores import embedded_only
from tests.waiting import until

Opener = Callable[[], Store]
PARTNERS = "SELECT name FROM partners ORDER BY name"


def event(event_id: str, user: str = "u", decision_id: str | None = None) -> tuple[object, ...]:
    row = to_row({"event_id": event_id, "type": "search", "ts": "2026-11-21T10:00:00Z"}, user)
    return ("shop", *row, 7, 0, 1, decision_id, *NOTHING_SAID[1:])


def add(store: Store, *names: str) -> int:
    return store.write(lambda transaction: transaction.executemany(ADD_PARTNER, [(name, 1) for name in names]))


@pytest.fixture
def store(opened: Opener) -> Store:
    return opened()


@pytest.fixture
def file_store(tmp_path: Path) -> Store:
    """The embedded engine, for what only a file does."""
    return open_store(tmp_path)


def test_what_was_written_is_read_by_others_and_counted(store: Store, opened: Opener) -> None:
    assert add(store, "a", "b", "a") == 2
    assert opened().read(PARTNERS) == [("a",), ("b",)]
    assert list(store.stream(PARTNERS)) == [("a",), ("b",)]
    assert store.write(lambda transaction: transaction.execute("DELETE FROM partners")) == 2


def test_what_work_raises_undoes_what_it_wrote(store: Store) -> None:
    def work(transaction: Transaction) -> None:
        transaction.execute(ADD_PARTNER, ("a", 1))
        raise KeyError("no")

    with pytest.raises(KeyError):
        store.write(work)
    assert store.read(PARTNERS) == []


def test_events_get_a_verdict_each(store: Store) -> None:
    assert store.append([event("a"), event("b", decision_id="d"), event("a")]) == [True, True, False]
    assert store.read("SELECT event_id, decision_id FROM events ORDER BY seq") == [("a", None), ("b", "d")]


def test_work_that_reads_before_it_writes_is_not_overtaken(opened: Opener) -> None:
    opened().close()

    def count_up(transaction: Transaction) -> None:
        ((n,),) = transaction.read("SELECT count(*) FROM partners")
        transaction.execute(ADD_PARTNER, (f"{n:02}", 1))

    def many_times() -> None:
        mine = opened()
        for _ in range(10):
            mine.write(count_up)

    threads = [threading.Thread(target=many_times) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened().read(PARTNERS)) == 40


@embedded_only("words of SQLite's")
def test_errors_of_the_driver_are_ours(file_store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="no such table: nowhere"):
        file_store.read("SELECT * FROM nowhere")
    with pytest.raises(ConflictingWrite):
        file_store.write(lambda transaction: transaction.execute("INSERT INTO partners VALUES ('a', 1), ('a', 1)"))
    holder = apsw.Connection(str(tmp_path / layout.STORE))
    holder.execute("BEGIN EXCLUSIVE")
    impatient = open_store(tmp_path, wait_ms=0)
    with pytest.raises(StoreBusy):
        add(impatient, "a")
    holder.execute("ROLLBACK")
    assert add(impatient, "a") == 1


@embedded_only("a file that cannot be opened")
def test_a_store_that_could_not_be_opened_is_opened_by_a_later_use(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("in the way")
    with pytest.raises(StoreUnavailable):
        open_store(home)
    store = closed_store(home)
    with pytest.raises(StoreUnavailable) as raised:
        store.read(PARTNERS)
    assert raised.value.filename == str(home)
    home.unlink()
    assert store.read(PARTNERS) == []


@embedded_only("the stamp of a server tells of all its databases")
def test_the_stamp_tells_what_others_have_committed_and_that_the_connection_is_another_one(
    file_store: Store, tmp_path: Path
) -> None:
    seen = file_store.stamp()
    assert file_store.stamp() == seen
    add(open_store(tmp_path), "a")
    after = file_store.stamp()
    assert after != seen
    file_store.close()
    assert file_store.stamp() not in (seen, after)


def test_a_lease_has_one_holder_and_an_epoch_for_each(store: Store, opened: Opener) -> None:
    other = opened()
    assert [store.lease("work", "a", 60), other.lease("work", "b", 60), store.lease("work", "a", 0)] == [1, None, 1]
    assert [other.lease("work", "b", 60), store.lease("work", "a", 60), store.lease("rest", "a", 60)] == [2, None, 1]


def test_what_is_sound_says_so(store: Store) -> None:
    assert store.is_sound()


def test_deleted_bytes_are_in_no_file_of_the_store(file_store: Store, tmp_path: Path) -> None:
    add(file_store, "canary-partner")
    file_store.write(lambda transaction: transaction.execute("DELETE FROM partners"))
    file_store.scrub()
    assert not any(b"canary-partner" in path.read_bytes() for path in tmp_path.iterdir())


def test_a_tail_moves_with_the_effect_of_what_was_read(store: Store) -> None:
    tail = store.tail("reader")
    assert (tail.position(), tail.end(), tail.until(0, 10)) == (None, 0, 0)
    store.append([event(name) for name in "abc"])
    first, second, third = (seq for (seq,) in store.read("SELECT seq FROM events ORDER BY seq"))
    until(lambda: tail.end() == third)  # on a server, others' open transactions hold the end back
    assert (tail.until(0, 9), tail.until(second, 2), tail.until(third + 2, 2)) == (third, third, third + 2)
    assert tail.until(first, 1) == second

    def work(transaction: Transaction) -> None:
        tail.move(transaction, 2, 1)
        raise KeyError("killed")

    with pytest.raises(KeyError):
        store.write(work)
    assert tail.position() is None
    store.write(lambda transaction: tail.move(transaction, 2, 1))
    assert (tail.position(), store.tail("another").position()) == (2, None)


def test_of_two_readers_of_one_name_one_moves(store: Store) -> None:
    tail = store.tail("reader")
    assert store.write(lambda transaction: tail.move_from(transaction, 0, 3, 1))
    assert not store.write(lambda transaction: tail.move_from(transaction, 0, 5, 1))
    assert store.write(lambda transaction: tail.move_from(transaction, 3, 5, 1))
    assert tail.position() == 5


def test_a_tail_is_told_what_was_released_behind_it(store: Store) -> None:
    tail = store.tail("reader")
    store.append([event(name) for name in "abc"])
    first, second, third = (seq for (seq,) in store.read("SELECT seq FROM events ORDER BY seq"))
    held = (
        "INSERT INTO quarantine (partner, source, format, seq, reason, content_key, quarantined_at_us) "
        "VALUES ('shop', 's', 'log', ?, 'odd', ?, 5)"
    )
    store.write(lambda transaction: transaction.executemany(held, [(first, "1"), (third, "3")]))
    store.write(lambda transaction: tail.move(transaction, second, 10))
    assert tail.released() == []
    store.write(lambda transaction: transaction.execute("UPDATE quarantine SET replayed_at_us = 11"))
    assert tail.released() == [first]


def test_another_log_has_an_end_of_its_own(store: Store) -> None:
    store.append([event("a")])
    assert LogTail(store.read, "delivery", NEWEST_SIGNAL).end() == 0


def test_a_watch_takes_in_what_is_new_and_no_more_often_than_it_may(store: Store, opened: Opener) -> None:
    other, taken = opened(), []
    watch = StoreWatch(store, "partners", check_s=1.0)

    def take() -> None:
        taken.append(store.read(PARTNERS))

    watch.look(10.0, take)
    watch.look(12.0, take)
    assert taken == [[]]
    add(other, "a")
    watch.look(12.5, take)
    assert taken == [[]]
    watch.look(13.0, take)
    assert taken == [[], [("a",)]]
    add(other, "b")
    watch.look(5.0, take)  # a clock that was set back
    assert taken[-1] == [("a",), ("b",)]


def test_a_watch_comes_back_for_what_was_left_and_for_what_failed(store: Store, tmp_path: Path) -> None:
    left = [True, True, False]  # then nothing, for a server's stamp may move for what another database commits
    watch = StoreWatch(store, "pages")
    found = [watch.look(now, lambda: bool(left) and left.pop(0)) for now in (1.0, 2.0, 3.0, 4.0)]
    assert found == [True, True, False, False]
    assert left == []
    assert watch.look(5.0, lambda: True, anyway=True)


@embedded_only("a lock on the file")
def test_a_watch_over_a_store_that_is_locked_tries_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    holder, store, taken = open_store(tmp_path), open_store(tmp_path, wait_ms=0), []
    watch = StoreWatch(store, "partners")

    def take() -> None:
        add(store, "b")
        taken.append(store.read(PARTNERS))

    holder.write(lambda transaction: watch.look(1.0, take))
    assert "partners cannot be read again: BusyError" in caplog.text
    assert taken == []
    watch.look(2.0, take)
    assert taken == [[("b",)]]
