"""Parts as files, ``meta.json`` and one ``.npy`` per array: how tasks hand data to each other, and what the registry keeps."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from infra import layout
from models.artifact import Parts


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
