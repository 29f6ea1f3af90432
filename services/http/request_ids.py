"""Request ids: the answer carries one, a problem repeats it, and our log knows a request by nothing else."""

import secrets
from collections.abc import Mapping
from itertools import count
from re import compile
from typing import Final

HEADER: Final = b"x-request-id"
_valid: Final = compile(rb"[A-Za-z0-9_.:-]{1,64}").fullmatch


class RequestIds:
    """Source of request ids: a random word of this process and a number, cheaper than randomness for every request."""

    def __init__(self) -> None:
        self._word = secrets.token_hex(6)
        self._numbers = count(1)

    def of(self, headers: Mapping[bytes, bytes]) -> bytes:
        """The id that the client gave its request, if it is a sound one, else a new one.

        Examples
        --------
        >>> RequestIds().of({b"x-request-id": b"order-17:2"})
        b'order-17:2'
        >>> len(RequestIds().of({b"x-request-id": b"<script>"}))
        20
        """
        given = headers.get(HEADER)
        if given is not None and _valid(given):
            return given
        return b"%b%08x" % (self._word.encode(), next(self._numbers))
