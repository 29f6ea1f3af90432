"""Categories that follow the log: what is popular in each, and of which category the items are that came after the build.

An item of which the build knows no category takes the one that the first event names which counts in what is learned of items
(`models.events.visitor_share`), and keeps it until the next build: what is known already nobody turns round by one event.
Popularity is that of the build with what has happened since, of the best items of the build and of all items touched since.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from models.arrays import Columns, Flags, Floats, Ints, Ints32, Objects, Reals
from models.associations.arrays import PAIR
from models.associations.goal_query import MOST_IN_CATEGORY, Categories, popular_in
from models.associations.model import AssociationStore, popularity_of
from models.associations.overlay import Rows
from models.events.encode import NO_CODE

_BROWSE: Final = "category_browse"


class LiveCategories:
    """Categories of one build, brought up to date by the one thread that folds.

    Parameters
    ----------
    store
        With a ledger.

    Attributes
    ----------
    category
        Of each item, `NO_CODE` for none, shape (n_items,).
    names, codes
        Texts by code and codes by text: shared with whoever reads, only ever added to; others after `keep`.
    """

    def __init__(self, store: AssociationStore) -> None:
        assert store.ledger is not None
        self._store = store
        self._later: dict[str, str] = {}  # by item
        self._built, self._built_item = store.categories, popularity_of(store.ledger.popularity)
        self._built_category = np.full(store.n_items, NO_CODE, np.int32)
        self._built_category[: len(store.index.category)] = store.index.category
        self.category = self._built_category
        self.names = list(store.category_names)
        self.codes = {name: code for code, name in enumerate(self.names)}
        self._n_built = max(len(self.names), len(self._built.span))
        known = self.category >= 0
        self._built_total = np.bincount(self.category[known], weights=self._built_item[known])
        self._lists = self._of_built()

    def named(self, told: Columns, counts: Flags, items: Objects) -> dict[str, str]:
        """Names of the categories that some events tell of items which have none.

        Parameters
        ----------
        told
            As `LiveAssociations.fold` has them.
        counts
            Which events are new and count, shape (n_rows,).
        items
            What each is about, shape (n_rows,).
        """
        if "category" not in told or len(self._store.category_names) < self._n_built:  # a file of before tells no names
            return {}
        names, kinds = np.asarray(told["category"], dtype=object), np.asarray(told["event_type"], dtype=object)
        found: dict[str, str] = {}
        for row in np.flatnonzero(counts & (kinds != _BROWSE)).tolist():
            item, name = items[row], names[row]
            if item is not None and isinstance(name, str) and item not in found and not self._has(item):
                found[item] = name
        return found

    def know(self, categories: Mapping[str, str], codes: Mapping[str, int], n_items: int) -> None:
        """Take in categories of items, by the codes of the items, of which so many are known by now."""
        # Views know the old array.
        self.category = np.append(self.category, np.full(n_items - len(self.category), NO_CODE, np.int32))
        for item, name in categories.items():
            self.category[codes[item]] = self._code(name)
            self._later[item] = name

    def _has(self, item: str) -> bool:
        code = self._store.code(item)
        return item in self._later or (code != NO_CODE and self._built_category[code] >= 0)

    def later(self) -> dict[str, str]:
        """Categories of items that the build knew none of."""
        return dict(self._later)

    def _code(self, name: str) -> int:
        if name not in self.codes:
            self.names.append(name)
            self.codes[name] = len(self.names) - 1
        return self.codes[name]

    def keep(self, kept: Ints, names: Sequence[str]) -> None:
        """Go on with some of the items, in this order, those of the build first; all others touched are to be listed anew.

        Names of the build stay, of all others those that a kept item has.
        """
        self.category, self._lists = self.category[kept], self._of_built()
        here = set(names)
        self._later = {item: name for item, name in self._later.items() if item in here}
        later = self.category >= self._n_built
        had, place = np.unique(self.category[later], return_inverse=True)
        self.category[later] = self._n_built + place
        self.names = self.names[: self._n_built] + [self.names[code] for code in had.tolist()]
        self.codes = {name: code for code, name in enumerate(self.names)}

    def _of_built(self) -> Rows:
        lists, (span, item, share) = Rows(), self._built
        lists.put(np.arange(len(span)), span[:, 1] - span[:, 0], item, np.zeros(len(item), PAIR), share)
        return lists

    def list_anew(self, moved: Ints, touched: Ints, slot: Ints32, since: Reals, aged: float) -> None:
        """List what is popular now in the categories of some items.

        Parameters
        ----------
        moved
            The items, each once.
        touched, slot, since
            All items that something has happened to since the build; by item the row of `since`, 0 for the others; and the
            change of popularity by event type, shape (n_slots, N_TYPES).
        aged
            By what the build's popularity has aged to be of the same instant.
        """
        moved = moved[self.category[moved] >= 0]
        if not len(moved):
            return

        def now(items: Ints) -> Floats:
            return aged * self._of_build(items) + popularity_of(since[slot[items]])

        total = np.zeros(max(len(self.names), len(self._built_total)))
        total[: len(self._built_total)] = aged * self._built_total
        changed = touched[self.category[touched] >= 0]
        np.add.at(total, self.category[changed], now(changed) - aged * self._counted_in_build(changed))
        categories = np.unique(self.category[moved]).astype(np.int64)
        candidates = np.union1d(moved, self._listed(categories))
        found = popular_in(self.category[candidates], np.maximum(now(candidates), 0.0), MOST_IN_CATEGORY, total)
        sizes = (found.span[:, 1] - found.span[:, 0])[categories]
        self._lists.put(categories, sizes, candidates[found.item], np.zeros(len(found.item), PAIR), found.share)

    def published(self) -> Categories:
        """Popular items of each category."""
        span, item, _, share = self._lists.published(max(len(self.names), len(self._built.span)))
        return Categories(span, item, share)

    def _listed(self, categories: Ints) -> Ints:
        """Items that are listed for some categories."""
        lists = self.published()
        span = lists.span[categories]
        sizes = span[:, 1] - span[:, 0]
        at = np.repeat(span[:, 0] - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
        items: Ints = lists.item[at].astype(np.int64)
        return items

    def _of_build(self, items: Ints) -> Floats:
        """Popularity of items as of the build, 0 of those that came later."""
        found, is_built = np.zeros(len(items)), items < len(self._built_item)
        found[is_built] = self._built_item[items[is_built]]
        return found

    def _counted_in_build(self, items: Ints) -> Floats:
        """The same, but 0 of those that had no category then."""
        found, is_built = self._of_build(items), items < len(self._built_category)
        found[is_built] *= self._built_category[items[is_built]] >= 0
        return found
