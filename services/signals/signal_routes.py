"""The addresses of the signals' side: subscriptions, policy, pull and stream."""

from services.door.calls import Endpoint
from services.door.idempotency import Writes
from services.door.routes import Endpoints
from services.outbox import subscriptions
from services.outbox.subscriptions import SubscriptionDoor
from services.reader import Reader
from services.settings import Settings
from services.signals import signal_policies
from services.signals.signal_policies import PolicyDoor
from services.signals.signal_pull import SignalPull
from services.signals.signal_stream import KeyCheck, SignalStreams

SCOPE = "signals:manage"


def endpoints(settings: Settings, keys: KeyCheck, writes: Writes, reader: Reader) -> Endpoints:
    """Every endpoint, by method and address."""
    wanted = SubscriptionDoor(reader, writes, settings.allow_private_webhooks)
    policy = PolicyDoor(reader, writes)
    pull, streams = SignalPull(reader), SignalStreams(reader, keys)
    many, one = "/v1/subscriptions", "/v1/subscriptions/{id}"
    return {
        ("POST", many): Endpoint(SCOPE, 201, subscriptions.BODY_LIMIT, wanted.create),
        ("GET", many): Endpoint(SCOPE, 200, 0, wanted.every),
        ("GET", one): Endpoint(SCOPE, 200, 0, wanted.one),
        ("PATCH", one): Endpoint(SCOPE, 200, subscriptions.BODY_LIMIT, wanted.change),
        ("DELETE", one): Endpoint(SCOPE, 204, 0, wanted.delete),
        ("POST", f"{one}/rotate-secret"): Endpoint(SCOPE, 200, 0, wanted.rotate),
        ("GET", "/v1/signals/policy"): Endpoint(SCOPE, 200, 0, policy.show),
        ("PUT", "/v1/signals/policy"): Endpoint(SCOPE, 200, signal_policies.BODY_LIMIT, policy.put),
        ("GET", "/v1/signals"): Endpoint(SCOPE, 200, 0, pull.page),
        ("GET", "/v1/signals/stream"): Endpoint(SCOPE, 200, 0, streams.listen),
    }
