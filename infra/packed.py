"""Parts as bytes, for a column of the store: a header that names the arrays, and their numbers, compressed."""

import json
import zlib
from typing import Any, Final

import numpy as np

from models.artifact import Parts

_LEVEL: Final = 1  # most of it is small integers: more effort gains little
_SIZE: Final = 4  # bytes of the header's length


def packed(parts: Parts) -> bytes:
    """Parts as bytes.

    Raises
    ------
    ValueError
        If the metadata holds what JSON cannot, such as NaN.
    """
    arrays = {name: np.ascontiguousarray(array) for name, array in parts.arrays.items()}
    told = {"meta": dict(parts.meta), "arrays": [[name, one.dtype.str, one.shape] for name, one in arrays.items()]}
    head = json.dumps(told, allow_nan=False).encode()
    body = b"".join(one.tobytes() for one in arrays.values())
    return zlib.compress(len(head).to_bytes(_SIZE, "little") + head + body, _LEVEL)


def unpacked(data: bytes) -> Parts:
    """Parts from bytes; arrays are read-only.

    Raises
    ------
    ValueError
        If these are not the bytes of parts.

    Examples
    --------
    >>> found = unpacked(packed(Parts({"n": 1}, {"a": np.array([[1, 2]])})))
    >>> found.meta, found.arrays["a"].tolist()
    ({'n': 1}, [[1, 2]])
    """
    try:
        whole = zlib.decompress(data)
    except zlib.error:
        raise ValueError("damaged: these are not the bytes of parts") from None
    at = _SIZE + int.from_bytes(whole[:_SIZE], "little")
    told: dict[str, Any] = json.loads(whole[_SIZE:at])
    arrays = {}
    for name, kind, shape in told["arrays"]:
        n = int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(whole, np.dtype(kind), n, at).reshape(shape)
        at += arrays[name].nbytes
    return Parts(told["meta"], arrays)
