"""Writes that may be sent again: the effect and the answer to its ``Idempotency-Key`` are one transaction.

A write with a key that the partner has used before is not done: the answer of the first time comes back, with the header
``Idempotent-Replayed: true``. The same key with another request is refused (422). Answers are kept for `IDEMPOTENT_HOURS`.
Only keyed hashes of key and request are stored.
"""

import asyncio
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

import apsw
import msgspec

from models.stored.door_tables import ANSWER_OF, IDEMPOTENT_HOURS, KEEP_ANSWER
from services.door.calls import Call, Reply
from services.door.problems import Refusal
from services.log.log_writer import LogWriter, StoreBusy
from services.store import rows

HEADER: Final = "idempotency-key"
REPLAYED: Final = ((b"idempotent-replayed", b"true"),)
RETRY_AFTER: Final = ((b"retry-after", b"1"),)
MAX_KEY: Final = 255
KEPT_US: Final = IDEMPOTENT_HOURS * 3_600_000_000

Work = Callable[[apsw.Connection], Any]


class Writes:
    """Durable writes on behalf of calls.

    Parameters
    ----------
    writer
        Commits them.
    secret
        The installation's secret: key of the hashes.
    """

    def __init__(self, writer: LogWriter, secret: bytes) -> None:
        self._writer = writer
        self._secret = blake2b(b"idempotency", key=secret, digest_size=32).digest()

    async def write(self, call: Call, work: Work, status: int = 200) -> Reply:
        """Do something once, durably; once per ``Idempotency-Key``, if the call has one.

        Parameters
        ----------
        work
            Called in the writer's thread inside a transaction, with its connection; reads and writes the store and gives the
            body of the answer, or a whole `Reply`. It may raise `Refusal`: then nothing is written, and a repetition is tried
            anew. It must not touch anything but the connection: it can be undone after it has run.
        status
            Of the answer, where `work` gives no `Reply`.

        Raises
        ------
        Refusal
            422 for a key that is no key or stands for another request; 503 when the store cannot be written; what `work`
            raises.
        """
        once = self._once(call, work, status)
        try:
            return await asyncio.wrap_future(self._writer.submit(once))
        except StoreBusy:
            raise Refusal(503, "nothing can be written now; send the request again", headers=RETRY_AFTER) from None

    def _once(self, call: Call, work: Work, status: int) -> Callable[[apsw.Connection], Reply]:
        given = call.headers.get(HEADER)
        if given is None:
            return lambda connection: as_reply(work(connection), status)
        if not 0 < len(given) <= MAX_KEY or not given.isascii() or not given.isprintable():
            raise Refusal(422, f"the header Idempotency-Key must be 1 to {MAX_KEY} visible ASCII characters")
        key, request = self._hash(given.encode()), self._hash(call.address.encode() + b"\n" + call.body)

        def once(connection: apsw.Connection) -> Reply:
            now_us = call.received_at_us
            for fingerprint, kept_status, body in rows(connection, ANSWER_OF, (call.partner, key, now_us - KEPT_US)):
                if fingerprint != request:
                    raise Refusal(422, "this Idempotency-Key has been used for another request; use a new one")
                return Reply(kept_status, body, REPLAYED)
            reply = as_reply(work(connection), status)
            body = encoded(reply.body)
            connection.execute(KEEP_ANSWER, (call.partner, key, request, reply.status, body, now_us))
            return reply._replace(body=body)

        return once

    def _hash(self, content: bytes) -> str:
        return blake2b(content, key=self._secret, digest_size=20).hexdigest()


def as_reply(answer: Any, status: int) -> Reply:
    """What an endpoint answered, with its status."""
    return answer if isinstance(answer, Reply) else Reply(status, answer)


def encoded(body: Any) -> bytes:
    """The bytes of a body: nothing for None, bytes as they are, all else as JSON."""
    return b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
