"""Backup of a home into a folder, and a home made from one.

The store comes first: what its registry names is in place by then and never changes again, so artifacts, which follow, are all
there. No flow may write features meanwhile; requests and the worker go on. The list with the checksums is written last: a
backup without it is not whole.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

from infra import layout
from infra.lock import exclusive, held
from infra.modes import OWNER_ONLY
from infra.store.embedded.copies import copy_database, revision_at
from infra.store.embedded.migrate import newest
from infra.store.engines import place, server
from infra.store.errors import NewerStore

FORMAT: Final = 1
LIST: Final = "backup.json"
FOLDERS: Final = (layout.ARTIFACTS, layout.FEAST, f"{layout.BENTOML}/models", layout.REPORTS)
SQLITE: Final = b"SQLite format 3\0"
LEFT_OUT: Final = ("-wal", "-shm", ".lock", ".draft")  # the first two are in the copy of their database


class Kept(NamedTuple):
    """Contents of a backup: revision of the store, number of files, bytes."""

    revision: int
    files: int
    bytes: int


def backup(home: Path, folder: Path) -> Kept:
    """Copy what a home cannot be without into an empty or new folder; a service may serve meanwhile.

    Raises
    ------
    ValueError
        If the home has no store, or its store is on a server, or the folder is not empty or lies in the home.
    BlockingIOError
        If a flow is writing features.
    """
    home, folder = home.absolute(), folder.expanduser().absolute()
    if server(home) is not None:
        raise ValueError(f"the store is on a server: keep {place(home)} with pg_dump, and {home} by copying its folder")
    if not (home / layout.STORE).exists():
        raise ValueError(f"there is no store in {home}; set ATTUNE_HOME to the home that is to be kept")
    if folder.is_relative_to(home):
        raise ValueError(f"{folder} lies in the home itself; choose a folder elsewhere, best on another disk")
    _require_empty(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with held(home / layout.RETRAIN_LOCK, "retraining"):
        for name in _files(home):
            _copy(home / name, folder / name)
        with exclusive(home / layout.OFFLINE_LOCK):
            for name in _below(home, layout.OFFLINE):
                _copy(home / name, folder / name)
    sums = {name: _sum(folder / name) for name in sorted(_below(folder, "."))}
    revision = revision_at(folder / layout.STORE)
    told = {"format": FORMAT, "revision": revision, "made_at_us": time.time_ns() // 1000, "sums": sums}
    (folder / LIST).write_text(json.dumps(told, indent=1))
    return Kept(revision, len(sums), sum((folder / name).stat().st_size for name in sums))


def restore(folder: Path, home: Path) -> Kept:
    """Make a home from a backup; it is there whole or not at all.

    Raises
    ------
    ValueError
        If the home is not empty, or the backup not whole.
    NewerStore
        If a newer Attune made the backup.
    """
    folder, home = folder.expanduser().absolute(), home.absolute()
    _require_empty(home)
    told = _listed(folder)
    if told["revision"] > newest():
        raise NewerStore(
            f"a newer Attune made {folder} (revision {told['revision']}, this one knows {newest()}): upgrade Attune"
        )
    draft = home.with_name(f".{home.name}.restoring")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700, parents=True)
    for name, expected in told["sums"].items():
        (draft / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copyfile(folder / name, draft / name)
        (draft / name).chmod(0o600)
        if _sum(draft / name) != expected:
            shutil.rmtree(draft)
            raise ValueError(f"{folder / name} is damaged; take another backup")
    if home.exists():
        home.rmdir()
    draft.rename(home)
    return Kept(told["revision"], len(told["sums"]), sum((home / name).stat().st_size for name in told["sums"]))


def _require_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is not empty; give a folder that is empty or does not exist")


def _listed(folder: Path) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads((folder / LIST).read_text())
    except (OSError, ValueError):
        raise ValueError(f"{folder} is no whole backup: {LIST} is missing or damaged") from None
    if told.get("format") != FORMAT:
        raise ValueError(f"{folder} has format {told.get('format')}, expected {FORMAT}: upgrade Attune")
    wrong = [name for name in told["sums"] if not (folder / name).resolve().is_relative_to(folder.resolve())]
    wrong += [name for name in told["sums"] if not (folder / name).is_file()]
    if wrong:
        raise ValueError(f"{folder} is no whole backup: {wrong[0]} is missing")
    return told


def _files(home: Path) -> Iterator[str]:
    """Files of a home that are kept, the store first, relative to it; the offline tables are copied under their lock."""
    yield layout.STORE
    yield from sorted(path.name for path in home.glob("*.key"))
    for name in FOLDERS:
        yield from _below(home, name)


def _below(folder: Path, name: str) -> Iterator[str]:
    found = sorted(path for path in (folder / name).rglob("*") if path.is_file() and not path.is_symlink())
    yield from (str(path.relative_to(folder)) for path in found if not path.name.endswith(LEFT_OUT))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with source.open("rb") as file:
            is_database = file.read(len(SQLITE)) == SQLITE
    except FileNotFoundError:
        return  # a report or a draft that has gone meanwhile
    if is_database:
        copy_database(source, target)
    else:
        shutil.copyfile(source, target)
    target.chmod(0o666 & ~OWNER_ONLY)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _sum(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
