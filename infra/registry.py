"""Registry of model versions: what they are made of and were judged to be, which aliases they carry, and how these moved.

A version's artifact is written and synced completely first, under a name nobody used before; then its row is committed; then,
in one transaction, aliases move and the audit says so. A process killed anywhere in between leaves the champion untouched and
at most an orphaned folder, which `sweep` removes.
"""

import json
import secrets
import shutil
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from infra import artifacts, layout, object_store
from infra.artifacts import Artifact
from infra.audit import GENESIS, AuditEntry, AuditRow, linked, what_is_wrong
from infra.object_store import ObjectStoreUnavailable
from infra.store.engines import open_store
from infra.store.protocol import Read, Transaction
from infra.store.statements import registry as statements
from models.artifact import Golden, Parts

CHAMPION: Final = "champion"  # the version that serves
CHALLENGER: Final = "challenger"  # the version that is judged, and tried beside the champion


@dataclass(frozen=True)
class ModelVersion:
    """One version of a model; all JSON-able.

    Attributes
    ----------
    aliases
        In alphabetical order.
    verdict
        Of `gate`, "not judged" before there is one.
    created_at
        ISO 8601, UTC, whole seconds.
    artifact
        Its folder, relative to the home.
    lineage, metrics, gate
        Where it comes from, how it was measured, and what the gate said.
    """

    name: str
    version: int
    aliases: list[str]
    verdict: str
    created_at: str
    artifact: str
    lineage: Mapping[str, Any]
    metrics: Mapping[str, Any]
    gate: Mapping[str, Any]


class Carrier(NamedTuple):
    """A version that carries an alias, and its artifact's folder, relative to the home."""

    version: int
    artifact: str


class Reason(NamedTuple):
    """Why an alias moves, for the audit."""

    action: str
    actor: str
    reason: str


def _now_us() -> int:
    return time.time_ns() // 1000


# ---- versions ----------------------------------------------------------------------------------------------------


def save(
    home: Path,
    name: str,
    parts: Parts,
    lineage: Mapping[str, Any],
    metrics: Mapping[str, Any] | None = None,
    golden: Golden | None = None,
) -> int:
    """Keep a new version of a model; durable when this returns.

    Parameters
    ----------
    name
        Of a row of `models.model_specs.SPECS`.
    parts
        The model; metadata JSON-able.
    lineage, metrics
        JSON-able; what evaluation and gate find may follow later through `record`.

    Returns
    -------
    The version, counting from 1 for each name.

    Raises
    ------
    ValueError
        If the name is no model of ours.
    """
    require_model(name)
    artifact = f"{layout.ARTIFACTS}/{name}/{time.time_ns() // 1_000_000:x}-{secrets.token_hex(4)}"
    object_store.keep(home, artifact, parts, golden)
    texts = [json.dumps(dict(part or {}), allow_nan=False) for part in (lineage, metrics, None)]

    def add(transaction: Transaction) -> int:
        ((newest,),) = transaction.read(statements.NEWEST_VERSION, (name,))
        version = int(newest or 0) + 1
        transaction.execute(statements.ADD_VERSION, (name, version, artifact, *texts, _now_us()))
        return version

    with closing(open_store(home)) as store:
        return store.write(add)


def publish(home: Path) -> int:
    """Bring the artifacts of all versions to the object store where they are missing there; how many."""
    with closing(open_store(home)) as store:
        return object_store.publish(home, [str(artifact) for (artifact,) in store.read(statements.ARTIFACTS)])


def require_model(name: str) -> None:
    """Refuse a name that no row of `models.model_specs.SPECS` has.

    Raises
    ------
    ValueError
        With the names that there are.
    """
    from models.model_specs import KEPT_MODELS  # only here: the listing commands do without the models' libraries

    if name not in KEPT_MODELS:
        raise ValueError(f"there is no {name}; models are {', '.join(KEPT_MODELS)}")


def record(home: Path, name: str, version: int, *, metrics: Any = None, verdict: Any = None) -> None:
    """Add what evaluation and gate found to a version; its lineage and artifact never change."""
    found = ((statements.SET_METRICS, metrics), (statements.SET_VERDICT, verdict))
    told = [(statement, json.dumps(value, allow_nan=False)) for statement, value in found if value is not None]

    def note(transaction: Transaction) -> None:
        for statement, text in told:
            transaction.execute(statement, (text, name, version))

    with closing(open_store(home)) as store:
        store.write(note)


def versions(home: Path, name: str | None = None) -> list[ModelVersion]:
    """All versions, of one model or of all, newest first within each."""
    aliases: dict[tuple[str, int], list[str]] = {}
    with closing(open_store(home)) as store:
        for model, alias, version in store.read(statements.ALIASES):
            aliases.setdefault((model, version), []).append(alias)
        found = store.read(statements.VERSIONS) if name is None else store.read(statements.VERSIONS_OF, (name,))
    return [_version(row, aliases.get((row[0], row[1]), [])) for row in found]


def _version(row: tuple[Any, ...], aliases: list[str]) -> ModelVersion:
    name, version, artifact, *texts, created_at_us = row
    lineage, metrics, gate = map(json.loads, texts)
    created_at = datetime.fromtimestamp(created_at_us / 1e6, UTC).isoformat(timespec="seconds")
    verdict = gate.get("verdict", "not judged")
    return ModelVersion(name, version, aliases, verdict, created_at, artifact, lineage, metrics, gate)


def folder_of(home: Path, name: str, which: int | str) -> Path:
    """Artifact folder of a version or alias, in the home.

    Raises
    ------
    ValueError
        If there is no such version, or nothing carries the alias.
    OSError
        If it is to come from the object store, and does not.
    """
    with closing(open_store(home)) as store:
        if isinstance(which, int):
            found = [artifact for (artifact,) in store.read(statements.ARTIFACT_OF, (name, which))]
        else:
            found = [one.artifact for model, one in carriers(store.read, which).items() if model == name]
    if not found:
        raise ValueError(f"there is no {name}:{which}; see what there is with: attune models")
    return object_store.fetched(home, str(found[0]))


def load(home: Path, name: str, which: int | str = CHAMPION) -> Parts:
    """Parts of a version or alias; see `load_artifact`."""
    return load_artifact(home, name, which).parts


def load_artifact(home: Path, name: str, which: int | str = CHAMPION) -> Artifact:
    """Parts and golden rows of a version or alias; arrays are read-only memory maps.

    Raises
    ------
    ValueError
        If there is no such version, nothing carries the alias, or its files are damaged or of an unknown format.
    """
    try:
        return artifacts.load(folder_of(home, name, which))
    except ObjectStoreUnavailable:
        raise
    except (OSError, ValueError) as error:
        raise ValueError(
            f"the files of {name}:{which} cannot be read: {error}; another version: attune rollback {name}"
        ) from None


def load_model(home: Path, name: str, which: int | str = CHAMPION) -> Any:
    """A version or alias as a service loads it: made from its parts, with its golden predictions repeated.

    Raises
    ------
    ValueError
        As `load_artifact`, or if the model is of another schema or its predictions differ.
    """
    from models.model_specs import made

    return made(name, *load_artifact(home, name, which))


def sweep(home: Path) -> int:
    """Remove artifacts that a killed run left without a row; only under the retrain lock. The number removed."""
    with closing(open_store(home)) as store:
        known = {home / str(artifact) for (artifact,) in store.read(statements.ARTIFACTS)}
    places = (home / layout.ARTIFACTS, home / layout.BENTOML / "models")
    orphans = [path for place in places for path in place.glob("*/*") if path.is_dir() and path not in known]
    for path in orphans:
        shutil.rmtree(path)
    return len(orphans)


# ---- aliases -----------------------------------------------------------------------------------------------------


def carriers(read: Read, alias: str) -> dict[str, Carrier]:
    """Carriers of an alias, by model; models without it are left out."""
    return {name: Carrier(version, artifact) for name, version, artifact in read(statements.ALIASED, (alias,))}


def aliased(home: Path, alias: str) -> dict[str, int]:
    """Version of each model that carries an alias; models without it are left out."""
    with closing(open_store(home)) as store:
        return {name: one.version for name, one in carriers(store.read, alias).items()}


def champions(home: Path) -> dict[str, int]:
    """Version of each model that serves."""
    return aliased(home, CHAMPION)


def left_out(read: Read) -> dict[str, str]:
    """Newest versions that the gate left out: what it said, and what answers instead, by model."""
    serves = {name: one.version for name, one in carriers(read, CHAMPION).items()}
    told: dict[str, str] = {}
    for name, version, text in read(statements.NEWEST_VERDICTS, ()):
        verdict = json.loads(text)
        if verdict.get("why") and serves.get(name) != version:
            told[name] = f"{name}:{version} does not serve: {verdict['why']}; instead: {verdict['instead']}"
    return told


def aliased_at_us(home: Path, name: str, alias: str) -> int | None:
    """Instant at which a model's alias moved last, microseconds since 1970 UTC; None where nothing carries it."""
    with closing(open_store(home)) as store:
        found = store.read(statements.ALIAS_OF, (name, alias))
    return found[0][1] if found else None


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
    why = Reason(action, actor, reason)
    with closing(open_store(home)) as store:
        return store.write(lambda transaction: change(transaction, alias, targets, why))


def set_champions(home: Path, targets: Mapping[str, int], *, actor: str, reason: str) -> None:
    """Make challengers the champions, all in one transaction: nobody ever sees a mixture.

    Raises
    ------
    ValueError
        If a version does not exist; then nothing has moved.
    """
    why = Reason("promote", actor, reason)

    def move(transaction: Transaction) -> None:
        change(transaction, CHAMPION, targets, why)
        change(transaction, CHALLENGER, dict.fromkeys(targets), why)

    with closing(open_store(home)) as store:
        store.write(move)


def change(transaction: Transaction, alias: str, targets: Mapping[str, int | None], why: Reason) -> dict[str, int | None]:
    """Move an alias inside a transaction, as `set_alias` does in its own."""
    before: dict[str, int | None] = {}
    for name, version in targets.items():
        before[name] = _move(transaction, alias, name, version)
        if before[name] != version:
            last = transaction.read(statements.LAST_HASH)
            entry = AuditEntry(_now_us(), why.action, name, alias, before[name], version, why.actor, why.reason)
            row = linked(last[0][0] if last else GENESIS, entry)
            transaction.execute(statements.APPEND_AUDIT, tuple(vars(row).values()))
    return before


def _move(transaction: Transaction, alias: str, name: str, version: int | None) -> int | None:
    found = transaction.read(statements.ALIAS_OF, (name, alias))
    before = found[0][0] if found else None
    if version is None:
        transaction.execute(statements.REMOVE_ALIAS, (name, alias))
        return before
    if not transaction.read(statements.HAS_VERSION, (name, version)):
        raise ValueError(f"there is no {name}:{version}; see what there is with: attune models")
    transaction.execute(statements.SET_ALIAS, (name, alias, version, _now_us()))
    return before


def audit(home: Path) -> list[AuditRow]:
    """Everything that ever happened to the aliases, oldest first."""
    with closing(open_store(home)) as store:
        return audit_rows(store.read)


def verify_audit(home: Path) -> int:
    """Check the audit's chain, and that it ends where the aliases are; the number of rows that hold.

    Raises
    ------
    ValueError
        If a row was changed, removed or inserted, or an alias moved behind its back; with its position or name.
    """
    with closing(open_store(home)) as store:
        n_rows, wrong = audited(store.read)
    if wrong:
        raise ValueError(f"the audit of model aliases does not hold: {wrong}; compare with a backup of the store")
    return n_rows


def audit_rows(read: Read) -> list[AuditRow]:
    """The audit as an open store has it, oldest row first."""
    return [AuditRow(*row) for row in read(statements.AUDIT, ())]


def audited(read: Read) -> tuple[int, str | None]:
    """Number of audit rows, and what is wrong with them or with where the aliases are, or None."""
    found = audit_rows(read)
    return len(found), what_is_wrong(found, read(statements.ALIASES, ()))
