"""Memo: what is dear to make is made once for all who ask with the same key."""

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Made = TypeVar("Made")


class Memo:
    """Values by key, for as long as this lives; while one thread makes a value, others that ask wait.

    Examples
    --------
    >>> memo = Memo()
    >>> memo("a", lambda: [1]) is memo("a", lambda: [2])
    True
    """

    def __init__(self) -> None:
        self._made: dict[Hashable, Any] = {}
        self._lock = threading.RLock()

    def __call__(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """The value of a key; made by whoever asks for it first."""
        with self._lock:
            if key not in self._made:
                self._made[key] = make()
            made: Made = self._made[key]
            return made
