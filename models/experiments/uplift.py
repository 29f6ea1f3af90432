"""Uplift of signals: users that were sent some against those of the hold-out group that would have been.

A user counts from the first signal that was sent, or would have been: until then both groups were treated alike, and which one
a user is in was decided by chance. So the difference between them is what signals do, not who gets them. Compared are the
share of users who bought within a window, and what they paid, less the discounts that they used.

Intervals are confidence sequences (`models.experiments.sequential`): the readout may be looked at every day.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np

from models.arrays import Flags, Floats, Ints
from models.experiments import sequential
from models.experiments.sequential import Moments, SequenceParams
from models.schema import DAY_US, SIGNAL_TYPES
from models.statistics.verdict import NOT_ENOUGH
from models.visitor_groups import pooled

UPLIFT: Final = "uplift"
NO_UPLIFT: Final = "no uplift"
WITHHELD: Final = "withheld: sample ratio"
CONVERSION: Final = "conversion"
REVENUE: Final = "net_revenue_per_user"


@dataclass(frozen=True)
class UpliftParams:
    """Parameters of the uplift readout, decided before it is looked at.

    Attributes
    ----------
    alpha
        Chance that a verdict says "uplift" where there is none, over all looks and both measures.
    tuned_for
        Users at which the intervals are tightest.
    window_us
        Outcomes count for so long after a user's first signal.
    min_users, min_conversions
        Users in each group, and conversions in both, below which nothing is said.
    sample_ratio_alpha
        Chance that groups of the right sizes are refused.
    cap_quantile
        What a user paid counts up to this quantile of the buyers', both groups together.
    """

    alpha: float = 0.05
    tuned_for: int = 10_000
    window_us: int = 7 * DAY_US
    min_users: int = 50
    min_conversions: int = 25
    sample_ratio_alpha: float = 0.001
    cap_quantile: float = 0.99

    def __post_init__(self) -> None:
        if self.min_users < 2:
            raise ValueError(f"min_users must be at least 2, got {self.min_users}")

    @property
    def sequence(self) -> SequenceParams:
        """The error, shared by the two measures."""
        return SequenceParams(self.alpha / 2, self.tuned_for)


class Users(NamedTuple):
    """Users with a first signal, sent or held back; shape (n_users,) each.

    Attributes
    ----------
    held_out
        Whether it was held back.
    signal
        Its type, index into `SIGNAL_TYPES`.
    """

    held_out: Flags
    signal: Ints


class Money(NamedTuple):
    """Money of the users within their windows; shape (n_rows,) each.

    Attributes
    ----------
    user
        Row of the user.
    amount
        Paid at a purchase.
    """

    user: Ints
    amount: Floats


def readout(
    users: Users, purchases: Money, discounts: Money, holdout_share: float, params: UpliftParams = UpliftParams()
) -> dict[str, Any]:
    """Compare the groups.

    Parameters
    ----------
    discounts
        Promised to users of the treated group; one that bought nothing cost nothing, and none costs more than was paid.
    holdout_share
        As it was dealt.

    Returns
    -------
    JSON-able: ``verdict`` (`UPLIFT`, `NO_UPLIFT`, `NOT_ENOUGH` or `WITHHELD` …), ``sentence``, ``users``, ``sample_ratio``,
    ``measures`` and, for the eye only, ``by_signal`` with the measures of users by the type of their first signal.

    Examples
    --------
    >>> nobody = Money(np.zeros(0, dtype=np.int64), np.zeros(0))
    >>> readout(Users(np.zeros(3, dtype=bool), np.ones(3, dtype=np.int64)), nobody, nobody, 0.05)["verdict"]
    'not enough data'
    """
    outcomes = _outcomes(users, purchases, discounts, params.cap_quantile)
    n_held = int(users.held_out.sum())
    n_sent = len(users.held_out) - n_held
    ratio_p = sequential.p_counts([n_sent, n_held], [1 - holdout_share, holdout_share]) if 0 < holdout_share < 1 else 1.0
    measures = _measures(outcomes, users.held_out, params)
    n_bought = int(outcomes[CONVERSION].sum())
    verdict, sentence = _judge(measures, (n_sent, n_held, n_bought), ratio_p, holdout_share, params)
    return {
        "verdict": verdict,
        "sentence": sentence,
        "users": {"sent": n_sent, "held_out": n_held, "bought": n_bought},
        "sample_ratio": {"p_value": ratio_p, "holdout_share": holdout_share},
        "measures": measures,
        "by_signal": {
            name: _measures({m: v[rows] for m, v in outcomes.items()}, users.held_out[rows], params)
            for code, name in enumerate(SIGNAL_TYPES)
            if (rows := users.signal == code).any()
        },
        "window_days": params.window_us / DAY_US,
        "alpha": params.alpha,
    }


def by_group(
    users: Users, purchases: Money, discounts: Money, names: Sequence[str | None], params: UpliftParams
) -> dict[str, Any]:
    """Measures of groups of users, large enough to be told; the error is shared by all of them (Bonferroni).

    Parameters
    ----------
    names
        Group of each user, as its shop names it; None where it does not.

    Returns
    -------
    By group: ``users`` and ``measures`` as in `readout`.
    """
    groups = np.array(pooled(names), dtype=object)
    found = sorted({name for name in groups.tolist() if name is not None})
    shared = replace(params, alpha=params.alpha / max(len(found), 1))
    outcomes = _outcomes(users, purchases, discounts, params.cap_quantile)
    told = {}
    for name in found:
        rows = groups == name
        measures = _measures({m: v[rows] for m, v in outcomes.items()}, users.held_out[rows], shared)
        told[name] = {"users": int(rows.sum()), "measures": measures}
    return told


def _outcomes(users: Users, purchases: Money, discounts: Money, cap_quantile: float) -> dict[str, Floats]:
    """Per user: bought at all, and paid less discounts; shape (n_users,) each."""
    n = len(users.held_out)
    bought = np.bincount(purchases.user, minlength=n) > 0
    paid = np.bincount(purchases.user, weights=purchases.amount, minlength=n)
    positive = paid[paid > 0]
    capped: Floats = np.minimum(paid, np.quantile(positive, cap_quantile) if len(positive) else 0.0)
    promised = np.bincount(discounts.user, weights=discounts.amount, minlength=n)
    return {CONVERSION: bought.astype(np.float64), REVENUE: capped - np.minimum(promised, capped)}


def _measures(outcomes: Mapping[str, Floats], held_out: Flags, params: UpliftParams) -> dict[str, Any]:
    return {name: _compared(*_split(values, held_out), params) for name, values in outcomes.items()}


def _split(values: Floats, held_out: Flags) -> tuple[Moments, Moments]:
    return sequential.moments(values[~held_out]), sequential.moments(values[held_out])


def _compared(sent: Moments, held: Moments, params: UpliftParams) -> dict[str, Any]:
    return {"sent": sent.mean, "held_out": held.mean, **sequential.compared(sent, held, params.sequence)}


def _judge(
    measures: Mapping[str, Any], n: tuple[int, int, int], ratio_p: float, holdout_share: float, params: UpliftParams
) -> tuple[str, str]:
    """Verdict and sentence: uplift is when more users buy and money is not surely lost, or when more money surely comes in."""
    n_sent, n_held, n_bought = n
    if ratio_p < params.sample_ratio_alpha:
        held = n_held / (n_sent + n_held)
        verdict = f"{WITHHELD} {held:.1%} held out"
        return verdict, f"{verdict} where {holdout_share:.1%} was dealt: find out why before anything else"
    if min(n_sent, n_held) < params.min_users or n_bought < params.min_conversions:
        wanted = f"{params.min_users} users in each group and {params.min_conversions} who bought are needed"
        return NOT_ENOUGH, f"{NOT_ENOUGH}: {n_sent} sent, {n_held} held out, {n_bought} bought; {wanted}"
    more, money = (measures[name]["difference"] for name in (CONVERSION, REVENUE))
    if money["low"] > 0 or (more["low"] > 0 and money["estimate"] >= 0):
        return UPLIFT, f"{UPLIFT}: {_told(measures)}"
    lost = " and surely costs money" if money["high"] < 0 else ""
    return NO_UPLIFT, f"{NO_UPLIFT}: that signals help is not shown{lost}; {_told(measures)}"


def _told(measures: Mapping[str, Any]) -> str:
    more, money = (measures[name]["difference"] for name in (CONVERSION, REVENUE))
    share = f"conversion {100 * more['estimate']:+.2f} points ({100 * more['low']:+.2f} to {100 * more['high']:+.2f})"
    return f"{share}, net revenue per user {money['estimate']:+.3f} ({money['low']:+.3f} to {money['high']:+.3f})"
