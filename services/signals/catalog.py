"""Catalogues and offers in memory, kept up with the store by reading what changed.

A partner's catalogue says what its visitors may be shown: as soon as it has an item to sell, whatever it does not have, or has
sold out, is in no list. A request is handed that as one flag per item code, which is brought up to date by what changed.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from infra.store.engines import closed_store
from infra.store.statements.catalog import CHANGES, ITEMS_SINCE, OFFER_FIELDS, OFFERS_SINCE
from infra.store.watch import StoreWatch
from models.arrays import ALL_ALLOWED, Flags
from models.known import ItemList

_MODELS: Final = 4  # whose flags are kept, per partner: associations and ranker, of the champions and of a challenger
_CHANGES: Final = 64  # of which it is known what they changed; flags from before them are made anew


class CatalogItem(NamedTuple):
    """An item to buy, or an article to read; the fields of `ITEM_FIELDS` in `infra.store.statements.catalog`."""

    item_id: str
    kind: str
    category: str | None
    price: float | None
    stock: int | None
    title: str | None
    url: str | None


class CatalogOffer(NamedTuple):
    """A discount that the partner grants; empty `categories` and `item_ids` mean any."""

    offer_id: str
    title: str | None
    percent: float | None
    amount: float | None
    currency: str | None
    code: str | None
    budget: float | None
    min_price: float | None
    categories: tuple[str, ...]
    item_ids: tuple[str, ...]
    valid_from_us: int | None
    valid_until_us: int | None
    active: bool


class _Flags(NamedTuple):
    """Which items of a model may be shown, as of a change; never written to once it is kept."""

    item_ids: Sequence[str]
    sells: bool
    change: int
    flags: Flags


class _Change(NamedTuple):
    """Items that came between two changes."""

    after: int
    until: int
    item_ids: tuple[str, ...]


class _Shop:
    """Catalogue of one partner, as of a change."""

    def __init__(self) -> None:
        self.change = 0
        self.items: dict[str, CatalogItem] = {}
        self.offers: dict[str, CatalogOffer] = {}
        self.articles: dict[str, CatalogItem] = {}
        self.content: tuple[CatalogItem, ...] = ()
        self.n_goods = self.n_sold_out = 0
        self.sells = self.limits = False
        self.changes: tuple[_Change, ...] = ()
        self.kept: tuple[_Flags, ...] = ()

    def take(self, change: int, items: Sequence[CatalogItem], offers: Sequence[CatalogOffer]) -> None:
        """Bring in what changed."""
        for item in items:
            self._count(self.items.get(item.item_id), -1)
            self._count(item, 1)
            self.items[item.item_id] = item
        self.offers.update((offer.offer_id, offer) for offer in offers)
        if any(item.kind == "content" or item.item_id in self.articles for item in items):
            self._take_articles(items)
        self.sells = self.n_goods > 0
        self.limits = self.sells or self.n_sold_out > 0
        one = _Change(self.change, change, tuple(item.item_id for item in items))
        self.changes = (*self.changes, one)[-_CHANGES:]
        self.change = change

    def _count(self, item: CatalogItem | None, n: int) -> None:
        if item is not None:
            self.n_goods += n * (item.kind == "item")
            self.n_sold_out += n * (item.stock == 0)

    def _take_articles(self, items: Sequence[CatalogItem]) -> None:
        for item in items:
            if item.kind == "content" and item.stock != 0:
                self.articles[item.item_id] = item
            else:
                self.articles.pop(item.item_id, None)
        self.content = tuple(self.articles.values())

    def may_show(self, item_id: str) -> bool:
        """Whether an item may be in a list; without a catalogue of goods, all may that are not sold out."""
        item = self.items.get(item_id)
        return not self.sells if item is None else item.stock != 0

    def flags(self, model: ItemList) -> Flags:
        """`may_show` of each item of a model, shape (n_items,) or longer."""
        ids, n, sells, now = model.item_ids, model.n_items, self.sells, self.change  # first: a change meanwhile makes these old
        old = next((one for one in self.kept if one.item_ids is ids and one.sells == sells), None)
        if old is not None and old.change == now and len(old.flags) >= n:
            return old.flags
        if old is None or old.change < self.changes[0].after:
            old = _Flags(ids, sells, now, ALL_ALLOWED)
        flags = np.ones(n, np.bool_)
        known = min(len(old.flags), n)
        flags[:known] = old.flags[:known]
        for item_id in (item_id for one in self.changes if one.until > old.change for item_id in one.item_ids):
            if 0 <= (code := model.code(item_id)) < known:
                flags[code] = self.may_show(item_id)
        flags[known:] = [self.may_show(ids[code]) for code in range(known, n)]
        self.kept = (_Flags(ids, sells, now, flags), *(one for one in self.kept if one.item_ids is not ids))[:_MODELS]
        return flags


class Catalog:
    """Catalogues of a home's partners. One thread refreshes; `allowed` may be asked from others meanwhile.

    Parameters
    ----------
    home
        ``ATTUNE_HOME``.
    check_s
        How often `refresh` looks at the store, seconds.
    """

    def __init__(self, home: Path, check_s: float = 0.2) -> None:
        self._store = closed_store(home, wait_ms=0)  # requests wait behind this
        self._watch = StoreWatch(self._store, "catalogues", check_s)
        self._shops: dict[str, _Shop] = {}

    def refresh(self, now_s: float) -> None:
        """Bring in what other connections have committed; while the store cannot be read, what was known before stays.

        Parameters
        ----------
        now_s
            Wall clock, seconds since 1970.
        """
        self._watch.look(now_s, self._take_all)

    def _take_all(self) -> None:
        for partner, change in self._store.read(CHANGES):
            self._take(partner, change)

    def _take(self, partner: str, change: int) -> None:
        shop = self._shops.setdefault(partner, _Shop())
        if change == shop.change:
            return
        since = (partner, shop.change)
        items = [CatalogItem(*row) for row in self._store.read(ITEMS_SINCE, since)]
        shop.take(change, items, [_offer(row) for row in self._store.read(OFFERS_SINCE, since)])

    def in_stock(self, partner: str, item_id: str) -> bool | None:
        """Whether the catalogue has an item and it is not sold out; None where the partner has no catalogue."""
        shop = self._shops.get(partner)
        if shop is None or not shop.sells:
            return None
        item = shop.items.get(item_id)
        return item is not None and item.stock != 0

    def size_with(self, partner: str, item_ids: Iterable[str]) -> int:
        """Items that the catalogue would have with these."""
        shop = self._shops.get(partner)
        known: Mapping[str, CatalogItem] = {} if shop is None else shop.items
        return len(known) + sum(item_id not in known for item_id in set(item_ids))

    def item(self, partner: str, item_id: str) -> CatalogItem | None:
        """Entry of an item or article in the catalogue."""
        shop = self._shops.get(partner)
        return None if shop is None else shop.items.get(item_id)

    def content(self, partner: str) -> Sequence[CatalogItem]:
        """Articles to read."""
        shop = self._shops.get(partner)
        return () if shop is None else shop.content

    def offers(self, partner: str) -> Sequence[CatalogOffer]:
        """All offers, also those that do not hold now."""
        shop = self._shops.get(partner)
        return () if shop is None else tuple(shop.offers.values())

    def allowed(self, partner: str, model: ItemList) -> Flags:
        """Which items of a model may be shown to a partner's visitors.

        Returns
        -------
        By code, shape (n_items,) or longer; empty where all may. Costs what has changed since it was asked last.
        """
        shop = self._shops.get(partner)
        return ALL_ALLOWED if shop is None or not shop.limits else shop.flags(model)


def _offer(row: Sequence[Any]) -> CatalogOffer:
    named = dict(zip(OFFER_FIELDS, row, strict=True))
    lists = {name: tuple(msgspec.json.decode(named[name])) for name in ("categories", "item_ids")}
    return CatalogOffer(**named | lists | {"active": bool(named["active"])})
