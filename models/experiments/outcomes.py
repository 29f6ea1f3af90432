"""Outcomes of an experiment: exposures and purchases as columns, outcomes per visitor, and what was foreseeable."""

from typing import Final, NamedTuple

import numpy as np

from models.arrays import Floats, Ints

CONVERSION: Final = "conversion"
REVENUE: Final = "revenue_per_visitor"


class Exposed(NamedTuple):
    """The visitors of an experiment in the order of their first exposure; all arrays have shape (n_visitors, …).

    Attributes
    ----------
    variant
        Index into the experiment's variants.
    at_us
        First exposure, ascending.
    before
        What was known before it, shape (n_visitors, n_covariates); may have no column.
    degraded_rate
        Share of the visitor's answers that were degraded; NaN where all requests failed.
    latency_us
        Mean latency of the visitor's answers; NaN where all requests failed.
    n_signals
        Signals within the window.
    n_requests
        Requests of the visitor, failed ones too.
    n_failed
        Requests that ended in a fault of ours.
    """

    variant: Ints
    at_us: Ints
    before: Floats
    degraded_rate: Floats
    latency_us: Floats
    n_signals: Floats
    n_requests: Floats
    n_failed: Floats

    def until(self, instant_us: int) -> "Exposed":
        """Those exposed by an instant."""
        n = int(np.searchsorted(self.at_us, instant_us, side="right"))
        return Exposed._make(each[:n] for each in self)


class Purchases(NamedTuple):
    """Purchases within the window, oldest first: row of the visitor, instant, price (or NaN); shape (n_purchases,)."""

    visitor: Ints
    at_us: Ints
    price: Floats

    def until(self, instant_us: int) -> "Purchases":
        """Those made by an instant."""
        n = int(np.searchsorted(self.at_us, instant_us, side="right"))
        return Purchases(self.visitor[:n], self.at_us[:n], self.price[:n])


def outcomes(purchases: Purchases, n_visitors: int, cap_quantile: float) -> dict[str, Floats]:
    """Outcomes per visitor: bought at all (0 or 1), and for how much, capped; shape (n_visitors,) each.

    A purchase without a price counts for nothing; where no purchase has one, there is no revenue to tell of.

    Examples
    --------
    >>> bought = Purchases(np.array([1, 1]), np.array([5, 9]), np.array([10.0, 30.0]))
    >>> {name: values.tolist() for name, values in outcomes(bought, 3, 1.0).items()}
    {'conversion': [0.0, 1.0, 0.0], 'revenue_per_visitor': [0.0, 40.0, 0.0]}
    >>> list(outcomes(bought._replace(price=np.full(2, np.nan)), 3, 1.0))
    ['conversion']
    """
    bought = np.bincount(purchases.visitor, minlength=n_visitors)
    converted = (bought > 0).astype(np.float64)
    if len(purchases.price) and np.isnan(purchases.price).all():
        return {CONVERSION: converted}
    revenue = np.bincount(purchases.visitor, weights=np.nan_to_num(purchases.price), minlength=n_visitors)
    paid = revenue[revenue > 0]
    cap = float(np.quantile(paid, cap_quantile)) if len(paid) else 0.0
    return {CONVERSION: converted, REVENUE: np.minimum(revenue, cap)}


def adjusted(outcome: Floats, before: Floats, variant: Ints) -> Floats:
    """Outcomes without what was foreseeable: CUPED with any number of covariates.

    y - (X - mean(X)) b, where b is the least-squares slope within the variants, so that a difference between them does not
    leak into it (Deng, Xu, Kohavi, Walker 2013; Lin 2013). The expected difference between variants stays what it is,
    because what is known before the exposure is the same in all of them.

    Parameters
    ----------
    outcome, before, variant
        Shapes (n,), (n, n_covariates), (n,).

    Examples
    --------
    >>> y, x = np.array([1.0, 3.0, 2.0, 4.0]), np.array([[0.0], [2.0], [0.0], [2.0]])
    >>> adjusted(y, x, np.array([0, 0, 1, 1])).tolist()
    [2.0, 2.0, 3.0, 3.0]
    """
    found: Floats = outcome - foreseeable(outcome, before, variant)
    return found


def foreseeable(outcome: Floats, before: Floats, variant: Ints) -> Floats:
    """The part of the outcomes that the past explains, with mean zero; shapes as in `adjusted`."""
    if before.shape[1] == 0 or len(outcome) == 0:
        return np.zeros(len(outcome))
    x, y = before - before.mean(axis=0), outcome.copy()
    within = x.copy()
    for code in np.unique(variant):
        rows = variant == code
        within[rows] -= within[rows].mean(axis=0)
        y[rows] -= y[rows].mean()
    slope = np.linalg.lstsq(within, y, rcond=None)[0]
    explained: Floats = x @ slope
    return explained
