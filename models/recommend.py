"""Recommend: the one function that answers a request for items, and that evaluation, gate, tuner, shadow and replay call too.

Request, models and features in, an answer out: no clock, no network, no store. Live action weights, the catalogue, consent and
the bandit's snapshot are arguments, so that what is judged is bit for bit what would have been served. What is missing is
replaced by something useful, and `degraded` names the replacement (`models.degraded`).
"""

from dataclasses import replace
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import numpy as np

from models import degraded
from models.arrays import Floats, Floats32, Records, writeable
from models.bandit import arms
from models.bandit.arms import STATIC_ARM, Bandit, Dealt
from models.bandit.thompson import GROUP, MOST_GROUPS
from models.events.encode import EventArray
from models.experiments import assignment
from models.experiments.assignment import DYNAMIC_VS_STATIC
from models.experiments.interleaving import FIRST, team_draft
from models.features import sessions
from models.goal_prior import HEURISTIC_GOALS
from models.goal_weights import one_goal
from models.inference import intent
from models.item_ranking import AUTO, Asked, ItemRanking, Weighing, earlier, rank_items, weigh
from models.kernels import kernel
from models.known import Known
from models.live_session import LiveSession
from models.model_set import ModelSet, required
from models.one_pass import in_one_pass, is_plain, mixer_of
from models.schema import DEVICES, INTENTS, N_RECENT_EVENTS, EventType
from models.visitor_groups import NO_GROUPS
from models.weight_profile import WeightProfile
from models.weights.actions import ActionWeights

_SEGMENTS: Final = ("unknown", "looker", "carter", "buyer")
_PURCHASE, _ADD_TO_CART = int(EventType.PURCHASE), int(EventType.ADD_TO_CART)


class Who(NamedTuple):
    """By what an answer is dealt.

    Attributes
    ----------
    user_id
        The pseudonym, by which the experiment's variant is dealt.
    decision_id
        Of this answer.
    session
        By which, and the user, the bandit deals a profile and interleaving its turns: the session's id, or when it began.
    """

    user_id: str
    decision_id: str
    session: str = ""

    @property
    def dealt_by(self) -> str:
        """Key of a deal: as long as it is the same, so is the profile."""
        return arms.dealt_by(self.user_id, self.session)


class Assignment(NamedTuple):
    """Experiment and variant of an answer."""

    name: str
    variant: str


class Situation(NamedTuple):
    """Situation of a session so far: features, shape (n_session_features,), and intent, shape (n_intents,)."""

    features: Floats32
    p_intent: Floats


class Goal(NamedTuple):
    """Goal that was asked for, and the mixture of goals, shape (n_goals,), sums to 1.

    The list is weighted by it; but for the static variant, whose list is one for all goals.
    """

    asked: str
    mixture: Floats


class Recommendation(NamedTuple):
    """Items that go with a session, and all that the record of the decision says.

    Attributes
    ----------
    weights
        Of each event type as they were used, shape (n_event_types,).
    context
        Device, hour, intent, segment and, where the shop tells it, group of the decision; which state of the action weights and
        of the associations, and whose turns, where there are any.
    degraded
        Names of the fallbacks that were taken.
    goal
        What the items shall lead to.
    """

    p_intent: Floats
    weights: Floats
    ranking: ItemRanking
    assignment: Assignment
    dealt: Dealt
    context: dict[str, Any]
    degraded: list[str]
    goal: Goal

    @property
    def label(self) -> str:
        """The likeliest intent."""
        return INTENTS[int(self.p_intent.argmax())]


def recommend(
    asked: Asked, session: LiveSession, models: ModelSet, known: Known, who: Who, now_us: int, bandit: Bandit | None = None,
    variant: str | None = None,
) -> Recommendation:  # fmt: skip
    """Answer which items go with a session.

    Parameters
    ----------
    known
        The user's recent items where the session names none, and what the partner's catalogue lets be shown.
    now_us
        When it is asked, microseconds since 1970.
    bandit
        Deals the weight profile within the dynamic variant; without one the set's own weights are used.
    variant
        Of the experiment, where it is not dealt by the user: whoever judges weights asks for the dynamic one.
    """
    told = list(known.missing)
    situation = situate(session, models, told)
    p_intent = situation.p_intent
    context = context_of(session, situation.features, INTENTS[int(p_intent.argmax())], now_us)
    if session.groups is not NO_GROUPS and models.next_action is not None:
        context[GROUP] = models.next_action.groups.known(session.groups, MOST_GROUPS)
    variant = assignment.assign(DYNAMIC_VS_STATIC, who.user_id) if variant is None else variant
    dealt = _dealt(variant, models, bandit, context, who.dealt_by, told)
    if dealt.snapshot is not None:
        context["session"] = who.session  # with the user, what the profile was dealt by
    actions = actions_of(models, variant)
    if actions is not None:
        context["action_weights"] = actions.seq  # which state of them, for a replay
    if models.associations is not None:
        context["associations"] = models.associations.built_to_seq  # the event up to which they follow the log, likewise
    if dealt.weights.goals is not None:
        told.extend(known.without_history)
        if known.history is not None and len(known.history.item_ids) >= N_RECENT_EVENTS:
            told.append(degraded.HISTORY_CUT)
        history = earlier(session, known.history)
        known, before = known._replace(history=history), history.at_us
        if len(before):  # how much of the history was used, and up to when: with the log, what it was
            context["history"] = [len(before), int(before[0])]
    assigned = assigned_to(asked, models, variant)
    if is_plain(asked, session, models, known):
        given = asked, session, models, known, dealt.weights, mixer_of(dealt.weights, models), actions, p_intent, now_us, told
        ranking, weights, mixture = in_one_pass(*given)
        goal = Goal(asked.goal, mixture)
        return Recommendation(p_intent, weights, ranking, assigned, dealt, context, list(dict.fromkeys(told)), goal)
    weighing = weigh(dealt.weights, actions, session.events, p_intent, now_us, asked.goal)
    if assigned.name == assignment.INTERLEAVED:
        ours, theirs = (rank_items(replace(asked, ranker=r), session, models, known, weighing, told) for r in (False, True))
        ranking, context[assignment.TEAMS] = in_turns(ours, theirs, asked.limit, f"{who.dealt_by} {len(session.events)}")
    else:
        ranking = rank_items(replace(asked, ranker=True) if asked.interleave else asked, session, models, known, weighing, told)
    goal = Goal(asked.goal, _mixture(asked.goal, weighing, models, session.events))
    return Recommendation(p_intent, weighing.shown, ranking, assigned, dealt, context, list(dict.fromkeys(told)), goal)


def _mixture(goal: str, weighing: Weighing, models: ModelSet, events: EventArray) -> Floats:
    """The mixture of goals that answered, or where weights know of none, that of the champion's."""
    if weighing.mixture is not None:
        return weighing.mixture
    if goal != AUTO:
        return one_goal(goal)
    return required(mixer_of(HEURISTIC_GOALS, models).goals, "goals").mixture(events, weighing.p_intent)


def situate(session: LiveSession, models: ModelSet, told: list[str]) -> Situation:
    """Fold a session and infer its intent; fallbacks are added to `told`."""
    if session.is_moved:
        told.append(degraded.CLOCK_AHEAD)
    if not len(session.events):
        told.append(degraded.SESSION_EMPTY)
    elif models.intent is not None:
        return Situation(*models.intent.of_session(session.events))
    features = sessions.features_of(session.events)
    if models.intent is not None:
        return Situation(features, models.intent.predict_one(features))
    told.append(degraded.INTENT_BY_RULES)
    p: Floats = intent.by_rules(features[None, :])[0]
    return Situation(features, p)


def actions_of(models: ModelSet, variant: str) -> ActionWeights | None:
    """The action weights that move a variant's profile: never that of the static one."""
    return None if variant == assignment.STATIC else models.actions


def assigned_to(asked: Asked, models: ModelSet, variant: str) -> Assignment:
    """The experiment that a request of a user with this variant belongs to: known before, and even without, an answer."""
    if asked.interleave and models.ranker is not None and models.associations is not None:
        return Assignment(assignment.INTERLEAVED, "interleaved")
    return Assignment(DYNAMIC_VS_STATIC.name, variant)


def context_of(session: LiveSession, features: Floats32, label: str, now_us: int) -> dict[str, Any]:
    """Context of a decision: device, the visitor's hour of day, likeliest intent, and how far the session has come.

    Parameters
    ----------
    features
        Of the session, shape (n_session_features,).
    now_us
        Tells the hour, in UTC, where the session is empty.
    """
    device, hour, segment = _context(writeable(session.events), features, now_us)
    return {"device": DEVICES[device], "hour": hour, "intent": label, "segment": _SEGMENTS[segment]}


@kernel
def _context(events: Records, features: Floats32, now_us: int) -> tuple[int, int, int]:
    """Codes of device and segment, and the hour."""
    device, offset_min, segment = 0, 0, 0
    if len(events):
        last = events[len(events) - 1]
        now_us, device, offset_min = last.occurred_at_us, int(last.device), int(last.utc_offset_min)
        segment = 3 if features[_PURCHASE] else 2 if features[_ADD_TO_CART] else 1
    return device, (now_us // 60_000_000 + offset_min) // 60 % 24, segment


def _dealt(
    variant: str, models: ModelSet, bandit: Bandit | None, context: dict[str, Any], dealt_by: str, told: list[str]
) -> Dealt:
    if variant == assignment.STATIC:
        return STATIC_ARM
    if bandit is None:
        weights = profile_of(models, told)
        return Dealt(arms.arm_id(arms.LEARNED, weights), weights)
    dealt = arms.deal(bandit, context, dealt_by)
    if dealt.snapshot is None:  # nothing learned of these profiles yet: the champion weights serve, and the decision says so
        profile_of(models, told)  # says so where even the champion weights are missing
    return dealt


def profile_of(models: ModelSet, told: list[str]) -> WeightProfile:
    """The weight profile that serves; a missing one is replaced by the heuristic."""
    if models.weights is not None:
        return models.weights
    told.append(degraded.WEIGHTS_HEURISTIC)
    return HEURISTIC_GOALS


def in_turns(ours: ItemRanking, theirs: ItemRanking, limit: int, dealt_by: str) -> tuple[ItemRanking, str]:
    """Draft one list of two by turns; the same visitor at the same moment gets the same draft.

    Returns
    -------
    The items, each with the score and reasons of the side that picked it, and a character per item that says whose it is
    (`models.experiments.interleaving`).
    """
    seed = int.from_bytes(blake2b(dealt_by.encode(), digest_size=8).digest(), "big")
    draft = team_draft(ours.item_ids, theirs.item_ids, limit, np.random.default_rng(seed))
    places = [{item: place for place, item in enumerate(side.item_ids)} for side in (ours, theirs)]
    picked = []
    for item, team in zip(draft.items, draft.teams, strict=True):
        side = 0 if team == FIRST or item not in places[1] else 1
        picked.append(((ours, theirs)[side], places[side][item]))
    because = [side.because[place] for side, place in picked if side.because is not None]
    scores = [side.scores[place] for side, place in picked]
    return ItemRanking(list(draft.items), scores, because if ours.because is not None else None), draft.teams
