"""Poisoning by browser keys: what invented visitors send, one small function per attack, each with what it must not move.

`tests/services/test_attack_poison.py` runs them against a home in one process; against a running instance, send the same events
with a browser key. The rule that they are held against is in `docs/trust.md`.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

Event = dict[str, Any]
INVENTED_PRICE = 999.0


def invented(n: int) -> list[str]:
    """User ids of visitors who are nobody."""
    return [f"invented-{k}" for k in range(n)]


def push(users: Sequence[str], anchor: str, pushed: str, at_us: int) -> Iterator[Event]:
    """Views of an item beside a popular one, and a cart: must not bring it into any list."""
    for user in users:
        for n, (kind, item) in enumerate(
            (("item_view", anchor), ("item_view", pushed), ("add_to_cart", pushed), ("item_view", anchor))
        ):
            yield _event(f"push-{user}-{n}", user, kind, item, at_us + n * 1_000_000)


def choose_arm(shown: Sequence[tuple[str, str, str]], at_us: int) -> Iterator[Event]:
    """Purchases of what (user, decision, item) showed, at an absurd price: must not move bandit, experiment or weights."""
    for user, decision, item in shown:
        bought = _event(f"buy-{decision}", user, "purchase", item, at_us)
        yield bought | {"decision_id": decision, "price": 1e9}


def inflate(users: Sequence[str], item: str, at_us: int) -> Iterator[Event]:
    """Searches that always end with a purchase: must not lift the weight of a search."""
    for user in users:
        yield _event(f"search-{user}", user, "search", None, at_us)
        yield _event(f"sold-{user}", user, "purchase", item, at_us + 1_000_000)


def squat(order_ids: Sequence[str], item: str, at_us: int) -> Iterator[Event]:
    """Events under ids that the shop's server will use: must not make its own duplicates."""
    for order in order_ids:
        yield _event(order, "squatter", "purchase", item, at_us)


def spend(user: str, item: str, at_us: int) -> Iterator[Event]:
    """One visitor with a dear cart who is about to leave: must not draw a discount on a price that was invented."""
    for n, kind in enumerate(("item_view", "add_to_cart", *["cart_view"] * 11)):
        yield _event(f"spend-{user}-{n}", user, kind, item, at_us + n * 1_000_000) | {"price": INVENTED_PRICE}


def _event(event_id: str, user: str, kind: str, item: str | None, at_us: int) -> Event:
    ts = datetime.fromtimestamp(at_us / 1e6, UTC).isoformat()
    return {"event_id": event_id, "user_id": user, "type": kind, "ts": ts} | ({"item_id": item} if item else {})
