"""Sequence report, as people read it: removal effects, and pairs of actions with their lift.

Intervals are the posterior's of the chain: each row of transitions is a Dirichlet distribution, of what was counted and of what
a rare row leans on. They hold as far as the chain does: visitors who act in ways of their own make the truth wider.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from models.arrays import Floats
from models.schema import EVENT_TYPES
from models.weights import markov
from models.weights.markov import BUY, START, Chain

N_DRAWS: Final = 200
LEVEL: Final = 0.95
PRECISE: Final = 1e-7  # change of a probability below which its iteration ends


def drawn(chain: Chain, rng: np.random.Generator) -> Chain:
    """One chain of the posterior of a chain."""

    def rows(counts: Floats) -> Floats:
        # A Dirichlet draw; what is nearly impossible would underflow to a row of zeros.
        found = rng.gamma(np.maximum(counts, 1e-9)) + 1e-300
        return np.asarray(found / found.sum(axis=-1, keepdims=True))

    first = rows(chain.first * (chain.n + markov.SMOOTHING)[:, None])
    leaned = chain.leaning * (first - chain.first)[: markov.START]  # pairs lean on what was drawn for their last action
    return chain._replace(first=first, second=rows(chain.second * (chain.n_pairs + chain.leaning)[..., None] + leaned))


def table(chain: Chain, n_sessions: int, rng: np.random.Generator, at_most: int = 20) -> dict[str, Any]:
    """P(purchase) and removal effect of each action, and the pairs with the largest lift, with 95 % intervals.

    Parameters
    ----------
    n_sessions
        Behind the chain.
    at_most
        Pairs.

    Returns
    -------
    ``{"n_sessions", "p_purchase", "leaning", "actions": [...], "pairs": [...]}``, JSON-able; ``low`` and ``high`` are of the
    removal effect and of the lift.
    """
    p, effects, visits = markov.p_purchase(chain), markov.removal_effects(chain), markov.fundamental(chain)[markov.START]
    draws = [drawn(chain, rng) for _ in range(N_DRAWS)]
    of_effects, of_lifts = _bounds(np.stack([markov.removal_effects(one) for one in draws])), _bounds(lifts_of(draws))
    actions = [
        {
            "event_type": name,
            "n": int(chain.n[e]),
            "p_purchase": round(float(p[e]), 4),
            "removal_effect": round(float(effects[e]), 4),
            "low": round(float(of_effects[0, e]), 4),
            "high": round(float(of_effects[1, e]), 4),
            "visits_per_session": None if e == markov.BUY else round(float(visits[e]), 4),
        }
        for e, name in enumerate(EVENT_TYPES)
    ]
    place = {name: code for code, name in enumerate((*EVENT_TYPES, "start"))}
    pairs = [
        {
            "before": one.before,
            "last": one.last,
            "n": one.n,
            "p_purchase": round(one.p_purchase, 4),
            "lift": round(one.lift, 3),
            "low": round(float(of_lifts[0, place[one.before], place[one.last]]), 3),
            "high": round(float(of_lifts[1, place[one.before], place[one.last]]), 3),
        }
        for one in markov.strongest(chain, at_most)
    ]
    return {
        "n_sessions": n_sessions,
        "p_purchase": round(float(p[markov.START]), 4),
        "leaning": chain.leaning,
        "actions": actions,
        "pairs": pairs,
    }


def lifts_of(chains: Sequence[Chain]) -> Floats:
    """Lifts of each chain (`markov.lifts`), shape (n_chains, n_event_types + 1, n_event_types).

    By iteration and all at once, to `PRECISE`: one system of 240 equations after the other takes longer, and every core.
    """
    second = np.stack([one.second for one in chains])
    onward = second[..., :START].copy()
    onward[..., BUY] = 0.0
    values, change = second[..., BUY], 1.0
    while change > PRECISE:
        before, values = values, second[..., BUY] + np.einsum("dpcn,dcn->dpc", onward, values[:, :START])
        change = float(np.abs(values - before).max())
    at_start = np.array([markov.p_purchase(one)[START] for one in chains])
    return np.asarray(values / at_start[:, None, None])


def _bounds(draws: Floats) -> Floats:
    return np.asarray(np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0))
