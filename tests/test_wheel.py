"""What is built is what was tested: the wheel holds all floors, their data files, the commands, and nothing else."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(words, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout[-2000:]
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_the_floors_and_the_files_they_read(unpacked: Path) -> None:
    inside = {p.name for p in unpacked.iterdir() if not p.name.endswith(".dist-info")}
    assert inside == {"models", "infra", "flows", "services", "feature_repo"}
    stores = ("feature_repo/feature_store.yaml", "feature_repo/scale/feature_store.yaml")
    for file in (
        "flows/prefect.yaml",
        "flows/reports/base.html.j2",
        "services/beacon/web/dist/attune.js",
        "services/console/static/console.css",
        *(f"{floor}/py.typed" for floor in inside),
        *stores,
    ):
        assert (unpacked / file).is_file(), file
    suffixes = {p.suffix for p in unpacked.rglob("*") if p.is_file() and ".dist-info" not in str(p)}
    assert suffixes <= {".py", ".yaml", ".sql", ".j2", ".js", ".mjs", ".ts", ".css", ".json", ".typed", ""}


def test_the_commands_run_from_the_wheel(unpacked: Path, tmp_path: Path) -> None:
    code = "import services.cli, models, flows.commands; print(models.__file__); services.cli.main()"
    run = subprocess.run(
        [sys.executable, "-c", code, "doctor", "--json"],
        env={**os.environ, "PYTHONPATH": str(unpacked), "ATTUNE_HOME": str(tmp_path / "home")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(str(unpacked))
