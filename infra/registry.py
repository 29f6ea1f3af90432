"""Model versions: artifacts in BentoML's model store; versions, aliases and a hash-chained audit in our own tables.

BentoML's store knows only `latest`: no aliases, no history, no atomic swap. So an artifact is written and synced completely
first, under a name nobody used before; then its row is committed; then, in one transaction, aliases move and the audit says so.
A process killed anywhere in between leaves the champion untouched and at most an orphaned folder, which `sweep` removes.
"""

import json
import os
import secrets
import shutil
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import apsw

from infra import layout
from infra.artifacts import contents, read_parts, write_parts
from infra.audit import ALIASES_NOW, AUDIT, COLUMNS, GENESIS, chained, what_is_wrong
from infra.settings import prepare
from infra.store.connection import connect, immediate
from models.artifact import Parts, require_whole, sums
from models.schema import KEPT_MODELS

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
_STORE: Final = f"{layout.ARTIFACTS}/models"  # where BentoML keeps models below BENTOML_HOME


class Golden(NamedTuple):
    """Rows that a model must answer the same way wherever it is loaded; both JSON-able lists."""

    rows: list[Any]
    predictions: list[Any]


def _now_us() -> int:
    return time.time_ns() // 1000


def save(
    home: Path,
    name: str,
    parts: Parts,
    lineage: Mapping[str, Any],
    metrics: Mapping[str, Any] | None = None,
    verdict: Mapping[str, Any] | None = None,
    golden: Golden | None = None,
) -> int:
    """Keep a new version of a model; durable when this returns.

    Parameters
    ----------
    name
        One of `KEPT_MODELS`.
    parts
        The model; metadata JSON-able.
    lineage, metrics, verdict
        JSON-able; metrics and verdict may follow later through `record`.

    Returns
    -------
    The version, counting from 1 for each name.

    Raises
    ------
    ValueError
        If the name is no model of ours.
    """
    if name not in KEPT_MODELS:
        raise ValueError(f"no model is named {name!r}; models are {', '.join(KEPT_MODELS)}")
    folder = _write_artifact(prepare(home), name, parts, golden)
    texts = [json.dumps(dict(part or {}), allow_nan=False) for part in (lineage, metrics, verdict)]
    with closing(connect(home)) as connection, immediate(connection):
        newest: Any = connection.execute("SELECT max(version) FROM model_versions WHERE name = ?", (name,)).fetchone()
        version = (newest[0] or 0) + 1
        connection.execute(
            "INSERT INTO model_versions (name, version, artifact, lineage, metrics, verdict, created_at_us) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (name, version, folder, *texts, _now_us()),
        )
    return version


def _write_artifact(home: Path, name: str, parts: Parts, golden: Golden | None) -> str:
    # Only here: BentoML's model store takes half a second to import, and the listing commands do without it.
    import bentoml
    from bentoml._internal.models import ModelStore

    store = home / _STORE
    store.mkdir(parents=True, exist_ok=True)
    tag = f"{name}:{time.time_ns() // 1_000_000:x}-{secrets.token_hex(4)}"
    with bentoml.models.create(tag, labels={"project": "attune"}, _model_store=ModelStore(store)) as model:
        folder = Path(model.path)
        write_parts(folder, parts)
        if golden is not None:
            (folder / layout.GOLDEN_FILE).write_text(json.dumps(golden._asdict()))
        (folder / layout.SUMS_FILE).write_text(json.dumps(sums(contents(folder))))
    final = store / tag.replace(":", "/")
    for path in (*final.rglob("*"), final, final.parent, store):
        _sync(path)
    return str(final.relative_to(home))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def record(home: Path, name: str, version: int, *, metrics: Any = None, verdict: Any = None) -> None:
    """Add what evaluation and gate found to a version; its lineage and artifact never change."""
    with closing(connect(home)) as connection, immediate(connection):
        for column, value in (("metrics", metrics), ("verdict", verdict)):
            if value is not None:
                connection.execute(
                    f"UPDATE model_versions SET {column} = ? WHERE name = ? AND version = ?",
                    (json.dumps(value, allow_nan=False), name, version),
                )


def versions(home: Path, name: str | None = None) -> list[dict[str, Any]]:
    """All versions, newest first within each model, as JSON-able rows with aliases, lineage, metrics and verdict."""
    with closing(connect(home)) as connection:
        aliases: dict[tuple[str, int], list[str]] = {}
        carried: Any = connection.execute("SELECT name, alias, version FROM model_aliases ORDER BY alias")
        for model, alias, version in carried:
            aliases.setdefault((model, version), []).append(alias)
        found: Any = connection.execute(
            "SELECT name, version, artifact, lineage, metrics, verdict, created_at_us FROM model_versions "
            "WHERE ?1 IS NULL OR name = ?1 ORDER BY name, version DESC",
            (name,),
        ).fetchall()
    return [_row(row, aliases.get((row[0], row[1]), [])) for row in found]


def _row(row: tuple[Any, ...], aliases: list[str]) -> dict[str, Any]:
    name, version, artifact, lineage, metrics, verdict, created_at_us = row
    gate = json.loads(verdict)
    return {
        "name": name,
        "version": version,
        "aliases": aliases,
        "verdict": gate.get("verdict", "not judged"),
        "created_at": datetime.fromtimestamp(created_at_us / 1e6, UTC).isoformat(timespec="seconds"),
        "artifact": artifact,
        "lineage": json.loads(lineage),
        "metrics": json.loads(metrics),
        "gate": gate,
    }


def aliased(home: Path, alias: str) -> dict[str, int]:
    """Version of each model that carries an alias; models without it are left out."""
    with closing(connect(home)) as connection:
        rows: Any = connection.execute("SELECT name, version FROM model_aliases WHERE alias = ?", (alias,)).fetchall()
    return dict(rows)


def champions(home: Path) -> dict[str, int]:
    """Version of each model that serves."""
    return aliased(home, CHAMPION)


def folder_of(home: Path, name: str, which: int | str) -> Path:
    """Artifact folder of a version or alias.

    Raises
    ------
    ValueError
        If there is no such version, or nothing carries the alias.
    """
    with closing(connect(home)) as connection:
        row = connection.execute(
            "SELECT artifact FROM model_versions WHERE name = ?1 AND version = "
            "CASE WHEN typeof(?2) = 'integer' THEN ?2 ELSE "
            "(SELECT version FROM model_aliases WHERE name = ?1 AND alias = ?2) END",
            (name, which),
        ).fetchone()
    if row is None:
        raise ValueError(f"there is no {name}:{which}; see what there is with: attune models")
    return home / str(row[0])


def load(home: Path, name: str, which: int | str = CHAMPION) -> Parts:
    """Parts of a version or alias; arrays are read-only memory maps.

    Raises
    ------
    ValueError
        If there is no such version, nothing carries the alias, or its files are damaged.
    """
    folder = folder_of(home, name, which)
    noted = folder / layout.SUMS_FILE
    try:
        if noted.exists():  # versions of before there were sums are taken as they are
            require_whole(contents(folder), json.loads(noted.read_text()))
        return read_parts(folder)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"the files of {name}:{which} cannot be read: {error}; another version: attune rollback {name}"
        ) from None


def load_golden(home: Path, name: str, which: int | str = CHAMPION) -> Golden | None:
    """Golden rows of a version, or None if it was saved without."""
    path = folder_of(home, name, which) / layout.GOLDEN_FILE
    return Golden(**json.loads(path.read_text())) if path.exists() else None


def set_alias(
    home: Path, alias: str, targets: Mapping[str, int | None], *, action: str, actor: str, reason: str
) -> dict[str, int | None]:
    """Move an alias of several models at once, with its audit rows, in one transaction; None takes it away.

    Returns
    -------
    For each model the version that carried the alias before, or None.

    Raises
    ------
    ValueError
        If a version does not exist; then nothing has moved.
    """
    with closing(connect(home)) as connection, immediate(connection):
        return _change(connection, alias, targets, (action, actor, reason))


def crown(home: Path, targets: Mapping[str, int], *, actor: str, reason: str) -> None:
    """Make challengers the champions, all in one transaction: nobody ever sees a mixture.

    Raises
    ------
    ValueError
        If a version does not exist; then nothing has moved.
    """
    with closing(connect(home)) as connection, immediate(connection):
        _change(connection, CHAMPION, targets, ("promote", actor, reason))
        _change(connection, CHALLENGER, dict.fromkeys(targets), ("promote", actor, reason))


def _change(
    connection: apsw.Connection, alias: str, targets: Mapping[str, int | None], why: tuple[str, str, str]
) -> dict[str, int | None]:
    action, actor, reason = why
    before: dict[str, int | None] = {}
    for name, version in targets.items():
        before[name] = _move(connection, alias, name, version)
        if before[name] != version:
            _audit(connection, (_now_us(), action, name, alias, before[name], version, actor, reason))
    return before


def _move(connection: apsw.Connection, alias: str, name: str, version: int | None) -> int | None:
    row = connection.execute("SELECT version FROM model_aliases WHERE name = ? AND alias = ?", (name, alias)).fetchone()
    before = cast(int, row[0]) if row else None
    if version is None:
        connection.execute("DELETE FROM model_aliases WHERE name = ? AND alias = ?", (name, alias))
        return before
    if connection.execute("SELECT 1 FROM model_versions WHERE name = ? AND version = ?", (name, version)).fetchone() is None:
        raise ValueError(f"there is no {name}:{version}; see what there is with: attune models")
    connection.execute(
        "INSERT INTO model_aliases (name, alias, version, set_at_us) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (name, alias) DO UPDATE SET version = excluded.version, set_at_us = excluded.set_at_us",
        (name, alias, version, _now_us()),
    )
    return before


def _audit(connection: apsw.Connection, entry: tuple[Any, ...]) -> None:
    last = connection.execute("SELECT hash FROM model_audit ORDER BY id DESC LIMIT 1").fetchone()
    previous = str(last[0]) if last else GENESIS
    own = chained(previous, dict(zip(COLUMNS, entry, strict=True)))
    connection.execute(
        f"INSERT INTO model_audit ({', '.join(COLUMNS)}, previous_hash, hash) VALUES (?,?,?,?,?,?,?,?,?,?)",
        (*entry, previous, own),
    )


def audit(home: Path) -> list[dict[str, Any]]:
    """Everything that ever happened to the aliases, oldest first."""
    columns = (*COLUMNS, "previous_hash", "hash")
    with closing(connect(home)) as connection:
        rows = connection.execute(AUDIT).fetchall()
    return [dict(zip(columns, row, strict=True)) for row in rows]


def verify_audit(home: Path) -> int:
    """Check the audit's chain, and that it ends where the aliases are; the number of rows that hold.

    Raises
    ------
    ValueError
        If a row was changed, removed or inserted, or an alias moved behind its back; with its position or name.
    """
    with closing(connect(home)) as connection:
        found, aliases = connection.execute(AUDIT).fetchall(), connection.execute(ALIASES_NOW).fetchall()
    wrong = what_is_wrong(found, aliases)
    if wrong:
        raise ValueError(f"the audit of model aliases does not hold: {wrong}; compare with a backup of the store")
    return len(found)


def promote(home: Path, model: str, *, actor: str = "operator", reason: str = "by hand") -> dict[str, Any]:
    """Make ``NAME[:VERSION]`` the champion; without a version the newest one.

    A person decides: no gate is asked, and the audit names who and why.

    Raises
    ------
    ValueError
        If there is no such model or version, or its files are damaged; then nothing has moved.
    """
    name, colon, wanted = model.partition(":")
    known = [row["version"] for row in versions(home, name)]
    if not known or (colon and not wanted.isdecimal()) or (wanted and int(wanted) not in known):
        raise ValueError(f"there is no {model}; see what there is with: attune models")
    version = int(wanted) if wanted else known[0]
    require_sound(home, name, version)
    before = set_alias(home, CHAMPION, {name: version}, action="promote", actor=actor, reason=reason)
    if aliased(home, CHALLENGER).get(name) == version:  # else it would be tried again when it is taken back
        set_alias(home, CHALLENGER, {name: None}, action="promote", actor=actor, reason=reason)
    return {"name": name, "from_version": before[name], "to_version": version}


def rollback(home: Path, name: str, *, actor: str = "operator", reason: str = "by hand") -> dict[str, Any]:
    """Return to the champion before the present one; again, to the one before that.

    Raises
    ------
    ValueError
        If there is no such model, no earlier champion is known, or its files are damaged; then nothing has moved.
    """
    if name not in KEPT_MODELS:
        raise ValueError(f"there is no {name}; models are {', '.join(KEPT_MODELS)}")
    history = _champion_history(audit(home), name)
    if len(history) < 2:
        raise ValueError(f"{name} has no earlier champion to return to; see what there is with: attune models")
    require_sound(home, name, history[-2])
    return _moved_back(home, name, history, ("rollback", actor, reason))


def _moved_back(home: Path, name: str, history: list[int], why: tuple[str, str, str]) -> dict[str, Any]:
    with closing(connect(home)) as connection, immediate(connection):
        if _champion_history(audit(home), name) != history:  # loading took a while
            raise ValueError(f"the champion of {name} was moved meanwhile; look with attune models, then try again")
        before = _change(connection, CHAMPION, {name: history[-2]}, why)
    return {"name": name, "from_version": before[name], "to_version": history[-2]}


def require_sound(home: Path, name: str, version: int) -> None:
    """Load a version as a service would: a champion that no worker can load is refused before anybody tries.

    Raises
    ------
    ValueError
        If a file is missing or damaged, or the golden predictions are not repeated.
    """
    from models.model_specs import FAULTS, made

    try:
        golden = load_golden(home, name, version)
        made(name, load(home, name, version), golden._asdict() if golden else None)
    except FAULTS as error:
        raise ValueError(f"{name}:{version} cannot serve, nothing has moved: {type(error).__name__}: {error}") from None


def _champion_history(rows: list[dict[str, Any]], name: str) -> list[int]:
    history: list[int] = []
    for row in rows:
        if row["name"] != name or row["alias"] != CHAMPION or row["to_version"] is None:
            continue
        if row["action"] == "rollback":
            history.pop()
        elif not history or history[-1] != row["to_version"]:
            history.append(row["to_version"])
    return history


def sweep(home: Path) -> int:
    """Remove artifacts that a killed run left without a row; only under the retrain lock. The number removed."""
    with closing(connect(home)) as connection:
        known = {home / str(row[0]) for row in connection.execute("SELECT artifact FROM model_versions")}
    orphans = [path for path in (home / _STORE).glob("*/*") if path.is_dir() and path not in known]
    for path in orphans:
        shutil.rmtree(path)
    return len(orphans)
