"""Erasure of one user of one partner: out of the log, the queues, the decisions, the features; with a receipt.

The store's part is one transaction, which also writes the tombstone that keeps the user out. What is left are the features,
the log's archive, rejected texts, and copies that somebody may hold at this moment: a duty that read the events before, a flow
that is writing tables, a file of before that a reader keeps. So the rest waits for `SETTLE_S`, and until no flow runs; only
then the receipt says ``completed``. A crash in between changes nothing: what is not completed is done again.

Models keep what they learned as sums over all visitors (pair counts, trees), which name nobody; the next training is without
the user.
"""

import json
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from infra import archive, layout, object_store
from infra.lock import exclusive, held, is_free
from infra.secret import secret
from infra.settings import Settings
from infra.store import identities
from infra.store.engines import open_store
from infra.store.protocol import Read, Row, Store, Transaction
from infra.store.statements import erasure as erasure_tables
from infra.store.statements.events import ANY_EVENT_OF
from infra.store.statements.identities import ANONYMOUS_OF
from models.events.identity import PSEUDONYM_BYTES, partner_key, pseudonym
from models.schema import MAX_ID_LENGTH

SETTLE_S: Final = 5.0  # by then a step that had read the user's events has ended
TRIES: Final = 5  # of a command, where others read or write at the moment; then it is left to the worker
TRY_AGAIN_S: Final = 0.5
USERS_A_PASS: Final = 5_000
ROWS_A_WRITE: Final = 100
TEXTS_A_READ: Final = 5_000
PSEUDONYM: Final = re.compile(rf"[0-9a-f]{{{2 * PSEUDONYM_BYTES}}}")
ForgetOnline = Callable[[Sequence[str]], bool]
Part = TypeVar("Part")


class Receipt(msgspec.Struct):
    """Receipt of an erasure. It names no user.

    Attributes
    ----------
    erased_at
        What the user did until then is gone, and stays out if it is sent again.
    completed
        Whether no copy is left outside the store: features online and offline, and the log's archive.
    removed
        Rows by table, ``offline_features`` and ``archive``.
    """

    receipt_id: str
    erased_at: str
    completed: bool
    removed: dict[str, int]


def new_receipt_id() -> str:
    """A fresh id of a receipt."""
    return f"er_{secrets.token_hex(12)}"


def erase_in_store(transaction: Transaction, partner: str, user_id: str, receipt_id: str, now_us: int) -> Receipt:
    """Erase a pseudonym inside the caller's transaction, and bury it; with all that were joined with it, whichever is named."""
    user_id = identities.resolved(transaction.read, user_id)
    anonymous = [str(one) for (one,) in transaction.read(ANONYMOUS_OF, (user_id,))]
    removed = Counter[str]()
    for each, receipt_of in [*((one, new_receipt_id()) for one in anonymous), (user_id, receipt_id)]:
        transaction.execute(erasure_tables.KEEP_EARLIER, (each,))
        transaction.execute(erasure_tables.BURY, (each, partner, receipt_of, now_us))
        removed += Counter(_remove(transaction, each))
        transaction.execute(erasure_tables.KEEP_RECEIPT, (json.dumps(removed), None, receipt_of))
    return Receipt(receipt_id, _text(now_us), completed=False, removed=dict(removed))


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
    """Completion of erasures, many in one pass: users out of the features, and what came in between out of the store.

    It hinders no flow. While one runs that may have read the users before they were erased, or tables of before the pass, the
    erasures stay as they are and are done again.

    Parameters
    ----------
    forget_online
        Takes pseudonyms out of the online store; False if it must be tried again.
    """

    def __init__(self, home: Path, store: Store, forget_online: ForgetOnline) -> None:
        self._home = home
        self._store = store
        self._forget_online = forget_online

    def complete(self, before_us: int, now_us: int) -> int:
        """Complete the erasures of before an instant, at most `USERS_A_PASS`; of how many users.

        Returns
        -------
        0 if there is none, or a flow runs now, or somebody completes erasures or still reads what was.
        """
        try:
            with held(self._home / layout.ERASURE_LOCK, "completion of an erasure"):
                return self._complete(before_us, now_us)
        except BlockingIOError:
            return 0

    def _complete(self, before_us: int, now_us: int) -> int:
        from feature_repo.forget import forget_offline

        waiting, last_flow = self._store.read(erasure_tables.UNFINISHED, (before_us, USERS_A_PASS)), self._last_flow()
        if not waiting or last_flow is None:
            return 0
        users, lock = [user_id for user_id, _, _ in waiting], self._home / layout.OFFLINE_LOCK
        late = self._forget_late(users)
        with ThreadPoolExecutor(1) as beside:
            tables = beside.submit(forget_offline, self._home / layout.OFFLINE, users, lambda: exclusive(lock))
            is_clear = self._store.scrub_pages() and self._forget_online(users)
            offline = tables.result()
        objects = object_store.opened()
        archived = archive.forget(self._store, objects, users, now_us) if objects else Counter[str]()
        is_complete = is_clear and offline is not None and archived is not None and self._last_flow() == last_flow
        outside = {"offline_features": offline or Counter(), "archive": archived or Counter()}
        self._keep(waiting, late, outside, now_us if is_complete else None)
        return len(waiting) if is_complete else 0

    def _last_flow(self) -> int | None:
        """Mark of the last flow that wrote features; None while one does."""
        path = self._home / layout.RETRAIN_LOCK
        if not is_free(path):
            return None
        return path.stat().st_mtime_ns if path.exists() else 0

    def _forget_late(self, users: Sequence[str]) -> dict[str, Counter[str]]:
        """Remove what a step under way wrote after an erasure, and rejected texts; rows by table, by user."""
        gone: dict[str, Counter[str]] = {user_id: Counter() for user_id in users}
        left = [user_id for (user_id,) in self._store.read(erasure_tables.LEFT_BEHIND, (json.dumps(list(users)),))]
        for some in _portions(left):

            def work(transaction: Transaction, some: Sequence[str] = some) -> list[dict[str, int]]:
                return [_late(transaction, user_id) for user_id in some]

            for user_id, removed in zip(some, self._store.write(work), strict=True):
                gone[user_id] += Counter(removed)
        named = self._named_in_texts(set(users))
        for ids in _portions(list(named)):
            self._store.write(partial(_forget_texts, json.dumps(ids)))
        for user_id in named.values():
            gone[user_id]["quarantine"] += 1
        return gone

    def _named_in_texts(self, users: Collection[str]) -> dict[int, str]:
        """Rejected rows whose text names one of the users, and which."""
        found: dict[int, str] = {}
        after = 0
        while rows := self._store.read(erasure_tables.REJECTED_TEXTS, (after, TEXTS_A_READ)):
            for row, raw in rows:
                if (user_id := next((one for one in PSEUDONYM.findall(raw) if one in users), None)) is not None:
                    found[row] = user_id
            after = rows[-1][0]
        return found

    def _keep(
        self,
        waiting: Sequence[Row],
        late: Mapping[str, Counter[str]],
        outside: Mapping[str, Counter[str]],
        completed_at_us: int | None,
    ) -> None:
        """Write into the receipts what went, and when the last of it did."""
        for some in _portions(waiting):

            def work(transaction: Transaction, some: Sequence[Row] = some) -> None:
                receipts = []
                for user_id, receipt_id, removed in some:
                    gone = Counter({name: rows[user_id] for name, rows in outside.items()})
                    total = Counter(json.loads(removed)) + late[user_id] + gone
                    receipts.append((json.dumps(total), completed_at_us, receipt_id))
                transaction.executemany(erasure_tables.KEEP_RECEIPT, receipts)
                if completed_at_us is not None:  # who was erased again meanwhile is completed by that erasure
                    users = json.dumps([user_id for user_id, _, _ in some])
                    transaction.execute(erasure_tables.COMPLETE_EARLIER, (completed_at_us, users))

            self._store.write(work)


def _portions(rows: Sequence[Part]) -> Iterator[Sequence[Part]]:
    """Parts of what is written, each for a transaction that lets others write soon."""
    for at in range(0, len(rows), ROWS_A_WRITE):
        yield rows[at : at + ROWS_A_WRITE]


def _forget_texts(ids: str, transaction: Transaction) -> int:
    return transaction.execute(erasure_tables.FORGET_TEXTS, (ids,))


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
        Takes pseudonyms out of the online store; False if it must be tried again.

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
    for _ in range(TRIES):
        while completion.complete(now_us, now_us):  # older ones too
            pass
        if (written := receipt(store.read, partner, receipt_id)) is not None and written.completed:
            break
        time.sleep(TRY_AGAIN_S)
    assert written is not None
    return written


def online_of(settings: Settings) -> ForgetOnline:
    """Eraser of users from the online store of a home. Takes seconds: Feast's import."""
    from feature_repo.forget import forget_online
    from feature_repo.store import open_store

    store = open_store(settings.home, settings.profile, redis_url=settings.redis_url, postgres_url=settings.postgres_url)
    return lambda users: forget_online(store, users)
