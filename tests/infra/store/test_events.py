"""The event log's store: nothing twice, nothing lost, one secret."""

import threading
from contextlib import closing
from pathlib import Path

import apsw
import numpy as np
import pandas as pd
import pytest

from infra.layout import SECRET, STORE
from infra.secret import secret
from infra.store import events as store
from infra.store.embedded.connection import connect
from infra.store.embedded.migrate import revisions
from infra.store.engines import open_store
from models.schema import EVENT_COLUMNS, MEASURES
from tests.stores import embedded_only
from tests.waiting import until


def events(*ids, at=1_000_000):
    frame = pd.DataFrame({name: pd.Series([None] * len(ids), dtype=object) for name in EVENT_COLUMNS})
    frame["event_id"] = list(ids)
    frame["user_id"] = "u"
    frame["event_type"] = "search"
    frame["occurred_at_us"] = at
    for name in MEASURES:
        frame[name] = np.nan
    frame["price"] = 0.1
    frame["utc_offset_min"] = np.int16(60)
    return frame


@pytest.fixture
def log(tmp_path):
    opened = open_store(tmp_path)
    yield opened
    opened.close()


def append(log, frame, partner="shop", received_at_us=5):
    found = log.write(lambda transaction: store.append_events(transaction, frame, partner, received_at_us))
    until(lambda: log.tail("").end() >= numbers_in(log)[-1], "a transaction is open for ever")
    return found


def numbers_in(log):
    return [seq for (seq,) in log.read("SELECT seq FROM events ORDER BY seq")]


def hold_back(log, *refusals):
    return log.write(lambda transaction: store.quarantine_events(transaction, refusals))


def test_what_is_appended_is_read_back_bit_for_bit(log):
    frame = events("a", "b")
    assert append(log, frame, "shop", 5) == (2, 0)
    back = store.read_events(log)
    assert back["seq"].tolist() == numbers_in(log)
    assert back["partner"].tolist() == ["shop", "shop"]
    assert back["received_at_us"].tolist() == [5, 5]
    pd.testing.assert_frame_equal(back[list(EVENT_COLUMNS)], frame, check_dtype=False)
    assert back["utc_offset_min"].dtype == np.int16
    assert back["price"].dtype == np.float64


def test_an_event_id_counts_once_per_partner(log):
    assert append(log, events("a", "a", "b"), "shop", 5) == (2, 1)
    assert append(log, events("b", "c"), "shop", 6) == (1, 1)
    assert append(log, events("a"), "other", 6) == (1, 0)


def test_an_empty_log_reads_as_an_empty_event_frame(log):
    back = store.read_events(log)
    assert len(back) == 0
    assert list(back.columns) == ["seq", "partner", *EVENT_COLUMNS, "received_at_us"]


def test_reading_starts_after_a_sequence_number_and_ends_at_an_instant(log):
    append(log, pd.concat([events("a", at=1), events("b", at=2), events("c", at=3)]), "shop", 5)
    assert store.read_events(log, after_seq=numbers_in(log)[0])["event_id"].tolist() == ["b", "c"]
    assert store.read_events(log, until_us=2)["event_id"].tolist() == ["a", "b"]


def test_chunks_together_are_the_whole_log(log):
    append(log, events(*map(str, range(7))), "shop", 5)
    chunks = list(store.event_chunks(log, n_rows=3))
    assert [len(chunk) for chunk in chunks] == [3, 3, 1]
    pd.testing.assert_frame_equal(pd.concat(chunks, ignore_index=True), store.read_events(log))


def test_a_quarantined_event_is_left_out_and_comes_back_when_refused_again(log):
    append(log, events("a", "b"), "shop", 5)
    first = numbers_in(log)[0]
    assert hold_back(log, (first, "too fast")) == 1
    assert hold_back(log, (first, "too fast")) == 0
    assert store.read_events(log)["event_id"].tolist() == ["b"]
    log.write(lambda transaction: transaction.execute("UPDATE quarantine SET replayed_at_us = 9"))
    assert store.read_events(log)["event_id"].tolist() == ["a", "b"]
    assert hold_back(log, (first, "too fast")) == 1
    assert store.read_events(log)["event_id"].tolist() == ["b"]


def test_a_refused_row_is_kept_once(log):
    row = store.Refused("shop", "f.csv", "taobao", 3, "{}", "why")
    assert log.write(lambda transaction: store.quarantine(transaction, [row, row._replace(line=4)])) == 2
    assert log.write(lambda transaction: store.quarantine(transaction, [row])) == 0


@embedded_only("pragmas of the file")
def test_the_log_is_durable_and_shared(tmp_path, log):
    with closing(connect(tmp_path)) as conn:
        assert conn.pragma("journal_mode") == "wal"
        assert conn.pragma("synchronous") == 2
    append(open_store(tmp_path), events("a"))
    assert len(store.read_events(log)) == 1


def test_many_processes_agree_on_one_secret(tmp_path):
    found = []
    threads = [threading.Thread(target=lambda: found.append(secret(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert set(found) == {(tmp_path / SECRET).read_bytes()}
    assert (tmp_path / SECRET).stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == [SECRET]


def test_a_damaged_secret_is_refused(tmp_path):
    (tmp_path / SECRET).write_bytes(b"short")
    with pytest.raises(ValueError, match="must hold 32 bytes, found 5: restore it"):
        secret(tmp_path)


def test_a_store_of_before_gets_the_tables_it_lacks(tmp_path):
    with closing(apsw.Connection(str(tmp_path / STORE))) as conn:
        conn.execute(revisions()[0].sql)
        conn.execute("DROP TABLE rewards")  # and its mark is 0, as before there were marks
    with closing(connect(tmp_path)) as conn:
        assert conn.execute("SELECT count(*) FROM rewards").get == 0


def test_a_file_that_is_no_store_is_refused(tmp_path):
    (tmp_path / STORE).write_text("hello, this is no database" * 100)
    with pytest.raises(ValueError, match="no Attune store"):
        connect(tmp_path)


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        connect(tmp_path / "file" / "home")
    assert Path(tmp_path / "file").is_file()


def test_a_window_has_the_newest_events_that_count_and_all_of_a_smaller_log(log):
    append(log, events("e", "d", "c", "b", "a").assign(occurred_at_us=[5, 4, 4, 2, 1]))
    assert store.newest_believed(log, 2)["occurred_at_us"].tolist() == [5, 4, 4]
    assert store.newest_believed(log, 1, until_us=4)["occurred_at_us"].tolist() == [4, 4]
    assert store.newest_believed(log, 1, until_us=0).empty
    assert len(store.newest_believed(log, 5)) == 5
    hold_back(log, *((seq, "odd") for seq in numbers_in(log)[:3]))
    assert store.newest_believed(log, 2).empty


def test_who_floods_the_log_pushes_nobody_out_of_the_window(log):
    append(log, events("a", "b").assign(occurred_at_us=[1, 2]), partner="shop")
    append(log, events(*"cdefghij").assign(occurred_at_us=range(3, 11)), partner="flood")
    found = store.newest_believed(log, 6)
    assert found.groupby("partner")["occurred_at_us"].agg(list).to_dict() == {"flood": [6, 7, 8, 9, 10], "shop": [1, 2]}
    assert store.newest_believed(log, 6, until_us=9)["occurred_at_us"].max() == 9
