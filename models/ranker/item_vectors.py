"""Items as points: items that share visitors, directly or by way of others, lie in the same direction.

The right singular vectors of the matrix of sessions and items, each entry divided by the square roots of its row's and its
column's sum, by randomised subspace iteration (Halko, Martinsson, Tropp 2011), scaled by the singular values and to length 1.
Pair counts know only what was seen together; the vectors also speak about pairs that never were.
"""

from typing import Final

import numpy as np

from models.arrays import Floats32, Ints

_SEED: Final = 0  # of the first guess; the answer hardly depends on it


def fit(item_codes: Ints, offsets: Ints, n_items: int, n_dims: int = 64, n_rounds: int = 4) -> Floats32:
    """Vectors of all items, read-only, shape (n_items, min(n_dims, n_items)), of length 1 (0 for an item without sessions).

    Parameters
    ----------
    item_codes
        Items of all sessions one after the other, shape (n_touches,).
    offsets
        Where each session begins, and the end, shape (n_sessions + 1,).
    n_dims
        Directions kept at most.
    n_rounds
        Of the iteration; more come closer to the exact singular vectors.

    Examples
    --------
    >>> near = fit(np.array([0, 1, 1, 2, 3, 4]), np.array([0, 2, 4, 6]), 5, n_dims=2)
    >>> (near @ near.T > 0.9)[0].tolist()  # 0 and 2 were never together, but both with 1
    [True, True, True, False, False]
    """
    from scipy.sparse import csr_matrix  # only here: what serves does not fit

    n_sessions = len(offsets) - 1
    rows = np.repeat(np.arange(n_sessions), np.diff(offsets))
    seen = csr_matrix((np.ones(len(item_codes), np.float32), (rows, item_codes)), shape=(n_sessions, n_items))
    seen.data[:] = 1.0  # repeats were added up
    per_session, per_item = (np.maximum(np.asarray(seen.sum(axis)).ravel(), 1.0) for axis in (1, 0))
    seen.data /= np.repeat(np.sqrt(per_session), np.diff(seen.indptr)).astype(np.float32)
    seen.data /= np.sqrt(per_item).astype(np.float32)[seen.indices]
    back = seen.T.tocsr()
    basis = np.random.default_rng(_SEED).normal(size=(n_items, min(n_dims, n_items))).astype(np.float32)
    for _ in range(n_rounds if n_items else 0):
        basis = np.linalg.qr(back @ (seen @ basis))[0]
    vectors = np.asarray(back @ (seen @ basis), dtype=np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = np.ascontiguousarray(np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 1e-12))
    vectors.flags.writeable = False
    return vectors
