"""The house keeps its floors: who may import whom, how things are called, and what the documents promise."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from infra.settings import setting_names
from models import schema

ROOT = Path(__file__).parents[1]
PACKAGES = ("models", "flows", "services", "feature_repo")
FORBIDDEN = {
    "models": {
        *("prefect", "feast", "bentoml", "great_expectations", "fastapi", "starlette"),
        *("redis", "sqlalchemy", "psycopg", "apsw"),
        *("httpx", "requests", "urllib", "socket", "pydantic_settings", "msgspec"),
        *("os", "pathlib", "time", "random", "uuid"),
        *("services", "flows", "feature_repo"),
    },
    "feature_repo": {"prefect", "bentoml", "great_expectations", "services", "flows"},
    "flows": {"services", "starlette", "fastapi"},
    "services": {"flows", "prefect", "great_expectations"},
}


def sources() -> list[Path]:
    return sorted(p for name in (*PACKAGES, "benchmarks", "tests") for p in (ROOT / name).rglob("*.py"))


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("floor", PACKAGES)
def test_a_floor_imports_only_what_it_may(floor: str) -> None:
    files = (ROOT / floor).rglob("*.py")
    broken = {str(p.relative_to(ROOT)): bad for p in files if (bad := imported(p) & FORBIDDEN[floor])}
    assert broken == {}


def test_no_file_has_a_name_that_says_nothing_or_hides_a_package() -> None:
    nothing = {"utils", "util", "helpers", "common", "misc", "manager"}
    hiding = sys.stdlib_module_names | {"prefect", "feast", "bentoml", "models"}
    assert [p.name for p in sources() if p.stem in nothing] == []
    assert [p.name for f in ("flows", "feature_repo") for p in (ROOT / f).glob("*.py") if p.stem in hiding - {"__init__"}] == []
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_files_stay_small() -> None:
    assert {str(p.relative_to(ROOT)): n for p in sources() if (n := len(p.read_text().splitlines())) > 400} == {}


def test_no_artifact_lies_on_the_ground_floor() -> None:
    listing = subprocess.run(["git", "ls-files", "models"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert [f for f in listing.stdout.split() if not f.endswith((".py", ".md"))] == []


def test_the_lock_is_pinned_by_hash_and_names_no_host() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    pins = re.findall(r"^[a-z0-9._-]+(?:\[[^]]*\])?==", lock, re.MULTILINE | re.IGNORECASE)
    assert len(pins) > 150
    assert lock.count("--hash=sha256:") >= len(pins)


def test_the_lock_holds_every_dependency_that_the_project_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    names = {re.split(r"[\[<>=! ]", d)[0].lower() for d in declared} - {"attune"}
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    locked = {line.split("==")[0].split("[")[0] for line in lines if "==" in line}
    assert names - locked == set()


def test_the_readme_names_every_command_and_every_setting() -> None:
    from services.cli import app

    readme = (ROOT / "README.md").read_text()
    root = app()
    commands = [c.name or c.callback.__name__ for g in root.registered_groups for c in g.typer_instance.registered_commands]
    groups = [g.name for top in root.registered_groups for g in top.typer_instance.registered_groups]
    assert len(commands) >= 12
    assert [c for c in (*commands, *groups) if f"attune {c}" not in readme] == []
    assert [s for s in setting_names() if s not in readme] == []


def test_vocabulary_has_no_name_twice() -> None:
    for names in (schema.EVENT_TYPES, schema.INTENTS, schema.SIGNAL_TYPES, schema.NEXT_ACTION_FEATURES, schema.EVENT_COLUMNS):
        assert len(set(names)) == len(names)


def test_a_command_starts_without_the_heavy_frameworks() -> None:
    heavy = "prefect,feast,bentoml,great_expectations,lightgbm,numba,pandas"
    code = f"import sys; import services.cli as c; c.app(); print([m for m in '{heavy}'.split(',') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert out.strip() == "[]"
