"""Item ranking: from a session and a weighing of its events to items, by the associations or by the ranker.

Every list of items that Attune shows or judges comes from here. A request goes through `rank_items`; whoever asks the same
again and again under other weights (`models.replay`) puts the question once, with `inquire`, and then calls what `rank_items`
calls, `weigh` and `by_associations` or `by_ranker`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models import degraded
from models.arrays import ALL_ALLOWED, Flags, Floats, Ints, writeable
from models.associations import goals as by_goals
from models.associations.goal_query import MOST_GUESTS, Past
from models.associations.goals import NO_PAST, NONE_NAMED, Told
from models.associations.indirect import anchor_of
from models.associations.model import AssociationStore, Contribution, Ranked
from models.events.encode import NO_CODE, EventArray
from models.events.touches import NO_HISTORY, History
from models.goal_weights import Scale, one_goal, scale_of
from models.inquiry import SESSIONS_LAST, inquired
from models.known import ItemList, Known, item_codes
from models.live_session import LiveSession
from models.model_set import ModelSet
from models.ranker.model import Ranked as RankedByTrees
from models.ranker.model import Ranker
from models.schema import EventType
from models.weight_profile import WeightProfile
from models.weights.actions import ActionWeights
from models.weights.contextual import in_context, tilt

AUTO: Final = "auto"


@dataclass(frozen=True)
class Asked:
    """A question about items.

    Attributes
    ----------
    item_id
        The item on screen; without it the session's last item is taken for it.
    limit
        Items at most.
    exclude_seen
        Leaves out all items of the session.
    ranker
        Asks the ranker instead of the associations.
    interleave
        Lets both take turns.
    goal
        What the items shall lead to, one of `GOALS`, or `AUTO`: what the session is likely to come to.
    """

    item_id: str | None = None
    limit: int = 20
    explain: bool = False
    exclude_seen: bool = False
    ranker: bool = False
    interleave: bool = False
    goal: str = AUTO


class Query(NamedTuple):
    """Query to a model, oldest event first, shape (n_events,) each: item codes, event types, seconds ago.

    `named` are codes of the categories that the events name, -1 for none; empty where a model does not know any.
    """

    items: Ints
    types: npt.NDArray[np.int8]
    ages_s: Floats
    named: Ints = NONE_NAMED


class Inquiry(NamedTuple):
    """A question as one model is asked it, whatever the weights: what about, which codes must not come back, and which may.

    Attributes
    ----------
    past
        What the visitor did in earlier sessions.
    guests
        Items of the visitor's own that the model does not know, with the codes from its `n_items` on.
    """

    query: Query
    left_out: Ints
    allowed: Flags
    past: Past = NO_PAST
    guests: tuple[str, ...] = ()

    @property
    def told(self) -> Told:
        """As the associations take it under goal weights."""
        return Told(*self.query[:3], self.past, len(self.guests), self.query.named)


class Weighing(NamedTuple):
    """Weighing of a session by a profile: a weight per event type, and how much counts by where it leads.

    Shapes (n_event_types,), (2,) as `AssociationStore.recommend` has it, and (n_intents,), which the ranker is told.

    Attributes
    ----------
    mixture, scale
        Of the goals, shape (n_goals,), and what comes of it; None for a profile without goal weights.
    """

    weights: Floats
    relation: Floats
    p_intent: Floats
    mixture: Floats | None = None
    scale: Scale | None = None

    @property
    def shown(self) -> Floats:
        """The weights of event types that were really used, shape (n_event_types,)."""
        return self.weights if self.scale is None else self.scale.source


class ItemRanking(NamedTuple):
    """Items, best first.

    Attributes
    ----------
    item_ids, scores
        As many of each.
    because
        Why each item is there, where that was asked.
    """

    item_ids: list[str]
    scores: list[float]
    because: list[list[Contribution]] | None = None


NO_ITEMS = ItemRanking([], [])


def weigh(
    profile: WeightProfile, actions: ActionWeights | None, events: EventArray, p_intent: Floats, now_us: int,
    goal: str = AUTO,
) -> Weighing:  # fmt: skip
    """Weighing of a session: a profile, moved by the action weights of the visitor's context, under the session's intent.

    Parameters
    ----------
    events
        The session so far, shape (n_events,).
    p_intent
        Shape (n_intents,).
    now_us
        Tells the hour, in UTC, where the session is empty.
    """
    moved = in_context(profile, actions, events, p_intent, now_us)
    weights, relation, goals = moved.scaled(p_intent), moved.related(p_intent), profile.goals
    if goals is None:
        return Weighing(weights, relation, p_intent)
    mixture = goals.mixture(events, p_intent) if goal == AUTO else one_goal(goal)
    tilted = None if moved is profile else tilt(moved.base / profile.base, goals, mixture, p_intent)
    return Weighing(weights, relation, p_intent, mixture, scale_of(goals, mixture, p_intent, tilted))


def rank_items(
    asked: Asked, session: LiveSession, models: ModelSet, known: Known, weighing: Weighing, told: list[str]
) -> ItemRanking:
    """Rank the items that go with a session.

    Parameters
    ----------
    told
        Fallbacks that were taken are added to it.
    """
    store, ranker = models.associations, models.ranker if asked.ranker else None
    if asked.ranker and ranker is None:
        told.append(degraded.RANKER_MISSING)
    if store is None and (ranker is None or asked.explain):
        told.append(degraded.ASSOCIATIONS_MISSING)
    answers = store if ranker is None else ranker
    if answers is not None and not answers.n_items:
        told.append(degraded.NO_ITEMS_YET)
    if ranker is not None:
        return _of_ranker(asked, session, ranker, store, known, weighing, told)
    return NO_ITEMS if store is None else _of_associations(asked, session, store, known, weighing, told)


def surely_listed(store: AssociationStore, profile: WeightProfile) -> int:
    """Least number of items of a list, whatever the session, but for those that it leaves out and for its limit.

    They are the popular ones of those event types that no intent takes all weight from; they fill every list up.
    """
    counts = (profile.base > 0) & (profile.factors > 0).all(axis=0)
    found = store.index.popular_item[: len(counts)][counts]
    return len(np.unique(found[found >= 0]))


def _of_associations(
    asked: Asked, session: LiveSession, store: AssociationStore, known: Known, weighing: Weighing, told: list[str]
) -> ItemRanking:
    inquiry = inquire(asked, session, store, known, told)
    ranked = by_associations(store, inquiry, weighing, asked.limit)
    if ranked.n_associated < len(ranked.items):
        told.append(degraded.FILLED_WITH_POPULAR)
    because = _reasons(store, ranked, inquiry, weighing) if asked.explain else None
    return named(ranked.items, ranked.scores, store, because, inquiry.guests)


def _reasons(store: AssociationStore, ranked: Ranked, inquiry: Inquiry, weighing: Weighing) -> list[list[Contribution]]:
    if weighing.scale is None:
        return store.explain(ranked, *inquiry.query[:3], *weighing[:2])
    return by_goals.explain(store, ranked, inquiry.told, weighing.scale, inquiry.left_out, inquiry.guests)


def _of_ranker(
    asked: Asked, session: LiveSession, ranker: Ranker, store: AssociationStore | None, known: Known, weighing: Weighing,
    told: list[str],
) -> ItemRanking:  # fmt: skip
    """What the ranker answers; where the associations tie an item to the session, they say why."""
    ranked = by_ranker(ranker, inquire(asked, session, ranker, known, told), weighing, asked.limit)
    if ranked.n_ranked < len(ranked.items):
        told.append(degraded.FILLED_WITH_POPULAR)
    ids = ranker.item_ids
    if not asked.explain:
        return named(ranked.items, ranked.scores, ranker)
    because: list[list[Contribution]] = [[] for _ in ranked.items]
    if store is not None:
        codes = item_codes(store, [ids[code] for code in ranked.items.tolist()])[:-1]
        shared = np.flatnonzero(codes != NO_CODE)  # each model has a catalogue of its own
        wanted = Ranked(codes[shared], ranked.scores[shared], len(shared))
        reasons = _reasons(store, wanted, inquire(asked, session, store, known._replace(allowed=None), []), weighing)
        for place, contributions in zip(shared.tolist(), reasons, strict=True):
            because[place] = contributions
    return named(ranked.items, ranked.scores, ranker, because)


def named(
    codes: Ints, scores: Floats, model: ItemList, because: list[list[Contribution]] | None = None, guests: Sequence[str] = ()
) -> ItemRanking:
    n, ids = model.n_items, model.item_ids
    return ItemRanking([ids[code] if code < n else guests[code - n] for code in codes.tolist()], scores.tolist(), because)


def by_associations(store: AssociationStore, inquiry: Inquiry, weighing: Weighing, limit: int) -> Ranked:
    """Answer of the associations."""
    if weighing.scale is not None:
        return by_goals.recommend(
            store, inquiry.told, weighing.scale, weighing.weights, limit, inquiry.left_out, inquiry.allowed
        )  # fmt: skip
    return store.recommend(*inquiry.query[:3], weighing.weights, limit, inquiry.left_out, weighing.relation, inquiry.allowed)


def by_ranker(ranker: Ranker, inquiry: Inquiry, weighing: Weighing, limit: int) -> RankedByTrees:
    """Answer of the ranker; it is told the intent itself."""
    items, types = inquiry.query[:2]
    given = items, types, weighing.weights, limit, inquiry.left_out, weighing.p_intent, inquiry.allowed
    return ranker.rank(*given, past=inquiry.past)


class Coded(NamedTuple):
    """A question in the codes of a model, before its events are looked at; `codes` are those of the visitor's own items."""

    own: Ints  # of the session's items, then, for associations, of its categories
    named: Ints
    on_screen: int
    codes: dict[str, int]
    history: History
    guests: tuple[str, ...]
    allowed: Flags


def coded(asked: Asked, session: LiveSession, model: ItemList, known: Known, told: list[str]) -> Coded:
    """Look up what a question is about; fallbacks that were taken are added to `told`."""
    item_id = asked.item_id
    if item_id is not None and model.code(item_id) == NO_CODE:
        told.append(degraded.UNKNOWN_ITEM)
    if known.recent is not None and not session.item_ids:
        told.append(degraded.RECENT_ITEMS)
    allowed = ALL_ALLOWED if known.allowed is None else known.allowed(model)
    history = earlier(session, known.history)
    codes, guests = _own_codes(session, model, history, with_guests=isinstance(model, AssociationStore))
    if len(allowed) and any(0 <= code < model.n_items and not allowed[code] for code in codes.values()):
        told.append(degraded.ITEMS_GONE)
    on_screen = SESSIONS_LAST if item_id is None else codes.get(item_id, model.code(item_id))
    own = [codes[item] for item in session.item_ids]
    named = NONE_NAMED
    if isinstance(model, AssociationStore):
        own += [model.code(anchor_of(category)) for category in session.categories]
        if model.category_names and session.categories:
            named = model.category_codes(session.categories)
    return Coded(np.array(own, np.int64), named, on_screen, codes, history, guests, allowed)


def inquire(asked: Asked, session: LiveSession, model: ItemList, known: Known, told: list[str]) -> Inquiry:
    """Put a question into the codes of a model; fallbacks that were taken are added to `told`.

    Ages count from the session's last event, so that a replayed session is answered as the live one was. Where the session
    names no item, the items of before stand in; the item on screen is the last that is asked about.
    """
    about = coded(asked, session, model, known, told)
    events, recent = writeable(session.events), None if session.item_ids else known.recent
    is_store = isinstance(model, AssociationStore)
    given = events, about.own, about.named, len(session.item_ids), about.on_screen, is_store, asked.exclude_seen
    items, types, ages_s, said, left_out = inquired(*given)
    query = Query(items, types, ages_s, said)
    if recent is not None:
        now_us = int(events["occurred_at_us"][-1]) if len(events) else recent.at_us
        before = [model.code(item) for item in reversed(recent.item_ids)]
        query = _extended(query, before, max(now_us - recent.at_us, 0) / 1e6, first=True)
    if asked.item_id is not None:
        query = _extended(query, [about.on_screen], 0.0, first=False)
    return Inquiry(query, left_out, about.allowed, _past(events, about.codes, about.history), about.guests)


def _own_codes(
    session: LiveSession, model: ItemList, history: History, *, with_guests: bool
) -> tuple[dict[str, int], tuple[str, ...]]:  # fmt: skip
    """Codes of the visitor's own items, and those among them that are guests: the model does not know them."""
    codes = model.codes((*session.item_ids, *history.item_ids))
    if not with_guests or NO_CODE not in codes.values():
        return codes, ()
    guests = tuple([item for item, code in codes.items() if code == NO_CODE][:MOST_GUESTS])
    codes.update((item, model.n_items + k) for k, item in enumerate(guests))
    return codes, guests


def earlier(session: LiveSession, history: History | None) -> History:
    """The part of a history that came before a session."""
    if history is None:
        return NO_HISTORY
    if not len(session.events) or not len(history.at_us):
        return history
    begins_us = int(session.events["occurred_at_us"][0])
    if history.at_us[0] < begins_us:  # as of most
        return history
    return history.since(len(history.at_us) - int(history.at_us[::-1].searchsorted(begins_us)))


def _past(events: EventArray, codes: dict[str, int], history: History) -> Past:
    """A history in the codes of a model; ages count from the session's last event, or from the newest that is known."""
    if not history.item_ids:
        return NO_PAST
    now_us = int(events["occurred_at_us"][-1] if len(events) else history.at_us[0])
    items = np.array([codes[item] for item in history.item_ids], np.int64)
    return Past(items, writeable(history.types), (now_us - history.at_us) / 1e6)


def _extended(query: Query, codes: list[int], age_s: float, *, first: bool) -> Query:
    """A query with more viewed items of one age, before or after what is there."""
    n = len(codes)
    named = np.full(n if len(query.named) else 0, NO_CODE)
    more = Query(np.array(codes, np.int64), np.full(n, EventType.ITEM_VIEW, np.int8), np.full(n, age_s), named)
    a, b = (more, query) if first else (query, more)
    items, types = np.concatenate((a.items, b.items)), np.concatenate((a.types, b.types))
    return Query(items, types, np.concatenate((a.ages_s, b.ages_s)), np.concatenate((a.named, b.named)))
