"""Reward model of the doubly robust estimate: what an action earns in a context, learned from other visitors.

A ridge regression over indicators; the estimate is right whatever the model says, only less sure where it is poor.
"""

import numpy as np
import numpy.typing as npt

from models.arrays import Floats, Ints


def folds(visitor: Ints, n_folds: int, rng: np.random.Generator) -> Ints:
    """Fold of each decision, all of one visitor in the same, shape (n_decisions,).

    Examples
    --------
    >>> dealt = folds(np.array([5, 5, 9]), 2, np.random.default_rng(0))
    >>> bool(dealt[0] == dealt[1])
    True
    """
    codes = np.unique(visitor, return_inverse=True)[1]
    dealt: Ints = (rng.permutation(int(codes.max(initial=-1)) + 1) % n_folds)[codes]
    return dealt


def indicators(codes: npt.NDArray[np.int64]) -> Floats:
    """One column per value of each column, shape (n_rows, n_values).

    Examples
    --------
    >>> indicators(np.array([[0, 4], [1, 4]])).tolist()
    [[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]
    """
    return np.hstack([(column[:, None] == np.unique(column)).astype(np.float64) for column in codes.T])


def cross_fitted(context: Floats, action: Ints, n_actions: int, reward: Floats, fold: Ints, l2: float = 10.0) -> Floats:
    """Mean reward of every action in every decision's context, from decisions of the other folds.

    Parameters
    ----------
    context
        Shape (n_decisions, n_columns); may have no columns.
    action
        Code of the action that was taken, shape (n_decisions,).
    fold
        From `folds`.
    l2
        Penalty, in decisions.

    Returns
    -------
    Shape (n_decisions, n_actions).
    """
    design = np.hstack((context, np.eye(n_actions)[action]))
    q = np.zeros((len(reward), n_actions))
    for one in np.unique(fold):
        others, mine = fold != one, fold == one
        if not others.any():
            continue
        mean = reward[others].mean()
        gram = design[others].T @ design[others] + l2 * np.eye(design.shape[1])
        slope = np.linalg.solve(gram, design[others].T @ (reward[others] - mean))
        n_columns = context.shape[1]
        q[mine] = mean + (context[mine] @ slope[:n_columns])[:, None] + slope[n_columns:]
    return q
