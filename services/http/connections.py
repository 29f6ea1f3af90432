"""Connections of a worker, bounded before their requests are parsed.

The server's parser (uvicorn's, with httptools) takes a header of any size and waits for its end for ever, the server takes
every connection, and the requests that one sends at once (pipelining) are all kept. `Connection` is that parser's protocol with
limits, `Crowd` all connections of a process. Time is looked at once per sweep and not per request: a request costs some
attributes, and saves the timer that uvicorn sets and cancels for each.
"""

import asyncio
import ipaddress
import resource
import time
from heapq import nsmallest
from math import inf
from typing import Any, Final, NamedTuple

import msgspec
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from infra.settings import Settings
from services.http.problems import ANSWER_LATE, MEDIA_TYPE, TITLES, Problem
from services.http.rate_limits import network_of

HEAD_LIMIT: Final = 16 * 1024  # bytes of a request before its body: the request line and all headers
PIPELINED: Final = 64  # requests that may wait behind the one that is answered
EVICTED: Final = 16  # one in so many makes room when all places are taken
BODY: Final = 1 << 62  # bytes: what follows a head is limited by those who read it
BODY_LATE: Final = "the whole body must come within seconds"
RESERVED_FDS: Final = 128  # for files, the store, metrics


class Limits(NamedTuple):
    """Limits of a process.

    Attributes
    ----------
    total, per_peer
        Connections.
    head_s, idle_s, unread_s, answer_s
        Seconds for the head of a request, between two requests, for reading when so much waits that no more is written, and
        from a head to the beginning of its answer.
    """

    total: int
    per_peer: int
    head_s: float
    idle_s: float
    unread_s: float = 20.0
    answer_s: float = 5.0


def fitting(limits: Limits, n_fds: int) -> Limits:
    """The limits, with no more connections than the process may have files.

    Examples
    --------
    >>> fitting(Limits(1000, 100, 5.0, 75.0), 1024).total, fitting(Limits(1000, 100, 5.0, 75.0), 128).total
    (896, 64)
    """
    return limits._replace(total=max(1, min(limits.total, max(n_fds // 2, n_fds - RESERVED_FDS))))


def limits_of(settings: Settings) -> Limits:
    """Limits of this process, as the settings and the system have them."""
    asked = Limits(settings.connections, settings.connections_per_peer, settings.header_timeout_s, settings.idle_timeout_s)
    return fitting(asked, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


class Crowd:
    """All connections of a process, and the clock by which they are closed.

    Attributes
    ----------
    head_by, idle_by, unread_by, answer_by
        Deadlines of what begins now, seconds of `time.monotonic`; renewed by each sweep, and never early.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._step_s = min(1.0, min(limits[2:]) / 4)
        self._members: dict[Connection, str] = {}  # with the network of its peer
        self._near: dict[str, dict[Connection, None]] = {}
        self.head_by = self.idle_by = self.unread_by = self.answer_by = 0.0
        self._set_clock(time.monotonic())

    def __len__(self) -> int:
        return len(self._members)

    def _set_clock(self, now: float) -> None:
        limits, later = self._limits, now + self._step_s
        self.head_by, self.idle_by, self.unread_by = later + limits.head_s, later + limits.idle_s, later + limits.unread_s
        self.answer_by = later + limits.answer_s

    async def sweep(self) -> None:
        """Close what is over its time, again and again, until cancelled."""
        while True:
            await asyncio.sleep(self._step_s)
            self.look(time.monotonic())

    def look(self, now: float) -> None:
        """Close what is over its time, once."""
        self._set_clock(now)
        for connection in [one for one in self._members if min(one.deadline, one.unread_by, one.answer_by) < now]:
            connection.expire()

    def admit(self, connection: "Connection", peer: str) -> bool:
        """Whether there is room for a connection; if need be, those that ask nothing make it.

        Parameters
        ----------
        peer
            Address; loopback, where a proxy is, and the empty one of a Unix socket are limited by the total only.
        """
        network = network_of(peer)
        near = self._near.get(network, {})
        if len(near) >= self._limits.per_peer and not _is_here(peer) and not self._make_room(list(near)):
            return False
        if len(self._members) >= self._limits.total and not self._make_room(list(self._members)):
            return False
        self._members[connection] = network
        self._near.setdefault(network, {})[connection] = None
        return True

    def _make_room(self, among: "list[Connection]") -> bool:
        """Close some of those that wait: first who has never asked, then who has been idle longest; whether there were any."""
        waiting = [one for one in among if one.deadline < inf]
        for one in nsmallest(1 + len(among) // EVICTED, waiting, key=lambda one: (one.has_asked, one.deadline)):
            self.leave(one)
            one.transport.abort()
        return bool(waiting)

    def leave(self, connection: "Connection") -> None:
        """Forget a connection; safe to call twice."""
        network = self._members.pop(connection, None)
        if network is not None:
            near = self._near[network]
            del near[connection]
            if not near:
                del self._near[network]


def _is_here(peer: str) -> bool:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return not peer
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


class Connection(HttpToolsProtocol):
    """Protocol of one connection.

    Parameters
    ----------
    app
        Answers; the application of the server's configuration, if not given.

    Attributes
    ----------
    deadline
        Until when the client must do what it is waited for; infinite while it waits for us.
    unread_by
        Until when it must read; infinite while it does.
    answer_by
        Until when an answer must begin; infinite while none is waited for.
    """

    def __init__(self, crowd: Crowd, app: ASGIApp | None = None, **given: Any) -> None:
        super().__init__(**given)
        self.app: Any = app or self.app
        self.ws_protocol_class = None  # no web sockets are served: who asks for one gets the answer to a plain request
        self._crowd = crowd
        self._room = HEAD_LIMIT  # bytes that the head may still have
        self.deadline, self.unread_by, self.answer_by = crowd.head_by, inf, inf
        self.has_asked = False
        self._answering: RequestResponseCycle | None = None
        self._task: asyncio.Task[None] | None = None

    def _unsupported_upgrade_warning(self) -> None:
        pass

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection in, or refuse it."""
        super().connection_made(transport)
        if not self._crowd.admit(self, self.client[0] if self.client else ""):
            self.connections.discard(self)
            self._refuse(503)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let the connection go."""
        self._crowd.leave(self)
        super().connection_lost(exc)

    def expire(self) -> None:
        """Close a connection that is over its time; 408 for a head or a body that has begun, 504 where no answer has."""
        if self.unread_by < inf or self.transport.is_closing() or self.transport.get_write_buffer_size():
            self.transport.abort()
        elif self.answer_by < inf:
            self._expire_answer()
        elif self._room < HEAD_LIMIT:
            self._refuse(408)
        else:
            self.transport.close()

    def _expire_answer(self) -> None:
        cycle, self.answer_by = self._answering, inf
        if cycle is not None and not cycle.response_started:  # otherwise it goes on for as long as it is read
            cycle.disconnected = True
            cycle.message_event.set()
            if self._task is not None and not cycle.more_body:  # otherwise it learns that no more comes
                self._task.cancel()
            self._close_with(408 if cycle.more_body else 504, BODY_LATE if cycle.more_body else ANSWER_LATE)

    def _refuse(self, status: int) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()  # amid another answer this one would be no answer
            return
        self._close_with(status)

    def _close_with(self, status: int, detail: str = "") -> None:
        body = msgspec.json.encode(Problem(TITLES[status], status, detail)) if detail else b""
        kind = b"content-type: %s\r\n" % MEDIA_TYPE if detail else b""
        self.transport.write(
            b"%s%scontent-length: %d\r\nconnection: close\r\n\r\n%s" % (STATUS_LINE[status], kind, len(body), body)
        )
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(400)

    def data_received(self, data: bytes) -> None:
        """Parse what came, of a head no more than it may have."""
        cycle, room = self.cycle, self._room
        if len(data) > room:
            super().data_received(data[:room])
            if self.cycle is cycle and not self.transport.is_closing():
                self._refuse(431)
            if self.transport.is_closing():
                return
            data, cycle = data[room:], self.cycle
        super().data_received(data)
        if self._room != BODY and self.cycle is cycle:
            self._room -= len(data)

    def on_message_begin(self) -> None:
        """Begin a head."""
        if self._room == BODY:
            self._room = HEAD_LIMIT
        self.deadline = self._crowd.head_by
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """End a head, and begin to answer.

        Raises
        ------
        ConnectionError
            If too many requests wait; the parser turns it into a request that cannot be read.
        """
        if len(self.pipeline) >= PIPELINED:
            raise ConnectionError("too many requests at once")
        self._room, self.deadline, self.has_asked = BODY, inf, True
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering, self.answer_by = cycle, self._crowd.answer_by
        self._task = task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_response_complete(self) -> None:
        """Go on with the request that waits, or wait for one; as in uvicorn, without a timer for each."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        self.answer_by = inf
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._room == BODY:  # otherwise the next head has begun already
            self.deadline = self._crowd.idle_by
            if not self.cycle.more_body:
                self._room = HEAD_LIMIT

    def pause_writing(self) -> None:
        """Note that an answer is not read."""
        self.unread_by = self._crowd.unread_by
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that it is."""
        self.unread_by = inf
        super().resume_writing()
