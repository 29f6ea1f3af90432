"""Identities: whom a pseudonym stands for, asked with every request.

Most shops never say who an anonymous visitor is. As long as nobody was identified the store is not asked: it is looked at every
`CHECK_S`, and at once where this process took the word itself.
"""

import time
from collections.abc import Callable
from typing import Final

from infra.store import identities
from infra.store.errors import StoreUnavailable
from infra.store.protocol import Read, Store
from infra.store.watch import StoreWatch

CHECK_S: Final = 0.2


class Identities:
    """Identities of a home, as one process knows them. Used by one thread.

    Parameters
    ----------
    store
        One that waits for nobody, since requests wait behind this.
    """

    def __init__(self, store: Store, check_s: float = CHECK_S) -> None:
        self._store = store
        self._watch = StoreWatch(store, "identities", check_s)
        self._any = False

    def identified(self) -> None:
        """Note that somebody was identified by this process."""
        self._any = True

    def resolved(self, user_id: str) -> str:
        """Whom a pseudonym stands for: the user, for an anonymous visitor who became one; else itself."""
        return self._told(identities.resolved, user_id)

    def dealt_as(self, user_id: str) -> str:
        """The pseudonym by which a visitor is dealt variants and profiles: the one that was dealt first."""
        return self._told(identities.dealt_as, user_id)

    def _told(self, about: Callable[[Read, str], str], user_id: str) -> str:
        """What the store says about a pseudonym; itself, where the store cannot be read: an answer comes all the same."""
        if not self._any:
            self._watch.look(time.monotonic(), self._take)
        if not self._any:
            return user_id
        try:
            return about(self._store.read, user_id)
        except StoreUnavailable:
            return user_id

    def _take(self) -> None:
        self._any = identities.any_known(self._store.read)
