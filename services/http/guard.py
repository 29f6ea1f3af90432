"""Guard around every endpoint: size, key, rate, scope and form of a request are checked before its handler sees it.

The order counts: what costs a stranger nothing is checked first. Nothing that a client sent stands in a refusal or in our log.
"""

import asyncio
import logging
import time
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import msgspec
from starlette.types import Receive, Scope, Send

from services.http import asgi, cors
from services.http.calls import Call, RequestHeaders, Stream, read_query
from services.http.decoding import decode
from services.http.idempotency import as_reply, encoded
from services.http.partners import BROWSER_SCOPES, SCOPES, Caller
from services.http.problems import ANSWER_LATE, Headers, Refusal
from services.http.rate_limits import BROWSER_LIMITS, MAX_VISITORS, WITHOUT_KEY, PeerLimiter, RateLimiter
from services.http.request_ids import HEADER
from services.http.router import Match
from services.http.shared_quotas import SharedQuotas

CHALLENGE: Final = ((b"www-authenticate", b"Bearer"),)
SMALL_GZIP: Final = 8 * 1024  # bytes; expanding more is done in a thread
log = logging.getLogger("attune.app")


class _Keyed(msgspec.Struct):
    """Body of a call of a page, as far as the guard reads it."""

    key: str = ""


_KEYED: Final = msgspec.json.Decoder(_Keyed)


class Authenticator(Protocol):
    """Source of callers by their keys. `services.http.partners.Keys` is one."""

    @property
    def origins(self) -> frozenset[str]:
        """Pages that browser keys may be used from, all partners together."""
        ...

    def authenticate(self, key: str, now_s: float) -> Caller | None:
        """The caller, or None for a key that is not valid; `key` is empty where none was sent."""
        ...

    def vouching(self, partner: str, now_s: float) -> Sequence[str]:
        """Hashes of the partner's server keys by which it may vouch for a visitor."""
        ...


class AdmitAll:
    """Authenticator that admits everyone as the local partner: for tests and benchmarks."""

    origins: frozenset[str] = frozenset({"https://shop.example"})

    def authenticate(self, key: str, now_s: float) -> Caller | None:
        """Admit anyone to everything that the kind of the key may do."""
        if key.startswith("pk_"):
            return Caller("local", frozenset(BROWSER_SCOPES), "pk", origins=self.origins)
        return Caller("local", frozenset(SCOPES), "sk")

    def vouching(self, partner: str, now_s: float) -> Sequence[str]:
        """No key vouches."""
        return ()


class Observer(Protocol):
    """Observer of every answer. `services.metrics.Metrics` is one."""

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count one answer; `route` is a template, never a path."""
        ...


class Guard:
    """Guard that leads requests to their endpoints.

    Parameters
    ----------
    requests_per_minute
        Of a server key that has no limit of its own.
    workers
        Processes that share the limits.
    now_us
        The clock, microseconds since 1970.
    of_browsers
        Requests a minute of a browser key that has no limit of its own, and of one peer with it.
    traces
        Whether an unforeseen error is logged with its trace, which may hold values of a request.
    shared
        Where replicas share the limits of keys.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        observer: Observer,
        now_us: Callable[[], int],
        requests_per_minute: int,
        workers: int = 1,
        of_browsers: tuple[int, int] = BROWSER_LIMITS,
        traces: bool = False,
        shared: SharedQuotas | None = None,
    ) -> None:
        self._authenticator = authenticator
        self._keys = RateLimiter(requests_per_minute, workers, of_browsers[0], shared)
        self._pages = PeerLimiter(of_browsers[1], workers, MAX_VISITORS, "with a browser key")
        self._peers = PeerLimiter(max(1, requests_per_minute // WITHOUT_KEY), workers)
        self._observer = observer
        self._now_us = now_us
        self._traces = traces

    async def answer(
        self, match: Match, scope: Scope, receive: Receive, send: Send, fields: asgi.Fields, request_id: bytes
    ) -> None:
        """Check a request, let its endpoint answer it, send the answer.

        Parameters
        ----------
        fields
            The request's headers.
        """
        began = time.perf_counter()
        headers = [(HEADER, request_id)]  # of the answer, whatever it is
        status = match.endpoint.status
        try:
            call = await self._admit(match, scope, receive, fields, headers)
            status = await _send(send, receive, status, await match.endpoint.handler(call), tuple(headers))
        except Refusal as refusal:
            status = refusal.problem.status
            await asgi.reply_problem(send, refusal, tuple(headers), request_id)
        except asyncio.CancelledError:  # by the connection, which has said so already, or by a server that stops
            status = 504
            await asgi.reply_problem(send, Refusal(504, ANSWER_LATE), tuple(headers), request_id)
        except ConnectionError:
            status = 499  # the client went away: nobody reads an answer
        except Exception as error:  # the last resort: the cause goes to our log, never to the client
            status = 500
            place = (type(error).__name__, match.route, request_id.decode())
            log.error("unforeseen %s at %s, request %s", *place, exc_info=self._traces)
            fault = Refusal(500, "this is a fault of ours; the request may be sent again")
            await asgi.reply_problem(send, fault, tuple(headers), request_id)
        self._observer.answered(match.route, status, time.perf_counter() - began)

    async def _admit(
        self, match: Match, scope: Scope, receive: Receive, fields: asgi.Fields, headers: list[tuple[bytes, bytes]]
    ) -> Call:
        """Check a request, one thing after the other; what its answer must say is added to `headers` on the way."""
        endpoint = match.endpoint
        limit = endpoint.limit or asgi.IGNORED_LIMIT
        now_us = self._now_us()
        if b"origin" in fields:
            self._authenticator.authenticate("", now_us / 1e6)  # looks for new keys and origins
            headers += cors.allowing(fields, self._authenticator.origins)
        await asgi.require_length(fields, receive, limit)
        peer = (scope.get("client") or ("",))[0]
        body: bytes | None = None
        if endpoint.from_pages:
            asgi.require_text(fields)
            body = await asgi.read_body(receive, limit)
            key, place = self._key_in(body, peer, now_us), "in the body's field `key`"
        else:
            key, place = asgi.bearer(fields), "the header Authorization: Bearer with"
        caller = self._authenticator.authenticate(key, now_us / 1e6)
        if caller is None:
            self._peers.take(peer, now_us)
            raise Refusal(401, f"send {place} a valid key", headers=CHALLENGE)
        if endpoint.from_pages and caller.kind != "pk":
            raise Refusal(403, "pages use a browser key; a server key that stood in one must be rotated")
        if caller.kind == "pk":
            self._pages.take(peer, now_us, caller.key_id)  # first: who asks too often must not use up what others need
        headers += self._keys.take(caller, now_us)
        if endpoint.scope not in caller.scopes:
            raise Refusal(403, f"this needs a key with the scope {endpoint.scope}")
        cors.require_own_origin(fields, caller)
        if body is None:
            zipped = bool(endpoint.limit) and asgi.is_gzip(fields)
            body = await asgi.read_body(receive, limit)
            body = await _expanded(body, limit) if zipped else body
        address, request_id = f"{scope['method']} {scope['path']}", headers[0][1].decode()
        body = body.removeprefix(BOM_UTF8)  # RFC 8259 lets a reader pass over it
        return Call(caller, body, match.path, _query(scope), RequestHeaders(fields), now_us, address, request_id, peer)

    def _key_in(self, body: bytes, peer: str, now_us: int) -> str:
        """The key that a page sends in the body; a body that cannot be read counts as a try without a key."""
        try:
            return decode(_KEYED, body.removeprefix(BOM_UTF8)).key
        except Refusal:
            self._peers.take(peer, now_us)
            raise

    async def preflight(self, scopes: Mapping[str, str], send: Send, fields: asgi.Fields, request_id: bytes) -> None:
        """Tell a browser whether its page may call an address.

        Parameters
        ----------
        scopes
            Scope that each method of the address needs.
        """
        self._authenticator.authenticate("", self._now_us() / 1e6)  # looks for new keys and origins
        allowed = cors.allowing(fields, self._authenticator.origins)
        await asgi.reply(send, 204, b"", headers=((HEADER, request_id), *cors.preflight(scopes, allowed)))


async def _expanded(body: bytes, limit: int) -> bytes:
    return asgi.expand(body, limit) if len(body) <= SMALL_GZIP else await asyncio.to_thread(asgi.expand, body, limit)


def _query(scope: Scope) -> Mapping[str, str]:
    try:
        return read_query(scope["query_string"])
    except ValueError:
        raise Refusal(422, "the parameters behind the question mark are too many or not UTF-8") from None


async def _send(send: Send, receive: Receive, status: int, answer: object, headers: Headers) -> int:
    """Send what an endpoint answered; the status that went out."""
    if isinstance(answer, Stream):
        await asgi.stream(send, receive, status, answer.chunks, answer.media_type, (*headers, *answer.headers))
        return status
    reply = as_reply(answer, status)
    await asgi.reply(send, reply.status, encoded(reply.body), headers=(*headers, *reply.headers))
    return reply.status
