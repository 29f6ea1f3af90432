"""Boosted trees as plain arrays, and the compiled loop that runs them: a service maps them and calls no LightGBM."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.kernels import kernel

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Ints32 = npt.NDArray[np.int32]


class Trees(NamedTuple):
    """Boosted trees as arrays; a leaf points to itself, so that every row may take the same number of steps.

    The children of node k are ``child[2 * k]`` where the feature is at most the threshold, else ``child[2 * k + 1]``.
    """

    feature: Ints32  # (n_nodes,)
    threshold: Floats32  # (n_nodes,)
    child: Ints32  # (2 * n_nodes,)
    value: Floats  # (n_nodes,), 0 inside the tree
    roots: Ints32  # (n_trees,)
    depths: Ints32  # (n_trees,)


_BLOCK: Final = 32  # rows that walk down a tree together: their loads overlap, and they stay in the first cache


@kernel
def score(trees: Trees, features: Floats32, n: int, out: Floats) -> None:
    """Sum of the trees' values for the first n rows."""
    feature, threshold, child, value = trees.feature, trees.threshold, trees.child, trees.value
    at = np.empty(_BLOCK, np.int32)
    for first in range(0, n, _BLOCK):
        size = min(_BLOCK, n - first)
        out[first : first + size] = 0.0
        for t in range(len(trees.roots)):
            root = trees.roots[t]
            for k in range(size):
                at[k] = child[2 * root + (features[first + k, feature[root]] > threshold[root])]
            for _ in range(1, trees.depths[t]):
                for k in range(size):
                    node = at[k]
                    at[k] = child[2 * node + (features[first + k, feature[node]] > threshold[node])]
            for k in range(size):
                out[first + k] += value[at[k]]
