"""The registry: versions, aliases, audit, and what a killed writer may leave behind."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import psycopg
import pytest

from infra import layout, promotion, registry
from infra.lock import held
from infra.promotion import Move
from infra.registry import Reason
from models import weight_profile as weights
from models.artifact import Golden, Parts
from services import cli
from tests.stores import connect, without_trigger

LINEAGE = {"seed": 1}


def parts(view: float) -> Parts:
    """A weight profile with this weight of a view: the smallest model that can be loaded."""
    base = weights.base_weights()
    base[0] = view
    return weights.to_parts(weights.profile(base, weights.heuristic_factors()))


def saved(home: Path, name: str, n: int) -> None:
    for value in range(n):
        registry.save(home, name, parts(float(value)), LINEAGE)


def test_a_saved_version_comes_back_unchanged_and_read_only(tmp_path: Path) -> None:
    version = registry.save(tmp_path, "weights", parts(0.5), LINEAGE, golden=Golden([[1.0]], [[0.5]]))
    found, golden = registry.load_artifact(tmp_path, "weights", version)
    assert version == 1
    assert found.meta == parts(0.5).meta
    assert found.arrays["base"][0] == 0.5
    assert not found.arrays["base"].flags.writeable
    assert golden == Golden([[1.0]], [[0.5]])


def test_versions_count_up_for_each_name_and_are_listed_newest_first(tmp_path: Path) -> None:
    saved(tmp_path, "intent", 2)
    saved(tmp_path, "weights", 1)
    assert [(row.name, row.version) for row in registry.versions(tmp_path)] == [
        ("intent", 2),
        ("intent", 1),
        ("weights", 1),
    ]
    assert registry.versions(tmp_path, "weights")[0].lineage == LINEAGE


def test_a_name_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no oracle; models are intent"):
        registry.save(tmp_path, "oracle", parts(1.0), LINEAGE)


def test_promote_takes_the_newest_or_the_named_version(tmp_path: Path) -> None:
    saved(tmp_path, "weights", 3)
    assert promotion.promote(tmp_path, "weights:2") == Move("weights", None, 2)
    assert promotion.promote(tmp_path, "weights") == Move("weights", 2, 3)
    assert registry.champions(tmp_path) == {"weights": 3}
    assert registry.load(tmp_path, "weights").arrays["base"][0] == 2.0


@pytest.mark.parametrize("model", ["weights:9", "weights:x", "nothing"])
def test_promoting_what_does_not_exist_is_refused(tmp_path: Path, model: str) -> None:
    saved(tmp_path, "weights", 1)
    with pytest.raises(ValueError, match=f"there is no {model}"):
        promotion.promote(tmp_path, model)


def test_rollback_goes_back_step_by_step_and_stops_at_the_first_champion(tmp_path: Path) -> None:
    saved(tmp_path, "weights", 3)
    for version in (1, 2, 3):
        promotion.promote(tmp_path, f"weights:{version}")
    assert promotion.rollback(tmp_path, "weights") == Move("weights", 3, 2)
    assert promotion.rollback(tmp_path, "weights").to_version == 1
    with pytest.raises(ValueError, match="no earlier champion"):
        promotion.rollback(tmp_path, "weights")


def test_after_a_rollback_the_next_promotion_can_be_taken_back_too(tmp_path: Path) -> None:
    saved(tmp_path, "weights", 3)
    promotion.promote(tmp_path, "weights:1")
    promotion.promote(tmp_path, "weights:2")
    promotion.rollback(tmp_path, "weights")
    promotion.promote(tmp_path, "weights:3")
    assert promotion.rollback(tmp_path, "weights").to_version == 1


@pytest.mark.parametrize(
    "refused", [lambda home: promotion.promote(home, "weights:2"), lambda home: promotion.rollback(home, "weights")]
)
@pytest.mark.parametrize("file", [layout.META_FILE, "base.npy"])
def test_a_damaged_version_never_becomes_the_champion(tmp_path: Path, refused: Callable[[Path], object], file: str) -> None:
    saved(tmp_path, "weights", 3)
    promotion.promote(tmp_path, "weights:2")
    promotion.promote(tmp_path, "weights:1")
    (registry.folder_of(tmp_path, "weights", 2) / file).write_bytes(b"{")
    with pytest.raises(ValueError, match="weights:2 cannot serve, nothing has moved"):
        refused(tmp_path)
    assert registry.champions(tmp_path) == {"weights": 1}


@pytest.mark.parametrize(("name", "says"), [("weights", "no earlier champion"), ("oracle", "there is no oracle")])
def test_where_there_is_nothing_to_return_to_a_rollback_says_so(tmp_path: Path, name: str, says: str) -> None:
    saved(tmp_path, "weights", 2)
    promotion.promote(tmp_path, "weights:1")
    with pytest.raises(ValueError, match=says):
        promotion.rollback(tmp_path, name)
    assert registry.champions(tmp_path) == {"weights": 1}


def test_an_alias_moves_for_all_models_or_for_none(tmp_path: Path) -> None:
    saved(tmp_path, "intent", 1)
    with pytest.raises(ValueError, match="there is no weights:1"):
        registry.set_alias(tmp_path, "champion", {"intent": 1, "weights": 1}, action="promote", actor="gate", reason="pass")
    assert registry.champions(tmp_path) == {}
    assert registry.audit(tmp_path) == []


def test_the_audit_holds_until_somebody_alters_it(tmp_path: Path) -> None:
    saved(tmp_path, "weights", 2)
    promotion.promote(tmp_path, "weights:1", actor="gate", reason="first version")
    promotion.promote(tmp_path, "weights:2")
    assert registry.verify_audit(tmp_path) == 2
    assert registry.audit(tmp_path)[0].reason == "first version"
    for attempt in ("UPDATE model_audit SET actor = 'nobody' WHERE id = 2", "DELETE FROM model_audit"):
        with pytest.raises((apsw.ConstraintError, psycopg.IntegrityError), match="append-only"):
            connect(tmp_path).execute(attempt)
    with closing(connect(tmp_path)) as store:
        store.execute(without_trigger(tmp_path, "model_audit", "model_audit_no_update"))
        store.execute("UPDATE model_audit SET actor = 'nobody' WHERE id = 2")
    with pytest.raises(ValueError, match="altered at row 2 of 2"):
        registry.verify_audit(tmp_path)


@pytest.mark.parametrize(
    "behind_its_back",
    ["UPDATE model_aliases SET version = 1", "DELETE FROM model_aliases", "DELETE FROM model_audit WHERE id = 2"],
)
def test_an_audit_that_does_not_end_where_the_aliases_are_is_not_trusted(tmp_path: Path, behind_its_back: str) -> None:
    saved(tmp_path, "weights", 2)
    promotion.promote(tmp_path, "weights:1")
    promotion.promote(tmp_path, "weights:2")
    with closing(connect(tmp_path)) as store:
        store.execute(without_trigger(tmp_path, "model_audit", "model_audit_no_delete"))
        store.execute(behind_its_back)
    with pytest.raises(ValueError, match="champion of weights is not where the last row left it"):
        registry.verify_audit(tmp_path)


def test_metrics_and_verdict_follow_a_version_later(tmp_path: Path) -> None:
    saved(tmp_path, "intent", 1)
    registry.record(tmp_path, "intent", 1, metrics={"macro_f1": 0.6}, verdict={"verdict": "pass"})
    row = registry.versions(tmp_path)[0]
    assert (row.metrics, row.verdict, row.lineage) == ({"macro_f1": 0.6}, "pass", LINEAGE)


def test_an_orphaned_artifact_is_harmless_and_swept(tmp_path: Path) -> None:
    saved(tmp_path, "intent", 1)
    places = (tmp_path / layout.ARTIFACTS / "intent", tmp_path / layout.BENTOML / "models" / "intent")
    for place in places:
        (place / "half-written").mkdir(parents=True)
    saved(tmp_path, "intent", 1)
    assert registry.sweep(tmp_path) == 2
    assert not any((place / "half-written").exists() for place in places)
    assert registry.load(tmp_path, "intent", 1).arrays["base"][0] == 0.0


def test_a_second_holder_of_a_lock_is_told_who_holds_it(tmp_path: Path) -> None:
    lock = f"held(Path({str(tmp_path / 'l')!r}), 'retrain')"
    other = f"from pathlib import Path; from infra.lock import held\nwith {lock}:"
    with held(tmp_path / "l", "retrain"):
        with held(tmp_path / "l", "retrain"):  # a flow within a flow
            pass
        second = subprocess.run([sys.executable, "-c", f"{other} pass"], capture_output=True, text=True, check=False)
    assert f"another retrain is running on {tmp_path} (process {os.getpid()})" in second.stderr
    third = subprocess.run([sys.executable, "-c", f"{other} pass"], capture_output=True, text=True, check=False)
    assert third.returncode == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["rollback", "weights"], "weights has no earlier champion to return to"),
        (["rollback", "oracle"], "there is no oracle"),
        (["promote", "weights:9"], "there is no weights:9"),
        (["promote", "oracle"], "there is no oracle"),
        (["promote", "weights:"], "there is no weights:"),
        (["promote", "weights:²"], "there is no weights:²"),
        (["retrain", "--as-of", "2999-01-01"], "--as-of lies in the future"),
        (["tune", "--as-of", "2999-01-01"], "--as-of lies in the future"),
        (["approve"], "no run waits for an approval; one that does is started with: attune retrain --approve"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    saved(tmp_path, "weights", 1)
    promotion.promote(tmp_path, "weights")
    monkeypatch.setenv("ATTUNE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["attune", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    err = capsys.readouterr().err
    assert ended.value.code == 2
    assert err.startswith(f"attune: {says}")
    assert err.count("\n") == 1
    assert registry.champions(tmp_path) == {"weights": 1}


def test_a_promotion_by_hand_says_so_in_the_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path, "weights", 1)
    monkeypatch.setenv("ATTUNE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["attune", "promote", "weights"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert capsys.readouterr().out == "weights: champion None -> 1\n"
    (row,) = registry.audit(tmp_path)
    assert (row.action, row.actor, row.reason) == ("promote", "operator", "by hand")


def test_all_newest_versions_are_promoted_by_a_name_and_for_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path, "weights", 2)
    monkeypatch.setenv("ATTUNE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["attune", "promote", "--all", "--by", "ada", "--reason", "the gate is too strict"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert capsys.readouterr().out == "weights: champion None -> 2\n"
    assert [(row.actor, row.reason) for row in registry.audit(tmp_path)] == [("ada", "the gate is too strict")]


def test_the_history_of_aliases_is_printed_and_its_chain_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path, "weights", 1)
    promotion.promote(tmp_path, "weights", actor="ada", reason="looks good")
    monkeypatch.setenv("ATTUNE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["attune", "models", "--audit"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    said = capsys.readouterr()
    assert "promote champion weights: - -> 1  by ada (looks good)" in said.out
    assert said.err == "the chain of hashes holds over all 1 rows, and ends where the aliases are\n"


def test_a_rollback_that_another_change_overtakes_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, "weights", 3)
    for version in (1, 2, 3):  # the third while the second is being taken back
        promotion.promote(tmp_path, f"weights:{version}")
    with pytest.raises(ValueError, match="was moved meanwhile"):
        promotion._moved_back(tmp_path, "weights", [1, 2], Reason("rollback", "ada", "looks bad"))
    assert registry.champions(tmp_path) == {"weights": 3}
    assert promotion.rollback(tmp_path, "weights").to_version == 2
    registry.verify_audit(tmp_path)
