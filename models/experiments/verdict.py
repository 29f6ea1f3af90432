"""Verdict of a readout, in a few words and in a sentence: conversion decides, guardrails are named beside it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from models.experiments.assignment import Experiment
from models.experiments.outcomes import CONVERSION

WITHHELD: Final = "withheld"
UNDECIDED: Final = "no difference yet"
EQUAL: Final = "no difference"
DECIDED: Final = "decided"
OPEN: Final = "undecided"


def broken(guardrails: Mapping[str, Any]) -> list[str]:
    """Each guardrail that got worse, with the variant.

    Examples
    --------
    >>> broken({"error_rate": {"worse": ["dynamic"]}, "latency_ms": {"worse": []}})
    ['guardrail: error_rate worse with dynamic']
    """
    return [f"guardrail: {name} worse with {treatment}" for name, one in guardrails.items() for treatment in one["worse"]]


def told(verdict: str, because: str, guardrails: Mapping[str, Any]) -> dict[str, str]:
    """Verdict and sentence; a broken guardrail stands in both, so that no variant is chosen for its conversion alone."""
    worse = broken(guardrails)
    return {"verdict": "; ".join([verdict, *worse]), "sentence": "; ".join([f"{verdict}: {because}", *worse])}


def withheld(experiment: Experiment, counts: Sequence[int], guardrails: Mapping[str, Any]) -> dict[str, str]:
    """Say that the split was not delivered as dealt.

    Examples
    --------
    >>> withheld(Experiment("e", "s", ("a", "b"), (0.5, 0.5)), [9_600, 10_400], {})["verdict"]
    'withheld: sample ratio 48/52'
    """

    def split(parts: Sequence[float]) -> str:
        return "/".join(f"{100 * part:.3g}" for part in parts)

    delivered = split([count / sum(counts) for count in counts])
    verdict = f"{WITHHELD}: sample ratio {delivered}"
    dealt = split(experiment.shares)
    sentence = f"{verdict} where {dealt} was dealt ({'/'.join(experiment.variants)}): find out why before anything else"
    worse = broken(guardrails)
    return {"verdict": "; ".join([verdict, *worse]), "sentence": "; ".join([sentence, *worse])}


def lacking(experiment: Experiment, counts: Sequence[int], n_conversions: int, min_visitors: int, min_conversions: int) -> str:
    """Missing evidence before anything may be said; empty if nothing is missing.

    Examples
    --------
    >>> lacking(Experiment("e", "s", ("a", "b"), (0.5, 0.5)), [200, 40], 30, 100, 25)
    '40 visitors saw b, 100 are needed in each variant'
    """
    if not experiment.treatments:
        return f"everybody saw {experiment.control}, there is nothing to compare it with"
    for variant, n in zip(experiment.variants, counts, strict=True):
        if n < min_visitors:
            return f"{n} visitors saw {variant}, {min_visitors} are needed in each variant"
    if n_conversions < min_conversions:
        return f"{n_conversions} visitors bought, {min_conversions} are needed"
    return ""


def judged(
    experiment: Experiment, metrics: Mapping[str, Any], guardrails: Mapping[str, Any], target_lift: float
) -> dict[str, str]:
    """The verdict: conversion decides, guardrails are named.

    Parameters
    ----------
    metrics, guardrails
        As `models.experiments.report.report` has them.
    target_lift
        An interval that lies within this relative difference of nothing means "no difference", not "none yet".

    Returns
    -------
    ``{"status", "verdict", "sentence"}``
    """
    compared = metrics[CONVERSION]["comparisons"]
    clear = {name: one["difference"] for name, one in compared.items() if _clear(one["difference"])}
    better = {name: one for name, one in clear.items() if one["estimate"] > 0}
    if better:
        winner = max(better, key=lambda name: float(better[name]["estimate"]))
        verdict, shown = f"{winner} better", [winner]
    elif len(clear) == len(compared):
        verdict, shown = f"{experiment.control} better", list(clear)
    else:
        small = all(one["relative"] and _within(one["relative"], target_lift) for one in compared.values())
        verdict, shown = EQUAL if small else UNDECIDED, list(compared)
    because = "; ".join(f"conversion of {name} {_percent(compared[name])} against {experiment.control}" for name in shown)
    return {"status": OPEN if verdict == UNDECIDED else DECIDED, **told(verdict, because, guardrails)}


def _clear(interval: Mapping[str, float | None]) -> bool:
    low, high = interval["low"], interval["high"]
    return low is not None and high is not None and (low > 0 or high < 0)


def _within(interval: Mapping[str, float | None], bound: float) -> bool:
    low, high = interval["low"], interval["high"]
    return low is not None and high is not None and -bound < low and high < bound


def _percent(one: Mapping[str, Any]) -> str:
    shown = one["relative"]
    if shown is None:
        return f"{one['difference']['estimate']:+.4f}"
    return f"{shown['estimate']:+.1%} [{shown['low']:+.1%}, {shown['high']:+.1%}]"
