"""The tree as a test sees it: files, imports as edges, circles among them, texts that are no docstrings."""

import ast
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("models", "infra", "feature_repo", "flows", "services")
OURS = {*PACKAGES, "benchmarks", "tests"}


class Edge(NamedTuple):
    """One import of a module of ours by another."""

    importer: str
    imported: str
    place: str

    def __str__(self) -> str:
        return f"{self.place} imports {self.imported}"


def sources(*tops: str) -> list[Path]:
    return sorted(p for name in tops or (*PACKAGES, "benchmarks", "tests") for p in (ROOT / name).rglob("*.py"))


def place(path: Path, node: ast.AST | None = None) -> str:
    name = str(path.relative_to(ROOT))
    return name if node is None else f"{name}:{getattr(node, 'lineno', 0)}"


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def modules() -> dict[str, Path]:
    return {module_of(path): path for path in sources()}


def imports(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """Dotted names that a file imports, wherever it does: of ``from a import b`` both ``a`` and ``a.b``."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from ((name if name in modules() else node.module, node) for name in inner)


@cache
def edges(*tops: str) -> tuple[Edge, ...]:
    return tuple(
        Edge(module_of(path), name, place(path, node))
        for path in sources(*tops)
        for name, node in imports(path)
        if name in modules()
    )


def folder_of(module: str) -> str:
    """``models/events`` for a module below it; a module at the root of its package stands for itself."""
    parts = modules()[module].relative_to(ROOT).parts
    return "/".join(parts[:2])


def circle(found: Iterable[Edge], node_of: Callable[[str], str]) -> list[str]:
    """Edges of one circle between nodes, in order; empty if there is none."""
    graph: dict[str, dict[str, Edge]] = {}
    for edge in found:
        a, b = node_of(edge.importer), node_of(edge.imported)
        if a != b:
            graph.setdefault(a, {}).setdefault(b, edge)
    done: set[str] = set()

    def walk(node: str, path: list[str]) -> list[str]:
        if node in path:
            around = [*path[path.index(node) :], node]
            return [str(graph[a][b]) for a, b in pairwise(around)]
        if node in done:
            return []
        done.add(node)
        return next((hit for after in graph.get(node, {}) if (hit := walk(after, [*path, node]))), [])

    return next((hit for node in list(graph) if (hit := walk(node, []))), [])


def named(node: ast.AST) -> set[str]:
    """Names, attributes and texts like names that a piece of code mentions; what it imports is mentioned where it is used."""
    kinds = {ast.Name: "id", ast.Attribute: "attr", ast.Constant: "value"}
    found = (getattr(inner, kinds[type(inner)]) for inner in ast.walk(node) if type(inner) in kinds)
    return {name for name in found if isinstance(name, str) and name.isidentifier()}


def unreached(top: str, *others: str) -> list[str]:
    """Functions, classes and constants of a package that neither the others nor its own statements come to, by their names."""
    inside: list[tuple[str, str, set[str]]] = []
    live: set[str] = set()
    for path in sources(top, *others):
        for node in tree(path).body:
            names = _defined(node) if path.is_relative_to(ROOT / top) and path.stem != "__init__" else []
            inside += [(place(path, node), name, named(node) - {name}) for name in names]
            live |= set() if names else named(node)
    while new := [one for one in inside if one[1] in live]:
        inside = [one for one in inside if one[1] not in live]
        live = live.union(*(mentioned for *_, mentioned in new))
    return [f"{where} {name}" for where, name, _ in inside]


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def texts(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """Texts of a file that are no docstrings; of an f-string its beginning."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    skipped = {
        id(node.body[0].value)
        for node in ast.walk(tree(path))
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values[1:]}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.value, node


def nothing(found: Iterable[object]) -> bool:
    """Whether nothing was found; else all of it is shown, one a line."""
    lines = [str(one) for one in found]
    if lines:
        pytest.fail(f"{len(lines)} found:\n" + "\n".join(lines), pytrace=False)
    return True
