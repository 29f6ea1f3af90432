"""How a numba kernel of this project is compiled: strict floating point, no interpreter lock, kept on disk.

`cache=True` alone is not safe here. Numba keys its disk cache by the source file of the kernel, but a kernel also freezes the
integers it took from `models/schema.py` (where in the row does ``gap_s`` stand?). After a feature is inserted in the schema the
old machine code would be loaded and would write into the wrong columns. So the vocabulary is made part of the cache key.
For the same reason a kernel may only call kernels of its own file: numba does not notice a change in another one.
"""

from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from typing import Any, Final, TypeVar, cast

from numba import njit
from numba.core.caching import FunctionCache

from models import schema

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

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
