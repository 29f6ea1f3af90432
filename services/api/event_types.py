"""``GET`` and ``PUT /v1/event-types``: what a partner calls what its visitors do."""

from datetime import date
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from infra.store.protocol import Transaction
from infra.store.statements.event_names import OWN_NAMES, PUT_OWN_NAMES
from models.events.own_names import MOST, SHORTEST, OwnNames, own_names_problem
from models.schema import EVENT_TYPES, MAX_ID_LENGTH
from services.api.collaborators import Collaborators
from services.http.calls import Call, Reply
from services.http.decoding import decode
from services.http.endpoints import Endpoint, Endpoints, Schemas
from services.http.openapi_schemas import components, words
from services.http.problems import Refusal

BODY_LIMIT: Final = 256 * 1024
Type = Annotated[str, Meta(extra_json_schema=words(EVENT_TYPES))]


class EventNamesPut(msgspec.Struct):
    """Names of your own, each with the event type that it means; they take the place of those of before."""

    names: Annotated[dict[str, Type], Meta(max_length=MOST)]


class EventTypesAnswer(msgspec.Struct):
    """The event types that there are, and your own names for them."""

    event_types: list[str]
    names: dict[str, str]


_REQUEST: Final = msgspec.json.Decoder(EventNamesPut)
_names: Final = msgspec.json.Decoder(dict[str, str]).decode


class EventTypesHandler:
    """Handler of a partner's names."""

    def __init__(self, shared: Collaborators) -> None:
        self._shared = shared

    async def show(self, call: Call) -> EventTypesAnswer:
        """``GET /v1/event-types``."""
        kept = self._shared.reader.rows(OWN_NAMES, (call.partner,))
        return _answer(_names(kept[0][0]) if kept else {})

    async def put(self, call: Call) -> Reply:
        """``PUT /v1/event-types``.

        Raises
        ------
        Refusal
            403 for a browser key, 422 for a name that cannot be one, or leads to no event type.
        """
        if call.caller.kind == "pk":
            raise Refusal(403, "what names mean is the shop's word: send it with a server key")
        names = decode(_REQUEST, call.body).names
        if wrong := own_names_problem(names):
            raise Refusal(422, wrong.reason, f"/names{wrong.pointer}")
        kept = msgspec.json.encode(names).decode()

        def work(transaction: Transaction) -> EventTypesAnswer:
            transaction.execute(PUT_OWN_NAMES, (call.partner, kept, call.received_at_us))
            return _answer(names)

        reply = await self._shared.writes.write(call, work)
        self._shared.event_names.refresh()
        return reply


def _answer(names: OwnNames) -> EventTypesAnswer:
    return EventTypesAnswer(list(EVENT_TYPES), dict(names))


def schemas(today: date) -> Schemas:
    """Schema of the names: what may be one."""
    put = components(EventNamesPut)["EventNamesPut"]
    name = {"type": "string", "minLength": SHORTEST, "maxLength": MAX_ID_LENGTH, "pattern": r"\S", "not": words(EVENT_TYPES)}
    fields = put["properties"] | {"names": put["properties"]["names"] | {"propertyNames": name}}
    return {"EventNamesPut": put | {"properties": fields}}


def endpoints(shared: Collaborators) -> Endpoints:
    """Endpoints of the names."""
    handler, scope = EventTypesHandler(shared), "events:write"
    example = {"names": {"product_viewed": "item_view", "basket.added": "add_to_cart"}}
    return {
        ("GET", "/v1/event-types"): Endpoint(
            handler.show, scope, "event_types", "Which event types there are, and your own names for them",
            answer=EventTypesAnswer,
        ),
        ("PUT", "/v1/event-types"): Endpoint(
            handler.put, scope, "put_event_types", "Say what your own names of event types mean", request=EventNamesPut,
            answer=EventTypesAnswer, example=example, limit=BODY_LIMIT, schemas=schemas,
        ),
    }  # fmt: skip
