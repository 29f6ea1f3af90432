"""Calibration of raw scores: one temperature for all classes and one shift per class, fitted on later, held-out rows.

    p(k | s) = softmax_k(scale * s_k + shift_k)

For two classes with the scores (0, s) this is Platt's scaling. The shift is pulled towards 0 and the scale towards 1, so that a
class with few held-out rows stays where training left it.

Sources: Platt, "Probabilistic outputs for support vector machines", 1999; Guo et al., "On calibration of modern neural
networks", 2017 (temperature and vector scaling).
"""

from typing import Final, NamedTuple

import numpy as np

from models.arrays import Floats, writeable
from models.kernels import kernel

_LEVEL: Final = 1e-9  # of a log share: nearer need no shares be


class Scaling(NamedTuple):
    """A fitted calibration.

    Attributes
    ----------
    scale
        Factor on every score, > 0; below 1 makes the model less sure.
    shift
        Added to each class's scaled score, shape (n_classes,).
    """

    scale: float
    shift: Floats


def identity(n_classes: int) -> Scaling:
    """The calibration that changes nothing."""
    return Scaling(1.0, np.zeros(n_classes))


def softmax(scores: Floats) -> Floats:
    """Probabilities over the last axis, safe for large scores.

    Examples
    --------
    >>> softmax(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    p: Floats = np.exp(scores - scores.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    return p


def apply(scaling: Scaling, scores: Floats) -> Floats:
    """Calibrated probabilities of raw scores, shape (..., n_classes) in and out; a row alone is rounded as among others."""
    rows = np.array(scores, np.float64, ndmin=2)
    calibrate(rows, float(scaling.scale), writeable(scaling.shift, np.float64))
    return rows.reshape(scores.shape)


@kernel
def calibrate(rows: Floats, scale: float, shift: Floats) -> None:
    """Turn rows of raw scores into probabilities, in place.

    Parameters
    ----------
    rows
        Shape (n_rows, n_classes).
    scale, shift
        As `Scaling` has them.
    """
    for row in range(len(rows)):
        most, total = -np.inf, 0.0
        for k in range(rows.shape[1]):
            rows[row, k] = scale * rows[row, k] + shift[k]
            most = max(most, rows[row, k])
        for k in range(rows.shape[1]):
            rows[row, k] = np.exp(rows[row, k] - most)
            total += rows[row, k]
        for k in range(rows.shape[1]):
            rows[row, k] /= total


def levelled(scaling: Scaling, scores: Floats, targets: Floats, n_steps: int = 50) -> Scaling:
    """The scaling with shifts under which each class is expected as often as it came; classes that never came keep theirs.

    Parameters
    ----------
    scores, targets
        As for `fit`.

    Examples
    --------
    >>> scores, targets = np.zeros((4, 2)), np.array([[0.0, 1.0]] * 3 + [[1.0, 0.0]])
    >>> apply(levelled(identity(2), scores, targets), scores)[0].round(6)
    array([0.25, 0.75])
    """
    share, shift = targets.mean(axis=0), scaling.shift.copy()
    came = share > 0
    for _ in range(n_steps):
        step = np.log(share[came] / apply(Scaling(scaling.scale, shift), scores).mean(axis=0)[came])
        shift[came] += step
        if np.abs(step).max(initial=0.0) < _LEVEL:
            break
    return Scaling(scaling.scale, shift)


def fit(scores: Floats, targets: Floats, *, pull: float = 10.0) -> Scaling:
    """Fit scale and shifts by penalised maximum likelihood.

    Parameters
    ----------
    scores
        Raw scores of held-out rows, shape (n_rows, n_classes).
    targets
        Probability of each class for each row, shape (n_rows, n_classes); one-hot for plain labels.
    pull
        Strength of the pull towards "change nothing", in rows.

    Returns
    -------
    The scaling; `identity` where there are no rows.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    An over-confident model is cooled down: it says 98 %, and is right three times out of four.

    >>> scores = np.tile([[0.0, 4.0]], (400, 1))
    >>> targets = np.tile([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]], (100, 1))
    >>> float(apply(fit(scores, targets, pull=0.1), scores)[0, 1].round(2))
    0.75
    """
    from scipy.optimize import minimize  # only here: what serves does not fit

    if scores.shape != targets.shape:
        raise ValueError(f"scores and targets must have one shape, got {scores.shape} and {targets.shape}")
    n_rows, n_classes = scores.shape
    if n_rows == 0:
        return identity(n_classes)

    def loss(theta: Floats) -> tuple[float, Floats]:
        scale, shift = np.exp(theta[0]), theta[1:]
        z = scale * scores + shift
        z = z - z.max(axis=1, keepdims=True)
        log_norm = np.log(np.exp(z).sum(axis=1, keepdims=True))
        residual = np.exp(z - log_norm) * targets.sum(axis=1, keepdims=True) - targets
        value = -(targets * (z - log_norm)).sum() + 0.5 * pull * (theta**2).sum()
        gradient = np.concatenate(([(residual * scores).sum() * scale], residual.sum(axis=0))) + pull * theta
        return float(value / n_rows), gradient / n_rows

    best = minimize(
        loss, np.zeros(1 + n_classes), jac=True, method="L-BFGS-B", bounds=[(-3.0, 3.0)] + [(-5.0, 5.0)] * n_classes
    )
    return Scaling(float(np.exp(best.x[0])), np.asarray(best.x[1:], dtype=np.float64))
