"""Targeting of a signal by its effect: for whom it earns more than it costs, learned from those whom chance left without it.

X-learner with known propensity (Künzel, Sekhon, Bickel and Yu, PNAS 116, 2019): what is earned with and without is predicted
by boosted trees, the differences between what was earned and what would have been are learned again, and both are mixed. It
suits a small hold-out group: the effects among the many who were sent something are learned with the few's help.

Whatever is judged is judged on users that the learner has not seen (two folds), by doubly robust scores of the effect
(Robins, Rotnitzky and Zhao, 1994): their mean over some users is what sending to them earns, their running mean from the
highest estimate on the qini curve (Radcliffe, 2007). Who was passed over because an earlier verdict said so stays among those
that are judged, with the probabilities of then: else the verdict would be about those alone whom it had chosen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from models import visitor_groups
from models.arrays import Features, Flags, Floats
from models.statistics.verdict import NOT_ENOUGH
from models.visitor_groups import NOBODY_NAMED, GroupEffects

if TYPE_CHECKING:
    import lightgbm as lgb

TARGETED: Final = "targeted"
EVERYBODY: Final = "everybody"
NOBODY: Final = "nobody"
N_FOLDS: Final = 2
N_POINTS: Final = 21  # of the qini curve
_Z: Final = 1.645  # a loss or a gain is sure where 95 % of the distribution lie on its side
_LEAST_P: Final = 0.001  # no user stands for more than a thousand others


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


class Trial(NamedTuple):
    """Users for whom the rules called for a signal, and what chance made of it; all arrays have one row per user.

    Attributes
    ----------
    features
        When it was first called for, shape (n_users, n_features).
    money
        What the user brought since, less what the signal cost, shape (n_users,).
    sent, held
        Whether it was sent, or held back by chance; a user of whom neither holds was passed over. Shape (n_users,).
    p_sent, p_held
        With which probability, by chance alone, shape (n_users,).
    groups
        Groups of visitors, each with a code, that the features' last columns tell apart.
    """

    features: Features
    money: Floats
    sent: Flags
    held: Flags
    p_sent: Floats
    p_held: Floats
    groups: GroupEffects = NOBODY_NAMED

    def where(self, rows: Flags) -> "Trial":
        """Some of the users."""
        chances = self.p_sent[rows], self.p_held[rows]
        return Trial(self.features[rows], self.money[rows], self.sent[rows], self.held[rows], *chances, self.groups)


def dealt(features: Features, money: Floats, sent: Flags, p_sent: float) -> Trial:
    """Trial in which everybody was either sent the signal, with one probability, or held back."""
    n = len(sent)
    return Trial(features, money, sent, ~sent, np.full(n, p_sent), np.full(n, 1.0 - p_sent))


class Effects(NamedTuple):
    """A fitted X-learner.

    Attributes
    ----------
    among_sent, among_held
        Effect by the features, as it was learned in each group.
    p_sent
        Share of the users that were sent the signal, among those and the ones held back.
    """

    among_sent: "lgb.Booster"
    among_held: "lgb.Booster"
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
    groups
        As of the trial.
    """

    verdict: str
    sentence: str
    effects: Effects | None
    value: dict[str, float]
    margin: dict[str, float]
    qini: list[float]
    coefficient: float | None
    groups: GroupEffects = NOBODY_NAMED

    def wants(self, features: Features) -> Flags:
        """Whom to send it, shape (n_users,), by the features of the trial."""
        if self.verdict == TARGETED and self.effects is not None:
            found: Flags = self.effects.of(features) > 0
            return found
        return np.full(len(features), self.verdict == EVERYBODY)


def targeting(trial: Trial, codes: Sequence[int] = (), seed: int = 0, params: TargetingParams = PARAMS) -> Targeting:
    """Learn whom to send a signal.

    The verdict is sure, or there is none: `TARGETED` where sending to those whose effect is estimated above zero surely earns,
    and surely more than sending to everybody; else `EVERYBODY` where that surely earns, `NOBODY` where it surely loses.

    Parameters
    ----------
    codes
        Columns of the features that are names, and not numbers; those of groups are added.

    Raises
    ------
    ValueError
        If the numbers of rows differ, or a user who was sent it, or held back, was so with probability 0.

    Examples
    --------
    >>> targeting(dealt(np.zeros((3, 2)), np.zeros(3), np.array([True, True, False]), 0.9)).sentence
    'not enough data: 2 sent, 1 held out; 200 of each are needed'
    """
    if len({len(values) for values in trial[:-1]}) > 1:
        raise ValueError(f"expected as many rows of all, got {[len(values) for values in trial[:-1]]}")
    if (trial.p_sent[trial.sent] <= 0).any() or (trial.p_held[trial.held] <= 0).any():
        raise ValueError("expected probabilities above 0 of what happened")
    width, n_groups = trial.features.shape[1], len(trial.groups.kinds)
    learner = _Learner((*codes, *range(width - n_groups, width)), seed, params)
    trial = trial.where((trial.p_sent > 0) & (trial.p_held > 0))  # of others nothing can be told: it could not have happened
    n_sent, n_held = int(trial.sent.sum()), int(trial.held.sum())
    if min(n_sent, n_held) < params.min_users:
        told = f"{NOT_ENOUGH}: {n_sent} sent, {n_held} held out; {params.min_users} of each are needed"
        return Targeting(NOT_ENOUGH, told, None, {}, {}, [], None)
    estimate, score = np.empty(len(trial.money)), np.empty(len(trial.money))
    fold = np.random.default_rng(seed).permutation(len(trial.money)) % N_FOLDS
    for k in range(N_FOLDS):
        seen, unseen = trial.where(fold != k), trial.where(fold == k)
        base = learner.base(seen)
        estimate[fold == k] = learner.effects(base, seen).of(unseen.features)
        score[fold == k] = _doubly_robust(base, unseen)
    return _judged(estimate, score, learner.effects(learner.base(trial), trial))._replace(groups=trial.groups)


def _judged(estimate: Floats, score: Floats, effects: Effects) -> Targeting:
    chosen = {EVERYBODY: score, TARGETED: score * (estimate > 0)}
    value = {name: float(one.mean()) for name, one in chosen.items()}
    margin = {name: _error(one) for name, one in chosen.items()}
    spared = chosen[TARGETED] - chosen[EVERYBODY]
    verdict = NOT_ENOUGH
    if value[TARGETED] > _Z * margin[TARGETED] and float(spared.mean()) > _Z * _error(spared):
        verdict = TARGETED
    elif abs(value[EVERYBODY]) > _Z * margin[EVERYBODY]:
        verdict = EVERYBODY if value[EVERYBODY] > 0 else NOBODY
    curve = np.concatenate(([0.0], np.cumsum(score[np.argsort(-estimate, kind="stable")]) / len(score)))
    qini = np.interp(np.linspace(0, 1, N_POINTS), np.linspace(0, 1, len(curve)), curve)
    area = float((qini - np.linspace(0, qini[-1], N_POINTS)).mean())
    return Targeting(verdict, _sentence(verdict, value, margin), effects, value, margin, qini.tolist(), area)


def _error(scores: Floats) -> float:
    """Standard error of a mean."""
    return float(scores.std(ddof=1) / np.sqrt(len(scores)))


def _sentence(verdict: str, value: dict[str, float], margin: dict[str, float]) -> str:
    told = "; ".join(f"{name} {value[name]:+.3f} (± {_Z * margin[name]:.3f})" for name in value)
    said = {
        TARGETED: "send it to those whose effect is estimated above zero",
        EVERYBODY: "send it to everybody: nobody can be told apart whom it would be better to leave out",
        NOBODY: "send it to nobody: it costs more than it earns",
        NOT_ENOUGH: f"{NOT_ENOUGH}: neither that it earns more than it costs is sure, nor that it does not",
    }[verdict]
    return f"{said}; money per user: {told}"


class _Learner(NamedTuple):
    """Boosted trees, all grown alike."""

    codes: Sequence[int]
    seed: int
    params: TargetingParams

    def grown(self, features: Features, target: Floats) -> "lgb.Booster":
        """Trees that say what a target is on average."""
        import lightgbm as lgb  # only here: what serves grows no trees

        params = self.params
        settings: dict[str, Any] = {
            "objective": "regression", "num_leaves": params.n_leaves, "learning_rate": params.learning_rate,
            "min_data_in_leaf": min(params.min_rows_in_leaf, max(len(target) // 10, 1)), "lambda_l2": params.l2, "max_bin": 63,
            "num_threads": 1, "seed": self.seed, "deterministic": True, "verbosity": -1,
        }  # fmt: skip
        rows = lgb.Dataset(features, target, categorical_feature=list(self.codes))
        return lgb.train(settings, rows, num_boost_round=params.n_rounds)

    def base(self, trial: Trial) -> "Sequence[lgb.Booster]":
        """Money without the signal, and with it."""
        return [self.grown(trial.features[rows], trial.money[rows]) for rows in (trial.held, trial.sent)]

    def effects(self, base: "Sequence[lgb.Booster]", trial: Trial) -> Effects:
        """Differences between what was earned and what would have been, by the trees of the other group."""
        without, with_it = (np.asarray(one.predict(trial.features, num_threads=1)) for one in base)
        among_sent = self.grown(trial.features[trial.sent], (trial.money - without)[trial.sent])
        among_held = self.grown(trial.features[trial.held], (with_it - trial.money)[trial.held])
        return Effects(among_sent, among_held, float(trial.sent.sum() / (trial.sent.sum() + trial.held.sum())))


def _doubly_robust(base: "Sequence[lgb.Booster]", trial: Trial) -> Floats:
    without, with_it = (np.asarray(one.predict(trial.features, num_threads=1)) for one in base)
    p_sent, p_held = np.maximum(trial.p_sent, _LEAST_P), np.maximum(trial.p_held, _LEAST_P)
    missed = trial.sent * (trial.money - with_it) / p_sent - trial.held * (trial.money - without) / p_held
    found: Floats = with_it - without + missed
    return found


def to_json(found: Targeting, features: Sequence[str]) -> dict[str, Any]:
    """A verdict as it is kept, with the names of the features that it was learned from."""
    effects = found.effects
    trees = None if effects is None else [one.model_to_string() for one in effects[:2]]
    told = found._replace(effects=None)._asdict() | {"groups": visitor_groups.to_json(found.groups)}
    return told | {"features": list(features), "trees": trees, "p_sent": None if effects is None else effects.p_sent}


def from_json(kept: Mapping[str, Any], features: Sequence[str]) -> Targeting:
    """A verdict that was kept; one that was learned from other features says nothing any more.

    Examples
    --------
    >>> few = targeting(dealt(np.zeros((3, 1)), np.zeros(3), np.array([True, True, False]), 0.9))
    >>> from_json(to_json(few, ["a"]), ["a"]) == few, from_json(to_json(few, ["a"]), ["b"]).sentence
    (True, 'not enough data: it was learned from other features')
    """
    if list(kept["features"]) != list(features):
        return Targeting(NOT_ENOUGH, f"{NOT_ENOUGH}: it was learned from other features", None, {}, {}, [], None)
    effects = None
    if kept["trees"] is not None:
        import lightgbm as lgb  # only where whom a signal is worth was learned

        among_sent, among_held = (lgb.Booster(model_str=text) for text in kept["trees"])
        effects = Effects(among_sent, among_held, kept["p_sent"])
    told = {name: kept[name] for name in ("verdict", "sentence", "value", "margin", "qini", "coefficient")}
    return Targeting(**told, effects=effects, groups=visitor_groups.from_json(kept.get("groups")))
