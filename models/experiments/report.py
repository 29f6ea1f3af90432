"""The readout of an experiment: whether the split can be trusted, what each variant did to visitors, and how sure that is.

Everything is per visitor: each counts once, with the variant of the first exposure and what they did from then on within a
window. Visitors whose window is still open count with what they did so far. Intervals are confidence sequences
(`models.experiments.sequential`) around differences that are adjusted for what was known before the exposure (CUPED), so
the report may be read every morning. The sample ratio is checked first: a split that was not delivered as dealt says nothing
about the variants, and then no result is given at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from scipy.stats import chisquare

from models.arrays import Floats, Ints
from models.experiments import guardrails, sequential
from models.experiments import verdict as experiment_verdict
from models.experiments.assignment import Experiment
from models.experiments.guardrails import GuardrailParams, by_variant
from models.experiments.outcomes import CONVERSION, REVENUE, Exposed, Purchases, adjusted, outcomes
from models.experiments.sequential import Moments, SequenceParams
from models.experiments.verdict import WITHHELD
from models.schema import DAY_US
from models.statistics.verdict import NOT_ENOUGH


@dataclass(frozen=True)
class ReadoutParams:
    """Parameters of a readout, decided before the experiment is read.

    Attributes
    ----------
    alpha
        Chance that a verdict is wrong where there is no difference, over all looks and all treatments.
    tuned_for
        Visitors at which the intervals are tightest.
    window_us
        Outcomes count for so long after a visitor's first exposure.
    min_visitors, min_conversions
        Visitors in each variant, and conversions in all, below which nothing is said: the intervals are asymptotic.
    sample_ratio_alpha
        Chance that a split as dealt is refused, over all looks.
    cap_quantile
        Revenue of a visitor counts up to this quantile of the buyers' (all variants together), so that no bot decides.
    target_lift
        Relative difference of conversion that is worth finding; power is told for it.
    power
        Probability with which it should be found.
    n_looks
        Points of the path over time.
    latency_margin_ms
        Answers that take so much longer are no worse.
    """

    alpha: float = 0.05
    tuned_for: int = 20_000
    window_us: int = 7 * DAY_US
    min_visitors: int = 100
    min_conversions: int = 25
    sample_ratio_alpha: float = 0.01
    cap_quantile: float = 0.99
    target_lift: float = 0.10
    power: float = 0.8
    n_looks: int = 60
    latency_margin_ms: float = 1.0


def report(
    experiment: Experiment,
    exposed: Exposed,
    purchases: Purchases,
    latencies_us: Mapping[str, Ints],
    now_us: int,
    params: ReadoutParams = ReadoutParams(),
) -> dict[str, Any]:
    """Read an experiment out.

    Parameters
    ----------
    exposed
        Visitors that saw one variant only.
    latencies_us
        Latency of every answer by variant, for quantiles.
    now_us
        Until when there is data.

    Returns
    -------
    JSON-able: ``verdict`` (a few words), ``sentence``, ``status``, ``visitors``, ``sample_ratio``, ``metrics``, ``guardrails``,
    ``power``, ``path``. Revenue is None where no purchase has a price. Where the result is withheld, the last four are None,
    but for the guardrail of errors: it may say why.
    """
    exposed, purchases = exposed.until(now_us), purchases.until(now_us)
    n_of = np.bincount(exposed.variant, minlength=len(experiment.variants))
    ratio = sample_ratio(n_of.tolist(), experiment.shares, params)
    found: dict[str, Any] = {
        "experiment": experiment.name,
        "control": experiment.control,
        "visitors": dict(zip(experiment.variants, n_of.tolist(), strict=True)),
        "n_maturing": int((exposed.at_us > now_us - params.window_us).sum()),
        "since": instant(int(exposed.at_us[0])) if len(exposed.at_us) else None,
        "until": instant(now_us),
        "window_days": params.window_us / DAY_US,
        "alpha": params.alpha,
        "sample_ratio": ratio,
        **dict.fromkeys(("metrics", "guardrails", "power", "path")),
    }
    watched = guardrails.measured(experiment, exposed, latencies_us, _guardrail_params(experiment, params))
    if not ratio["passed"]:
        errors = {guardrails.ERROR_RATE: watched[guardrails.ERROR_RATE]}
        return {**found, "guardrails": errors, "status": WITHHELD,
                **experiment_verdict.withheld(experiment, n_of.tolist(), errors)}  # fmt: skip
    done = outcomes(purchases, len(exposed.variant), params.cap_quantile)
    found["metrics"] = {
        REVENUE: None,
        **{name: metric_of(experiment, values, exposed, params) for name, values in done.items()},
    }
    found["guardrails"] = watched
    if lacking := _lacking(experiment, exposed, done[CONVERSION], params):
        return {**found, "status": NOT_ENOUGH, **experiment_verdict.told(NOT_ENOUGH, lacking, watched)}
    found["power"] = _power(experiment, done[CONVERSION], exposed, now_us, params)
    found["path"] = path(experiment, exposed, purchases, now_us, params)
    return {**found, **experiment_verdict.judged(experiment, found["metrics"], found["guardrails"], params.target_lift)}


def _lacking(experiment: Experiment, exposed: Exposed, converted: Floats, params: ReadoutParams) -> str:
    counts = np.bincount(exposed.variant, minlength=len(experiment.variants)).tolist()
    return experiment_verdict.lacking(experiment, counts, int(converted.sum()), params.min_visitors, params.min_conversions)


def sample_ratio(counts: Sequence[int], shares: Sequence[float], params: ReadoutParams) -> dict[str, Any]:
    """Sample-ratio check; the sequential p-value decides, the usual one stands beside it."""
    n = sum(counts)
    p = sequential.p_counts(counts, shares)
    usual = float(chisquare(counts, [n * share for share in shares]).pvalue) if n and len(shares) > 1 else 1.0
    return {
        "passed": p >= params.sample_ratio_alpha,
        "p_value": p,
        "p_value_fixed_horizon": usual,
        "expected": list(shares),
        "observed": [count / n for count in counts] if n else None,
    }


def sequence_params(experiment: Experiment, params: ReadoutParams) -> SequenceParams:
    """The error shared among the treatments (Bonferroni)."""
    return SequenceParams(params.alpha / max(len(experiment.variants) - 1, 1), params.tuned_for)


def _guardrail_params(experiment: Experiment, params: ReadoutParams) -> GuardrailParams:
    return GuardrailParams(sequence_params(experiment, params), params.min_visitors, params.latency_margin_ms)


def metric_of(experiment: Experiment, values: Floats, exposed: Exposed, params: ReadoutParams) -> dict[str, Any]:
    """Measure of each variant, and each treatment against the control, JSON-able.

    Parameters
    ----------
    values
        Of each visitor, shape (n_visitors,).
    """
    raw = by_variant(values, exposed.variant, len(experiment.variants))
    better = by_variant(adjusted(values, exposed.before, exposed.variant), exposed.variant, len(experiment.variants))
    return {
        "variants": {
            name: {"mean": one.mean, "sd": one.variance**0.5} for name, one in zip(experiment.variants, raw, strict=True)
        },
        "variance_saved": _saved(raw, better),
        "comparisons": {
            name: sequential.compared(better[code], better[-1], sequence_params(experiment, params))
            for code, name in enumerate(experiment.treatments)
        },
    }


def _saved(raw: Sequence[Moments], better: Sequence[Moments]) -> float:
    """Share of the variance within the variants that the adjustment takes away."""
    before, after = (sum(one.variance * one.n for one in each) for each in (raw, better))
    return 1 - after / before if before > 0 else 0.0


def _power(experiment: Experiment, converted: Floats, exposed: Exposed, now_us: int, params: ReadoutParams) -> dict[str, Any]:
    """How probable it is that a lift of the target size would have been found by now, and what is still to wait for."""
    values = adjusted(converted, exposed.before, exposed.variant)
    all_ = by_variant(values, exposed.variant, len(experiment.variants))
    sequence, control = sequence_params(experiment, params), all_[-1]
    days = max((now_us - int(exposed.at_us[0])) / DAY_US, 1e-9)
    found = {}
    for code, name in enumerate(experiment.treatments):
        effect = sequential.effect(all_[code], control)
        lift, per_visitor = params.target_lift * control.mean, effect.variance * effect.n
        n = sequential.n_needed(lift, per_visitor, sequence, params.power)
        missing = None if n is None else max(n - effect.n, 0)
        found[name] = {
            "target_lift": params.target_lift,
            "power_now": sequential.p_found(lift, per_visitor, effect.n, sequence),
            "wanted_power": params.power,
            "visitors_needed": n,
            "visitors_missing": missing,
            "visitors_per_day": effect.n / days,
            "days_missing": None if missing is None else missing / (effect.n / days),
        }
    return found


def path(
    experiment: Experiment, exposed: Exposed, purchases: Purchases, now_us: int, params: ReadoutParams
) -> dict[str, list[dict[str, Any]]]:
    """The confidence sequence of the conversion difference as it was at earlier instants, for each treatment."""
    points: dict[str, list[dict[str, Any]]] = {name: [] for name in experiment.treatments}
    first = int(exposed.at_us[0])
    for at_us in np.unique(np.linspace(first, now_us, params.n_looks + 1)[1:].astype(np.int64)).tolist():
        seen, bought = exposed.until(at_us), purchases.until(at_us)
        values = outcomes(bought, len(seen.variant), params.cap_quantile)[CONVERSION]
        if _lacking(experiment, seen, values, params):
            continue
        compared = metric_of(experiment, values, seen, params)["comparisons"]
        for name, each in compared.items():
            points[name].append({"at": instant(at_us), "n_visitors": len(seen.variant), **each["difference"]})
    return points


def instant(at_us: int) -> str:
    """UTC, to the second."""
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="seconds")
