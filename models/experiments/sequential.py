"""Statistics that may be looked at any time: confidence sequences, and tests of counts that hold at every sample size at once.

An interval of the usual kind is right at one look that was planned in advance; whoever looks every morning and stops at the
first good news is wrong far more often than it says. These here stay right however often one looks.
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Floats

_MAX_VISITORS = 10**12  # nobody waits for more


@dataclass(frozen=True)
class SequenceParams:
    """Parameters of a confidence sequence: how wide it is, and where it is tightest.

    Attributes
    ----------
    alpha
        Probability that the truth is ever outside, in (0, 1).
    tuned_for
        Number of visitors at which the interval is as tight as it can be; set before the experiment, never from its data.
    """

    alpha: float = 0.05
    tuned_for: int = 20_000

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1 or self.tuned_for < 1:
            raise ValueError(f"alpha must be in (0, 1) and tuned_for positive, got {self.alpha} and {self.tuned_for}")

    @property
    def rho_squared(self) -> float:
        """Variance of the mixture, in units of one visitor's variance."""
        wide = -2 * np.log(self.alpha)
        return float((wide + np.log(wide + 1)) / self.tuned_for)


class Moments(NamedTuple):
    """Number, mean and variance (per visitor, divisor n - 1) of a measure in one variant."""

    n: int
    mean: float
    variance: float


def moments(values: Floats) -> Moments:
    """Moments of the visitors of one variant, shape (n,).

    Examples
    --------
    >>> moments(np.array([0.0, 1.0]))
    Moments(n=2, mean=0.5, variance=0.5)
    """
    n = len(values)
    return Moments(n, float(values.mean()) if n else 0.0, float(values.var(ddof=1)) if n > 1 else 0.0)


def radius(variance: npt.ArrayLike, n: npt.ArrayLike, params: SequenceParams) -> Floats:
    """Half-width of an asymptotic confidence sequence around an estimate.

    sqrt(V (n r + 1) / (n r) * (log(n r + 1) - 2 log(alpha))), r = `SequenceParams.rho_squared`: the two-sided normal-mixture
    boundary of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024, theorem 2.2), written for an estimate whose variance V
    shrinks as 1 / n. The same as inverting a mixture sequential ratio test (Johari et al. 2017) with a N(0, r n V) prior.

    Parameters
    ----------
    variance
        Of the estimate, any shape that broadcasts with `n`.
    n
        Visitors behind it, at least 1.

    Examples
    --------
    At no sample size it is narrower than the usual interval:

    >>> bool(radius(1.0, 20_000, SequenceParams()) > 1.96)
    True
    """
    nr = np.asarray(n, dtype=np.float64) * params.rho_squared
    found: Floats = np.sqrt(np.asarray(variance) * (nr + 1) / nr * (np.log(nr + 1) - 2 * np.log(params.alpha)))
    return found


class Effect(NamedTuple):
    """A treatment's mean minus the control's, with its variance and the number of visitors of both."""

    difference: float
    variance: float
    n: int

    def interval(self, params: SequenceParams) -> tuple[float, float]:
        """The confidence sequence at this sample size; everything where there is nobody in an arm."""
        if self.n == 0 or not np.isfinite(self.variance):
            return -np.inf, np.inf
        half = float(radius(self.variance, self.n, params))
        return self.difference - half, self.difference + half


def effect(treatment: Moments, control: Moments) -> Effect:
    """Difference of two means.

    Examples
    --------
    >>> effect(Moments(50, 0.3, 1.0), Moments(50, 0.2, 1.0)).variance
    0.04
    """
    if min(treatment.n, control.n) < 2:
        return Effect(treatment.mean - control.mean, np.inf, treatment.n + control.n)
    variance = treatment.variance / treatment.n + control.variance / control.n
    return Effect(treatment.mean - control.mean, variance, treatment.n + control.n)


def relative_effect(treatment: Moments, control: Moments) -> Effect | None:
    """Treatment's mean over the control's, minus 1, with its variance by the delta method; None for a control at or below zero.

    Examples
    --------
    >>> round(relative_effect(Moments(50, 0.3, 1.0), Moments(50, 0.2, 1.0)).difference, 6)
    0.5
    """
    rounding = 1e-9 * max(abs(treatment.mean), np.sqrt(control.variance))  # what an adjusted mean of zeros may be off by
    if control.mean <= rounding or min(treatment.n, control.n) < 2:
        return None
    ratio = treatment.mean / control.mean
    variance = (treatment.variance / treatment.n + ratio**2 * control.variance / control.n) / control.mean**2
    return Effect(ratio - 1, variance, treatment.n + control.n)


def compared(treatment: Moments, control: Moments, params: SequenceParams) -> dict[str, Any]:
    """Difference and relative difference of two means, each ``{"estimate", "low", "high"}``, JSON-able.

    Bounds are None where nothing is known yet; ``relative`` is None for a control at zero.
    """
    relative = relative_effect(treatment, control)
    return {
        "difference": _told(effect(treatment, control), params),
        "relative": _told(relative, params) if relative else None,
    }


def _told(found: Effect, params: SequenceParams) -> dict[str, float | None]:
    low, high = found.interval(params)
    bounds = (low, high) if np.isfinite(low) else (None, None)
    return {"estimate": found.difference, "low": bounds[0], "high": bounds[1]}


def p_found(true_effect: float, variance_per_visitor: float, n: float, params: SequenceParams) -> float:
    """Power: about how probable it is that the sequence is clear of zero at n visitors on the right side.

    Parameters
    ----------
    variance_per_visitor
        Variance of the estimate, times the visitors behind it.

    Examples
    --------
    >>> round(p_found(0.0, 1.0, 1000, SequenceParams()), 3)
    0.0
    """
    if variance_per_visitor <= 0:
        return float(true_effect != 0)
    half = float(radius(variance_per_visitor / n, n, params))
    return NormalDist().cdf((abs(true_effect) - half) / np.sqrt(variance_per_visitor / n))


def n_needed(true_effect: float, variance_per_visitor: float, params: SequenceParams, power: float = 0.8) -> int | None:
    """Visitors at which an effect is found with a probability; None if that is out of reach.

    Examples
    --------
    >>> n_needed(0.0, 1.0, SequenceParams()) is None
    True
    >>> n = n_needed(0.1, 1.0, SequenceParams())
    >>> p_found(0.1, 1.0, n, SequenceParams()) >= 0.8 > p_found(0.1, 1.0, n - 1, SequenceParams())
    True
    """
    if true_effect == 0 or p_found(true_effect, variance_per_visitor, _MAX_VISITORS, params) < power:
        return None
    low, high = 1, _MAX_VISITORS
    while low < high:
        middle = (low + high) // 2
        if p_found(true_effect, variance_per_visitor, middle, params) >= power:
            high = middle
        else:
            low = middle + 1
    return low


def p_counts(counts: npt.ArrayLike, shares: npt.ArrayLike, concentration: float = 100.0) -> float:
    """Always-valid p-value of "these counts were dealt with these shares": 1 over a Bayes factor, at most 1.

    Looked at after every visitor, the chance that it ever falls to alpha is at most alpha if the shares are true. The
    alternative is a Dirichlet around the shares (Lindon and Malek 2022, "Anytime-valid inference for multinomial count data").

    Parameters
    ----------
    counts, shares
        Shape (n_kinds,); shares are positive and sum to 1.
    concentration
        How near to the shares the alternatives are expected; fixed in advance.

    Raises
    ------
    ValueError
        If the shapes differ or a share is not positive.

    Examples
    --------
    >>> p_counts([9_600, 10_400], [0.5, 0.5]) < 1e-5
    True
    >>> p_counts([9_950, 10_050], [0.5, 0.5])
    1.0
    """
    from scipy.special import gammaln  # only here: what serves reads no readout

    n, p = np.asarray(counts, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    if n.shape != p.shape or n.ndim != 1 or not (p > 0).all() or abs(p.sum() - 1) > 1e-9:
        raise ValueError(f"need a positive share for each count, summing to 1, got {p.tolist()} for {n.tolist()}")
    prior = concentration * p
    evidence = gammaln(prior + n).sum() - gammaln(prior).sum() + gammaln(concentration) - gammaln(concentration + n.sum())
    return float(min(1.0, np.exp(-(evidence - (n * np.log(p)).sum()))))
