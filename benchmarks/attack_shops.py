"""Poisoning of one partner by another: what a partner sends with all its keys moves its own lists and nobody else's.

An installation with a base that the operator ingested and two partners that sell the same items. The one pushes an item with
its server key, as hard as it likes. The other's lists, and the base's, are looked at live; after a retraining, with what the
gate lets through; when all that it made serves, whatever the gate said; and when all partners are one shop.

What is common to partners (intent, weights of event types) is learned from all of them. The gate sees to it that no partner's
sessions are surely worse off by that; where it is overruled, a list may come in another order. Those of static weights must be
the same even then.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx

from benchmarks.attack_poison import FOLLOWED_S, GHOST, LIMIT, bearer, invented, push
from benchmarks.attack_target import Outcome, Service, service
from flows import retrain
from infra import registry
from infra.settings import PREFIX
from infra.store.engines import open_store
from infra.store.events import append_events
from models.schema import LOCAL_PARTNER
from models.simulator.config import ShopConfig
from models.simulator.simulation import simulate
from services.http import partners

CONFIG: Final = ShopConfig(n_users=300, n_days=4, n_items=120)
ATTACKER, OTHER = "shop", "other"
N_ANCHORS: Final = 20
USERS: Final = tuple(f"looks-{k}" for k in range(6))  # dealt to both variants
EVERY, STATIC = "all lists", "the static lists"  # that must be the same
Key = tuple[str, str, bool]  # item at hand, user, whether the ranker is asked
Lists = dict[Key, list[str]]  # variant, then items


class Seen(NamedTuple):
    """Seen difference of a partner's lists, and by how many places what is pushed rose."""

    n_lists: int
    n_other: int
    n_with_ghost: int
    rose: int
    rose_on_average: float

    def __str__(self) -> str:
        return (
            f"{self.n_other} of {self.n_lists} lists are another; the ghost is in {self.n_with_ghost}, "
            f"the pushed item rose by {self.rose} at most and {self.rose_on_average:.2f} on average"
        )


def run(home: Path, long: bool) -> Iterator[Outcome]:
    """Push an item that does not exist, and the least known real one, beside every well-known item."""
    told = {name: simulate(replace(CONFIG, seed=seed)).events for seed, name in enumerate((LOCAL_PARTNER, ATTACKER, OTHER))}
    with closing(open_store(home)) as store:
        for name, events in told.items():
            one = events.assign(user_id=name + events["user_id"])
            store.write(partial(append_events, frame=one, partner=name, received_at_us=_now_us()))
    known = told[OTHER]["item_id"].value_counts().index
    anchors, pushed = list(known[:N_ANCHORS]), str(known[-1])
    _let_serve(home, _train(home))
    n = 10_000 if long else 1_000
    with service(home) as served:
        honest = _all_lists(served, anchors)
        sent = _push(served, n, anchors, pushed)
        time.sleep(FOLLOWED_S)
        yield from _compared(f"live, {sent} events", honest, _all_lists(served, anchors), pushed)
    versions = _train(home)
    with service(home) as served:
        yield from _compared("trained anew, as the gate lets through", honest, _all_lists(served, anchors), pushed)
    _let_serve(home, versions)
    with service(home) as served:
        yield from _compared("trained anew, all of it", honest, _all_lists(served, anchors), pushed, STATIC)
    _let_serve(home, _train(home, one_shop=True))
    with service(home) as served:
        seen = _seen(honest[OTHER], _all_lists(served, anchors)[OTHER], pushed)
        yield Outcome("poison: as one shop, another partner", "the ghost is shared", str(seen), seen.n_with_ghost > 0)


def _train(home: Path, *, one_shop: bool = False) -> dict[str, int]:
    """Train; the versions."""
    os.environ[f"{PREFIX}ONE_SHOP"] = str(one_shop)
    try:
        versions: dict[str, int] = retrain.run(home)["versions"]
    finally:
        del os.environ[f"{PREFIX}ONE_SHOP"]
    return versions


def _let_serve(home: Path, versions: dict[str, int]) -> None:
    """Let versions serve, whatever the gate says of them."""
    registry.set_alias(home, registry.CHAMPION, versions, action="promote", actor="attack", reason="to serve")


def _push(served: Service, n: int, anchors: Sequence[str], pushed: str) -> int:
    """Push with the server key; how many events were accepted."""
    at_us = _now_us() - 60_000_000
    events = [
        event
        for k, user in enumerate(invented(n))
        for item in (GHOST, pushed)
        for event in push([f"{user}-{item[:4]}"], anchors[k % len(anchors)], item, at_us)
    ]
    bought = [{**one, "event_id": f"b-{one['event_id']}", "type": "purchase"} for one in events if one["type"] == "add_to_cart"]
    accepted = 0
    with _client(served, served.server_key) as client:
        for start in range(0, len(events + bought), 500):
            answer = client.post("/v1/events", json={"events": (events + bought)[start : start + 500]})
            accepted += answer.raise_for_status().json()["accepted"]
    return accepted


def _all_lists(served: Service, anchors: Sequence[str]) -> dict[str, Lists]:
    """Lists of each partner, beside each anchor and, under "", without a session; of associations and of the ranker."""
    found = {}
    for name in (ATTACKER, OTHER, LOCAL_PARTNER):
        key = served.server_key if name == ATTACKER else partners.add(served.home, name, _now_us())
        with _client(served, key) as client:
            wait = time.monotonic() + 10.0  # a new key is known within a second
            while client.get("/v1/signals").status_code == 401 and time.monotonic() < wait:
                time.sleep(0.2)
            found[name] = {
                (item, user, by_ranker): _ask(client, user, item, by_ranker)
                for item in ("", *anchors)
                for user in USERS
                for by_ranker in (False, True)
            }
    return found


def _ask(client: httpx.Client, user: str, item: str, by_ranker: bool) -> list[str]:
    body = {"user_id": user, "item_id": item or None, "limit": LIMIT, "ranker": by_ranker}
    answer: dict[str, Any] = client.post("/v1/recommendations", json=body).raise_for_status().json()
    return [answer["experiment"]["variant"], *(one["item_id"] for one in answer["items"])]


def _compared(
    when: str, before: dict[str, Lists], after: dict[str, Lists], pushed: str, same: str = EVERY
) -> Iterator[Outcome]:  # fmt: skip
    """What became of the lists; which must be the same is said."""
    own = _seen(before[ATTACKER], after[ATTACKER], pushed)
    yield Outcome(f"poison: {when}, the partner itself", "its own lists move", str(own), own.n_with_ghost > 0)
    for name in (OTHER, LOCAL_PARTNER):
        must = {key: found for key, found in before[name].items() if _is_of(same, key, found)}
        those, every = _seen(must, after[name], pushed), _seen(before[name], after[name], pushed)
        told = f"{same}: {those}" + (f"; all: {every}" if same != EVERY else "")
        held = not those.n_other and not every.n_with_ghost
        yield Outcome(
            f"poison: {when}, {name}",
            f"{same} as before, the ghost in none",
            told,
            held,
        )


def _is_of(which: str, key: Key, found: list[str]) -> bool:
    *_, by_ranker = key
    return which == EVERY or (not by_ranker and found[0] == "static")


def _seen(before: Lists, after: Lists, pushed: str) -> Seen:
    rose = [_rank(before[key], pushed) - _rank(after[key], pushed) for key in before]
    return Seen(
        len(before),
        sum(before[key] != after[key] for key in before),
        sum(GHOST in after[key] for key in before),
        max(rose),
        sum(rose) / len(rose),
    )


def _rank(items: list[str], item: str) -> int:
    return items.index(item) if item in items else LIMIT + 1


def _client(served: Service, key: str) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{served.port}", headers=bearer(key), timeout=60)


def _now_us() -> int:
    return time.time_ns() // 1000
