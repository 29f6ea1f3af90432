"""The addresses of the signals' side: subscriptions, policy, pull and stream."""

from infra.settings import Settings
from services.api import subscriptions
from services.api.signals import SignalPull
from services.api.stream import KeyCheck, SignalStreams
from services.api.subscriptions import SubscriptionDoor
from services.http.calls import Endpoint
from services.http.idempotency import Writes
from services.http.reader import Reader
from services.http.routes import Endpoints
from services.signals import policies as signal_policies
from services.signals.policies import PolicyDoor

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
