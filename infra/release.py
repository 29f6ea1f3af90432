"""Release: the champions as a folder, packed into an image and taken over by the home that the image serves from.

A release is named by what is in it, so packing the same champions twice gives the same release, and a home takes each one over
once: who then rolls back or retrains there is not overruled when the image starts again.
"""

import json
import shutil
from collections.abc import Mapping
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, NamedTuple

from infra import artifacts, layout, object_store, registry
from infra.store.engines import open_store
from infra.store.protocol import Transaction
from infra.store.statements import registry as statements

FORMAT: Final = 1
FOLDER: Final = "release"  # in an image, beside the packages
MANIFEST: Final = "release.json"
KERNELS: Final = "kernels"  # machine code, as numba's cache keeps it beside the sources, where BentoML would leave it out
CACHE: Final = "__pycache__"


class Release(NamedTuple):
    """A release as the registry keeps it; JSON-able.

    Attributes
    ----------
    models
        Version of each model, as this home numbers them.
    bento
        Tag of the Bento that was built of it; None where it came with an image.
    smoke
        What the smoke test saw; empty where none was made here.
    made_at_us
        When it was built or taken over, microseconds since 1970.
    """

    id: str
    models: Mapping[str, int]
    bento: str | None
    smoke: Mapping[str, Any]
    made_at_us: int


def pack(home: Path, folder: Path) -> Release:
    """Copy the champions with their lineage and measures into a folder, which is made.

    Raises
    ------
    ValueError
        If nothing serves.
    """
    require_champions(home)
    serving = {one.name: one for one in registry.versions(home) if registry.CHAMPION in one.aliases}
    models = {}
    for name, one in serving.items():
        shutil.copytree(object_store.fetched(home, one.artifact), folder / one.artifact)
        noted = json.loads((folder / one.artifact / layout.SUMS_FILE).read_text("utf-8"))
        told = {"lineage": one.lineage, "metrics": one.metrics, "gate": one.gate}
        models[name] = {"version": one.version, "artifact": one.artifact, "contents": noted, **told}
    named = {name: (one["version"], one["artifact"], one["contents"]) for name, one in sorted(models.items())}
    identity = blake2b(json.dumps(named, sort_keys=True).encode(), digest_size=8).hexdigest()
    (folder / MANIFEST).write_text(json.dumps({"format": FORMAT, "id": identity, "models": models}), encoding="utf-8")
    return Release(identity, {name: one.version for name, one in serving.items()}, None, {}, 0)


def require_champions(home: Path) -> None:
    """Refuse to go on where nothing serves.

    Raises
    ------
    ValueError
        If nothing does.
    """
    if not registry.champions(home):
        raise ValueError("nothing serves yet, so there is nothing to deploy: attune retrain")


def take_over(folder: Path, home: Path, now_us: int) -> Release | None:
    """Let a home serve a release, all models in one transaction; None if it has taken this one over before.

    A version keeps its number where that is free, else it gets the next one.

    Raises
    ------
    ValueError
        If the release is damaged or of a format that this version does not know; then nothing has moved.
    """
    told = read(folder)
    with closing(open_store(home)) as store:
        if store.read(statements.HAS_RELEASE, (told["id"],)):
            return None
        for one in told["models"].values():
            _copy(folder, home, one["artifact"])
        return store.write(lambda transaction: _taken_over(transaction, told, now_us))


def read(folder: Path) -> dict[str, Any]:
    """Manifest of a release.

    Raises
    ------
    ValueError
        If there is none, or none that this version can read.
    """
    try:
        told: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        raise ValueError(
            f"{folder} is no release: {MANIFEST} is missing or damaged; build it again with attune deploy"
        ) from None
    if told.get("format") != FORMAT:
        raise ValueError(f"{folder} has format {told.get('format')}, expected {FORMAT}: build it again with attune deploy")
    return told


def _copy(folder: Path, home: Path, artifact: str) -> None:
    """Copy an artifact, whole or not at all; one that is there already is the same, its name was drawn at random."""
    if not (home / artifact).exists():
        object_store.keep(home, artifact, *artifacts.load(folder / artifact))


def _taken_over(transaction: Transaction, told: Mapping[str, Any], now_us: int) -> Release | None:
    if transaction.read(statements.HAS_RELEASE, (told["id"],)):  # by another service of this home, meanwhile
        return None
    numbers = {name: _number(transaction, name, one, now_us) for name, one in told["models"].items()}
    why = registry.Reason("deploy", "image", f"release {told['id']}")
    registry.change(transaction, registry.CHAMPION, numbers, why)
    transaction.execute(statements.KEEP_RELEASE, (told["id"], json.dumps(numbers), None, "{}", now_us))
    return Release(told["id"], numbers, None, {}, now_us)


def _number(transaction: Transaction, name: str, one: Mapping[str, Any], now_us: int) -> int:
    if known := transaction.read(statements.VERSION_OF_ARTIFACT, (name, one["artifact"])):
        return int(known[0][0])
    number = int(one["version"])
    if transaction.read(statements.HAS_VERSION, (name, number)):
        number = int(transaction.read(statements.NEWEST_VERSION, (name,))[0][0]) + 1
    texts = [json.dumps(one[part]) for part in ("lineage", "metrics", "gate")]
    transaction.execute(statements.ADD_VERSION, (name, number, one["artifact"], *texts, now_us))
    return number


def record(home: Path, release: Release) -> None:
    """Note a release that was built."""
    row = (release.id, json.dumps(release.models), release.bento, json.dumps(release.smoke), release.made_at_us)
    with closing(open_store(home)) as store:
        store.write(lambda transaction: transaction.execute(statements.KEEP_RELEASE, row))


def releases(home: Path) -> list[Release]:
    """All releases that were built of this home or taken over by it, newest first."""
    with closing(open_store(home)) as store:
        rows = store.read(statements.RELEASES)
    return [Release(name, json.loads(models), bento, json.loads(smoke), at) for name, models, bento, smoke, at in rows]


def pack_kernels(root: Path, folder: Path) -> None:
    """Copy what numba compiled beside the sources below a package's folder into a release."""
    for path in root.rglob(f"{CACHE}/*.nb[ic]"):
        target = folder / KERNELS / path.parent.parent.relative_to(root) / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def unpack_kernels(folder: Path, root: Path) -> None:
    """Lay a release's machine code beside the sources below a package's folder, where none is yet.

    Numba takes it for what it compiled itself, if the sources and the kind of processor are the same; else it compiles anew.

    Raises
    ------
    OSError
        If the sources' folders cannot be written to: then every process compiles for itself.
    """
    for path in (folder / KERNELS).rglob("*.nb[ic]"):
        target = root / path.parent.relative_to(folder / KERNELS) / CACHE / path.name
        target.parent.mkdir(exist_ok=True)
        if not target.exists():
            shutil.copyfile(path, target)
