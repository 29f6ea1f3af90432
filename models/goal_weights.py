"""Goal weights: how much whatever speaks for an item counts, by what is wanted next (a view, a cart, a purchase).

    score(j) = sum over associations from an item of the session, done a, to j, done b, of
                   source[a] * target[b] * kinship[met by the visitor | same category | other] * strength
             + sum over the visitor's own events on j of own[type, this session | earlier] * decay, by each of three decays:
                   RANK_DECAY^(items met since), 2^(-age / half an hour), 2^(-age / a day)
             + popular * sum over the session's categories of (share of the session) * (share of j in the category)

Each weight is exp(base + slopes · (p_intent - center)): a base times a factor of the session's intent. The goals' scores are of
one scale, and an answer mixes them: by P(goal | session), or as it was asked.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from models.arrays import Floats, Records, read_only, writeable
from models.events.encode import EventArray
from models.kernels import kernel
from models.schema import GOALS, N_EVENT_TYPES, N_INTENTS

CLASSES: Final = ("met", "same_category", "other")
MET, SAME, OTHER = range(len(CLASSES))
WHEN: Final = ("this_session", "earlier")
DECAYS: Final = ("items_since", "half_hour", "day")
N_DECAYS: Final = len(DECAYS)
HALF_LIVES_S: Final = (1800.0, 86_400.0)  # of the last two
RANK_DECAY: Final = 0.6
N_GOALS: Final = len(GOALS)

# A goal's weights stand in one row.
SOURCE: Final = 0
TARGET: Final = N_EVENT_TYPES
KINSHIP: Final = 2 * N_EVENT_TYPES
OWN: Final = KINSHIP + len(CLASSES)
N_OWN: Final = N_EVENT_TYPES * len(WHEN) * N_DECAYS
POPULAR: Final = OWN + N_OWN
N_PARTS: Final = POPULAR + 1

N_TOLD: Final = 1 + N_EVENT_TYPES + N_INTENTS  # what P(goal | session) is told: 1, log(1 + events of each type), intent

SHAPES: Final = ((N_GOALS, N_PARTS), (N_GOALS, N_PARTS, N_INTENTS), (N_INTENTS,), (N_GOALS, N_TOLD))  # of `GoalWeights`


class GoalWeights(NamedTuple):
    """Goal weights as they are learned; read-only, made by `goal_weights`.

    Attributes
    ----------
    base
        Logarithms, shape (n_goals, N_PARTS).
    slopes
        By how much each moves with the probability of an intent, shape (n_goals, N_PARTS, n_intents).
    center
        Mean intent, at which the slopes count for nothing, shape (n_intents,).
    chances
        Of a multinomial logistic regression for P(goal | session), shape (n_goals, N_TOLD).
    """

    base: Floats
    slopes: Floats
    center: Floats
    chances: Floats

    def mixture(self, events: EventArray, p_intent: Floats) -> Floats:
        """P(goal | session), shape (n_goals,).

        Parameters
        ----------
        events
            The session so far, shape (n_events,).
        """
        return mixed(self.chances, writeable(events), p_intent)


class Scale(NamedTuple):
    """Weights of one answer: those of the goals, mixed, under the session's intent.

    Attributes
    ----------
    pairs
        By class, source and target type, shape (3, n_event_types, n_event_types).
    own
        By type, this session or earlier, and decay, shape (n_event_types, 2, N_DECAYS).
    popular
        Shape (1,).
    source
        What an event of each type counts as the source of an association, shape (n_event_types,); told to people.
    """

    pairs: Floats
    own: Floats
    popular: Floats
    source: Floats


def goal_weights(base: Floats, slopes: Floats, center: Floats, chances: Floats) -> GoalWeights:
    """Check and freeze goal weights.

    Raises
    ------
    ValueError
        If a shape differs from the schema's, or a number is not finite.
    """
    given = (base, slopes, center, chances)
    for array, shape, name in zip(given, SHAPES, GoalWeights._fields, strict=True):
        if array.shape != shape:
            raise ValueError(f"{name} must have the shape {shape}, got {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite, got {array.min()} to {array.max()}")
    return GoalWeights(*(read_only(np.array(array, np.float64)) for array in given))


def flat(goals: GoalWeights) -> GoalWeights:
    """The same goal weights without influence of intent."""
    return goals._replace(slopes=read_only(np.zeros_like(goals.slopes)))


def bold(goals: GoalWeights) -> GoalWeights:
    """The same goal weights with twice the influence of intent."""
    return goals._replace(slopes=read_only(2 * goals.slopes))


def told_of(events: EventArray, p_intent: Floats) -> Floats:
    """Inputs of P(goal | session), shape (N_TOLD,)."""
    counts = np.bincount(events["event_type"], minlength=N_EVENT_TYPES)
    return np.concatenate((np.ones(1), np.log1p(counts), p_intent))


def one_goal(goal: str) -> Floats:
    """The mixture of an answer that was asked for one goal, shape (n_goals,).

    Examples
    --------
    >>> one_goal("add_to_cart").tolist()
    [0.0, 1.0, 0.0]
    """
    return np.asarray(np.eye(N_GOALS)[GOALS.index(goal)])


def scale_of(goals: GoalWeights, mixture: Floats, p_intent: Floats, tilt: Floats | None = None) -> Scale:
    """The weights of one answer.

    Parameters
    ----------
    mixture
        Of the goals, >= 0, shape (n_goals,).
    p_intent
        Shape (n_intents,).
    tilt
        Log factor of each event type, as source and as target (`models.weights.contextual.tilt`), shape (n_event_types,).
    """
    base = goals.base
    if tilt is not None:
        base = base.copy()
        base[:, SOURCE:TARGET] += tilt
        base[:, TARGET:KINSHIP] += tilt
    return Scale(*scaled(base, goals.slopes, p_intent - goals.center, mixture))


@kernel
def mixed(chances: Floats, events: Records, p_intent: Floats) -> Floats:
    """P(goal | session): softmax of the chances of what `told_of` tells."""
    told = np.zeros(N_TOLD)
    told[0], told[1 + N_EVENT_TYPES :] = 1.0, p_intent
    for row in range(len(events)):
        told[1 + events[row].event_type] += 1.0
    for kind in range(N_EVENT_TYPES):
        told[1 + kind] = np.log1p(told[1 + kind])
    p, most, total = np.zeros(len(chances)), -np.inf, 0.0
    for goal in range(len(p)):
        for k in range(N_TOLD):
            p[goal] += chances[goal, k] * told[k]
        most = max(most, p[goal])
    for goal in range(len(p)):
        p[goal] = np.exp(p[goal] - most)
        total += p[goal]
    return p / total


@kernel
def moved(base: Floats, slopes: Floats, centered: Floats, out: Floats) -> None:
    """Weights of one goal under an intent: `out` = exp(base + slopes @ centered), shape (N_PARTS,)."""
    for part in range(len(base)):
        log = base[part]
        for intent in range(len(centered)):
            log += slopes[part, intent] * centered[intent]
        out[part] = np.exp(log)


@kernel
def scaled(base: Floats, slopes: Floats, centered: Floats, mixture: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Add up the goals' weights: the fields of `Scale`."""
    w, n = np.empty(N_PARTS), N_EVENT_TYPES
    pairs, own = np.zeros((len(CLASSES), n, n)), np.zeros((n, len(WHEN), N_DECAYS))
    popular, sources, flat = np.zeros(1), np.zeros(n), own.reshape(N_OWN)
    for goal in range(len(mixture)):
        share = mixture[goal]
        if share <= 0.0:
            continue
        moved(base[goal], slopes[goal], centered, w)
        for kin in range(len(CLASSES)):
            for source in range(n):
                by_source = share * w[KINSHIP + kin] * w[SOURCE + source]
                for target in range(n):
                    pairs[kin, source, target] += by_source * w[TARGET + target]
        for part in range(N_OWN):
            flat[part] += share * w[OWN + part]
        popular[0] += share * w[POPULAR]
        for source in range(n):
            sources[source] += share * w[SOURCE + source]
    return pairs, own, popular, sources


def from_arrays(arrays: Mapping[str, Any], n_types: int) -> GoalWeights | None:
    """Goal weights of a model file, whose arrays have the names of the parts after "goal_"; None where it has none.

    Parameters
    ----------
    n_types
        Event types of the schema that the file was written for, the first ones of this: a type that was added since counts as
        the least of the others does.
    """
    if "goal_base" not in arrays:
        return None
    kinds, own = np.arange(n_types), OWN + np.arange(n_types * len(WHEN) * N_DECAYS)
    parts = np.concatenate((SOURCE + kinds, TARGET + kinds, KINSHIP + np.arange(len(CLASSES)), own, [POPULAR]))
    told = np.concatenate(([0], 1 + kinds, 1 + N_EVENT_TYPES + np.arange(N_INTENTS)))
    base = np.repeat(np.asarray(arrays["goal_base"]).min(axis=1, keepdims=True), N_PARTS, axis=1)
    slopes, chances = np.zeros((N_GOALS, N_PARTS, N_INTENTS)), np.zeros((N_GOALS, N_TOLD))
    base[:, parts], slopes[:, parts], chances[:, told] = (arrays[f"goal_{name}"] for name in ("base", "slopes", "chances"))
    return goal_weights(base, slopes, np.asarray(arrays["goal_center"]), chances)
