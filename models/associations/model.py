"""Typed item associations: which items go with the ones in this session, kept apart by what visitors did on each.

A pair is (anchor item with event type a, associated item with event type b), seen close together in one session. Views that
lead to views and carts that lead to purchases stay separate entries; the weights of a request choose among them. Mixing all
types into one matrix has been reported to hurt purchases.

strength(i, a -> j, b) = sum over co-occurrences of step_decay(d) * 1/(1 + gap/gap_scale) * 2^(-age/half_life)
                         / (n(i, a)^anchor_power * n(j, b)^popularity_power)

with d the number of changes of item between the two, n(.) the sessions with that item and type, co-occurrences against the
arrow counted `backward` times, an item met again `self_factor` times, all of a pair's in one session but the best counted
`repeats` times, and entries gated by support and by the log-likelihood ratio (Dunning 1993) of "both in a session".

score(j) = sum over the session's items i, and their entries to j, of
           recency(i) * w[a] * w[b] * strength * (1 if the visitor did a on i, else `unmatched`) * relation(i, j)

with relation 1, or what the request says of items of the same and of another category (`WeightProfile.related`): a visitor who
compares wants what could stand in for i, one who buys what goes with it.

What has happened since the build goes on top without another build: see `models.associations.live`, for which a store
keeps a `Ledger` of the sums behind its strengths.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Final, NamedTuple, NotRequired, TypedDict

import numpy as np
import numpy.typing as npt

from models.arrays import Flags, Floats, Ints, Reals, frozen, writeable
from models.artifact import Parts
from models.associations import build as steps
from models.associations import indirect, memory, query
from models.associations.arguments import checked_limit, codes_of, flags_of, relation_of, weights_of
from models.associations.arrays import N_TYPES, PAIR, TYPE_BITS, TYPE_MASK, Totals
from models.associations.build import AssociationParams as AssociationParams
from models.associations.goal_query import Categories, popular_in
from models.associations.shards import Spread
from models.bound import Bound, bind
from models.events.encode import NO_CODE, EventArray
from models.schema import EVENT_TYPES, N_EVENT_TYPES
from models.shops import ByShop
from models.weight_profile import base_weights

Arrays = dict[str, npt.NDArray[np.generic]]
_FIRST_BITS: Final = 4  # of files that do not say how types are packed


class Ranked(NamedTuple):
    """An answer, best first.

    Attributes
    ----------
    items
        Item codes, shape (n,), n <= limit.
    scores
        Positive, falling, shape (n,); unit of the weights, comparable within one answer only.
    n_associated
        The first so many come from associations, the rest are popular items (0: the session told nothing).
    """

    items: Ints
    scores: Floats
    n_associated: int


class Contribution(TypedDict):
    """Why an item is there: one association, own event or popular category, and its share of the item's score, in (0, 1].

    `via` and `relation` are told where goal weights answer (`models.associations.goals`).
    """

    item_id: str
    source_event: str
    target_event: str
    share: float
    via: NotRequired[str]
    relation: NotRequired[str]


class Ledger(NamedTuple):
    """The counts behind the strengths, from which rows can be made again; read-only, may be memory maps."""

    support: npt.NDArray[np.int32]  # (n_entries,), sessions with the pair
    n_sessions_with: npt.NDArray[np.int32]  # (n_items, N_TYPES)
    popularity: npt.NDArray[np.float32]  # (n_items, N_TYPES), the same, decayed by age at `built_to_us`
    n_sessions: npt.NDArray[np.int64]  # (1,), sessions with any item


NO_CATEGORIES: Final = frozen(Categories(np.zeros((0, 2), np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32)))


def popularity_of(by_type: Reals) -> Floats:
    """Popularity of items within their categories: of all event types together under their base weights, shape (n_items,).

    Parameters
    ----------
    by_type
        Shape (n_items, N_TYPES).
    """
    weights = base_weights()
    weights[list(indirect.SOURCE_ONLY)] = 0.0
    return np.asarray(by_type[:, :N_EVENT_TYPES].astype(np.float64) @ weights)


@dataclass(frozen=True, eq=False)
class AssociationStore(ByShop):
    """The finished pairs; safe to share between threads.

    Attributes
    ----------
    index
        Rows and popular lists, read-only.
    item_ids
        Text of each item code.
    built_to_us
        Instant of the newest event in it, microseconds; 0 for an empty store.
    ledger
        None for a store that cannot be brought up to date.
    built_to_seq, as_of_us
        Which events of the log are in it: up to this number, and to this instant if one was given.
    categories
        Popular items of each category, as of the build.
    category_names
        Text of each category code; empty where nobody told.
    """

    index: query.Index
    item_ids: Sequence[str]
    params: AssociationParams
    built_to_us: int
    ledger: Ledger | None = None
    built_to_seq: int = 0
    as_of_us: int | None = None
    categories: Categories = NO_CATEGORIES
    category_names: Sequence[str] = ()
    overlay: query.Overlay = field(default_factory=query.no_overlay, repr=False)
    _codes: dict[str, int] = field(init=False, repr=False)
    _category_codes: dict[str, int] = field(init=False, repr=False)
    _local: threading.local = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_codes", {item_id: code for code, item_id in enumerate(self.item_ids)})
        object.__setattr__(self, "_category_codes", {name: code for code, name in enumerate(self.category_names)})
        object.__setattr__(self, "_local", threading.local())
        if len(self._codes) != len(self.item_ids):
            raise ValueError(f"item ids must differ, got {len(self.item_ids)} with {len(self._codes)} different ones")

    @property
    def n_items(self) -> int:
        """Size of the catalogue that the log has shown."""
        return len(self.item_ids)

    def untouched(self) -> list[str]:
        """Event types that touch nothing in this shop: no association leads from or to what was done so."""
        pairs = np.flatnonzero(np.bincount(self.index.types, minlength=N_TYPES * N_TYPES))
        touched = {*(pairs >> TYPE_BITS).tolist(), *(pairs & TYPE_MASK).tolist()}
        return [name for kind, name in enumerate(EVENT_TYPES) if kind not in touched]

    def untouched_by_shop(self) -> dict[str, list[str]]:
        """Untouched types of each partner that is a shop of its own, by its name."""
        return {name: shop.untouched() for name, shop in (self.shops or {}).items()}

    def code(self, item_id: str | None) -> int:
        """Code of an item, `NO_CODE` if unknown."""
        return NO_CODE if item_id is None else self._codes.get(item_id, NO_CODE)

    def codes(self, item_ids: Iterable[str]) -> dict[str, int]:
        """Codes of some items by their ids, in order of first appearance, `NO_CODE` for the unknown."""
        known = self._codes.get
        return {item_id: known(item_id, NO_CODE) for item_id in item_ids}

    def category_codes(self, names: Sequence[str]) -> Ints:
        """Codes of some categories, `NO_CODE` for what the build did not know, and one more that stands for none."""
        return np.array([*(self._category_codes.get(name, NO_CODE) for name in names), NO_CODE], np.int64)

    def recommend(
        self, item_codes: Ints, event_types: npt.NDArray[np.int8], ages_s: Floats, weights: Floats, limit: int,
        exclude: Ints | None = None, relation: Floats | None = None, allowed: Flags | None = None,
    ) -> Ranked:  # fmt: skip
        """Rank what goes with a session, filled up with popular items.

        Parameters
        ----------
        item_codes, event_types, ages_s
            The session's events, oldest first, shape (n_events,): codes of this store, codes of `EventType`, seconds ago.
            Unknown items (`NO_CODE`) and types are passed over, a negative or NaN age counts as 0.
        weights
            Weight of each event type, shape (n_event_types,), >= 0.
        limit
            At most so many items, >= 0.
        exclude
            Codes that must not come back, such as what lies in the cart.
        relation
            How much an association counts that leads to another item of the same category, and to another category,
            shape (2,), >= 0; both 1 if None, and where an item has no category.
        allowed
            Which items may come back, by code, shape (n_items,); an item beyond its end may not. All may if None or empty.

        Raises
        ------
        ValueError
            If shapes disagree, a weight is negative or not finite, or the limit is negative.
        """
        session = self.session_of(item_codes, event_types, ages_s, weights, relation)
        items, scores, n = query.recommend_plain(
            tuple(self.index), tuple(self.overlay), tuple(session), codes_of(exclude), flags_of(allowed), checked_limit(limit),
            tuple(self.scratch()),
        )  # fmt: skip
        if n < 0:
            raise ValueError(f"weights and relations must be finite and not negative, got {weights} and {relation}")
        return Ranked(items, scores, n)

    def popular(
        self, limit: int, weights: Floats | None = None, exclude: Ints | None = None, allowed: Flags | None = None
    ) -> Ranked:
        """Most popular items, by sum over event types of weight times decayed number of sessions; base weights if none given.

        Ranks what the lists hold: the best `n_popular` of each type. Scores are relative to the first, in (0, 1].
        """
        weights = weights_of(base_weights() if weights is None else weights)
        if not query.is_sane(weights):
            raise ValueError(f"weights must be finite and not negative, got {weights}")
        taken, open_to = codes_of(exclude), flags_of(allowed)
        items, scores = query.popular(self.index, weights, taken, open_to, checked_limit(limit), self.scratch())
        return Ranked(items, scores / scores[0] if len(scores) else scores, 0)

    def explain(
        self, ranked: Ranked, item_codes: Ints, event_types: npt.NDArray[np.int8], ages_s: Floats, weights: Floats,
        relation: Floats | None = None,
    ) -> list[list[Contribution]]:  # fmt: skip
        """The up to three largest contributions to each ranked item, largest first; none for a popular one.

        Arguments as in `recommend`. An item's shares sum to at most 1.
        """
        session = self.session_of(item_codes, event_types, ages_s, weights, relation)
        found = query.explain(self.index, self.overlay, session, ranked.items[: ranked.n_associated], self.scratch())
        rows = zip(*(array.tolist() for array in found), strict=True)
        because = [[self._contribution(*c) for c in zip(*row, strict=True) if c[0] != NO_CODE] for row in rows]
        return because + [[] for _ in ranked.items[ranked.n_associated :]]

    def _contribution(self, anchor: int, types: int, share: float) -> Contribution:
        source, target = EVENT_TYPES[types >> TYPE_BITS], EVENT_TYPES[types & TYPE_MASK]
        return Contribution(
            item_id=indirect.shown(self.item_ids[anchor]), source_event=source, target_event=target, share=share
        )

    def session_of(
        self, items: Ints, types: npt.NDArray[np.int8], ages_s: Floats, weights: Floats, relation: Floats | None
    ) -> query.Session:
        """A session as the compiled loops take it, checked.

        Raises
        ------
        ValueError
            If a shape is another one than `recommend` says.
        """
        if not items.shape == types.shape == ages_s.shape or items.ndim != 1:
            raise ValueError(
                f"item_codes, event_types and ages_s must be as long, got {items.shape, types.shape, ages_s.shape}"
            )
        codes, kinds, ages = writeable(items, np.int64), writeable(types, np.int8), writeable(ages_s, np.float64)
        p, related = self.params, relation_of(relation)
        return query.Session(
            codes, kinds, ages, weights_of(weights), p.max_anchors, p.rank_decay, p.age_scale_s, p.unmatched, related
        )

    @cached_property
    def bound_arrays(self) -> Bound:
        """Arrays of index, overlay and categories, then numbers of overlay and query, as `models.one_pass` reads them."""
        p, overlay = self.params, self.overlay
        numbers = (overlay.index_factor, overlay.overlay_factor, p.max_anchors, p.rank_decay, p.age_scale_s, p.unmatched)
        return bind(*self.index, *overlay[:-2], *self.categories, np.array(numbers, np.float64))

    def scratch(self) -> query.Scratch:
        """Working memory of this thread, with room for all items and guests; it grows with views of a log that grows."""
        return memory.scratch_of(self._local, self.n_items)[0]

    def bound_scratch(self) -> Bound:
        """`scratch`, as `models.one_pass` reads it."""
        return memory.scratch_of(self._local, self.n_items)[1]

    def places(self) -> Ints:
        """`models.associations.memory.places_of` of this thread."""
        return memory.places_of(self._local, self.n_items)


def build(
    events: EventArray, starts: npt.NDArray[np.bool_], item_ids: npt.NDArray[np.object_],
    params: AssociationParams | None = None, categories: Sequence[str] = (), spread: Spread | None = None,
) -> AssociationStore:  # fmt: skip
    """Count, gate and normalise the typed pairs of a log.

    Parameters
    ----------
    events
        Sorted by session, then time, shape (n_events,). Events without an item are passed over.
    starts
        True at the first event of each session, shape (n_events,).
    item_ids
        Text of each item code, shape (n_items,), different from each other.
    categories
        Text of each category code.
    spread
        Where parts of a long log are counted; None: here, in one pass, which takes less in all.

    Raises
    ------
    ValueError
        If the shapes disagree, or an item code has no text.
    """
    params = params or AssociationParams()
    if events.shape != starts.shape:
        raise ValueError(f"starts must have one value per event, got {starts.shape} for {events.shape}")
    if len(events) and events["item"].max() >= len(item_ids):
        raise ValueError(f"item code {events['item'].max()} has no text among {len(item_ids)}")
    newest = int(events["occurred_at_us"].max()) if len(events) else 0
    log, age_rate = steps.log_of(events, starts, newest), np.log(2) / params.half_life_s
    found, rows = steps.counted(log, len(item_ids), steps.rules_of(params, age_rate), spread)
    n_with, decayed, category = found.n_sessions_with, found.popularity, found.category
    totals = Totals(n_with, steps.damping(n_with, params), found.n_sessions)
    offsets, (target, types, strength, support) = steps.joined(rows(totals))
    popular = steps.popular_lists(decayed, params.n_popular)
    index = query.Index(offsets, target, types, strength, *popular, category)
    ledger, ids = Ledger(support, n_with, decayed, np.array([totals.n_sessions])), [str(item_id) for item_id in item_ids]
    known, names = frozen(popular_in(category, popularity_of(decayed))), tuple(categories)
    return AssociationStore(frozen(index), ids, params, newest, frozen(ledger), categories=known, category_names=names)


def to_parts(store: AssociationStore) -> Parts:
    """The store as a model file holds it; ids as UTF-8 bytes and offsets, which can be mapped and stay small."""
    ids = {**_written("item_id", store.item_ids), **_written("category_name", store.category_names)}
    meta = {
        "params": asdict(store.params),
        "event_types": list(EVENT_TYPES),
        "type_bits": TYPE_BITS,
        "built_to_us": store.built_to_us,
        "built_to_seq": store.built_to_seq,
        "as_of_us": store.as_of_us,
    }
    return Parts(meta, {**store.index._asdict(), **(store.ledger._asdict() if store.ledger else {}), **ids})


def _written(name: str, texts: Sequence[str]) -> Arrays:
    coded = [text.encode("utf-8", "surrogatepass") for text in texts]
    ends = np.cumsum([0, *map(len, coded)], dtype=np.int64)
    return {f"{name}_bytes": np.frombuffer(b"".join(coded), np.uint8), f"{name}_offsets": ends}


def _texts(name: str, arrays: Arrays) -> list[str]:
    """Texts of a model file; none where it has no such ones."""
    if f"{name}_bytes" not in arrays:
        return []
    blob, ends = bytes(arrays[f"{name}_bytes"]), arrays[f"{name}_offsets"].tolist()
    return [blob[a:b].decode("utf-8", "surrogatepass") for a, b in pairwise(ends)]


def _packed_anew(arrays: Mapping[str, Any], bits: int) -> Arrays:
    """What a file of a schema with fewer event types holds, as this program packs it; nothing where it does already."""
    if bits == TYPE_BITS:
        return {}
    more = N_TYPES - (1 << bits)
    source, target = arrays["types"].astype(PAIR) >> bits, arrays["types"] & ((1 << bits) - 1)
    by_item = {name: np.pad(arrays[name], ((0, 0), (0, more))) for name in ("n_sessions_with", "popularity") if name in arrays}
    return {
        "types": (source << TYPE_BITS | target).astype(PAIR),
        "popular_item": np.pad(arrays["popular_item"], ((0, more), (0, 0)), constant_values=NO_CODE),
        "popular_count": np.pad(arrays["popular_count"], ((0, more), (0, 0))),
        **by_item,
    }


def from_parts(parts: Parts) -> AssociationStore:
    """The store of a model file.

    Raises
    ------
    ValueError
        If the file's event types are not the first ones of the schema, in order.
    """
    known = list(parts.meta["event_types"])
    if known != list(EVENT_TYPES[: len(known)]):
        raise ValueError(f"associations were made for the event types {known}")
    arrays: dict[str, Any] = dict(parts.arrays)
    ids, names = _texts("item_id", arrays), _texts("category_name", arrays)
    arrays.setdefault("category", np.zeros(0, np.int32))  # files of before have none
    arrays |= _packed_anew(arrays, int(parts.meta.get("type_bits", _FIRST_BITS)))
    index = query.Index(*(arrays[name] for name in query.Index._fields))
    kept = "support" in arrays  # files of before have none
    ledger = frozen(Ledger(*(arrays[name] for name in Ledger._fields))) if kept else None
    meta, params = parts.meta, AssociationParams(**parts.meta["params"])
    seq, as_of_us = int(meta.get("built_to_seq", 0)), meta.get("as_of_us")
    categories = frozen(popular_in(index.category, popularity_of(ledger.popularity))) if ledger else NO_CATEGORIES
    built = int(meta["built_to_us"]), ledger, seq, as_of_us
    return AssociationStore(frozen(index), ids, params, *built, categories, tuple(names))
