"""Readout of an experiment by groups of visitors, as their shop names them; groups too small to be told apart are pooled.

The error is shared by all groups and measures that are looked at (Bonferroni), so that one of a dozen groups does not seem to
differ because somebody looked at a dozen. A group counts as it was named at the first exposure: what a variant changes about
its visitors afterwards must not decide with whom they are compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from models.experiments.assignment import Experiment
from models.experiments.outcomes import Exposed, Purchases, outcomes
from models.experiments.report import ReadoutParams, metric_of
from models.visitor_groups import pooled


def by_group(
    experiment: Experiment, exposed: Exposed, purchases: Purchases, names: Mapping[str, Sequence[str | None]],
    params: ReadoutParams,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Compare the variants within each group.

    Parameters
    ----------
    names
        Group of each visitor, by what they are grouped by; None where the shop does not say.

    Returns
    -------
    By what they are grouped by, then group: ``visitors`` by variant, ``alpha``, and ``metrics`` as in the whole report; these
    are None where a variant has fewer visitors, or the group fewer conversions, than are needed.
    """
    groups = {name: np.array(pooled(said), dtype=object) for name, said in names.items()}
    found = {name: sorted({one for one in each.tolist() if one is not None}) for name, each in groups.items()}
    done = outcomes(purchases, len(exposed.variant), params.cap_quantile)
    shared = replace(params, alpha=params.alpha / max(sum(map(len, found.values())) * len(done), 1))
    told: dict[str, dict[str, Any]] = {}
    for name, kinds in found.items():
        told[name] = {}
        for kind in kinds:
            rows = groups[name] == kind
            some = Exposed._make(values[rows] for values in exposed)
            counts = np.bincount(some.variant, minlength=len(experiment.variants))
            is_told = counts.min() >= params.min_visitors and done["conversion"][rows].sum() >= params.min_conversions
            told[name][kind] = {
                "visitors": dict(zip(experiment.variants, counts.tolist(), strict=True)),
                "alpha": shared.alpha,
                "metrics": {of: metric_of(experiment, values[rows], some, shared) for of, values in done.items()}
                if is_told else None,
            }  # fmt: skip
    return {name: each for name, each in told.items() if each}
