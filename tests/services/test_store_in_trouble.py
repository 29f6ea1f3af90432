"""Disk full, read-only, locked: 503 and never an acknowledgement; and it recovers by itself.

The trouble is real: a limit on the size of files, a user who may not write, another connection's lock.
"""

import json
import os
import resource
import shutil
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from infra import layout
from infra.settings import Settings
from infra.store.free_space import LOOK_S, FreeSpace
from services.api.app import build_app
from services.http.guard import AdmitAll
from services.serving.decision_log import DROPPED, DecisionLog, Failure
from services.serving.features import NoFeatures
from tests.stores import connect, embedded_only

pytestmark = embedded_only("trouble of the file")
NOBODY = 65_534
Ask = Callable[..., Any]


def asking(home: Path, **parts: Any) -> Ask:
    app = build_app(Settings(home=home), authenticator=AdmitAll(), online=NoFeatures(), **parts)
    client = TestClient(app)
    ts = datetime.now(UTC).isoformat()

    def ask(event_id: str, n: int = 1, key: str = "") -> Any:
        events = [
            {"event_id": f"{event_id}-{i}", "user_id": "u", "type": "item_view", "item_id": "i" * 200, "ts": ts}
            for i in range(n)
        ]
        headers = {"content-type": "application/json"} | ({"idempotency-key": key} if key else {})
        return client.post("/v1/events", content=json.dumps({"events": events}), headers=headers)

    ask.client = client  # type: ignore[attr-defined]
    return ask


def stored(home: Path) -> set[str]:
    return {event_id for (event_id,) in connect(home).execute("SELECT event_id FROM events")}


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """For this process, a full disk: Python ignores the signal, so that writes beyond the size fail."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def require_refused(answer: Any) -> None:
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "accepted" not in answer.text


def test_a_full_disk_acknowledges_nothing_and_the_same_request_is_taken_when_there_is_room(tmp_path: Path) -> None:
    ask = asking(tmp_path)
    assert ask("before", 100).json()["accepted"] == 100
    size = (tmp_path / f"{layout.STORE}-wal").stat().st_size
    with files_no_longer_than(size + 20_000):
        answers = [ask(str(i), 100, key=str(i)) for i in range(4)]
        require_refused(answers[-1])
    acknowledged = {f"{i}-{n}" for i, answer in enumerate(answers) if answer.status_code == 202 for n in range(100)}
    assert {e for e in stored(tmp_path) if not e.startswith("before")} == acknowledged
    again = ask("3", 100, key="3")
    assert (again.status_code, "idempotent-replayed" in again.headers) == (202, False)
    assert ask("3", 100, key="3").headers["idempotent-replayed"] == "true"


def test_below_the_watermark_writes_are_refused_and_answers_go_on(tmp_path: Path) -> None:
    now_s, free = [0.0], [65]
    space = FreeSpace(tmp_path, 64, lambda _: free[0], lambda: now_s[0])
    ask = asking(tmp_path, space=space)
    client = ask.client  # type: ignore[attr-defined]
    assert ask("before").status_code == 202
    free[0] = 63
    assert ask("still").status_code == 202  # the disk is asked once a second
    now_s[0] += LOOK_S
    require_refused(ask("during"))
    assert client.get("/readyz").json()["writes"].startswith("refused")
    answer = client.post("/v1/intent", json={})
    assert (answer.status_code, answer.json()["degraded"] != []) == (200, True)  # it has no models
    free[0] = 64
    now_s[0] += LOOK_S
    assert ask("after").status_code == 202
    assert client.get("/readyz").json()["writes"] == "taken"
    assert stored(tmp_path) == {"before-0", "still-0", "after-0"}


def test_decisions_are_dropped_and_counted_while_the_disk_is_short(tmp_path: Path) -> None:
    free, counted = [0], Counter[str]()
    space = FreeSpace(tmp_path, 1, lambda _: free[0])
    log = DecisionLog(tmp_path, lambda status, n: counted.update({status: n}), gather_s=0.01, max_waiting=2, space=space)
    failure = Failure("shop", "u", 1, "e", "v", "Error")
    assert [log.append(failure) for _ in range(3)] == [True, True, False]
    log.close()
    assert counted == {DROPPED: 3}


def test_a_locked_database_is_refused_before_anyone_gives_up_waiting(tmp_path: Path) -> None:
    ask = asking(tmp_path)
    assert ask("before").status_code == 202
    holder = connect(tmp_path)
    holder.execute("BEGIN EXCLUSIVE")
    require_refused(ask("during"))
    holder.execute("ROLLBACK")
    assert ask("after").status_code == 202
    assert stored(tmp_path) == {"before-0", "after-0"}


def test_a_store_that_may_only_be_read_is_refused_and_recovers() -> None:
    home = Path(tempfile.mkdtemp(prefix="attune-read-only-"))  # pytest's own folders are closed to other users
    try:
        assert asking(home)("before").status_code == 202
        (to_child, child_reads), (to_parent, parent_reads) = (os.pipe()[::-1] for _ in "ab")
        child = os.fork()
        if child == 0:
            _as_nobody(home, child_reads, to_parent)
        _writable(home, False)
        os.write(to_child, b"1")
        read_only = os.read(parent_reads, 3)
        _writable(home, True)
        os.write(to_child, b"1")
        assert (read_only, os.read(parent_reads, 3)) == (b"503", b"202")
        assert os.waitpid(child, 0)[1] == 0
        assert stored(home) == {"before-0", "after-0"}
    finally:
        shutil.rmtree(home)


def _writable(home: Path, writable: bool) -> None:
    for path in home.rglob("*"):
        path.chmod((0o777 if path.is_dir() else 0o666) if writable else (0o555 if path.is_dir() else 0o444))
    home.chmod(0o777 if writable else 0o555)


def _as_nobody(home: Path, reads: int, writes: int) -> None:
    """In a child: ask once when the store is read-only, once when it is not. Root may always write, so root becomes nobody."""
    try:
        os.read(reads, 1)
        if os.geteuid() == 0:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        ask = asking(home)
        os.write(writes, str(ask("during").status_code).encode())
        os.read(reads, 1)
        os.write(writes, str(ask("after").status_code).encode())
        os._exit(0)
    except BaseException:  # noqa: BLE001 - the child must never come back into pytest
        traceback.print_exc()
        os._exit(1)


@pytest.mark.parametrize("garbage", [b"", b"garbage" * 1000])
def test_what_is_acknowledged_is_in_the_file_that_a_restart_would_read(tmp_path: Path, garbage: bytes) -> None:
    ask = asking(tmp_path)
    assert ask("before").status_code == 202
    for path in tmp_path.glob(f"{layout.STORE}*"):
        path.unlink()
    (tmp_path / layout.STORE).write_bytes(garbage)
    answer = ask("during")
    assert answer.status_code in (202, 503)
    if answer.status_code == 202:
        assert "during-0" in stored(tmp_path)
