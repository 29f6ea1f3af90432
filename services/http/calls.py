"""Call and reply: what a handler is given, and what it may answer. Everything around it is done by `services.http.guard`."""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from services.http.partners import SCOPES, Caller

NOTHING: Final[Mapping[str, str]] = {}
WARM_UP: Final = Caller("warm-up", frozenset(SCOPES), "sk")  # of the requests that the service asks itself
MAX_PARAMETERS: Final = 64


class Call(NamedTuple):
    """Call: a request whose key, scope and size have been checked.

    Attributes
    ----------
    body
        Empty for an endpoint without one.
    path
        The parts of the address that a template names, percent-decoded.
    query
        The last value of each parameter.
    headers
        Names in lower case; the first value of each.
    received_at_us
        The receiver's clock, microseconds since 1970.
    address
        Method and path, such as ``PUT /v1/offers``.
    request_id
        What the answer's ``X-Request-Id`` says.
    peer
        Address that it came from; empty where there is none. To be hashed before anything is kept.
    """

    caller: Caller
    body: bytes
    path: Mapping[str, str] = NOTHING
    query: Mapping[str, str] = NOTHING
    headers: Mapping[str, str] = NOTHING
    received_at_us: int = 0
    address: str = ""
    request_id: str = ""
    peer: str = ""

    @property
    def partner(self) -> str:
        """Whose key it is."""
        return self.caller.partner


class Reply(NamedTuple):
    """Answer with a status or headers of its own; bytes are sent as they are, all else as JSON."""

    status: int
    body: Any
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Stream(NamedTuple):
    """Answer without an end, such as server-sent events; `chunks` is closed when the client goes away."""

    chunks: AsyncIterator[bytes]
    media_type: bytes = b"text/event-stream"
    headers: tuple[tuple[bytes, bytes], ...] = ()


class RequestHeaders(Mapping[str, str]):
    """Headers of a request, decoded when somebody asks: most endpoints never do."""

    __slots__ = ("_raw",)

    def __init__(self, raw: Mapping[bytes, bytes]) -> None:
        self._raw = raw

    def __getitem__(self, name: str) -> str:
        return self._raw[name.encode("latin-1")].decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._raw)

    def __len__(self) -> int:
        return len(self._raw)


def read_query(text: bytes) -> Mapping[str, str]:
    """Parameters behind the question mark.

    Raises
    ------
    ValueError
        If there are more than `MAX_PARAMETERS`, or they are not UTF-8.

    Examples
    --------
    >>> read_query(b"after=12&limit=5&limit=7")
    {'after': '12', 'limit': '7'}
    """
    if not text:
        return NOTHING
    return dict(
        parse_qsl(
            text.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS, encoding="utf-8", errors="strict"
        )
    )
