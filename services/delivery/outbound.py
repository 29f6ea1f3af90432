"""Outbound client: one POST to an address that a partner wrote down.

The address is judged again here, with what its name means at this moment: the resolver refuses a name that leads inside, and no
socket is made for an address that is not public, however the library came by it. The connection goes to the address that was
checked, under the name that was written. No redirect is followed, no proxy or password file of the machine is used, no cookie
kept; of the answer only the first bytes are read.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler

from services.delivery.answers import Answer, from_heard, judged
from services.delivery.targets import check_url, is_public
from services.http.problems import Refusal

TIMEOUT_S: Final = 15.0  # for all of it: name, connection, request, answer
CONNECT_S: Final = 5.0
BODY_S: Final = 2.0  # for the first bytes of an answer whose status has come
IDLE_S: Final = 30.0  # a connection that nobody uses is closed
CONNECTIONS: Final = 512
LOOKUPS: Final = 64  # names looked up at once; a name server that hangs holds a thread each
READ_BYTES: Final = 4_096
HEADER_BYTES: Final = 65_536  # of a header line; an endpoint behind proxies sends long ones
MOST_HEADERS: Final = 1_000  # lines of them
HEARD_BYTES: Final = 8_192

Lookup = Callable[[str, int], list[tuple[int, str]]]


class InsideAddressError(OSError):
    """Error of a name or an address that leads to where nobody outside may send us."""


def look_up(host: str, port: int) -> list[tuple[int, str]]:
    """Ask the machine's resolver: families and addresses of a name. Blocks."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(int(family), str(address[0])) for family, _, _, _, address in found]


class GuardedResolver(AbstractResolver):
    """Resolver that looks names up in threads of its own and refuses those that lead inside.

    Parameters
    ----------
    lookup
        `look_up`, or one for tests.
    """

    def __init__(self, lookup: Lookup, allow_private: bool) -> None:
        self._lookup = lookup
        self._allow_private = allow_private
        self._threads = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="webhook-names")

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """All addresses of a name.

        Raises
        ------
        InsideAddressError
            If one of them is not public.
        """
        found = await asyncio.get_running_loop().run_in_executor(self._threads, self._lookup, host, port)
        if not self._allow_private and not all(is_public(address) for _, address in found):
            raise InsideAddressError("the name leads inside")
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            for kind, address in found
        ]

    async def close(self) -> None:
        """Let look-ups under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def guarded_socket(info: tuple[Any, ...]) -> socket.socket:
    """Make a socket for an address, if it is public; every connection passes here, those to written addresses too."""
    family, kind, proto, _, address = info
    if not is_public(str(address[0])):
        raise InsideAddressError("the address is not public")
    return socket.socket(family, kind, proto)


class HearingProtocol(ResponseHandler):
    """Protocol of a connection that tells with its errors what it had heard of the answer."""

    _heard = b""

    def set_response_params(self, *args: object, **more: object) -> None:
        """Begin with another answer."""
        self._heard = b""
        super().set_response_params(*args, **more)  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        """Keep the first bytes."""
        if len(self._heard) < HEARD_BYTES:
            self._heard += data[: HEARD_BYTES - len(self._heard)]
        super().data_received(data)

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        """Note what was heard on the error that ends the reading."""
        exc.heard = self._heard  # type: ignore[attr-defined]
        super().set_exception(exc, *cause)


class Outbound:
    """Outbound client of webhooks; made and used in one event loop.

    Parameters
    ----------
    allow_private
        ``ATTUNE_ALLOW_PRIVATE_WEBHOOKS``: targets may be http, loopback and private.
    timeout_s
        For one attempt.
    lookup
        From host and port to addresses.
    tls
        What certificates are checked against; the machine's authorities if not given.
    """

    def __init__(
        self,
        allow_private: bool,
        timeout_s: float = TIMEOUT_S,
        lookup: Lookup = look_up,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allow_private = allow_private
        connector = aiohttp.TCPConnector(
            resolver=GuardedResolver(lookup, allow_private),
            socket_factory=None if allow_private else guarded_socket,
            limit=CONNECTIONS,
            keepalive_timeout=IDLE_S,
            ssl=tls or True,
        )
        # aiohttp makes its protocols by this and offers no other way to have another one.
        connector._factory = partial(HearingProtocol, loop=asyncio.get_running_loop())  # type: ignore[assignment]
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(CONNECT_S, timeout_s)),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            max_line_size=HEADER_BYTES,
            max_field_size=HEADER_BYTES,
            max_headers=MOST_HEADERS,
            trust_env=False,
        )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Make one attempt; it never raises for what the other side does."""
        began = time.perf_counter()
        try:
            check_url(url, self._allow_private)
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                answer = await _read(response)
        except (Refusal, InsideAddressError):
            answer = Answer("inside", 0)
        except TimeoutError:
            answer = Answer("timeout", 0)
        except aiohttp.ClientError as error:
            answer = from_heard(error) or Answer(_reason(error), 0)
        except (OSError, ValueError) as error:
            answer = Answer(_reason(error), 0)
        return answer._replace(latency_us=int((time.perf_counter() - began) * 1e6))

    async def close(self) -> None:
        """Close connections that are kept."""
        await self._session.close()


async def _read(response: aiohttp.ClientResponse) -> Answer:
    """Judge an answer by its status; a body that does not come takes nothing from it."""
    body = await _first_bytes(response.content)
    if not response.content.at_eof():
        response.close()  # the rest is not wanted, so the connection cannot be used again
    return judged(response.status, body, response.headers.get("Retry-After", ""))


async def _first_bytes(content: aiohttp.StreamReader) -> bytes:
    """At most `READ_BYTES` of what comes within `BODY_S`."""
    got = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            while len(got) < READ_BYTES and (chunk := await content.read(READ_BYTES - len(got))):
                got += chunk
    except (aiohttp.ClientError, TimeoutError):
        return bytes(got)
    return bytes(got)


def _reason(error: Exception) -> str:
    cause = getattr(error, "os_error", error)
    if isinstance(cause, InsideAddressError):
        return "inside"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "unresolved"
    if isinstance(error, aiohttp.ClientSSLError):
        return "tls"
    return "connection"
