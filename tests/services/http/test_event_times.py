"""Events at the door: when they happened, how their values are written, and what is kept of those that are rejected."""

import gzip
import json
from datetime import timedelta
from typing import Any

import pytest

from tests.services.shop_door import NOW, NOW_US, Service, batch, event, service
from tests.stores import connect

__all__ = ["service"]

# ---- the clock ---------------------------------------------------------------------------------------------------


def occurred(service: Service) -> list[float]:
    """Hours before now."""
    rows = connect(service.home).execute("SELECT occurred_at_us FROM events ORDER BY seq").fetchall()
    return [(NOW_US - at_us) / 3_600_000_000 for (at_us,) in rows]


def test_a_clock_that_is_wrong_is_corrected_by_the_time_of_sending(service: Service) -> None:
    three_days = timedelta(days=3)
    wrong = [event("a", ts=(NOW + three_days - timedelta(hours=2)).isoformat())]
    assert service.ask(batch(*wrong)).json()["rejected"] == 1
    assert service.ask(batch(*wrong, sent_at=(NOW + three_days).isoformat())).json()["accepted"] == 1
    assert service.ask(batch(event("b"), sent_at=(NOW - timedelta(seconds=1)).isoformat())).json()["accepted"] == 1
    assert occurred(service) == [2.0, 1.0]
    assert service.ask(batch(sent_at="yesterday")).json()["pointer"] == "/sent_at"


def test_a_batch_that_was_long_on_its_way_keeps_the_devices_own_order(service: Service) -> None:
    """Sent at once and received 40 s later; then one sent later and received at once."""
    cart, bought = NOW - timedelta(seconds=40), NOW - timedelta(seconds=20)
    told = {"type": "add_to_cart", "item_id": "a"}
    service.ask(batch(event("cart", ts=cart.isoformat(), **told), sent_at=cart.isoformat()))
    service.ask(batch(event("bought", ts=bought.isoformat(), **{**told, "type": "purchase"}), sent_at=NOW.isoformat()))
    in_order = "SELECT event_id FROM events ORDER BY occurred_at_us"
    assert connect(service.home).execute(in_order).fetchall() == [("cart",), ("bought",)]


def test_no_event_is_later_than_its_arrival_and_those_of_one_visitor_keep_their_distance(service: Service) -> None:
    ahead = [NOW + timedelta(hours=23, seconds=s) for s in (0, 10)]
    service.ask(batch(event("a", ts=ahead[0].isoformat()), event("old"), event("b", ts=ahead[1].isoformat())))
    other = event("c", user_id="other", ts=(NOW + timedelta(seconds=5)).isoformat())
    service.ask(batch(other))
    assert [round(hours * 3600, 3) for hours in occurred(service)] == [10.0, 3600.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("hours_ahead", "status"), [(23.9, "accepted"), (24.1, "rejected"), (-719, "accepted"), (-721, "rejected")]
)
def test_a_day_ahead_and_thirty_days_late_are_the_limits(service: Service, hours_ahead: float, status: str) -> None:
    (result,) = service.ask(batch(event(ts=(NOW + timedelta(hours=hours_ahead)).isoformat()))).json()["results"]
    assert (result["status"], result.get("pointer")) == (status, None if status == "accepted" else "/events/0/ts")


def test_a_byte_order_mark_before_the_body_is_passed_over(service: Service) -> None:
    body = b"\xef\xbb\xbf" + json.dumps({"events": [event("a")]}).encode()
    assert service.ask(body).json()["accepted"] == 1
    assert service.ask(gzip.compress(body), **{"content-encoding": "gzip"}).json()["duplicate"] == 1


# ---- rejected events ---------------------------------------------------------------------------------------------


def test_a_rejected_event_is_kept_once_without_user_query_and_unknown_fields(service: Service) -> None:
    bad = event(user_id="canary-1", type="dance", query="canary-2", note="canary-3", category=["canary-4"])
    for _ in "ab":
        assert service.ask(batch(bad, event("good"))).json()["rejected"] == 1
    ((partner, reason, raw),) = connect(service.home).execute("SELECT partner, reason, raw FROM quarantine").fetchall()
    assert (partner, reason.split(":")[0]) == ("shop", "category")
    assert json.loads(raw)["type"] == "dance"
    stored = b"".join(path.read_bytes() for path in service.home.iterdir() if path.is_file())
    assert b"canary" not in stored


def test_foreign_names_are_read_as_ours(service: Service) -> None:
    ts = event()["ts"]
    ga4 = {"event_id": "1", "name": "view_item", "client_id": "u", "timestamp_micros": NOW_US,
           "params": {"ga_session_id": "s", "items": [{"item_id": "a", "item_category": "shoes", "price": 9.5}]}}  # fmt: skip
    segment = {"type": "track", "event": "Order Completed", "messageId": "2", "userId": "u", "timestamp": ts,
               "properties": {"products": [{"product_id": "a", "price": 3}, {"product_id": "b"}]}}  # fmt: skip
    retail = {"event_id": "3", "eventType": "detail-page-view", "visitorId": "u", "eventTime": ts, "sessionId": "s",
              "productDetails": [{"product": {"id": "a"}, "quantity": 1}]}  # fmt: skip
    search = {"event_id": "4", "eventType": "search", "visitorId": "u", "eventTime": ts, "searchQuery": "canary"}
    answer = service.ask(batch(ga4, segment, retail, search)).json()
    assert (answer["accepted"], answer["rejected"]) == (4, 0)
    names = "event_id, event_type, item_id, category, price, query_length, session_id"
    assert connect(service.home).execute(f"SELECT {names} FROM events ORDER BY seq").fetchall() == [
        ("1", "item_view", "a", "shoes", 9.5, None, "s"),
        ("2", "purchase", "a", None, 3.0, None, None),
        ("2~2", "purchase", "b", None, None, None, None),
        ("3", "item_view", "a", None, None, None, "s"),
        ("4", "search", None, None, None, 6.0, None),
    ]


def test_values_come_as_their_senders_tools_write_them(service: Service) -> None:
    ts = event()["ts"]
    track: dict[str, Any] = {"type": "track", "event": "Product Added", "timestamp": ts}
    told = {"product_id": 7654321, "price": "12.50", "quantity": "2"}
    sent = [
        {**track, "messageId": "1", "userId": "", "anonymousId": "anon", "properties": told},
        {**track, "messageId": "2", "userId": None, "anonymousId": "anon", "properties": told},
        {**track, "messageId": "3", "userId": 90817, "properties": told},
        {**track, "messageId": "4", "userId": "90817", "properties": told},
        {**track, "messageId": "5", "userId": "", "properties": told},
    ]
    answer = service.ask(batch(*sent)).json()
    assert [one["status"] for one in answer["results"]] == ["accepted"] * 4 + ["rejected"]
    rows = connect(service.home).execute("SELECT user_id, item_id, price FROM events ORDER BY seq").fetchall()
    assert [row[1:] for row in rows] == [("7654321", 12.5)] * 4
    assert rows[0][0] == rows[1][0] != rows[2][0] == rows[3][0]


def test_an_order_of_120_products_is_120_rows(service: Service) -> None:
    products = [{"product_id": f"p-{n}", "price": 1} for n in range(120)]
    order = {"type": "track", "event": "Order Completed", "messageId": "m", "userId": "u", "timestamp": event()["ts"]}
    assert service.ask(batch({**order, "properties": {"products": products}})).json()["accepted"] == 1
    assert connect(service.home).execute("SELECT count(DISTINCT item_id) FROM events").fetchall() == [(120,)]


def test_an_event_may_name_the_decision_that_led_to_it(service: Service) -> None:
    answer = service.ask(batch(event("a", decision_id="d-1"), event("b", decision_id=7), event("c"))).json()
    assert [(r["status"], r.get("pointer")) for r in answer["results"]][1] == ("rejected", "/events/1/decision_id")
    assert connect(service.home).execute("SELECT event_id, decision_id FROM events").fetchall() == [("a", "d-1"), ("c", None)]
