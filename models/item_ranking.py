"""Item ranking: from a session and a weighing of its events to items, by the associations or by the ranker.

Every list of items that Attune shows or judges comes from here. A request goes through `rank_items`; whoever asks the same
again and again under other weights (`models.replay`) puts the question once, with `inquire`, and then calls what `rank_items`
calls, `weigh` and `by_associations` or `by_ranker`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models import degraded
from models.arrays import ALL_ALLOWED, Flags, Floats, Ints
from models.associations.model import AssociationStore, Contribution, Ranked
from models.events.encode import NO_CODE, EventArray
from models.known import ItemCodes, ItemList, Known, RecentItems, item_codes
from models.live_session import LiveSession, cart_and_bought, last_item
from models.model_set import ModelSet
from models.ranker.model import Ranked as RankedByTrees
from models.ranker.model import Ranker
from models.schema import EventType
from models.weight_profile import WeightProfile
from models.weights.actions import ActionWeights
from models.weights.contextual import in_context


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
    """

    item_id: str | None = None
    limit: int = 20
    explain: bool = False
    exclude_seen: bool = False
    ranker: bool = False
    interleave: bool = False


class Query(NamedTuple):
    """Query to a model, oldest event first, shape (n_events,) each: item codes, event types, seconds ago."""

    items: Ints
    types: npt.NDArray[np.int8]
    ages_s: Floats


class Inquiry(NamedTuple):
    """A question as one model is asked it, whatever the weights: what about, which codes must not come back, and which may."""

    query: Query
    left_out: Ints
    allowed: Flags


class Weighing(NamedTuple):
    """Weighing of a session by a profile: a weight per event type, and how much counts by where it leads.

    Shapes (n_event_types,), (2,) as `AssociationStore.recommend` has it, and (n_intents,), which the ranker is told.
    """

    weights: Floats
    relation: Floats
    p_intent: Floats


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
    profile: WeightProfile, actions: ActionWeights | None, events: EventArray, p_intent: Floats, now_us: int
) -> Weighing:  # fmt: skip
    """Weighing of a session: a profile, moved by the action weights of the visitor's context, under the session's intent.

    Parameters
    ----------
    events
        The session so far, shape (n_events,); its newest event is enough.
    p_intent
        Shape (n_intents,).
    now_us
        Tells the hour, in UTC, where the session is empty.
    """
    moved = in_context(profile, actions, events, p_intent, now_us)
    return Weighing(moved.scaled(p_intent), moved.related(p_intent), p_intent)


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
    if ranker is not None:
        return _of_ranker(asked, session, ranker, store, known, weighing, told)
    return NO_ITEMS if store is None else _of_associations(asked, session, store, known, weighing, told)


def _of_associations(
    asked: Asked, session: LiveSession, store: AssociationStore, known: Known, weighing: Weighing, told: list[str]
) -> ItemRanking:
    inquiry = inquire(asked, session, store, known, told)
    ranked = by_associations(store, inquiry, weighing, asked.limit)
    if ranked.n_associated < len(ranked.items):
        told.append(degraded.FILLED_WITH_POPULAR)
    because = store.explain(ranked, *inquiry.query, *weighing[:2]) if asked.explain else None
    return _named(ranked.items, ranked.scores, store.item_ids, because)


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
        return _named(ranked.items, ranked.scores, ids)
    because: list[list[Contribution]] = [[] for _ in ranked.items]
    if store is not None:
        codes = item_codes(store, [ids[code] for code in ranked.items.tolist()])[:-1]
        shared = np.flatnonzero(codes != NO_CODE)  # each model has a catalogue of its own
        wanted = Ranked(codes[shared], ranked.scores[shared], len(shared))
        reasons = store.explain(wanted, *query_of(session, store, asked.item_id, known.recent), *weighing[:2])
        for place, contributions in zip(shared.tolist(), reasons, strict=True):
            because[place] = contributions
    return _named(ranked.items, ranked.scores, ids, because)


def _named(
    codes: Ints, scores: Floats, ids: Sequence[str], because: list[list[Contribution]] | None = None
) -> ItemRanking:  # fmt: skip
    return ItemRanking([ids[code] for code in codes.tolist()], scores.tolist(), because)


def by_associations(store: AssociationStore, inquiry: Inquiry, weighing: Weighing, limit: int) -> Ranked:
    """Answer of the associations."""
    return store.recommend(*inquiry.query, weighing.weights, limit, inquiry.left_out, weighing.relation, inquiry.allowed)


def by_ranker(ranker: Ranker, inquiry: Inquiry, weighing: Weighing, limit: int) -> RankedByTrees:
    """Answer of the ranker; it is told the intent itself."""
    items, types, _ = inquiry.query
    return ranker.rank(items, types, weighing.weights, limit, inquiry.left_out, weighing.p_intent, inquiry.allowed)


def inquire(asked: Asked, session: LiveSession, model: ItemList, known: Known, told: list[str]) -> Inquiry:
    """Put a question into the codes of a model; fallbacks that were taken are added to `told`."""
    if asked.item_id is not None and model.code(asked.item_id) == NO_CODE:
        told.append(degraded.UNKNOWN_ITEM)
    if known.recent is not None and not session.item_ids:
        told.append(degraded.RECENT_ITEMS)
    left_out = items_left_out(session, model, asked.item_id, asked.exclude_seen)
    allowed = ALL_ALLOWED if known.allowed is None else known.allowed(model)
    return Inquiry(query_of(session, model, asked.item_id, known.recent), left_out, allowed)


def query_of(session: LiveSession, model: ItemCodes, item_id: str | None, recent: RecentItems | None) -> Query:
    """Put together what is asked: items of before where the session names none, the session, the item on screen.

    Ages count from the session's last event, so that a replayed session is answered as the live one was.
    """
    events = session.events
    at_us = events["occurred_at_us"]
    codes = item_codes(model, session.item_ids)[events["item"]]
    query = Query(codes, np.ascontiguousarray(events["event_type"]), (at_us[-1:] - at_us) / 1e6 if len(events) else np.zeros(0))
    if recent is not None and not session.item_ids:
        now_us = int(at_us[-1]) if len(events) else recent.at_us
        earlier = [model.code(i) for i in reversed(recent.item_ids)]
        query = _extended(query, earlier, max(now_us - recent.at_us, 0) / 1e6, first=True)
    if item_id is not None:
        query = _extended(query, [model.code(item_id)], 0.0, first=False)
    return query


def _extended(query: Query, codes: list[int], age_s: float, *, first: bool) -> Query:
    """A query with more viewed items of one age, before or after what is there."""
    n = len(codes)
    more = Query(np.array(codes, np.int64), np.full(n, EventType.ITEM_VIEW, np.int8), np.full(n, age_s))
    a, b = (more, query) if first else (query, more)
    return Query(np.concatenate((a.items, b.items)), np.concatenate((a.types, b.types)), np.concatenate((a.ages_s, b.ages_s)))


def items_left_out(session: LiveSession, model: ItemCodes, item_id: str | None, seen: bool = False) -> Ints:
    """Codes that must not be recommended: in the cart, bought, on screen, and if told so all of the session."""
    if seen:
        ids = session.item_ids if item_id is None else [*session.item_ids, item_id]
    else:
        cart, bought = cart_and_bought(session.events)
        on_screen = item_id if item_id is not None else last_item(session)
        ids = [session.item_ids[item] for item in (*cart, *bought)]
        if on_screen is not None:
            ids.append(on_screen)
    return np.array([code for code in map(model.code, ids) if code != NO_CODE], dtype=np.int64)
