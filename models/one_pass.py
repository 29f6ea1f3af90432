"""One pass of a request: from a session's events to weights, mixture of goals and ranked items in one compiled call.

It takes the steps of `models.item_ranking.weigh`, `inquire` and `by_associations` by the same kernels in the same order, so the
answers agree to the bit, which a property test holds them to. Whoever needs the steps apart (reasons, one question under many
weights) takes them there. Here no array becomes an object of Python's between two of them, which costs as much as the steps do.
"""

from typing import Final, NamedTuple

import numpy as np

from models import degraded
from models.arrays import Bytes, Flags, Floats, Ints, Records, writeable
from models.associations import goal_query, query
from models.associations.arguments import checked_limit, flags_of
from models.associations.arrays import pair_types
from models.associations.goal_query import Categories, Past
from models.associations.query import Index, Overlay, Scratch, Session
from models.bound import (
    Bound,
    bind,
    float32_rows,
    float_rows,
    floats,
    floats32,
    int32_rows,
    int_rows,
    ints,
    ints32,
)
from models.goal_prior import HEURISTIC_GOALS
from models.goal_weights import N_GOALS, N_PARTS, SOURCE, TARGET, Scale, goal_weights
from models.goal_weights import mixed as mixed_goals
from models.goal_weights import scaled as scaled_goals
from models.inquiry import inquired
from models.item_ranking import AUTO, Asked, ItemRanking, coded, named, rank_items, weigh
from models.kernels import kernel
from models.known import Known
from models.live_session import LiveSession
from models.model_set import ModelSet, required
from models.schema import GOALS, N_EVENT_TYPES, N_INTENTS, EventType
from models.weight_profile import WeightProfile, related
from models.weight_profile import scaled as scaled_weights
from models.weights.actions import N_CONTEXTS, ActionWeights
from models.weights.contextual import BASE, context_code, tilted

AUTO_GOAL: Final = -1  # the goals are mixed by what the session is likely to come to
INSANE: Final = -1  # instead of a number of items: weights or relations that are negative or not finite
UNLIKELY: Final = -2  # the same: probabilities of the intents that do not sum to 1
_VIEW: Final = int(EventType.ITEM_VIEW)
_NO_ACTIONS: Final = np.zeros((0, N_EVENT_TYPES))


class Answer(NamedTuple):
    """Answer in one pass: the items, the event weights that were used, and the mixture of goals."""

    ranking: ItemRanking
    weights: Floats
    mixture: Floats


class Subject(NamedTuple):
    """Subject of a question, in the codes of a store; as `models.inquiry.inquired` has it, where the names are the same.

    Attributes
    ----------
    codes, named_codes, n_items, on_screen, seen
        Of the session.
    is_named
        Whether the item on screen was named, and is the last that is asked about.
    past_item, past_kind, past_at_us
        Own events of earlier sessions, newest first: code, event type, instant.
    n_guests
        How many codes from the store's `n_items` on are items of the visitor's own.
    """

    codes: Ints
    named_codes: Ints
    n_items: int
    on_screen: int
    seen: bool
    is_named: bool
    past_item: Ints
    past_kind: Bytes
    past_at_us: Ints
    n_guests: int


@kernel
def _moved(base: Floats, actions: Floats, events: Records, p_intent: Floats, now_us: int) -> Floats:
    """Base weights as the action weights of the visitor's context move them."""
    if not len(actions):
        return base
    own, found = actions[context_code(events, p_intent, now_us)], np.empty(N_EVENT_TYPES)
    for kind in range(N_EVENT_TYPES):
        found[kind] = base[kind] * (own[kind] / BASE[kind])
    return found


@kernel
def _scale(profile: Ints, moved: Floats, has_actions: bool, mixture: Floats, p_intent: Floats) -> Scale:
    """`models.goal_weights.scale_of`, under the tilt of moved weights."""
    base, slopes, center, own = float_rows(profile, 2), float_rows(profile, 3), floats(profile, 4), floats(profile, 0)
    slopes = slopes.reshape((N_GOALS, N_PARTS, N_INTENTS))
    if has_actions:
        ratio = np.empty(N_EVENT_TYPES)
        for kind in range(N_EVENT_TYPES):
            ratio[kind] = moved[kind] / own[kind]
        tilt, base = tilted(ratio, slopes, mixture, p_intent), base.copy()
        for goal in range(N_GOALS):
            for kind in range(N_EVENT_TYPES):
                base[goal, SOURCE + kind] += tilt[kind]
                base[goal, TARGET + kind] += tilt[kind]
    pairs, of_own, popular, source = scaled_goals(base, slopes, p_intent - center, mixture)
    return Scale(pairs, of_own, popular, source)


@kernel
def _touches(events: Records, subject: Subject) -> tuple[Ints, Bytes, Floats, Ints, Ints]:
    """`inquired`, and behind it the item on screen, where it was named, as one more that is viewed now."""
    found = inquired(
        events, subject.codes, subject.named_codes, subject.n_items, subject.on_screen, True, subject.seen
    )  # fmt: skip
    if not subject.is_named:
        return found
    items, types, ages_s, named, left_out = found
    n = len(items)
    more, kinds, ages = np.empty(n + 1, np.int64), np.empty(n + 1, np.int8), np.empty(n + 1)
    said = np.empty(n + 1 if len(named) else 0, np.int64)
    more[:n], kinds[:n], ages[:n] = items, types, ages_s
    more[n], kinds[n], ages[n] = subject.on_screen, _VIEW, 0.0
    if len(named):
        said[:n], said[n] = named, -1
    return more, kinds, ages, said, left_out


@kernel
def _past(events: Records, subject: Subject) -> Past:
    n = len(subject.past_item)
    ages_s = np.empty(n)
    if n:
        now_us = events[len(events) - 1].occurred_at_us if len(events) else subject.past_at_us[0]
        for k in range(n):
            ages_s[k] = (now_us - subject.past_at_us[k]) / 1e6
    return Past(subject.past_item, subject.past_kind, ages_s)


@kernel
def answer(
    events: Records, codes: Ints, named_codes: Ints, n_items: int, on_screen: int, seen: bool, is_named: bool,
    past_item: Ints, past_kind: Bytes, past_at_us: Ints, n_guests: int, p_intent: Floats, now_us: int,
    goal: int, profile: Ints, mixer: Ints, actions: Floats, table: Ints, scratch_table: Ints, allowed: Flags, items: Ints,
    scores: Floats, weights: Floats, mixture: Floats,
) -> tuple[int, int]:  # fmt: skip
    """Answer a request.

    Parameters
    ----------
    events
        The session, shape (n_events,), dtype `EVENT_DTYPE`; what of it is asked follows, the fields of `Subject`.
    p_intent
        Shape (n_intents,).
    now_us
        Tells the hour where the session is empty.
    goal
        What the items shall lead to, or `AUTO_GOAL`.
    profile, mixer
        Tables of `bound_profile`: of the profile that answers, and of the one whose goal weights mix the goals.
    actions
        Action weights by context, shape (n_contexts, n_event_types), or no row.
    table, scratch_table
        `AssociationStore.bound_arrays` and `bound_scratch`.
    allowed
        Which items may come back, shape (n_items,), or empty.
    items, scores
        Written: codes and scores, as many as may come back at most.
    weights, mixture
        Written: the event weights that were used, shape (n_event_types,), and the mixture of goals, shape (n_goals,).

    Returns
    -------
    How many items there are, and how many of them come from associations; or `INSANE` or `UNLIKELY`, and 0.
    """
    subject = Subject(codes, named_codes, n_items, on_screen, seen, is_named, past_item, past_kind, past_at_us, n_guests)
    index = Index(
        ints(table, 0), ints32(table, 1), pair_types(table, 2), floats32(table, 3), int32_rows(table, 4),
        float32_rows(table, 5), ints32(table, 6),
    )  # fmt: skip
    numbers = floats(table, 16)
    overlay = Overlay(
        ints32(table, 7), int_rows(table, 8), float32_rows(table, 9), ints32(table, 10), pair_types(table, 11),
        floats32(table, 12), numbers[0], numbers[1],
    )  # fmt: skip
    categories = Categories(int_rows(table, 13), ints32(table, 14), floats32(table, 15))
    scratch = Scratch(float_rows(scratch_table, 0), ints32(scratch_table, 1), ints(scratch_table, 2))
    by_goals = len(float_rows(profile, 2)) > 0
    moved = _moved(floats(profile, 0), actions, events, p_intent, now_us)
    by_kind, total = scaled_weights(moved, float_rows(profile, 1), p_intent)
    if not abs(total - 1.0) <= 1e-6:
        return UNLIKELY, 0
    if goal == AUTO_GOAL:
        mixture[:] = mixed_goals(float_rows(mixer, 5), events, p_intent)
    else:
        mixture[:] = 0.0
        mixture[goal] = 1.0
    about, kinds, ages_s, named, left_out = _touches(events, subject)
    relation = np.zeros(0) if by_goals else related(float_rows(profile, 6), p_intent)
    session = Session(about, kinds, ages_s, by_kind, int(numbers[2]), numbers[3], numbers[4], numbers[5], relation)
    if by_goals:
        scale = _scale(profile, moved, len(actions) > 0, mixture, p_intent)
        weights[:] = scale.source
        found, their_scores, n = goal_query.recommend(
            index, overlay, categories, session, named, _past(events, subject), n_guests, scale, left_out, allowed, len(items),
            scratch,
        )  # fmt: skip
    else:
        weights[:] = by_kind
        found, their_scores, n = query.recommend(index, overlay, session, left_out, allowed, len(items), scratch)
    if n < 0:
        return INSANE, 0
    items[: len(found)], scores[: len(found)] = found, their_scores
    return len(found), n


def is_plain(asked: Asked, session: LiveSession, models: ModelSet, known: Known) -> bool:
    """Whether `in_one_pass` can answer: associations and nothing but the list, about what the session and the request name."""
    if models.associations is None or asked.ranker or asked.interleave or asked.explain:
        return False
    return known.recent is None or bool(session.item_ids)


def in_one_pass(
    asked: Asked, session: LiveSession, models: ModelSet, known: Known, profile: WeightProfile, goals: WeightProfile,
    actions: ActionWeights | None, p_intent: Floats, now_us: int, told: list[str],
) -> Answer:  # fmt: skip
    """`weigh` and `rank_items` at once, where the question `is_plain`; to the bit what they answer.

    Parameters
    ----------
    goals
        By whose goal weights the goals are mixed: the profile itself, where it has some.
    """
    store = required(models.associations, "associations")
    if not store.n_items:
        told.append(degraded.NO_ITEMS_YET)
    about, limit = coded(asked, session, store, known, told), checked_limit(asked.limit)
    history = about.history
    before = np.array([about.codes[item] for item in history.item_ids], np.int64)
    past = before, writeable(history.types), writeable(history.at_us)
    moving = _NO_ACTIONS if actions is None else writeable(actions.mean, np.float64)
    if p_intent.shape != (N_INTENTS,):  # a kernel would read beyond the end, here as below
        raise ValueError(f"expected {N_INTENTS} probabilities of intents that sum to 1, got the shape {p_intent.shape}")
    if moving.shape not in (_NO_ACTIONS.shape, (N_CONTEXTS, N_EVENT_TYPES)):
        raise ValueError(f"action weights must have the shape {N_CONTEXTS, N_EVENT_TYPES}, got {moving.shape}")
    items, scores = np.empty(limit, np.int64), np.empty(limit)
    weights, mixture = np.empty(N_EVENT_TYPES), np.empty(N_GOALS)
    by, mixer, bound, scratch = bound_profile(profile), bound_profile(goals), store.bound_arrays, store.bound_scratch()
    n, n_associated = answer(
        writeable(session.events), about.own, about.named, len(session.item_ids), about.on_screen, asked.exclude_seen,
        asked.item_id is not None, *past, len(about.guests), p_intent, now_us,
        AUTO_GOAL if asked.goal == AUTO else GOALS.index(asked.goal), by.table, mixer.table,
        moving, bound.table, scratch.table, flags_of(about.allowed), items, scores, weights, mixture,
    )  # fmt: skip
    if n < 0:
        raise ValueError(f"expected sane weights and intents that sum to 1, got {profile} and {p_intent}")
    if n_associated < n:
        told.append(degraded.FILLED_WITH_POPULAR)
    return Answer(named(items[:n], scores[:n], store, None, about.guests), weights, mixture)


def mixer_of(profile: WeightProfile, models: ModelSet) -> WeightProfile:
    """Profile by whose goal weights an answer mixes the goals: its own, or where it has none, the champion."""
    if profile.goals is not None:
        return profile
    return models.weights if models.weights is not None and models.weights.goals is not None else HEURISTIC_GOALS


def listed(
    asked: Asked, session: LiveSession, models: ModelSet, known: Known, profile: WeightProfile, p_intent: Floats, now_us: int
) -> ItemRanking:  # fmt: skip
    """Items by a profile that the action weights move: in one pass where that can answer, else step by step."""
    if is_plain(asked, session, models, known):
        mixer = mixer_of(profile, models)
        return in_one_pass(asked, session, models, known, profile, mixer, models.actions, p_intent, now_us, []).ranking
    return rank_items(asked, session, models, known, weigh(profile, models.actions, session.events, p_intent, now_us), [])


def bound_profile(profile: WeightProfile) -> Bound:
    """Arrays of a profile as `answer` reads them, those of its goal weights empty where it has none.

    The few profiles that serve or are judged stay bound.
    """
    known = _PROFILES.get(id(profile))
    if known is None or known[0] is not profile:
        if len(_PROFILES) >= _MOST_PROFILES:
            _PROFILES.clear()
        known = _PROFILES[id(profile)] = profile, _bound(profile)
    return known[1]


def _bound(profile: WeightProfile) -> Bound:
    named_shapes = ("base", (N_EVENT_TYPES,)), ("factors", (N_INTENTS, N_EVENT_TYPES)), ("relations", (N_INTENTS, 2))
    for name, shape in named_shapes:
        if (found := getattr(profile, name).shape) != shape:
            raise ValueError(f"{name} must have the shape {shape}, got {found}")
    goals, nothing = profile.goals and goal_weights(*profile.goals), np.zeros((0, 1))
    if goals is None:
        return bind(profile.base, profile.factors, nothing, nothing, np.zeros(0), nothing, profile.relations)
    slopes = goals.slopes.reshape(N_GOALS * N_PARTS, N_INTENTS)
    return bind(profile.base, profile.factors, goals.base, slopes, goals.center, goals.chances, profile.relations)


_MOST_PROFILES: Final = 64
_PROFILES: Final[dict[int, tuple[WeightProfile, Bound]]] = {}
