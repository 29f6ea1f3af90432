"""``GET`` and ``PUT /v1/signals/policy``: what a partner allows to be sent to its visitors."""

from datetime import date
from typing import Final

import msgspec

from infra.store.protocol import Transaction
from infra.store.statements.signals import PUT_POLICY, READ_POLICY
from services.api.collaborators import Collaborators
from services.http.calls import Call, Reply
from services.http.decoding import decode
from services.http.endpoints import Endpoint, Endpoints, Schemas
from services.http.idempotency import Writes
from services.http.openapi_schemas import components
from services.http.problems import Refusal
from services.http.reader import Reader
from services.signals.policies import DECODER, DEFAULT_BODY, PolicyBody, contradiction

BODY_LIMIT: Final = 256 * 1024


class PolicyHandler:
    """Handler of the policy."""

    def __init__(self, reader: Reader, writes: Writes) -> None:
        self._reader = reader
        self._writes = writes

    async def show(self, call: Call) -> PolicyBody:
        """``GET /v1/signals/policy``."""
        kept = self._reader.rows(READ_POLICY, (call.partner,))
        return DECODER.decode(kept[0][0]) if kept else DEFAULT_BODY

    async def put(self, call: Call) -> Reply:
        """``PUT /v1/signals/policy``."""
        policy = decoded(call.body)
        text = msgspec.json.encode(policy).decode()

        def work(transaction: Transaction) -> PolicyBody:
            transaction.execute(PUT_POLICY, (call.partner, text, call.received_at_us))
            return policy

        return await self._writes.write(call, work)


def decoded(body: bytes) -> PolicyBody:
    """Read a policy and make sure that it can be followed.

    Raises
    ------
    Refusal
        400 or 422.
    """
    policy = decode(DECODER, body)
    if wrong := contradiction(policy):
        raise Refusal(422, wrong.reason, wrong.pointer)
    return policy


def schemas(today: date) -> Schemas:
    """Schemas of a policy: what is named must be among the signals that may be sent."""
    found = components(PolicyBody)

    def needs(signal: str) -> Schemas:
        return {"required": ["signal_types"], "properties": {"signal_types": {"contains": {"const": signal}}}}

    def unless_empty(field: str, empty: Schemas, signal: str) -> Schemas:
        left_out = {"not": {"required": ["signal_types"]}}
        return {"anyOf": [{"properties": {field: empty}}, left_out, needs(signal)]}

    no_limits = {"properties": {"per_day": {"type": "null"}, "total": {"type": "null"}}}
    depending = {
        "workflows": unless_empty("workflows", {"maxItems": 0}, "start_workflow"),
        "discount_budget": unless_empty("discount_budget", no_limits, "offer_discount"),
    }
    return found | {"PolicyBody": found["PolicyBody"] | {"dependentSchemas": depending}}


def endpoints(shared: Collaborators) -> Endpoints:
    """Endpoints of the policy."""
    handler, scope = PolicyHandler(shared.reader, shared.writes), "signals:manage"
    return {
        ("GET", "/v1/signals/policy"): Endpoint(
            handler.show, scope, "policy", "What may be sent to visitors, and when", answer=PolicyBody
        ),
        ("PUT", "/v1/signals/policy"): Endpoint(
            handler.put, scope, "put_policy", "Set what may be sent to visitors, and when", request=PolicyBody,
            answer=PolicyBody, example={"max_per_day": 2}, limit=BODY_LIMIT, schemas=schemas,
        ),
    }  # fmt: skip
