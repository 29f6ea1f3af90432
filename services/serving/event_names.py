"""Own names of event types, as one process knows them: kept in memory, and up to date within `CHECK_S`."""

import time
from typing import Final

import msgspec

from infra.store.protocol import Store
from infra.store.statements.event_names import ALL_OWN_NAMES
from infra.store.watch import StoreWatch
from models.events.own_names import NONE, OwnNames

CHECK_S: Final = 0.2


class EventNames:
    """Names of event types of all partners. Used by one thread; what it hands out is never written to.

    Parameters
    ----------
    store
        One that waits for nobody, since requests wait behind this.
    """

    def __init__(self, store: Store, check_s: float = CHECK_S) -> None:
        self._store = store
        self._watch = StoreWatch(store, "names of event types", check_s)
        self._decode = msgspec.json.Decoder(dict[str, str]).decode
        self._known: dict[str, OwnNames] = {}

    def of(self, partner: str) -> OwnNames:
        """A partner's names; while the store cannot be read, those that were known before."""
        self._watch.look(time.monotonic(), self._take)
        return self._known.get(partner, NONE)

    def refresh(self) -> None:
        """Read them again at once: this process was told some itself, and whoever asks next is answered by them."""
        self._watch.look(time.monotonic(), self._take, anyway=True)

    def _take(self) -> None:
        self._known = {partner: self._decode(names) for partner, names in self._store.read(ALL_OWN_NAMES)}
