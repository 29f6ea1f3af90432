"""Fit goal weights to what visitors turned to, one set per goal (`models.goal_weights`).

    loss = mean over moments of -log P(wanted) + l2_base * |changes of single weights|^2 + l2_slopes * |slopes|^2
    P(j) = score(j)^power / sum over all items that anything speaks for of score^power

Changes are from the prior (`models.goal_prior`): static weights, and slopes that are the heuristic factors to a power. So the
heuristic's direction stays in proportion to the evidence; what it says of an intent is weakened at most to `LEAST_OF_PRIOR`,
never turned round. As a source an event weighs what the table says, times the factor of intent; what is learned besides is all
else. Levels that weights share (of each decay, of each class, of popularity) are free. What is chosen is chosen by the loss on
users that did not teach, half by half: the penalty, and the gate of intent. That is open as far as the first power of the
heuristic factors says: a larger one, none, or slopes of its own only where the loss is surely less. A goal that hardly anybody
reached takes the weights of the goal that most did, and where there is none, the prior. L-BFGS-B.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from models import goal_prior
from models.arrays import Flags, Floats, Floats32, Ints
from models.associations import goals as by_goals
from models.associations.goal_query import OWN_FROM, POPULAR_AT, Evidence
from models.associations.model import AssociationStore
from models.goal_weights import (
    CLASSES,
    KINSHIP,
    N_DECAYS,
    N_GOALS,
    N_OWN,
    N_PARTS,
    N_TOLD,
    OWN,
    POPULAR,
    SOURCE,
    TARGET,
    WHEN,
    GoalWeights,
    goal_weights,
    told_of,
)  # fmt: skip
from models.questions.later import Later
from models.questions.rest_of_session import Prefixes
from models.replay import Moment, Replay
from models.schema import N_EVENT_TYPES, N_INTENTS, EventType
from models.tuning.goal_kernels import Lessons, loss

LEAST: Final = 30  # moments that teach a goal; below, it has no weights of its own
_L2_CHANCES: Final = 1e-3
_L2_LEVELS: Final = 1e-3  # keeps what nothing says anything about where it is


@dataclass(frozen=True)
class GoalParams:
    """Parameters of the fit.

    Attributes
    ----------
    at_most, n_others
        Moments per goal; items of each, beside the wanted ones and the visitor's own.
    l2_base, l2_slopes
        Penalties to choose among; None for the prior's slopes.
    powers
        Of the heuristic factors in the prior, to choose among; with 0 intent has no influence.
    """

    at_most: int = 500
    n_others: int = 50
    l2_base: tuple[float, ...] = (0.003, 0.03)
    l2_slopes: tuple[float | None, ...] = (None, 0.03)
    powers: tuple[float, ...] = (0.25, 1.0, 0.0)
    n_steps: int = 30


LEAST_OF_PRIOR: Final = 0.25  # of what the heuristic says of an intent
_Choice = TypeVar("_Choice")


class _Sample(NamedTuple):
    """Sample of the items of a moment, with what speaks for them."""

    items: Ints
    many: Floats32  # as how many each item counts
    n_entries: Ints  # of each item
    kinds: Ints  # of evidence
    kind: npt.NDArray[np.uint16]  # of each entry, among them
    amount: Floats32


class Prior(NamedTuple):
    """Weights that learned ones are shrunk to: `base`, at the mean intent, and `slopes`."""

    base: Floats
    slopes: Floats


class Fitted(NamedTuple):
    """One goal's weights: `base` and `slopes`."""

    base: Floats
    slopes: Floats


def _parts() -> npt.NDArray[np.int16]:
    """The weights behind each kind of evidence, shape (n_kinds, 3)."""
    found = np.full((POPULAR_AT + 1, 3), N_PARTS, np.int16)
    kin, source, target = np.indices((len(CLASSES), N_EVENT_TYPES, N_EVENT_TYPES)).reshape(3, -1)
    found[:OWN_FROM] = np.column_stack((KINSHIP + kin, SOURCE + source, TARGET + target))
    found[OWN_FROM:POPULAR_AT, 0] = OWN + np.arange(N_OWN)
    found[POPULAR_AT, 0] = POPULAR
    return found


def _levels() -> Floats:
    """What moves together, shape (n_levels, N_PARTS): each column of the own-event table, popularity, two of the classes."""
    n_own = len(WHEN) * N_DECAYS
    found = np.zeros((n_own + 3, N_PARTS))
    for column in range(n_own):
        found[column, OWN + column : OWN + N_OWN : n_own] = 1.0
    found[n_own, POPULAR] = found[n_own + 1, KINSHIP + 1] = found[n_own + 2, KINSHIP + 2] = 1.0
    return found


_PARTS, _LEVELS = _parts(), _levels()
_N_LEVELS: Final = len(_LEVELS)


def prior(power: float, center: Floats) -> Prior:
    """The prior around a mean intent, for a power of the heuristic factors."""
    slopes = goal_prior.slopes(power)
    return Prior(goal_prior.start() + slopes @ center, slopes)


def learn(
    asks: Replay, sessions: Later, asked: Prefixes, params: GoalParams, rng: np.random.Generator, teaches: Flags | None = None
) -> GoalWeights:
    """Goal weights as some moments teach them; those of the prior where no goal has enough.

    Parameters
    ----------
    asks
        The moments, one for each of the prefixes.
    teaches
        Which prefixes may be learned from, shape (n_prefixes,); all if None.
    """
    teaches = np.ones(len(asked.last), np.bool_) if teaches is None else teaches
    if not teaches.any():
        return goal_prior.heuristic_goals()
    center = sessions.p_intent[asked.last[teaches]].mean(axis=0)
    centered, users = sessions.p_intent[asked.last] - center, sessions.log.user_codes[asked.last]
    found: dict[int, Fitted] = {}
    n_lessons: dict[int, int] = {}
    known: dict[int, _Sample] = {}
    all_wanted = [_wanted(asks, sessions, asked, goal) for goal in range(N_GOALS)]
    for goal, wanted in enumerate(all_wanted):
        rows = np.unique(asked.prefix[(asked.kind == goal) & teaches[asked.prefix]])
        if len(rows) > params.at_most:
            rows = np.sort(rng.choice(rows, params.at_most, replace=False))
        for row in rows.tolist():
            if row not in known:
                model, inquiry = _store_of(asks.moments[row]), asks.moments[row].inquiry
                codes = np.concatenate([of_goal[row] for of_goal in all_wanted if row in of_goal])
                found_there = by_goals.evidence(model, inquiry.told, inquiry.left_out)
                known[row] = _sampled(found_there, codes, params.n_others, rng)
        reached = [row for row in rows.tolist() if np.isin(wanted[row], known[row].items).any()]
        if len(reached) >= LEAST and len(np.unique(users[reached] // 2 % 2)) == 2:
            found[goal] = _chosen(known, wanted, np.array(reached), (centered, center), users, params)
            n_lessons[goal] = len(reached)
    if not found:
        return goal_prior.heuristic_goals()
    most = max(n_lessons, key=lambda goal: n_lessons[goal])
    all_goals = [found.get(goal, found[most]) for goal in range(N_GOALS)]
    chances = _chances(sessions, asked, teaches)
    return goal_weights(np.array([f.base for f in all_goals]), np.array([f.slopes for f in all_goals]), center, chances)


def _store_of(moment: Moment) -> AssociationStore:
    """The associations that answer at a moment."""
    assert isinstance(moment.side.model, AssociationStore)
    return moment.side.model


def _wanted(asks: Replay, sessions: Later, asked: Prefixes, goal: int) -> dict[int, Ints]:
    """Codes of what each prefix wanted, guests among them."""
    of_goal = asked.kind == goal
    found: dict[int, list[int]] = {}
    for row, item in zip(asked.prefix[of_goal].tolist(), asked.item[of_goal].tolist(), strict=True):
        model = _store_of(asks.moments[row])
        code = model.code(sessions.log.item_ids[item])
        if code < 0:
            guest = np.flatnonzero(asks.moments[row].guests == item)
            code = model.n_items + int(guest[0]) if len(guest) else -1
        found.setdefault(row, []).append(code)
    return {row: np.array(items) for row, items in found.items()}


def _lessons(known: Mapping[int, _Sample], wanted: Mapping[int, Ints], rows: Ints, centered: Floats) -> Lessons:
    samples = [known[row] for row in rows.tolist()]
    hits = [np.isin(one.items, wanted[row]) for one, row in zip(samples, rows.tolist(), strict=True)]

    def ends(sizes: Sequence[int] | Ints) -> Ints:
        return np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))

    return Lessons(
        kinds_at=ends([len(one.kinds) for one in samples]),
        parts=_PARTS[np.concatenate([one.kinds for one in samples])],
        items_at=ends([len(one.items) for one in samples]),
        entries_at=ends(np.concatenate([one.n_entries for one in samples])),
        kind=np.concatenate([one.kind for one in samples]),
        amount=np.concatenate([one.amount for one in samples]),
        many=np.concatenate([one.many for one in samples]),
        wanted=np.concatenate([hit / hit.sum() for hit in hits]),
        centered=np.ascontiguousarray(centered[rows]),
    )


def _sampled(found: Evidence, wanted: Ints, most: int, rng: np.random.Generator) -> _Sample:
    """Sample with the wanted items, the visitor's own, and so many others, each of which counts for those left out."""
    is_own = (found.kind >= OWN_FROM) & (found.kind < POPULAR_AT)
    kept = np.isin(found.items, wanted)
    kept[found.place[is_own]] = True
    others = np.flatnonzero(~kept)
    many = np.ones(len(kept), np.float32)
    if len(others) > most:
        many[others] = len(others) / most
        others = rng.choice(others, most, replace=False)
    kept[others] = True
    entries, place = kept[found.place], (np.cumsum(kept) - 1).astype(np.int32)
    key = place[found.place[entries]].astype(np.int64) * (POPULAR_AT + 1) + found.kind[entries]
    keys, which = np.unique(key, return_inverse=True)  # what is multiplied by the same counts together
    where, kind = np.divmod(keys, POPULAR_AT + 1)
    kinds, among = np.unique(kind, return_inverse=True)
    amount = np.bincount(which, weights=found.amount[entries], minlength=len(keys)).astype(np.float32)
    n_entries = np.bincount(where, minlength=np.count_nonzero(kept))
    return _Sample(found.items[kept], many[kept], n_entries, kinds, among.astype(np.uint16), amount)


def _chosen(
    known: Mapping[int, _Sample], wanted: Mapping[int, Ints], rows: Ints, intent: tuple[Floats, Floats], users: Ints,
    params: GoalParams,
) -> Fitted:  # fmt: skip
    """One goal's weights, with the penalties and the prior that held-out users speak for, one after the other.

    These halves are not those of even and odd users: whoever learns judges by them.

    Parameters
    ----------
    intent
        Of the moments, less the mean; and the mean.
    """
    centered, center = intent
    by_half = [rows[users[rows] // 2 % 2 == k] for k in (0, 1)]
    first, second = halves = [_lessons(known, wanted, some, centered) for some in by_half]
    judges = users[np.concatenate(by_half[::-1])]
    priors = {power: prior(power, center) for power in params.powers}
    starts = [levels(one, params.n_steps, priors[params.powers[0]]) for one in halves]

    @cache
    def held_out(l2_base: float, l2_slopes: float | None, power: float) -> Floats:
        of_first, of_second = (
            fit(one, l2_base, l2_slopes, params.n_steps, priors[power], start)
            for one, start in zip(halves, starts, strict=True)
        )
        return np.concatenate((loss(second, *of_first).each, loss(first, *of_second).each))

    l2_base = _least(params.l2_base, lambda l2: held_out(l2, None, params.powers[0]))
    power = _surely_least(params.powers, lambda power: held_out(l2_base, None, power), judges)
    l2_slopes = _surely_least(params.l2_slopes, lambda l2: held_out(l2_base, l2, power), judges)
    every = _lessons(known, wanted, rows, centered)
    start = levels(every, params.n_steps, priors[power])
    base, slopes, _ = fit(every, l2_base, l2_slopes, params.n_steps, priors[power], start)
    return Fitted(_normalised(every, base, slopes, center), slopes)


def _least(choices: tuple[_Choice, ...], losses_of: Callable[[_Choice], Floats]) -> _Choice:
    """The choice with the least mean loss; nothing is computed where there is one."""
    return choices[0] if len(choices) == 1 else min(choices, key=lambda one: float(losses_of(one).mean()))


def _surely_least(choices: tuple[_Choice, ...], losses_of: Callable[[_Choice], Floats], users: Ints) -> _Choice:
    """The choice with the least mean loss where that is two standard errors below the first one's, users apart; else the first.

    Parameters
    ----------
    users
        Of each loss, shape (n_moments,).
    """
    if len(choices) == 1:
        return choices[0]
    told = [losses_of(one) for one in choices]
    best = min(range(len(choices)), key=lambda k: float(told[k].mean()))
    gain = told[0] - told[best]
    by_user = np.bincount(users, weights=gain - gain.mean())
    return choices[best] if gain.sum() > 2.0 * float(np.sqrt(by_user @ by_user)) else choices[0]


def levels(lessons: Lessons, n_steps: int, around: Prior) -> Floats:
    """Minimise the loss in the levels and the power alone, where a fit starts; shape (n_levels + 1,)."""

    def value(x: Floats) -> tuple[float, Floats]:
        found = loss(lessons, around.base + x[:-1] @ _LEVELS, around.slopes, float(np.exp(x[-1])))
        gradient = np.append(_LEVELS @ found.to_base, found.to_power)
        return float(found.each.mean() + _L2_LEVELS * x @ x), gradient + 2 * _L2_LEVELS * x

    return np.asarray(_minimized(value, np.zeros(_N_LEVELS + 1), n_steps))


def fit(
    lessons: Lessons, l2_base: float, l2_slopes: float | None, n_steps: int, around: Prior, start: Floats
) -> tuple[Floats, Floats, float]:  # fmt: skip
    """Minimise the loss; `base`, `slopes` (those of the prior without a penalty) and the power.

    Parameters
    ----------
    start
        Of `levels`.
    """
    n = N_PARTS * N_INTENTS if l2_slopes is not None else 0
    at = np.cumsum([0, _N_LEVELS, 1, N_PARTS, n])
    slices = [slice(a, b) for a, b in pairwise(at.tolist())]
    penalty = np.repeat((_L2_LEVELS, _L2_LEVELS, l2_base, l2_slopes or 0.0), np.diff(at))

    def parts_of(x: Floats) -> tuple[Floats, Floats, float]:
        level, power, single, slopes = (x[one] for one in slices)
        told = around.slopes + slopes.reshape(N_PARTS, N_INTENTS) if n else around.slopes
        return around.base + level @ _LEVELS + single, told, float(np.exp(power[0]))

    def value(x: Floats) -> tuple[float, Floats]:
        found = loss(lessons, *parts_of(x))
        parts = (_LEVELS @ found.to_base, [found.to_power], found.to_base, found.to_slopes.ravel()[:n])
        return float(found.each.mean() + penalty @ x**2), np.concatenate(parts) + 2 * penalty * x

    bounds = np.tile([-np.inf, np.inf], (at[-1], 1))
    bounds[at[2] + SOURCE : at[2] + TARGET] = 0.0
    if n:  # where the heuristic has a direction, it stays
        most, direction = (LEAST_OF_PRIOR - 1.0) * around.slopes.ravel(), goal_prior.slopes(1.0).ravel()
        bounds[slices[-1], 0] = np.where(direction > 0, most, -np.inf)
        bounds[slices[-1], 1] = np.where(direction < 0, most, np.inf)
    return parts_of(_minimized(value, np.append(start, np.zeros(N_PARTS + n)), n_steps, bounds))


def _minimized(
    value: Callable[[Floats], tuple[float, Floats]], start: Floats, n_steps: int, bounds: Floats | None = None
) -> Floats:  # fmt: skip
    from scipy.optimize import minimize  # only here: what serves does not fit

    found = minimize(value, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": n_steps})
    return np.asarray(found.x)


def rehearse() -> None:
    """Call the kernels of the loss with the types that everyone calls them with."""
    one, span = np.ones(1), np.array([0, 1])
    lessons = Lessons(
        kinds_at=span, parts=np.full((1, 3), N_PARTS, np.int16), items_at=span, entries_at=span, kind=np.zeros(1, np.uint16),
        amount=np.ones(1, np.float32), many=np.ones(1, np.float32), wanted=one, centered=np.zeros((1, N_INTENTS)),
    )  # fmt: skip
    loss(lessons, goal_prior.start(), np.zeros((N_PARTS, N_INTENTS)), 1.0)


def _normalised(lessons: Lessons, base: Floats, slopes: Floats, center: Floats) -> Floats:
    """The same weights with purchase = 1 as a source, without intent, and a best score of 1 in the (geometric) mean moment."""
    top = loss(lessons, base, slopes, 1.0).top
    bought = SOURCE + EventType.PURCHASE
    found, unit = base.copy(), base[bought] - slopes[bought] @ center
    found[SOURCE:TARGET] -= unit
    found[KINSHIP:OWN] += unit
    found[KINSHIP:] -= np.log(top).mean()
    return found


def _chances(sessions: Later, asked: Prefixes, teaches: Flags) -> Floats:
    """Logistic regression of the goals that sessions came to, by L-BFGS."""
    from scipy.optimize import minimize  # only here: what serves does not fit

    reached = np.zeros((len(asked.last), N_GOALS))
    reached[asked.prefix, asked.kind] = 1.0
    rows = np.flatnonzero(teaches & (reached.sum(axis=1) > 0))
    spans = zip(asked.first[rows].tolist(), asked.last[rows].tolist(), strict=True)
    told = np.array([told_of(sessions.log.events[a : b + 1], sessions.p_intent[b]) for a, b in spans])
    wanted = reached[rows] / reached[rows].sum(axis=1, keepdims=True)

    def value(x: Floats) -> tuple[float, Floats]:
        logits = told @ x.reshape(N_GOALS, N_TOLD).T
        logits -= logits.max(axis=1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        gradient = ((np.exp(logits) - wanted).T @ told / len(rows)).ravel()
        return float(-(wanted * logits).sum() / len(rows) + _L2_CHANCES * x @ x), gradient + 2 * _L2_CHANCES * x

    found = minimize(value, np.zeros(N_GOALS * N_TOLD), jac=True, method="L-BFGS-B", options={"maxiter": 100})
    return np.asarray(found.x.reshape(N_GOALS, N_TOLD))
