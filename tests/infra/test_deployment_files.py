"""Compose file and Dockerfile: what they name is there. Nothing is built or started: no docker daemon is at hand."""

import re
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from infra.settings import setting_names

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "infra" / "deploy"


def test_the_compose_file_names_settings_and_commands_that_there_are() -> None:
    composed = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    ours = {name: one for name, one in composed["services"].items() if one.get("image") == "attune"}
    assert ours.keys() == {"service", "worker", "schedule"}
    for one in ours.values():
        assert {name for name in one["environment"] if name.startswith("ATTUNE_")} <= set(setting_names())
        assert one["read_only"]
        assert (DEPLOY / one["build"]["context"] / one["build"]["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    assert not re.search(r"PASSWORD: *[a-zA-Z0-9]", (DEPLOY / "compose.yaml").read_text())


def test_the_image_is_built_of_what_is_there_from_a_lock_with_hashes() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY") and "--from" not in line]
    assert copied
    assert all((ROOT / name).exists() for names in copied for name in names)
    assert any("--require-hashes -r /src/requirements.scale.lock" in line for line in lines)
    assert any(line.startswith("USER ") for line in lines)
