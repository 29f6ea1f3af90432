"""The flows' settings: known names only, one home, absolute."""

import os
from pathlib import Path

import pytest

from infra.settings import Settings, prepare


def test_home_is_absolute_and_defaults_to_the_folder_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ATTUNE_HOME", raising=False)
    assert Settings().home == tmp_path / ".attune"


def test_home_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ATTUNE_HOME", str(tmp_path / "here"))
    assert Settings().home == tmp_path / "here"


def test_a_misspelt_setting_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTUNE_HOEM", "/srv")
    with pytest.raises(ValueError, match=r"^ATTUNE_HOEM is not a setting of Attune; known are ATTUNE_"):
        Settings()


def test_names_for_tests_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTUNE_TEST_DATA", "/data")
    assert "data" not in Settings().model_dump()


def test_a_bad_value_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTUNE_PROFILE", "huge")
    with pytest.raises(ValueError, match=r"^ATTUNE_PROFILE: ") as refusal:
        Settings()
    assert "\n" not in str(refusal.value)


def test_prepare_makes_the_home_and_keeps_the_libraries_inside_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENTOML_HOME", "elsewhere")
    monkeypatch.setenv("PREFECT_HOME", "elsewhere")
    home = prepare(tmp_path / "new")
    assert home.is_dir()
    assert os.environ["BENTOML_HOME"] == str(home / "bentoml")
    assert os.environ["PREFECT_HOME"] == str(home / "prefect")
