"""Absorbing Markov chain over action types, in which purchase and leaving absorb: what sequences of actions lead to.

First order, for reading: with Q the transitions among actions, the fundamental matrix N = (I - Q)^-1 holds how often each
action is met on the way from each other one, and N times the transitions into the purchase is the probability to end there.
What a session loses when an action leads away instead is that action's removal effect.

Second order, for scoring: an action's value depends on the action before it, so that an add to cart after a view is worth more
or less than the same after a search. Rare pairs lean on the first order, rare actions on the mean of all.

Sources: Kemeny & Snell, "Finite Markov chains", 1960, chapter 3; Anderl et al., "Mapping the customer journey", 2016 (removal
effects).
"""

from typing import Final, NamedTuple

import numpy as np

from models.arrays import Codes, Flags, Floats, Ints
from models.schema import EVENT_TYPES, N_EVENT_TYPES, EventType

START: Final = N_EVENT_TYPES  # "the action before" of a session's first one
LEAVE: Final = N_EVENT_TYPES  # what follows a session's last action
BUY: Final = int(EventType.PURCHASE)
SMOOTHING: Final = 20.0  # observations with which a rare state leans on the coarser one
CHOICES: Final = (2.0, 20.0, 200.0, 2_000.0, 1e6)  # of it, to choose among; the last leaves the first order alone


class Chain(NamedTuple):
    """Transition probabilities, smoothed: no row is empty, and every action may be the last one.

    Attributes
    ----------
    first
        From an action (row `START`: the session begins) to the next one (column `LEAVE`: none follows),
        shape (n_event_types + 1, n_event_types + 1).
    second
        The same by the action before (`START`: none), shape (n_event_types + 1, n_event_types, n_event_types + 1).
    n
        Transitions seen from each action, shape (n_event_types + 1,).
    n_pairs
        The same by the action before, shape (n_event_types + 1, n_event_types).
    leaning
        Observations with which a pair leans on its last action.
    """

    first: Floats
    second: Floats
    n: Floats
    n_pairs: Floats
    leaning: float = SMOOTHING


def learned(types: Codes, starts: Flags, choices: tuple[float, ...] = CHOICES) -> Chain:
    """Chain whose pairs lean on their last action as far as sessions that did not teach are likeliest under it, half by half.

    So the action before counts as far as it tells more than the last one alone does; else as `estimate`.

    Parameters
    ----------
    choices
        Rising; of equal ones the coarser.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> learned(rng.integers(0, 5, 4000), rng.random(4000) < 0.1).leaning >= 2000  # drawn without memory
    True
    """
    odd = np.cumsum(starts) % 2 == 1
    if not len(types) or odd.all():
        return estimate(types, starts)
    told = {one: sum(_log_likelihood(types, starts, half, one) for half in (odd, ~odd)) for one in choices}
    return estimate(types, starts, leaning=max(reversed(choices), key=lambda one: told[one]))


def _log_likelihood(types: Codes, starts: Flags, teach: Flags, leaning: float) -> float:
    """Log-likelihood of the sessions that do not teach, under the chain of those that do."""
    chain = estimate(types[teach], starts[teach], leaning=leaning)
    return float(np.log(chain.second[_steps(types[~teach], starts[~teach])]).sum())


def _steps(types: Codes, starts: Flags) -> tuple[Ints, Ints, Ints]:
    """Action before, action, and what follows it, of each event, shape (n_events,) each."""
    now = types.astype(np.int64)
    before, after = np.full(len(now), START), np.full(len(now), LEAVE)
    before[1:] = np.where(starts[1:], START, now[:-1])
    after[:-1] = np.where(starts[1:], LEAVE, now[1:])
    return before, now, after


def estimate(types: Codes, starts: Flags, smoothing: float = SMOOTHING, leaning: float | None = None) -> Chain:
    """Count what followed what, within sessions.

    Parameters
    ----------
    types
        Event type codes, sessions one after the other, shape (n_events,).
    starts
        First event of each session, shape (n_events,).
    smoothing
        In observations, > 0: with which a rare action leans on the mean of all.
    leaning
        The same of a rare pair on its last action; as `smoothing` if None.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> chain = estimate(np.array([0, 10, 14, 0]), np.array([True, False, False, True]), smoothing=0.001)
    >>> chain.first[0, [10, LEAVE]].round(2).tolist()
    [0.5, 0.5]
    """
    if len(types) != len(starts):
        raise ValueError(f"expected one start flag for each of {len(types)} events, got {len(starts)}")
    before, now, after = _steps(types, starts)
    triples = np.zeros((N_EVENT_TYPES + 1, N_EVENT_TYPES, N_EVENT_TYPES + 1))
    np.add.at(triples, (before, now, after), 1.0)
    first = np.zeros((N_EVENT_TYPES + 1, N_EVENT_TYPES + 1))
    first[:START] = triples.sum(axis=0)
    first[START, :LEAVE] = np.bincount(now[starts], minlength=N_EVENT_TYPES)
    every = first.sum(axis=0) + 1.0
    n = first.sum(axis=1)
    first = _leaning(first, every / every.sum(), smoothing)
    leaning = smoothing if leaning is None else leaning
    return Chain(first, _leaning(triples, first[:START], leaning), n, triples.sum(axis=2), leaning)


def _leaning(counts: Floats, on: Floats, smoothing: float) -> Floats:
    return np.asarray((counts + smoothing * on) / (counts.sum(axis=-1, keepdims=True) + smoothing))


def fundamental(chain: Chain) -> Floats:
    """Expected number of times that each action is met before purchase or leaving, from each action (last row: from the start).

    N = (I - Q)^-1, without the purchase, which absorbs: its row and column are those of an action that is never met. Shape
    (n_event_types + 1, n_event_types + 1); the first column index is the one that is met, the last one (`START`) is met once.
    """
    within = chain.first.copy()
    within[:, [BUY, LEAVE]] = 0.0  # column LEAVE stands where START would: nobody comes back to it
    within[BUY] = 0.0
    return np.asarray(np.linalg.inv(np.eye(N_EVENT_TYPES + 1) - within))


def p_purchase(chain: Chain) -> Floats:
    """Probability to buy before leaving, from each action and (last) from the start, shape (n_event_types + 1,).

    From a purchase: to buy once more.
    """
    p = fundamental(chain) @ np.where(np.arange(N_EVENT_TYPES + 1) == BUY, 0.0, chain.first[:, BUY])
    onward = chain.first[BUY].copy()
    again = onward[BUY]
    onward[[BUY, LEAVE]] = 0.0
    p[BUY] = again + onward @ p
    return np.asarray(p)


def removal_effects(chain: Chain) -> Floats:
    """Share of the purchases that a session loses when an action leads to leaving instead, shape (n_event_types,).

    1 - P(purchase from the start, the action removed) / P(purchase from the start); 1 for the purchase itself.
    """
    whole = p_purchase(chain)[START]
    effects = np.ones(N_EVENT_TYPES)
    for removed in (k for k in range(N_EVENT_TYPES) if k != BUY):
        first = chain.first.copy()
        first[:, LEAVE] += first[:, removed]
        first[:, removed] = 0.0
        effects[removed] = 1.0 - p_purchase(chain._replace(first=first))[START] / whole
    return effects


def pair_values(chain: Chain) -> Floats:
    """Probability to buy before leaving after two actions, shape (n_event_types + 1, n_event_types).

    First axis: the action before (`START`: none), second: the last one. Solves V[p, c] = sum over n of T[p, c, n] V[c, n], with
    1 for the purchase and 0 for leaving.
    """
    n_pairs = (N_EVENT_TYPES + 1) * N_EVENT_TYPES
    onward = np.zeros((N_EVENT_TYPES + 1, N_EVENT_TYPES, N_EVENT_TYPES + 1, N_EVENT_TYPES))
    goes_on = [k for k in range(N_EVENT_TYPES) if k != BUY]
    for now in range(N_EVENT_TYPES):
        for after in goes_on:
            onward[:, now, now, after] = chain.second[:, now, after]
    system = np.eye(n_pairs) - onward.reshape(n_pairs, n_pairs)
    return np.asarray(np.linalg.solve(system, chain.second[:, :, BUY].ravel())).reshape(N_EVENT_TYPES + 1, N_EVENT_TYPES)


def lifts(chain: Chain) -> Floats:
    """Lifts of pairs: how much likelier a purchase is after two actions than at a session's start, as `pair_values`."""
    return np.asarray(pair_values(chain) / p_purchase(chain)[START])


class Sequence(NamedTuple):
    """Two actions in a row: how often they were met, and how much likelier they make a purchase."""

    before: str
    last: str
    n: int
    p_purchase: float
    lift: float


def strongest(chain: Chain, at_most: int = 20, least: int = 20) -> list[Sequence]:
    """The pairs of actions with the largest lift; those met less than `least` times, and purchases, are left out."""
    values, lift = pair_values(chain), lifts(chain)
    names = (*EVENT_TYPES, "start")
    pairs = [
        (p, c)
        for p in range(N_EVENT_TYPES + 1)
        for c in range(N_EVENT_TYPES)
        if BUY not in (p, c) and chain.n_pairs[p, c] >= least
    ]
    pairs.sort(key=lambda pair: -float(lift[pair]))
    return [
        Sequence(names[p], names[c], int(chain.n_pairs[p, c]), float(values[p, c]), float(lift[p, c]))
        for p, c in pairs[:at_most]
    ]
