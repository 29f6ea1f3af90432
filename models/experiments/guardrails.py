"""Guardrails of an experiment, which must not get worse: failed requests, degraded answers, latency; signals, for the eye.

A failed request counts for the variant that its visitor was dealt. Failures are rare, so that no interval that leans on the
normal distribution is to be trusted with them. What is tested instead is a count: every visitor with a failed request is one
draw, and where the variant has no part in it, draws fall on the variants as visitors were dealt. That test is exact at every
number of failures and at every look; one visitor who tries a hundred times counts once.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from models.arrays import Floats, Ints
from models.experiments import sequential
from models.experiments.assignment import Experiment
from models.experiments.outcomes import Exposed
from models.experiments.sequential import Moments, SequenceParams

ERROR_RATE: Final = "error_rate"
DEGRADED_RATE: Final = "degraded_rate"
LATENCY: Final = "latency_ms"
SIGNALS: Final = "signals_per_visitor"
ANY_SPLIT: Final = 2.0  # concentration of the test of counts: what breaks may break for one variant only
NOTHING: Final = 1e-9  # what floating point makes of no difference


class GuardrailParams(NamedTuple):
    """When a guardrail is broken.

    Attributes
    ----------
    sequence
        The error of each treatment's intervals and tests.
    min_visitors
        Visitors in each variant below which no interval is believed; the test of failures needs none.
    latency_margin_ms
        Answers that take so much longer are no worse.
    """

    sequence: SequenceParams
    min_visitors: int
    latency_margin_ms: float


def by_variant(values: Floats, variant: Ints, n_variants: int) -> list[Moments]:
    """Moments of a measure in each variant."""
    return [sequential.moments(values[variant == code]) for code in range(n_variants)]


def measured(
    experiment: Experiment, exposed: Exposed, latencies_us: Mapping[str, Ints], params: GuardrailParams
) -> dict[str, Any]:
    """Every guardrail by variant: means over visitors, differences from the control, and the treatments that are `worse`.

    Parameters
    ----------
    latencies_us
        Latency of every answer by variant, for quantiles.
    """
    rates = exposed.n_failed / np.maximum(exposed.n_requests, 1)
    found = {
        ERROR_RATE: _errors(experiment, exposed, _compared(experiment, exposed.variant, rates, params), params),
        DEGRADED_RATE: _compared(experiment, exposed.variant, exposed.degraded_rate, params, NOTHING),
        LATENCY: _compared(experiment, exposed.variant, exposed.latency_us / 1000, params, params.latency_margin_ms),
        SIGNALS: _compared(experiment, exposed.variant, exposed.n_signals, params),
    }
    for variant, latencies in latencies_us.items():
        p50, p99 = np.quantile(latencies, [0.5, 0.99]) / 1000 if len(latencies) else (0.0, 0.0)
        found[LATENCY]["variants"][variant] |= {"p50": float(p50), "p99": float(p99), "n_answers": len(latencies)}
    return found


def _compared(
    experiment: Experiment, variant: Ints, values: Floats, params: GuardrailParams, margin: float = np.inf
) -> dict[str, Any]:
    """A measure by variant; worse where the difference surely exceeds the margin. A visitor without a value has no part."""
    known = np.isfinite(values)
    each = by_variant(values[known], variant[known], len(experiment.variants))
    enough = min(one.n for one in each) >= params.min_visitors
    comparisons = {
        name: sequential.compared(one, each[-1], params.sequence)
        for name, one in zip(experiment.treatments, each[:-1], strict=True)
    }
    lows = {name: one["difference"]["low"] for name, one in comparisons.items()}
    return {
        "variants": {
            name: {"mean": one.mean, "sd": one.variance**0.5} for name, one in zip(experiment.variants, each, strict=True)
        },
        "comparisons": comparisons,
        "worse": [name for name, low in lows.items() if enough and low is not None and low > margin],
    }


def _errors(experiment: Experiment, exposed: Exposed, rates: dict[str, Any], params: GuardrailParams) -> dict[str, Any]:
    """Put counts of failures, and the test of each treatment's against the control's, in the place of intervals."""
    n = len(experiment.variants)
    n_requests = np.bincount(exposed.variant, exposed.n_requests, n)
    n_failed = np.bincount(exposed.variant, exposed.n_failed, n)
    n_hit = np.bincount(exposed.variant[exposed.n_failed > 0], minlength=n)
    for code, variant in enumerate(experiment.variants):
        rates["variants"][variant] |= {
            "n_requests": int(n_requests[code]), "n_failed": int(n_failed[code]), "n_visitors_failed": int(n_hit[code]),
        }  # fmt: skip
    shares = np.array(experiment.shares)
    for code, treatment in enumerate(experiment.treatments):
        pair = shares[[code, -1]] / (shares[code] + shares[-1])
        hit = n_hit[[code, -1]]
        p = sequential.p_counts(hit, pair, ANY_SPLIT)
        difference = {**rates["comparisons"][treatment]["difference"], "low": None, "high": None}
        rates["comparisons"][treatment] = {"difference": difference, "relative": None, "p_value": p}
        if p <= params.sequence.alpha and hit[0] > pair[0] * hit.sum():
            rates["worse"].append(treatment)
    return rates
