"""Kernel decorator: numba with strict floating point and no interpreter lock, kept on disk.

Numba's ``cache=True`` alone is not safe here: it keys a compiled kernel by the file that the kernel stands in, but machine code
also holds the kernels it calls and the constants it was compiled with, from whatever file they came (where in the row does
``gap_s`` stand?). So the key is made of the sources of that module and of all modules of ours that it imports, directly or
through others: kernels may share code and constants across files, and an edit makes those compile again that can see it.
"""

import inspect
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from typing import Any, Final, TypeVar, cast

import numpy as np
import numpy.typing as npt
from numba import njit
from numba.core.caching import FunctionCache

Kernel = TypeVar("Kernel", bound=Callable[..., Any])
Values = npt.NDArray[np.float64] | npt.NDArray[np.float32] | npt.NDArray[np.int32]

ZERO: Final = cast(
    int, np.int64(0)
)  # to count from: a plain 0 has a type of its own, and what it is handed to is compiled twice

# An import at the top of a module: the package, and what is taken from it, a line of names or several in brackets.
_IMPORT: Final = re.compile(r"^(?:from|import) +([\w.]+)(?: +import +(\([^)]*\)|.+))?", re.MULTILINE)
_OURS: Final = __name__.partition(".")[0]


@cache
def _source(module: str) -> str:
    return inspect.getsource(sys.modules[module])


@cache
def _imported(module: str) -> frozenset[str]:
    """Modules of ours, or of the same package, that a module imports directly; all have been loaded by then."""
    packages, found = {_OURS, module.partition(".")[0]}, set[str]()
    for base, names in _IMPORT.findall(_source(module)):
        if base.partition(".")[0] in packages:
            found.update((base, *(f"{base}.{name}" for name in re.findall(r"\w+", names))))
    return frozenset(found & sys.modules.keys())


def sources_of(module: str) -> frozenset[str]:
    """Modules whose sources a module's kernels may have been compiled from: itself, and all that it imports of ours.

    Examples
    --------
    >>> sorted(sources_of("models.kernels"))
    ['models.kernels']
    """
    found, left = set[str](), {module}
    while left:
        found |= left
        left = {name for each in left for name in _imported(each)} - found
    return frozenset(found)


@cache
def fingerprint(module: str) -> str:
    """Hash of the sources that a module's kernels are compiled from, 32 hexadecimal digits."""
    hashed = blake2b(digest_size=16)
    for name in sorted(sources_of(module)):
        hashed.update(f"{name}\0{_source(name)}\0".encode())
    return hashed.hexdigest()


class SourcesCache(FunctionCache):
    """Numba's disk cache, fresh as long as no source is edited that the kernel can see; what an edit left is written over."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        self._cache_file._source_stamp = fingerprint(function.__module__)


def kernel(function: Kernel) -> Kernel:
    """Compile at the first call, or load what an earlier process compiled.

    Where no folder for the cache can be written (a read-only image without NUMBA_CACHE_DIR), or no source can be read, every
    process compiles for itself. Division by zero gives infinity or NaN as in numpy, so a kernel guards its divisions itself.
    """
    dispatcher: Any = njit(nogil=True, error_model="numpy")(function)
    with suppress(RuntimeError, OSError):  # "no locator available": nowhere to write; "could not get source code"
        dispatcher._cache = SourcesCache(function)
    return cast(Kernel, dispatcher)


@kernel
def nth_smallest(values: Values, n: int) -> float:
    """The value at place n, from 0, of the sorted values, by quickselect; the values are put in another order.

    Compiling `np.partition` takes seconds.
    """
    low, high = 0, len(values) - 1
    while low < high:
        pivot, i, j = values[(low + high) // 2], low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if j < n < i:
            break
        low, high = (low, j) if n <= j else (i, high)
    return float(values[n])
