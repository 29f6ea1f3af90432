"""``GET /v1/signals/stream``: server-sent events, one per signal, with its cursor as id.

One task per worker process looks into the outbox, however many listen: when something was committed it reads the new signals
once, keeps the newest of every partner that listens, and wakes the listeners. Who comes back with ``Last-Event-ID`` (or
``?after=``) first reads pages of the outbox until it has caught up.

A stream takes none of BentoML's request slots or timeouts, since our application is mounted before them. It ends after
`LIFETIME_S`, when its key is no longer valid, and when the server stops; browsers and clients then come back by themselves.
"""

import asyncio
import signal
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from typing import Final, Protocol

import msgspec

from infra.store.statements.signals import NEWEST_SIGNAL, READ_OUTBOX, READ_SIGNALS
from infra.store.watch import StoreWatch
from services.api.collaborators import Collaborators
from services.api.signals import AFTER, cursor
from services.http.calls import Call, Stream
from services.http.endpoints import Endpoint, Endpoints
from services.http.partners import Caller
from services.http.problems import Refusal
from services.http.reader import Reader
from services.signals.body import OutboxSignal, signal_body

POLL_S: Final = 0.1
HEARTBEAT_S: Final = 15.0
LIFETIME_S: Final = 3600.0
PER_PARTNER: Final = 10  # streams, in one worker process
IDLE_ROUNDS: Final = 50  # after the last listener has gone
KEPT: Final = 1_000  # newest signals of a partner in memory
PAGE: Final = 500
HELLO: Final = b"retry: 2000\n: connected\n\n"
HEARTBEAT: Final = b": still here\n\n"
LAST_EVENT_ID: Final = "last-event-id"


class KeyCheck(Protocol):
    """Check of a key. `services.http.partners.Keys` is one."""

    def authenticate(self, key: str, now_s: float) -> Caller | None:
        """The caller, or None for a key that is not valid."""
        ...


class SignalBuffer:
    """Buffer of the newest signals of one partner: all of them behind `since`.

    Attributes
    ----------
    woken
        Set when there is something new; replaced then.
    """

    def __init__(self, since: int, kept: int = KEPT) -> None:
        self.since = since
        self.newest: deque[tuple[int, bytes]] = deque()
        self._kept = kept
        self.woken = asyncio.Event()

    def add(self, seq: int, message: bytes) -> None:
        """Take in one more."""
        self.newest.append((seq, message))
        if len(self.newest) > self._kept:
            self.since = self.newest.popleft()[0]

    def behind(self, position: int) -> list[tuple[int, bytes]]:
        """Signals behind a position, which is not before `since`."""
        return [one for one in self.newest if one[0] > position]

    def wake(self) -> None:
        """Tell the listeners."""
        self.woken.set()
        self.woken = asyncio.Event()


class StreamHandler:
    """Handler of streams, and the one task that all of them share in this process.

    Parameters
    ----------
    keys
        Asked again with every heartbeat, so that a revoked key ends its streams.
    kept
        Newest signals of a partner in memory.
    """

    def __init__(
        self, reader: Reader, keys: KeyCheck, heartbeat_s: float = HEARTBEAT_S, poll_s: float = POLL_S, kept: int = KEPT
    ) -> None:
        self._reader = reader
        self._keys = keys
        self._heartbeat_s = heartbeat_s
        self._poll_s = poll_s
        self._kept = kept
        self._listeners: Counter[str] = Counter()
        self._buffers: dict[str, SignalBuffer] = {}
        self._task: asyncio.Task[None] | None = None
        self._position = 0
        self._closed = False

    async def listen(self, call: Call) -> Stream:
        """``GET /v1/signals/stream``."""
        if self._listeners[call.partner] >= PER_PARTNER:
            raise Refusal(429, f"a partner may have {PER_PARTNER} streams at most", headers=((b"retry-after", b"5"),))
        asked = call.headers.get(LAST_EVENT_ID) or call.query.get("after")
        if self._task is None or self._task.done():
            self._position = self._end()
            self._buffers.clear()
            self._task = asyncio.create_task(self._follow())
        buffer = self._buffers.setdefault(call.partner, SignalBuffer(self._position, self._kept))
        start = self._position if asked is None else cursor(asked)
        return Stream(self._messages(call, buffer, start))

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        for buffer in self._buffers.values():
            buffer.wake()

    def _end(self) -> int:
        return int(self._reader.rows(NEWEST_SIGNAL)[0][0])

    async def _messages(self, call: Call, buffer: SignalBuffer, position: int) -> AsyncIterator[bytes]:
        """What one listener is sent."""
        until_s = time.monotonic() + LIFETIME_S
        self._listeners[call.partner] += 1
        try:
            yield HELLO
            while not self._closed and time.monotonic() < until_s:
                woken = buffer.woken
                messages = self._behind(call.partner, buffer, position)
                for seq, message in messages:
                    yield message
                    position = seq
                if not messages and not await _set_within(woken, self._heartbeat_s):
                    if not self._may_go_on(call):
                        return
                    yield HEARTBEAT
        finally:
            self._listeners[call.partner] -= 1

    def _behind(self, partner: str, buffer: SignalBuffer, position: int) -> list[tuple[int, bytes]]:
        """The next signals behind a position: from the outbox where the buffer does not reach back so far."""
        if position < buffer.since:
            page = self._reader.rows(READ_SIGNALS, (partner, position, PAGE))
            if page:
                return [message_of(OutboxSignal(*row)) for row in page]
        return buffer.behind(max(position, buffer.since))

    def _may_go_on(self, call: Call) -> bool:
        key = call.headers.get("authorization", "").partition(" ")[2].strip()
        caller = self._keys.authenticate(key, time.time())
        return caller is not None and caller.partner == call.partner

    async def _follow(self) -> None:
        """Bring the buffers up to the end of the outbox, again and again, until nobody listens any more."""
        watch, n_idle = StoreWatch(self._reader.store, "the outbox"), 0
        while n_idle < IDLE_ROUNDS and not self._closed:
            watch.look(time.monotonic(), self._take_new)
            if _server_stops():
                self.close()
            n_idle = 0 if self._listeners.total() else n_idle + 1
            await asyncio.sleep(self._poll_s)
        self._task = None

    def _take_new(self) -> bool:
        """Put the next signals into the buffers of those who listen; whether there may be more."""
        signals = [OutboxSignal(*row) for row in self._reader.store.read(READ_OUTBOX, (self._position, PAGE))]
        for row in signals:
            buffer = self._buffers.get(row.partner)
            if buffer is not None:
                buffer.add(*message_of(row))
            self._position = row.seq
        for partner in {row.partner for row in signals} & self._buffers.keys():
            self._buffers[partner].wake()
        return len(signals) == PAGE


def message_of(row: OutboxSignal) -> tuple[int, bytes]:
    """A signal's cursor, and its server-sent event.

    Examples
    --------
    >>> row = OutboxSignal(7, "sig_1", "shop", "p1", 1, "offer_discount", "{}", 0.5, "leave", 7, 0)
    >>> message_of(row)[1][:48]
    b'id: 7\\nevent: signal.offer_discount\\ndata: {"type"'
    """
    body = signal_body(row)
    return row.seq, b"id: %d\nevent: %s\ndata: %s\n\n" % (row.seq, body.type.encode(), msgspec.json.encode(body))


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


def _server_stops() -> bool:
    """Whether the server around us has been told to stop.

    It waits for open answers before it tells its applications, so a stream has to find out by itself. The server (uvicorn) is
    whoever handles SIGTERM.
    """
    return bool(getattr(getattr(signal.getsignal(signal.SIGTERM), "__self__", None), "should_exit", False))


def endpoints(shared: Collaborators) -> Endpoints:
    """Endpoint of the stream."""
    return {
        ("GET", "/v1/signals/stream"): Endpoint(
            StreamHandler(shared.reader, shared.authenticator).listen, "signals:manage", "stream",
            "Signals as server-sent events", query=(AFTER,), media_type="text/event-stream",
        )
    }  # fmt: skip
