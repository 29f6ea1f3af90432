"""Deploy as an ML engineer types it: a Bento that brings its models, tried from an empty home, and put on record."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flows import deploy
from infra import layout, registry, release
from models import degraded
from tests.stores import copied


@pytest.fixture
def home(crowned: Path, tmp_path: Path) -> Path:
    return copied(crowned, tmp_path / "home")


def attune(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.cli", *words]
    return subprocess.run(command, env=os.environ | {"ATTUNE_HOME": str(home)}, capture_output=True, text=True)


def test_a_deployed_bento_serves_the_champions_from_an_empty_home(home: Path) -> None:
    run = attune(home, "deploy", "--json")
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    champions = registry.champions(home)
    assert told["models"] == champions
    assert told["smoke"]["models"].items() <= champions.items()
    assert set(told["smoke"]["degraded"]) <= {degraded.ONLINE_STORE_UNREACHABLE}  # an empty home has no features
    assert told["smoke"]["items"] > 0
    assert [one._asdict() for one in release.releases(home)] == [told]
    source = home / layout.BENTOML / "bentos" / "attune" / told["id"] / "src"
    assert release.read(source / release.FOLDER)["id"] == told["id"]
    assert not list(source.rglob("flows"))
    assert told["bento"] in attune(home, "deploy", "--list").stdout


def test_a_bento_that_does_not_start_fails_the_smoke_test_with_its_last_words(home: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(OSError, match=r"attune:nothing does not get ready: .*not found"):
        deploy.smoke_test.fn(home, "attune:nothing", {"intent": 1}, scratch)


def test_no_checkout_is_one_line(tmp_path: Path) -> None:
    said = f"there is no bentofile.yaml in {tmp_path}: deploy from a checkout of the repository"
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        deploy.require_checkout(tmp_path)
