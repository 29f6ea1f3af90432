"""The house keeps its floors: who may import whom, how things are called, and what a docstring opens with.

Each failure shows the offending edge or line, as ``file:line``. The law in words: `docs/style.md`.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from models import schema
from tests.tree import (
    OURS,
    PACKAGES,
    ROOT,
    circle,
    edges,
    folder_of,
    imports,
    modules,
    nothing,
    place,
    sources,
    texts,
    tree,
    unreached,
)

FORBIDDEN = {
    "models": {
        *("prefect", "feast", "bentoml", "great_expectations", "fastapi", "starlette", "jinja2"),
        *("redis", "sqlalchemy", "psycopg", "apsw", "sqlite3", "duckdb"),
        *("httpx", "requests", "urllib", "socket", "http", "pydantic_settings", "msgspec"),
        *("os", "pathlib", "shutil", "tempfile", "subprocess", "time", "random", "uuid", "logging"),
        *(OURS - {"models"}),
    },
    "infra": {
        "prefect",
        "feast",
        "bentoml",
        "great_expectations",
        "fastapi",
        "starlette",
        "jinja2",
        *(OURS - {"models", "infra"}),
    },
    "feature_repo": {"prefect", "bentoml", "great_expectations", "starlette", *(OURS - {"models", "infra", "feature_repo"})},
    "flows": {"starlette", "fastapi", "services", "benchmarks", "tests"},
    "services": {"prefect", "great_expectations", "flows", "benchmarks", "tests"},
    "benchmarks": {"tests"},
}
# SQL for what is no store of ours: Feast's own online table.
SQL_ELSEWHERE = {"feature_repo/embedded_rows.py", "feature_repo/online.py"}
SQL = re.compile(
    r"^\s*(SELECT\s|INSERT\s+(OR\s+\w+\s+)?INTO\s|UPDATE\s+\S+\s+SET\s|DELETE\s+FROM\s|(CREATE|ALTER|DROP)\s+(TABLE|INDEX|TRIGGER|VIEW)\s"
    r"|PRAGMA\s|BEGIN\s+IMMEDIATE|WITH\s+\w+.*\sAS\s*\()"
)
HTML = re.compile(r"</?(html|head|body|div|table|tr|td|th|p|span|svg|script|style|section|h[1-6])\b[^>]*>", re.IGNORECASE)
FILES_MAY_HAVE = 400  # lines


# ---- floors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("floor", FORBIDDEN)
def test_a_floor_imports_only_what_it_may(floor: str) -> None:
    files = sources(floor)
    assert files
    assert nothing(f"{place(p, n)} imports {m}" for p in files for m, n in imports(p) if m.split(".")[0] in FORBIDDEN[floor])


@pytest.mark.parametrize("top", [*PACKAGES, "benchmarks", "tests"])
def test_no_circle_between_folders_nor_between_files(top: str) -> None:
    assert nothing(circle(edges(top), folder_of))
    assert nothing(circle(edges(top), str))


def drawn_levels() -> dict[str, int]:
    """Height of each folder and root file of our packages, as the picture in `docs/architecture.md` has it."""
    picture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("before it.")[1].split("```")[1]
    rows = re.findall(r"^(\w+) (.*(?:\n .*)*)", picture.removeprefix("text\n"), re.MULTILINE)
    return {
        f"{floor}/{name}": height
        for floor, row in rows
        for height, group in enumerate(row.split("<"))
        for name in re.findall(r"\w+", group)
    }


def test_the_picture_of_who_imports_whom_is_true() -> None:
    drawn = drawn_levels()
    stem = {module: folder_of(module).removesuffix(".py") for module in modules()}
    there = {stem[m] for m, p in modules().items() if m.split(".")[0] in PACKAGES and m not in PACKAGES}
    assert sorted(there - drawn.keys()) == []
    assert sorted(drawn.keys() - there) == []
    inside = [e for e in edges(*PACKAGES) if e.importer in stem and stem[e.importer] in drawn and stem[e.imported] in drawn]
    upwards = [
        e for e in inside if stem[e.importer] != stem[e.imported] and e.importer.split(".")[0] == e.imported.split(".")[0]
    ]
    assert nothing(e for e in upwards if drawn[stem[e.importer]] <= drawn[stem[e.imported]])


def test_there_is_no_circle_between_the_floors_either() -> None:
    assert nothing(circle(edges(*PACKAGES, "benchmarks"), lambda module: module.split(".")[0]))


def test_no_file_imports_what_another_calls_its_own() -> None:
    assert nothing(
        f"{place(path, node)} imports {alias.name} of {node.module}"
        for path in sources(*PACKAGES, "benchmarks", "tests")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in OURS
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    )


def test_sql_stands_in_the_store_only() -> None:
    elsewhere = [p for p in sources(*PACKAGES) if not place(p).startswith("infra/store/") and place(p) not in SQL_ELSEWHERE]
    assert nothing(f"{place(p, n)}: {text.split()[:3]}" for p in elsewhere for text, n in texts(p) if SQL.match(text))


def test_the_core_writes_no_pages() -> None:
    assert nothing(f"{place(p, n)}: {text[:40]}" for p in sources("models") for text, n in texts(p) if HTML.search(text))


def test_the_store_is_opened_in_one_place() -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = {
        place(p): node.name
        for p in sources(*PACKAGES)
        for node in ast.walk(tree(p))
        if isinstance(node, functions) and node.name == "connect"
    }
    assert len(found) == 1, found
    assert next(iter(found)).startswith("infra/store/")
    opened = [f"{place(p, n)}" for p in sources(*PACKAGES) for n in ast.walk(tree(p)) if _opens_sqlite(n)]
    assert nothing(
        where
        for where in opened
        if not where.startswith(("infra/store/", "feature_repo/embedded_rows.py", "feature_repo/online.py"))
    )


def _opens_sqlite(node: ast.AST) -> bool:
    """``apsw.Connection(…)`` or ``sqlite3.connect(…)``."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
    return (owner, node.func.attr) in {("apsw", "Connection"), ("sqlite3", "connect")}


def test_nothing_in_the_core_is_there_for_benchmarks_only() -> None:
    used = {edge.imported for edge in edges("flows", "services", "infra", "feature_repo")}
    started = {name for name in modules() if f"-m {name}" in (ROOT / "Makefile").read_text()}
    left = sorted(used | started)
    reached = set(left)
    needs: dict[str, set[str]] = {}
    for edge in edges("models"):
        needs.setdefault(edge.importer, set()).add(edge.imported)
    while left:
        more = needs.get(left.pop(), set()) - reached
        reached |= more
        left += sorted(more)
    assert [
        place(p) for name, p in modules().items() if name.startswith("models.") and name not in reached and p.stem != "__init__"
    ] == []


AT_HAND = {"Shelf"}  # a value for whoever has no catalogue: tests and simulated shops


def test_every_name_of_the_core_is_there_for_the_product() -> None:
    others = [top for top in PACKAGES if top != "models"]
    assert nothing(one for one in unreached("models", *others) if one.rpartition(" ")[2] not in AT_HAND)


# ---- names and sizes -----------------------------------------------------------------------------------------------------


def test_no_file_has_a_name_that_says_nothing_or_hides_a_package() -> None:
    empty = {"utils", "util", "helpers", "common", "misc", "manager"}
    hiding = sys.stdlib_module_names | {"prefect", "feast", "bentoml", "models"}
    assert [place(p) for p in sources() if p.stem in empty] == []
    assert [p.name for f in ("flows", "feature_repo") for p in (ROOT / f).glob("*.py") if p.stem in hiding - {"__init__"}] == []
    assert list((ROOT / "tests").rglob("__init__.py")) == []


UNFINDABLE = re.compile(r"(?:^|[a-z_])(Desk|Door|Errand|Aliased|Strangers)$|^(nudging|judging|upkeep|crown)$")


def test_names_are_the_fields() -> None:
    """None of those that an engineer of the field would not find: a handler is no desk, a way in no door."""
    files = [(path, node) for path in sources(*PACKAGES) for node in ast.walk(tree(path))]
    assert nothing(
        f"{place(path, node)}: {name}" for path, node in files if UNFINDABLE.search(name := getattr(node, "name", None) or "")
    )
    assert nothing(place(path) for path in sources(*PACKAGES) if UNFINDABLE.search(path.stem))


def test_files_stay_small() -> None:
    assert {place(p): n for p in sources() if (n := len(p.read_text().splitlines())) > FILES_MAY_HAVE} == {}


def test_no_artifact_lies_on_the_ground_floor() -> None:
    listing = subprocess.run(["git", "ls-files", "models"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert [f for f in listing.stdout.split() if not f.endswith((".py", ".md", "py.typed"))] == []


def test_vocabulary_has_no_name_twice() -> None:
    for names in (schema.EVENT_TYPES, schema.INTENTS, schema.SIGNAL_TYPES, schema.NEXT_ACTION_FEATURES, schema.EVENT_COLUMNS):
        assert len(set(names)) == len(names)


def test_the_names_of_the_feast_views_are_spelled_in_the_schema_only() -> None:
    files = sources("infra", "feature_repo", "flows", "services")
    views = set(schema.VIEW_KEY)
    assert nothing(f"{place(p, n)}: {text}" for p in files for text, n in texts(p) if text.split(":")[0] in views)


NAMED = re.compile(r"`{1,2}((?:models|infra|feature_repo|flows|services|benchmarks|tests)[./][\w./]+)`{1,2}")


def is_there(name: str) -> bool:
    """Whether a file, or a module with the name behind it, exists."""
    if "/" in name:
        return (ROOT / name).exists()
    module = max((m for m in modules() if f"{name}.".startswith(f"{m}.")), key=len, default="")
    inside = name[len(module) + 1 :].partition(".")[0]
    return bool(module) and re.search(rf"\b{inside}\b", modules()[module].read_text()) is not None


def test_what_texts_of_the_code_name_in_backticks_is_there() -> None:
    lines = ((p, n, line) for p in sources() for n, line in enumerate(p.read_text().splitlines(), 1))
    assert nothing(f"{place(p)}:{n}: {name}" for p, n, line in lines for name in NAMED.findall(line) if not is_there(name))


# ---- docstrings ----------------------------------------------------------------------------------------------------------

QUESTION = re.compile(r"^(Who|What|How|Whether)\b")


def titles(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """First lines of the public docstrings of a file; of a function that answers yes or no, "Whether" is the field's word."""

    def visit(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if getattr(node, "name", "").startswith("_") and not getattr(node, "name", "").startswith("__"):
                return
            text = ast.get_docstring(node)
            if text and not (_answers_yes_or_no(node) and text.startswith("Whether")):
                yield text.splitlines()[0], node
        if isinstance(node, (ast.Module, ast.ClassDef)):
            for inner in node.body:
                yield from visit(inner)

    yield from visit(tree(path))


def _answers_yes_or_no(node: ast.AST) -> bool:
    told = getattr(node, "returns", None)
    return told is not None and "bool" in ast.unparse(told)


@pytest.mark.parametrize("top", PACKAGES)
def test_a_docstring_opens_with_what_the_thing_is(top: str) -> None:
    assert nothing(f"{place(p, n)}: {title}" for p in sources(top) for title, n in titles(p) if QUESTION.match(title))


# ---- packaging -----------------------------------------------------------------------------------------------------------


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


def test_a_command_starts_without_the_heavy_frameworks() -> None:
    heavy = "prefect,feast,bentoml,great_expectations,lightgbm,numba,pandas"
    code = f"import sys; import services.cli as c; c.app(); print([m for m in '{heavy}'.split(',') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert out.strip() == "[]"
