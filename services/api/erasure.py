"""``DELETE /v1/users/{user_id}`` and ``GET /v1/erasures/{receipt_id}``: erasure of a user, with its receipt."""

from collections.abc import Callable

from infra.store.protocol import Transaction
from models.events.identity import pseudonym
from models.schema import MAX_ID_LENGTH
from services.api.collaborators import Collaborators
from services.http.calls import Call, Reply
from services.http.endpoints import Endpoint, Endpoints
from services.http.idempotency import Writes
from services.http.problems import Refusal
from services.http.reader import Reader
from services.privacy.erasure import Receipt, erase_in_store, new_receipt_id, receipt


class ErasureHandler:
    """Handler of erasures.

    Parameters
    ----------
    key
        The pseudonym key of a partner.
    """

    def __init__(self, reader: Reader, writes: Writes, key: Callable[[str], bytes]) -> None:
        self._reader = reader
        self._writes = writes
        self._key = key

    async def delete(self, call: Call) -> Reply:
        """Erase a user; 202 with the receipt, which is completed when no copy is left."""
        user_id = call.path["user_id"]
        if not 0 < len(user_id) <= MAX_ID_LENGTH:
            raise Refusal(422, f"a user id has 1 to {MAX_ID_LENGTH} characters")
        forgotten = pseudonym(self._key(call.partner), user_id)
        receipt_id, now_us = new_receipt_id(), call.received_at_us

        def work(transaction: Transaction) -> Receipt:
            return erase_in_store(transaction, call.partner, forgotten, receipt_id, now_us)

        return await self._writes.write(call, work, 202)

    async def show(self, call: Call) -> Receipt:
        """Show how far an erasure is."""
        kept = receipt(self._reader.rows, call.partner, call.path["receipt_id"])
        if kept is None:
            raise Refusal(404, "there is no such receipt")
        return kept


def endpoints(shared: Collaborators) -> Endpoints:
    """Endpoints of the erasures."""
    handler, scope = ErasureHandler(shared.reader, shared.writes, shared.key), "privacy:erase"
    return {
        ("DELETE", "/v1/users/{user_id}"): Endpoint(
            handler.delete, scope, "erase", "Erase everything about a user", answer=Receipt, status=202
        ),
        ("GET", "/v1/erasures/{receipt_id}"): Endpoint(
            handler.show, scope, "erasure", "How far an erasure is", answer=Receipt
        ),
    }  # fmt: skip
