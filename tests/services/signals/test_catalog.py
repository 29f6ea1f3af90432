"""Catalogues and offers: stored whole or not at all, and in memory of every worker soon after."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
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
    assert shop.view.item("shop", "shoe").price is None


def test_articles_are_content_and_make_no_catalogue_of_goods(shop: Shop) -> None:
    shop.put("items", {"item_id": "guide", "kind": "content", "title": "How to choose"})
    assert [article.item_id for article in shop.view.content("shop")] == ["guide"]
    assert shop.view.in_stock("shop", "shoe") is None


def test_what_is_sold_out_has_its_codes_in_every_model(shop: Shop) -> None:
    class Model:
        def __init__(self, *items: str) -> None:
            self.code = lambda item_id: items.index(item_id) if item_id in items else -1

    shop.put("items", SHOE | {"stock": 0}, {"item_id": "hat"}, {"item_id": "sock", "stock": 0})
    one, other = Model("hat", "shoe"), Model("shoe", "sock", "hat")
    assert shop.view.sold_out_codes("shop", one).tolist() == [1]
    assert sorted(shop.view.sold_out_codes("shop", other)) == [0, 1]
    shop.put("items", SHOE)
    assert shop.view.sold_out_codes("shop", other).tolist() == [1]
    assert np.array_equal(shop.view.sold_out_codes("nobody", one), [])


def test_what_is_sold_out_while_another_thread_asks_is_not_overlooked(shop: Shop) -> None:
    class Asked:
        def code(self, item_id: str | None) -> int:
            if shop.view.in_stock("shop", "hat"):  # in the middle of the question
                shop.put("items", {"item_id": "hat", "stock": 0})
            return {"shoe": 0, "hat": 1}[item_id or ""]

    shop.put("items", {"item_id": "shoe", "stock": 0}, {"item_id": "hat", "stock": 1})
    model = Asked()
    shop.view.sold_out_codes("shop", model)
    assert sorted(shop.view.sold_out_codes("shop", model)) == [0, 1]


def test_an_offer_keeps_its_terms(shop: Shop) -> None:
    shop.put(
        "offers",
        TENTH,
        {"offer_id": "five", "amount": 5, "currency": "EUR", "budget": 100, "valid_until": "2027-01-01T00:00:00Z"},
    )
    tenth, five = sorted(shop.view.offers("shop"), key=lambda offer: offer.offer_id, reverse=True)
    assert (tenth.percent, tenth.categories, tenth.item_ids, tenth.active) == (10, ("shoes",), (), True)
    assert (five.amount, five.currency, five.budget, five.valid_until_us) == (5, "EUR", 100, 1_798_761_600_000_000)


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
