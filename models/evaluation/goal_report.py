"""Goal weights, as people read them: what visitors come to, and by how much each kind of evidence counts for it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.arrays import Floats
from models.goal_weights import CLASSES, KINSHIP, OWN, POPULAR, WHEN, GoalWeights, one_goal, scale_of
from models.schema import EVENT_TYPES, GOALS, INTENTS


def table(goals: GoalWeights, mixtures: Floats, seen: Sequence[int]) -> dict[str, Any]:
    """Goal weights at the mean intent, through the function that serves (`scale_of`), JSON-able.

    Parameters
    ----------
    mixtures
        P(goal | session) of some moments, shape (n_moments, n_goals).
    seen
        Event types of the log, as codes.

    Returns
    -------
    ``{"goals": [{"goal", "share", "met", "same_category", "other", "popular"}], "own": [{"event_type", "when", GOAL…}],
    "intents": [{"event_type", INTENT…}]}``. `share` is the mean of the mixture; classes are over "other"; `own` is what one own
    event says of its item right after it; `intents` are the factors of each type as a source, in the mean mixture, when an
    intent is certain, over those of the mean intent.
    """
    mean = mixtures.mean(axis=0) if len(mixtures) else np.full(len(GOALS), 1 / len(GOALS))
    scales = [scale_of(goals, one_goal(goal), goals.center) for goal in GOALS]
    rows = []
    for k, goal in enumerate(GOALS):
        kin = np.exp(goals.base[k, KINSHIP:OWN])
        classes = {name: round(float(w / kin[-1]), 4) for name, w in zip(CLASSES, kin, strict=True)}
        rows.append(
            {"goal": goal, "share": round(float(mean[k]), 4), **classes, "popular": float(np.exp(goals.base[k, POPULAR]))}
        )
    own = [
        {"event_type": EVENT_TYPES[e], "when": when} | {goal: float(scales[k].own[e, w].sum()) for k, goal in enumerate(GOALS)}
        for e in seen
        for w, when in enumerate(WHEN)
    ]
    usual = scale_of(goals, mean, goals.center).source
    certain = [scale_of(goals, mean, one).source / usual for one in np.eye(len(INTENTS))]
    intents = [
        {"event_type": EVENT_TYPES[e]} | {name: round(float(certain[z][e]), 3) for z, name in enumerate(INTENTS)} for e in seen
    ]
    return {"goals": rows, "own": own, "intents": intents}
