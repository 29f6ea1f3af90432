"""A backup that is taken while the home is served becomes a home that serves."""

import json
import shutil
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from infra import layout, registry
from infra.backup import LIST, backup, restore
from infra.settings import Settings
from infra.store.embedded.copies import revision_at
from infra.store.embedded.migrate import newest
from infra.store.engines import open_store
from infra.store.errors import NewerStore
from services.api.app import App, build_app
from services.http.guard import AdmitAll
from services.serving.features import NoFeatures
from tests.stores import copied, embedded_only

pytestmark = embedded_only("attune backup does not copy a server")
ASK = {"user_id": "u", "item_id": "sku-00001", "limit": 5}


def app_of(home: Path) -> App:
    return build_app(Settings(home=home), authenticator=AdmitAll(), online=NoFeatures())


def event(n: int) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    return {"event_id": f"e-{n}", "user_id": "u-1", "session_id": "s", "type": "item_view", "item_id": "sku-00001", "ts": now}


def n_events(home: Path) -> int:
    with closing(open_store(home)) as store:
        return int(store.read("SELECT count(*) FROM events")[0][0])


def test_a_backup_under_load_is_restored_and_serves(crowned: Path, tmp_path: Path) -> None:
    (crowned / layout.OFFLINE).mkdir(exist_ok=True)
    (crowned / layout.OFFLINE / "table.parquet").write_bytes(b"rows")
    app, stop, sent = app_of(crowned), threading.Event(), [0]

    def load() -> None:
        while not stop.is_set():
            assert TestClient(app).post("/v1/events", json={"events": [event(sent[0])]}).status_code == 202
            sent[0] += 1

    before = n_events(crowned)
    with TestClient(app) as client:
        answer = client.post("/v1/recommendations", json=ASK).json()
        writing = threading.Thread(target=load)
        writing.start()
        try:
            while not sent[0]:
                pass
            kept = backup(crowned, tmp_path / "kept")
        finally:
            stop.set()
            writing.join()
    assert kept.revision == revision_at(tmp_path / "kept" / layout.STORE) == newest()
    assert not list((tmp_path / "kept").rglob("*-wal"))

    home = tmp_path / "home"
    assert restore(tmp_path / "kept", home) == kept
    assert before < n_events(home) <= before + sent[0]
    assert registry.champions(home) == registry.champions(crowned)
    assert (home / layout.SECRET).read_bytes() == (crowned / layout.SECRET).read_bytes()
    assert (home / layout.OFFLINE / "table.parquet").read_bytes() == b"rows"
    assert home.stat().st_mode & 0o077 == 0
    with TestClient(app_of(home)) as client:
        again = client.post("/v1/recommendations", json=ASK).json()
    assert again["models"] == answer["models"]
    assert len(again["items"]) == len(answer["items"]) > 0  # in what order, hangs on what was written meanwhile


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    open_store(tmp_path / "one").close()
    backup(tmp_path / "one", tmp_path / "kept")
    return tmp_path / "kept"


def test_a_home_that_is_not_empty_is_left_alone(kept: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not empty"):
        restore(kept, tmp_path / "one")
    with pytest.raises(ValueError, match="is not empty"):
        backup(tmp_path / "one", kept)
    with pytest.raises(ValueError, match="in the home itself"):
        backup(tmp_path / "one", tmp_path / "one" / "kept")
    with pytest.raises(ValueError, match="no store"):
        backup(tmp_path / "none", tmp_path / "more")


def test_a_backup_of_a_newer_attune_is_refused(kept: Path, tmp_path: Path) -> None:
    told = json.loads((kept / LIST).read_text())
    (kept / LIST).write_text(json.dumps(told | {"revision": newest() + 1}))
    with pytest.raises(NewerStore, match="upgrade Attune"):
        restore(kept, tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_a_damaged_or_unfinished_backup_makes_no_home(kept: Path, tmp_path: Path) -> None:
    whole = (kept / layout.STORE).read_bytes()
    (kept / layout.STORE).write_bytes(whole[:-1] + b"x")
    with pytest.raises(ValueError, match="damaged"):
        restore(kept, tmp_path / "home")
    (kept / LIST).unlink()
    with pytest.raises(ValueError, match="no whole backup"):
        restore(kept, tmp_path / "home")
    assert not (tmp_path / "home").exists()
    assert not list(tmp_path.glob(".*restoring"))


def test_a_name_in_the_list_leads_to_no_file_outside(kept: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("secret")
    told = json.loads((kept / LIST).read_text())
    told["sums"]["../outside"] = "0"
    (kept / LIST).write_text(json.dumps(told))
    with pytest.raises(ValueError, match="no whole backup"):
        restore(kept, tmp_path / "home")


def test_no_backup_while_a_flow_writes_features(tmp_path: Path) -> None:
    open_store(tmp_path / "one").close()
    code = (
        "import sys; from pathlib import Path; from infra.lock import held\n"
        "with held(Path(sys.argv[1]), 'retraining'):\n print('held', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "one" / layout.RETRAIN_LOCK)], stdin=-1, stdout=-1, text=True
    )
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == "held\n"
    try:
        with pytest.raises(BlockingIOError, match="another retraining is running"):
            backup(tmp_path / "one", tmp_path / "kept")
    finally:
        child.stdin.close()
        child.wait()


def test_a_stopped_service_leaves_one_file(crowned: Path, tmp_path: Path) -> None:
    home = copied(crowned, tmp_path / "home")
    app = app_of(home)
    with TestClient(app) as client:
        client.post("/v1/events", json={"events": [event(1)]})
        assert (home / f"{layout.STORE}-wal").stat().st_size > 0
    wal = home / f"{layout.STORE}-wal"
    assert not wal.exists() or wal.stat().st_size == 0
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copyfile(home / layout.STORE, alone / layout.STORE)
    assert n_events(alone) == n_events(home)
