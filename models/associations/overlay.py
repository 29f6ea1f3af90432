"""Overlay of live associations: what is kept per item touched since the build, under a number of its own, the slot."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.arrays import Floats, Ints
from models.associations import build as association_build
from models.associations.arrays import N_TYPES, PAIR
from models.associations.model import AssociationParams

_LEAST_ROOM: Final = 1 << 16  # entries of older rows that are not worth a copy


class Counts:
    """Change of the sessions with each item and type, by slot: plain, decayed to the reference instant, and as damping."""

    def __init__(self) -> None:
        self.n_sessions_with: Ints = np.zeros((1, N_TYPES), np.int64)
        self.popularity: Floats = np.zeros((1, N_TYPES))
        self.ratio: npt.NDArray[np.float32] = np.ones((1, N_TYPES), np.float32)

    def add(self, slots: Ints, plain: npt.NDArray[Any], decayed: npt.NDArray[Any]) -> None:
        """Add to some slots, each given once."""
        most = int(slots.max(initial=0)) + 1
        if most > len(self.popularity):
            more = 2 * most - len(self.popularity)
            self.n_sessions_with = np.concatenate((self.n_sessions_with, np.zeros((more, N_TYPES), np.int64)))
            self.popularity = np.concatenate((self.popularity, np.zeros((more, N_TYPES))))
            self.ratio = np.concatenate((self.ratio, np.ones((more, N_TYPES), np.float32)))
        self.n_sessions_with[slots] += plain
        self.popularity[slots] += decayed

    def damp(self, slots: npt.NDArray[Any], n_built: npt.NDArray[np.int32], items: Ints, params: AssociationParams) -> None:
        """Bring the ratio of some items up to date."""
        before = np.zeros((len(items), N_TYPES), np.int32)
        before[items < len(n_built)] = n_built[items[items < len(n_built)]]
        after = np.maximum(before + self.n_sessions_with[slots], 0).astype(np.int32)
        self.ratio[slots] = association_build.damping(after, params) / association_build.damping(before, params)

    def of(self, slots: Ints) -> "Counts":
        """Those of some slots, under the slots from 1 on."""
        chosen, at = Counts(), np.concatenate((np.zeros(1, np.int64), slots))
        chosen.n_sessions_with, chosen.popularity, chosen.ratio = self.n_sessions_with[at], self.popularity[at], self.ratio[at]
        return chosen

    def ratio_of(self, n: int) -> npt.NDArray[np.float32]:
        """A copy for the first n slots."""
        return self.ratio[:n].copy()


class Rows:
    """Rows one after the other, each slot's newest being the one that counts; what was published is never written again.

    Older rows are left behind as soon as they take more room than the newest, so that memory goes by what counts.
    """

    def __init__(self) -> None:
        self._n = self._n_newest = 0
        self._span: Ints = np.zeros((1, 2), np.int64)
        self._columns = [np.zeros(0, kind) for kind in (np.int32, PAIR, np.float32)]

    @property
    def room(self) -> int:
        """Entries that the arrays have room for."""
        return len(self._columns[0])

    def put(self, slots: npt.NDArray[Any], sizes: Ints, *columns: npt.NDArray[Any]) -> None:
        """Append the rows of some slots, each given once: sizes, and target, types and strength of their entries."""
        end = self._n + int(sizes.sum())
        for k, more in enumerate(columns):
            if end > len(self._columns[k]):
                self._columns[k] = np.concatenate((self._columns[k][: self._n], np.zeros(2 * end, self._columns[k].dtype)))
            self._columns[k][self._n : end] = more
        most = int(slots.max(initial=0)) + 1
        if most > len(self._span):
            self._span = np.concatenate((self._span, np.zeros((2 * most - len(self._span), 2), np.int64)))
        self._n_newest += int(sizes.sum()) - int((self._span[slots, 1] - self._span[slots, 0]).sum())
        ends = self._n + np.cumsum(sizes)
        self._span[slots, 0], self._span[slots, 1] = ends - sizes, ends
        self._n = end
        if self._n > 2 * self._n_newest + _LEAST_ROOM:
            self._leave_behind()

    def _leave_behind(self) -> None:
        """Begin new arrays with the newest row of each slot."""
        first, sizes = self._span[:, 0], self._span[:, 1] - self._span[:, 0]
        ends = np.cumsum(sizes)
        at = np.repeat(first - ends + sizes, sizes) + np.arange(self._n_newest)
        self._columns = [column[at] for column in self._columns]
        self._span = np.stack((ends - sizes, ends), axis=1)
        self._n = self._n_newest

    def published(self, n: int) -> tuple[npt.NDArray[Any], ...]:
        """Spans of the first n slots, copied, and the columns as far as they are filled."""
        span = np.zeros((n, 2), np.int64)
        span[: len(self._span)] = self._span[:n]
        return (span, *(column[: self._n] for column in self._columns))
