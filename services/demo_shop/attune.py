"""Attune as this partner sees it: the public API with a server key. Nothing here knows more than the partner guide tells.

Calls block, so the pages make them in threads.
"""

import json
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from http.client import HTTPException
from typing import Any, Final
from urllib.error import URLError
from urllib.request import Request, urlopen

from services.client import Attune, AttuneError, Json, Signal, WebhookError, verify_webhook
from services.demo_shop.goods import Goods, Product

BATCH: Final = 500
KEPT: Final = 50  # newest signals
MOST_NAMES: Final = 5_000
STREAM_S: Final = 60.0  # without a word, the stream is opened anew
HOOK: Final = "/hooks/attune"
OFFER: Final = {"offer_id": "demo-10", "title": "10 % off what is in your cart", "percent": 10.0, "currency": "EUR",
                "code": "TEN", "budget": 2_000.0, "min_price": 20.0}  # fmt: skip
LIVELY: Final = {
    "holdout_share": 0.1,
    "cool_down_s": 30,
    "max_per_day": 50,
}  # or whoever looks on would see one signal and no more
USUAL_S: Final = 1_800  # cool-down of a policy that nobody has changed


class Partner:
    """Partner's server side."""

    def __init__(self, key: str, url: str, own_url: str) -> None:
        self.client = Attune(key, url, timeout_s=5.0, attempts=2)
        self._key, self._url, self._own_url = key, url, own_url
        self._heard: Callable[[Json], None] = lambda signal: None
        self._secret: str | None = None
        self._names: OrderedDict[str, str] = OrderedDict()  # our user ids by the pseudonym in signals
        self.signals: deque[Json] = deque(maxlen=KEPT)
        self._seen: deque[str] = deque(maxlen=1_000)
        self._lock = threading.Lock()

    def hear(self, heard: Callable[[Json], None]) -> None:
        """Let somebody be told of each signal, in a thread of ours."""
        self._heard = heard

    def introduce(self, goods: Goods) -> None:
        """Tell what the shop sells and offers, and ask for signals; again and again until the service has taken it."""
        while True:
            with suppress(AttuneError):
                for batch in _batches(goods.products):
                    self.client.put_items([self._item(one) for one in batch])
                self.client.put_offers([OFFER])
                if self.client.call("GET", "/v1/signals/policy").get("cool_down_s", USUAL_S) == USUAL_S:
                    self.client.set_policy(**LIVELY)
                break
            time.sleep(2.0)
        if not self._subscribe():
            threading.Thread(target=self._follow, daemon=True).start()

    def _item(self, one: Product) -> Json:
        url = f"{self._own_url}/item/{one.item_id}"
        return {"item_id": one.item_id, "category": one.category, "price": one.price, "title": one.title, "url": url}

    def _subscribe(self) -> bool:
        """Ask for webhooks; False where the service sends none to a private address, as is right outside of a development."""
        address = self._own_url + HOOK
        try:
            for old in self.client.subscriptions():
                if old["url"] == address:
                    self.client.unsubscribe(old["id"])
            self._secret = self.client.subscribe(address)["secret"]
        except (AttuneError, KeyError):
            return False
        return True

    def take_webhook(self, headers: Json, body: bytes) -> bool:
        """Take a message that came by webhook; whether it is Attune's."""
        try:
            signal = verify_webhook(self._secret or "", headers, body)
        except WebhookError:
            return False
        self._take(signal, "webhook")
        return True

    def _follow(self) -> None:
        """Read the stream of signals, for ever."""
        after = None
        while True:
            with suppress(URLError, OSError, HTTPException, ValueError):
                for cursor, signal in self._streamed(after):
                    after = cursor
                    self._take(signal, "stream")
            time.sleep(2.0)

    def _streamed(self, after: str | None) -> Iterator[tuple[str, Signal]]:
        headers = {"Authorization": f"Bearer {self._key}"} | ({"Last-Event-ID": after} if after else {})
        with urlopen(Request(f"{self._url}/v1/signals/stream", headers=headers), timeout=STREAM_S) as lines:
            cursor = ""
            for line in lines:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "id":
                    cursor = value
                elif name == "data":
                    yield cursor, json.loads(value)

    def _take(self, signal: Signal, way: str) -> None:
        data = signal["data"]
        if signal["type"] == "signal.test" or data["signal_id"] in self._seen:
            return
        self._seen.append(data["signal_id"])
        with self._lock:
            user_id = self._names.get(data["user_id"])
        told: Json = {
            "type": data["signal_type"], "payload": data["payload"], "score": data["engagement_score"], "way": way,
            "predicted_action": data["predicted_action"], "user_id": user_id, "at": signal["timestamp"],
        }  # fmt: skip
        self.signals.append(told)
        self._heard(told)

    def moment(self, user_id: str, session_data: Json) -> Json:
        """Engagement of a shopper now, the signal that would be sent, and why it is not."""
        answer: Any = self.client.engagement(user_id, session_data=session_data)
        if pseudonym := answer.get("user"):
            with self._lock:
                self._names[pseudonym] = user_id
                while len(self._names) > MOST_NAMES:
                    self._names.popitem(last=False)
        return {name: answer[name] for name in ("engagement", "signal", "purchase", "degraded")}

    def sold(self, user_id: str, session_id: str | None, order_id: str, lines: Sequence[tuple[Product, int]]) -> None:
        """Tell of an order, as only the shop's server can vouch for it."""
        self.client.send_events(
            [
                {
                    "event_id": f"{order_id}-{one.item_id}", "user_id": user_id, "type": "purchase", "item_id": one.item_id,
                    "category": one.category, "price": one.price, "quantity": pieces, "currency": "EUR", "order_id": order_id,
                    **({"session_id": session_id} if session_id else {}),
                }
                for one, pieces in lines
            ]
        )  # fmt: skip


def _batches(products: Sequence[Product]) -> Iterator[Sequence[Product]]:
    for start in range(0, len(products), BATCH):
        yield products[start : start + BATCH]


def complain(text: str) -> None:
    """Say something to whoever started the shop."""
    sys.stderr.write(f"shop: {text}\n")
    sys.stderr.flush()
