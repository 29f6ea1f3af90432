"""``POST /v1/identify``: an anonymous visitor and a user are one, by the shop's word."""

from collections.abc import Callable
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from infra.store import identities
from infra.store.protocol import Transaction
from models.events import consent
from models.events.identity import pseudonym
from services.api import wire
from services.api.collaborators import Collaborators
from services.http.calls import Call, Reply
from services.http.decoding import decode
from services.http.endpoints import Endpoint, Endpoints
from services.http.idempotency import Writes
from services.http.openapi_schemas import words
from services.http.problems import Refusal
from services.serving.identities import Identities

LIMIT: Final = 16 * 1024
NO_CONSENT: Final = "no_consent"


class Identity(msgspec.Struct):
    """An anonymous visitor who has logged in; ids as they stand in events. Without the visitor's consent nothing is joined."""

    anonymous_id: wire.Id
    user_id: wire.Id
    context: wire.Context | None = None


class IdentifyAnswer(msgspec.Struct):
    """Outcome: `joined`, `known` (they were one already), or `no_consent`."""

    status: Annotated[str, Meta(extra_json_schema=words(("joined", "known", NO_CONSENT)))]


_REQUEST: Final = msgspec.json.Decoder(Identity)


class IdentifyHandler:
    """Handler of identities.

    Parameters
    ----------
    key
        The pseudonym key of a partner.
    known
        Whoever was identified, as this process knows it; is told.
    """

    def __init__(self, writes: Writes, key: Callable[[str], bytes], known: Identities) -> None:
        self._writes = writes
        self._key = key
        self._known = known

    async def join(self, call: Call) -> Reply:
        """Join the two histories; once, however often it is said.

        Raises
        ------
        Refusal
            403 for a browser key, 409 where the anonymous visitor is another user already.
        """
        asked = decode(_REQUEST, call.body)
        if call.caller.kind == "pk":
            raise Refusal(403, "who a visitor is, is the shop's word: send it with a server key")
        refused = asked.context is not None and asked.context.consent is False
        if refused or consent.is_opted_out(call.headers):
            return Reply(200, IdentifyAnswer(NO_CONSENT))
        key = self._key(call.partner)
        ids = pseudonym(key, asked.anonymous_id), pseudonym(key, asked.user_id)

        def work(transaction: Transaction) -> IdentifyAnswer:
            try:
                return IdentifyAnswer(identities.join(transaction, call.partner, *ids, call.received_at_us))
            except ValueError as error:
                raise Refusal(409, str(error), "/anonymous_id") from None

        self._known.identified()  # before: whoever is answered next is asked about
        return await self._writes.write(call, work)


def endpoints(shared: Collaborators) -> Endpoints:
    """Endpoint of the identities."""
    return {
        ("POST", "/v1/identify"): Endpoint(
            IdentifyHandler(shared.writes, shared.key, shared.identities).join, "events:write", "identify",
            "Join what an anonymous visitor did with what a user did", request=Identity, answer=IdentifyAnswer,
            example={"anonymous_id": "cookie-7f3a", "user_id": "u-1"}, limit=LIMIT, headers=(wire.SEC_GPC,),
        )
    }  # fmt: skip
