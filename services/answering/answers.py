"""What is answered: requests, models and features in, answers out. No clock, no network, no store is touched here.

Whatever is missing is replaced by something useful, and `degraded` names the replacement:

==========================  =========================================================================================
session_empty               no event came with the request
intent_by_rules             no intent model serves: the labelling rules answer instead
weights_heuristic           no weight profile serves: the built-in table is used
associations_missing        no association model serves: no items
ranker_missing              the ranker was asked for and none serves: the associations answer
unknown_item                the item asked about has never been seen
recent_items                the session names no item: the user's items of before stand in
filled_with_popular         associations gave too few items: popular ones follow
next_action_model_missing   no next-action model serves: every next action is as likely, nothing is predicted
engagement_by_formula       no engagement score was learned: a formula over recent events and the predicted purchase answers
unknown_user                nothing is known about the user, or it is too old
unknown_item_features       nothing is known about the item, or it is too old
online_store_unreachable    the online store did not answer
no_consent                  the visitor does not consent: the answer comes from the session that the request brought along
==========================  =========================================================================================
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from models.bandit import arms
from models.bandit.arms import STATIC_ARM, Bandit, Dealt
from models.events import NO_CODE
from models.experimentation import experiments
from models.experimentation.experiments import DYNAMIC_VS_STATIC
from models.folds import sessions
from models.inference import intent
from models.pairs.associations import AssociationStore, Contribution, Ranked
from models.ranking.ranker import Ranker
from models.schema import DEVICES, EVENT_TYPES, INTENTS, EventType
from models.weighting.weights import HEURISTIC, STATIC, WeightProfile
from services import wire
from services.answering.champion import Champions
from services.answering.interleaved import in_turns
from services.answering.live_weights import moved
from services.answering.online import RecentItems, UserFeatures
from services.answering.session_data import LiveSession

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int64]
_CART_EVENTS: Final = np.zeros(len(EVENT_TYPES), dtype=np.bool_)
_CART_EVENTS[[EventType.ADD_TO_CART, EventType.REMOVE_FROM_CART, EventType.PURCHASE]] = True


class Query(NamedTuple):
    """What the associations are asked about, oldest first, shape (n_events,) each."""

    items: Codes
    types: npt.NDArray[np.int8]
    ages_s: Floats


class Catalogue(Protocol):
    """Knows items by their codes: the associations, or the ranker with codes of its own."""

    def code(self, item_id: str | None) -> int:
        """Code of an item, `NO_CODE` if unknown."""
        ...


class Weighing(NamedTuple):
    """What a profile makes of the session's intent: a weight per event type, and how much counts by where it leads.

    Shapes (n_event_types,) and (2,), the second as `AssociationStore.recommend` has it; the ranker is told the intent itself.
    """

    weights: Floats
    relation: Floats
    p_intent: Floats | None = None


class Read(NamedTuple):
    """What the stores knew. `missing` names what the online store did not."""

    user: UserFeatures | None = None
    item: Floats32 | None = None
    recent: RecentItems | None = None
    missing: tuple[str, ...] = ()
    sold_out: Callable[[Catalogue], Codes] | None = None  # codes, in a model, of what the partner cannot deliver


class Recommended(NamedTuple):
    """An answer, and what else the record of its decision says."""

    reply: wire.Recommendation
    dealt: Dealt
    context: dict[str, Any]


def recommend(
    request: wire.RecommendationRequest, session: LiveSession, champions: Champions, read: Read, decision_id: str, user_id: str,
    now_us: int, bandit: Bandit | None = None,
) -> Recommended:  # fmt: skip
    """Answer which items go with a session.

    Parameters
    ----------
    read
        The user's recent items, where the session names none.
    user_id
        The pseudonym, by which the experiment's variant is dealt.
    now_us
        When it is asked, microseconds since 1970.
    bandit
        Deals the weight profile within the dynamic variant; without one the champion weights are used.
    """
    degraded = list(read.missing)
    features = sessions.features_of(session.events)
    p_intent = intent_of(features, session, champions, degraded)
    intents = _estimate(p_intent)
    context = context_of(session, features, intents.label, now_us)
    variant = experiments.assign(DYNAMIC_VS_STATIC, user_id)
    dealt = _dealt(variant, champions, bandit, context, decision_id, degraded)
    profile = dealt.weights
    if variant != experiments.STATIC and champions.actions is not None:
        profile = moved(profile, champions.actions, session.events, p_intent, now_us)
        context["action_weights"] = champions.actions.seq  # which state of them, for a replay
    weighing = Weighing(profile.scaled(p_intent), profile.related(p_intent), p_intent)

    def listed(asked: wire.RecommendationRequest) -> list[wire.RankedItem]:
        return _items(asked, session, champions, read, weighing, degraded)

    assignment = assigned(request, champions, variant)
    if assignment.name == experiments.INTERLEAVED:
        items, context[experiments.TEAMS] = in_turns(request, listed, decision_id)
    else:
        items = listed(msgspec.structs.replace(request, ranker=True) if request.interleave else request)
    reply = wire.Recommendation(
        decision_id=decision_id,
        intent=intents,
        weights=dict(zip(EVENT_TYPES, weighing.weights.tolist(), strict=True)),
        items=items,
        experiment=assignment,
        models=dict(champions.versions),
        degraded=list(dict.fromkeys(degraded)),
    )
    return Recommended(reply, dealt, context)


def assigned(request: wire.RecommendationRequest, champions: Champions, variant: str) -> wire.Assignment:
    """The experiment that a request of a user with this variant belongs to: known before, and even without, an answer."""
    if request.interleave and champions.ranker is not None and champions.associations is not None:
        return wire.Assignment(experiments.INTERLEAVED, "interleaved")
    return wire.Assignment(DYNAMIC_VS_STATIC.name, variant)


def context_of(session: LiveSession, features: Floats32, label: str, now_us: int) -> dict[str, Any]:
    """What a decision was made in: device, the visitor's hour of day, likeliest intent, and how far the session has come.

    Parameters
    ----------
    features
        Of the session, shape (n_session_features,).
    now_us
        Tells the hour, in UTC, where the session is empty.
    """
    device, offset_min = 0, 0
    if len(session.events):
        last = session.events[-1]
        now_us, device, offset_min = int(last["occurred_at_us"]), int(last["device"]), int(last["utc_offset_min"])
    segment = "buyer" if features[EventType.PURCHASE] else "carter" if features[EventType.ADD_TO_CART] else "looker"
    hour = (now_us // 60_000_000 + offset_min) // 60 % 24
    return {"device": DEVICES[device], "hour": hour, "intent": label, "segment": segment if len(session.events) else "unknown"}


def _dealt(
    variant: str, champions: Champions, bandit: Bandit | None, context: dict[str, Any], decision_id: str, degraded: list[str]
) -> Dealt:
    if variant == experiments.STATIC:
        return STATIC_ARM
    if bandit is None:
        weights = profile_of(variant, champions, degraded)
        return Dealt(arms.arm_id(arms.LEARNED, weights), weights)
    dealt = arms.deal(bandit, context, decision_id)
    if dealt.snapshot is None:  # nothing learned of these profiles yet: the champion weights serve, and the decision says so
        profile_of(variant, champions, degraded)  # says so where even the champion weights are missing
    return dealt


def tell_intent(session: LiveSession, champions: Champions) -> wire.IntentAnswer:
    """Answer what a session is about."""
    degraded: list[str] = []
    p_intent = intent_of(sessions.features_of(session.events), session, champions, degraded)
    return wire.IntentAnswer(_estimate(p_intent), dict(champions.versions), degraded)


def intent_of(features: Floats32, session: LiveSession, champions: Champions, degraded: list[str]) -> Floats:
    """Probabilities of the intents, shape (n_intents,); what is missing is added to `degraded`."""
    if not len(session.events):
        degraded.append("session_empty")
    if champions.intent is not None:
        return champions.intent.predict_one(features)
    degraded.append("intent_by_rules")
    p: Floats = intent.by_rules(features[None, :])[0]
    return p


def _estimate(p_intent: Floats) -> wire.IntentEstimate:
    return wire.IntentEstimate(INTENTS[int(p_intent.argmax())], dict(zip(INTENTS, p_intent.tolist(), strict=True)))


def profile_of(variant: str, champions: Champions, degraded: list[str]) -> WeightProfile:
    """The weight profile of a variant; a missing one is replaced by the heuristic and added to `degraded`."""
    if variant == experiments.STATIC:
        return STATIC
    if champions.weights is not None:
        return champions.weights
    degraded.append("weights_heuristic")
    return HEURISTIC


def _items(
    request: wire.RecommendationRequest, session: LiveSession, champions: Champions, read: Read, weighing: Weighing,
    degraded: list[str],
) -> list[wire.RankedItem]:  # fmt: skip
    store = champions.associations
    ranker = champions.ranker if request.ranker else None
    if request.ranker and ranker is None:
        degraded.append("ranker_missing")
    if store is None and (ranker is None or request.explain):
        degraded.append("associations_missing")
    if ranker is not None:
        return _by_ranker(request, session, ranker, store, read, weighing, degraded)
    if store is None:
        return []
    query = _query(request, session, store, read.recent, degraded)
    left_out = _left_out(request, session, store, read)
    ranked = store.recommend(*query, weighing.weights, request.limit, left_out, weighing.relation)
    if ranked.n_associated < len(ranked.items):
        degraded.append("filled_with_popular")
    because = _told(store.explain(ranked, *query, *weighing[:2])) if request.explain else None
    return _named(ranked.items, ranked.scores, store.item_ids, because)


def _by_ranker(
    request: wire.RecommendationRequest, session: LiveSession, ranker: Ranker, store: AssociationStore | None,
    read: Read, weighing: Weighing, degraded: list[str],
) -> list[wire.RankedItem]:  # fmt: skip
    """What the ranker answers; where the associations tie an item to the session, they say why."""
    query = _query(request, session, ranker, read.recent, degraded)
    left_out = _left_out(request, session, ranker, read)
    ranked = ranker.rank(query.items, query.types, weighing.weights, request.limit, left_out, weighing.p_intent)
    if ranked.n_ranked < len(ranked.items):
        degraded.append("filled_with_popular")
    ids = ranker.sources.wide.item_ids
    if not request.explain:
        return _named(ranked.items, ranked.scores, ids)
    because: list[list[wire.Contribution]] = [[] for _ in ranked.items]
    if store is not None:
        codes = np.array([store.code(ids[code]) for code in ranked.items.tolist()], dtype=np.int64)
        known = np.flatnonzero(codes != NO_CODE)  # each model has a catalogue of its own
        wanted = Ranked(codes[known], ranked.scores[known], len(known))
        told = store.explain(wanted, *query_of(session, store, request.item_id, read.recent), *weighing[:2])
        for place, contributions in zip(known.tolist(), _told(told), strict=True):
            because[place] = contributions
    return _named(ranked.items, ranked.scores, ids, because)


def _left_out(request: wire.RecommendationRequest, session: LiveSession, model: Catalogue, read: Read) -> Codes:
    codes = items_left_out(session, model, request.item_id, request.exclude_seen)
    sold_out = () if read.sold_out is None else read.sold_out(model)
    return np.concatenate((codes, sold_out)) if len(sold_out) else codes


def _query(
    request: wire.RecommendationRequest, session: LiveSession, catalogue: Catalogue, recent: RecentItems | None,
    degraded: list[str],
) -> Query:  # fmt: skip
    if request.item_id is not None and catalogue.code(request.item_id) == NO_CODE:
        degraded.append("unknown_item")
    if recent is not None and not session.item_ids:
        degraded.append("recent_items")
    return query_of(session, catalogue, request.item_id, recent)


def _told(found: list[list[Contribution]]) -> list[list[wire.Contribution]]:
    return [[wire.Contribution(**c) for c in contributions] for contributions in found]


def _named(
    codes: Codes, scores: Floats, ids: Sequence[str], because: list[list[wire.Contribution]] | None = None
) -> list[wire.RankedItem]:
    named = [wire.RankedItem(ids[code], score) for code, score in zip(codes.tolist(), scores.tolist(), strict=True)]
    for item, contributions in zip(named, because or (), strict=because is not None):
        item.because = contributions
    return named


def query_of(session: LiveSession, store: Catalogue, item_id: str | None, recent: RecentItems | None) -> Query:
    """Put together what is asked: items of before where the session names none, the session, the anchor.

    Ages count from the session's last event, so that a replayed session is answered as the live one was.
    """
    events = session.events
    at_us = events["occurred_at_us"]
    codes = np.array([*map(store.code, session.item_ids), NO_CODE])[events["item"]]  # an event without item takes the last
    query = Query(codes, events["event_type"], (at_us[-1:] - at_us) / 1e6 if len(events) else np.zeros(0))
    if recent is not None and not session.item_ids:
        now_us = int(at_us[-1]) if len(events) else recent.at_us
        query = _extended(
            query, [store.code(i) for i in reversed(recent.item_ids)], max(now_us - recent.at_us, 0) / 1e6, first=True
        )
    if item_id is not None:
        query = _extended(query, [store.code(item_id)], 0.0, first=False)
    return query


def _extended(query: Query, codes: list[int], age_s: float, *, first: bool) -> Query:
    """A query with more viewed items of one age, before or after what is there."""
    n = len(codes)
    more = Query(np.array(codes, np.int64), np.full(n, EventType.ITEM_VIEW, np.int8), np.full(n, age_s))
    a, b = (more, query) if first else (query, more)
    return Query(np.concatenate((a.items, b.items)), np.concatenate((a.types, b.types)), np.concatenate((a.ages_s, b.ages_s)))


def _cart_and_bought(session: LiveSession) -> tuple[list[int], set[int]]:
    """Session items that lie in the cart, newest first, and those that were bought."""
    cart: dict[int, None] = {}
    bought: set[int] = set()
    events = session.events
    for row in np.flatnonzero(_CART_EVENTS[events["event_type"]]):
        item, kind = int(events["item"][row]), int(events["event_type"][row])
        cart.pop(item, None)
        if kind == EventType.ADD_TO_CART:
            cart[item] = None
        elif kind == EventType.PURCHASE:
            bought.add(item)
    return list(reversed(cart)), bought


def in_cart(session: LiveSession) -> list[str]:
    """Items that lie in the cart at the session's end, newest first."""
    return [session.item_ids[item] for item in _cart_and_bought(session)[0]]


def items_left_out(session: LiveSession, store: Catalogue, item_id: str | None, seen: bool = False) -> Codes:
    """Codes that must not be recommended: in the cart, bought, the very item that was asked about, and if told so all seen."""
    cart, bought = _cart_and_bought(session)
    codes = [store.code(session.item_ids[item]) for item in (range(len(session.item_ids)) if seen else (*cart, *bought))]
    if item_id is not None:
        codes.append(store.code(item_id))
    return np.array([code for code in codes if code != NO_CODE], dtype=np.int64)
