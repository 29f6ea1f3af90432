"""Erasure duty: completes the erasures whose users' last traces lie outside the store's own transaction."""

from pathlib import Path
from typing import Final

from infra.settings import Settings
from infra.store.engines import open_store
from infra.store.protocol import Store
from infra.store.statements.erasure import UNFINISHED_SPAN
from services.privacy.erasure import SETTLE_S, Completion, ForgetOnline, online_of

POLL_S: Final = 2.0
HOLD_S: Final = 60.0  # for so long the first waits for more, at most: a pass over all tables costs as much for one as for many


class ErasureDuty:
    """Duty that completes erasures, all that wait at once, as soon as no more come; the erasures themselves are its cursor.

    Parameters
    ----------
    settle_s
        How old an erasure must be.
    hold_s
        While more come, how old the first must be.
    """

    name = "erasure"
    poll_s = POLL_S

    def __init__(
        self, home: Path, store: Store, forget_online: ForgetOnline, settle_s: float = SETTLE_S, hold_s: float = HOLD_S
    ) -> None:
        self._store = store
        self._completion = Completion(home, store, forget_online)
        self._settle_us, self._hold_us = round(settle_s * 1e6), round(hold_s * 1e6)

    def step(self, now_us: int) -> int:
        """Complete what waits; 0 if nothing does, more of it still comes, or a flow runs now."""
        ((first_us, last_us),) = self._store.read(UNFINISHED_SPAN)
        if first_us is None or (last_us > now_us - self._settle_us and first_us > now_us - self._hold_us):
            return 0
        return self._completion.complete(now_us - self._settle_us, now_us)


def open_duty(settings: Settings) -> ErasureDuty:
    """The duty on a store of its own."""
    return ErasureDuty(settings.home, open_store(settings.home), online_of(settings))
