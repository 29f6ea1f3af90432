"""The doctor: a damaged champion and an altered audit are found, with the mend."""

import json
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from infra import layout, registry
from infra.store.embedded.connection import connect
from services.doctor import Finding, examine

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def home(crowned: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(crowned, tmp_path / "home"))


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
        store.execute("DROP TRIGGER model_audit_no_update")
        store.execute("UPDATE model_audit SET reason = 'another' WHERE id = 1")
    assert findings(home)["audit"][1:3] == ("fail", f"altered at row 1 of {len(registry.audit(home))}")
