"""Tables about a classifier that a reader can judge: early decisions, calibration, confusion. JSON values only.

A measure that does not exist for the rows at hand (a class that never occurs) is None, never NaN: JSON has no NaN.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.arrays import Codes, Flags, Floats
from models.statistics import metrics

DECISION_POINTS: Final = (1, 3, 5, 10)  # events seen when the early-decision curve is read


def positions(starts: Flags) -> npt.NDArray[np.int64]:
    """Number of its session's events seen at each row: 1, 2, 3 …, shape (n_rows,).

    Examples
    --------
    >>> positions(np.array([True, False, True]))
    array([1, 2, 1])
    """
    rows = np.arange(len(starts))
    return rows - np.maximum.accumulate(np.where(starts, rows, 0)) + 1


def _finite(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def classification(p: Floats, true: Codes | Floats, names: Sequence[str]) -> dict[str, Any]:
    """All measures of a classifier over one set of rows.

    Parameters
    ----------
    p
        Shape (n_rows, n_classes).
    true
        Index into `names`, shape (n_rows,); or a probability of each, shape (n_rows, n_classes), as weak labels are: then the
        most probable one is what must be hit, and log loss, Brier and ECE are expected values.

    Returns
    -------
    ``{"n_rows"}`` alone where there are no rows.
    """
    if len(true) == 0:
        return {"n_rows": 0}
    predicted, named = p.argmax(axis=1), true.argmax(axis=1) if true.ndim == 2 else np.asarray(true, dtype=np.int64)
    return {
        "n_rows": len(true),
        "macro_f1": _finite(metrics.macro_f1(named, predicted, len(names))),
        "accuracy": _finite(metrics.accuracy(named, predicted)),
        "log_loss": _finite(metrics.log_loss(p, true)),
        "brier": _finite(metrics.brier(p, true)),
        "ece": _finite(metrics.ece(p, true)),
        "pr_auc": {name: _finite(metrics.pr_auc(p[:, k], named == k)) for k, name in enumerate(names)},
        "confusion": metrics.confusion(named, predicted, len(names)).tolist(),
    }


def yes_no(p: Floats, outcome: Flags) -> dict[str, Any]:
    """All measures of a yes/no probability, such as P(purchase within the horizon); shapes (n_rows,)."""
    if len(outcome) == 0:
        return {"n_rows": 0}
    return {
        "n_rows": len(outcome),
        "base_rate": _finite(float(outcome.mean())),
        "roc_auc": _finite(metrics.roc_auc(p, outcome)),
        "pr_auc": _finite(metrics.pr_auc(p, outcome)),
        "log_loss": _finite(metrics.log_loss(np.column_stack((1 - p, p)), outcome.astype(np.int64))),
        "brier": _finite(metrics.brier(p, outcome)),
        "ece": _finite(metrics.ece(p, outcome)),
    }


def early_decision(
    predictions: Mapping[str, Floats],
    true: Codes | Floats,
    position: npt.NDArray[np.integer],
    names: Sequence[str],
    after: Sequence[int] = DECISION_POINTS,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Early-decision table: each method after the first k events of a session.

    Parameters
    ----------
    predictions
        Method name to probabilities, each of shape (n_rows, n_classes).
    true
        As in `classification`.
    position
        Events seen so far at each row (`positions`), shape (n_rows,).
    after
        The k's; sessions shorter than k do not count at k.

    Returns
    -------
    ``{"after_3": {method: classification(...)}, …}``
    """
    return {
        f"after_{k}": {
            method: classification(p[position == k], true[position == k], names) for method, p in predictions.items()
        }
        for k in after
    }


def calibration_table(p: Floats, hit: Flags | Floats, n_bins: int = 10) -> list[dict[str, float | int]]:
    """Calibration table: what was said and what came, by bins of equal mass; shapes (n_rows,)."""
    if len(p) == 0:
        return []
    bins = metrics.calibration_bins(p, hit, n_bins)
    return [{"n_rows": b.n_rows, "mean_p": round(b.mean_p, 4), "hit_rate": round(b.hit_rate, 4)} for b in bins]
