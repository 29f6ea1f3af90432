"""Shelf of a signal: what it may name, filled from associations, catalogue, offers and what has been promised.

Where a partner has no catalogue, products are what the associations know; there are then neither articles nor prices but those
of the session's own events. Strangers, of whom only browser keys tell, draw a share of each budget (`models.trust`).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from models.arrays import Floats32
from models.engagement.articles import MOST_ARTICLES, Reader, ranked, words
from models.engagement.pacing import allowed_cents
from models.engagement.policy import SignalPolicy, smallest
from models.engagement.signals import Offer, n_reading
from models.live_session import LiveSession, last_item
from models.trust import PARAMS as TRUST
from services.signals.catalog import CatalogItem, CatalogOffer


class PartnerCatalogs(Protocol):
    """Catalogues of the partners. `services.signals.catalog.Catalog` has them."""

    def refresh(self, now_s: float) -> None:
        """Bring in what changed, as of an instant, seconds since 1970."""
        ...

    def in_stock(self, partner: str, item_id: str) -> bool | None:
        """Whether the catalogue has an item and it is not sold out; None where the partner has no catalogue."""
        ...

    def item(self, partner: str, item_id: str) -> CatalogItem | None:
        """Entry of an item."""
        ...

    def content(self, partner: str) -> Sequence[CatalogItem]:
        """Articles to read."""
        ...

    def offers(self, partner: str) -> Sequence[CatalogOffer]:
        """Discounts that the partner grants, also those that do not hold now."""
        ...


class NoCatalogs:
    """Catalogues of an installation that has none."""

    def refresh(self, now_s: float) -> None:
        """Find nothing new."""

    def in_stock(self, partner: str, item_id: str) -> bool | None:
        """Nobody knows."""
        return None

    def item(self, partner: str, item_id: str) -> CatalogItem | None:
        """Nothing."""
        return None

    def content(self, partner: str) -> Sequence[CatalogItem]:
        """None."""
        return ()

    def offers(self, partner: str) -> Sequence[CatalogOffer]:
        """None."""
        return ()


class Spent(NamedTuple):
    """Sums that a partner's signals have promised so far, in hundredths of the currency."""

    by_offer: Mapping[str, int]
    today: int
    total: int


UNSPENT: Final = Spent({}, 0, 0)


class Seen(Protocol):
    """Assessment as far as a shelf looks at it: attributes as of `models.assess.Assessment`."""

    @property
    def features(self) -> Floats32:
        """Of the session."""
        ...

    @property
    def reader(self) -> Reader | None:
        """Reader of the session's items; None without associations."""
        ...

    @property
    def product_ids(self) -> Sequence[str]:
        """Products that go with the session, best first."""
        ...

    @property
    def cart_ids(self) -> Sequence[str]:
        """Items in the cart, newest first."""
        ...


class VisitorShelf:
    """`models.engagement.signals.OnShelf` of a visitor, which looks things up when a rule asks for them.

    Parameters
    ----------
    session
        Gives the session.
    strangers
        What strangers have been promised, if the visitor is one.
    may_discount
        Whether the visitor may be offered anything.
    """

    def __init__(
        self, found: Seen, session: Callable[[], LiveSession], catalogs: PartnerCatalogs, policy: SignalPolicy, spent: Spent,
        partner: str, now_us: int, strangers: Spent | None = None, may_discount: bool = True,
    ) -> None:  # fmt: skip
        self._found, self._session, self._catalogs, self._policy = found, session, catalogs, policy
        self._spent, self._strangers, self._partner, self._now_us = spent, strangers, partner, now_us
        self._may_discount = may_discount

    @cached_property
    def product_ids(self) -> Sequence[str]:
        """Products that are for sale."""
        for_sale = (one for one in self._found.product_ids if is_for_sale(self._catalogs, self._partner, one))
        return tuple(islice(for_sale, self._policy.thresholds.max_items))

    @cached_property
    def _articles(self) -> Sequence[CatalogItem]:
        if not self._catalogs.content(self._partner):
            return ()
        reads = n_reading(self._found.features) >= self._policy.thresholds.n_reading_events_content
        read = self._found.reader if reads else None
        return _articles(read, self._session(), self._catalogs, self._partner)[: self._policy.thresholds.max_items]

    @property
    def content_ids(self) -> Sequence[str]:
        """Articles that the session has not met."""
        return tuple(article.item_id for article in self._articles)

    @cached_property
    def details(self) -> Mapping[str, Mapping[str, Any]]:
        """Entries of the catalogue about products and articles."""
        named = {item_id: self._catalogs.item(self._partner, item_id) for item_id in self.product_ids}
        shown = {item_id: item for item_id, item in named.items() if item is not None}
        return {item_id: _details(item) for item_id, item in (shown | {a.item_id: a for a in self._articles}).items()}

    @property
    def cart_ids(self) -> Sequence[str]:
        """Items in the cart, newest first."""
        return self._found.cart_ids

    @cached_property
    def _cart(self) -> "Sequence[_Line]":
        told = self._catalogs, self._partner
        return [_Line(item_id, *_known(item_id, self._session(), *told)) for item_id in self._found.cart_ids]

    @property
    def cart_cents(self) -> int | None:
        """Value of the cart, or None where a price is not known."""
        return _sum(self._cart)

    @cached_property
    def offers(self) -> Sequence[Offer]:
        """Offers that hold now for something in the cart, with what is left of them."""
        granted = self._catalogs.offers(self._partner) if self._may_discount else ()
        if not granted or not self._cart:
            return ()
        return tuple(_offers(granted, self._cart, self._policy, self._spent, self._strangers, self._now_us))

    @property
    def category(self) -> str | None:
        """Of the newest event that names one."""
        session = self._session()
        codes = session.events["category"]
        return session.categories[int(codes[codes >= 0][-1])] if (codes >= 0).any() else None

    @property
    def item_id(self) -> str | None:
        """Of the newest event that names one."""
        return last_item(self._session())


def is_for_sale(catalogs: PartnerCatalogs, partner: str, item_id: str) -> bool:
    """Whether an item may be recommended: not sold out, and no article."""
    item = catalogs.item(partner, item_id)
    return catalogs.in_stock(partner, item_id) is not False and (item is None or item.kind != "content")


class _Line(NamedTuple):
    """Line of the cart."""

    item_id: str
    category: str | None
    cents: int | None


def _known(item_id: str, session: LiveSession, catalogs: PartnerCatalogs, partner: str) -> tuple[str | None, int | None]:
    """Category and price of an item: the catalogue's, else those of the newest event about it that has them."""
    item = catalogs.item(partner, item_id)
    category, price = (item.category, item.price) if item is not None else (None, None)
    about = session.events[session.events["item"] == session.item_ids.index(item_id)]
    if price is None:
        prices = [value for value in about["price"].tolist() if not math.isnan(value)]
        price = prices[-1] if prices else None
    if category is None:
        codes = [code for code in about["category"].tolist() if code >= 0]
        category = session.categories[codes[-1]] if codes else None
    return category, None if price is None else round(price * 100)


def _sum(lines: Sequence[_Line]) -> int | None:
    cents = [line.cents for line in lines if line.cents is not None]
    return sum(cents) if lines and len(cents) == len(lines) else None


def _articles(read: Reader | None, session: LiveSession, catalogs: PartnerCatalogs, partner: str) -> list[CatalogItem]:
    """Articles that the session has not met, best first."""
    codes = session.events["category"]
    known = codes[codes >= 0]
    category = session.categories[int(known[-1])] if len(known) else None
    met = set(session.item_ids)
    left = [a for a in catalogs.content(partner) if a.item_id not in met]
    left = sorted(left, key=lambda a: a.category != category)[:MOST_ARTICLES]
    ids = [a.item_id for a in left]
    affinity = np.zeros(len(ids)) if read is None else read.affinity(ids)
    items = (catalogs.item(partner, item_id) for item_id in session.item_ids)
    about = words([*(item.title for item in items if item is not None), category])
    named = {a.item_id: a for a in left}
    best = ranked(ids, affinity, [a.category == category for a in left], {a.item_id: a.title for a in left}, about)
    return [named[article_id] for article_id in best]


def _offers(
    offers: Sequence[CatalogOffer], cart: Sequence[_Line], policy: SignalPolicy, spent: Spent, strangers: Spent | None,
    now_us: int,
) -> Iterator[Offer]:  # fmt: skip
    """Offers that hold now for something in the cart, with what is left of them."""
    for offer in offers:
        lines = [line for line in cart if _holds(offer, line)]
        if not lines or not _is_valid(offer, now_us):
            continue
        base, left = _sum(lines), _left(offer, policy, spent, 1.0, now_us)
        if strangers is not None:
            if base is None:
                continue  # of what nobody but a page has named a price
            left = smallest(left, _left(offer, policy, strangers, TRUST.budget_share, now_us))
        amount = None if offer.amount is None else math.floor(offer.amount * 100 + 0.5)
        terms = {name: value for name in ("title", "code", "currency") if (value := getattr(offer, name)) is not None}
        yield Offer(offer.offer_id, base, offer.percent, amount, left, terms)


def _left(offer: CatalogOffer, policy: SignalPolicy, spent: Spent, share: float, now_us: int) -> int | None:
    """What may still be promised of an offer at an instant, within a share of each budget; None: no limit."""
    per_day = policy.max_discount_cents_per_day
    budget = None if offer.budget is None else math.floor(offer.budget * 100 + 0.5)
    limits = (
        (None if per_day is None else allowed_cents(per_day, now_us), spent.today),
        (policy.max_discount_cents, spent.total),
        (budget, spent.by_offer.get(offer.offer_id, 0)),
    )
    return smallest(*(None if limit is None else math.floor(limit * share) - gone for limit, gone in limits))


def _is_valid(offer: CatalogOffer, now_us: int) -> bool:
    begun = offer.valid_from_us is None or offer.valid_from_us <= now_us
    return offer.active and begun and (offer.valid_until_us is None or now_us < offer.valid_until_us)


def _holds(offer: CatalogOffer, line: _Line) -> bool:
    """Whether an offer is about an item of the cart."""
    if offer.item_ids or offer.categories:
        return line.item_id in offer.item_ids or line.category in offer.categories
    return offer.min_price is None or (line.cents is not None and line.cents >= round(offer.min_price * 100))


def _details(item: CatalogItem) -> dict[str, Any]:
    told = {"title": item.title, "url": item.url, "price": item.price, "category": item.category}
    return {name: value for name, value in told.items() if value is not None}
