"""Simulated visitors who come in through the front door: a partner that uses the public API only, and knows the truth.

Each walks through the shop of `attune up` at the pace of people, sends every event, asks for recommendations at each item, and
says which decision its next step follows if that step is to an item it was shown. What is on their minds goes to a file that no
part of the product reads.
"""

import heapq
import itertools
import json
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, NamedTuple, TextIO

import numpy as np

from models.arrays import Records
from models.schema import DEVICES, EVENT_TYPES, INTENTS, ITEM_EVENT_TYPES, MEASURES, EventType
from models.simulator import ShopConfig, Visit, open_shop
from models.simulator.catalogue import category_names, item_ids
from models.simulator.visitors import TIMEZONES
from services.client import Attune, AttuneError, Json

SHOWN: Final = 10  # items a page has room for
SESSION_EVENTS: Final = 50  # newest of a session that go along with a question
_ITEM_EVENTS: Final = frozenset(int(kind) for kind in ITEM_EVENT_TYPES)


class Seen(NamedTuple):
    """Numbers of what the visitors did and were told.

    Attributes
    ----------
    followed
        Steps to an item that was among those shown right before.
    failed
        Calls that the service did not do.
    """

    visitors: int = 0
    events: int = 0
    purchases: int = 0
    asked: int = 0
    followed: int = 0
    failed: int = 0

    def plus(self, **more: int) -> "Seen":
        """These and more."""
        return self._replace(**{name: getattr(self, name) + count for name, count in more.items()})


class _Walk:
    """One visitor on the way: events so far, and what was shown last."""

    def __init__(self, visit: Visit, nth: int, run: str) -> None:
        self.visit, self.user_id, self.session_id = visit, f"visitor-{run}-{visit.user}", f"s-{run}-{nth}"
        self.events: deque[Json] = deque(maxlen=SESSION_EVENTS)
        self.shown: dict[str, str] = {}  # decision by item
        self.context = {
            "device": DEVICES[visit.device],
            "timezone": TIMEZONES[int(visit.shop.visitors.timezone[visit.user])],
        }


def run(
    client: Attune,
    rate: float,
    seconds: float,
    truth: TextIO | None = None,
    *,
    seed: int = 1,
    speed: float = 1.0,
    clock: Callable[[], float] = time.time,
    wait: Callable[[float], None] = time.sleep,
) -> Seen:
    """Let visitors come and go.

    Parameters
    ----------
    rate
        New visitors a second.
    seconds
        How long new visitors come; those who are there then leave at once.
    truth
        Gets a JSON line per event: `event_id`, `session_id`, latent `intent`, and `p_purchase`, the probability that a
        decision to buy comes right after it.
    seed
        Same seed, same visitors.
    speed
        How much faster than people they are.

    Returns
    -------
    What was done until then, or until Ctrl-C; a call that fails is counted, and the visitors go on.

    Raises
    ------
    ValueError
        If the service does not take the key: nobody would ever get in.
    """
    config, rng = ShopConfig(n_users=2_000, seed=seed), np.random.default_rng([seed, 3])
    shop, names, categories = open_shop(config, rng), item_ids(config.n_items), category_names(config.n_categories)
    run_id, began, seen = secrets.token_hex(3), clock(), Seen()
    due: list[tuple[float, int, _Walk]] = []
    arrivals = _arrivals(rate, began, rng)
    arrives = next(arrivals)
    numbers = itertools.count()
    with suppress(KeyboardInterrupt):
        while (now := clock()) < began + seconds:
            if arrives <= now:
                nth = next(numbers)
                visit = Visit(shop, int(rng.integers(config.n_users)), int(now * 1e6), rng)
                heapq.heappush(due, (now, nth, _Walk(visit, nth, run_id)))
                seen, arrives = seen.plus(visitors=1), next(arrivals)
                continue
            if not due or due[0][0] > now:
                next_at = min(arrives, due[0][0] if due else arrives, began + seconds)
                wait(max(next_at - now, 0.0))
                continue
            _, nth, walk = heapq.heappop(due)
            before_us = int(walk.visit.state.visit[0]["at_us"])
            rows = walk.visit.advance(1)
            if len(rows):
                seen = _step(client, walk, rows, (names, categories), now, seen, truth)
                pause_s = (int(rows[0]["at_us"]) - before_us) / 1e6 / speed
                heapq.heappush(due, (now + max(pause_s, 0.01), nth, walk))
    return seen


def _arrivals(rate: float, began: float, rng: np.random.Generator) -> Iterator[float]:
    """Instants of a Poisson process."""
    at = began
    while True:
        yield at
        at += float(rng.exponential(1.0 / rate))


def _step(
    client: Attune, walk: _Walk, rows: Records, texts: tuple[Any, Any], now: float, seen: Seen, truth: TextIO | None
) -> Seen:
    """Send one event, tell the truth to the file, and look at what is recommended."""
    event = _event(rows[0], *texts, now)
    decision = walk.shown.get(event.get("item_id", ""))
    sent = {
        "event_id": f"{walk.session_id}-{secrets.token_hex(6)}", "user_id": walk.user_id, "session_id": walk.session_id,
        "context": walk.context, **event, **({"decision_id": decision} if decision else {}),
    }  # fmt: skip
    walk.events.append(event)
    kind = int(rows[0]["event_type"])
    seen = seen.plus(events=1, purchases=int(kind == EventType.PURCHASE), followed=int(decision is not None))
    if truth is not None:
        intent, p_purchase = INTENTS[int(rows[0]["intent"])], round(float(rows[0]["p_purchase"]), 6)
        told = {"event_id": sent["event_id"], "session_id": walk.session_id, "intent": intent, "p_purchase": p_purchase}
        truth.write(f"{json.dumps(told)}\n")
    try:
        client.send_events([sent])
        if kind in _ITEM_EVENTS and kind != EventType.PURCHASE:
            session = {"session_id": walk.session_id, "context": walk.context, "events": list(walk.events)}
            answer = client.recommendations(walk.user_id, session_data=session, limit=SHOWN)
            walk.shown = {item["item_id"]: answer["decision_id"] for item in answer["items"]}
            seen = seen.plus(asked=1)
    except AttuneError as error:
        if error.status in (401, 403):
            raise ValueError(f"{error}; give --key a server key of the service") from None
        seen = seen.plus(failed=1)
    return seen


def _event(row: Any, names: Any, categories: Any, now: float) -> Json:
    """An event of the simulator as the API takes it, at this instant."""
    instant = np.datetime_as_string(np.datetime64(int(now * 1e3), "ms"))
    event: Json = {"type": EVENT_TYPES[int(row["event_type"])], "ts": f"{instant}Z"}
    if row["item"] >= 0:
        event["item_id"] = str(names[row["item"]])
    if row["category"] >= 0:
        event["category"] = str(categories[row["category"]])
    return event | {name: float(row[name]) for name in MEASURES if not np.isnan(row[name])}
