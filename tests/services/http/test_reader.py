"""Reads for requests never wait for a lock."""

from pathlib import Path

import apsw
import pytest

from infra import layout
from infra.store.engines import closed_store
from services.http.problems import Refusal
from services.http.reader import Reader
from tests.stores import connect, embedded_only


@embedded_only("a lock on the file")
def test_a_store_that_another_process_holds_is_refused_and_read_again_when_it_is_free(tmp_path: Path) -> None:
    connect(tmp_path).close()
    holder = apsw.Connection(str(tmp_path / layout.STORE))
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("CREATE TABLE held (x)")
    reader = Reader(closed_store(tmp_path, wait_ms=0))
    with pytest.raises(Refusal) as refused:
        reader.rows("SELECT count(*) FROM events")
    assert refused.value.problem.status == 503
    holder.close()
    assert reader.rows("SELECT count(*) FROM events") == [(0,)]
