"""Fold the whole log into action weights at once: what the worker's duty keeps up to date, made anew."""

import json
import time
from contextlib import closing
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from infra.store.engines import open_store
from infra.store.events import read_events
from infra.store.protocol import Transaction
from infra.store.statements.action_weights import (
    CURSOR,
    FORGET_ALL_DUE,
    FORGET_ALL_OBSERVATIONS,
    KEEP_DUE,
    KEEP_OBSERVATION,
    SET_POSTERIOR,
    SUMS,
)
from models.weights import action_outcomes
from models.weights import actions as action_weights
from models.weights.actions import PARAMS, ActionParams


@task(name="fold actions", cache_policy=NO_CACHE)
def fold_actions(home: str, as_of_us: int | None = None) -> dict[str, int]:
    """Replace what is kept about visitors' actions by a fold of the log; a backfill for a past date changes nothing.

    Returns
    -------
    ``{"observations", "pending"}``: rows kept, and visitors of whom an action is pending.
    """
    if as_of_us is not None:
        return {}
    return rebuild(Path(home), time.time_ns() // 1000)


def rebuild(home: Path, now_us: int, params: ActionParams = PARAMS) -> dict[str, int]:
    """Fold the log with outcomes known up to an instant, and set the cursor to where that log ends."""
    with closing(open_store(home)) as store:
        frame = read_events(store, believed=True)
        until = int(frame["seq"].max()) if len(frame) else 0
        found = action_outcomes.of_frame(frame, now_us, params)

        def work(transaction: Transaction) -> None:
            transaction.execute(FORGET_ALL_OBSERVATIONS)
            transaction.execute(FORGET_ALL_DUE)
            transaction.executemany(KEEP_OBSERVATION, found.observations)
            transaction.executemany(KEEP_DUE, found.due)
            counts = action_weights.counts_to_lists(action_weights.of_sums(transaction.read(SUMS), params))
            transaction.execute(SET_POSTERIOR, (until, now_us, json.dumps(counts, separators=(",", ":"))))
            store.tail(CURSOR).move(transaction, until, now_us)

        store.write(work)
    return {"observations": len(found.observations), "pending": len(found.due)}
