"""Associations under goal weights: the answer, its reasons, and the evidence behind both (`models.goal_weights`)."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from models.arrays import Bytes, Flags, Floats, Ints
from models.associations import goal_query
from models.associations.goal_query import MOST_GUESTS, OWN_FROM, POPULAR_AT, Evidence, Past
from models.associations.model import AssociationStore, Contribution, Ranked, _codes, _flags, _limit
from models.associations.query import N_BECAUSE
from models.goal_weights import CLASSES, N_DECAYS, WHEN, Scale
from models.schema import EVENT_TYPES, N_EVENT_TYPES

VIA: Final = ("session", "history", "category")
NO_PAST: Final = Past(np.zeros(0, np.int64), np.zeros(0, np.int8), np.zeros(0))
_NO_WEIGHTS: Final = np.zeros(N_EVENT_TYPES)


class Told(NamedTuple):
    """Deeds of a visitor: the session, oldest event first, shape (n_events,) each, and before it; how many items are guests."""

    items: Ints
    types: Bytes
    ages_s: Floats
    past: Past = NO_PAST
    n_guests: int = 0


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
    session = store._session(told.items, told.types, told.ages_s, weights, None)
    given = store.index, store.overlay, store.categories, session, told.past, scale, told.n_guests
    items, scores, n = goal_query.recommend(*given, _codes(exclude), _flags(allowed), _limit(limit), store._scratch())
    return Ranked(items, scores, n)


def evidence(store: AssociationStore, told: Told, exclude: Ints | None = None) -> Evidence:
    """Evidence for each item, apart by what it is multiplied by."""
    place_of: Ints | None = getattr(store._local, "place_of", None)
    if place_of is None or len(place_of) < store.n_items + MOST_GUESTS:
        place_of = store._local.place_of = np.full(store.n_items + store.n_items // 4 + 2 * MOST_GUESTS, -1)
    session = store._session(told.items, told.types, told.ages_s, _NO_WEIGHTS, None)
    given = store.index, store.overlay, store.categories, session, told.past, told.n_guests
    return Evidence(*goal_query.evidence(*given, _codes(exclude), place_of))


def weights_of(scale: Scale) -> Floats:
    """By what each kind of evidence is multiplied, shape (n_kinds,)."""
    return np.concatenate((scale.pairs.ravel(), scale.own.ravel(), scale.popular))


def explain(
    store: AssociationStore, ranked: Ranked, told: Told, scale: Scale, exclude: Ints | None = None, guests: Sequence[str] = ()
) -> list[list[Contribution]]:
    """The up to three largest contributions to each ranked item, largest first; none for one that only is popular."""
    found = evidence(store, told, exclude)
    amount = found.amount * weights_of(scale)[found.kind]
    order = np.argsort(found.items[found.place], kind="stable")
    codes = found.items[found.place][order]
    because = []
    for code in ranked.items.tolist():
        rows = order[np.searchsorted(codes, code) : np.searchsorted(codes, code, side="right")]
        total = float(amount[rows].sum())
        sums: dict[tuple[int, int], float] = {}
        for row in rows.tolist():
            key = int(found.anchor[row]), _reason(int(found.kind[row]))
            sums[key] = sums.get(key, 0.0) + float(amount[row])
        best = sorted(sums.items(), key=lambda one: (-one[1], one[0]))[:N_BECAUSE]
        because.append([_contribution(store, key, told, guests, share / total) for key, share in best if share > 0.0])
    n = ranked.n_associated
    return because[:n] + [[] for _ in because[n:]]


def _reason(kind: int) -> int:
    """Kinds of evidence that are one reason: the decays of an own event."""
    return kind if kind < OWN_FROM or kind >= POPULAR_AT else OWN_FROM + (kind - OWN_FROM) // N_DECAYS * N_DECAYS


def _contribution(
    store: AssociationStore, key: tuple[int, int], told: Told, guests: Sequence[str], share: float
) -> Contribution:  # fmt: skip
    anchor, kind = key
    item_id = store.item_ids[anchor] if anchor < store.n_items else guests[anchor - store.n_items]
    if kind < OWN_FROM:
        (kin, pair) = divmod(kind, N_EVENT_TYPES * N_EVENT_TYPES)
        source, target = divmod(pair, N_EVENT_TYPES)
        via, relation = VIA[0], CLASSES[kin]
    elif kind < POPULAR_AT:
        source, when = divmod((kind - OWN_FROM) // N_DECAYS, len(WHEN))
        target, via, relation = source, VIA[when], CLASSES[0]
    else:
        source = int(told.types[np.flatnonzero(told.items == anchor)[-1]])
        target, via, relation = source, VIA[2], CLASSES[1]
    return Contribution(
        item_id=item_id, source_event=EVENT_TYPES[source], target_event=EVENT_TYPES[target], share=share, via=via,
        relation=relation,
    )  # fmt: skip
