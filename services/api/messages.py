"""Messages of signals, for the OpenAPI document: one schema for each type, told apart by `type`.

What travels is `services.signals.body.SignalBody`, whose payload `models.engagement.signals.choose` makes; a test holds the two
against these schemas.
"""

from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from services.delivery.webhooks import TEST_TYPE
from services.http.endpoints import Schemas
from services.http.openapi_schemas import components, ref
from services.signals.body import SignalBody, SignalData

PREFIX: Final = "signal."
MESSAGE: Final = "SignalMessage"
_HEADERS: Final = {
    "webhook-id": "The same for every attempt: by it a message that comes twice is known.",
    "webhook-timestamp": "Seconds since 1970 at which this attempt was signed.",
    "webhook-signature": "`v1,` and the signature as Standard Webhooks has it; several, with spaces between, after a rotation.",
}
EXAMPLE: Final = {
    "type": "signal.offer_discount",
    "timestamp": "2025-11-21T10:00:14.000000Z",
    "data": {
        "signal_id": "sig_1", "user_id": "3f0a", "signal_type": "offer_discount",
        "payload": {"reason": "cart_at_risk", "offer_id": "autumn", "amount": 7.9, "cart_item_ids": ["sku-9"]},
        "engagement_score": 0.41, "predicted_action": "leave", "sequence": 1,
    },
}  # fmt: skip


class ItemsPayload(msgspec.Struct):
    """Items or articles to show, best first; `items` has what the catalogue says of them, where it does."""

    item_ids: list[str]
    items: list[dict[str, Any]] | UnsetType = UNSET


class DiscountPayload(msgspec.Struct):
    """An offer that may save a cart; `amount` is what it costs here, in the shop's currency."""

    reason: str
    offer_id: str
    amount: float
    cart_item_ids: list[str]
    title: str | UnsetType = UNSET
    code: str | UnsetType = UNSET
    currency: str | UnsetType = UNSET


class SupportPayload(msgspec.Struct):
    """Help that is offered: where the visitor is stuck, and words to open with."""

    reason: str
    prompt: str


class WorkflowFields(msgspec.Struct):
    """Fields of a workflow."""

    cart_item_ids: list[str]
    n_items: int
    cart_value: float | UnsetType = UNSET


class WorkflowPayload(msgspec.Struct):
    """A workflow of the partner's to start."""

    workflow: str
    fields: WorkflowFields


PAYLOADS: Final[dict[str, type]] = {
    "recommend_product": ItemsPayload,
    "recommend_content": ItemsPayload,
    "offer_discount": DiscountPayload,
    "proactive_support": SupportPayload,
    "start_workflow": WorkflowPayload,
}


def schemas() -> Schemas:
    """Schemas of the messages and of their payloads."""
    known = components(SignalBody, SignalData, *PAYLOADS.values())
    kinds: Schemas = {}
    for name, payload in PAYLOADS.items():
        title = name.title().replace("_", "")
        data = known["SignalData"]["properties"] | {"signal_type": {"const": name}, "payload": ref(payload.__name__)}
        kinds[f"{title}Data"] = known["SignalData"] | {"title": f"{title}Data", "properties": data}
        message = known["SignalBody"]["properties"] | {"type": {"const": f"{PREFIX}{name}"}, "data": ref(f"{title}Data")}
        kinds[f"{title}Message"] = known["SignalBody"] | {"title": f"{title}Message", "properties": message}
    messages = {f"{PREFIX}{name}": f"{name.title().replace('_', '')}Message" for name in PAYLOADS}
    mapping = {kind: ref(name)["$ref"] for kind, name in messages.items()}
    told = {
        "description": "A signal; `type` tells which.",
        "oneOf": [ref(name) for name in messages.values()],
        "discriminator": {"propertyName": "type", "mapping": mapping},
    }
    payloads = {name: known[name] for name in known if name not in ("SignalBody", "SignalData")}
    return payloads | kinds | {MESSAGE: told}


def webhooks() -> Schemas:
    """Operation of the receiver that a subscription calls."""
    headers = [
        {"name": name, "in": "header", "required": True, "schema": {"type": "string"}, "description": about}
        for name, about in _HEADERS.items()
    ]
    body = {"required": True, "content": {"application/json": {"schema": ref(MESSAGE), "example": EXAMPLE}}}
    return {
        "signal": {
            "operationId": "receive_signal",
            "tags": ["signals"],
            "summary": "A signal, sent to the address of a subscription",
            "description": f"Signed as Standard Webhooks has it. A trial has the type `{TEST_TYPE}` and may be ignored.",
            "security": [],
            "parameters": headers,
            "requestBody": body,
            "responses": {
                "2XX": {"description": "Taken; anything else, and no answer in time, is tried again."},
                "410": {"description": "Nobody listens here any more: the subscription is disabled."},
            },
        }
    }
