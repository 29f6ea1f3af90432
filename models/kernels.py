"""How a numba kernel of this project is compiled: strict floating point, no interpreter lock, kept on disk.

`cache=True` alone is not safe here. Numba keys its disk cache by the source file of the kernel, but a kernel also freezes the
integers it took from `models/schema.py` (where in the row does ``gap_s`` stand?). After a feature is inserted in the schema the
old machine code would be loaded and would write into the wrong columns. So the vocabulary is made part of the cache key.
For the same reason a kernel may only call kernels of its own file, and `nth_smallest`, whose source is part of the key too:
numba does not notice a change in another file.
"""

import inspect
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from typing import Any, Final, TypeVar, cast

import numpy as np
import numpy.typing as npt
from numba import njit
from numba.core.caching import FunctionCache

from models import schema

Kernel = TypeVar("Kernel", bound=Callable[..., Any])
Values = npt.NDArray[np.float64] | npt.NDArray[np.float32] | npt.NDArray[np.int32]


def _nth_smallest(values: Values, n: int) -> float:
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


VOCABULARY: Final = blake2b(
    repr(
        (
            schema.EVENT_TYPES,
            schema.INTENTS,
            schema.SIGNAL_TYPES,
            schema.DEVICES,
            schema.REFERRERS,
            tuple(schema.MEASURES),
            sorted(schema.ITEM_EVENT_TYPES),
            schema.SESSION_FEATURES,
            schema.USER_FEATURES,
            schema.ITEM_FEATURES,
            schema.N_RECENT_ITEMS,
            schema.SESSION_IDLE_S,
            inspect.getsource(_nth_smallest),
        )
    ).encode(),
    digest_size=16,
).hexdigest()


class VocabularyCache(FunctionCache):
    """Numba's disk cache, with the vocabulary in the key."""

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        key: tuple[Any, ...] = super()._index_key(sig, codegen)  # type: ignore[no-untyped-call]
        return (*key, VOCABULARY)


def kernel(function: Kernel) -> Kernel:
    """Compile at the first call, or load what an earlier process compiled.

    Where no folder for the cache can be written (a read-only image without NUMBA_CACHE_DIR), every process compiles for itself.
    Division by zero gives infinity or NaN as in numpy, so a kernel guards its divisions itself.
    """
    dispatcher: Any = njit(nogil=True, error_model="numpy")(function)
    with suppress(RuntimeError):  # "no locator available": nowhere to write
        dispatcher._cache = VocabularyCache(function)  # type: ignore[no-untyped-call]
    return cast(Kernel, dispatcher)


nth_smallest: Final = kernel(_nth_smallest)
