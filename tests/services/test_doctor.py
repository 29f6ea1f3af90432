"""The doctor: a damaged champion and an altered audit are found, with the mend."""

import json
import re
from contextlib import closing
from pathlib import Path

import pytest

from infra import layout, promotion, registry
from infra.store.engines import open_writer, server
from infra.store.statements.events import BELIEVED_WITHIN, COUNT_NOT_BELIEVED, EVENTS_SINCE, NEWEST_EVENT, NEWEST_INSTANT
from infra.store.statements.quarantine import COUNT_WAITING
from models.events.rules import to_row
from services.doctor import Finding, examine
from tests.stores import connect, copied, embedded_only, nth
from tests.waiting import PATIENCE_S

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def home(crowned: Path, tmp_path: Path) -> Path:
    return copied(crowned, tmp_path / "home")


def findings(home: Path) -> dict[str, Finding]:
    return {one.part: one for one in examine(home, NOWHERE)}


def test_sound_champions_and_their_audit_are_well(home: Path) -> None:
    found = findings(home)
    for name in registry.champions(home):
        assert found[f"model {name}"].state == "ok"
    assert found["audit"].state == "ok"
    assert found["audit"].says.endswith("the chain holds")


def test_a_damaged_champion_is_named_with_the_mend(home: Path) -> None:
    path = registry.folder_of(home, "intent", 1) / layout.GOLDEN_FILE
    golden = json.loads(path.read_text())
    golden["predictions"][0][0] += 0.01
    path.write_text(json.dumps(golden))
    found = findings(home)["model intent"]
    assert found.state == "fail"
    assert "attune rollback intent" in found.mend
    assert findings(home)["model weights"].state == "ok"


def test_an_altered_audit_is_found(home: Path) -> None:
    with closing(connect(home)) as store:
        store.execute(f"DROP TRIGGER model_audit_no_update{' ON model_audit' if server(home) else ''}")
        store.execute("UPDATE model_audit SET reason = 'another' WHERE id = 1")
    assert findings(home)["audit"][1:3] == ("fail", f"altered at row 1 of {len(registry.audit(home))}")


def test_what_the_gate_left_out_is_told_with_the_reason_and_what_answers_instead(home: Path) -> None:
    version = registry.save(home, "weights", registry.load(home, "weights"), {})
    registry.record(home, "weights", version, verdict={"promote": False, "why": "it is worse", "instead": "the champion stays"})
    found = findings(home)["candidate weights"]
    assert (found.state, found.says) == ("warn", "weights:2 does not serve: it is worse; instead: the champion stays")


def test_the_doctor_says_since_when_nothing_has_been_learned(home: Path) -> None:
    writer = open_writer(home, lambda: 7)
    event = {"type": "item_view", "item_id": "a", "ts": "2026-11-21T10:00:00Z"}
    writer.append("p", [to_row({**event, "event_id": "learned"}, "u")]).result(PATIENCE_S)
    lineage = {"window": {"last_seq": nth(home, 1)}}
    for name in registry.champions(home):
        registry.save(home, name, registry.load(home, name), lineage)
    promotion.promote_all(home, actor="ada", reason="test")
    assert {(move.actor, move.reason) for move in registry.audit(home) if move.to_version == 2} == {("ada", "test")}
    writer.append("p", [to_row({**event, "event_id": f"new-{k}"}, "u") for k in range(3)]).result(PATIENCE_S)
    writer.close()
    found = findings(home)["learning"]
    assert (found.state, found.says.partition(";")[2]) == ("ok", " 3 events came since")
    with closing(connect(home)) as store:
        store.execute("UPDATE model_versions SET created_at_us = 0 WHERE version = 2")
    found = findings(home)["learning"]
    assert (found.state, found.mend) == ("warn", "attune retrain")
    assert found.says.startswith("nothing has been learned since 1970-01-01")


@embedded_only("SQLite's plans")
def test_nothing_is_read_from_end_to_end(home: Path) -> None:
    since = {"events_since": EVENTS_SINCE, "not_believed": COUNT_NOT_BELIEVED}
    asked = since | {
        "newest": NEWEST_EVENT,
        "newest_instant": NEWEST_INSTANT,
        "waiting": COUNT_WAITING,
        "window": BELIEVED_WITHIN,
    }
    with closing(connect(home)) as store:
        for name, statement in asked.items():
            n_bound = max(map(int, re.findall(r"\?(\d)", statement)), default=statement.count("?"))
            plan = [step[-1] for step in store.execute(f"EXPLAIN QUERY PLAN {statement}", (1,) * n_bound).fetchall()]
            assert not [step for step in plan if step.startswith("SCAN") and "INDEX quarantine_" not in step], name


@embedded_only("pages of the file")
def test_a_damaged_page_is_found_where_every_page_is_looked_at(home: Path) -> None:
    with closing(connect(home)) as store:
        ((page,),) = store.execute("SELECT rootpage - 1 FROM sqlite_schema WHERE name = 'holdout_by_user'").fetchall()
        size = store.pragma("page_size")
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    with (home / layout.STORE).open("r+b") as file:
        file.seek(page * size)
        file.write(b"\x07" * size)
    assert "pages" not in findings(home)
    found = {one.part: one for one in examine(home, NOWHERE, whole=True)}["pages"]
    assert (found.state, found.says) == ("fail", "the file is damaged")
