"""Orders: what a purchase says of its money and its buyer is kept, and an item of an order is bought once, whoever tells."""

from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flows.append import ingest_file
from infra.store.engines import open_store
from infra.store.statements.trust import PAID
from tests.services.shop_door import NOW, Service, batch, event, service
from tests.stores import connect

__all__ = ["service"]

COLUMNS = "order_id, quantity, currency, revenue, segment, region, customer_group"


def bought(event_id: str, item_id: str = "a", **more: Any) -> dict[str, Any]:
    return event(event_id, type="purchase", item_id=item_id, **more)


def paid(home: Path) -> list[tuple[str, float | None]]:
    with closing(connect(home)) as store:
        rows: list[tuple[str, float | None]] = store.execute(f"SELECT event_id, {PAID} FROM events ORDER BY seq").fetchall()
        return rows


def counted(home: Path) -> list[str]:
    """Ids of the events that validation and folds see."""
    held = "SELECT seq FROM quarantine WHERE seq IS NOT NULL AND replayed_at_us IS NULL"
    with closing(connect(home)) as store:
        return [id for (id,) in store.execute(f"SELECT event_id FROM events WHERE seq NOT IN ({held}) ORDER BY seq")]


def test_a_purchase_says_what_was_paid_and_the_context_whom_the_shop_takes_the_visitor_for(service: Service) -> None:
    groups = {"segment": "gift buyers", "region": "north", "customer_group": "b2b"}
    whole = bought("1", order_id="o-1", quantity=3, currency="eur", revenue=25.0, price=10.0, context=groups)
    assert service.ask(batch(whole, bought("2", price=10.0, quantity=3), bought("3", price=10.0))).json()["accepted"] == 3
    with closing(connect(service.home)) as store:
        rows = store.execute(f"SELECT {COLUMNS} FROM events ORDER BY seq").fetchall()
    assert rows[0] == ("o-1", 3.0, "EUR", 25.0, "gift buyers", "north", "b2b")
    assert rows[2] == (None,) * 7
    assert paid(service.home) == [("1", 25.0), ("2", 30.0), ("3", 10.0)]


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"quantity": 0}, "/quantity"),
        ({"quantity": "2"}, "/quantity"),
        ({"revenue": -1}, "/revenue"),
        ({"currency": "Euro"}, "/currency"),
        ({"order_id": 17}, "/order_id"),
        ({"order_id": ""}, "/order_id"),
        ({"context": {"segment": ["a"]}}, "/context/segment"),
        ({"context": {"customer_group": "x" * 257}}, "/context/customer_group"),
    ],
)
def test_what_cannot_be_is_refused_at_its_place_and_alone(service: Service, fields: dict[str, Any], pointer: str) -> None:
    results = service.ask(batch(bought("bad", **fields), bought("good"))).json()["results"]
    assert [(one["status"], one.get("pointer")) for one in results] == [("rejected", f"/events/0{pointer}"), ("accepted", None)]


def test_an_order_that_is_told_twice_is_one_purchase(service: Service) -> None:
    first = service.ask(batch(bought("1", order_id="o"), bought("2", "b", order_id="o"), bought("3", order_id="p"))).json()
    again = service.ask(batch(bought("4", order_id="o"), bought("5", "b", order_id="o"))).json()
    assert [(one["accepted"], one["duplicate"]) for one in (first, again)] == [(3, 0), (0, 2)]


def test_a_page_that_tells_of_the_shops_order_adds_nothing(service: Service) -> None:
    service.ask(batch(bought("1", order_id="o", price=9.0)))
    assert service.ask(batch(bought("page", order_id="o")), key=service.browser).json()["duplicate"] == 1
    assert counted(service.home) == ["1"]


def test_the_shops_word_takes_the_place_of_the_pages(service: Service) -> None:
    told = batch(bought("page", order_id="o"), bought("page b", "b", order_id="o"))
    assert service.ask(told, key=service.browser).json()["accepted"] == 2
    with closing(connect(service.home)) as store:
        into = "INSERT INTO reward_events (seq, decision_id, reward, revenue)"
        store.execute(f"{into} SELECT min(seq), 'd', 1.0, 9.0 FROM events")
    assert service.ask(batch(bought("1", order_id="o"))).json()["accepted"] == 1
    assert [id.lstrip("\x1f") for id in counted(service.home)] == ["page b", "1"]
    with closing(connect(service.home)) as store:
        assert store.execute("SELECT count(*) FROM reward_events").fetchall() == [(0,)]


def test_a_page_cannot_take_an_order_from_its_shop(service: Service) -> None:
    service.ask(batch(bought("guess", order_id="o-1")), key=service.browser)
    assert service.ask(batch(bought("true", order_id="o-1"))).json()["accepted"] == 1
    assert counted(service.home) == ["true"]


def test_files_and_the_door_tell_of_the_same_orders(service: Service, tmp_path: Path) -> None:
    service.ask(batch(bought("1", order_id="o", price=2.0)))
    rows = [bought("f-1", order_id="o", price=2.0), bought("f-2", "b", order_id="o", price=5.0, quantity=2)]
    file = tmp_path / "orders.jsonl"
    file.write_bytes(b"\n".join(map(msgspec.json.encode, [*rows, bought("f-3", quantity=-1)])))
    assert tuple(ingest_file(file, "attune", service.home, "shop", progress=False)) == (1, 1, 1)
    assert paid(service.home) == [("1", 2.0), ("f-2", 10.0)]
    with closing(open_store(service.home)) as store:
        assert store.read("SELECT reason FROM quarantine") == [("quantity: quantity must be a number above 0, at most 1e+06",)]


def test_foreign_orders_bring_their_money(service: Service) -> None:
    ts = NOW.isoformat()
    told = {"order_id": 50314, "currency": "USD", "revenue": "90.5", "quantity": "2"}
    segment = {"type": "track", "event": "Order Completed", "messageId": "s", "userId": "u", "timestamp": ts}
    lines = [{"product_id": "a", "price": "10", "quantity": "2"}, {"product_id": "a", "price": 11}]
    ga4 = {"event_id": "g", "name": "purchase", "client_id": "u", "timestamp_micros": 1_795_262_400_000_000}
    unpriced = {"transaction_id": "T", "value": 30, "items": [{"item_id": "a"}, {"item_id": "b"}]}
    retail = {"event_id": "r", "eventType": "purchase-complete", "visitorId": "u", "eventTime": ts,
              "productDetails": [{"product": {"id": "a"}, "quantity": 4}],
              "purchaseTransaction": {"id": "R", "revenue": 12, "currencyCode": "EUR"}}  # fmt: skip
    odd = {
        **ga4,
        "event_id": "odd",
        "params": {"value": "free", "currency": "gold", "items": [{"item_id": "z", "quantity": 0}]},
    }
    order: dict[str, Any] = {**segment, "properties": {**told, "products": lines}}
    sent = [order, {**ga4, "params": unpriced}, retail, odd]
    assert service.ask(batch(*sent)).json()["rejected"] == 0
    with closing(connect(service.home)) as store:
        rows = store.execute(f"SELECT event_id, order_id, quantity, currency, {PAID} FROM events ORDER BY seq").fetchall()
    assert rows == [
        ("s", "50314", 2.0, "USD", 20.0),
        ("s~2", "50314~2", 2.0, "USD", 22.0),
        ("g", "T", None, None, 15.0),
        ("g~2", "T", None, None, 15.0),
        ("r", "R", 4.0, "EUR", 12.0),
        ("odd", None, None, None, None),
    ]
