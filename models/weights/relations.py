"""Relations by intent: whether an association leads to another item of the same category, or to another category.

Weights of event types cannot tell what could stand in for an item from what goes with it; a visitor who compares wants the
first, one who buys or wanders rather the second. With theta(z, c) the share of class c among the items that visitors with
intent z turn to next, Bayes' rule makes an association of class c count for them

    relation(z, c) = theta(z, c) / sum over intents y of p(y) theta(y, c),      p = the mean intent

times what it counts for everybody: mixed by the mean intent it is 1, so that whatever it gains, it gains by knowing the intent.
Intent is known by its probabilities only: theta is fitted by expectation maximisation of sum of log sum_z p(z) theta(z, c).
"""

from typing import Final

import numpy as np

from models.arrays import Floats, Ints
from models.associations.model import AssociationStore
from models.events.encode import NO_CODE
from models.known import item_codes
from models.questions import rest_of_session
from models.questions.later import Later
from models.questions.rest_of_session import Prefixes
from models.schema import N_INTENTS
from models.statistics import bootstrap

NEUTRAL: Final = np.ones((N_INTENTS, 2))
_N_CLASSES: Final = 2  # same category, another
_PRIOR: Final = 20.0  # wanted items' worth of belief that intent says nothing
_STEPS: Final = 60
_N_DRAWS: Final = 300


def learn(store: AssociationStore, sessions: Later, asked: Prefixes, rng: np.random.Generator) -> Floats:
    """The relations of each intent, or all 1 where intent does not surely say more about the class than nothing does.

    Sure means: fitted on half of the users, the mean log-likelihood of what the other half turned to is above that of the
    plain shares, interval clear of zero. What is answered is then fitted on all of them. Items met before in the session are
    left out: turning back is no relation between two items.

    Parameters
    ----------
    store
        Whose categories count; built on earlier sessions.
    asked
        Prefixes of the sessions, with what was wanted after each.

    Returns
    -------
    Shape (n_intents, 2), > 0.
    """
    cls = _classes(store, sessions, asked)
    known = (cls >= 0) & ~rest_of_session.met_before(asked, sessions.log.events["item"])
    cls, last = cls[known], asked.last[asked.prefix[known]]
    p, users = sessions.p_intent[last], sessions.log.user_codes[last]
    teaches = users % 2 == 0
    if not teaches.any() or teaches.all():
        return NEUTRAL.copy()
    plain = np.bincount(cls[teaches], minlength=_N_CLASSES) + 1.0
    mixed = (p[~teaches] @ shares(p[teaches], cls[teaches]))[np.arange(int((~teaches).sum())), cls[~teaches]]
    gain = np.log(mixed) - np.log(plain / plain.sum())[cls[~teaches]]
    draws = bootstrap.draw(users[~teaches], rng, _N_DRAWS)
    if bootstrap.mean_intervals(gain[:, None], draws)[0].low <= 0.0:
        return NEUTRAL.copy()
    theta = shares(p, cls)
    return np.asarray(theta / (sessions.p_intent[asked.last].mean(axis=0) @ theta))


def shares(p_intent: Floats, cls: Ints) -> Floats:
    """theta: share of each class by intent, shape (n_intents, 2), from one class and one row of probabilities per observation.

    Examples
    --------
    >>> p = np.eye(4)[np.repeat([0, 1], 1000)]
    >>> shares(p, np.repeat([0, 1], 1000)).round(2)[:2].tolist()
    [[0.99, 0.01], [0.01, 0.99]]
    """
    prior = (np.bincount(cls, minlength=_N_CLASSES) + 1.0) / (len(cls) + _N_CLASSES)
    theta = np.tile(prior, (N_INTENTS, 1))
    one_hot = np.eye(_N_CLASSES)[cls]
    for _ in range(_STEPS):
        belongs = p_intent * theta[:, cls].T
        belongs /= np.maximum(belongs.sum(axis=1, keepdims=True), 1e-300)
        theta = belongs.T @ one_hot + _PRIOR * prior
        theta /= theta.sum(axis=1, keepdims=True)
    return theta


def _classes(store: AssociationStore, sessions: Later, asked: Prefixes) -> Ints:
    """Of each wanted item: 0 if it is of the same category as the item in hand, 1 if of another, -1 if one is unknown."""
    code_of = item_codes(store, sessions.log.item_ids)
    category = np.full(store.n_items + 1, NO_CODE, dtype=np.int64)  # the last for what the store does not know
    category[: len(store.index.category)] = store.index.category
    wanted, hand = category[code_of[asked.item]], category[code_of[asked.at_hand[asked.prefix]]]
    return np.where((wanted < 0) | (hand < 0), -1, (wanted != hand).astype(np.int64))
