"""Arguments of a question as the compiled loops take them: checked, of one type, and an empty array where nothing is said."""

from typing import Final

import numpy as np

from models.arrays import ALL_ALLOWED, Flags, Floats, Ints, writeable
from models.schema import N_EVENT_TYPES

_NOTHING: Final[Ints] = np.zeros(0, dtype=np.int64)
_UNRELATED: Final[Floats] = np.zeros(0)


def codes_of(exclude: Ints | None) -> Ints:
    """Codes that must not come back, shape (n,)."""
    return _NOTHING if exclude is None else writeable(np.asarray(exclude), np.int64)


def flags_of(allowed: Flags | None) -> Flags:
    """Flags of the items that may come back, shape (n_items,); empty where all may."""
    return ALL_ALLOWED if allowed is None else writeable(np.asarray(allowed), np.bool_)


def weights_of(weights: Floats) -> Floats:
    """Weights of event types, shape (n_event_types,).

    Raises
    ------
    ValueError
        If the shape is another one.
    """
    if weights.shape != (N_EVENT_TYPES,):
        raise ValueError(f"weights must have the shape {(N_EVENT_TYPES,)}, got {weights.shape}")
    return writeable(weights, np.float64)


def relation_of(relation: Floats | None) -> Floats:
    """Factors of associations within a category and out of it, shape (2,); empty where both count alike.

    Raises
    ------
    ValueError
        If the shape is another one.
    """
    if relation is None:
        return _UNRELATED
    if relation.shape != (2,):
        raise ValueError(f"relation must have the shape (2,), got {relation.shape}")
    return writeable(relation, np.float64)


def checked_limit(limit: int) -> int:
    """Number of items that may come back, as it was asked for.

    Raises
    ------
    ValueError
        If it is negative.
    """
    if limit < 0:
        raise ValueError(f"limit must not be negative, got {limit}")
    return limit
