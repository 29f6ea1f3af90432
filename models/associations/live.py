"""Associations that follow the log: a finished store, and on top of it whatever has happened since.

*What "as a rebuild would" means.* After `fold` has seen every event since the build, the sums behind a row (weight and support
of each pair, sessions with each item and type, number of sessions, popularity, the instant that ages count from) are those of
a build over the whole log, late and out-of-order events included: whatever changes a session takes the old session's part away
and adds the new one's. Rows are then made by the code that makes them in a build. The finished store bounds three things:

- a pair that its gate or pruning dropped begins at zero, so that only what changed since counts;
- rows of items that no session has touched since keep the store's gate and pruning; their strengths do follow the popularity of
  the targets;
- an item's category is that of the build; one that has none takes the first that is named for it (`live_categories`).

With `min_llr = 0` and `max_targets` out of reach nothing is dropped, and the answers equal a rebuild's (up to float32 rounding,
and the order of items with exactly equal scores, since codes differ). `fold` makes the rows of touched items again; `settle`
makes all rows of the overlay again, so that their gates know the newest totals: then the state depends on the store and the log
only, not on how the log was cut into batches (up to rounding), and a process that begins anew reaches the same.

*What is let go.* Beside the build, `Bounds` are kept. Where more has happened, what says least goes
(`models.associations.eviction`) and the log is followed on: memory stays flat whatever arrives. It costs the pairs that went,
until the next build: a new item that few sessions have met begins anew with its next one, a rare new pair with its next. All
else is counted as before. From the first eviction on the state also depends on how the log was cut, in what was let go and in
nothing else; and a session that began before an eviction and goes on after it counts with what was kept of it.

*Without locks.* One thread folds. It publishes by assigning one reference to an immutable `AssociationStore` view; readers
take the reference once per request and see one state from beginning to end. Rows are appended to arrays of which earlier views
know a shorter part; slots are copied.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.arrays import Columns, Ints, Objects, frozen
from models.associations import build as association_build
from models.associations import eviction, indirect, kernels, query, shards
from models.associations import model as associations
from models.associations import survey as association_survey
from models.associations.arrays import N_TYPES, PAIR, TYPE_BITS, TYPE_MASK, Totals
from models.associations.changes import Sessions, changed_sessions
from models.associations.deltas import Counted, Delta, difference
from models.associations.eviction import Bounds
from models.associations.live_categories import LiveCategories
from models.associations.model import AssociationStore
from models.associations.overlay import Counts, Rows
from models.associations.sums import ANCHOR_SHIFT, MOST_ITEMS, TARGET_SHIFT, PairSums, Sums
from models.associations.view import View, named
from models.events import visitor_share
from models.events.encode import EVENT_DTYPE, NO_CODE
from models.weight_profile import base_weights

_TARGET_MASK: Final = MOST_ITEMS - 1
_TYPES_MASK: Final = (1 << TARGET_SHIFT) - 1
_MOST: Final = Bounds()
_FARTHEST: Final = (
    16.0  # half-lives from the reference instant to the newest event, until it is moved: float32 has room for 127
)


class LiveAssociations:
    """Brings a store up to date; one thread folds, any number read `view`.

    Parameters
    ----------
    store
        With a ledger.
    most
        What is kept beside it.

    Attributes
    ----------
    view
        The newest state.
    n_evicted
        Pairs and items that were let go since the build.

    Raises
    ------
    ValueError
        If the store has no ledger, or more items than pairs can be numbered for.
    """

    def __init__(self, store: AssociationStore, most: Bounds = _MOST) -> None:
        if store.ledger is None:
            raise ValueError("these associations were built without a ledger: build them again")
        self._store, self._ledger, self._params, self._most = store, store.ledger, store.params, most
        self._rules = association_build.rules_of(store.params, float(np.log(2) / store.params.half_life_s))
        self._begin()

    def _begin(self) -> None:
        """Stand where the build ends."""
        store = self._store
        self._names = named(list(store.item_ids))
        self._newest_us = self._reference_us = store.built_to_us
        self._seq = store.built_to_seq
        self._sums = PairSums()
        self._n_sessions = int(self._ledger.n_sessions[0])
        self._slot = np.zeros(len(store.item_ids), np.int32)
        self._counts, self._items = Counts(), np.full(1, NO_CODE, np.int64)  # by slot; slot 0 is nobody's
        self._rows, self._categories = Rows(), LiveCategories(store)
        self.n_evicted, self.is_settled = 0, True
        self.view: AssociationStore = self._published()

    @property
    def kept(self) -> Bounds:
        """Pairs that have changed since the build and items that came after it: what memory and the cost of `settle` go by."""
        return Bounds(len(self._sums), len(self._slot) - self._store.n_items)

    def bound(self, most: Bounds) -> None:
        """Keep at most so much from now on."""
        self._most = most
        if self._is_too_much():
            self._evict()
            self.view = self._published()

    def fold(self, told: Columns, new: npt.NDArray[np.bool_]) -> AssociationStore:
        """Take in new events.

        Parameters
        ----------
        told
            Columns of an event frame with `seq`, `category` where browses count, and `partner` where there are several: **all**
            events that count of every user with a new one, those that are in the store or have been folded included; in the
            order of the log if it has `browser`.
        new
            Which of them are new, shape (n_rows,).

        Returns
        -------
        The new `view`.
        """
        if new.any():
            self.take([self.counted(told, new)])
            self.bound(self._most)
        return self.view

    def counted(self, told: Columns, new: npt.NDArray[np.bool_]) -> Delta:
        """Delta of new events, at least one; the state stays as it is. Arguments as of `fold`.

        Raises
        ------
        ValueError
            If there are more items than pairs can be numbered for.
        """
        counted = visitor_share.counted(told)
        names, seq = _about(told), np.asarray(told["seq"])[new]
        later = self._unknown(names[new], seq)
        known, place = self._names.codes, {name: len(self._names.item_ids) + k for k, name in enumerate(later)}
        codes = np.array([known.get(name, place.get(name, NO_CODE)) for name in names], np.int64)
        codes[~counted] = NO_CODE
        after, before = changed_sessions(told, new, codes, counted)
        newest_us = max(self._newest_us, int(np.asarray(told["occurred_at_us"])[new].max()))
        is_far = (newest_us - self._reference_us) / 1e6 / self._params.half_life_s > _FARTHEST
        reference_us = newest_us if is_far else self._reference_us  # where ages count from
        found = difference(self._count(after, reference_us), self._count(before, reference_us))
        categories = self._categories.named(told, new & counted, names)
        return Delta(later, found, newest_us, reference_us, max(self._seq, int(seq.max())), 0, categories)

    def take(self, deltas: Sequence[Delta]) -> AssociationStore:
        """Add deltas of who stood where this stands, in their order; the new `view`."""
        moved = False
        for one in deltas:
            self._know(one.names)
            self._categories.know(one.categories or {}, self._names.codes, len(self._slot))
            moved |= self._move_reference(one.reference_us)
            more = one.counted
            self._sums.add(Sums(more.pair, more.weight, more.support))
            self._counts.add(self._slots_of(more.items), more.n_sessions_with, more.popularity)
            self._n_sessions += more.n_sessions
            self._newest_us, self._seq = one.newest_us, one.seq
            self.n_evicted += one.n_evicted
        touched = np.unique(np.concatenate([one.counted.items for one in deltas])) if deltas else np.zeros(0, np.int64)
        self._counts.damp(self._slot[touched], self._ledger.n_sessions_with, touched, self._params)
        self._make(self._items[1:] if moved else touched)
        self._list_anew(touched)
        self.is_settled = False
        self.view = self._published()
        return self.view

    def whole(self) -> Delta:
        """Everything since the build as one delta: who begins with it stands where this stands, to the bit."""
        n, counts, built = len(self._items), self._counts, int(self._ledger.n_sessions[0])
        by_item = self._items[1:], counts.n_sessions_with[1:n], counts.popularity[1:n]
        counted = Counted(*self._sums.all(), *by_item, self._n_sessions - built)
        names, instants = self._names.item_ids[self._store.n_items :], (self._newest_us, self._reference_us)
        return Delta(names, counted, *instants, self._seq, self.n_evicted, self._categories.later())

    def restore(self, whole: Delta) -> AssociationStore:
        """Begin anew with what `whole` gave; the new `view`."""
        self._begin()
        return self.take([whole])

    def settle(self) -> AssociationStore:
        """Make all rows of the overlay again, so that their gates know the newest totals."""
        self._remake()
        self.view = self._published()
        return self.view

    # ---- counting ---------------------------------------------------------------------------------------------------

    def _unknown(self, ids: Objects, seq: Ints) -> list[str]:
        """New items, in the order of the log."""
        known = self._names.codes
        later = [one for one in dict.fromkeys(ids[np.argsort(seq, kind="stable")]) if one is not None and one not in known]
        if len(known) + len(later) > MOST_ITEMS:
            raise ValueError(f"pairs can be numbered for {MOST_ITEMS} items, got {len(known) + len(later)}")
        return later

    def _know(self, later: Sequence[str]) -> None:
        """Give new items codes."""
        names = self._names
        for item_id in later:
            names.item_ids.append(item_id)
            names.codes[item_id] = len(names.item_ids) - 1
        if len(names.item_ids) > len(self._slot):
            self._slot = np.concatenate((self._slot, np.zeros(len(names.item_ids) - len(self._slot), np.int32)))

    def _aged(self, from_us: int, to_us: int) -> float:
        return float(np.exp2((from_us - to_us) / 1e6 / self._params.half_life_s))

    def _move_reference(self, to_us: int) -> bool:
        """Let weights count from another instant; whether it is another one."""
        if to_us == self._reference_us:
            return False
        factor = self._aged(self._reference_us, to_us)
        self._sums.scale(factor)
        self._counts.popularity *= factor
        self._reference_us = to_us
        return True

    def _count(self, found: Sessions, reference_us: int) -> Counted:
        """Sums of some sessions."""
        events, codes = found.events.copy(), found.events["item"]
        items, local = np.unique(codes[codes >= 0], return_inverse=True)
        events["item"][codes >= 0] = local
        log = association_build.log_of(events, found.starts, reference_us)
        n_touches, plain, aged, _, n_sessions = association_survey.survey(log, len(items), self._rules.age_rate)
        touches = association_survey.by_item(log, 0, len(items), n_touches)
        rows = kernels.gather(
            0, len(items), log, touches, shards.nothing_normalised(len(items)), shards.everything_kept(self._rules)
        )
        sums = rows.entries[: rows.n]
        target = items[sums["target"]]
        pair = np.repeat(items, rows.sizes) << ANCHOR_SHIFT | target << TARGET_SHIFT | sums["types"].astype(np.int64)
        strength, support = sums["strength"].astype(np.float64), sums["support"].astype(np.int64)
        by_item = plain.astype(np.int64), aged.astype(np.float64)
        return Counted(pair, strength, support, items, *by_item, int(n_sessions))

    def _slots_of(self, items: Ints) -> Ints:
        unknown = items[self._slot[items] == 0]
        if len(unknown):
            self._slot = self._slot.copy()  # views know the old one
            self._slot[unknown] = len(self._items) + np.arange(len(unknown))
            self._items = np.concatenate((self._items, unknown))
        return self._slot[items].astype(np.int64)

    def _is_too_much(self) -> bool:
        pairs, items = self.kept
        return pairs > self._most.pairs or items > self._most.items

    def _evict(self) -> None:
        """Let go what says least; what stays gets new codes and rows, in arrays and names of its own."""
        n_built, items, sums, before = self._store.n_items, self._items[1:], self._sums.all(), len(self._sums)
        weight = np.zeros(len(self._slot))
        weight[items] = self._counts.popularity[1 : len(items) + 1].max(axis=1)
        kept = eviction.kept_items(weight, n_built, self._most.items)
        place = np.full(len(weight), NO_CODE, np.int64)
        place[kept] = np.arange(len(kept))
        weight[:n_built] = np.inf
        self._sums = PairSums()
        self._sums.add(eviction.kept_sums(sums, place, weight, self._most.pairs))
        self.n_evicted += before - len(self._sums) + len(weight) - len(kept)
        stays = np.flatnonzero(place[items] >= 0)
        self._items = np.concatenate((self._items[:1], place[items[stays]]))
        self._counts = self._counts.of(1 + stays)
        self._slot = np.zeros(len(kept), np.int32)
        self._slot[self._items[1:]] = 1 + np.arange(len(stays))
        self._names = named([self._names.item_ids[code] for code in kept.tolist()])
        self._categories.keep(kept, self._names.item_ids)
        self._remake()

    # ---- rows -------------------------------------------------------------------------------------------------------

    def _make(self, anchors: Ints) -> None:
        """Make the rows of some items from the store's sums and those added since."""
        anchors = np.sort(anchors)
        sums = _joined(self._built(anchors), self._sums.of(anchors))
        anchor, target = sums.pair >> ANCHOR_SHIFT, sums.pair >> TARGET_SHIFT & _TARGET_MASK
        items = np.union1d(anchors, target)
        slots = self._slot[items]
        n_built = self._n_built(items)
        n_with = np.maximum(n_built + self._counts.n_sessions_with[slots], 0).astype(np.int32)
        totals = Totals(n_with, association_build.damping(n_with, self._params), max(self._n_sessions, 1))
        rows = kernels.remake(
            np.searchsorted(items, anchors), np.append(np.searchsorted(anchor, anchors), len(anchor)),
            np.searchsorted(items, target), (sums.pair & _TYPES_MASK).astype(PAIR), sums.weight, sums.support,
            totals, self._rules,
        )  # fmt: skip
        found = rows.entries[: rows.n]
        damped = self._counts.ratio[slots[found["target"]], found["types"] & TYPE_MASK]  # a query multiplies by it
        self._rows.put(self._slot[anchors], rows.sizes, items[found["target"]], found["types"], found["strength"] / damped)

    def _remake(self) -> None:
        self._rows = Rows()  # leaves behind what earlier rows took
        self._make(self._items[1:])
        self._list_anew(self._items[1:])
        self.is_settled = True

    def _list_anew(self, items: Ints) -> None:
        """Let the lists of some items' categories know what happened to them."""
        aged = self._aged(self._store.built_to_us, self._reference_us)
        self._categories.list_anew(items, self._items[1:], self._slot, self._counts.popularity, aged)

    def _built(self, anchors: Ints) -> Sums:
        """The sums behind the store's own rows: its normalisation undone, aged to the reference instant."""
        index, p = self._store.index, self._params
        anchors = anchors[anchors < self._store.n_items]
        sizes = index.offsets[anchors + 1] - index.offsets[anchors]
        at = np.repeat(index.offsets[anchors] - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
        anchor, target, types = np.repeat(anchors, sizes), index.target[at].astype(np.int64), index.types[at].astype(np.int64)
        n_with = self._ledger.n_sessions_with
        by_target = association_build.damping(n_with[target, types & TYPE_MASK], p).astype(np.float64)
        by_anchor = np.maximum(n_with[anchor, types >> TYPE_BITS], 1.0) ** -p.anchor_power
        weight = index.strength[at] / (by_target * by_anchor) * self._aged(self._store.built_to_us, self._reference_us)
        pair = anchor << ANCHOR_SHIFT | target << TARGET_SHIFT | types
        return Sums(pair, weight, self._ledger.support[at].astype(np.int64))

    def _n_built(self, items: Ints) -> Ints:
        out = np.zeros((len(items), N_TYPES), np.int64)
        out[items < self._store.n_items] = self._ledger.n_sessions_with[items[items < self._store.n_items]]
        return out

    # ---- publishing -------------------------------------------------------------------------------------------------

    def _published(self) -> AssociationStore:
        factors = (self._aged(self._store.built_to_us, self._newest_us), self._aged(self._reference_us, self._newest_us))
        n = len(self._items)
        span, target, types, strength = self._rows.published(n)
        overlay = query.Overlay(self._slot.view(), span, self._counts.ratio_of(n), target, types, strength, *factors)
        found, to = self._categories, (self._newest_us, self._seq)
        index = self._store.index._replace(category=found.category, **self._popular())
        categories = frozen(found.published()), found.names, found.codes
        return View(self._store, frozen(index), frozen(overlay), categories, self._names, to)

    def _popular(self) -> dict[str, npt.NDArray[Any]]:
        """The popular lists: the store's, with the items touched since where they belong now."""
        index, items = self._store.index, self._items[1:]
        if not len(items):
            return {}
        width = min(self._params.n_popular, len(self._slot))
        item, count = np.full((N_TYPES, width), NO_CODE, np.int32), np.zeros((N_TYPES, width), np.float32)
        factor = self._aged(self._store.built_to_us, self._reference_us)
        now = self._counts.popularity[1 : len(items) + 1].copy()
        built = items < self._store.n_items
        now[built] += factor * self._ledger.popularity[items[built]]
        for kind in set(range(N_TYPES)).difference(indirect.SOURCE_ONLY):
            others = index.popular_item[kind]
            others = others[(others >= 0) & (self._slot[others] == 0)].astype(np.int64)
            known = now[:, kind] > 1e-9 * now[:, kind].max(initial=0.0)  # what was taken away again leaves rounding behind
            codes = np.concatenate((items[known], others))
            counts = np.concatenate((now[known, kind], factor * self._ledger.popularity[others, kind])).astype(np.float32)
            best = np.lexsort((codes, -counts))[:width]
            item[kind, : len(best)], count[kind, : len(best)] = codes[best], counts[best]
        return {"popular_item": item, "popular_count": count}


def rehearse() -> None:
    """Follow a log of two events, so that whatever has to be compiled or loaded is there before the first real one arrives."""
    empty = associations.build(np.zeros(0, EVENT_DTYPE), np.zeros(0, np.bool_), np.zeros(0, object))
    live = LiveAssociations(empty)
    user = {"user_id": ["u"] * 3, "session_id": [None] * 3, "event_type": ["item_view"] * 3, "item_id": ["a", "b", None]}
    live.fold({**user, "seq": [1, 2, 3], "occurred_at_us": [0, 1, 2]}, np.array([True, True, True]))
    view = live.settle()
    session = np.zeros(1, np.int64), np.zeros(1, np.int8), np.zeros(1)
    view.explain(view.recommend(*session, base_weights(), 2), *session, base_weights())


def _about(told: Columns) -> Objects:
    """What each event is about: its item, a category browse its category."""
    names = ("item_id", "event_type", "category") if "category" in told else ("item_id",)
    items, *of_browses = (np.asarray(told[name], dtype=object) for name in names)
    return indirect.texts(items, *of_browses) if of_browses else items


def _joined(one: Sums, two: Sums) -> Sums:
    """Sums of two lists by pair, sorted; without those that no session has any more."""
    pair, weight, support = (np.concatenate(columns) for columns in zip(one, two, strict=True))
    pair, at = np.unique(pair, return_inverse=True)
    weights = np.bincount(at, weights=weight, minlength=len(pair)).astype(np.float64)
    sessions = np.bincount(at, weights=support, minlength=len(pair)).astype(np.int64)
    kept = (sessions > 0) & (weights > 0.0)
    return Sums(pair[kept], weights[kept], sessions[kept])
