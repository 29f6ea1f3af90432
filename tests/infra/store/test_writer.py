"""Acknowledged means durable: group commit into the event log."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from infra import layout
from infra.store.engines import open_writer
from infra.store.errors import ConflictingWrite, StoreBusy, StoreUnavailable
from infra.store.group import MAX_WAITING
from infra.store.protocol import Store
from infra.store.statements.partners import ADD_PARTNER
from models.events.rules import to_row
from tests.stores import embedded_only
from tests.waiting import PATIENCE_S

Opener = Callable[[], Store]


def row(event_id: str) -> tuple[object, ...]:
    return to_row({"event_id": event_id, "type": "search", "ts": "2026-11-21T10:00:00Z"}, "p")


def test_a_batch_is_in_the_log_when_it_is_acknowledged_and_a_repeat_is_a_duplicate(opened: Opener, tmp_path: Path) -> None:
    writer = open_writer(tmp_path, lambda: 7)
    assert writer.append("shop", [row("a"), row("b"), row("a")]).result(PATIENCE_S) == [True, True, False]
    assert opened().read("SELECT event_id, received_at_us FROM events") == [("a", 7), ("b", 7)]
    assert writer.append("shop", [row("b")]).result(PATIENCE_S) == [False]
    assert writer.append("other", [row("b")]).result(PATIENCE_S) == [True]
    writer.close()


def test_64_parallel_copies_of_one_event_have_one_effect(opened: Opener, tmp_path: Path) -> None:
    writer = open_writer(tmp_path, lambda: 7)
    start = threading.Barrier(64)
    news: list[bool] = []

    def send() -> None:
        start.wait()
        news.extend(writer.append("shop", [row("same")]).result(PATIENCE_S))

    threads = [threading.Thread(target=send) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    assert sorted(news) == [False] * 63 + [True]
    assert opened().read("SELECT count(*) FROM events") == [(1,)]


@embedded_only("a file that cannot be written")
def test_a_log_that_cannot_be_written_acknowledges_nothing_and_recovers(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("in the way")
    writer = open_writer(home, lambda: 7)
    with pytest.raises(StoreUnavailable):
        writer.append("shop", [row("a")]).result(PATIENCE_S)
    home.unlink()
    assert writer.append("shop", [row("a")]).result(PATIENCE_S) == [True]
    assert (home / layout.STORE).exists()
    writer.close()


def test_what_no_longer_fits_is_refused_and_what_waits_is_written_before_the_end(opened: Opener, tmp_path: Path) -> None:
    writer = open_writer(tmp_path, lambda: 7)
    goes_on = threading.Event()
    first = writer.submit(lambda connection: goes_on.wait(PATIENCE_S))
    while not first.running():
        pass
    waiting = [writer.append("shop", [row(str(n))]) for n in range(MAX_WAITING)]
    with pytest.raises(StoreBusy):
        writer.append("shop", [row("late")]).result(0)
    closing = threading.Thread(target=writer.close)
    closing.start()
    goes_on.set()
    assert all(one.result(PATIENCE_S) == [True] for one in waiting)
    closing.join(PATIENCE_S)
    assert not closing.is_alive()


def test_work_that_fails_undoes_what_it_wrote_and_nothing_of_its_neighbours(opened: Opener, tmp_path: Path) -> None:
    writer = open_writer(tmp_path, lambda: 7)
    goes_on = threading.Event()
    writer.submit(lambda transaction: goes_on.wait(PATIENCE_S))
    twice = writer.submit(lambda transaction: transaction.execute("INSERT INTO partners VALUES ('b', 1), ('b', 1)"))
    wrong = writer.submit(lambda transaction: [transaction.execute(ADD_PARTNER, ("c", 1)), int("none")])
    good = writer.submit(lambda transaction: transaction.execute(ADD_PARTNER, ("a", 1)))
    goes_on.set()
    with pytest.raises(ConflictingWrite):
        twice.result(PATIENCE_S)
    with pytest.raises(ValueError, match="none"):
        wrong.result(PATIENCE_S)
    assert good.result(PATIENCE_S) == 1
    assert opened().read("SELECT name FROM partners") == [("a",)]
    writer.close()
