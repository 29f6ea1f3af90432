"""Logistic regression, small and exact: the baseline that a learner with trees has to beat.

Minimises the sum over rows of log(1 + exp(-+ w·x)) + l2/2 |w|^2 (without the intercept) by L-BFGS on standardised columns.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Floats
from models.statistics.log_odds import expit


class Logistic(NamedTuple):
    """A fitted regression.

    Attributes
    ----------
    mean, scale
        Of the training columns, shape (n_columns,).
    coefficients
        Intercept first, shape (1 + n_columns,).
    """

    mean: Floats
    scale: Floats
    coefficients: Floats

    def predict(self, rows: npt.NDArray[np.floating]) -> Floats:
        """Probability of the positive class, shape (n_rows,); that of a row does not depend on the others, not by a bit."""
        return expit((_design(rows, self.mean, self.scale) * self.coefficients).sum(axis=1))


def fit(rows: npt.NDArray[np.floating], positive: npt.NDArray[np.bool_], l2: float = 1.0) -> Logistic:
    """Fit a regression.

    Parameters
    ----------
    rows
        Shape (n_rows, n_columns), finite.
    positive
        Shape (n_rows,).
    l2
        Weight of the penalty, >= 0, in rows.

    Raises
    ------
    ValueError
        If there are no rows, or lengths differ.

    Examples
    --------
    >>> model = fit(np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([False, True, False, True]))
    >>> bool(model.predict(np.array([[3.0]]))[0] > 0.5)
    True
    """
    from scipy.optimize import minimize  # only here: what serves does not fit

    if len(rows) == 0 or len(rows) != len(positive):
        raise ValueError(f"expected one outcome per row and at least one, got {len(positive)} for {len(rows)} rows")
    columns = np.asarray(rows, dtype=np.float64)
    mean, scale = columns.mean(axis=0), columns.std(axis=0)
    scale[scale == 0] = 1.0
    design, outcome = _design(columns, mean, scale), positive.astype(np.float64)

    def loss(w: Floats) -> tuple[float, Floats]:
        margin, shrunk = design @ w, np.append(0.0, w[1:])
        value = np.logaddexp(0.0, margin).sum() - outcome @ margin + 0.5 * l2 * shrunk @ shrunk
        return float(value), design.T @ (expit(margin) - outcome) + l2 * shrunk

    found = minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return Logistic(mean, scale, np.asarray(found.x, dtype=np.float64))


def log_counts(counts: npt.NDArray[np.floating]) -> Floats:
    """log(1 + n) of counts, which are all over the place otherwise."""
    return np.log1p(np.asarray(counts, dtype=np.float64))


def _design(rows: npt.NDArray[np.floating], mean: Floats, scale: Floats) -> Floats:
    return np.column_stack((np.ones(len(rows)), (rows - mean) / scale))
