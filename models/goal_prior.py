"""Prior of goal weights: what they are before anything was learned, and where learning them starts.

Base weights are those of the table, as sources and as targets; the visitor's own events and popularity count little beside
associations. The slopes are the heuristic intent factors to a power, so that without intent the weights are the static ones:

    log W = base + power · log factors @ p_intent

P(goal | session) starts from how often visitors look, put into a cart and buy, and rises with what leads there.
"""

from typing import Final

import numpy as np

from models.arrays import Floats
from models.goal_weights import (
    N_DECAYS,
    N_GOALS,
    N_PARTS,
    N_TOLD,
    OWN,
    POPULAR,
    SOURCE,
    TARGET,
    WHEN,
    GoalWeights,
    goal_weights,
)
from models.schema import GOALS, N_EVENT_TYPES, N_INTENTS, EventType
from models.weight_profile import HEURISTIC, STATIC, WeightProfile

POWER: Final = 0.5  # of the heuristic factors where nothing was learned
SMALL: Final = float(np.log(0.01))  # of what associations usually say
_LEANING: Final = float(np.log(4.0))  # towards the targets that a goal is named for
_SHARES: Final = (0.85, 0.11, 0.04)  # of what visitors come to, by goal
_NAMED: Final = {"add_to_cart": EventType.ADD_TO_CART, "purchase": EventType.PURCHASE}


def start() -> Floats:
    """Logarithms of the weights without intent, shape (N_PARTS,)."""
    logs, found = np.log(STATIC.base), np.zeros(N_PARTS)
    found[SOURCE : SOURCE + N_EVENT_TYPES] = found[TARGET : TARGET + N_EVENT_TYPES] = logs
    found[OWN:POPULAR] = np.repeat(logs, len(WHEN) * N_DECAYS) + SMALL
    found[POPULAR] = SMALL
    return found


def slopes(power: float) -> Floats:
    """Slopes of the heuristic factors to a power, shape (N_PARTS, N_INTENTS): of sources and targets.

    Examples
    --------
    >>> found = slopes(0.5)[SOURCE + EventType.PURCHASE]
    >>> np.exp(found[0]).round(3), np.exp(found[2]).round(3)  # exploratory, intent to purchase
    (np.float64(0.837), np.float64(1.183))
    """
    found = np.zeros((N_PARTS, N_INTENTS))
    logs = power * np.log(HEURISTIC.factors).T
    found[SOURCE : SOURCE + N_EVENT_TYPES] = found[TARGET : TARGET + N_EVENT_TYPES] = logs
    return found


def heuristic_goals(power: float = POWER) -> GoalWeights:
    """Goal weights as they are before anything was learned; with the power 0 intent has no influence."""
    base, chances = np.tile(start(), (N_GOALS, 1)), np.zeros((N_GOALS, N_TOLD))
    chances[:, 0] = np.log(_SHARES)
    for goal, kind in _NAMED.items():
        base[GOALS.index(goal), TARGET + kind] += _LEANING
        chances[GOALS.index(goal), 1 + EventType.ADD_TO_CART] = 1.0
    chances[GOALS.index("purchase"), 1 + EventType.CHECKOUT_VIEW] = 1.0
    return goal_weights(base, np.tile(slopes(power), (N_GOALS, 1, 1)), np.zeros(N_INTENTS), chances)


def _own_behind() -> GoalWeights:
    found = heuristic_goals(0.0)
    base = np.tile(start(), (N_GOALS, 1))
    base[:, OWN:POPULAR] += _BEHIND
    base[:, POPULAR] = 2 * _BEHIND
    return goal_weights(base, found.slopes, found.center, found.chances)


_BEHIND: Final = float(np.log(1e-9))  # below whatever associations say
OWN_BEHIND: Final[WeightProfile] = STATIC._replace(goals=_own_behind())  # static pairs, then the visitor's own items
HEURISTIC_GOALS: Final[WeightProfile] = HEURISTIC._replace(goals=heuristic_goals())
FLAT_GOALS: Final[WeightProfile] = STATIC._replace(goals=heuristic_goals(0.0))  # no influence of intent
