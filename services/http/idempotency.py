"""Idempotent writes: the effect and the answer to its ``Idempotency-Key`` are one transaction.

A write with a key that the partner has used before is not done: the answer of the first time comes back, with the header
``Idempotent-Replayed: true``. The same key with another request is refused (422). Answers are kept for `IDEMPOTENT_HOURS`.
Only keyed hashes of key and request are stored. A browser key has answers of its own: what a page sends under some key never
stands in the way of a server, or of another page.

What happens outside the store cannot be undone with a transaction. Such a request claims its key first: a copy that comes
meanwhile is told so (409), and one that comes after a crash in between is tried again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Any, Final, TypeVar

import msgspec

from infra.store.errors import StoreUnavailable
from infra.store.protocol import Transaction, Writer
from infra.store.statements.idempotency import ANSWER_OF, FORGET_CLAIM, IDEMPOTENT_HOURS, KEEP_ANSWER, UNDER_WAY
from services.http.calls import Call, Reply
from services.http.problems import Refusal

HEADER: Final = "idempotency-key"
REPLAYED: Final = ((b"idempotent-replayed", b"true"),)
RETRY_AFTER: Final = ((b"retry-after", b"1"),)
MAX_KEY: Final = 255
KEPT_US: Final = IDEMPOTENT_HOURS * 3_600_000_000

CLAIM_US: Final = 30_000_000  # by then whoever claimed a key has answered, or died

Work = Callable[[Transaction], Any]
Keep = Callable[[Any], Any]
Outcome = TypeVar("Outcome")


def _all(body: Any) -> Any:
    """Keep the whole of an answer's body."""
    return body


class Writes:
    """Durable writes on behalf of calls.

    Parameters
    ----------
    writer
        Commits them.
    secret
        The installation's secret: key of the hashes.
    """

    def __init__(self, writer: Writer, secret: bytes) -> None:
        self._writer = writer
        self._secret = blake2b(b"idempotency", key=secret, digest_size=32).digest()

    async def write(self, call: Call, work: Work, status: int = 200, keep: Keep = _all) -> Reply:
        """Do something once, durably; once per ``Idempotency-Key``, if the call has one.

        Parameters
        ----------
        work
            Called in the writer's thread inside a transaction; reads and writes the store and gives the body of the answer, or
            a whole `Reply`. It may raise `Refusal`: then nothing is written, and a repetition is tried anew. It must not touch
            anything but the transaction: it can be undone after it has run.
        status
            Of the answer, where `work` gives no `Reply`.
        keep
            What of the answer's body may be kept for a repetition: no secret, nothing by which a user could be found who is
            erased meanwhile. Whoever has called puts the rest in again.

        Raises
        ------
        Refusal
            422 for a key that is no key or stands for another request; 503 when the store cannot be written; what `work`
            raises.
        """
        key = self._key(call)
        if key is None:
            return await self.committed(lambda transaction: as_reply(work(transaction), status))
        request = self._request(call)

        def once(transaction: Transaction) -> Reply:
            kept = _kept(transaction, call, key, request)
            return kept or _keep(transaction, call, key, request, as_reply(work(transaction), status), keep)

        return await self.committed(once)

    async def act(
        self,
        call: Call,
        act: Callable[[], Awaitable[Outcome]],
        work: Callable[[Transaction, Outcome], Any],
        status: int = 200,
    ) -> Reply:
        """Do something outside the store, then write what came of it; once per ``Idempotency-Key``, if the call has one.

        Parameters
        ----------
        act
            What it raises frees the key again.
        work
            As that of `write`, given what `act` came to.

        Raises
        ------
        Refusal
            409 while another request with this key is under way; else as `write`.
        """
        key = self._key(call)
        if key is None:
            outcome = await act()
            return await self.committed(lambda transaction: as_reply(work(transaction, outcome), status))
        request = self._request(call)

        def claim(transaction: Transaction) -> Reply | None:
            kept = _kept(transaction, call, key, request)
            if kept is None:
                transaction.execute(KEEP_ANSWER, (call.partner, key, request, UNDER_WAY, b"", call.received_at_us))
            return kept

        if (kept := await self.committed(claim)) is not None:
            return kept
        try:
            outcome = await act()
        except Exception:
            await self.committed(lambda transaction: transaction.execute(FORGET_CLAIM, (call.partner, key)) and None)
            raise
        return await self.committed(
            lambda transaction: _keep(transaction, call, key, request, as_reply(work(transaction, outcome), status))
        )

    async def committed(self, work: Callable[[Transaction], Outcome]) -> Outcome:
        """Result of a piece of work in one durable transaction, whatever key the call has.

        Raises
        ------
        Refusal
            503 when the store cannot be written; what `work` raises.
        """
        try:
            return await asyncio.wrap_future(self._writer.submit(work))
        except StoreUnavailable:
            raise Refusal(503, "nothing can be written now; send the request again", headers=RETRY_AFTER) from None

    def _key(self, call: Call) -> str | None:
        given = call.headers.get(HEADER)
        if given is None:
            return None
        if not 0 < len(given) <= MAX_KEY or not given.isascii() or not given.isprintable():
            raise Refusal(422, f"the header Idempotency-Key must be 1 to {MAX_KEY} visible ASCII characters")
        whose = b"browser %d\n" % call.caller.key_id if call.caller.kind == "pk" else b""  # a key has no line break
        return self._hash(whose + given.encode())

    def _request(self, call: Call) -> str:
        return self._hash(call.address.encode() + b"\n" + call.body)

    def _hash(self, content: bytes) -> str:
        return blake2b(content, key=self._secret, digest_size=20).hexdigest()


def _kept(transaction: Transaction, call: Call, key: str, request: str) -> Reply | None:
    """The answer that a key has got already; None for a new one."""
    now_us = call.received_at_us
    for fingerprint, status, body, kept_at_us in transaction.read(ANSWER_OF, (call.partner, key, now_us - KEPT_US)):
        if fingerprint != request:
            raise Refusal(422, "this Idempotency-Key has been used for another request; use a new one")
        if status != UNDER_WAY:
            return Reply(status, body, REPLAYED)
        if now_us < kept_at_us + CLAIM_US:
            raise Refusal(409, "a request with this Idempotency-Key is under way; ask again", headers=RETRY_AFTER)
    return None


def _keep(transaction: Transaction, call: Call, key: str, request: str, reply: Reply, keep: Keep = _all) -> Reply:
    """Keep an answer for whoever sends the request again."""
    body = encoded(reply.body)
    kept = body if keep is _all else encoded(keep(reply.body))
    transaction.execute(KEEP_ANSWER, (call.partner, key, request, reply.status, kept, call.received_at_us))
    return reply._replace(body=body)


def as_reply(answer: Any, status: int) -> Reply:
    """Answer of an endpoint, with its status."""
    return answer if isinstance(answer, Reply) else Reply(status, answer)


def encoded(body: Any) -> bytes:
    """The bytes of a body: nothing for None, bytes as they are, all else as JSON."""
    return b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
