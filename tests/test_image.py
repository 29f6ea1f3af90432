"""The service's image installs what the service needs, in the versions that everything else is tested with."""

import ast
import re
from collections.abc import Iterator
from importlib.metadata import packages_distributions

from tests.tree import ROOT

PIN = re.compile(r"^([a-z0-9.-]+)(?:\[[^\]]*\])?==(\S+)( ; [^\\]*)?", re.MULTILINE)


def pins(name: str) -> set[tuple[str, str]]:
    return {(package, version) for package, version, _ in PIN.findall((ROOT / name).read_text())}


def test_the_image_installs_the_services_part_of_the_lock() -> None:
    own, whole = pins("requirements.services.lock"), pins("requirements.lock")
    names = {package for package, _ in own}
    assert own < pins("requirements.scale.lock") < whole  # the image of all floors has no test tools either
    assert {"bentoml", "apsw", "feast", "lightgbm", "msgspec", "starlette", "uvicorn", "prometheus-client"} <= names
    tools = {
        "pytest",
        "schemathesis",
        "hypothesis",
        "ruff",
        "implicit",
        "prefect",
        "great-expectations",
        "tea-tasting",
        "river",
    }
    assert not names & tools
    assert "requirements.services.lock" in (ROOT / "bentofile.yaml").read_text()
    assert '"flows/' not in (ROOT / "bentofile.yaml").read_text()


def test_everything_that_the_packed_floors_import_is_installed() -> None:
    of_package, names = packages_distributions(), {package for package, _ in pins("requirements.services.lock")}
    imported = {name for floor in ("models", "infra", "feature_repo", "services") for name in imports_of(floor)}
    from_outside = imported & of_package.keys() - {"models", "infra", "feature_repo", "services", "flows"}
    missing = {n for n in from_outside if not {d.lower().replace("_", "-") for d in of_package[n]} & names}
    assert missing == set()


def imports_of(floor: str) -> Iterator[str]:
    """First words of all that a floor's modules import."""
    for path in (ROOT / floor).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module.partition(".")[0]
