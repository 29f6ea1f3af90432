"""Catalogues and offers: stored whole or not at all, and in memory of every worker soon after."""

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from infra.store.engines import open_writer
from services.api.catalog import CatalogHandler
from services.http.calls import Call
from services.http.idempotency import Writes
from services.http.partners import Caller
from services.http.problems import Refusal
from services.signals.catalog import Catalog, CatalogItem

NOW_US = 1_795_255_200_000_000
SHOE = {"item_id": "shoe", "category": "shoes", "price": 79.0, "stock": 3, "title": "Shoe", "url": "https://shop.example/shoe"}
TENTH = {"offer_id": "tenth", "percent": 10, "categories": ["shoes"]}


class Shop:
    """A handler and the view that a worker has."""

    def __init__(self, home: Path) -> None:
        self.writer = open_writer(home, lambda: NOW_US)
        self._handler = CatalogHandler(Writes(self.writer, bytes(32)))
        self.view = Catalog(home, check_s=0)

    def put(self, what: str, *things: dict[str, Any], partner: str = "shop") -> Any:
        call = Call(Caller(partner, frozenset(), "sk"), msgspec.json.encode({what: things}), received_at_us=NOW_US)
        answer = asyncio.run(self._handler.put_items(call) if what == "items" else self._handler.put_offers(call)).body
        self.view.refresh(NOW_US / 1e6)
        return answer


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    opened = Shop(tmp_path)
    yield opened
    opened.writer.close()


def test_an_item_is_known_to_its_partner_only_and_the_newest_state_counts(shop: Shop) -> None:
    assert shop.view.in_stock("shop", "shoe") is None
    assert shop.put("items", SHOE).stored == 1
    assert shop.view.item("shop", "shoe") == CatalogItem("shoe", "item", "shoes", 79.0, 3, "Shoe", "https://shop.example/shoe")
    assert [shop.view.in_stock("shop", i) for i in ("shoe", "hat")] == [True, False]
    assert shop.view.in_stock("other", "shoe") is None
    assert shop.put("items", {"item_id": "shoe", "stock": 0}).change == 2
    assert shop.view.in_stock("shop", "shoe") is False
    shoe = shop.view.item("shop", "shoe")
    assert shoe is not None
    assert shoe.price is None


def test_articles_are_content_and_make_no_catalogue_of_goods(shop: Shop) -> None:
    shop.put("items", {"item_id": "guide", "kind": "content", "title": "How to choose"})
    assert [article.item_id for article in shop.view.content("shop")] == ["guide"]
    assert shop.view.in_stock("shop", "shoe") is None


class Model:
    """A model that knows some items by code."""

    def __init__(self, *items: str) -> None:
        self.item_ids, self.n_items = list(items), len(items)

    def code(self, item_id: str | None) -> int:
        return self.item_ids.index(item_id or "") if item_id in self.item_ids[: self.n_items] else -1

    def codes(self, item_ids: Iterable[str]) -> dict[str, int]:
        return {item_id: self.code(item_id) for item_id in item_ids}

    def learns(self, item: str) -> "Model":
        """The same model later on: its list of items has grown."""
        self.item_ids.append(item)
        later = Model()
        later.item_ids, later.n_items = self.item_ids, len(self.item_ids)
        return later


def shown(shop: Shop, model: Model, partner: str = "shop") -> list[str]:
    flags = shop.view.allowed(partner, model)
    return [item for item, flag in zip(model.item_ids[: model.n_items], flags, strict=False) if flag]


def test_what_the_catalogue_does_not_have_or_has_sold_out_may_not_be_shown(shop: Shop) -> None:
    one, other = Model("hat", "shoe", "made up"), Model("shoe", "sock", "hat")
    assert len(shop.view.allowed("shop", one)) == 0  # all may
    shop.put("items", SHOE | {"stock": 0}, {"item_id": "hat"}, {"item_id": "sock", "stock": 0})
    assert shown(shop, one) == ["hat"]
    assert shown(shop, other) == ["hat"]
    shop.put("items", SHOE)
    assert shown(shop, other) == ["shoe", "hat"]
    assert len(shop.view.allowed("nobody", one)) == 0


def test_articles_alone_limit_nothing_but_themselves(shop: Shop) -> None:
    shop.put("items", {"item_id": "guide", "kind": "content", "stock": 0}, {"item_id": "news", "kind": "content"})
    model = Model("guide", "news", "hat")
    assert shown(shop, model) == ["news", "hat"]
    shop.put("items", SHOE)
    assert shown(shop, model) == ["news"]


def test_flags_are_kept_and_follow_catalogue_and_model(shop: Shop) -> None:
    shop.put("items", {"item_id": "hat"}, {"item_id": "sock"})
    model = Model("hat", "made up")
    flags = shop.view.allowed("shop", model)
    assert shop.view.allowed("shop", model) is flags
    later = model.learns("sock").learns("another")
    assert shown(shop, later) == ["hat", "sock"]
    for k in range(80):  # more changes than are remembered; the flags of before are not written to
        shop.put("items", {"item_id": "sock", "stock": k % 2}, {"item_id": f"new-{k}"})
        assert k % 7 or shown(shop, later) == ["hat", "sock"][: 1 + k % 2]
    assert shown(shop, later) == ["hat", "sock"]
    assert shown(shop, model) == ["hat"]  # asked by the earlier state once more
    assert flags.tolist() == [True, False]


def test_what_is_sold_out_while_another_thread_asks_is_not_overlooked(shop: Shop) -> None:
    class Asked(Model):
        def code(self, item_id: str | None) -> int:
            if item_id == "shoe" and shop.view.in_stock("shop", "hat"):  # in the middle of the question
                shop.put("items", {"item_id": "hat", "stock": 0})
            return super().code(item_id)

    shop.put("items", {"item_id": "shoe"}, {"item_id": "hat", "stock": 1})
    model = Asked("hat", "shoe")
    assert shown(shop, model) == ["hat", "shoe"]
    shop.put("items", {"item_id": "shoe", "stock": 0})
    shop.view.allowed("shop", model)
    assert shown(shop, model) == []


def test_what_a_catalogue_has_is_counted_by_what_changes(shop: Shop) -> None:
    shop.put("items", SHOE | {"stock": 0}, {"item_id": "guide", "kind": "content"})
    assert shop.view.size_with("shop", ["shoe", "hat", "hat"]) == 3
    assert shop.view.size_with("nobody", ["shoe"]) == 1
    shop.put("items", {"item_id": "shoe", "kind": "content", "stock": 0})  # the only thing to buy becomes an article
    assert shop.view.in_stock("shop", "shoe") is None
    shop.put("items", {"item_id": "guide"})  # and the article a thing
    assert (shop.view.in_stock("shop", "guide"), shop.view.content("shop")) == (True, ())


def test_a_catalogue_does_not_grow_beyond_its_limit(shop: Shop) -> None:
    known = shop.view
    shop._handler = CatalogHandler(shop._handler._writes, lambda call, ids: known.size_with(call.partner, ids), most=2)
    shop.put("items", SHOE, {"item_id": "hat"})
    with pytest.raises(Refusal, match="may have 2 items; ATTUNE_CATALOG_ITEMS") as refusal:
        shop.put("items", {"item_id": "sock"})
    assert (refusal.value.problem.status, refusal.value.problem.pointer) == (422, "/items")
    assert shop.put("items", {"item_id": "hat", "stock": 0}).stored == 1
    assert shop.put("items", {"item_id": "sock"}, partner="other").stored == 1


def test_an_offer_keeps_its_terms(shop: Shop) -> None:
    shop.put(
        "offers",
        TENTH,
        {"offer_id": "five", "amount": 5, "currency": "EUR", "budget": 100, "valid_until": "2027-01-01T00:00:00Z"},
    )
    tenth, five = sorted(shop.view.offers("shop"), key=lambda offer: offer.offer_id, reverse=True)
    assert (tenth.percent, tenth.categories, tenth.item_ids, tenth.active) == (10, ("shoes",), (), True)
    assert (five.amount, five.currency, five.budget, five.valid_until_us) == (5, "EUR", 100, 1_798_761_600_000_000)


def test_offers_that_hold_at_one_time_are_in_one_currency(shop: Shop) -> None:
    euros, dollars = ({"offer_id": name, "amount": 5, "currency": name} for name in ("EUR", "USD"))
    shop.put("offers", euros, TENTH)
    for offers, pointer in (([dollars], "/offers/0/currency"), ([euros, dollars], "/offers/1/currency")):
        with pytest.raises(Refusal, match="in one currency") as refusal:
            shop.put("offers", *offers)
        assert (refusal.value.problem.status, refusal.value.problem.pointer) == (409, pointer)
    shop.put("offers", euros | {"active": False}, dollars)
    assert {offer.offer_id for offer in shop.view.offers("shop") if offer.active and offer.currency} == {"USD"}
    assert shop.put("offers", euros, partner="other").stored == 1


@pytest.mark.parametrize(
    ("what", "thing", "pointer"),
    [
        ("items", {"item_id": ""}, "/items/1/item_id"),
        ("items", {"item_id": "a", "price": -1}, "/items/1/price"),
        ("items", {"item_id": "a", "stock": 1.5}, "/items/1/stock"),
        ("items", {"item_id": "a", "kind": "car"}, "/items/1/kind"),
        ("items", {"item_id": "a", "url": "javascript:alert(1)"}, "/items/1/url"),
        ("offers", {"offer_id": "a"}, "/offers/1"),
        ("offers", {"offer_id": "a", "percent": 10, "amount": 1, "currency": "EUR"}, "/offers/1"),
        ("offers", {"offer_id": "a", "amount": 5}, "/offers/1/currency"),
        ("offers", {"offer_id": "a", "percent": 101}, "/offers/1/percent"),
        ("offers", {"offer_id": "a", "percent": 5, "valid_until": "soon"}, "/offers/1/valid_until"),
    ],
)
def test_a_bad_one_is_pointed_at_and_its_neighbours_are_not_stored(shop: Shop, what: str, thing: Any, pointer: str) -> None:
    with pytest.raises(Refusal) as refusal:
        shop.put(what, SHOE if what == "items" else TENTH, thing)
    assert (refusal.value.problem.status, refusal.value.problem.pointer) == (422, pointer)
    shop.view.refresh(NOW_US / 1e6)
    assert shop.view.item("shop", "shoe") is None
    assert shop.view.offers("shop") == ()
