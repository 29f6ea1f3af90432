"""TCP forwarder on loopback that can be cut: what stands between a service and a server that goes away."""

import asyncio
import threading
from contextlib import suppress
from typing import Final

CHUNK: Final = 1 << 16


class Forwarder:
    """Forwarder of a port of its own to a server, in a thread.

    Attributes
    ----------
    port
        Where it listens, on loopback if no other address is given.
    """

    def __init__(self, host: str, port: int, listen: str = "127.0.0.1") -> None:
        self._target = host, port
        self._is_cut = False
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="forwarder", daemon=True).start()
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._accept, listen, 0), self._loop).result()
        self.port = int(server.sockets[0].getsockname()[1])

    def cut(self) -> None:
        """End all connections, and every new one at once."""
        self._is_cut = True
        self._loop.call_soon_threadsafe(self._end_all)

    def mend(self) -> None:
        """Forward again."""
        self._is_cut = False

    def lead_to(self, port: int) -> None:
        """Forward to another port; connections that are open end."""
        self._target = self._target[0], port
        self._loop.call_soon_threadsafe(self._end_all)

    def _end_all(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        try:
            back_reader, back_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(self._pump(reader, back_writer), self._pump(back_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                writer.write(data)
                await writer.drain()
        writer.close()
        self._open.discard(writer)
