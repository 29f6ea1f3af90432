"""Adaptive batching: requests that wait at the same time are answered together, step by step.

A processor that goes through all of a request finds its nearest caches full of the last step's work at every step; one that
takes the same step for several requests finds them warm. So a handler that does not wait for anything is a generator that
yields between two steps, and whatever has come within one turn of the event loop takes each step together. Nobody waits for
more to come: a request that is alone goes on at once.
"""

from collections.abc import Generator
from types import coroutine
from typing import Any, Final, TypeVar

Answer = TypeVar("Answer")
Steps = Generator[None, None, Answer]
MOST: Final = 16  # requests of a batch: what came first should not wait for all that came behind it


class _Asked:
    """A request of a batch: its steps, and in the end what they returned or raised."""

    __slots__ = ("answer", "error", "is_over", "steps")

    def __init__(self, steps: Steps[Any]) -> None:
        self.steps, self.is_over = steps, False
        self.answer: Any = None
        self.error: Exception | None = None

    def goes_on(self) -> bool:
        """Take one step; whether there are more."""
        if self.is_over:  # whoever asked has gone away
            return False
        try:
            next(self.steps)
        except StopIteration as end:
            self.answer, self.is_over = end.value, True
        except Exception as error:  # noqa: BLE001 - is raised to whoever asked
            self.error, self.is_over = error, True
        return not self.is_over


class Batching:
    """Batching of the requests of one kind, on the event loop's thread."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._open: list[_Asked] = []  # the batch that still takes requests

    async def answer(self, steps: Steps[Answer]) -> Answer:
        """Take the steps together with those of others, and give what they return or raise."""
        if len(self._open) >= self._most:
            self._open = []
        batch, asked = self._open, _Asked(steps)
        batch.append(asked)
        try:
            await _others()
        except BaseException:
            asked.is_over = True
            steps.close()
            raise
        if not asked.is_over:  # the first one that comes back takes the steps of all
            if batch is self._open:
                self._open = []
            while batch:
                batch = [one for one in batch if one.goes_on()]
        if asked.error is not None:
            raise asked.error
        answer: Answer = asked.answer
        return answer


@coroutine
def _others() -> Generator[None, None, None]:
    """Let all that is ready to run have its turn."""
    yield


def at_once(steps: Steps[Answer]) -> Answer:
    """Take all steps of one request.

    Examples
    --------
    >>> def steps():
    ...     yield
    ...     return 7
    >>> at_once(steps())
    7
    """
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Answer = end.value
            return found
