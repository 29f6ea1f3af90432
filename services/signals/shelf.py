"""Shelf of a signal: what it may name, filled from associations, catalogue, offers and what has been promised.

Where a partner has no catalogue, products are what the associations know; there are then neither articles nor prices but those
of the session's own events. Strangers, of whom only browser keys tell, draw a share of each budget (`models.trust`).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from models.assess import Assessment
from models.engagement.articles import MOST_ARTICLES, ranked, words
from models.engagement.pacing import allowed_cents
from models.engagement.policy import SignalPolicy, smallest
from models.engagement.signals import Offer, Shelf, n_reading
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


def fill(
    found: Assessment, session: LiveSession, catalogs: PartnerCatalogs, policy: SignalPolicy, spent: Spent, partner: str,
    now_us: int, strangers: Spent | None = None,
) -> Shelf:  # fmt: skip
    """Fill the shelf for a visitor.

    Parameters
    ----------
    strangers
        What strangers have been promised, if the visitor is one.
    """
    most = policy.thresholds.max_items
    reads = n_reading(found.features) >= policy.thresholds.n_reading_events_content
    articles = tuple(_articles(found if reads else found._replace(reader=None), session, catalogs, partner)[:most])
    products = tuple(islice((item_id for item_id in found.product_ids if _is_for_sale(catalogs, partner, item_id)), most))
    named = {item_id: catalogs.item(partner, item_id) for item_id in products}
    shown = {item_id: item for item_id, item in named.items() if item is not None} | {a.item_id: a for a in articles}
    codes = session.events["category"]
    cart = [_Line(item_id, *_known(item_id, session, catalogs, partner)) for item_id in found.cart_ids]
    return Shelf(
        product_ids=products,
        content_ids=tuple(article.item_id for article in articles),
        cart_ids=found.cart_ids,
        offers=tuple(_offers(catalogs.offers(partner), cart, policy, spent, strangers, now_us)) if cart else (),
        cart_cents=_sum(cart),
        details={item_id: _details(item) for item_id, item in shown.items()},
        category=session.categories[int(codes[codes >= 0][-1])] if (codes >= 0).any() else None,
        item_id=last_item(session),
    )


def _is_for_sale(catalogs: PartnerCatalogs, partner: str, item_id: str) -> bool:
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


def _articles(found: Assessment, session: LiveSession, catalogs: PartnerCatalogs, partner: str) -> list[CatalogItem]:
    """Articles that the session has not met, best first."""
    if not catalogs.content(partner):
        return []
    codes = session.events["category"]
    known = codes[codes >= 0]
    category = session.categories[int(known[-1])] if len(known) else None
    met = set(session.item_ids)
    left = [a for a in catalogs.content(partner) if a.item_id not in met]
    left = sorted(left, key=lambda a: a.category != category)[:MOST_ARTICLES]
    ids = [a.item_id for a in left]
    affinity = np.zeros(len(ids)) if found.reader is None else found.reader.affinity(ids)
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
