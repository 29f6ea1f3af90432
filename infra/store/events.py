"""Event log as frames: append, read, quarantine.

Everything here is a statement and its bindings; what a row must look like is decided in `models.events.rules`.
"""

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from infra.store.identities import all_resolved
from infra.store.protocol import Store, Transaction
from infra.store.statements.events import (
    APPEND_EVENT,
    BELIEVED_OF_PARTNER,
    BELIEVED_WITHIN,
    COUNT_BY_PARTNER,
    LEARNED_COLUMNS,
    LOG_COLUMNS,
    NEWEST_WRITTEN,
    NEXT_PARTNER,
    NTH_NEWEST,
    NTH_NEWEST_OF,
    READ_BELIEVED,
    READ_EVENTS,
)
from infra.store.statements.materialization import NEXT_VISITOR
from infra.store.statements.quarantine import QUARANTINE_ANYWAY, QUARANTINE_EVENT, QUARANTINE_ROW
from infra.store.trust import note_outcomes, supersede_pages
from models.schema import EVENT_COLUMNS, GROUPS, MEASURES, SAID_COLUMNS
from models.shops import fair_shares
from models.trust import OUTCOMES, kept_id

if TYPE_CHECKING:
    import pandas as pd

_ID, _USER = EVENT_COLUMNS.index("event_id"), EVENT_COLUMNS.index("user_id")
READ_ROWS: Final = 50_000  # rows that are Python objects at one time while reading
LOOK_S: Final = 0.01  # between two looks at whether what was written may be read

_INT_COLUMNS: Final = {
    **dict.fromkeys(("seq", "occurred_at_us", "received_at_us"), np.int64),
    "utc_offset_min": np.int16,
    "browser": np.int8,
}
# Texts that repeat: one Python object each per read, or a million rows would hold a million copies of "item_view".
_SHARED_TEXTS: Final = frozenset(
    {"partner", "user_id", "session_id", "event_type", "item_id", "category", "device", "referrer", GROUPS}
)
READ_COLUMNS: Final = ("seq", *LOG_COLUMNS)
BEHIND_ALL_VISITORS: Final = 4 * "\U0010ffff"
BELIEVED_COLUMNS: Final = (*READ_COLUMNS, "browser")  # 1: told by a browser key
RECENT_COLUMNS: Final = (*BELIEVED_COLUMNS, GROUPS)


class Refused(NamedTuple):
    """A row that was refused at the door.

    Attributes
    ----------
    partner, source, format
        Whose row, the name of its file (no folder), and the adapter that refused it.
    line
        Line of the file, or row of a Parquet file, from 1.
    raw
        The row as JSON with the user pseudonymised; of a line that could not be parsed its length and a keyed hash.
    reason
        What was expected; never the value.
    """

    partner: str
    source: str
    format: str
    line: int
    raw: str
    reason: str


def append_events(
    transaction: Transaction, frame: "pd.DataFrame", partner: str, received_at_us: int, *, browser: bool = False
) -> tuple[int, int]:
    """Append valid events of a file in the frame's order.

    Parameters
    ----------
    frame
        Event frame, with `SAID_COLUMNS` where something is said; every row valid, user ids already pseudonyms.
    browser
        Whether a browser key sent them, some time ago: they are then kept under ids of their own, and not believed.

    Returns
    -------
    accepted, duplicate
        Events added, and events whose id this partner's log held already.
    """
    columns = [_bindings(frame[name]) for name in EVENT_COLUMNS]
    if known := all_resolved(transaction.read, columns[_USER]):
        columns[_USER] = [known.get(user, user) for user in columns[_USER]]
    n = len(frame)
    if browser:
        columns[_ID] = [kept_id(event_id) for event_id in columns[_ID]]
    else:
        told = frame[frame["event_type"].isin(OUTCOMES)]
        newest = told.groupby("event_type")["occurred_at_us"].max()
        note_outcomes(transaction, partner, zip(newest.index.tolist(), newest.tolist(), strict=True))
    who, when = repeat(partner, n), repeat(received_at_us, n)
    trusted = (repeat(int(browser), n), repeat(int(not browser), n))
    said = [_bindings(frame[name]) if name in frame else repeat(None, n) for name in SAID_COLUMNS]
    accepted = transaction.executemany(APPEND_EVENT, zip(who, *columns, when, *trusted, *said, strict=True))
    if not browser and "order_id" in frame:
        supersede_pages(transaction, partner, frame["order_id"].tolist(), received_at_us)
    return accepted, n - accepted


def _bindings(column: "pd.Series[Any]") -> list[Any]:
    """Python values of a column, missing as None."""
    values = column.to_numpy()
    if values.dtype.kind in "iu":
        return list(values.tolist())
    missing = column.isna().to_numpy()
    if missing.all():
        return [None] * len(values)
    if missing.any():
        values = values.astype(object)
        values[missing] = None
    return list(values.tolist())


def read_events(store: Store, *, after_seq: int = 0, until_us: int | None = None, believed: bool = False) -> "pd.DataFrame":
    """Read the log's valid events in log order: an event frame with `seq`, `partner` and `received_at_us`.

    Parameters
    ----------
    after_seq
        Only events with a higher sequence number.
    until_us
        Only events that occurred at or before this instant.
    believed
        Only events that count in what is learned for others (`models.trust`).

    Returns
    -------
    Columns `seq`, `partner`, `EVENT_COLUMNS`, `received_at_us`, and `browser` if `believed`; quarantined events are left out.
    """
    import pandas as pd  # only here: what serves reads no frames

    with collector_off():
        frames = list(event_chunks(store, after_seq=after_seq, until_us=until_us, believed=believed))
    return pd.concat(frames, ignore_index=True) if frames else frame_of([], BELIEVED_COLUMNS if believed else READ_COLUMNS)


def event_chunks(
    store: Store, *, after_seq: int = 0, until_us: int | None = None, believed: bool = False, n_rows: int = READ_ROWS
) -> "Iterator[pd.DataFrame]":
    """Read as `read_events` does, `n_rows` at a time, all from one snapshot of the log."""
    statement, names = (READ_BELIEVED, BELIEVED_COLUMNS) if believed else (READ_EVENTS, READ_COLUMNS)
    rows = store.stream(statement, (after_seq, 2**62 if until_us is None else until_us, 2**62))
    shared: dict[Any, Any] = {}
    while chunk := list(islice(rows, n_rows)):
        yield frame_of(chunk, names, share=shared.setdefault)


def newest_believed(store: Store, n_events: int, until_us: int | None = None) -> "pd.DataFrame":
    """Read the newest events that count for others, about so many, in log order; all, where the log has fewer.

    Each partner has a fair share, so that none can push another's out. Partners come one after the other; the rows of each
    begin at one instant: a session that had begun before is cut there.
    """
    last_us = 2**62 if until_us is None else until_us
    found = store.read(NTH_NEWEST, (last_us, n_events))
    if not found:
        return believed_within(store, [(-(2**62), last_us)])
    shares = fair_shares(dict(store.read(COUNT_BY_PARTNER)), n_events)
    if len(shares) == 1:
        return believed_within(store, [(found[0][0], last_us)])
    return _believed(row for partner, share in shares.items() for row in _newest_of(store, partner, share, last_us))


def _newest_of(store: Store, partner: str, n_events: int, until_us: int) -> Iterator[tuple[Any, ...]]:
    """Rows of a partner's newest events, about so many."""
    found = store.read(NTH_NEWEST_OF, (until_us, partner, n_events))
    return store.stream(BELIEVED_OF_PARTNER, (partner, found[0][0] if found else -(2**62), until_us))


def believed_within(store: Store, spans: Iterable[tuple[int, int]]) -> "pd.DataFrame":
    """Read the events that count for others and occurred within spans, and look at no others; the columns `LEARNED_COLUMNS`.

    Parameters
    ----------
    spans
        First and last instant of each, microseconds, both included; in order, and apart.
    """
    return _believed(chain.from_iterable(store.stream(BELIEVED_WITHIN, span) for span in spans))


def _believed(rows: Iterator[tuple[Any, ...]]) -> "pd.DataFrame":
    shared: dict[Any, Any] = {}
    with collector_off():
        chunks = iter(lambda: list(islice(rows, READ_ROWS)), [])
        return _joined(
            [_columns(chunk, LEARNED_COLUMNS, shared.setdefault) for chunk in chunks] or [_columns([], LEARNED_COLUMNS)]
        )


def await_readable(store: Store, patience_s: float) -> bool:
    """Wait until all events that the log has now may be read; False where others' transactions hold them back for too long.

    On a home's own file they may be at once.
    """
    newest, until_s, tail = store.read(NEWEST_WRITTEN)[0][0] or 0, time.monotonic() + patience_s, store.tail("")
    while tail.end() < newest:
        if time.monotonic() > until_s:
            return False
        time.sleep(LOOK_S)
    return True


def partners_of(store: Store) -> list[str]:
    """Partners that have an event in the log, in the order of their names; a look at an index for each."""
    found = [""]
    while (following := store.read(NEXT_PARTNER, (found[-1],))[0][0]) is not None:
        found.append(following)
    return found[1:]


def visitor_ranges(store: Store, n_events: int) -> Iterator[tuple[str, str]]:
    """Cut the log by visitors, in their order: behind one up to another, about so many events each.

    Whoever reads a range reads whole visitors. The first range begins before all visitors, the last one ends behind them.
    """
    after = ""
    while found := store.read(NEXT_VISITOR, (after, n_events)):
        yield after, found[0][0]
        after = found[0][0]
    yield after, BEHIND_ALL_VISITORS


def frame_of(
    rows: Sequence[tuple[Any, ...]],
    names: Sequence[str] = READ_COLUMNS,
    share: Callable[[Any, Any], Any] | None = None,
) -> "pd.DataFrame":
    """Make a frame of rows of the log; `share` maps equal texts to one object."""
    import pandas as pd  # only here: what serves reads no frames

    return pd.DataFrame(_columns(rows, names, share), copy=False)


def _columns(
    rows: Sequence[tuple[Any, ...]], names: Sequence[str], share: Callable[[Any, Any], Any] | None = None
) -> dict[str, "np.typing.NDArray[Any]"]:  # fmt: skip
    values, width = list(chain.from_iterable(rows)), len(names)
    return {name: _array(name, values[i::width], share) for i, name in enumerate(names)}


def _joined(parts: Sequence[Mapping[str, "np.typing.NDArray[Any]"]]) -> "pd.DataFrame":
    """One frame of many parts with the same columns; pandas would look at each missing text for what it is."""
    import pandas as pd

    return pd.DataFrame({name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, copy=False)


def _array(name: str, values: Sequence[Any], share: Callable[[Any, Any], Any] | None) -> "np.typing.NDArray[Any]":
    if name in _INT_COLUMNS:
        return np.array(values, dtype=_INT_COLUMNS[name])
    if name in MEASURES:
        return np.array(values, dtype=np.float64)  # None becomes NaN
    if share is not None and name in _SHARED_TEXTS:
        values = list(map(share, values, values))
    texts = np.empty(len(values), dtype=object)
    texts[:] = values
    return texts


@contextmanager
def collector_off() -> Iterator[None]:
    """Switch the cyclic garbage collector off: rows by the million hold no cycles, and the search costs up to half the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def quarantine(transaction: Transaction, rows: Iterable[Refused]) -> int:
    """Keep refused rows; a row of the same file and line that is kept already stays as it is.

    Returns
    -------
    Rows that were new.
    """
    now_us = time.time_ns() // 1_000
    return transaction.executemany(QUARANTINE_ROW, ((*row, _content_key(row), now_us) for row in rows))


def _content_key(row: Refused) -> str:
    content = "\x1f".join((row.partner, row.source, row.format, str(row.line), row.raw))
    return blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def quarantine_events(transaction: Transaction, refusals: Iterable[tuple[int, str]], *, anyway: bool = False) -> int:
    """Leave events of the log out of every fold: ``(seq, reason)`` pairs.

    An event that was released by a replay and is refused again is held back again; one that a person has accepted is not,
    unless `anyway`.

    Returns
    -------
    Events newly held back, or whose reason changed.
    """
    now_us = time.time_ns() // 1_000
    statement = QUARANTINE_ANYWAY if anyway else QUARANTINE_EVENT
    return transaction.executemany(statement, ((reason, f"seq:{seq}", now_us, seq) for seq, reason in refusals))
