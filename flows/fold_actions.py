"""Fold actions: bring the action weights up to the end of the log, as the worker's duty does, or make them anew.

Both fold whole visitors (`models.weights.action_outcomes`) and replace what is kept of each in one transaction, so the worker
may run beside, and either comes to the same.
"""

import json
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from prefect import task
from prefect.cache_policies import NO_CACHE

from infra.store.engines import open_store
from infra.store.events import BELIEVED_COLUMNS, collector_off, frame_of, visitor_ranges
from infra.store.protocol import Row, Store, Transaction
from infra.store.statements import action_weights as sql
from infra.store.statements.events import BELIEVED_OF_USERS, COUNT_BELIEVED, EVENTS_SINCE, N_EVENTS, USERS_BETWEEN
from models.weights import action_outcomes
from models.weights import actions as action_weights
from models.weights.actions import PARAMS, ActionParams

EVENTS_A_RANGE: Final = 50_000  # each is a transaction, and others wait to write
USERS_A_WRITE: Final = 2_000
MOST_NEW: Final = 0.3  # share of the log; beyond it, folding everything is quicker
MARGIN_US: Final = 3_600_000_000  # a release is dated when it begins and seen when it is over


@task(name="fold actions", cache_policy=NO_CACHE)
def fold_actions(home: str, as_of_us: int | None = None) -> dict[str, int]:
    """Bring what is kept about visitors' actions up to date; a backfill for a past date changes nothing.

    Returns
    -------
    ``{"observations", "pending"}``: rows that were folded, and visitors among them of whom an action is pending.
    """
    if as_of_us is not None:
        return {}
    return bring_up(Path(home), time.time_ns() // 1000)


def bring_up(home: Path, now_us: int, params: ActionParams = PARAMS) -> dict[str, int]:
    """Fold visitors of whom something is new, due, held back or released since the cursor; everybody where that is most."""
    with closing(open_store(home)) as store:
        tail = store.tail(sql.CURSOR)
        position, until = tail.position(), tail.end()
        if position is None or store.read(EVENTS_SINCE, (position,))[0][0] > MOST_NEW * store.read(N_EVENTS)[0][0]:
            return _rebuilt(store, now_us, params)
        users = {user for user, _ in store.read(USERS_BETWEEN, (min(position, until), until))}
        users |= {user for (user,) in store.read(sql.DUE, (now_us, 2**31))}
        users |= {user for _, _, user in store.read(sql.CHANGED, (MARGIN_US,))}
        ordered, total = sorted(users), action_outcomes.Rows([], [])
        for at in range(0, len(ordered), USERS_A_WRITE):
            asked = json.dumps(some := ordered[at : at + USERS_A_WRITE])
            busy = {user for user, n in store.read(COUNT_BELIEVED, (asked,)) if n > action_outcomes.MOST_EVENTS}
            followed = json.dumps([user for user in some if user not in busy])
            found = _outcomes(store.read(BELIEVED_OF_USERS, (followed, until)), now_us, params)
            _replace(store, (sql.FORGET_OBSERVATIONS, sql.FORGET_DUE), (asked,), found)
            total = action_outcomes.Rows(total.observations + found.observations, total.due + found.due)
        _conclude(store, until, now_us, params)
    return {"observations": len(total.observations), "pending": len(total.due)}


def rebuild(home: Path, now_us: int, params: ActionParams = PARAMS) -> dict[str, int]:
    """Fold the log with outcomes known up to an instant, and set the cursor to where that log ends."""
    with closing(open_store(home)) as store:
        return _rebuilt(store, now_us, params)


def _rebuilt(store: Store, now_us: int, params: ActionParams) -> dict[str, int]:
    until, n_observations, n_pending = store.tail(sql.CURSOR).end(), 0, 0
    for visitors in visitor_ranges(store, EVENTS_A_RANGE):
        found = _outcomes(store.read(sql.BELIEVED_OF_RANGE, (*visitors, until)), now_us, params)
        _replace(store, (sql.FORGET_OBSERVATIONS_OF_RANGE, sql.FORGET_DUE_OF_RANGE), visitors, found)
        n_observations, n_pending = n_observations + len(found.observations), n_pending + len(found.due)
    _conclude(store, until, now_us, params)
    return {"observations": n_observations, "pending": n_pending}


def _outcomes(rows: Sequence[Row], now_us: int, params: ActionParams) -> action_outcomes.Rows:
    with collector_off():
        return action_outcomes.of_frame(frame_of(rows, BELIEVED_COLUMNS), now_us, params)


def _replace(store: Store, forget: Sequence[str], which: Sequence[str], found: action_outcomes.Rows) -> None:
    """Put what was found of some visitors in the place of what was kept of them."""

    def work(transaction: Transaction) -> None:
        for statement in forget:
            transaction.execute(statement, which)
        transaction.executemany(sql.KEEP_OBSERVATION, found.observations)
        transaction.executemany(sql.KEEP_DUE, found.due)

    store.write(work)


def _conclude(store: Store, until: int, now_us: int, params: ActionParams) -> None:
    """Make the posterior of what is kept, and move the cursor."""
    counts = action_weights.counts_to_lists(action_weights.of_sums(store.read(sql.SUMS), params))
    posterior = (until, now_us, json.dumps(counts, separators=(",", ":")))

    def work(transaction: Transaction) -> None:
        transaction.execute(sql.SET_POSTERIOR, posterior)
        store.tail(sql.CURSOR).move(transaction, until, now_us)

    store.write(work)
