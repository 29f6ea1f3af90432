"""Artifacts: a model as a folder, ``meta.json`` and one ``.npy`` per array, with golden rows and the checksums of all files.

An artifact is whole or it is not there: it is written as a draft beside its place, every file is synced, and then the folder
is renamed. It is read with memory maps, after its sums were checked: LightGBM and the kernels end a process on damaged files.
Plain `write_parts` and `read_parts` are how the tasks of one run hand data to each other.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from infra import layout
from models.artifact import Golden, Parts, require_whole, sums

FORMAT: Final = 2  # of an artifact's folder; in format 1 the sums stand alone in their file, without a number
DRAFT: Final = ".draft"  # suffix of a folder that is being written


class Artifact(NamedTuple):
    """A model as it was kept; `golden` is None where it was kept without."""

    parts: Parts
    golden: Golden | None


def save(folder: Path, parts: Parts, golden: Golden | None = None) -> None:
    """Write an artifact, whole and durable when this returns.

    Parameters
    ----------
    folder
        Where it shall be; nothing is there yet.

    Raises
    ------
    ValueError
        If the metadata holds what JSON cannot, such as NaN.
    """
    draft = write_parts(folder.with_name(folder.name + DRAFT), parts)
    if golden is not None:
        (draft / layout.GOLDEN_FILE).write_text(json.dumps(golden._asdict(), allow_nan=False), encoding="utf-8")
    noted = {"format": FORMAT, "sums": sums(contents(draft))}
    (draft / layout.SUMS_FILE).write_text(json.dumps(noted), encoding="utf-8")
    for path in (*draft.iterdir(), draft):
        sync(path)
    draft.rename(folder)
    for parent in (folder.parent, *folder.parents[1:3]):  # as many as may be new
        sync(parent)


def sync(path: Path) -> None:
    """Make what was written to a file, or the names in a folder, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def load(folder: Path) -> Artifact:
    """Read an artifact; arrays are read-only memory maps.

    Raises
    ------
    ValueError
        In one line, if it is damaged or of a format that this version does not know.
    OSError
        If the folder is missing.
    """
    verify(folder)
    golden = folder / layout.GOLDEN_FILE
    return Artifact(read_parts(folder), Golden(**json.loads(golden.read_text("utf-8"))) if golden.exists() else None)


def verify(folder: Path) -> None:
    """Refuse an artifact that is damaged or of a format that this version does not know.

    Raises
    ------
    ValueError
        In one line.
    """
    require_whole(contents(folder), _noted(folder / layout.SUMS_FILE))


def _noted(path: Path) -> Mapping[str, int]:
    """Sums of an artifact's files, by name, as they were when it was written."""
    try:
        told: dict[str, Any] = json.loads(path.read_text("utf-8"))
        version = told.get("format", 1)
        noted: Mapping[str, int] = told if version == 1 else told["sums"]
    except (OSError, ValueError, AttributeError, KeyError):
        raise ValueError(f"damaged or missing: {path.name}") from None
    if version not in (1, FORMAT):
        raise ValueError(
            f"the artifact has the format {version!r}, this version reads up to {FORMAT}: "
            "install the version of Attune that wrote it, or train again with attune retrain"
        )
    return noted


def write_parts(folder: Path, parts: Parts) -> Path:
    """Write parts into a folder, which is made if missing.

    Raises
    ------
    ValueError
        If the metadata holds what JSON cannot, such as NaN.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / layout.META_FILE).write_text(json.dumps(dict(parts.meta), allow_nan=False), encoding="utf-8")
    for stem, array in parts.arrays.items():
        np.save(folder / f"{stem}.npy", array, allow_pickle=False)
    return folder


def contents(folder: Path) -> dict[str, npt.NDArray[np.uint8]]:
    """The bytes of every file of a folder, mapped read-only; empty files as empty arrays."""
    return {
        path.name: np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8) for path in folder.iterdir()
    }


def read_parts(folder: Path) -> Parts:
    """Read parts; arrays are read-only memory maps."""
    arrays = {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in sorted(folder.glob("*.npy"))}
    return Parts(json.loads((folder / layout.META_FILE).read_text(encoding="utf-8")), arrays)


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write JSON so that a reader finds the old report or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(report, indent=1, allow_nan=False), encoding="utf-8")
    draft.replace(path)
