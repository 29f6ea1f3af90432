"""Append a file of events to the log: the plain function behind ``attune ingest`` and behind the flow `flows.ingest.ingest`.

A row's way: file → raw chunk (`flows.read`) → pseudonyms and masks → events and reasons (`models.events.sources`) → log or
quarantine (`infra.store.events`). One chunk is one transaction: Ctrl-C leaves whole chunks, and the same file ingested again
adds only the rest.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from flows.look import look_at, reader
from flows.parse import Batch, Join, Unreadable
from flows.read import batches
from infra.secret import secret
from infra.store import events, identities
from infra.store.engines import open_store
from infra.store.errors import StoreUnavailable
from infra.store.protocol import Store, Transaction
from infra.store.statements.events import KNOWN_IDS, NEWEST_EVENT, NOTE_SOURCE
from models.events.identity import partner_key, pseudonym
from models.events.rejected import reduced, stand_in
from models.events.sources import Mapped, Source, former_ids, in_plain_form, protect, replaced
from models.events.sources.maps import TableMap
from models.schema import LOCAL_PARTNER

PATIENCE_S: Final = 30.0  # with transactions of others that hold back what was written


class Counts(NamedTuple):
    """Numbers of what became of the rows of a file; the three add up to the rows that were read, those without consent aside.

    Attributes
    ----------
    accepted
        Events that are new in the log.
    duplicate
        Events that the log held already, and repetitions inside the file.
    quarantined
        Rows that were refused; they are kept with the reason.
    """

    accepted: int
    duplicate: int
    quarantined: int

    def plus(self, other: "Counts") -> "Counts":
        """Add up, field by field."""
        return Counts(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


class FileContext(NamedTuple):
    """Context of all rows of one file: adapter, owner, the file's name without its folder, and the key of pseudonyms.

    Attributes
    ----------
    met
        Ids of an earlier version that rows of this file have been found under.
    reasons
        Refused rows by reason.
    """

    adapter: Source
    partner: str
    file_name: str
    key: bytes
    met: set[str]
    reasons: Counter[str]


def ingest_file(
    path: Path,
    format: str,
    home: Path,
    partner: str = LOCAL_PARTNER,
    progress: bool = True,
    table: TableMap | None = None,
    reasons: "Counter[str] | None" = None,
) -> Counts:
    """Append a file of events to the log of a home.

    Parameters
    ----------
    format
        Name of an adapter in `models.events.sources.SOURCES`.
    partner
        Whose events these are; user ids are pseudonymised under the partner's key.
    progress
        Show a bar on stderr, if that is a terminal.
    table
        Map of the file's columns, instead of a format.
    reasons
        Is told how many rows were refused for which reason.

    Raises
    ------
    ValueError
        If the format is unknown or the file is not of it; after a truncated gzip, whose whole lines are kept.
    OSError
        If the file cannot be read or the store cannot be written.
    """
    look_at(path, format, table)  # a wrong path or format must not leave a new home behind
    adapter = reader(path, format, table)
    total = Counts(0, 0, 0)
    with closing(open_store(home, bulk=True)) as store, _bar(path, progress) as moved:
        context = FileContext(
            adapter, partner, path.name, partner_key(secret(home), partner), set(), Counter() if reasons is None else reasons
        )
        try:
            with events.collector_off():
                for batch in batches(path, adapter, moved):
                    total = total.plus(append_batch(store, context, batch))
            events.await_readable(store, PATIENCE_S)  # what comes next, a retraining perhaps, reads them
        except StoreUnavailable as error:
            raise OSError(f"the store of {home} could not be written ({error}): try again, nothing will be doubled") from error
    return total


def append_batch(store: Store, context: FileContext, batch: Batch) -> Counts:
    """Map one raw chunk and store all that became of it, in one transaction."""
    now_us = time.time_ns() // 1_000
    plain = in_plain_form(context.adapter, batch.raw)
    raw = protect(context.adapter, batch.raw, context.key, plain)
    mapped = context.adapter.to_events(raw, now_us)
    keep_former_ids(store, context, batch, plain, mapped)
    rows = [(int(batch.lines[i]), text, reason) for i, text, reason in refused_rows(raw, mapped, context.adapter.times is None)]
    whose = (context.partner, context.file_name, context.adapter.name)
    refused = [events.Refused(*whose, *row) for row in (*(masked(line, context.key) for line in batch.unreadable), *rows)]

    def work(transaction: Transaction) -> Counts:
        ((newest,),) = transaction.read(NEWEST_EVENT)
        appended = events.append_events(transaction, good_events(mapped), context.partner, now_us)
        transaction.execute(NOTE_SOURCE, (context.partner, context.file_name, newest))
        joined, not_joined = _join(transaction, context, batch.joins, now_us)
        events.quarantine(transaction, [*refused, *not_joined])
        context.reasons.update(row.reason for row in (*refused, *not_joined))
        return Counts(*appended, len(refused)).plus(joined)

    return store.write(work)


def _join(
    transaction: Transaction, context: FileContext, joins: Sequence[Join], now_us: int
) -> tuple[Counts, list[events.Refused]]:
    """Join visitors as the lines of a file say; what became of the lines, and those that are refused."""
    found, refused = Counter[str](), list[events.Refused]()
    for line, *names in joins:
        anonymous_id, user_id = (pseudonym(context.key, name) for name in names)
        try:
            found[identities.join(transaction, context.partner, anonymous_id, user_id, now_us)] += 1
        except ValueError as error:
            raw = msgspec.json.encode({"anonymous_id": anonymous_id, "user_id": user_id}).decode()
            refused.append(events.Refused(context.partner, context.file_name, context.adapter.name, line, raw, str(error)))
    return Counts(found["joined"], found["known"], len(refused)), refused


def keep_former_ids(store: Store, context: FileContext, batch: Batch, plain: pd.DataFrame, mapped: Mapped) -> None:
    """Give rows that an earlier version has put into the log the ids that they have there, so that they are duplicates.

    The first row of such an id is the one that was kept; `mapped` is written into.
    """
    former = former_ids(context.adapter, replaced(batch.raw, batch.formerly), context.key, plain)
    rows = {id: row for row, id in reversed(list(enumerate(former.tolist()))) if id is not None and id not in context.met}
    if not rows:
        return
    known = [id for (id,) in store.read(KNOWN_IDS, (context.partner, msgspec.json.encode(list(rows)).decode()))]
    ids = mapped.events["event_id"].to_numpy(dtype=object)
    ids[[rows[id] for id in known]] = known
    mapped.events["event_id"] = ids
    context.met.update(known)


def masked(line: Unreadable, key: bytes) -> tuple[int, str, str]:
    """Number, stand-in and reason of a line that is no row. Its text is not kept: a user may stand anywhere in it."""
    return line.line, stand_in(line.text, key), line.reason


def good_events(mapped: Mapped) -> pd.DataFrame:
    """The events without a reason to refuse them."""
    good = pd.isna(mapped.reasons)
    return mapped.events if good.all() else mapped.events[good]


def refused_rows(raw: pd.DataFrame, mapped: Mapped, typed: bool) -> list[tuple[int, str, str]]:
    """Position, JSON text and reason of every refused row of a protected raw chunk.

    Parameters
    ----------
    typed
        Whether values have JSON types, so that of a wrong one only the type is kept.
    """
    at = np.flatnonzero(pd.notna(mapped.reasons))
    rows = raw.iloc[at].itertuples(index=False, name=None)
    documents = ({name: v for name, v in zip(raw.columns, row, strict=True) if v is not None} for row in rows)
    kept = map(reduced, documents) if typed else documents
    return [(int(i), msgspec.json.encode(d).decode(), mapped.reasons[i]) for i, d in zip(at, kept, strict=True)]


@contextmanager
def _bar(path: Path, progress: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar over the bytes of a file; nothing where nobody watches."""
    if not (progress and sys.stderr.isatty()):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"reading {path.name}", total=path.stat().st_size)
        yield lambda n_bytes: bar.update(task, completed=n_bytes)
