"""Refused rows: list them, and send them through the same door again after a fix.

Rows of files that were refused are mapped anew from the JSON that was kept; so are events that ``POST /v1/events`` rejected,
after the vocabularies have been asked again, and late ones are late by the day they came. Events that validation held back are
judged by the rules of the door and released; the next validation looks at them again.
"""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import pandas as pd

from flows.append import Counts, good_events
from infra.store import events
from infra.store.engines import open_store
from infra.store.protocol import Store, Transaction
from infra.store.statements.event_names import OWN_NAMES
from infra.store.statements.quarantine import (
    QUARANTINED_EVENTS,
    QUARANTINED_ROWS,
    REPLAYED,
    STILL_REFUSED,
    WAITING,
    WAITING_COLUMNS,
    WAITING_GROUPS,
)
from models.events.names import NAMES
from models.events.own_names import NONE, OwnNames
from models.events.rejected import lateness_problem, reason_of
from models.events.rules import frame_problems
from models.events.sources import SOURCES, Mapped, Source, in_plain_form, object_array, raw_chunk
from models.schema import EVENT_COLUMNS
from models.trust import sent_id

REPLAY_ROWS: Final = 10_000


class _Kept(NamedTuple):
    id: int
    raw: str
    reason: str
    quarantined_at_us: int


def list_rows(home: Path, limit: int = 50) -> list[dict[str, Any]]:
    """Refused rows that wait, newest first.

    Returns
    -------
    Objects with the keys `id`, `partner`, `source`, `format`, `line`, `seq`, `reason`, `raw`, `quarantined_at_us`,
    `replayed_at_us`.
    """
    with closing(open_store(home)) as store:
        return [dict(zip(WAITING_COLUMNS, row, strict=True)) for row in store.read(WAITING, (limit,))]


def replay(home: Path) -> Counts:
    """Send every waiting row through the door again.

    Returns
    -------
    Rows accepted now (or released), rows whose event the log holds already, and rows still refused.
    """
    total = Counts(0, 0, 0)
    with closing(open_store(home)) as store:
        for group, rows in _waiting(store):
            total = total.plus(_replay_rows(store, group, rows))
        return total.plus(_release(store))


class _Group(NamedTuple):
    """Rows that are judged by the same rules."""

    partner: str
    format: str
    at_door: bool
    of_browser: bool


def _waiting(store: Store) -> Iterator[tuple[_Group, list[_Kept]]]:
    for found in store.read(WAITING_GROUPS):
        group, last = _Group(*found), 0
        while rows := _next_rows(store, group, last):
            yield group, rows
            last = rows[-1].id


def _next_rows(store: Store, group: _Group, after: int) -> list[_Kept]:
    return [_Kept(*row) for row in store.read(QUARANTINED_ROWS, (*group, after, REPLAY_ROWS))]


def _replay_rows(store: Store, group: _Group, rows: list[_Kept]) -> Counts:
    adapter = SOURCES.get(group.format)
    pairs = [(row, document) for row in rows if (document := _document(row.raw)) is not None] if adapter else []
    if adapter is None or not pairs:
        return Counts(0, 0, len(rows))
    now_us = time.time_ns() // 1_000
    documents = [document for _, document in pairs]
    if group.at_door:
        own_names = _own_names(store, group.partner)
        documents = [_own(document, own_names) for document in documents]
    mapped = adapter.to_events(_raw_chunk(adapter, documents), now_us)
    if group.at_door:
        mapped = _without_late(mapped, [row.quarantined_at_us for row, _ in pairs])
    judged = [(row.id, reason, row.reason) for (row, _), reason in zip(pairs, mapped.reasons, strict=True)]
    freed = [id for id, reason, _ in judged if reason is None]

    def work(transaction: Transaction) -> tuple[int, int]:
        appended = events.append_events(transaction, good_events(mapped), group.partner, now_us, browser=bool(group.of_browser))
        transaction.executemany(REPLAYED, ((now_us, id) for id in freed))
        still = ((reason, id) for id, reason, before in judged if reason not in (None, before))
        transaction.executemany(STILL_REFUSED, still)
        return appended

    return Counts(*store.write(work), len(rows) - len(freed))


def _document(raw: str) -> dict[str, Any] | None:
    """The row that was kept; None for a line that could not be parsed."""
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _own(document: dict[str, Any], own_names: OwnNames) -> dict[str, Any]:
    """A rejected event with its type as the vocabularies and its partner know it today."""
    kind = document.get("type")
    return {**document, "type": own_names.get(kind) or NAMES.get(kind, kind)} if isinstance(kind, str) else document


def _own_names(store: Store, partner: str) -> OwnNames:
    kept = store.read(OWN_NAMES, (partner,))
    return msgspec.json.decode(kept[0][0], type=dict[str, str]) if kept else NONE


def _without_late(mapped: Mapped, received_at_us: list[int]) -> Mapped:
    """Refuse what the door would refuse for its age."""
    reasons = mapped.reasons.copy()
    pairs = zip(mapped.events["occurred_at_us"].tolist(), received_at_us, strict=True)
    for row, (occurred, received) in enumerate(pairs):
        problem = lateness_problem(occurred, received) if reasons[row] is None else None
        if problem is not None:
            reasons[row] = reason_of(problem)
    return mapped._replace(reasons=reasons)


def _raw_chunk(adapter: Source, documents: list[dict[str, Any]]) -> pd.DataFrame:
    missing = None if adapter.times is None else ""
    raw = raw_chunk({name: object_array([d.get(name, missing) for d in documents]) for name in adapter.columns})
    return in_plain_form(adapter, raw)


def _release(store: Store) -> Counts:
    now_us = time.time_ns() // 1_000
    rows = store.read(QUARANTINED_EVENTS)
    if not rows:
        return Counts(0, 0, 0)
    ids = [row[0] for row in rows]
    frame = events.frame_of([row[1:] for row in rows], EVENT_COLUMNS)
    frame["event_id"] = frame["event_id"].map(sent_id)
    freed = [id for id, reason in zip(ids, frame_problems(frame, now_us), strict=True) if reason is None]
    store.write(lambda transaction: transaction.executemany(REPLAYED, ((now_us, id) for id in freed)))
    return Counts(len(freed), 0, len(ids) - len(freed))
