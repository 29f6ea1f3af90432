"""Bound arrays: where arrays lie, told to a kernel as one table instead of one by one.

To see what an array is costs numba more than a small kernel does, several times so for one that is read-only, and that in every
call. What stays from request to request is bound once; a kernel makes its arrays of the table's rows again. The kernel must not
write to what was read-only, and whoever calls it keeps the `Bound`, and with it the arrays, until it returns.
"""

from typing import Any, Final, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
from numba.core import cgutils
from numba.extending import intrinsic

from models.arrays import Floats, Floats32, Ints, Ints32
from models.kernels import kernel

ADDRESS, N_ROWS, N_COLUMNS = range(3)
_WIDTH: Final = 3


class Bound(NamedTuple):
    """Bound arrays.

    Attributes
    ----------
    table
        Address and shape of each, shape (n_arrays, 3); 1 column of an array of one dimension.
    arrays
        Kept from being freed.
    """

    table: Ints
    arrays: tuple[npt.NDArray[Any], ...]


def bind(*arrays: npt.NDArray[Any]) -> Bound:
    """Bind arrays of one or two dimensions, in this order.

    Raises
    ------
    ValueError
        If one is not contiguous, or has more dimensions.

    Examples
    --------
    >>> floats(bind(np.arange(3.0), np.ones(2)).table, 1).tolist()
    [1.0, 1.0]
    """
    table = np.empty((len(arrays), _WIDTH), np.int64)
    for row, array in zip(table, arrays, strict=True):
        if not array.flags.c_contiguous or array.ndim not in (1, 2):
            raise ValueError(f"expected contiguous arrays of one or two dimensions, got one of the shape {array.shape}")
        row[:] = array.__array_interface__["data"][0], len(array), 1 if array.ndim == 1 else array.shape[1]
    return Bound(table, arrays)


@intrinsic
def _pointer(_: Any, address: Any) -> Any:
    """An integer as a pointer."""

    def generate(_: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.inttoptr(given[0], cgutils.voidptr_t)

    return numba.types.voidptr(address), generate


pointer: Any = _pointer
array_at: Any = numba.carray  # type: ignore[attr-defined]  # pointer, shape, type


@kernel
def floats(table: Ints, k: int) -> Floats:
    found: Floats = array_at(pointer(table[k, ADDRESS]), (table[k, N_ROWS],), np.float64)
    return found


@kernel
def float_rows(table: Ints, k: int) -> Floats:
    found: Floats = array_at(pointer(table[k, ADDRESS]), (table[k, N_ROWS], table[k, N_COLUMNS]), np.float64)
    return found


@kernel
def floats32(table: Ints, k: int) -> Floats32:
    found: Floats32 = array_at(pointer(table[k, ADDRESS]), (table[k, N_ROWS],), np.float32)
    return found


@kernel
def float32_rows(table: Ints, k: int) -> Floats32:
    found: Floats32 = array_at(pointer(table[k, ADDRESS]), (table[k, N_ROWS], table[k, N_COLUMNS]), np.float32)
    return found


@kernel
def ints(table: Ints, k: int) -> Ints:
    found: Ints = array_at(pointer(table[k, ADDRESS]), (table[k, N_ROWS],), np.int64)
    return found


@kernel
def int_rows(table: Ints, k: int) -> Ints:
    found: Ints = array_at(pointer(table[k, ADDRESS]), (table[k, N_ROWS], table[k, N_COLUMNS]), np.int64)
    return found


@kernel
def ints32(table: Ints, k: int) -> Ints32:
    found: Ints32 = array_at(pointer(table[k, ADDRESS]), (table[k, N_ROWS],), np.int32)
    return found


@kernel
def int32_rows(table: Ints, k: int) -> Ints32:
    found: Ints32 = array_at(pointer(table[k, ADDRESS]), (table[k, N_ROWS], table[k, N_COLUMNS]), np.int32)
    return found
