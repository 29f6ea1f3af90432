"""Erasure of one user of one partner: out of the log, the queues, the decisions, the features; with a receipt.

The store's part is one transaction, which also writes the tombstone that keeps the user out. What is left are the features,
and copies that somebody may hold at this moment: a duty that read the events before, a flow that is writing tables. So the
rest waits for `SETTLE_S`, and until no flow runs; only then the receipt says ``completed``. A crash in between changes
nothing: what is not completed is done again.

Models keep what they learned as sums over all visitors (pair counts, trees), which name nobody; the next training is without
the user.
"""

import json
import secrets
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from infra import layout
from infra.lock import held
from infra.secret import secret
from infra.settings import Settings
from infra.store.engines import open_store
from infra.store.protocol import Read, Store, Transaction
from infra.store.statements import erasure as erasure_tables
from infra.store.statements.events import ANY_EVENT_OF
from models.events.identity import partner_key, pseudonym
from models.schema import MAX_ID_LENGTH

SETTLE_S: Final = 5.0  # by then a step that had read the user's events has ended
ForgetOnline = Callable[[str], None]


class Receipt(msgspec.Struct):
    """Receipt of an erasure. It names no user.

    Attributes
    ----------
    erased_at
        What the user did until then is gone, and stays out if it is sent again.
    completed
        Whether no copy is left outside the store: features online and offline.
    removed
        Rows by table, and ``offline_features``.
    """

    receipt_id: str
    erased_at: str
    completed: bool
    removed: dict[str, int]


def new_receipt_id() -> str:
    """A fresh id of a receipt."""
    return f"er_{secrets.token_hex(12)}"


def erase_in_store(transaction: Transaction, partner: str, user_id: str, receipt_id: str, now_us: int) -> Receipt:
    """Erase a pseudonym inside the caller's transaction, and bury it."""
    transaction.execute(erasure_tables.KEEP_EARLIER, (user_id,))
    transaction.execute(erasure_tables.BURY, (user_id, partner, receipt_id, now_us))
    removed = _remove(transaction, user_id)
    transaction.execute(erasure_tables.KEEP_RECEIPT, (json.dumps(removed), None, receipt_id))
    return Receipt(receipt_id, _text(now_us), completed=False, removed=removed)


def _remove(transaction: Transaction, user_id: str) -> dict[str, int]:
    removed = {table: transaction.execute(statement, (user_id,)) for table, statement in erasure_tables.ERASE}
    return {table: n_rows for table, n_rows in removed.items() if n_rows}


def _text(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def receipt(read: Read, partner: str, receipt_id: str) -> Receipt | None:
    """A receipt of a partner's; `read` answers a statement with its rows."""
    kept = read(erasure_tables.RECEIPT, (receipt_id, partner))
    if not kept:
        return None
    _, erased_at_us, completed_at_us, removed = kept[0]
    return Receipt(receipt_id, _text(erased_at_us), completed_at_us is not None, json.loads(removed))


class Completion:
    """Completion of erasures: users out of the features, and what came in between out of the store.

    Parameters
    ----------
    forget_online
        Takes a pseudonym out of the online store.
    """

    def __init__(self, home: Path, store: Store, forget_online: ForgetOnline) -> None:
        self._home = home
        self._store = store
        self._forget_online = forget_online

    def complete_oldest(self, before_us: int, now_us: int) -> bool:
        """Complete the oldest erasure of before an instant; False if there is none, or a flow runs now."""
        waiting = self._store.read(erasure_tables.UNFINISHED, (before_us,))
        if not waiting:
            return False
        user_id, partner, receipt_id, removed = waiting[0]
        try:
            with held(self._home / layout.RETRAIN_LOCK, "completion of an erasure"):
                self._complete(user_id, partner, receipt_id, json.loads(removed), now_us)
        except BlockingIOError:
            return False
        return True

    def _complete(self, user_id: str, partner: str, receipt_id: str, removed: dict[str, int], now_us: int) -> None:
        from feature_repo.forget import forget_offline

        self._forget_online(user_id)
        n_offline = forget_offline(self._home / layout.OFFLINE, partner, user_id)

        def work(transaction: Transaction) -> None:
            total = Counter(removed) + Counter(_late(transaction, user_id)) + Counter(offline_features=n_offline)
            if transaction.execute(erasure_tables.KEEP_RECEIPT, (json.dumps(total), now_us, receipt_id)):
                transaction.execute(erasure_tables.COMPLETE_EARLIER, (now_us, user_id))
            # else erased again meanwhile: that erasure completes this one too

        self._store.write(work)
        self._store.scrub()


def _late(transaction: Transaction, user_id: str) -> dict[str, int]:
    """What a step under way wrote after the erasure, for a user who has not come back since."""
    return {} if transaction.read(ANY_EVENT_OF, (user_id,)) else _remove(transaction, user_id)


def require(home: Path, partner: str, user_id: str) -> None:
    """Refuse to erase what nobody can have meant: a receipt for it would say that nothing was kept.

    Raises
    ------
    ValueError
        If the user's id is none.
    KeyError
        If there is no such partner, and no event of one.
    """
    if not 0 < len(user_id) <= MAX_ID_LENGTH:
        raise ValueError(f"a user id has 1 to {MAX_ID_LENGTH} characters")
    if partner != "local" and not open_store(home).read(erasure_tables.IS_KNOWN, (partner,)):
        raise KeyError(f"no partner called {partner!r}; see: attune partner list")


def erase(
    home: Path, partner: str, user_id: str, now_us: int, forget_online: ForgetOnline, settle_s: float = SETTLE_S
) -> Receipt:
    """Erase a user and wait until no copy is left, as `attune erase` does.

    Parameters
    ----------
    user_id
        As the partner calls the user.
    forget_online
        Takes a pseudonym out of the online store.

    Returns
    -------
    Completed, unless a flow was running all the time; then the worker completes it when the flow has ended.
    """
    store = open_store(home)
    forgotten = pseudonym(partner_key(secret(home), partner), user_id)
    receipt_id = new_receipt_id()
    store.write(lambda transaction: erase_in_store(transaction, partner, forgotten, receipt_id, now_us))
    time.sleep(settle_s)
    completion = Completion(home, store, forget_online)
    while completion.complete_oldest(now_us, now_us):  # older ones too
        pass
    written = receipt(store.read, partner, receipt_id)
    assert written is not None
    return written


def online_of(settings: Settings) -> ForgetOnline:
    """Eraser of users from the online store of a home. Takes seconds: Feast's import."""
    from feature_repo.forget import forget_online
    from feature_repo.store import open_store

    store = open_store(settings.home, settings.profile, redis_url=settings.redis_url, postgres_url=settings.postgres_url)
    return lambda user_id: forget_online(store, user_id)
