"""Poisoning by browser keys: what invented visitors send, one small function per attack, each with what it must not move.

`tests/services/test_attack_poison.py` runs them against a home in one process; `run` pushes items at a running instance that
has learned from a shop's own log. The rule that they are held against is in `docs/trust.md`.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.attack_target import Outcome, Service, service
from flows import retrain
from infra.store.engines import open_store
from infra.store.events import append_events
from models.schema import LOCAL_PARTNER
from models.simulator.config import ShopConfig
from models.simulator.simulation import simulate
from services.http import partners

Event = dict[str, Any]
INVENTED_PRICE: Final = 999.0
GHOST: Final = "an item that does not exist"
CONFIG: Final = ShopConfig(n_users=3_000, n_days=6, n_items=400)
HONEST_VISITORS: Final = 100  # of an anchor that is looked at
LIMIT: Final = 100
FOLLOWED_S: Final = 8.0  # after the last event, until the live associations have surely come to it


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


def run(home: Path, long: bool) -> Iterator[Outcome]:
    """Push an item that does not exist, and a real one of the far end, beside every well-known item."""
    events, base = simulate(CONFIG).events, simulate(replace(CONFIG, n_users=500, seed=1)).events
    with closing(open_store(home)) as store:
        for partner, told in (("shop", events), (LOCAL_PARTNER, base.assign(user_id="of " + base["user_id"]))):
            store.write(partial(append_events, frame=told, partner=partner, received_at_us=time.time_ns() // 1000))
    retrain.run(home)
    visitors = events.groupby("item_id")["user_id"].nunique().sort_values()
    anchors, pushed = list(visitors.index[visitors >= HONEST_VISITORS]), str(visitors.index[0])
    with service(home) as served:
        other = partners.add(home, "other", time.time_ns() // 1000)
        keys = {"the shop itself": served.server_key, "another partner": other}
        honest = {name: _lists(served, key, anchors) for name, key in keys.items()}
        for n in (1, 100, 10_000) if long else (1, 100, 1_000):
            sent = send(served, [one for one in _pushes(n, anchors, pushed)])
            time.sleep(FOLLOWED_S)
            for name, key in keys.items():
                most = 1 if key == served.server_key else 0
                yield _compared(
                    f"{n} invented visitors, {name}", honest[name], _lists(served, key, anchors), pushed, sent, most
                )


def _pushes(n: int, anchors: Sequence[str], pushed: str) -> Iterator[Event]:
    at_us = time.time_ns() // 1000 - 60_000_000
    for k, user in enumerate(invented(n)):
        for item in (GHOST, pushed):
            yield from push([f"{n}-{user}-{item[:4]}"], anchors[k % len(anchors)], item, at_us)


def send(served: Service, events: Sequence[Event]) -> int:
    """Send events with the browser key; how many were accepted."""
    accepted, left = 0, iter(events)
    with httpx.Client(base_url=f"http://127.0.0.1:{served.port}", headers=bearer(served.browser_key), timeout=30) as client:
        while batch := list(islice(left, 500)):
            answer = client.post("/v1/events", json={"events": batch})
            accepted += answer.json().get("accepted", 0)
            if answer.status_code == 429:
                time.sleep(float(answer.headers.get("retry-after", "1")))
    return accepted


def _lists(served: Service, key: str, anchors: Sequence[str]) -> dict[str, list[str]]:
    """What is shown beside each anchor, in the variant whose weights never move; and, under "", without a session."""
    with httpx.Client(base_url=f"http://127.0.0.1:{served.port}", headers=bearer(key), timeout=30) as client:

        def ask(user: str, item: str | None) -> dict[str, Any]:
            found = client.post("/v1/recommendations", json={"user_id": user, "item_id": item, "limit": LIMIT}).json()
            return dict(found)

        user = next(name for k in range(200) if ask(name := f"looks-{k}", anchors[0])["experiment"]["variant"] == "static")
        return {item: [one["item_id"] for one in ask(user, item or None)["items"]] for item in ("", *anchors)}


def _compared(
    name: str, before: dict[str, list[str]], after: dict[str, list[str]], pushed: str, sent: int, most: int
) -> Outcome:
    """How far the pushed item has come, over all anchors; where it may not come any further, no list may differ at all."""
    n_other = sum(before[anchor] != after[anchor] for anchor in before)
    ghosts = sum(GHOST in items for items in after.values())
    moves = [_rank(before[anchor], pushed) - _rank(after[anchor], pushed) for anchor in before]
    seen = (
        f"{sent} events accepted; the ghost is in {ghosts} of {len(after)} lists, the pushed item rose by {max(moves)}, "
        f"{n_other} lists are others"
    )
    must_show = f"in no list; at most {most} place" if most else "in no list; none is another"
    return Outcome(f"poison: {name}", must_show, seen, not ghosts and max(moves) <= most and (most > 0 or not n_other))


def _rank(items: list[str], item: str) -> int:
    return items.index(item) if item in items else LIMIT


def bearer(key: str) -> dict[str, str]:
    """Headers of a request with a key."""
    return {"Authorization": f"Bearer {key}"}
