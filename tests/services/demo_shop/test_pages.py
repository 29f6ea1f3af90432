"""The demo shop's pages, without a browser: what they mark, what they let through, and that they say nothing of a person."""

import re
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from services.demo_shop.app import build
from services.demo_shop.attune import Partner
from services.demo_shop.goods import stocked
from services.demo_shop.pages import Settings
from services.demo_shop.pictures import picture

HOST = "127.0.0.1"
ABOUT = Settings(attune="http://127.0.0.1:9", key="pk_x", bots=False, console=None)


@pytest.fixture
def shop() -> Iterator[TestClient]:
    app, _ = build(Partner("sk_x", "http://127.0.0.1:9", "http://127.0.0.1:3002"), ABOUT, [HOST])
    with TestClient(app, base_url=f"http://{HOST}") as client:
        yield client


def test_goods_are_the_simulators_and_the_same_every_time() -> None:
    goods, again = stocked(), stocked()
    assert goods == again
    assert len({one.title for one in goods.products}) > 500
    assert {len(one.reviews) for one in goods.products} == {3}
    assert all(one.price > 0 for one in goods.products)


def test_each_category_has_a_drawing_of_its_own() -> None:
    drawn = {re.sub(r"hsl\([^)]*\)|scale\([^)]*\)", "", picture("sku-00001", name)) for name in stocked().by_category}
    assert len(drawn) == 20


@pytest.mark.parametrize(
    ("path", "mark"),
    [
        ("/item/sku-00005", 'data-attune-page="item_view" data-attune-item="sku-00005"'),
        ("/c/shoes", 'data-attune-page="category_browse" data-attune-category="shoes"'),
        ("/cart", 'data-attune-page="cart_view"'),
        ("/checkout", 'data-attune-page="checkout_view"'),
    ],
)
def test_pages_say_what_they_are(shop: TestClient, path: str, mark: str) -> None:
    page = shop.get(path)
    assert page.status_code == 200
    assert mark in page.text
    assert page.text.count("data-attune-page=") == 1
    assert len(page.content) < 150_000


def test_a_search_is_told_by_its_form_only(shop: TestClient) -> None:
    page = shop.get("/search?q=backpack").text
    assert "data-attune-page" not in page
    assert "data-attune-search" in page
    assert len(re.findall(r'class="card" href="/item/', page)) > 10


def test_filter_and_order_stand_in_the_address(shop: TestClient) -> None:
    prices = [float(one) for one in re.findall(r"<b>([\d.]+) €</b>", shop.get("/c/shoes?sort=price+down&most=50").text)]
    assert prices == sorted(prices, reverse=True)
    assert prices
    assert max(prices) <= 50


def test_a_cart_is_kept_by_a_cookie_and_emptied_by_the_order(shop: TestClient) -> None:
    fields = {"item_id": "sku-00005"}
    assert shop.post("/do/put", data=fields, headers={"accept": "application/json"}).json()["n_pieces"] == 1
    assert stocked()["sku-00005"].title in shop.get("/cart").text
    assert TestClient(shop.app, base_url=f"http://{HOST}").get("/cart").text.count("sku-00005") == 0
    assert shop.post("/do/order", data={}).url.path == "/thanks"
    assert "The cart is empty" in shop.get("/cart").text


def test_nothing_is_watched_before_somebody_says_yes(shop: TestClient) -> None:
    assert 'data-consent="pending"' in shop.get("/").text
    shop.post("/do/consent", data={"state": "granted"})
    assert 'data-consent="granted"' in shop.get("/").text
    shop.post("/do/consent", data={"state": "everything"})
    assert 'data-consent="granted"' in shop.get("/").text
    assert shop.post("/do/consent", data={"state": "denied"}).status_code == 200
    assert shop.post("/moment", content=b"{}").json() == {}


def test_pages_are_strict_about_where_things_come_from(shop: TestClient) -> None:
    answer = shop.get("/item/sku-00005")
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert re.findall(r"<script(?![^>]*src=)|\son\w+=|style=", answer.text) == []
    assert shop.get("/", headers={"host": "elsewhere.example"}).status_code == 400
    assert shop.get("/item/sku-9").status_code == 404
    moved = shop.post("/do/compare", data={"item_id": "sku-00005"}, headers={"referer": "https://elsewhere.example//x"},
                      follow_redirects=False)  # fmt: skip
    assert moved.headers["location"] == "/x"


def test_a_walk_is_a_simulated_visitor_with_what_is_on_its_mind(shop: TestClient) -> None:
    steps = shop.get("/walk?as=buyer&seed=4").json()
    assert steps[0]["intent"] == "intent_to_purchase"
    assert all(900 <= one["pause_ms"] <= 2600 for one in steps)
    assert {one["item_id"] for one in steps if "item_id" in one} <= stocked().by_id.keys()
    assert steps == shop.get("/walk?as=buyer&seed=4").json()
    assert shop.get("/walk?as=nobody").status_code == 422


def test_a_forged_message_is_no_signal(shop: TestClient) -> None:
    assert shop.post("/hooks/attune", content=b"{}", headers={"webhook-id": "m"}).status_code == 400
