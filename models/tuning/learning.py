"""Learn how much each event type counts, and what intent does to it, from sessions before the ones that judge.

The weights are fitted by `models.weights.fit` and judged by what they would have shown (`models.replay`); several penalties and
both starts (no influence of intent, the heuristic) are tried. Each half of the users is judged by what the other half taught
(cross-validation; Stone, "Cross-validatory choice and assessment of statistical predictions", 1974), the simpler first: learned
base weights only where they are surely better than the static ones, then learned or heuristic factors only where they are
surely better still. What is answered is then fitted to everybody. Surely better means that the interval of the difference in
NDCG@20 lies above zero over all prefixes, each counting the same as at the gate, and below zero for no kind of target. A mean
over the kinds would be nearly all noise of the purchases: they are a twentieth of the prefixes, and one half of the users alone
tells so little that the choice changed from retraining to retraining although the learned weights were better in each.

Where no factors are surely better, there is no difference that could be told: the heuristic ones stay, shrunk (`shrunk`) as far
as it takes for them not to cost anything surely; at last all factors are 1. The relations of `models.weights.relations` come
after that. They have a test of their own, and are left out where they surely cost NDCG@20.

Last come goal weights (`models.tuning.goal_fit`), which answer in place of all that unless one list that mixes them is surely
worse, over all or for a kind of target: learned ones where their mean is no lower, else learned levels alone, else the prior.

What serves already, the incumbent, stays where the outcome of all this is not surely better: a retraining forgets nothing
because its period told less than an earlier one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from models import goal_prior
from models.arrays import Flags, Floats, Ints
from models.associations.model import AssociationStore
from models.goal_weights import GoalWeights, bold, flat
from models.model_set import ModelSet, required
from models.questions import rest_of_session
from models.questions.answers import ranks
from models.questions.later import Later
from models.questions.rest_of_session import TARGETS, Prefixes
from models.replay import Replay, replay
from models.schema import N_INTENTS
from models.statistics import bootstrap
from models.statistics.metrics import Interval
from models.tuning import goal_fit
from models.tuning.goal_fit import GoalParams
from models.weight_profile import HEURISTIC, STATIC, WeightProfile, profile
from models.weights import relations
from models.weights.fit import Choices, choices_of, fit

Recipe = Callable[[Choices], WeightProfile]
Halves = tuple[WeightProfile, WeightProfile]  # what answers the first and the second half of the users

INCUMBENT = "incumbent"
GOALS = "goals"
_NO_CHANGES = 100.0  # penalty under which single weights stay where they are
_MORE = 10  # times as many prefixes teach the relations: no ranking is asked for them, so they cost little


@dataclass(frozen=True)
class LearnParams:
    """Parameters of the learner: how much is learned from, and how far the weights may go; stored with the profile.

    Attributes
    ----------
    l2_base, l2_factors
        Penalties, in mean log-likelihood per squared log unit; each of the second is tried.
    goals
        Of the goal weights.
    shrinkage
        Powers of the heuristic factors where nothing speaks for them, each in [0, 1], falling; 0 = no influence of intent.
    """

    at_most: int = 10_000
    l2_base: float = 0.003
    l2_factors: tuple[float, ...] = (0.01, 0.1)
    shrinkage: tuple[float, ...] = (0.25, 0.05)
    goals: GoalParams = field(default_factory=GoalParams)


class Learned(NamedTuple):
    """Learned weights, and how they were judged.

    Attributes
    ----------
    weights
        The chosen profile.
    base_only
        The one in which intent has no influence, the control.
    ndcg_20
        Of every candidate on users that it did not learn from, mean over the kinds of target; "and relations" is the chosen one
        with them.
    chosen
        Name of the chosen candidate.
    static_related
        The static weights with the same relations: what differs from static by intent and nothing else.
    """

    weights: WeightProfile
    base_only: WeightProfile
    ndcg_20: Mapping[str, float]
    chosen: str
    static_related: WeightProfile


class _Trial(NamedTuple):
    """Who is asked, and what has been found."""

    replay: Replay
    store: AssociationStore
    sessions: Later
    asked: Prefixes
    halves: tuple[Flags, Flags]
    choices: tuple[Choices, Choices]
    rng: np.random.Generator
    rows: dict[str, Floats]
    tried: dict[str, Halves]

    def ask(self, name: str, recipe: Recipe) -> Floats:
        """NDCG@20 with what the recipe makes of the other half of the users; kept under its name."""
        first, second = self.choices
        return self.answer(name, (recipe(second), recipe(first)))

    def answer(self, name: str, by_half: Halves) -> Floats:
        first, second = (self.replay.answers(weights, rows=half) for half, weights in zip(self.halves, by_half, strict=True))
        lists = np.empty((len(self.asked.last), first.shape[1]), dtype=np.int64)
        lists[self.halves[0]], lists[self.halves[1]] = first, second
        self.tried[name], self.rows[name] = by_half, _ndcg(lists, self.asked)
        return self.rows[name]

    @property
    def users(self) -> Ints:
        return self.sessions.log.user_codes[self.asked.last]

    def better(self, simple: str, others: list[str]) -> str:
        return _better(self.rows, simple, others, self.users, self.asked, self.rng)

    def costs(self, name: str, simple: str) -> bool:
        return _costs(self.rows[name] - self.rows[simple], self.users, self.asked, self.rng)


def learn(
    models: ModelSet, sessions: Later, rng: np.random.Generator, params: LearnParams | None = None,
    incumbent: WeightProfile | None = None,
) -> Learned:  # fmt: skip
    """Learn from sessions that the associations do not know: a session's own pairs would give its items away.

    Parameters
    ----------
    models
        Associations, and action weights beside which a profile will serve, built on sessions before `sessions`.
    incumbent
        What serves; it has the advantage where it was fitted to some of these sessions.
    """
    params = params or LearnParams()
    log, store = sessions.log, required(models.associations, "associations")
    asked = rest_of_session.prefixes(log.events, log.starts, params.at_most, rng)
    odd = log.user_codes[asked.last] % 2 == 1
    choices = choices_of(store, sessions, _part(asked, ~odd)), choices_of(store, sessions, _part(asked, odd))
    asks = replay(models, sessions, asked.first, asked.last)
    trial = _Trial(asks, store, sessions, asked, (~odd, odd), choices, rng, {}, {})
    recipes = _recipes(params)
    for name, recipe in recipes.items():
        trial.ask(name, recipe)
    control = trial.better("static", ["base"])
    chosen = trial.better(control, [name for name in recipes if name not in ("static", "base")])
    for power in params.shrinkage:
        if chosen == control:
            name = f"shrunk to {power:g}"
            recipes[name] = partial(_mild, recipes[control], sessions.p_intent, power)
            trial.ask(name, recipes[name])
            chosen = control if trial.costs(name, control) else name
    related = _relations(trial, chosen, params.at_most)
    goals = _goals(trial, related, chosen, params.goals)
    everybody = choices_of(store, sessions, asked)
    weights, base_only = _related(recipes[chosen](everybody), related, goals), recipes[control](everybody)
    if incumbent is not None:
        plain = "and relations" if related is not relations.NEUTRAL else chosen
        new = plain if goals is None else next(reversed(trial.rows))
        trial.answer(INCUMBENT, (incumbent, incumbent))
        by_goal = incumbent.goals is None and goals is not None  # then a loss speaks against the new ones, nothing else
        if trial.costs(new, INCUMBENT) if by_goal else trial.better(INCUMBENT, [new]) == INCUMBENT:
            weights, chosen = incumbent, INCUMBENT
    told = {name: round(_over_kinds(rows, asked), 4) for name, rows in trial.rows.items()}
    return Learned(weights, base_only, told, chosen, _related(STATIC, related))


def _recipes(params: LearnParams) -> dict[str, Recipe]:
    """How each candidate is made from what some users wanted, the simpler first."""
    found: dict[str, Recipe] = {
        "static": lambda _: STATIC,
        "heuristic": lambda _: HEURISTIC,
        "base": partial(fit, start=STATIC, l2_base=params.l2_base, l2_factor=None),
    }
    for l2 in params.l2_factors:
        tuned = partial(fit, l2_base=params.l2_base, l2_factor=l2)
        found[f"base and factors, l2 {l2:g}"] = partial(tuned, start=STATIC)
        found[f"base and factors from the heuristic, l2 {l2:g}"] = partial(tuned, start=HEURISTIC)
    return found


def _mild(control: Recipe, p_intent: Floats, power: float, choices: Choices) -> WeightProfile:
    return shrunk(control(choices).base, p_intent, power)


def _relations(trial: _Trial, chosen: str, at_most: int) -> Floats:
    """What intent says of relations, where it does not surely cost anything; `relations.NEUTRAL` itself else."""
    log = trial.sessions.log
    many = rest_of_session.prefixes(log.events, log.starts, _MORE * at_most, trial.rng)
    related = relations.learn(trial.store, trial.sessions, many, trial.rng)
    first, second = trial.tried[chosen]
    trial.answer("and relations", (_related(first, related), _related(second, related)))
    return relations.NEUTRAL if trial.costs("and relations", chosen) else related


def _goals(trial: _Trial, related: Floats, chosen: str, params: GoalParams) -> GoalWeights | None:
    """Goal weights, with as much learned as is not worse than the chosen weights; None where even the prior surely is."""
    given = trial.replay, trial.sessions, trial.asked
    before = trial.rows["and relations" if related is not relations.NEUTRAL else chosen]
    for name, some in ((GOALS, params), (f"{GOALS}, levels alone", replace(params, l2_base=(_NO_CHANGES,), l2_slopes=(None,)))):
        ask = partial(goal_fit.learn, *given, replace(some, l2_slopes=(None,), powers=some.powers[:1]), trial.rng)
        by_half = ask(teaches=trial.halves[1]), ask(teaches=trial.halves[0])
        first, second = (_related(own, related, goals) for own, goals in zip(trial.tried[chosen], by_half, strict=True))
        gain = trial.answer(name, (first, second)) - before
        if gain.sum() >= 0 and not _costs(gain, trial.users, trial.asked, trial.rng):
            return goal_fit.learn(*given, some, trial.rng)
    prior = goal_prior.heuristic_goals()
    first, second = (_related(own, related, prior) for own in trial.tried[chosen])
    gain = trial.answer(f"{GOALS}, none learned", (first, second)) - before
    return None if _costs(gain, trial.users, trial.asked, trial.rng) else prior


def shrunk(base: Floats, p_intent: Floats, power: float) -> WeightProfile:
    """The heuristic factors drawn towards 1, and scaled so that mixed by the mean intent they are 1.

    factor[z, e] = heuristic[z, e]^power / sum over intents y of p(y) heuristic[y, e]^power: who is like the mean is weighted as
    if intent had no influence.

    Parameters
    ----------
    p_intent
        Probabilities of the intents, shape (n_rows, n_intents), whose mean is taken; equal ones where there are no rows.

    Examples
    --------
    >>> mean = np.array([[0.4, 0.3, 0.2, 0.1]])
    >>> mild = shrunk(STATIC.base, mean, 0.25)
    >>> bool(np.allclose(mild.scaled(mean[0]), STATIC.base))
    True
    """
    factors = HEURISTIC.factors**power
    mean = p_intent.mean(axis=0) if len(p_intent) else np.full(N_INTENTS, 1 / N_INTENTS)
    return profile(base, factors / (mean @ factors))


def alternatives(
    models: ModelSet, sessions: Later, rng: np.random.Generator, params: LearnParams
) -> dict[str, tuple[WeightProfile, float]]:
    """Profiles that may compete, with their NDCG@20 on the choosing half: static, heuristic, and tuned from the heuristic one.

    Each penalty of `l2_factors` gives one; a factor about which the sessions say nothing stays as the heuristic table has it.
    Goal weights come as they were learned, without influence of intent, and with twice as much.
    """
    log, store = sessions.log, required(models.associations, "associations")
    asked = rest_of_session.prefixes(log.events, log.starts, params.at_most, rng)
    teaches = log.user_codes[asked.last] % 2 == 0
    choices, judging = choices_of(store, sessions, _part(asked, teaches)), _part(asked, ~teaches)
    found = {"static": STATIC, "heuristic": HEURISTIC}
    if len(choices.hit):
        found |= {f"tuned_{l2:g}": fit(choices, HEURISTIC, params.l2_base, l2) for l2 in params.l2_factors}
        moments = replay(models, sessions, asked.first, asked.last)
        by_goal = goal_fit.learn(moments, sessions, asked, params.goals, rng, teaches)
        more = {"goals": by_goal, "goals_flat": flat(by_goal), "goals_bold": bold(by_goal)}
        found |= {name: profile(STATIC.base, np.ones_like(STATIC.factors), None, one) for name, one in more.items()}
    asks = replay(models, sessions, judging.first, judging.last)
    judged = {name: _ndcg(asks.answers(one), judging) for name, one in found.items()}
    return {name: (one, _over_kinds(judged[name], judging)) for name, one in found.items()}


def _related(weights: WeightProfile, related: Floats, goals: GoalWeights | None = None) -> WeightProfile:
    return profile(weights.base, weights.factors, related, goals)


def _better(
    found: Mapping[str, Floats], simple: str, others: list[str], users: Ints, asked: Prefixes, rng: np.random.Generator
) -> str:
    """The best of the others if it is surely better than the simple one, and worse for no kind; else the simple one."""
    others = [name for name in others if name in found]
    if not others or len(found[simple]) == 0:
        return simple
    best = max(others, key=lambda name: float(found[name].mean()))
    overall, *kinds = _gains(found[best] - found[simple], users, asked, rng)
    return best if overall.low > 0 and all(gain.high >= 0 for gain in kinds) else simple


def _costs(gain: Floats, users: Ints, asked: Prefixes, rng: np.random.Generator) -> bool:
    """Whether a difference in NDCG@20 is surely a loss, over all or for one kind of target."""
    return len(gain) > 0 and any(one.high < 0 for one in _gains(gain, users, asked, rng))


def _gains(gain: Floats, users: Ints, asked: Prefixes, rng: np.random.Generator) -> list[Interval]:
    """Intervals of a difference, rows as `_ndcg` has them: over all rows, then for each kind that is wanted."""
    parts = _rows_by_kind(asked)
    draws = bootstrap.draw(np.concatenate([users[rows] for rows in parts]), rng, 300)
    ends = np.cumsum([0, *map(len, parts)])
    places = [np.arange(len(gain)), *(np.arange(a, b) for a, b in pairwise(ends) if b > a)]
    return [bootstrap.mean_intervals(gain[at, None], draws, at)[0] for at in places]


def _rows_by_kind(asked: Prefixes) -> list[Ints]:
    """Prefixes that want something of each kind, as `rest_of_session.measures` lists them."""
    return [np.unique(asked.prefix[asked.kind == kind]) for kind in range(len(TARGETS))]


def _ndcg(lists: Ints, asked: Prefixes) -> Floats:
    """NDCG@20 of the answers, a row per kind of target and prefix that wants it, kind by kind; shape (n_rows,)."""
    rank = ranks(lists[asked.prefix], asked.item)
    return np.concatenate([rest_of_session.measures(rank, asked, kind)[1][:, -1] for kind in range(len(TARGETS))])


def _over_kinds(rows: Floats, asked: Prefixes) -> float:
    """Mean over the kinds of target of their means; 0 where nothing was wanted."""
    ends = np.cumsum([0, *map(len, _rows_by_kind(asked))])
    means = [rows[a:b].mean() for a, b in pairwise(ends) if b > a]
    return float(np.mean(means)) if means else 0.0


def _part(asked: Prefixes, kept: Flags) -> Prefixes:
    """Some of the prefixes, with their targets."""
    place = np.cumsum(kept) - 1
    targets = kept[asked.prefix]
    prefix = place[asked.prefix[targets]]
    return Prefixes(asked.first[kept], asked.last[kept], asked.at_hand[kept], prefix, asked.kind[targets], asked.item[targets])
