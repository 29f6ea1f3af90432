"""The one shape in which every learned object is kept: JSON-able metadata and named arrays.

A module that learns something offers ``to_parts(model) -> Parts`` and ``from_parts(parts) -> model``. Kept as
``meta.json`` and ``<name>.npy``, the arrays are mapped read-only, so that all workers share one copy in memory.
"""

import zlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt


class Parts(NamedTuple):
    """Learned object as it is kept: metadata and named arrays.

    Attributes
    ----------
    meta
        Only what JSON can hold; boosters travel as their text.
    arrays
        Name to array; names are file stems. Arrays may be read-only memory maps.
    """

    meta: Mapping[str, Any]
    arrays: Mapping[str, npt.NDArray[np.generic]]


def sums(files: Mapping[str, npt.NDArray[np.uint8]]) -> dict[str, int]:
    """CRC-32 of each file's bytes: against damage, not against malice.

    Examples
    --------
    >>> sums({"meta.json": np.frombuffer(b"{}", dtype=np.uint8)})
    {'meta.json': 2745614147}
    """
    return {name: zlib.crc32(np.ascontiguousarray(content).data) for name, content in sorted(files.items())}


def require_whole(files: Mapping[str, npt.NDArray[np.uint8]], noted: Mapping[str, int]) -> None:
    """Refuse files that are not as they were written, before anything reads them.

    LightGBM ends the process on many damaged models, and a kernel does on an index that points outside; neither can be caught.

    Raises
    ------
    ValueError
        With the names of the files that are missing or were changed.

    Examples
    --------
    >>> require_whole({"a": np.frombuffer(b"x", dtype=np.uint8)}, {"a": 0, "b": 0})
    Traceback (most recent call last):
    ValueError: damaged or missing: a, b
    """
    found = sums({name: content for name, content in files.items() if name in noted})
    wrong = [name for name, value in noted.items() if found.get(name) != value]
    if wrong:
        raise ValueError(f"damaged or missing: {', '.join(wrong)}")


class Golden(NamedTuple):
    """Rows that a model must answer the same way wherever it is loaded; both JSON-able lists.

    Attributes
    ----------
    predictions
        Its answers as `flat` writes them.
    """

    rows: list[Any]
    predictions: list[Any]


N_GOLDEN: Final = 16  # rows kept beside a model, which it must answer the same way wherever it is loaded


def flat(answer: Any) -> npt.NDArray[np.float64]:
    """A model's answer to one row as one vector: as it is, or per horizon in alphabetical order actions, then purchase."""
    if isinstance(answer, Mapping):
        return np.concatenate([np.append(answer[name].p_action, answer[name].p_purchase) for name in sorted(answer)])
    return np.asarray(answer, dtype=np.float64)
