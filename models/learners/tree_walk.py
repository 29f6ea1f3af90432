"""Boosted trees as plain arrays, and the compiled loops that walk them: bit for bit LightGBM's raw scores, without its library.

A walk takes the same number of steps whatever the row says, since a leaf points to itself; so several walks can go side by
side, and one does not wait for the other's loads. Many rows walk down one tree together; of a single row, several trees are
walked together. For one row that takes three quarters of what LightGBM's own single-row call does (benchmarks/tree_walk.py).

A missing value is no case of its own inside a loop. LightGBM has, for each split, one of three ways to take NaN: as zero, to
the left, or to the right. The single row is written three times side by side, with 0, with minus infinity, and with NaN (which
is never at most a threshold), and a split's feature says which of the three it reads.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Features, Flags, Floats, Floats32, Ints, Ints32, Records, frozen, writeable
from models.bound import ADDRESS, N_ROWS, array_at, bind, floats, ints, ints32, pointer
from models.kernels import kernel


class Trees(NamedTuple):
    """Boosted trees, iteration after iteration and in each a tree per score.

    The children of node k are ``child[2 * k]`` where the feature is at most the threshold, else ``child[2 * k + 1]``.
    """

    feature: Ints32  # (n_nodes,), with n_features added once where NaN goes left, twice where it goes right
    threshold: Floats | Floats32  # (n_nodes,)
    child: Ints32  # (2 * n_nodes,)
    value: Floats  # (n_nodes,), 0 inside the tree
    roots: Ints32  # (n_trees,)
    depths: Ints32  # (n_trees,)


_ROWS: Final = 32  # that walk down a tree together: their loads overlap, and they stay in the first cache
_TREES: Final = 8  # that a single row is taken down together
_CATEGORICAL, _NAN_LEFT, _ZERO_MISSING, _NAN_MISSING = 1, 2, 4, 8  # bits of LightGBM's decision types


@kernel
def score_rows(trees: Trees, features: Floats32, n: int, out: Floats) -> None:
    """Sum of the trees' values for the first n rows, whose features are never NaN."""
    feature, threshold, child, value = trees.feature, trees.threshold, trees.child, trees.value
    at = np.empty(_ROWS, np.int32)
    for first in range(0, n, _ROWS):
        size = min(_ROWS, n - first)
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


NODE: Final = np.dtype([("threshold", np.float64), ("left", np.int32), ("feature", np.int32)])


@kernel
def _packed(trees: Trees, nodes: Records, roots: Ints32, at_leaf: int) -> None:
    """Put all that a step needs to know side by side: four nodes in a cache line, and the right child behind the left one.

    A leaf's threshold is its value, its left child is itself, and its feature `at_leaf` is never above it.
    """
    came_from, n = np.empty(len(nodes), np.int32), 0
    for t in range(len(trees.roots)):
        roots[t] = at = n
        came_from[n] = trees.roots[t]
        n += 1
        while at < n:
            node = came_from[at]
            left, right = trees.child[2 * node], trees.child[2 * node + 1]
            if left == node:
                nodes[at].threshold, nodes[at].left, nodes[at].feature = trees.value[node], at, at_leaf
            else:
                nodes[at].threshold, nodes[at].left, nodes[at].feature = trees.threshold[node], n, trees.feature[node]
                came_from[n], came_from[n + 1] = left, right
                n += 2
            at += 1


@kernel
def _score_row(
    nodes: Records, roots: Ints32, depths: Ints32, first_tree: Ints, first_score: Ints, row: Floats, flat: Floats, out: Floats
) -> None:
    """Scores of each booster for one row; the first three parts of `flat` are written here.

    Boosters stand one after the other; of each it is told where its trees and its scores begin, and of the last where they end.
    Arrays are handed over one by one: as one tuple they would cost more than some boosters.
    """
    n = len(row)
    for f in range(n):
        missing = np.isnan(row[f])
        flat[f] = 0.0 if missing else row[f]
        flat[n + f] = -np.inf if missing else row[f]
        flat[2 * n + f] = row[f]
    out[:] = 0.0
    for b in range(len(first_tree) - 1):
        begin, end = first_tree[b], first_tree[b + 1]
        own = out[first_score[b] : first_score[b + 1]]
        _walk(nodes, roots[begin:end], depths[begin:end], flat, own)


@kernel
def _walk(nodes: Records, roots: Ints32, depths: Ints32, flat: Floats, out: Floats) -> None:
    """Add the values of every ``len(out)``-th tree."""
    at, score = np.empty(_TREES, np.int32), 0
    for first in range(0, len(roots), _TREES):
        size, depth = min(_TREES, len(roots) - first), 0
        for k in range(_TREES):  # always as many: where trees run out the last one is walked again, and not added
            at[k] = roots[first + min(k, size - 1)]
            depth = max(depth, depths[first + min(k, size - 1)])
        for _ in range(depth):
            for k in range(_TREES):
                node = nodes[at[k]]
                at[k] = node.left + (not flat[node.feature] <= node.threshold)  # not >: NaN goes right
        for k in range(size):
            out[score] += nodes[at[k]].threshold
            score = score + 1 if score + 1 < len(out) else 0


@kernel
def _score_many(nodes: Records, roots: Ints32, depths: Ints32, rows: Features, flat: Features, out: Floats) -> None:
    """`_score_row` of many rows: as many as `flat` has go down a tree together."""
    n, width, at = rows.shape[1], out.shape[1], np.empty(len(flat), np.int32)
    flat[:, 3 * n] = -np.inf
    for first in range(0, len(rows), len(flat)):
        size = min(len(flat), len(rows) - first)
        for k in range(size):
            for f in range(n):
                value = rows[first + k, f]
                missing = np.isnan(value)
                flat[k, f] = 0.0 if missing else value
                flat[k, n + f] = -np.inf if missing else value
                flat[k, 2 * n + f] = value
        score = 0
        out[first : first + size] = 0.0
        for t in range(len(roots)):
            at[:size] = roots[t]
            for _ in range(depths[t]):
                for k in range(size):
                    node = nodes[at[k]]
                    at[k] = node.left + (not flat[k, node.feature] <= node.threshold)  # not >: NaN goes right
            for k in range(size):
                out[first + k, score] += nodes[at[k]].threshold
            score = score + 1 if score + 1 < width else 0


class ManyRows:
    """Raw scores of many rows, to the bit as LightGBM's, in less than half its time; any number of threads may ask.

    Parameters
    ----------
    trees, n_features, n_scores
        As of `SingleRow`.
    """

    def __init__(self, trees: Trees, n_features: int, n_scores: int) -> None:
        self._nodes, self._roots = np.empty(len(trees.value), NODE), np.empty(len(trees.roots), np.int32)
        _packed(trees, self._nodes, self._roots, 3 * n_features)
        self._depths, self._width, self._n_scores = writeable(trees.depths), n_features, n_scores

    def __call__(self, rows: npt.NDArray[Any]) -> Floats:
        """Raw scores, shape (n_rows, n_scores).

        Parameters
        ----------
        rows
            Shape (n_rows, n_features), float32 or float64; NaN is a missing value.

        Raises
        ------
        ValueError
            If the rows have another width.
        """
        if rows.shape[1:] != (self._width,):
            raise ValueError(f"expected rows of {self._width} features, got shape {rows.shape}")
        found = np.empty((len(rows), self._n_scores))
        flat = np.empty((_ROWS, 3 * self._width + 1), rows.dtype)
        _score_many(self._nodes, self._roots, self._depths, writeable(rows), flat, found)
        return found


FOREST: Final = 7  # arrays of a `SingleRow`


class SingleRow:
    """Raw scores of one row at a time by one or several boosters; one instance per thread, because it owns its two buffers.

    Parameters
    ----------
    trees
        Of each booster, as `flatten` gives them.
    n_features
        Columns of a row.
    n_scores
        Of each booster: 1 of a binary one, else one per class.

    Attributes
    ----------
    arrays
        What `scored` reads, and its two buffers.

    Examples
    --------
    >>> import lightgbm as lgb
    >>> data = lgb.Dataset(np.arange(90.0).reshape(90, 1), label=np.arange(90) > 30)
    >>> booster = lgb.train({"objective": "binary", "verbose": -1}, data, 3)
    >>> row = np.array([30.0])
    >>> score = SingleRow([flatten(booster.model_to_string(), 1)], 1, [1])
    >>> bool(score(row)[0] == booster.predict(row[None, :], raw_score=True)[0])
    True
    """

    def __init__(self, trees: Sequence[Trees], n_features: int, n_scores: Sequence[int]) -> None:
        nodes = [np.empty(len(one.value), NODE) for one in trees]
        roots = [np.empty(len(one.roots), np.int32) for one in trees]
        at = 0
        for one, packed, own_roots in zip(trees, nodes, roots, strict=True):
            _packed(one, packed, own_roots, 3 * n_features)
            packed["left"] += at
            own_roots += at
            at += len(packed)
        depths = np.concatenate([one.depths for one in trees])
        first_tree, first_score = (np.cumsum([0, *sizes]) for sizes in (map(len, roots), n_scores))
        flat, scores = np.full(3 * n_features + 1, -np.inf), np.zeros(sum(n_scores))
        forests = np.concatenate(nodes), np.concatenate(roots), writeable(depths), first_tree, first_score
        self.arrays: tuple[npt.NDArray[Any], ...] = (*forests, flat, scores)
        self._bound, self._n_features = bind(*self.arrays), n_features

    def __call__(self, row: npt.NDArray[np.floating]) -> Floats:
        """Raw scores of one row.

        Parameters
        ----------
        row
            Shape (n_features,); NaN is a missing value.

        Returns
        -------
        Scores of one booster after the other, shape (sum of n_scores,). A fresh array.
        """
        found, _ = scored(self._bound.table, self.checked(row))
        return found.copy()

    def checked(self, row: npt.NDArray[np.floating]) -> Floats:
        """A row as `scored` takes it.

        Raises
        ------
        ValueError
            If it has another number of features: the loops would read beyond its end.
        """
        if row.shape != (self._n_features,):
            raise ValueError(f"expected a row of {self._n_features} features, got the shape {row.shape}")
        return writeable(np.asarray(row, np.float64))


@kernel
def _nodes(table: Ints, k: int) -> Records:
    found: Records = array_at(pointer(table[k, ADDRESS]), (table[k, N_ROWS],), NODE)
    return found


@kernel
def scored(forest: Ints, row: Floats) -> tuple[Floats, Ints]:
    """Raw scores of one row in the buffer of a `SingleRow`, whose arrays are bound first, and where each booster's begin."""
    first_score, scores = ints(forest, 4), floats(forest, 6)
    roots, depths, first_tree = ints32(forest, 1), ints32(forest, 2), ints(forest, 3)
    _score_row(_nodes(forest, 0), roots, depths, first_tree, first_score, row, floats(forest, 5), scores)
    return scores, first_score


def flatten(text: str, n_features: int) -> Trees:
    """The trees of a LightGBM model's text as arrays, read-only; the inner nodes of a tree stand before its leaves.

    Raises
    ------
    ValueError
        If the model has another number of features, or a tree has categorical splits, linear leaves, or takes zero for missing:
        the loops know none of these.
    """
    found = int(_joined(text, "max_feature_idx", int)[0]) + 1
    if found != n_features:
        raise ValueError(f"the booster has {found} features, expected {n_features}")
    decisions = _joined(text, "decision_type", int)
    if (decisions & (_CATEGORICAL | _ZERO_MISSING)).any() or "\nis_linear=1" in text:
        raise ValueError(f"cannot walk linear leaves, or splits of the types {np.unique(decisions).tolist()}")
    n_leaves = _joined(text, "num_leaves", int)
    n_inner, n_nodes = n_leaves - 1, 2 * n_leaves - 1
    roots, n = np.cumsum(n_nodes) - n_nodes, int(n_nodes.sum())
    is_inner = np.repeat(np.tile((True, False), len(roots)), np.column_stack((n_inner, n_leaves)).ravel())
    root, first_leaf = np.repeat(roots, n_inner), np.repeat(roots + n_inner, n_inner)
    child = np.repeat(np.arange(n), 2)  # a leaf is its own child
    for k, name in enumerate(("left_child", "right_child")):
        side = _joined(text, name, int)
        child[k::2][is_inner] = np.where(side >= 0, root + side, first_leaf + ~side)
    feature, (threshold, value) = np.zeros(n, np.int32), np.zeros((2, n))
    way = np.where(decisions & _NAN_MISSING, np.where(decisions & _NAN_LEFT, 1, 2), 0)
    feature[is_inner] = _joined(text, "split_feature", int) + way * n_features
    threshold[is_inner] = _joined(text, "threshold", float)
    value[~is_inner] = _joined(text, "leaf_value", float)
    depths = _depths(child, is_inner, roots)
    return frozen(Trees(feature, threshold, child.astype(np.int32), value, roots.astype(np.int32), depths))


def n_scores(text: str) -> int:
    """Scores that a LightGBM model's text gives a row: 1 of a binary booster, else one per class."""
    return int(_joined(text, "num_tree_per_iteration", int)[0])


def _joined(text: str, name: str, kind: type[int] | type[float]) -> npt.NDArray[Any]:
    """A field of all trees of a model's text, one tree after the other."""
    lines = (rest[: rest.index("\n")] for rest in text.split(f"\n{name}=")[1:])
    return np.array([kind(word) for word in " ".join(lines).split()], np.int64 if kind is int else np.float64)


def _depths(child: Ints, is_inner: Flags, roots: Ints) -> Ints32:
    """Steps from the root to the deepest leaf of each tree, at least one."""
    depths, tree, level, depth = np.ones(len(roots), np.int32), np.arange(len(roots)), roots, 0
    while len(level):
        depths[tree] = max(depth, 1)
        tree, level, depth = tree[is_inner[level]], level[is_inner[level]], depth + 1
        tree, level = np.repeat(tree, 2), child.reshape(-1, 2)[level].ravel()
    return depths


def narrowed(trees: Trees, n_features: int) -> Trees:
    """The trees for rows of float32 without NaN, with thresholds of half the size.

    Each threshold becomes the largest float32 not above it: then ``x <= threshold`` keeps its answer for every float32 x.

    Raises
    ------
    ValueError
        If a split treats missing values apart.
    """
    if (trees.feature >= n_features).any():
        raise ValueError("cannot narrow trees with splits that treat missing values apart")
    near = trees.threshold.astype(np.float32)
    below = np.nextafter(near, np.float32(-np.inf))
    return frozen(trees._replace(threshold=np.where(near.astype(np.float64) > trees.threshold, below, near)))
