"""Catalogues and offers in memory, kept up with the store by reading what changed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import numpy as np

from infra.store.engines import closed_store
from infra.store.statements.catalog import CHANGES, ITEMS_SINCE, OFFER_FIELDS, OFFERS_SINCE
from infra.store.watch import StoreWatch
from models.arrays import Ints
from models.events.encode import NO_CODE

NO_CODES: Final[Ints] = np.zeros(0, dtype=np.int64)


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


class HasCodes(Protocol):
    """A model that knows items by codes."""

    def code(self, item_id: str | None) -> int:
        """Code of an item, `NO_CODE` if unknown."""
        ...


class _Shop:
    """Catalogue of one partner, as of a change."""

    def __init__(self) -> None:
        self.change = 0
        self.items: dict[str, CatalogItem] = {}
        self.offers: dict[str, CatalogOffer] = {}
        self.content: tuple[CatalogItem, ...] = ()
        self.sold_out: frozenset[str] = frozenset()
        self.sells = False
        self.codes: tuple[HasCodes | None, int, Ints] = (None, -1, NO_CODES)

    def take(self, change: int, items: Sequence[CatalogItem], offers: Sequence[CatalogOffer]) -> None:
        """Bring in what changed."""
        self.items.update((item.item_id, item) for item in items)
        self.offers.update((offer.offer_id, offer) for offer in offers)
        if items:
            found = self.items.values()
            self.content = tuple(item for item in found if item.kind == "content" and item.stock != 0)
            self.sold_out = frozenset(item.item_id for item in found if item.stock == 0)
            self.sells = any(item.kind == "item" for item in found)
        self.change = change


class Catalog:
    """Catalogues of a home's partners. One thread refreshes; `sold_out_codes` may be asked from others meanwhile.

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

    def sold_out_codes(self, partner: str, model: HasCodes) -> Ints:
        """Codes of the items that must not be recommended because they are sold out.

        Items that the catalogue does not know are not among them: a catalogue may be sent in parts.

        Returns
        -------
        Shape (n_sold_out,); worked out once per catalogue change and model.
        """
        shop = self._shops.get(partner)
        if shop is None or not shop.sold_out:
            return NO_CODES
        now = shop.change  # before the items: a change that comes meanwhile makes these codes old
        known_to, change, codes = shop.codes
        if known_to is not model or change != now:
            found = [code for item_id in shop.sold_out if (code := model.code(item_id)) != NO_CODE]
            codes = np.array(found, dtype=np.int64)
            shop.codes = model, now, codes
        return codes


def _offer(row: Sequence[Any]) -> CatalogOffer:
    named = dict(zip(OFFER_FIELDS, row, strict=True))
    lists = {name: tuple(msgspec.json.decode(named[name])) for name in ("categories", "item_ids")}
    return CatalogOffer(**named | lists | {"active": bool(named["active"])})
