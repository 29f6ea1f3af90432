"""``/v1/subscriptions``: webhooks, where a partner wants its signals sent.

A secret is ``whsec_`` and the base64 of 32 random bytes, as Standard Webhooks wants it. It signs, so it is kept, sealed;
partners see it once, when it is made. After a rotation the old one signs beside the new one for `OVERLAP_S`.
"""

import base64
import json
import secrets
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from infra.store.protocol import Transaction
from infra.store.statements import signals as sql
from infra.store.statements.deliveries import CANCEL_PENDING, FORGET_HEALTH
from models.engagement.policy import SENDABLE
from services.api.collaborators import Collaborators
from services.delivery.seals import Seals
from services.delivery.targets import MAX_URL, check_url
from services.delivery.webhooks import SECRET_PREFIX
from services.http.calls import Call, Reply
from services.http.decoding import decode
from services.http.endpoints import Endpoint, Endpoints
from services.http.idempotency import REPLAYED, Writes
from services.http.openapi_schemas import words
from services.http.problems import Refusal
from services.http.reader import Reader
from services.signals.body import instant

BODY_LIMIT: Final = 256 * 1024
SCOPE: Final = "signals:manage"
ONE: Final = "/v1/subscriptions/{id}"
SECRET_BYTES: Final = 32
OVERLAP_S: Final = 86_400
MAX_PER_PARTNER: Final = 50
# A pattern for the document only: `check_url` says more when it refuses.
_HOOK: Final = r"^https://([a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?\.){1,3}[a-z]{2,20}(/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?(\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?$"
_ABOUT_URL: Final = Meta(description="A public https address.", extra_json_schema={"pattern": _HOOK})
Url = Annotated[str, Meta(min_length=1, max_length=MAX_URL), _ABOUT_URL]
Sendable = Annotated[str, Meta(extra_json_schema=words(SENDABLE))]
Types = Annotated[list[Sendable], Meta(max_length=len(SENDABLE))]
Score = Annotated[float, Meta(ge=0.0, le=1.0)]


class NewSubscription(msgspec.Struct, forbid_unknown_fields=True):
    """Where to send what: `signal_types` empty means all, signals that score below `min_score` are not sent there."""

    url: Url
    signal_types: Types = []
    min_score: Score = 0.0


class SubscriptionChange(msgspec.Struct, forbid_unknown_fields=True):
    """Change of a webhook; `state` enables one again that was disabled, or disables it."""

    url: Url | UnsetType = UNSET
    signal_types: Types | UnsetType = UNSET
    min_score: Score | UnsetType = UNSET
    state: Literal["active", "disabled"] | UnsetType = UNSET


class Subscription(msgspec.Struct, omit_defaults=True):
    """A subscription; `secret` is there only in the answer that made it, `disabled_reason` only while it is disabled."""

    id: str
    url: str
    signal_types: list[str]
    min_score: float
    state: str
    created_at: str
    updated_at: str
    disabled_reason: str | None = None
    previous_secret_until: str | None = None
    secret: str | None = None


class SubscriptionList(msgspec.Struct):
    """All subscriptions of a partner, oldest first."""

    subscriptions: list[Subscription]


_NEW: Final = msgspec.json.Decoder(NewSubscription)
_CHANGE: Final = msgspec.json.Decoder(SubscriptionChange)
_MADE: Final = msgspec.json.Decoder(Subscription)


def new_secret() -> str:
    """A fresh signing secret."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


class SubscriptionsHandler:
    """Handler of subscriptions.

    Parameters
    ----------
    allow_private
        Whether targets inside the network, and such without TLS, may be registered: for development only.
    """

    def __init__(self, reader: Reader, writes: Writes, seals: Seals, allow_private: bool) -> None:
        self._reader = reader
        self._writes = writes
        self._seals = seals
        self._allow_private = allow_private

    async def create(self, call: Call) -> Reply:
        """``POST /v1/subscriptions``."""
        asked = decode(_NEW, call.body)
        self._check(asked.url, asked.signal_types)
        now_us, types = call.received_at_us, json.dumps(asked.signal_types)
        made, secret = f"sub_{secrets.token_hex(12)}", new_secret()
        sealed = self._seals.sealed(made, secret)

        def work(transaction: Transaction) -> Subscription:
            ((n,),) = transaction.read(sql.COUNT_SUBSCRIPTIONS, (call.partner,))
            if n >= MAX_PER_PARTNER:
                raise Refusal(409, f"a partner may have {MAX_PER_PARTNER} subscriptions at most; delete one first")
            values = (made, call.partner, asked.url, types, asked.min_score, sealed, now_us, now_us)
            transaction.execute(sql.ADD_SUBSCRIPTION, values)
            return _known(transaction, call.partner, made, secret)

        return self._with_secret(call, await self._writes.write(call, work, 201, keep=self._without_secret))

    async def every(self, call: Call) -> SubscriptionList:
        """``GET /v1/subscriptions``."""
        return SubscriptionList([_told(row) for row in self._reader.rows(sql.SUBSCRIPTIONS_OF, (call.partner,))])

    async def one(self, call: Call) -> Subscription:
        """``GET /v1/subscriptions/{id}``."""
        return _single(self._reader.rows(sql.SUBSCRIPTION, (call.partner, call.path["id"])))

    async def change(self, call: Call) -> Reply:
        """``PATCH /v1/subscriptions/{id}``."""
        asked = decode(_CHANGE, call.body)
        self._check(asked.url, asked.signal_types)
        types = json.dumps(asked.signal_types) if isinstance(asked.signal_types, list) else None
        url, min_score, state = (None if value is UNSET else value for value in (asked.url, asked.min_score, asked.state))
        changes = (url, types, min_score, state, state, call.received_at_us, call.partner, call.path["id"])

        def work(transaction: Transaction) -> Subscription:
            transaction.execute(sql.CHANGE_SUBSCRIPTION, changes)
            return _known(transaction, call.partner, call.path["id"])

        return await self._writes.write(call, work)

    async def rotate(self, call: Call) -> Reply:
        """``POST /v1/subscriptions/{id}/rotate-secret``: the old secret signs too for `OVERLAP_S` more seconds."""
        secret, until_us = new_secret(), call.received_at_us + OVERLAP_S * 1_000_000
        sealed = self._seals.sealed(call.path["id"], secret)

        def work(transaction: Transaction) -> Subscription:
            values = (until_us, sealed, call.received_at_us, call.partner, call.path["id"])
            transaction.execute(sql.ROTATE_SECRET, values)
            return _known(transaction, call.partner, call.path["id"], secret)

        return self._with_secret(call, await self._writes.write(call, work, keep=self._without_secret))

    async def delete(self, call: Call) -> Reply:
        """``DELETE /v1/subscriptions/{id}``."""

        def work(transaction: Transaction) -> Reply:
            _known(transaction, call.partner, call.path["id"])
            transaction.execute(sql.DELETE_SUBSCRIPTION, (call.partner, call.path["id"]))
            transaction.execute(CANCEL_PENDING, (call.received_at_us, call.path["id"]))
            transaction.execute(FORGET_HEALTH, (call.path["id"],))
            return Reply(204, None)

        return await self._writes.write(call, work)

    def _without_secret(self, made: Subscription) -> Subscription:
        """An answer as it may be kept: with the secret sealed."""
        return msgspec.structs.replace(made, secret=self._seals.sealed(made.id, made.secret or ""))

    def _with_secret(self, call: Call, reply: Reply) -> Reply:
        """An answer, or one that was kept, as it was given; of a subscription that is gone the secret is not told again."""
        if reply.headers != REPLAYED:
            return reply
        made = _MADE.decode(reply.body)
        is_there = self._reader.rows(sql.SUBSCRIPTION, (call.partner, made.id))
        secret = self._seals.opened(made.id, made.secret) if made.secret and is_there else None
        return reply._replace(body=msgspec.structs.replace(made, secret=secret))

    def _check(self, url: str | UnsetType, signal_types: list[str] | UnsetType) -> None:
        if isinstance(url, str):
            check_url(url, self._allow_private)
        for place, name in enumerate(signal_types if isinstance(signal_types, list) else ()):
            if name not in SENDABLE:
                raise Refusal(422, f"a signal type must be one of {', '.join(SENDABLE)}", f"/signal_types/{place}")


def _known(transaction: Transaction, partner: str, subscription: str, secret: str | None = None) -> Subscription:
    return _single(transaction.read(sql.SUBSCRIPTION, (partner, subscription)), secret)


def _single(found: list[tuple[Any, ...]], secret: str | None = None) -> Subscription:
    if not found:
        raise Refusal(404, "no subscription of yours has this id")
    return _told(found[0], secret)


def _told(row: tuple[Any, ...], secret: str | None = None) -> Subscription:
    kept = dict(zip(sql.SUBSCRIPTION_COLUMNS, row, strict=True))
    until_us = kept["previous_secret_until_us"]
    return Subscription(
        id=kept["id"],
        url=kept["url"],
        signal_types=json.loads(kept["signal_types"]),
        min_score=kept["min_score"],
        state=kept["state"],
        created_at=instant(kept["created_at_us"]),
        updated_at=instant(kept["updated_at_us"]),
        disabled_reason=kept["disabled_reason"],
        previous_secret_until=None if until_us is None else instant(until_us),
        secret=secret,
    )


def endpoints(shared: Collaborators) -> Endpoints:
    """Endpoints of the subscriptions."""
    handler = SubscriptionsHandler(shared.reader, shared.writes, shared.seals, shared.settings.allow_private_webhooks)
    hook = {"url": "https://shop.example/attune", "signal_types": ["offer_discount"], "min_score": 0.5}
    return {
        ("POST", "/v1/subscriptions"): Endpoint(
            handler.create, SCOPE, "subscribe", "Register a webhook", request=NewSubscription, answer=Subscription,
            example=hook, status=201, limit=BODY_LIMIT,
        ),
        ("GET", "/v1/subscriptions"): Endpoint(handler.every, SCOPE, "subscriptions", "All webhooks", answer=SubscriptionList),
        ("GET", ONE): Endpoint(handler.one, SCOPE, "subscription", "One webhook", answer=Subscription),
        ("PATCH", ONE): Endpoint(
            handler.change, SCOPE, "change_subscription", "Change a webhook, or enable it again",
            request=SubscriptionChange, answer=Subscription, example={"state": "active"}, limit=BODY_LIMIT,
        ),
        ("DELETE", ONE): Endpoint(handler.delete, SCOPE, "unsubscribe", "Remove a webhook", status=204),
        ("POST", f"{ONE}/rotate-secret"): Endpoint(
            handler.rotate, SCOPE, "rotate_secret", "A new secret; the old one signs too for a day", answer=Subscription
        ),
    }  # fmt: skip
