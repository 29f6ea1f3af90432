"""``GET`` and ``PUT /v1/signals/policy``: what a partner allows to be sent to its visitors."""

import asyncio
from datetime import date
from typing import Final

import msgspec

from infra.store.protocol import Transaction
from infra.store.statements.signals import PUT_POLICY, READ_POLICY
from services.api.collaborators import Collaborators
from services.http.calls import Call, Reply
from services.http.dear_calls import DearCalls
from services.http.decoding import decode
from services.http.endpoints import Endpoint, Endpoints, Parameter, Schemas
from services.http.openapi_schemas import components, ref
from services.http.problems import Refusal
from services.rehearsals import of_home
from services.signals.policies import DECODER, DEFAULT_BODY, PolicyBody, contradiction, to_policy
from services.signals.rehearsal import RehearsalAnswer

BODY_LIMIT: Final = 256 * 1024
MOST_MOMENTS: Final = 40_000  # of a dry run: the service gives no answer more than five seconds
WITHIN_S: Final = 2.0
DRY_RUNS_A_MINUTE: Final = 4  # of one key: each takes a thread for seconds
DRY_RUN: Final = Parameter(
    "dry_run",
    {"type": "boolean", "default": False},
    "Set nothing, and say what the policy would have done to the newest of your days.",
)


class PolicyHandler:
    """Handler of the policy."""

    def __init__(self, shared: Collaborators) -> None:
        self._shared = shared
        self._reader = shared.reader
        self._writes = shared.writes
        self._is_rehearsing = False
        self._dry_runs = DearCalls(shared.writes, DRY_RUNS_A_MINUTE, ("dry_runs", "dry runs"))

    async def show(self, call: Call) -> PolicyBody:
        """``GET /v1/signals/policy``."""
        kept = self._reader.rows(READ_POLICY, (call.partner,))
        return DECODER.decode(kept[0][0]) if kept else DEFAULT_BODY

    async def put(self, call: Call) -> Reply | RehearsalAnswer:
        """``PUT /v1/signals/policy``; with ``dry_run=true`` nothing is set, and the answer says what it would have done."""
        asked = call.query.get("dry_run", "false")
        if asked not in ("true", "false"):
            raise Refusal(422, "dry_run must be true or false", "?dry_run")
        policy = decoded(call.body)
        if asked == "true":
            return await self._rehearsed(call, policy)
        text = msgspec.json.encode(policy).decode()

        def work(transaction: Transaction) -> PolicyBody:
            transaction.execute(PUT_POLICY, (call.partner, text, call.received_at_us))
            return policy

        return await self._writes.write(call, work)

    async def _rehearsed(self, call: Call, policy: PolicyBody) -> RehearsalAnswer:
        """One at a time: it takes a thread for seconds.

        Raises
        ------
        Refusal
            429 while another is under way, or when the key has asked too often.
        """
        await self._dry_runs.take(call)
        if self._is_rehearsing:
            raise Refusal(429, "another dry run is under way; send the request again", headers=((b"retry-after", b"4"),))
        self._is_rehearsing = True
        try:
            return await asyncio.to_thread(
                of_home, self._shared.settings, call.partner, to_policy(policy), self._shared.champions.current(),
                call.received_at_us, MOST_MOMENTS, WITHIN_S,
            )  # fmt: skip
        finally:
            self._is_rehearsing = False


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
    answer = {
        "anyOf": [ref("PolicyBody"), ref("RehearsalAnswer")],
        "description": "The policy as it is set; of a dry run, this.",
    }
    policy = found["PolicyBody"] | {"dependentSchemas": depending}
    return found | components(RehearsalAnswer) | {"PolicyBody": policy, "PolicyAnswer": answer}


def endpoints(shared: Collaborators) -> Endpoints:
    """Endpoints of the policy."""
    handler, scope = PolicyHandler(shared), "signals:manage"
    return {
        ("GET", "/v1/signals/policy"): Endpoint(
            handler.show, scope, "policy", "What may be sent to visitors, and when", answer=PolicyBody
        ),
        ("PUT", "/v1/signals/policy"): Endpoint(
            handler.put, scope, "put_policy", "Set what may be sent to visitors, and when", request=PolicyBody,
            answer="PolicyAnswer", example={"max_per_day": 2}, limit=BODY_LIMIT, schemas=schemas, query=(DRY_RUN,),
        ),
    }  # fmt: skip
