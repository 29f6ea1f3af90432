"""Limit of a call that costs seconds, per key and in all processes of a home: each such call holds one of a few leases.

A lease lapses after a minute, so that within any minute there are no more calls than leases, whichever process admits them and
whatever becomes of it. It takes a transaction; for a call that costs seconds that is nothing.
"""

import secrets
from typing import Final

from infra.store.protocol import Transaction
from infra.store.statements.leases import TAKE_LEASE, UNTIL
from services.http.calls import Call
from services.http.idempotency import Writes
from services.http.problems import Refusal

WINDOW_US: Final = 60_000_000


class DearCalls:
    """Sliding-window rate limiter, per key.

    Parameters
    ----------
    writes
        Commit what is counted.
    per_minute
        Calls of one key.
    whose
        What is limited, in one word for the leases' names, and as the refusal says it.
    """

    def __init__(self, writes: Writes, per_minute: int, whose: tuple[str, str]) -> None:
        self._writes = writes
        self._per_minute = per_minute
        self._name, self._whose = whose

    async def take(self, call: Call) -> None:
        """Count a call.

        Raises
        ------
        Refusal
            429 with ``Retry-After`` when the key has asked too often; 503 when nothing can be counted.
        """
        now_us, holder = call.received_at_us, secrets.token_hex(8)
        names = [f"{self._name}/{call.partner}/{call.caller.key_id}/{k}" for k in range(self._per_minute)]

        def work(transaction: Transaction) -> int | None:
            for name in names:
                if transaction.read(TAKE_LEASE, (name, holder, now_us + WINDOW_US, now_us)):
                    return None
            return min(int(transaction.read(UNTIL, (name,))[0][0]) for name in names)

        free_at_us = await self._writes.committed(work)
        if free_at_us is not None:
            wait_s = max(1, -((now_us - free_at_us) // 1_000_000))
            said = f"this key may ask for {self._per_minute} {self._whose} a minute"
            raise Refusal(429, said, headers=((b"retry-after", b"%d" % wait_s),))
