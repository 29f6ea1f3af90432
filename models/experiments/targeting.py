"""Targeting of a signal by its effect: for whom it earns more than it costs, learned from those whom chance left without it.

X-learner with known propensity (Künzel, Sekhon, Bickel and Yu, PNAS 116, 2019): what is earned with and without is predicted
by boosted trees, the differences between what was earned and what would have been are learned again, and both are mixed. It
suits a small hold-out group: the effects among the many who were sent something are learned with the few's help.

Whatever is judged is judged on users that the learner has not seen (two folds), by doubly robust scores of the effect
(Robins, Rotnitzky and Zhao, 1994): their mean over some users is what sending to them earns, their running mean from the
highest estimate on the qini curve (Radcliffe, 2007).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import lightgbm as lgb
import numpy as np

from models.arrays import Features, Flags, Floats
from models.statistics.verdict import NOT_ENOUGH

TARGETED: Final = "targeted"
EVERYBODY: Final = "everybody"
NOBODY: Final = "nobody"
N_FOLDS: Final = 2
N_POINTS: Final = 21  # of the qini curve
_Z: Final = 1.645  # a loss or a gain is sure where 95 % of the distribution lie on its side


@dataclass(frozen=True)
class TargetingParams:
    """Parameters of the learner.

    Attributes
    ----------
    min_users
        In each group, below which nothing is said.
    """

    min_users: int = 200
    n_rounds: int = 40
    n_leaves: int = 8
    learning_rate: float = 0.1
    min_rows_in_leaf: int = 40
    l2: float = 5.0


PARAMS: Final = TargetingParams()


class Effects(NamedTuple):
    """A fitted X-learner.

    Attributes
    ----------
    among_sent, among_held
        Effect by the features, as it was learned in each group.
    p_sent
        Share of the users that were sent the signal.
    """

    among_sent: lgb.Booster
    among_held: lgb.Booster
    p_sent: float

    def of(self, features: Features) -> Floats:
        """Estimated effect on each user's money, shape (n_users,)."""
        sent, held = (np.asarray(one.predict(features, num_threads=1)) for one in (self.among_sent, self.among_held))
        return self.p_sent * held + (1.0 - self.p_sent) * sent


class Targeting(NamedTuple):
    """Whom to send the signal.

    Attributes
    ----------
    verdict
        `TARGETED`, `EVERYBODY`, `NOBODY`, or ``not enough data``.
    effects
        Learned from all users; None where there is not enough.
    value
        Money per user, by policy: of everybody, and of those alone whose effect is estimated above zero.
    margin
        Standard error of each value.
    qini
        Gain per user when the share ``k / (N_POINTS - 1)`` with the highest estimates is sent it, shape (N_POINTS,).
    coefficient
        Area between that curve and the straight line of a choice by chance.
    """

    verdict: str
    sentence: str
    effects: Effects | None
    value: dict[str, float]
    margin: dict[str, float]
    qini: list[float]
    coefficient: float | None

    def wants(self, features: Features) -> Flags:
        """Whom to send it, shape (n_users,)."""
        if self.verdict == TARGETED and self.effects is not None:
            found: Flags = self.effects.of(features) > 0
            return found
        return np.full(len(features), self.verdict == EVERYBODY)


def targeting(
    features: Features, money: Floats, sent: Flags, p_sent: float, seed: int = 0, params: TargetingParams = PARAMS
) -> Targeting:
    """Learn whom to send a signal.

    Parameters
    ----------
    features
        Of each user when the signal was first called for, shape (n_users, n_features).
    money
        What the user brought since, less what was promised and used, shape (n_users,).
    sent
        Whether it was sent, by chance alone, shape (n_users,).
    p_sent
        With which probability, in (0, 1).

    Raises
    ------
    ValueError
        If the shapes differ, or the probability is none.

    Examples
    --------
    >>> targeting(np.zeros((3, 2)), np.zeros(3), np.array([True, True, False]), 0.9).sentence
    'not enough data: 2 sent, 1 held out; 200 of each are needed'
    """
    if not len(features) == len(money) == len(sent) or not 0 < p_sent < 1:
        raise ValueError(f"expected as many rows of all and 0 < p_sent < 1, got {len(features), len(money), len(sent), p_sent}")
    n_sent = int(sent.sum())
    n_held = len(sent) - n_sent
    if min(n_sent, n_held) < params.min_users:
        told = f"{NOT_ENOUGH}: {n_sent} sent, {n_held} held out; {params.min_users} of each are needed"
        return Targeting(NOT_ENOUGH, told, None, {}, {}, [], None)
    estimate, score = np.empty(len(money)), np.empty(len(money))
    fold = np.random.default_rng(seed).permutation(len(money)) % N_FOLDS
    for k in range(N_FOLDS):
        seen, unseen = fold != k, fold == k
        base = _base(features[seen], money[seen], sent[seen], seed, params)
        estimate[unseen] = _effects(base, features[seen], money[seen], sent[seen], p_sent, seed, params).of(features[unseen])
        score[unseen] = _doubly_robust(base, features[unseen], money[unseen], sent[unseen], p_sent)
    base = _base(features, money, sent, seed, params)
    found = _effects(base, features, money, sent, p_sent, seed, params)
    return _judged(estimate, score, found)


def _judged(estimate: Floats, score: Floats, effects: Effects) -> Targeting:
    chosen = {EVERYBODY: score, TARGETED: score * (estimate > 0)}
    value = {name: float(one.mean()) for name, one in chosen.items()}
    margin = {name: float(one.std(ddof=1) / np.sqrt(len(one))) for name, one in chosen.items()}
    spared = chosen[TARGETED] - chosen[EVERYBODY]
    beats = float(spared.mean()) > _Z * float(spared.std(ddof=1)) / np.sqrt(len(spared))
    best = TARGETED if beats else EVERYBODY
    verdict = best if value[best] > _Z * margin[best] else NOBODY
    curve = np.concatenate(([0.0], np.cumsum(score[np.argsort(-estimate, kind="stable")]) / len(score)))
    qini = np.interp(np.linspace(0, 1, N_POINTS), np.linspace(0, 1, len(curve)), curve)
    area = float((qini - np.linspace(0, qini[-1], N_POINTS)).mean())
    return Targeting(verdict, _sentence(verdict, value, margin), effects, value, margin, qini.tolist(), area)


def _sentence(verdict: str, value: dict[str, float], margin: dict[str, float]) -> str:
    told = "; ".join(f"{name} {value[name]:+.3f} (± {_Z * margin[name]:.3f})" for name in value)
    said = {
        TARGETED: "send it to those whose effect is estimated above zero",
        EVERYBODY: "send it to everybody: nobody can be told apart whom it would be better to leave out",
        NOBODY: "send it to nobody: that it earns more than it costs is not shown",
    }[verdict]
    return f"{said}; money per user: {told}"


def _grown(features: Features, target: Floats, seed: int, params: TargetingParams) -> lgb.Booster:
    settings: dict[str, Any] = {
        "objective": "regression", "num_leaves": params.n_leaves, "learning_rate": params.learning_rate,
        "min_data_in_leaf": min(params.min_rows_in_leaf, max(len(target) // 10, 1)), "lambda_l2": params.l2, "max_bin": 63,
        "num_threads": 1, "seed": seed, "deterministic": True, "verbosity": -1,
    }  # fmt: skip
    return lgb.train(settings, lgb.Dataset(features, target), num_boost_round=params.n_rounds)


def _base(features: Features, money: Floats, sent: Flags, seed: int, params: TargetingParams) -> Sequence[lgb.Booster]:
    """Money without the signal, and with it."""
    return [_grown(features[rows], money[rows], seed, params) for rows in (~sent, sent)]


def _effects(
    base: Sequence[lgb.Booster], features: Features, money: Floats, sent: Flags, p_sent: float, seed: int,
    params: TargetingParams,
) -> Effects:  # fmt: skip
    without, with_it = (np.asarray(one.predict(features, num_threads=1)) for one in base)
    among_sent = _grown(features[sent], (money - without)[sent], seed, params)
    among_held = _grown(features[~sent], (with_it - money)[~sent], seed, params)
    return Effects(among_sent, among_held, p_sent)


def _doubly_robust(base: Sequence[lgb.Booster], features: Features, money: Floats, sent: Flags, p_sent: float) -> Floats:
    without, with_it = (np.asarray(one.predict(features, num_threads=1)) for one in base)
    missed = np.where(sent, (money - with_it) / p_sent, -(money - without) / (1.0 - p_sent))
    found: Floats = with_it - without + missed
    return found
