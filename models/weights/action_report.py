"""The action weights as people read them: a row for each action type."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from scipy.stats import beta

from models.schema import EVENT_TYPES, EventType
from models.weight_profile import base_weights
from models.weights.actions import SEGMENTS, Posterior, on_scale, weights

BASE: Final = base_weights()


@dataclass(frozen=True)
class Row:
    """One action type as people read it: probability of a purchase within the horizon, and the weight that serves.

    Attributes
    ----------
    p, low, high
        Posterior mean and 95 % interval, mean over the segments.
    prior
        Heuristic weight.
    weight
        What serves, whatever the context.
    n
        Observations, faded.
    fallback
        Whether the heuristic weight serves because there are too few.
    segments
        Weight in each segment.
    """

    event_type: str
    p: float
    low: float
    high: float
    prior: float
    weight: float
    n: float
    fallback: bool
    segments: dict[str, float] = field(default_factory=dict)


def table(known: Posterior) -> list[Row]:
    """Every action type, in the order of the schema."""
    a, b = known.alpha, known.beta
    total = a + b
    mean = known.share @ (a / total)
    variance = known.share**2 @ (a * b / (total**2 * (total + 1)))
    size = np.maximum(mean * (1 - mean) / np.maximum(variance, 1e-18) - 1, 1e-9)
    low, high = (beta.ppf(at, mean * size, (1 - mean) * size) for at in (0.025, 0.975))
    served, of_segments = weights(known), on_scale(a / total, known.level, known)
    rows = []
    for e, name in enumerate(EVENT_TYPES):
        bounds = (1.0, 1.0, 1.0) if e == EventType.PURCHASE else (float(mean[e]), float(low[e]), float(high[e]))
        told = {segment: float(w) for segment, w in zip(SEGMENTS, of_segments[:, e], strict=True)}
        unit = e == EventType.PURCHASE
        rows.append(
            Row(name, *bounds, float(BASE[e]), float(served[e]), 0.0 if unit else float(known.n[e]),
                bool(known.thin[e]) and not unit, told)
        )  # fmt: skip
    return rows
