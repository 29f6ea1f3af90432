"""``PUT /v1/catalog/items`` and ``PUT /v1/offers``: a batch is taken whole or not at all, and durable when it is answered."""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from infra.store.protocol import Transaction
from infra.store.statements.catalog import CURRENCIES, ITEM_FIELDS, NEXT_CHANGE, OFFER_FIELDS, PUT_ITEM, PUT_OFFER
from models.events.rules import parse_instant_us
from models.schema import MEASURES
from services.api.collaborators import Collaborators
from services.api.wire import Id
from services.http.calls import Call, Reply
from services.http.decoding import decode
from services.http.endpoints import Endpoint, Endpoints, Schemas
from services.http.idempotency import Writes
from services.http.openapi_schemas import INSTANT, components, optional, ref
from services.http.problems import Refusal

BODY_LIMIT: Final = 1024 * 1024
MAX_BATCH: Final = 1_000
_LOWEST, _HIGHEST = MEASURES["price"]

Price = Annotated[float, Meta(ge=_LOWEST, le=_HIGHEST)]
Title = Annotated[str, Meta(min_length=1, max_length=300)]
Url = Annotated[str, Meta(max_length=2048, pattern="^https?://[!-~]+$")]
Instant = Annotated[str, Meta(max_length=64)]


class ItemPut(msgspec.Struct):
    """An item to buy or an article (`kind` content), as it is from now on; `stock` 0 is sold out, null is not counted."""

    item_id: Id
    kind: Literal["item", "content"] = "item"
    category: Id | None = None
    price: Price | None = None
    stock: Annotated[int, Meta(ge=0, le=1_000_000_000)] | None = None
    title: Title | None = None
    url: Url | None = None


class ItemsPut(msgspec.Struct):
    """Items and articles; those of before that are not named stay as they are."""

    items: Annotated[list[ItemPut], Meta(max_length=MAX_BATCH)]


class OfferPut(msgspec.Struct):
    """A discount as it is from now on: `percent` or `amount`, and what may be given away in all (`budget`).

    Without `item_ids` and `categories` it holds for everything, from `min_price` on.
    """

    offer_id: Id
    title: Title | None = None
    percent: Annotated[float, Meta(gt=0, le=100)] | None = None
    amount: Annotated[float, Meta(gt=0, le=_HIGHEST)] | None = None
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] | None = None
    code: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    budget: Price | None = None
    min_price: Price | None = None
    categories: Annotated[list[Id], Meta(max_length=100)] = []
    item_ids: Annotated[list[Id], Meta(max_length=1_000)] = []
    valid_from: Instant | None = None
    valid_until: Instant | None = None
    active: bool = True


class OffersPut(msgspec.Struct):
    """Offers; those of before that are not named stay as they are."""

    offers: Annotated[list[OfferPut], Meta(max_length=MAX_BATCH)]


class Stored(msgspec.Struct):
    """Number of entries stored, and of this change of the partner's catalogue; the latter counts up."""

    stored: int
    change: int


_ITEMS: Final = msgspec.json.Decoder(ItemsPut)
_OFFERS: Final = msgspec.json.Decoder(OffersPut)


class CatalogHandler:
    """Handler of catalogues and offers.

    Parameters
    ----------
    size_with
        Items that the catalogue of a partner would have with some more; may be behind by what was put a moment ago.
    most
        Items that a catalogue may have.
    """

    def __init__(
        self, writes: Writes, size_with: Callable[[Call, Sequence[str]], int] = lambda call, item_ids: 0, most: int = 0
    ) -> None:
        self._writes = writes
        self._size_with = size_with
        self._most = most

    async def put_items(self, call: Call) -> Reply:
        """``PUT /v1/catalog/items``.

        Raises
        ------
        Refusal
            422 where the catalogue would grow beyond what it may have.
        """
        items = decode(_ITEMS, call.body).items
        if self._size_with(call, [item.item_id for item in items]) > self._most:
            raise Refusal(422, f"a catalogue may have {self._most} items; ATTUNE_CATALOG_ITEMS is the setting", "/items")
        return await self._put(call, PUT_ITEM, [tuple(getattr(item, name) for name in ITEM_FIELDS) for item in items])

    async def put_offers(self, call: Call) -> Reply:
        """``PUT /v1/offers``.

        Raises
        ------
        Refusal
            409 for an offer in another currency than the rest: budgets are in one.
        """
        offers = decode(_OFFERS, call.body).offers
        rows = [_offer_row(offer, f"/offers/{i}") for i, offer in enumerate(offers)]
        return await self._put(call, PUT_OFFER, rows, lambda transaction: _require_one_currency(call, transaction, offers))

    async def _put(
        self, call: Call, statement: str, found: list[tuple[Any, ...]], check: Callable[[Transaction], None] = lambda _: None
    ) -> Reply:
        def put(transaction: Transaction) -> Stored:
            check(transaction)
            ((change,),) = transaction.read(NEXT_CHANGE, (call.partner,))
            transaction.executemany(statement, ((call.partner, *row, call.received_at_us, change) for row in found))
            return Stored(len(found), change)

        return await self._writes.write(call, put)


def _require_one_currency(call: Call, transaction: Transaction, offers: Sequence[OfferPut]) -> None:
    others = msgspec.json.encode([offer.offer_id for offer in offers]).decode()
    known = {currency for (currency,) in transaction.read(CURRENCIES, (call.partner, others))}
    for place, offer in enumerate(offers):
        if not offer.active or offer.currency is None:
            continue
        if known - {offer.currency}:
            said = "offers that hold at one time are in one currency, as budgets are; set the others to active false first"
            raise Refusal(409, said, f"/offers/{place}/currency")
        known.add(offer.currency)


def _offer_row(offer: OfferPut, pointer: str) -> tuple[Any, ...]:
    """The values of `OFFER_FIELDS`.

    Raises
    ------
    Refusal
        422 for an offer that contradicts itself.
    """
    if (offer.percent is None) == (offer.amount is None):
        raise Refusal(422, "an offer has either percent or amount", pointer)
    if offer.currency is None and (offer.amount is not None or offer.budget is not None):
        raise Refusal(422, "an amount or a budget needs a currency", f"{pointer}/currency")
    begins_us = _instant_us(offer.valid_from, f"{pointer}/valid_from")
    ends_us = _instant_us(offer.valid_until, f"{pointer}/valid_until")
    listed = {name: msgspec.json.encode(getattr(offer, name)).decode() for name in ("categories", "item_ids")}
    values = msgspec.structs.asdict(offer) | listed | {"valid_from_us": begins_us, "valid_until_us": ends_us}
    return tuple(values[name] for name in OFFER_FIELDS)


def _instant_us(text: str | None, pointer: str) -> int | None:
    try:
        return None if text is None else parse_instant_us(text)
    except (ValueError, OverflowError):
        raise Refusal(422, "this must be an RFC 3339 instant with a UTC offset", pointer) from None


def schemas(today: date) -> Schemas:
    """Schemas of an offer: of a share or of an amount, its instants, and that a budget needs a currency."""
    offer = components(OfferPut)["OfferPut"]
    instant = optional({"type": "string", "pattern": INSTANT})
    fields = offer["properties"] | {"valid_from": instant, "valid_until": instant}
    missing = {"type": "null"}

    def kind(given: str, other: str, about: str) -> dict[str, Any]:
        bare, *_ = fields[given]["anyOf"]
        described = {"title": f"{given.capitalize()}Offer", "description": about, "type": "object"}
        return described | {"properties": fields | {given: bare, other: missing}, "required": ["offer_id", given]}

    currency, *_ = fields["currency"]["anyOf"]
    with_budget = {"required": ["budget"], "properties": {"budget": {"type": "number"}}}
    by_percent = kind("percent", "amount", "A discount of a share; a budget needs a currency.")
    by_percent |= {"if": with_budget, "then": {"required": ["currency"], "properties": {"currency": {"type": "string"}}}}
    by_amount = kind("amount", "percent", "A discount of an amount, in a currency.")
    by_amount["required"] += ["currency"]
    by_amount["properties"] |= {"currency": currency}
    kinds = {"PercentOffer": by_percent, "AmountOffer": by_amount}
    return kinds | {"OfferPut": {"description": offer["description"], "oneOf": [ref(name) for name in kinds]}}


def endpoints(shared: Collaborators) -> Endpoints:
    """Endpoints of catalogue and offers."""

    def size_with(call: Call, item_ids: Sequence[str]) -> int:
        shared.catalog.refresh(call.received_at_us / 1e6)
        return shared.catalog.size_with(call.partner, item_ids)

    handler, scope = CatalogHandler(shared.writes, size_with, shared.settings.catalog_items), "catalog:write"
    item = {"item_id": "sku-9", "category": "shoes", "price": 79.0, "stock": 12, "title": "Trail shoe"}
    offer = {"offer_id": "autumn", "percent": 10, "currency": "EUR", "budget": 500, "categories": ["shoes"]}
    return {
        ("PUT", "/v1/catalog/items"): Endpoint(
            handler.put_items, scope, "put_items", "What may be recommended: items and articles",
            request=ItemsPut, answer=Stored, example={"items": [item]}, limit=BODY_LIMIT,
        ),
        ("PUT", "/v1/offers"): Endpoint(
            handler.put_offers, scope, "put_offers", "Which discounts may be offered",
            request=OffersPut, answer=Stored, example={"offers": [offer]}, limit=BODY_LIMIT, schemas=schemas,
        ),
    }  # fmt: skip
