"""Array types by what they hold, and the two forms in which arrays go to kernels, which are compiled anew for every other."""

from typing import Any, Final, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Reals = npt.NDArray[np.floating]  # of whatever width
Ints = npt.NDArray[np.int64]
Ints32 = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.int8]
Text = npt.NDArray[np.uint8]  # the bytes of one, in UTF-8
Flags = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.integer]  # of classes, of whatever width
Objects = npt.NDArray[np.object_]
Records = npt.NDArray[np.void]
Features = npt.NDArray[np.float32]  # as the online store keeps them, everywhere

ALL_ALLOWED: Final[Flags] = np.zeros(0, np.bool_)  # which items may be shown, where nobody says: all

Array = TypeVar("Array", bound=npt.NDArray[Any])
Tuple = TypeVar("Tuple", bound=tuple[Any, ...])


class Columns(Protocol):
    """Columns of events by name, all of one length: a frame, or a dictionary of arrays where there is no pandas."""

    def __getitem__(self, name: str, /) -> Any:
        """Column of a name."""
        ...

    def __contains__(self, name: object, /) -> bool:
        """Whether there is a column of a name."""
        ...


def read_only(array: Array) -> Array:
    """Read-only plain view of what was learned: the same form whether it was built here or mapped from a file."""
    view: Array = np.ascontiguousarray(np.asarray(array)).view()  # type: ignore[assignment]
    view.flags.writeable = False
    return view


def frozen(arrays: Tuple) -> Tuple:
    """Named tuple with its arrays made `read_only`, other values as they are."""
    views = (read_only(array) if isinstance(array, np.ndarray) else array for array in arrays)
    made: Tuple = type(arrays)(*views)
    return made


def writeable(array: Array, dtype: type[np.generic] | None = None) -> Array:
    """Contiguous, writeable array of what is asked about; itself if it is that already, which costs next to nothing.

    Examples
    --------
    >>> ages = np.zeros(3)
    >>> writeable(ages) is ages, writeable(ages[::2]) is ages, writeable(ages, np.float32).dtype
    (True, False, dtype('float32'))
    """
    if array.flags.carray and (dtype is None or array.dtype == dtype):
        return array
    return np.require(array, dtype, ["C", "A", "W"])  # type: ignore[return-value]
