"""Erasure duty: completes the erasures whose users' last traces lie outside the store's own transaction."""

from pathlib import Path
from typing import Final

from infra.settings import Settings
from infra.store.engines import open_store
from infra.store.protocol import Store
from services.privacy.erasure import SETTLE_S, Completion, ForgetOnline, online_of

POLL_S: Final = 2.0


class ErasureDuty:
    """Duty that completes erasures, all that wait at once; the erasures themselves are its cursor.

    Parameters
    ----------
    settle_s
        How old an erasure must be.
    """

    name = "erasure"
    poll_s = POLL_S

    def __init__(self, home: Path, store: Store, forget_online: ForgetOnline, settle_s: float = SETTLE_S) -> None:
        self._completion = Completion(home, store, forget_online)
        self._settle_us = round(settle_s * 1e6)

    def step(self, now_us: int) -> int:
        """Complete what waits; 0 if nothing does, or a flow runs now."""
        return self._completion.complete(now_us - self._settle_us, now_us)


def open_duty(settings: Settings) -> ErasureDuty:
    """The duty on a store of its own."""
    return ErasureDuty(settings.home, open_store(settings.home), online_of(settings))
