"""Client for partner engineers. One file, standard library only: copy it, or import it from here.

Calls are safe to repeat: writes carry an idempotency key and events an id of their own, so a call that failed half-way is made
again, with growing, random waits, or as long as the service asks for. Answers are the service's JSON, typed as `TypedDict`:
fields that a newer service adds are simply there. `services.event_queue` collects events from many threads.

    client = Attune("sk_…", "https://attune.example")
    client.recommendations("user-1", item_id="sku-9", limit=3)["items"]
"""

import base64
import binascii
import gzip
import hmac
import http.client
import json
import random
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, NotRequired, TypedDict, cast
from urllib.parse import quote, urlencode, urlsplit

MAX_BATCH: Final = 500  # events the service takes at once
MAX_BYTES: Final = 1_000_000  # of them as JSON
PURPOSE: Final = b"attune visitor token\n"
TOLERANCE_S: Final = 300  # a webhook older or newer than this is not accepted
WORTH_ZIPPING: Final = 4_096  # bytes
AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})

Json = dict[str, Any]


class Intent(TypedDict):
    """The likeliest of four intents, and the probability of each."""

    label: str
    probabilities: dict[str, float]


class Item(TypedDict):
    """A recommended item; `because` is there if the call said `explain`."""

    item_id: str
    score: float
    because: NotRequired[list[Json]]


class Recommendation(TypedDict):
    """Items that go with a session. Send `decision_id` along with the events that follow, so that the choice can learn."""

    decision_id: str
    intent: Intent
    weights: dict[str, float]
    items: list[Item]
    experiment: Json
    models: dict[str, int]
    degraded: list[str]
    goal: dict[str, float]


class Engagement(TypedDict):
    """Score, next action, the signal that would be sent; P(purchase) within either horizon, None without a model."""

    engagement: dict[str, float]
    next_action: dict[str, dict[str, float]]
    signal: Json
    models: dict[str, int]
    degraded: list[str]
    purchase: dict[str, float] | None


class EventVerdict(TypedDict):
    """`accepted`, `duplicate` or `rejected`; a rejected one says why, and where. A page's question may be `unknown`."""

    event_id: str | None
    status: str
    reason: NotRequired[str]
    pointer: NotRequired[str]


class EventsAnswer(TypedDict):
    """Counts and results of a batch, which is on disk."""

    accepted: int
    duplicate: int
    rejected: int
    results: list[EventVerdict]


class SignalData(TypedDict):
    """A signal; `sequence` counts the user's signals without a gap, `user_id` is a pseudonym."""

    signal_id: str
    user_id: str
    signal_type: str
    payload: Json
    engagement_score: float
    predicted_action: str
    sequence: int


class Signal(TypedDict):
    """The body of a webhook, and an entry of the pull."""

    type: str
    timestamp: str
    data: SignalData


class Subscription(TypedDict):
    """Where signals go; `secret` is there only in the answer that made it."""

    id: str
    url: str
    signal_types: list[str]
    min_score: float
    state: str
    disabled_reason: NotRequired[str]
    secret: NotRequired[str]


class AttuneError(Exception):
    """Error of a call that the service did not do.

    `status` is the answer's, 0 where none came; `pointer` a JSON pointer to the field at fault, if the service names one;
    `request_id` is for the operator's log.
    """

    def __init__(self, status: int, detail: str, pointer: str | None = None, request_id: str | None = None) -> None:
        super().__init__(f"{status or 'no answer'}: {detail}" + (f" (at {pointer})" if pointer else ""))
        self.status, self.pointer, self.request_id = status, pointer, request_id


class WebhookError(ValueError):
    """Error of a message that may not come from the service, or is not fresh."""


class Attune:
    """Client of the service, as methods. May be shared by threads: each gets a connection of its own.

    Parameters
    ----------
    key
        ``sk_…``.
    url
        Of the service, such as ``https://attune.example``.
    timeout_s
        For one attempt, seconds.
    attempts
        At most, for one call.
    wait
        How to wait between attempts, given seconds.
    """

    def __init__(
        self, key: str, url: str = "http://127.0.0.1:3000", *, timeout_s: float = 10.0, attempts: int = 5,
        tls: ssl.SSLContext | None = None, wait: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("url must be http(s)://host[:port]")
        self._key, self._timeout_s, self._attempts, self._tls, self._wait = key, timeout_s, attempts, tls, wait
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self._prefix, self._local = parts.path.rstrip("/"), threading.local()

    def recommendations(self, user_id: str, **more: Any) -> Recommendation:
        """Items for a user; `more`: item_id, session_data, limit, goal, explain, exclude_seen, ranker."""
        return cast(Recommendation, self.call("POST", "/v1/recommendations", {"user_id": user_id, **more}))

    def intent(self, session_data: Json) -> Json:
        """Intent of a session."""
        return self.call("POST", "/v1/intent", {"session_data": session_data})

    def engagement(self, user_id: str, **more: Any) -> Engagement:
        """Engagement of a user; `more`: session_data, current_state."""
        return cast(Engagement, self.call("POST", "/v1/engagement", {"user_id": user_id, **more}))

    def send_events(self, events: Sequence[Mapping[str, Any]]) -> EventsAnswer:
        """Send events, in batches; when this returns they are on disk. `event_id` and `ts` are filled in where missing."""
        ready = [complete(event) for event in events]
        total: EventsAnswer = {"accepted": 0, "duplicate": 0, "rejected": 0, "results": []}
        for batch in _batches(ready):
            answer = cast(EventsAnswer, self.call("POST", "/v1/events", {"events": batch}))
            total["accepted"] += answer["accepted"]
            total["duplicate"] += answer["duplicate"]
            total["rejected"] += answer["rejected"]
            total["results"] += answer["results"]
        return total

    def identify(self, anonymous_id: str, user_id: str, **more: Any) -> str:
        """Say that an anonymous visitor is a user; `joined`, `known` or `no_consent`. `more`: context."""
        return str(self.call("POST", "/v1/identify", {"anonymous_id": anonymous_id, "user_id": user_id, **more})["status"])

    def put_items(self, items: Sequence[Json]) -> Json:
        """Say what may be recommended: items with price and stock, and articles (`kind` content)."""
        return self.call("PUT", "/v1/catalog/items", {"items": list(items)})

    def put_offers(self, offers: Sequence[Json]) -> Json:
        """Say what may be offered: discounts with their budget."""
        return self.call("PUT", "/v1/offers", {"offers": list(offers)})

    def erase_user(self, user_id: str) -> Json:
        """Have everything about a user removed; the receipt."""
        return self.call("DELETE", f"/v1/users/{quote(user_id, safe='')}")

    def set_policy(self, **policy: Any) -> Json:
        """Say what may be sent when: thresholds, caps, quiet hours, budget, hold-out; what is left out gets its default."""
        return self.call("PUT", "/v1/signals/policy", policy)

    def subscribe(self, url: str, signal_types: Sequence[str] = (), min_score: float = 0.0) -> Subscription:
        """Have signals sent to an address. Keep the answer's `secret`: it is not shown again."""
        body = {"url": url, "signal_types": list(signal_types), "min_score": min_score}
        return cast(Subscription, self.call("POST", "/v1/subscriptions", body))

    def subscriptions(self) -> list[Subscription]:
        """All of them, oldest first."""
        return cast(list[Subscription], self.call("GET", "/v1/subscriptions")["subscriptions"])

    def change_subscription(self, subscription_id: str, **changes: Any) -> Subscription:
        """Change url, signal_types, min_score or state."""
        return cast(Subscription, self.call("PATCH", f"/v1/subscriptions/{subscription_id}", changes))

    def rotate_secret(self, subscription_id: str) -> Subscription:
        """Get a new secret; for a day messages are signed with the old one too."""
        return cast(Subscription, self.call("POST", f"/v1/subscriptions/{subscription_id}/rotate-secret"))

    def unsubscribe(self, subscription_id: str) -> None:
        """Have nothing sent there any more."""
        self.call("DELETE", f"/v1/subscriptions/{subscription_id}")

    def send_test(self, subscription_id: str) -> Json:
        """Have a message of type `signal.test` sent now; what came back."""
        return self.call("POST", f"/v1/subscriptions/{subscription_id}/test")

    def deliveries(self, subscription_id: str, **query: Any) -> Iterator[Json]:
        """Deliveries, newest first, page after page; `query`: limit (of a page), state."""
        while query.get("before", 0) is not None:
            page = self.call("GET", f"/v1/subscriptions/{subscription_id}/deliveries", query=query)
            yield from page["deliveries"]
            query["before"] = page["next"]

    def replay(self, subscription_id: str, **wanted: Any) -> Json:
        """Have signals sent again; `wanted`: signal_ids, or start and until (aware datetimes)."""
        body = {"from" if name == "start" else name: value for name, value in wanted.items()}
        return self.call("POST", f"/v1/subscriptions/{subscription_id}/replay", body)

    def signals(self, after: str = "0", limit: int = 100) -> tuple[list[Signal], str]:
        """Signals behind a cursor, for those who cannot receive webhooks, and the next cursor. Keep it where it is safe."""
        page = self.call("GET", "/v1/signals", query={"after": after, "limit": limit})
        return page["signals"], page["next_cursor"]

    def visitor_token(self, user_id: str, lifetime_s: int = 3_600) -> str:
        """Token by which a page asks for this user's own items (`attune.identify`), for a day at most."""
        until = int(time.time()) + min(lifetime_s, 86_400)
        body, key = _plain64(json.dumps({"user_id": user_id, "until": until}).encode()), sha256(self._key.encode()).hexdigest()
        return f"{body}.{_plain64(hmac.digest(key.encode(), PURPOSE + body.encode(), sha256))}"

    def call(self, method: str, path: str, body: Json | None = None, query: Mapping[str, Any] | None = None) -> Json:
        """Make any call of the API, as often as it takes; an empty answer is an empty dictionary.

        Raises
        ------
        AttuneError
            If the service refuses it, or cannot be reached.
        """
        headers = {"Authorization": f"Bearer {self._key}", "Accept": "application/json"}
        content = b"" if body is None else json.dumps(body, default=_plain).encode()
        if content:
            headers["Content-Type"] = "application/json"
        if len(content) > WORTH_ZIPPING:
            content = gzip.compress(content, 1)
            headers["Content-Encoding"] = "gzip"
        if method != "GET":
            headers["Idempotency-Key"] = str(uuid.uuid4())
        address = self._prefix + path + (f"?{urlencode(query)}" if query else "")
        for attempt in range(1, self._attempts + 1):
            try:
                status, fields, answer = self._once(method, address, content, headers)
            except (OSError, http.client.HTTPException) as error:
                status, fields, answer = 0, {}, b""
                refused = AttuneError(0, type(error).__name__)
            else:
                if status < 300:
                    return cast(Json, json.loads(answer)) if answer else {}
                refused = _refusal(status, answer, fields)
            if attempt == self._attempts or (status and status not in AGAIN):
                raise refused
            self._wait(_pause_s(attempt, fields))
        raise ValueError(f"attempts must be 1 or more, got {self._attempts}")

    def _once(self, method: str, address: str, content: bytes, headers: Json) -> tuple[int, Mapping[str, str], bytes]:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            kind: Any = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            more = {"context": self._tls} if self._secure else {}
            self._local.connection = connection = kind(self._host, self._port, timeout=self._timeout_s, **more)
        try:
            connection.request(method, address, content or None, headers)
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        except BaseException:
            connection.close()
            self._local.connection = None
            raise


def verify_webhook(
    secret: str | Sequence[str], headers: Mapping[str, str], body: bytes, now_s: float | None = None
) -> Signal:  # fmt: skip
    """Check that a message comes from the service and is fresh; what it says.

    A signal may come more than once, always under the same ``webhook-id``: keep the ids that you have worked on.

    Parameters
    ----------
    secret
        ``whsec_…`` of the subscription, or several while you change over.
    headers
        Of the request, in any case.
    body
        The bytes of the request, as they came.

    Raises
    ------
    WebhookError
        If it cannot be trusted; answer 400 then.
    """
    fields = {name.lower(): value for name, value in headers.items()}
    message, stamp = fields.get("webhook-id", ""), fields.get("webhook-timestamp", "")
    if not message or not (stamp.isascii() and stamp.isdigit() and len(stamp) < 13):
        raise WebhookError("the headers webhook-id and webhook-timestamp are missing or malformed")
    if abs((time.time() if now_s is None else now_s) - int(stamp)) > TOLERANCE_S:
        raise WebhookError(f"the message is more than {TOLERANCE_S} s old, or the clocks differ")
    given = [part[3:].encode() for part in fields.get("webhook-signature", "").split() if part.startswith("v1,")]
    expected = [_signature(one, message, stamp, body) for one in ([secret] if isinstance(secret, str) else secret)]
    if not any(hmac.compare_digest(ours, theirs) for ours in expected for theirs in given):
        raise WebhookError("no signature fits")
    return cast(Signal, json.loads(body))


def _signature(secret: str, message: str, stamp: str, body: bytes) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise WebhookError("the secret must be the whsec_… of the subscription") from None
    return base64.b64encode(hmac.digest(key, f"{message}.{stamp}.".encode() + body, sha256))


def complete(event: Mapping[str, Any]) -> Json:
    """An event with the id and the instant that it needs: the same event sent twice then counts once."""
    return {"event_id": str(uuid.uuid4()), "ts": datetime.now(UTC).isoformat(), **event}


def size_of(event: Json) -> int:
    """Bytes of an event within a batch; `TypeError` if it is not JSON."""
    return len(json.dumps(event, default=_plain)) + 2


def _batches(events: Sequence[Json]) -> Iterator[list[Json]]:
    """Events in batches that the service takes."""
    batch: list[Json] = []
    size = 0
    for event in events:
        size += (own := size_of(event))
        if batch and (len(batch) == MAX_BATCH or size > MAX_BYTES):
            yield batch
            batch, size = [], own
        batch.append(event)
    if batch:
        yield batch


def _plain64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not JSON")


def _refusal(status: int, answer: bytes, fields: Mapping[str, str]) -> AttuneError:
    try:
        problem = json.loads(answer)
        return AttuneError(status, problem["detail"], problem.get("pointer"), fields.get("x-request-id"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return AttuneError(status, "the answer is none of the service's", request_id=fields.get("x-request-id"))


def _pause_s(attempt: int, fields: Mapping[str, str]) -> float:
    """At least what the service asks for, else up to 0.1, 0.2, 0.4 … seconds at random."""
    asked = fields.get("retry-after", "")
    least = float(asked) if asked.isascii() and asked.isdigit() and len(asked) < 5 else 0.0
    return least + random.uniform(0, 0.1 * 2.0 ** min(attempt - 1, 6))
