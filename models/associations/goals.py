"""Associations under goal weights: the answer, its reasons, and the evidence behind both (`models.goal_weights`)."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from models.arrays import Bytes, Flags, Floats, Ints, Ints32, writeable
from models.associations import goal_query, indirect
from models.associations.arguments import checked_limit, codes_of, flags_of
from models.associations.goal_query import MOST_GUESTS, OWN_FROM, POPULAR_AT, Evidence, Past
from models.associations.model import AssociationStore, Contribution, Ranked
from models.associations.query import N_BECAUSE
from models.goal_weights import CLASSES, N_DECAYS, WHEN, Scale
from models.schema import EVENT_TYPES, N_EVENT_TYPES

VIA: Final = ("session", "history", "category")
NONE_NAMED: Final[Ints] = np.zeros(0, np.int64)
NO_PAST: Final = Past(np.zeros(0, np.int64), np.zeros(0, np.int8), np.zeros(0))
_NO_WEIGHTS: Final = np.zeros(N_EVENT_TYPES)


class Told(NamedTuple):
    """Deeds of a visitor: the session, oldest event first, shape (n_events,) each, and before it; how many items are guests.

    `named` are codes of the categories that events name themselves, -1 for none; empty where none does.
    """

    items: Ints
    types: Bytes
    ages_s: Floats
    past: Past = NO_PAST
    n_guests: int = 0
    named: Ints = NONE_NAMED


def recommend(
    store: AssociationStore, told: Told, scale: Scale, weights: Floats, limit: int, exclude: Ints | None = None,
    allowed: Flags | None = None,
) -> Ranked:  # fmt: skip
    """Rank what anything speaks for, filled up with popular items.

    Parameters
    ----------
    weights
        Of event types, shape (n_event_types,): by which popular items are ranked.
    exclude, allowed
        As `AssociationStore.recommend` has them; a guest is allowed where all are.
    """
    session = store.session_of(told.items, told.types, told.ages_s, weights, None)
    items, scores, n = goal_query.recommend_plain(
        tuple(store.index), tuple(store.overlay), tuple(store.categories), tuple(session), writeable(told.named, np.int64),
        tuple(told.past), told.n_guests, tuple(scale), codes_of(exclude), flags_of(allowed), checked_limit(limit),
        tuple(store.scratch()),
    )  # fmt: skip
    return Ranked(items, scores, n)


def evidence(store: AssociationStore, told: Told, exclude: Ints | None = None) -> Evidence:
    """Evidence for each item, apart by what it is multiplied by."""
    session = store.session_of(told.items, told.types, told.ages_s, _NO_WEIGHTS, None)
    given = store.index, store.overlay, store.categories, session, writeable(told.named, np.int64), told.past, told.n_guests
    return Evidence(*goal_query.evidence(*given, codes_of(exclude), store.places()))


def weights_of(scale: Scale) -> Floats:
    """By what each kind of evidence is multiplied, shape (n_kinds,)."""
    return np.concatenate((scale.pairs.ravel(), scale.own.ravel(), scale.popular))


def explain(
    store: AssociationStore, ranked: Ranked, told: Told, scale: Scale, exclude: Ints | None = None, guests: Sequence[str] = ()
) -> list[list[Contribution]]:
    """The up to three largest contributions to each ranked item, largest first; none for one that only is popular."""
    found = evidence(store, told, exclude)
    place = np.full(store.n_items + len(guests), -1)
    place[ranked.items[: ranked.n_associated]] = np.arange(ranked.n_associated)
    rows = np.flatnonzero(place[found.items[found.place]] >= 0)
    row, kind, anchor = place[found.items[found.place[rows]]], _reason(found.kind[rows]), found.anchor[rows]
    width = store.n_items + MOST_GUESTS + len(store.categories.span) + 1
    keys, which = np.unique((row * width + anchor) * (POPULAR_AT + 1) + kind, return_inverse=True)
    sums = np.bincount(which, weights=found.amount[rows] * weights_of(scale)[found.kind[rows]])
    rest, kinds = np.divmod(keys, POPULAR_AT + 1)
    rows_of, anchors = np.divmod(rest, width)
    total = np.bincount(rows_of, weights=sums, minlength=ranked.n_associated)
    because: list[list[Contribution]] = [[] for _ in ranked.items]
    for k in np.lexsort((-sums, rows_of)).tolist():
        told_already = because[int(rows_of[k])]
        if len(told_already) < N_BECAUSE and sums[k] > 0.0:
            share = float(sums[k] / total[rows_of[k]])
            told_already.append(_contribution(store, (int(anchors[k]), int(kinds[k])), told, guests, share))
    return because


def _reason(kind: Ints32) -> Ints:
    """Kinds of evidence as reasons: the decays of an own event are one."""
    is_own = (kind >= OWN_FROM) & (kind < POPULAR_AT)
    return np.where(is_own, kind - (kind - OWN_FROM) % N_DECAYS, kind).astype(np.int64)


def _contribution(
    store: AssociationStore, key: tuple[int, int], told: Told, guests: Sequence[str], share: float
) -> Contribution:  # fmt: skip
    anchor, kind = key
    category = anchor - store.n_items - MOST_GUESTS  # of an event without an item
    if category >= 0:
        item_id = store.category_names[category]
    else:
        item_id = indirect.shown(store.item_ids[anchor]) if anchor < store.n_items else guests[anchor - store.n_items]
    if kind < OWN_FROM:
        (kin, pair) = divmod(kind, N_EVENT_TYPES * N_EVENT_TYPES)
        source, target = divmod(pair, N_EVENT_TYPES)
        via, relation = VIA[0], CLASSES[kin]
    elif kind < POPULAR_AT:
        source, when = divmod((kind - OWN_FROM) // N_DECAYS, len(WHEN))
        target, via, relation = source, VIA[when], CLASSES[0]
    else:
        source = int(told.types[np.flatnonzero(told.named == category if category >= 0 else told.items == anchor)[-1]])
        target, via, relation = source, VIA[2], CLASSES[1]
    return Contribution(
        item_id=item_id, source_event=EVENT_TYPES[source], target_event=EVENT_TYPES[target], share=share, via=via,
        relation=relation,
    )  # fmt: skip
