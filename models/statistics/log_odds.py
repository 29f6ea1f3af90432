"""Log odds and their inverse, to the bit as scipy has them, and the logarithm of the beta function; compiled, without scipy.

A service needs no more of scipy than these, which would cost each of its workers 20 MiB and a second set of BLAS threads.
"""

import math

import numpy as np
import numpy.typing as npt

from models.arrays import Floats
from models.kernels import kernel


def expit(log_odds: npt.ArrayLike) -> Floats:
    """Probabilities of log odds, in their shape: 1 / (1 + exp(-x)).

    Examples
    --------
    >>> expit([0.0, 800.0, -800.0]).tolist()
    [0.5, 1.0, 0.0]
    """
    found = np.array(log_odds, np.float64, order="C")
    _expit(found.reshape(-1))
    return found


def logit(p: npt.ArrayLike) -> Floats:
    """Log odds of probabilities, in their shape: log(p / (1 - p)).

    Examples
    --------
    >>> logit([0.5, 0.0, 1.0]).tolist()
    [0.0, -inf, inf]
    """
    found = np.array(p, np.float64, order="C")
    _logit(found.reshape(-1))
    return found


def betaln(a: Floats, b: Floats) -> Floats:
    """Logarithm of the beta function, of two arrays of one shape, all above 0.

    Examples
    --------
    >>> float(np.exp(betaln(np.array([2.0]), np.array([3.0])))[0].round(6))  # 1! 2! / 4!
    0.083333
    """
    found = np.array(a, np.float64, order="C")
    _betaln(found.reshape(-1), np.array(b, np.float64, order="C").reshape(-1))
    return found


@kernel
def log_odds_of(p: float) -> float:
    """Log odds of one probability; near one half by logarithms that stay exact there."""
    if 0.3 <= p <= 0.65:
        return float(np.log1p(2 * (p - 0.5)) - np.log1p(-2 * (p - 0.5)))
    return float(np.log(p / (1 - p)))


@kernel
def _expit(values: Floats) -> None:
    for k in range(len(values)):
        values[k] = 1.0 / (1.0 + np.exp(-values[k]))


@kernel
def _logit(values: Floats) -> None:
    for k in range(len(values)):
        values[k] = log_odds_of(values[k])


@kernel
def _betaln(a: Floats, b: Floats) -> None:
    for k in range(len(a)):
        a[k] = math.lgamma(a[k]) + math.lgamma(b[k]) - math.lgamma(a[k] + b[k])
