"""Decide: what a person says about rows of quarantine: hold events back, believe them, or go on without them for good.

A decision outlives every validation, but one: an event with which no feature table can be made is held back again.
"""

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from infra.store.engines import open_store
from infra.store.protocol import Store
from infra.store.statements import quarantine as sql


class Choice(NamedTuple):
    """Which rows a decision is about; one of the fields is set, or `everything`.

    Attributes
    ----------
    ids
        As `attune quarantine list` shows them.
    named
        An expectation that they failed.
    visitor
        The pseudonym of a visitor.
    everything
        All rows that wait.
    """

    ids: Sequence[int] = ()
    named: str | None = None
    visitor: str | None = None
    everything: bool = False


def show(home: Path, id: int) -> dict[str, Any]:
    """One row of quarantine with the event behind it, whatever became of it.

    Raises
    ------
    KeyError
        If there is no such row.
    """
    with closing(open_store(home)) as store:
        rows = store.read(sql.ONE, (id,))
    if not rows:
        raise KeyError(f"quarantine has no row {id}; see: attune quarantine list")
    return {name: value for name, value in zip(sql.ONE_COLUMNS, rows[0], strict=True) if value is not None}


def sums(home: Path) -> list[dict[str, Any]]:
    """Sums of what waits, by source and reason: rows, visitors, and who it is where it is one."""
    with closing(open_store(home)) as store:
        found = store.read(sql.WAITING_SUMS)
    return [
        {"source": source, "reason": reason, "n_rows": n, "n_visitors": visitors, "visitor": one if visitors == 1 else None}
        for source, reason, n, visitors, one in found
    ]


class Held(NamedTuple):
    """Which events of the log shall be held back; one of the fields is set.

    Attributes
    ----------
    seqs
        Numbers of events.
    visitor
        All of a pseudonym so far.
    source
        All that came with a file of this name.
    since_us
        All that were received since an instant.
    failed
        All that validation holds back now: no later run of it lets them go.
    """

    seqs: Sequence[int] = ()
    visitor: str | None = None
    source: str | None = None
    since_us: int | None = None
    failed: bool = False


def hold(home: Path, which: Held, reason: str) -> int:
    """Hold events of the log back until a person decides otherwise.

    Returns
    -------
    Events held back.

    Raises
    ------
    ValueError
        If nothing is named, or in two ways, or no such event is in the log.
    """
    now_us = time.time_ns() // 1_000
    asked: dict[str, Any] = {
        sql.HOLD_EVENTS: _json(which.seqs) if which.seqs else None,
        sql.HOLD_VISITOR: which.visitor,
        sql.HOLD_SOURCE: which.source,
        sql.HOLD_SINCE: which.since_us,
        sql.HOLD_FAILED: 1 if which.failed else None,
    }
    chosen = [(statement, told) for statement, told in asked.items() if told is not None]
    if len(chosen) != 1:
        raise ValueError("say which events, in one way: numbers, --visitor, --source FILE, --since INSTANT or --failed")
    ((statement, told),) = chosen
    with closing(open_store(home)) as store:
        n_held = store.write(lambda transaction: transaction.execute(statement, (reason, now_us, told)))
    if not n_held:
        raise ValueError(
            "no such event is in the log: name events by number, or a visitor as attune quarantine list shows them"
        )
    return n_held


def accept(home: Path, choice: Choice, reason: str) -> int:
    """Believe events that are held back: they are in every fold from now on, and no validation holds them back again.

    Returns
    -------
    Events released. Rows that were refused at the door are no events; they are replayed after a fix.
    """
    now_us = time.time_ns() // 1_000
    with closing(open_store(home)) as store:
        events = [id for id, seq in _chosen(store, choice) if seq is not None]
        rows = [(sql.ACCEPTED, reason, now_us, now_us, id) for id in events]
        return store.write(lambda transaction: transaction.executemany(sql.DECIDE, rows))


def drop(home: Path, choice: Choice, reason: str) -> int:
    """Go on without rows for good: nobody is asked about them again, and no replay brings them back.

    Returns
    -------
    Rows dropped; events among them stay in the log, and out of every fold.
    """
    now_us = time.time_ns() // 1_000
    with closing(open_store(home)) as store:
        rows = [(sql.DROPPED, reason, now_us, None, id) for id, _ in _chosen(store, choice)]
        return store.write(lambda transaction: transaction.executemany(sql.DECIDE, rows))


def _chosen(store: Store, choice: Choice) -> list[tuple[int, int | None]]:
    asked = {
        sql.CHOSEN_IDS: (_json(choice.ids),) if choice.ids else None,
        sql.CHOSEN_NAMED: (choice.named,) if choice.named else None,
        sql.CHOSEN_VISITOR: (choice.visitor,) if choice.visitor else None,
        sql.CHOSEN: () if choice.everything else None,
    }
    chosen = [(statement, bindings) for statement, bindings in asked.items() if bindings is not None]
    if len(chosen) != 1:
        raise ValueError("say which rows, in one way: ids, --named EXPECTATION, --visitor VISITOR or --all")
    rows = store.read(*chosen[0])
    if not rows:
        raise ValueError("no such row waits in quarantine; see: attune quarantine list")
    return [(id, seq) for id, seq in rows]


def _json(values: Sequence[int]) -> str:
    return msgspec.json.encode(list(values)).decode()
