"""Item ranking: from a session and a weighing of its events to items, by the associations or by the ranker.

Every list of items that Attune shows or judges comes from `rank_items`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models import degraded
from models.associations.model import AssociationStore, Contribution, Ranked
from models.events.encode import NO_CODE
from models.known import Codes, ItemCodes, Known, RecentItems
from models.live_session import LiveSession, cart_and_bought, last_item
from models.model_set import ModelSet
from models.ranker.model import Ranker
from models.schema import EventType
from models.weight_profile import WeightProfile

Floats = npt.NDArray[np.float64]


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
    """What a model is asked about, oldest first, shape (n_events,) each: item codes, event types, seconds ago."""

    items: Codes
    types: npt.NDArray[np.int8]
    ages_s: Floats


class Weighing(NamedTuple):
    """What a profile makes of the session's intent: a weight per event type, and how much counts by where it leads.

    Shapes (n_event_types,), (2,) as `AssociationStore.recommend` has it, and (n_intents,): the ranker is told the intent itself.
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


def weigh(profile: WeightProfile, p_intent: Floats) -> Weighing:
    """Weighing of a session: the profile under its intent, shape (n_intents,)."""
    return Weighing(profile.scaled(p_intent), profile.related(p_intent), p_intent)


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
        return _by_ranker(asked, session, ranker, store, known, weighing, told)
    return NO_ITEMS if store is None else _by_associations(asked, session, store, known, weighing, told)


def _by_associations(
    asked: Asked, session: LiveSession, store: AssociationStore, known: Known, weighing: Weighing, told: list[str]
) -> ItemRanking:
    query = _query(asked, session, store, known.recent, told)
    shut = _left_out(asked, session, store, known)
    ranked = store.recommend(*query, weighing.weights, asked.limit, shut, weighing.relation)
    if ranked.n_associated < len(ranked.items):
        told.append(degraded.FILLED_WITH_POPULAR)
    because = store.explain(ranked, *query, *weighing[:2]) if asked.explain else None
    return _named(ranked.items, ranked.scores, store.item_ids, because)


def _by_ranker(
    asked: Asked, session: LiveSession, ranker: Ranker, store: AssociationStore | None, known: Known, weighing: Weighing,
    told: list[str],
) -> ItemRanking:  # fmt: skip
    """What the ranker answers; where the associations tie an item to the session, they say why."""
    query = _query(asked, session, ranker, known.recent, told)
    shut = _left_out(asked, session, ranker, known)
    ranked = ranker.rank(query.items, query.types, weighing.weights, asked.limit, shut, weighing.p_intent)
    if ranked.n_ranked < len(ranked.items):
        told.append(degraded.FILLED_WITH_POPULAR)
    ids = ranker.sources.wide.item_ids
    if not asked.explain:
        return _named(ranked.items, ranked.scores, ids)
    because: list[list[Contribution]] = [[] for _ in ranked.items]
    if store is not None:
        codes = np.array([store.code(ids[code]) for code in ranked.items.tolist()], dtype=np.int64)
        shared = np.flatnonzero(codes != NO_CODE)  # each model has a catalogue of its own
        wanted = Ranked(codes[shared], ranked.scores[shared], len(shared))
        reasons = store.explain(wanted, *query_of(session, store, asked.item_id, known.recent), *weighing[:2])
        for place, contributions in zip(shared.tolist(), reasons, strict=True):
            because[place] = contributions
    return _named(ranked.items, ranked.scores, ids, because)


def _named(
    codes: Codes, scores: Floats, ids: Sequence[str], because: list[list[Contribution]] | None = None
) -> ItemRanking:  # fmt: skip
    return ItemRanking([ids[code] for code in codes.tolist()], scores.tolist(), because)


def _query(asked: Asked, session: LiveSession, model: ItemCodes, recent: RecentItems | None, told: list[str]) -> Query:
    if asked.item_id is not None and model.code(asked.item_id) == NO_CODE:
        told.append(degraded.UNKNOWN_ITEM)
    if recent is not None and not session.item_ids:
        told.append(degraded.RECENT_ITEMS)
    return query_of(session, model, asked.item_id, recent)


def query_of(session: LiveSession, model: ItemCodes, item_id: str | None, recent: RecentItems | None) -> Query:
    """Put together what is asked: items of before where the session names none, the session, the item on screen.

    Ages count from the session's last event, so that a replayed session is answered as the live one was.
    """
    events = session.events
    at_us = events["occurred_at_us"]
    codes = np.array([*map(model.code, session.item_ids), NO_CODE])[events["item"]]  # an event without item takes the last
    query = Query(codes, events["event_type"], (at_us[-1:] - at_us) / 1e6 if len(events) else np.zeros(0))
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


def _left_out(asked: Asked, session: LiveSession, model: ItemCodes, known: Known) -> Codes:
    codes = items_left_out(session, model, asked.item_id, asked.exclude_seen)
    sold_out = () if known.sold_out is None else known.sold_out(model)
    return np.concatenate((codes, sold_out)) if len(sold_out) else codes


def items_left_out(session: LiveSession, model: ItemCodes, item_id: str | None, seen: bool = False) -> Codes:
    """Codes that must not be recommended: in the cart, bought, on screen, and if told so all of the session."""
    if seen:
        ids = session.item_ids if item_id is None else [*session.item_ids, item_id]
    else:
        cart, bought = cart_and_bought(session)
        on_screen = item_id if item_id is not None else last_item(session)
        ids = [session.item_ids[item] for item in (*cart, *bought)]
        if on_screen is not None:
            ids.append(on_screen)
    return np.array([code for code in map(model.code, ids) if code != NO_CODE], dtype=np.int64)
