"""Drift: whether what comes in, what is inferred and what it leads to still look as they did when the champion was trained.

Population stability index (PSI) of each session feature and of the mix of intents, the rise of the calibration error against
weak labels, and rewards that changed. Each rule says pass, fail or "not enough data"; the limits are parameters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Floats, Ints, Reals
from models.statistics import metrics
from models.statistics.verdict import FAIL, NOT_ENOUGH, PASS

DRIFT: Final = "drift"
NO_DRIFT: Final = "no drift"
# The time of day is not drift: a window of some hours has other hours than a month.
CALENDAR: Final = frozenset({"hour_sin", "hour_cos", "is_weekend"})


@dataclass(frozen=True)
class DriftParams:
    """Parameters of drift: what is compared, and how much change is too much.

    Attributes
    ----------
    window_days
        Length of the window before now that is compared with the champion's.
    min_sessions
        Sessions in each of both windows below which nothing is said.
    at_most
        Sessions of a window that are looked at; more are sampled.
    n_bins
        Of a feature, by the quantiles of the reference.
    psi_limit
        0.1 is commonly called a small shift, 0.2 a large one.
    ece_rise_limit
        Rise of the expected calibration error, in probability.
    purchase_ece_rise_limit
        The same of the probability to buy, whose scale is smaller.
    adwin_delta
        ADWIN's error level for "the reward changed".
    seed
        Of the samples.
    quiet_h
        A retraining within so many hours makes another one for the same drift unnecessary.
    """

    window_days: float = 7.0
    min_sessions: int = 200
    at_most: int = 20_000
    n_bins: int = 10
    psi_limit: float = 0.2
    ece_rise_limit: float = 0.05
    purchase_ece_rise_limit: float = 0.01
    adwin_delta: float = 0.002
    quiet_h: float = 6.0
    seed: int = 0


class Rule(NamedTuple):
    """One question, what was observed, and the limit."""

    name: str
    verdict: str
    observed: float | None
    limit: float | None
    about: str = ""


def psi(reference: npt.ArrayLike, current: npt.ArrayLike) -> float:
    """Population stability index of two histograms over the same bins.

    sum (q - p) ln(q / p), p and q the shares of the bins, each with half a count added so that an empty bin stays finite. The
    symmetrised Kullback-Leibler divergence (Jeffreys 1946). Two samples of one distribution give about
    (n_bins - 1) (1/n + 1/m).

    Parameters
    ----------
    reference, current
        Counts, shape (n_bins,).

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> psi([50, 50], [500, 500])
    0.0
    >>> round(psi([500, 500], [800, 200]), 2)
    0.41
    """
    p, q = np.asarray(reference, dtype=np.float64) + 0.5, np.asarray(current, dtype=np.float64) + 0.5
    if p.shape != q.shape or p.ndim != 1:
        raise ValueError(f"expected two histograms over the same bins, got shapes {p.shape} and {q.shape}")
    p, q = p / p.sum(), q / q.sum()
    return float(((q - p) * np.log(q / p)).sum())


def psi_of(reference: Reals, current: Reals, n_bins: int = 10) -> float:
    """PSI of a number, binned by the quantiles of the reference; missing values (NaN) are a bin of their own.

    Parameters
    ----------
    reference, current
        Shapes (n,) and (m,), neither empty.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> psi_of(rng.normal(size=2000), rng.normal(size=2000)) < 0.05 < psi_of(rng.normal(size=2000), rng.normal(1, 1, 2000))
    True
    """
    known = reference[~np.isnan(reference)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, n_bins + 1)[1:-1])) if len(known) else np.zeros(0)

    def counts(values: Reals) -> Ints:
        # A value equal to an edge lies above it, also where most values are equal, as zeros are.
        place = np.searchsorted(edges, values, side="left") + (len(edges) + 1) * np.isin(values, edges)
        return np.bincount(np.where(np.isnan(values), 2 * len(edges) + 1, place), minlength=2 * len(edges) + 2)

    return psi(counts(reference), counts(current))


def feature_psi(reference: Reals, current: Reals, names: Sequence[str], n_bins: int = 10) -> dict[str, float]:
    """PSI of each column but the calendar's, largest first; shapes (n, n_features) and (m, n_features)."""
    found = {name: psi_of(reference[:, k], current[:, k], n_bins) for k, name in enumerate(names) if name not in CALENDAR}
    return dict(sorted(found.items(), key=lambda one: -one[1]))


def mix(p: Reals, names: Sequence[str]) -> dict[str, int]:
    """Class mix: rows that are mostly each class; shape (n, n_classes) in."""
    return dict(zip(names, np.bincount(p.argmax(axis=1), minlength=len(names)).tolist(), strict=True))


def calibration_rise(p_before: Floats, true_before: Floats, p_now: Floats, true_now: Floats) -> tuple[float, float]:
    """Expected calibration error in the reference and now; probabilities and weak labels, shapes (n, n_classes)."""
    return metrics.ece(p_before, true_before), metrics.ece(p_now, true_now)


def rules(
    n_sessions: tuple[int, int],
    features: Mapping[str, float],
    intent_psi: float,
    ece: tuple[float, float],
    rewards: Mapping[str, tuple[bool, float, float]],
    purchase_ece: Sequence[metrics.Interval],
    params: DriftParams,
) -> list[Rule]:
    """Judge what was measured.

    Parameters
    ----------
    n_sessions
        In the reference and now.
    features
        From `feature_psi`.
    ece
        From `calibration_rise`.
    rewards
        Name of a reward to whether it changed in the window, its mean before and since.
    purchase_ece
        Calibration error of the probability to buy, before and now, or nothing; only a certain rise fails.
    """
    worst = max(features, key=lambda name: features[name], default="")
    found = [
        _limited("features", features.get(worst, 0.0), params.psi_limit, f"PSI of {worst}, the largest"),
        _limited("intent mix", intent_psi, params.psi_limit, "PSI of the most probable intents"),
        _limited("calibration", ece[1] - ece[0], params.ece_rise_limit, f"intent ECE {ece[0]:.3f} before, {ece[1]:.3f} now"),
    ]
    if purchase_ece:
        earlier, now = purchase_ece
        about = f"P(purchase) ECE {earlier.mean:.3f} before, at least {now.low:.3f} now"
        found.append(_limited("purchase calibration", now.low - earlier.mean, params.purchase_ece_rise_limit, about))
    for name, (changed, before, since) in rewards.items():
        about = f"mean {before:.4f} before, {since:.4f} now"
        found.append(Rule(name, FAIL if changed else PASS, since - before, None, about))
    return found if min(n_sessions) >= params.min_sessions else [_unknown(rule, n_sessions, params) for rule in found]


def _limited(name: str, observed: float, limit: float, about: str) -> Rule:
    return Rule(name, FAIL if observed > limit else PASS, observed, limit, about)


def _unknown(rule: Rule, n_sessions: tuple[int, int], params: DriftParams) -> Rule:
    about = f"{n_sessions[0]} sessions before and {n_sessions[1]} now, {params.min_sessions} are needed"
    return Rule(rule.name, NOT_ENOUGH, None, rule.limit, about)


def verdict(found: Sequence[Rule]) -> str:
    """Drift as soon as one rule fails.

    Examples
    --------
    >>> verdict([Rule("a", PASS, 0.1, 0.2), Rule("b", FAIL, 0.3, 0.2)]), verdict([])
    ('drift', 'not enough data')
    """
    said = {rule.verdict for rule in found}
    if FAIL in said:
        return DRIFT
    return NO_DRIFT if PASS in said else NOT_ENOUGH


def sample(n: int, at_most: int, rng: np.random.Generator) -> Ints:
    """Row numbers of at most so many of n, ascending.

    Examples
    --------
    >>> sample(3, 5, np.random.default_rng(1)).tolist()
    [0, 1, 2]
    """
    if n <= at_most:
        return np.arange(n)
    return np.sort(rng.choice(n, at_most, replace=False))
