"""Commands about model versions: list, show one, compare two."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.terminal import Json, home, print_json, say

if TYPE_CHECKING:
    from infra.audit import AuditRow
    from infra.registry import ModelVersion

app = typer.Typer(help="Model versions: list, show, compare.", invoke_without_command=True)
WORDS = "NAME, NAME:VERSION or NAME:ALIAS; NAME alone is the champion, else the newest."


@app.callback()
def models(
    context: typer.Context,
    history: Annotated[bool, typer.Option("--audit", help="Who moved which alias when; checks the chain of hashes.")] = False,
    as_json: Json = False,
) -> None:
    """List model versions with their aliases and lineage."""
    if context.invoked_subcommand is not None:
        return
    from infra.audit import AuditRow
    from infra.registry import audit, verify_audit, versions

    at = home()
    n_held = verify_audit(at) if history else 0
    rows: Sequence[AuditRow | ModelVersion] = audit(at) if history else versions(at)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        typer.echo(_moved(row) if isinstance(row, AuditRow) else _listed(row))
    if not rows:
        say("no models yet; train them with: attune retrain")
    elif history:
        say(f"the chain of hashes holds over all {n_held} rows, and ends where the aliases are")


@app.command("show")
def show(version: Annotated[str, typer.Argument(help=WORDS)], as_json: Json = False) -> None:
    """Show one version: parameters, periods, measures, and what the gate said."""
    one = found(home(), version)
    if as_json:
        print_json(one)
        return
    typer.echo(_listed(one))
    typer.echo(f"  artifact  {one.artifact}")
    for title, part in (("lineage", one.lineage), ("metrics", one.metrics), ("gate", one.gate)):
        for path, value in leaves(part):
            typer.echo(f"  {title}.{path}  {said(value)}")


@app.command("compare")
def compare(
    first: Annotated[str, typer.Argument(help=WORDS)],
    second: Annotated[str, typer.Argument(help=WORDS)],
    as_json: Json = False,
) -> None:
    """Compare two versions of a model: every parameter, period and measure in which they differ."""
    at = home()
    one, other = found(at, first), found(at, second)
    differences = difference(one, other)
    if as_json:
        print_json({"first": _name(one), "second": _name(other), "different": differences})
        return
    typer.echo(f"{'':40}  {_name(one):>16}  {_name(other):>16}")
    for path, (before, after) in differences.items():
        typer.echo(f"{path:40}  {said(before):>16}  {said(after):>16}")
    if not differences:
        say("no parameter, period or measure is different")


def found(at: Path, words: str) -> "ModelVersion":
    """The version that ``NAME[:VERSION or ALIAS]`` means.

    Raises
    ------
    ValueError
        If there is none; with those that there are.
    """
    from infra.registry import CHAMPION, require_model, versions

    name, colon, which = words.partition(":")
    require_model(name)
    known = versions(at, name)
    wanted = [one for one in known if (which in one.aliases or str(one.version) == which if colon else CHAMPION in one.aliases)]
    if not wanted and not colon:
        wanted = known[:1]
    if not wanted:
        there = ", ".join(_name(one) for one in known) or "none yet: attune retrain"
        raise ValueError(f"there is no {words}; versions are {there}")
    return wanted[0]


def difference(one: "ModelVersion", other: "ModelVersion") -> dict[str, tuple[Any, Any]]:
    """Leaves of lineage and metrics that are not the same in both, by their path; None where one has none."""
    sides = [{"lineage": version.lineage, "metrics": version.metrics} for version in (one, other)]
    first, second = (dict(leaves(side)) for side in sides)
    paths = dict.fromkeys([*first, *second])
    return {path: (first.get(path), second.get(path)) for path in paths if first.get(path) != second.get(path)}


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Values of nested mappings with their paths; lists are leaves, empty mappings are nothing.

    Examples
    --------
    >>> list(leaves({"params": {"learning_rate": 0.1}, "seed": 0, "none": {}}))
    [('params.learning_rate', 0.1), ('seed', 0)]
    """
    if not isinstance(tree, Mapping):
        yield path, tree
        return
    for name, value in tree.items():
        yield from leaves(value, f"{path}.{name}" if path else str(name))


def said(value: Any) -> str:
    """One value for a person, short.

    Examples
    --------
    >>> said(0.12345678), said(None), said([1, 2])
    ('0.1235', '-', '[1, 2]')
    """
    text = "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _name(one: "ModelVersion") -> str:
    return f"{one.name}:{one.version}"


def _listed(row: "ModelVersion") -> str:
    aliases = f"  ({', '.join(row.aliases)})" if row.aliases else ""
    return f"{_name(row)}  {row.created_at}  {row.verdict}{aliases}"


def _moved(row: "AuditRow") -> str:
    at = datetime.fromtimestamp(row.at_us / 1e6, UTC).isoformat(timespec="seconds")
    change = f"{row.from_version or '-'} -> {row.to_version or '-'}"
    return f"{at}  {row.action} {row.alias} {row.name}: {change}  by {row.actor} ({row.reason})"
