"""The key behind every pseudonym: made once in a home, and taken from outside where there are several machines."""

from pathlib import Path

import pytest

from infra import layout
from infra.secret import SECRET_BYTES, secret

GIVEN = "ab" * SECRET_BYTES


def test_an_embedded_home_makes_one_and_keeps_it(tmp_path: Path) -> None:
    first = secret(tmp_path / "home")
    assert len(first) == SECRET_BYTES
    assert secret(tmp_path / "home") == first
    assert secret(tmp_path / "other") != first


def test_the_environment_gives_one_and_the_home_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTUNE_SECRET", GIVEN)
    assert secret(tmp_path / "home") == bytes.fromhex(GIVEN)
    assert not (tmp_path / "home").exists()


def test_the_scale_profile_makes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTUNE_PROFILE", "scale")
    with pytest.raises(ValueError, match="the scale profile makes no secret: set ATTUNE_SECRET"):
        secret(tmp_path / "home")
    assert not (tmp_path / "home").exists()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / layout.SECRET).write_bytes(bytes(SECRET_BYTES))
    assert secret(tmp_path / "home") == bytes(SECRET_BYTES)


def test_two_that_differ_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = secret(tmp_path)
    monkeypatch.setenv("ATTUNE_SECRET", made.hex())
    assert secret(tmp_path) == made
    monkeypatch.setenv("ATTUNE_SECRET", GIVEN)
    with pytest.raises(ValueError, match="are two secrets") as refusal:
        secret(tmp_path)
    assert GIVEN not in str(refusal.value)


@pytest.mark.parametrize("given", ["abc", "zz" * SECRET_BYTES, "ab" * 16])
def test_one_that_is_no_key_is_refused_without_being_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("ATTUNE_SECRET", given)
    with pytest.raises(ValueError, match="ATTUNE_SECRET must be 64 hexadecimal digits") as refusal:
        secret(tmp_path)
    assert given not in str(refusal.value)
