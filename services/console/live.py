"""Live pages: blocks that have changed, once a second, for as long as somebody looks."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from typing import Final

from starlette.concurrency import run_in_threadpool

EVERY_S: Final = 1.0
HEARTBEAT_ROUNDS: Final = 15
MOST: Final = 100  # streams
LIFETIME_ROUNDS: Final = 3_600

Blocks = dict[str, str]


class Streams:
    """Streams of all who look; what several see is made once a second for all of them."""

    def __init__(self) -> None:
        self.n = 0
        self.closed = False
        self._made: dict[str, tuple[int, asyncio.Task[Blocks]]] = {}

    async def follow(self, key: str, make: Callable[[], Blocks], may_go_on: Callable[[], bool]) -> AsyncGenerator[str]:
        """Server-sent events of a page.

        Parameters
        ----------
        key
            The same for all who see the same.
        make
            Blocks by id, as they are now; called in a thread.
        may_go_on
            Whether the session is still good.
        """
        self.n += 1
        known: Blocks = {}
        try:
            yield "retry: 3000\n\n"
            for round_ in range(LIFETIME_ROUNDS):
                if self.closed or (round_ % HEARTBEAT_ROUNDS == 0 and not await run_in_threadpool(may_go_on)):
                    return
                now = await self._now(key, make)
                changed = {id_: html for id_, html in now.items() if known.get(id_) != html}
                known = now
                if changed:
                    yield f"data: {json.dumps(changed)}\n\n"
                elif round_ % HEARTBEAT_ROUNDS == 0:
                    yield ": still here\n\n"
                await asyncio.sleep(EVERY_S)
        finally:
            self.n -= 1

    async def _now(self, key: str, make: Callable[[], Blocks]) -> Blocks:
        second = int(asyncio.get_running_loop().time() / EVERY_S)
        found = self._made.get(key)
        if found is None or found[0] != second:
            self._made = {name: one for name, one in self._made.items() if one[0] >= second - 1}
            self._made[key] = found = second, asyncio.ensure_future(run_in_threadpool(make))
        return await asyncio.shield(found[1])
