"""ASGI primitives of the guard: read a bounded JSON body, find a key, send bytes.

The hot routes use these instead of Starlette's request and response objects, which cost more than the answer they carry.
"""

import asyncio
import logging
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import suppress
from typing import Final

import msgspec
from starlette.types import Message, Receive, Send

from services.http.problems import MEDIA_TYPE, Headers, Refusal

JSON: Final = b"application/json"
TEXT: Final = b"text/plain"
BODY_LIMIT: Final = 4 * 1024 * 1024
IGNORED_LIMIT: Final = 64 * 1024  # bytes of a body that nobody asked for
GZIP_MEMBERS: Final = 100  # gzip files may be strung together
GZIP_PIECE: Final = 64 * 1024
DRAIN_LIMIT: Final = 32 * 1024 * 1024
BODY_S: Final = 4.0  # for a whole body: the connection gives up after five, see `services.http.connections`
DRAIN_S: Final = 2.0
Fields = Mapping[bytes, bytes]  # a request's headers, names in lower case
log = logging.getLogger("attune.app")


def bearer(headers: Fields) -> str:
    """The key of an ``Authorization: Bearer`` header, or the empty text."""
    kind, _, key = headers.get(b"authorization", b"").partition(b" ")
    return key.strip().decode("latin-1") if kind.lower() == b"bearer" else ""


def is_gzip(headers: Fields) -> bool:
    """Whether a JSON body comes as gzip.

    Raises
    ------
    Refusal
        415 for a body that says it is something else than JSON, plain or gzip.
    """
    kind = headers.get(b"content-type")
    if kind != JSON:
        media = (kind or b"").partition(b";")[0].strip().lower()
        if media != JSON and not (media.startswith(b"application/") and media.endswith(b"+json")):
            raise Refusal(415, "send the header Content-Type: application/json")
    coding = headers.get(b"content-encoding", b"identity").strip().lower()
    if coding not in (b"identity", b"gzip"):
        raise Refusal(415, "send the body plain, or with Content-Encoding: gzip", headers=((b"accept-encoding", b"gzip"),))
    return coding == b"gzip"


def require_text(headers: Fields) -> None:
    """Refuse a page's body that is not what a browser sends without asking first: JSON that is said to be plain text.

    JSON under its own name is read too, for programs.

    Raises
    ------
    Refusal
        415.
    """
    media = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media not in (TEXT, JSON) or headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise Refusal(415, "send the header Content-Type: text/plain, and the body plain")


async def require_length(headers: Fields, receive: Receive, limit: int) -> None:
    """Refuse a body that announces more than `limit` bytes.

    Raises
    ------
    Refusal
        413.
    """
    announced = headers.get(b"content-length")
    if announced is not None and announced.isdigit() and int(announced) > limit:
        await _forget_rest(receive, more=True)
        raise _too_large(limit)


def expand(body: bytes, limit: int) -> bytes:
    """Expand a gzip body piece by piece, never beyond `limit` bytes.

    Raises
    ------
    Refusal
        400 for a body that is no gzip, ends too early or is strung together of too many, 413 for one that grows beyond the
        limit.

    Examples
    --------
    >>> import gzip
    >>> expand(gzip.compress(b"{}"), 10)
    b'{}'
    """
    parts: list[bytes] = []
    left, at, n_members = limit + 1, 0, 0
    while at < len(body):
        n_members += 1
        if n_members > GZIP_MEMBERS:
            raise Refusal(400, f"the gzip body may have {GZIP_MEMBERS} members at most")
        stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        while not stream.eof:
            piece = body[at : at + GZIP_PIECE]  # what stands behind the end of a member is copied: of a piece, not of the body
            if not piece:
                raise Refusal(400, "the gzip body ends too early")
            try:
                parts.append(stream.decompress(piece, left))
            except zlib.error:
                raise Refusal(400, "the body is not valid gzip") from None
            left -= len(parts[-1])
            if left <= 0:
                raise _too_large(limit)
            at += len(piece) - len(stream.unused_data)
    return b"".join(parts)


async def read_body(receive: Receive, limit: int = BODY_LIMIT, within_s: float = BODY_S) -> bytes:
    """Read a request's body, at most `limit` bytes.

    Raises
    ------
    Refusal
        413; 408 where it does not come in time.
    ConnectionError
        If the client goes away before the end.
    """
    message = await receive()  # whoever sends none of it is sent away with the connection
    if not message.get("more_body") and len(message.get("body", b"")) <= limit:
        return bytes(message.get("body", b""))
    try:
        async with asyncio.timeout(within_s):
            return await _whole_body(message, receive, limit)
    except TimeoutError:
        said = f"the whole body must come within {within_s:g} s"
        raise Refusal(408, said, headers=((b"connection", b"close"),)) from None


async def _whole_body(message: Message, receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = [message.get("body", b"")]
    size = len(parts[0])
    while message.get("more_body") and size <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client went away")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    if size > limit:
        await _forget_rest(receive, bool(message.get("more_body")))
        raise _too_large(limit)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _forget_rest(receive: Receive, more: bool) -> None:
    """Read and forget the rest of a body that is refused, at most `DRAIN_LIMIT` bytes, and not for longer than `DRAIN_S`.

    A client that still sends while the connection closes sees a reset and not the answer.
    """
    left = DRAIN_LIMIT
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            while more and left > 0:
                message = await receive()
                more = message["type"] != "http.disconnect" and bool(message.get("more_body"))
                left -= len(message.get("body", b""))


def _too_large(limit: int) -> Refusal:
    return Refusal(413, f"the body may have {limit} bytes at most", headers=((b"connection", b"close"),))


async def reply(
    send: Send, status: int, body: bytes, media_type: bytes = JSON, headers: Headers = (), *, head: bool = False
) -> None:
    """Send a whole answer; `head` leaves the body out, as HEAD wants it; 204 and 304 have none."""
    fields = [*headers]
    if status not in (204, 304):
        fields += (b"content-type", media_type), (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": b"" if head else body})


async def stream(
    send: Send, receive: Receive, status: int, chunks: AsyncIterator[bytes], media_type: bytes, headers: Headers = ()
) -> None:
    """Send an answer piece by piece, each as soon as it is there, until it ends or the client goes away.

    A proxy is told not to gather the pieces: nginx, as it comes, would pass on nothing for as long as the stream lasts.
    What goes wrong after the first piece ends the answer: its status has gone out, so nobody can be told, but can come back.
    """
    fields = [(b"content-type", media_type), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no"), *headers]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    gone = asyncio.create_task(_gone(receive))
    step = asyncio.ensure_future(anext(chunks, None))
    try:
        while await asyncio.wait((gone, step), return_when=asyncio.FIRST_COMPLETED):
            if not step.done() or (chunk := step.result()) is None:
                break
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            step = asyncio.ensure_future(anext(chunks, None))
    except Refusal:
        pass
    except Exception as error:  # noqa: BLE001 - the last resort, as in `services.http.guard`
        log.error("a stream ended by an unforeseen %s", type(error).__name__)
    finally:
        gone.cancel()
        step.cancel()
        await asyncio.wait((gone, step))
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
    await send({"type": "http.response.body", "body": b""})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def reply_problem(send: Send, refusal: Refusal, headers: Headers = (), request_id: bytes = b"") -> None:
    """Send a refusal as problem+json."""
    problem = msgspec.structs.replace(refusal.problem, request_id=request_id.decode() or None)
    body = msgspec.json.encode(problem)
    await reply(send, problem.status, body, MEDIA_TYPE, (*headers, *refusal.headers))
