"""Causes of purchases: by how much each action moves a visitor to decide to buy, told apart from who acts so.

How often a purchase follows an action says what to expect, not what the action does: those who mean to buy search more, and
whoever has decided goes through cart and checkout.
So the decision is modelled, not the purchase. After every event with an item in mind an undecided visitor decides with

    logit P(decide) = mood + sum over types e of cause[e] * recent[e] + controls
    recent[e] = decay * recent[e], plus 1 where the event is one of e

Two things are latent and found by expectation maximisation. *When* it was decided: the events of the funnel that lead
straight to a purchase may lie behind the decision, with likelihoods of their own. *Why* else: a mood that comes and goes,
speaks through what visitors do, and moves decisions as well (a hidden Markov chain, as the intents are). Controls: what the
item sells to others, its price within its category, what the visitor bought elsewhere. The decay is chosen by the likelihood.

Causes are then shrunk towards a line in the heuristic weights' log odds, whose slope and spread empirical Bayes picks: a
heuristic that the data contradict gets a slope of nothing. Standard errors are from the scores of whole visitors in all
that is fitted, so that what is latent, and how it speaks, counts as unknown. They are causes only as far as mood and controls
hold all that moves both.

Sources: Rabiner (1989) for the passes; Heckman & Singer (1984) for latent heterogeneity in hazards; Berndt, Hall, Hall &
Hausman (1974) for the errors; Efron & Morris (1975) and Raudenbush & Bryk (1985) for the shrinkage.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from scipy import sparse
from scipy.special import expit, logit

from models.arrays import Flags, Floats, Ints
from models.inference import labels
from models.inference.examples import Log
from models.schema import N_EVENT_TYPES, N_INTENTS, EventType
from models.weight_profile import base_weights
from models.weights import cause_kernels as kernels
from models.weights.stretches import FUNNEL, Stretches, controls, item_in_hand, stretches_of

TYPES: Final = np.flatnonzero(np.arange(N_EVENT_TYPES) != EventType.PURCHASE)
_RARE: Final = -4.0  # log odds
HEURISTIC: Final = logit(base_weights()[TYPES].clip(0.01, 0.99))


@dataclass(frozen=True)
class CauseParams:
    """Parameters of the causes' learner.

    Attributes
    ----------
    decays
        Among which the likelihood chooses, per event.
    rounds
        Of expectation maximisation.
    usual
        Pseudo-events with which a mood's habits lean on everybody's.
    least
        Purchases below which nothing is said.
    choose_decay_at
        Rounds before which the decay is chosen.
    """

    decays: tuple[float, ...] = (0.3, 0.45, 0.6, 0.75, 0.9)
    rounds: int = 12
    usual: float = 20.0
    least: int = 50
    choose_decay_at: tuple[int, ...] = (2, 5)


PARAMS: Final = CauseParams()


class Causes(NamedTuple):
    """Causes by action type; the last four of shape (n_types,), in the order of `TYPES`, in log odds of deciding.

    Attributes
    ----------
    n_purchases
        Decisions that taught.
    decay
        By which the past fades, per event.
    slope, spread
        Of the causes around the heuristic weights' log odds.
    raw, raw_se
        Estimate of each type by itself, and its standard error.
    mean, sd
        Shrunk, with the posterior standard deviation.
    """

    n_purchases: int
    decay: float
    slope: float
    spread: float
    raw: Floats
    raw_se: Floats
    mean: Floats
    sd: Floats


class _State(NamedTuple):
    """What is fitted: coefficients with the moods' levels last, and habits."""

    coefficients: Floats
    first: Floats
    move: Floats
    habits: Floats  # P(type | mood, type before)
    funnel: Floats  # P(type | type before), decided

    @classmethod
    def beginning(cls, seen: "_Seen") -> "_State":
        """A few in a hundred decide, whatever they do; the rest is fitted before it is used."""
        levels = np.full(N_INTENTS, _RARE)
        none = np.zeros(0)
        return cls(np.append(np.zeros(len(TYPES) + seen.other.shape[1]), levels), none, none, none, none)


class _Seen(NamedTuple):
    """What is given: the stretches, controls, who may decide and what may lie behind a decision, shape (n_events,) each."""

    cut: Stretches
    other: Floats
    may_decide: Flags
    in_funnel: Flags


class _Latent(NamedTuple):
    """What is latent: P(undecided, mood) and P(decides here, mood), shape (n_events, n_moods); moves of the mood by stretch."""

    open_: Floats
    decides: Floats
    moves: Floats


def fit(log: Log, params: CauseParams = PARAMS) -> Causes | None:
    """Learn causes; None where fewer than `CauseParams.least` purchases could have been decided within sight.

    Parameters
    ----------
    log
        Whole sessions.
    """
    if not len(log.events):
        return None
    cut = stretches_of(log)
    seen = _Seen(cut, controls(log, cut), item_in_hand(log, cut) >= 0, np.isin(cut.kind, FUNNEL))
    can = _candidates(seen)
    buys = cut.buys & np.logical_or.reduceat(can, cut.begins)
    seen = seen._replace(cut=cut._replace(buys=buys))
    if buys.sum() < params.least:
        return None
    mood = labels.intent_probabilities(log.events, np.asarray(log.starts))[cut.row]
    first = can & ~(np.append(False, can[:-1]) & ~cut.starts)  # the earliest decision that could be, as a beginning
    latent = _Latent(mood, first[:, None] * mood, np.eye(N_INTENTS)[None])
    decay, state = params.decays[len(params.decays) // 2], _State.beginning(seen)
    for place in range(params.rounds):
        if place in params.choose_decay_at:
            decay = _best_decay(seen, latent, params, state)
        design = _design(seen, decay)
        state = _maximised(seen, design, latent, params, state)
        latent = _expected(seen, design, state)
    raw, covariance = _by_scores(seen, _design(seen, decay), latent, state)
    mean, sd, slope, spread = shrunk(raw, covariance)
    return Causes(int(buys.sum()), decay, slope, spread, raw, np.sqrt(np.diag(covariance)), mean, sd)


def _design(seen: _Seen, decay: float) -> Floats:
    recent = kernels.decayed_counts(seen.cut.kind, seen.cut.starts, decay, N_EVENT_TYPES)
    return np.hstack((recent[:, TYPES], seen.other))


def _candidates(seen: _Seen) -> Flags:
    """Events behind which a decision may have led to the purchase: nothing but the funnel follows."""
    places = np.arange(len(seen.in_funnel))
    outside = np.maximum.reduceat(np.where(seen.in_funnel, -1, places), seen.cut.begins)[seen.cut.stretch]
    return np.asarray(seen.cut.buys[seen.cut.stretch] & (places >= outside) & seen.may_decide)


def _maximised(seen: _Seen, design: Floats, latent: _Latent, params: CauseParams, state: _State) -> _State:
    """Everything that is fitted, given what is latent."""
    cut, open_ = seen.cut, latent.open_
    coefficients = _logistic(design, open_ * seen.may_decide[:, None], latent.decides, state.coefficients)
    place = cut.before * N_EVENT_TYPES + cut.kind
    shape = (N_EVENT_TYPES + 1, N_EVENT_TYPES)
    counts = np.stack([np.bincount(place, weights=w, minlength=shape[0] * shape[1]).reshape(shape) for w in open_.T])
    everybody = counts.sum(axis=0) + 0.01
    usual = everybody / everybody.sum(axis=1, keepdims=True)
    habits = counts + params.usual * usual
    behind = seen.in_funnel * (1 - open_.sum(axis=1)).clip(0, 1)
    leads = np.isin(np.arange(N_EVENT_TYPES), FUNNEL) * 0.5
    funnel = np.bincount(place, weights=behind, minlength=shape[0] * shape[1]).reshape(shape) + leads
    first = open_[cut.begins].sum(axis=0) + 1.0
    moves = latent.moves.sum(axis=0) + np.eye(N_INTENTS) * 20 + 0.5  # moods stay rather than go
    return _State(
        coefficients, first / first.sum(), moves / moves.sum(axis=1, keepdims=True),
        habits / habits.sum(axis=2, keepdims=True), funnel / funnel.sum(axis=1, keepdims=True),
    )  # fmt: skip


def _expected(seen: _Seen, design: Floats, state: _State) -> _Latent:
    """What is latent, given everything that is fitted."""
    return _Latent(*_passed(seen, design, state)[:3])


def _passed(seen: _Seen, design: Floats, state: _State) -> tuple[Floats, Floats, Floats, float]:
    """What is latent, and the log likelihood."""
    cut = seen.cut
    hazard = _hazard(design, state.coefficients) * seen.may_decide[:, None]
    likely = np.ascontiguousarray(state.habits[:, cut.before, cut.kind].T)
    decided = state.funnel[cut.before, cut.kind] * seen.in_funnel
    found: tuple[Floats, Floats, Floats, float] = kernels.expectations(
        likely, state.first, state.move, hazard, decided, cut.begins, cut.ends, cut.buys
    )
    return found


def _hazard(design: Floats, coefficients: Floats) -> Floats:
    n = design.shape[1]
    return np.asarray(expit((design @ coefficients[:n])[:, None] + coefficients[n:]))


def _logistic(design: Floats, open_: Floats, decides: Floats, start: Floats, steps: int = 3) -> Floats:
    """Newton steps of the regression that has a row for each event and mood, weighted."""
    n, found = design.shape[1], start
    for _ in range(steps):
        p = _hazard(design, found)
        residual, weight = decides - open_ * p, open_ * p * (1 - p)
        curvature = np.zeros((len(found), len(found)))
        curvature[:n, :n] = design.T @ (design * weight.sum(axis=1)[:, None])
        curvature[:n, n:] = design.T @ weight
        curvature[n:, :n] = curvature[:n, n:].T
        curvature[n:, n:] = np.diag(weight.sum(axis=0))
        ridge = np.full(len(found), 1.0)
        centre = np.append(np.zeros(n), np.full(len(found) - n, found[n:].mean()))
        gradient = np.append(design.T @ residual.sum(axis=1), residual.sum(axis=0)) - ridge * (found - centre)
        step = np.linalg.solve(curvature + np.diag(ridge), gradient)
        found = found + step * min(1.0, 1.0 / max(float(np.abs(step).max()), 1e-12))
    return found


def _best_decay(seen: _Seen, latent: _Latent, params: CauseParams, state: _State) -> float:
    """The decay under which the expected decisions are likeliest."""
    at_risk = latent.open_ * seen.may_decide[:, None]
    told = {}
    for decay in params.decays:
        design = _design(seen, decay)
        p = _hazard(design, _logistic(design, at_risk, latent.decides, state.coefficients)).clip(1e-9, 1 - 1e-9)
        told[decay] = float((latent.decides * np.log(p) + (at_risk - latent.decides) * np.log1p(-p)).sum())
    return max(told, key=lambda one: told[one])


def _by_scores(seen: _Seen, design: Floats, latent: _Latent, state: _State) -> tuple[Floats, Floats]:
    """Coefficients of the types and their covariance, from the scores of whole visitors (Fisher's identity).

    The scores are those of everything that is fitted: habits, moods and the funnel are uncertain too, and tell when it was
    decided.
    """
    at_risk = latent.open_ * seen.may_decide[:, None]
    residual = latent.decides - at_risk * _hazard(design, state.coefficients)
    columns = [*(design * residual.sum(axis=1)[:, None]).T, *residual.T]
    told = np.stack([np.bincount(seen.cut.visitor, weights=column) for column in columns], axis=1)
    scores = sparse.hstack((sparse.csr_matrix(told), *_other_scores(seen, latent, state)), format="csr")
    information = (scores.T @ scores).toarray()
    covariance = np.linalg.inv(information + np.eye(len(information)))
    n = len(TYPES)
    return state.coefficients[:n], np.asarray(covariance[:n, :n], dtype=np.float64)


def _other_scores(seen: _Seen, latent: _Latent, state: _State) -> list[sparse.csr_matrix]:
    """Scores of each visitor in the log probabilities of habits, funnel, first moods and moves of the mood."""
    cut, open_ = seen.cut, latent.open_
    cell, visitor = cut.before * N_EVENT_TYPES + cut.kind, cut.visitor
    behind = seen.in_funnel * (1 - open_.sum(axis=1)).clip(0, 1)
    owner = visitor[cut.begins]
    moods = np.arange(N_INTENTS)
    moved = np.repeat(owner, N_INTENTS**2), np.tile(np.arange(N_INTENTS**2), len(owner))
    begun = np.repeat(owner, N_INTENTS), np.tile(moods, len(owner))
    return [
        *(_scores(visitor, cell, open_[:, z], state.habits[z]) for z in moods),
        _scores(visitor, cell, behind, state.funnel),
        _scores(*moved, latent.moves.ravel(), state.move),
        _scores(*begun, open_[cut.begins].ravel(), state.first[None]),
    ]


def _scores(visitor: Ints, cell: Ints, counts: Floats, p: Floats) -> sparse.csr_matrix:
    """Scores in the logits of a table of probabilities, a row a distribution: what was counted less what was expected."""
    shape, n = (int(visitor.max()) + 1, p.size), p.shape[1]
    counted = sparse.csr_matrix((counts, (visitor, cell)), shape)
    rows = sparse.csr_matrix((counts, (visitor, cell // n)), (shape[0], p.shape[0]))
    each = sparse.csr_matrix((p.ravel(), (np.repeat(np.arange(p.shape[0]), n), np.arange(p.size))), (p.shape[0], p.size))
    return counted - rows @ each


def shrunk(raw: Floats, covariance: Floats) -> tuple[Floats, Floats, float, float]:
    """Shrink causes towards a line in the heuristic weights' log odds.

    Returns
    -------
    Posterior mean and standard deviation, each of shape (n_types,); slope of the line and spread around it.
    """
    line = np.stack((np.ones(len(raw)), HEURISTIC - HEURISTIC.mean()), axis=1)
    prior = np.diag([1.0, 1.0])  # of level and slope: weak
    best: tuple[float, float] = (-np.inf, 0.0)
    for spread in np.geomspace(0.02, 2.0, 40):
        whole = covariance + spread**2 * np.eye(len(raw)) + line @ prior @ line.T
        _, log_det = np.linalg.slogdet(whole)
        best = max(best, (-0.5 * (float(log_det) + float(raw @ np.linalg.solve(whole, raw))), float(spread)))
    spread = best[1]
    before = spread**2 * np.eye(len(raw)) + line @ prior @ line.T
    gain = before @ np.linalg.inv(before + covariance)
    mean, left = gain @ raw, before - gain @ before
    slope = np.linalg.lstsq(line, mean, rcond=None)[0][1]
    return mean, np.sqrt(np.diag(left).clip(0)), float(slope), spread
