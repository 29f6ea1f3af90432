"""What a readout comes to, in a few words and in a sentence: conversion decides, guardrails are named beside it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from models.experimentation.experiment_outcomes import CONVERSION
from models.experimentation.experiments import Experiment

WITHHELD: Final = "withheld"
NOT_ENOUGH: Final = "not enough data"
UNDECIDED: Final = "no difference yet"
EQUAL: Final = "no difference"
DECIDED: Final = "decided"
OPEN: Final = "undecided"


def withheld(experiment: Experiment, counts: Sequence[int]) -> dict[str, str]:
    """Say that the split was not delivered as dealt.

    Examples
    --------
    >>> withheld(Experiment("e", "s", ("a", "b"), (0.5, 0.5)), [9_600, 10_400])["verdict"]
    'withheld: sample ratio 48/52'
    """

    def split(parts: Sequence[float]) -> str:
        return "/".join(f"{100 * part:.3g}" for part in parts)

    delivered = split([count / sum(counts) for count in counts])
    verdict = f"{WITHHELD}: sample ratio {delivered}"
    dealt = split(experiment.shares)
    return {
        "verdict": verdict,
        "sentence": f"{verdict} where {dealt} was dealt ({'/'.join(experiment.variants)}): find out why before anything else",
    }


def lacking(experiment: Experiment, counts: Sequence[int], n_conversions: int, min_visitors: int, min_conversions: int) -> str:
    """What is still missing before anything may be said; empty if nothing is.

    Examples
    --------
    >>> lacking(Experiment("e", "s", ("a", "b"), (0.5, 0.5)), [200, 40], 30, 100, 25)
    '40 visitors saw b, 100 are needed in each variant'
    """
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
        As `models.experimentation.experiment_report.report` has them.
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
        verdict, told = f"{winner} better", [winner]
    elif len(clear) == len(compared):
        verdict, told = f"{experiment.control} better", list(clear)
    else:
        small = all(one["relative"] and _within(one["relative"], target_lift) for one in compared.values())
        verdict, told = EQUAL if small else UNDECIDED, list(compared)
    worse = [f"{name} worse with {treatment}" for name, one in guardrails.items() for treatment in one["worse"]]
    told_of = "; ".join(f"conversion of {name} {_percent(compared[name])} against {experiment.control}" for name in told)
    sentence = "; ".join([f"{verdict}: {told_of}", *(f"guardrail: {one}" for one in worse)])
    return {"status": OPEN if verdict == UNDECIDED else DECIDED, "verdict": verdict, "sentence": sentence}


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
