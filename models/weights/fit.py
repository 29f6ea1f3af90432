"""Fit the weights of the event types, and what intent does to them, to what visitors turned to: Luce's choice rule.

Of all items associated with a session, the visitor takes one with probability proportional to its score.

    loss = mean over wanted items t, each kind of target with the same total weight, of -log(score(t) / sum of scores)
           + l2_base * |log base - log base_0|^2 + l2_factor * |log factor - log factor_0|^2

Scores are quadratic forms in the weights (`models.weights.fit_kernels`), so a step costs no ranking; L-BFGS on the
logarithms keeps weights positive and purchase at 1.
"""

from typing import NamedTuple

import numpy as np

from models.arrays import Floats, Ints
from models.associations.arrays import Pairs
from models.associations.model import AssociationStore
from models.associations.query import Session
from models.known import item_codes
from models.questions.later import Later
from models.questions.rest_of_session import TARGETS, Prefixes
from models.schema import N_EVENT_TYPES, N_INTENTS, EventType
from models.weight_profile import WeightProfile, intent_scaled, profile
from models.weights import fit_kernels as weight_kernels

_STRONGEST = 3.0  # |log| of a learned change at most: a factor of 20


class Choices(NamedTuple):
    """Wanted items with their matrices M + M', so that w' (M + M') w is twice the score and (M + M') w its gradient.

    `prefix`, `weight` and `hit` per wanted item; `total`, of all items together, and `p_intent` per prefix.
    """

    total: Floats
    hit: Floats
    prefix: Ints
    weight: Floats
    p_intent: Floats


def choices_of(store: AssociationStore, sessions: Later, asked: Prefixes) -> Choices:
    """Choices: what was wanted after each prefix and could be had, with what it scores."""
    order = np.argsort(asked.prefix, kind="stable")
    prefix, kind = asked.prefix[order], asked.kind[order]
    wanted_at = np.searchsorted(prefix, np.arange(len(asked.first) + 1))
    codes, log = item_codes(store, sessions.log.item_ids), sessions.log.events
    p, index = store.params, store.index
    at_us, kinds = (np.ascontiguousarray(log[name]) for name in ("occurred_at_us", "event_type"))
    events = Session(
        codes[log["item"]], kinds, np.zeros(0), np.zeros(N_EVENT_TYPES),
        p.max_anchors, p.rank_decay, p.age_scale_s, p.unmatched, np.zeros(0),
    )  # fmt: skip
    pairs = Pairs(index.offsets, index.target, index.types, index.strength)
    asks = weight_kernels.Asked(asked.first, asked.last, codes[asked.at_hand], wanted_at, codes[asked.item[order]])
    total, hit = weight_kernels.shares(pairs, asks, events, at_us)
    known = hit.any(axis=(1, 2))
    weight = 1.0 / np.bincount(kind[known], minlength=len(TARGETS)).clip(1)[kind[known]]
    total, hit = (m + m.transpose(0, 2, 1) for m in (total, hit[known]))
    return Choices(total, hit, prefix[known], weight / weight.sum(), sessions.p_intent[asked.last])


def fit(choices: Choices, start: WeightProfile, l2_base: float, l2_factor: float | None) -> WeightProfile:
    """Minimise the loss; the factors stay where they are if `l2_factor` is None, and everything if nothing was wanted."""
    from scipy.optimize import minimize  # only here: what serves does not fit

    if not len(choices.hit):
        return start
    log_start = np.concatenate((np.log(start.base), np.log(start.factors).ravel()))
    free = np.ones(len(log_start), dtype=np.bool_)
    free[EventType.PURCHASE] = False
    free[N_EVENT_TYPES:] = l2_factor is not None
    l2 = np.concatenate((np.full(N_EVENT_TYPES, l2_base), np.full(N_INTENTS * N_EVENT_TYPES, l2_factor or 0.0)))[free]

    def loss(change: Floats) -> tuple[float, Floats]:
        logs = log_start.copy()
        logs[free] += change
        value, gradient = choice_loss(choices, logs)
        return value + float(l2 @ change**2), gradient[free] + 2 * l2 * change

    bounds = [(-_STRONGEST, _STRONGEST)] * int(free.sum())
    found = minimize(loss, np.zeros(int(free.sum())), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 80})
    log_start[free] += found.x
    return profile(np.exp(log_start[:N_EVENT_TYPES]), np.exp(log_start[N_EVENT_TYPES:]).reshape(N_INTENTS, N_EVENT_TYPES))


def choice_loss(choices: Choices, logs: Floats) -> tuple[float, Floats]:
    """Loss and gradient in the logarithms of base (n_event_types) and factors (n_intents * n_event_types, by intent)."""
    base, factors = np.exp(logs[:N_EVENT_TYPES]), np.exp(logs[N_EVENT_TYPES:]).reshape(N_INTENTS, N_EVENT_TYPES)
    w = intent_scaled(base, factors, choices.p_intent)  # (n_prefixes, n_types)
    all_grad = np.einsum("qab,qb->qa", choices.total, w)
    own = w[choices.prefix]
    hit_grad = np.einsum("tab,tb->ta", choices.hit, own)
    all_score, hit_score = 0.5 * (all_grad * w).sum(axis=1), 0.5 * (hit_grad * own).sum(axis=1)
    value = choices.weight @ (np.log(all_score[choices.prefix]) - np.log(hit_score))
    to_w = np.zeros_like(w)
    share = choices.weight[:, None] * (
        all_grad[choices.prefix] / all_score[choices.prefix, None] - hit_grad / hit_score[:, None]
    )
    np.add.at(to_w, choices.prefix, share)
    to_base = (to_w * w).sum(axis=0)
    to_factors = factors * (choices.p_intent.T @ (to_w * base))
    return float(value), np.concatenate((to_base, to_factors.ravel()))
