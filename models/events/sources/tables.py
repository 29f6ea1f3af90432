"""Sources that are a table: one row per action, each field of ours in one column of theirs.

Times without a zone, and the visitor's local hour, follow from where a shop trades (`zone`); where that is unknown it is UTC.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.events.public_form import REFUSED_USER
from models.events.rules import frame_problems, utc_offset_min
from models.events.sources.cells import Times
from models.events.sources.columns import Reasons, blank_events, clock, epoch, numbers, texts
from models.events.sources.frames import Mapped, Source, content_ids
from models.schema import EVENT_COLUMNS, MAX_ID_LENGTH

_HOUR_US: Final = 3_600_000_000


@dataclass(frozen=True)
class Table:
    """Which column of a source holds what.

    Attributes
    ----------
    source
        Name of the format; part of the content hash.
    kind, event_types
        Column of the action, and its values mapped to ours.
    times
        Column of the time, and how it is written.
    user, item, session, category, price, query_length, scroll_depth
        Columns; None where the source has none.
    device, referrer
        Columns whose values `devices` and `referrers` map to our vocabulary; other values are "unknown".
    zone
        Time zone of the visitors, for the hour of day; or
    zones
        column of a key, and key to time zone.
    refine
        Changes the columns of the event frame where one column for one field does not do.
    added
        Columns that earlier versions did not have; see `models.events.sources.frames.content_ids`.
    """

    source: str
    kind: str
    event_types: Mapping[str, str]
    times: Times
    user: str
    item: str
    session: str | None = None
    category: str | None = None
    price: str | None = None
    query_length: str | None = None
    device: str | None = None
    devices: Mapping[str, str] | None = None
    referrer: str | None = None
    referrers: Mapping[str, str] | None = None
    zone: str | None = None
    zones: tuple[str, Mapping[str, str]] | None = None
    refine: Callable[[pd.DataFrame, dict[str, Any]], None] | None = None
    added: tuple[str, ...] = ()


def map_table(table: Table, raw: pd.DataFrame, now_us: int) -> Mapped:
    """Map a protected raw chunk to events; see `models.events.sources.frames.Mapped`."""
    reasons = Reasons(len(raw))
    columns = blank_events(len(raw))
    columns["event_id"] = content_ids(table.source, raw, table.added)
    columns["user_id"] = users(raw[table.user], reasons)
    kinds = raw[table.kind].map(table.event_types)
    if kinds.isna().any():
        small = {name.casefold(): ours for name, ours in table.event_types.items()}
        known = {word: table.event_types.get(word, small.get(word.casefold())) for word in set(raw[table.kind])}
        kinds = raw[table.kind].map(known)
    reasons.add(kinds.isna().to_numpy(), f"{table.kind}: must be one of {', '.join(table.event_types)}")
    columns["event_type"] = kinds.to_numpy(dtype=object)
    read_times = epoch(table.times.unit_us) if table.times.unit_us else clock(table.times.ahead_min)
    columns["occurred_at_us"] = read_times(raw[table.times.column], reasons)
    columns["item_id"] = texts(raw[table.item])
    for ours, theirs in (("session_id", table.session), ("category", table.category)):
        if theirs is not None:
            columns[ours] = texts(raw[theirs])
    for ours, theirs in (("price", table.price), ("query_length", table.query_length)):
        if theirs is not None:
            columns[ours] = numbers(raw[theirs], reasons)
    _add_context(table, raw, columns)
    if table.refine is not None:
        table.refine(raw, columns)
    events = pd.DataFrame(columns, columns=list(EVENT_COLUMNS), copy=False)
    reasons.add_each(frame_problems(events, now_us))
    return Mapped(events, reasons.found)


def users(column: "pd.Series[Any]", reasons: Reasons) -> npt.NDArray[np.object_]:
    """The user column; rows whose user `protect` marked are refused."""
    found = texts(column)
    marked = np.array([user is not None and user.startswith(REFUSED_USER) for user in found], dtype=bool)
    reasons.add(marked, f"user_id: user_id must be a text of 1 to {MAX_ID_LENGTH} characters")
    return found


def _add_context(table: Table, raw: pd.DataFrame, columns: dict[str, Any]) -> None:
    for ours, theirs, known in (("device", table.device, table.devices), ("referrer", table.referrer, table.referrers)):
        if theirs is not None and known is not None:
            columns[ours] = raw[theirs].map(known).fillna("unknown").to_numpy(dtype=object)
    at = columns["occurred_at_us"]
    if table.zones is not None:
        keys, zones = pd.factorize(raw[table.zones[0]].map(table.zones[1]).to_numpy(dtype=object))
        names: list[str | None] = [*zones, None]  # code -1, no zone known, is the last
        columns["utc_offset_min"] = offsets(keys, names, at)
    elif table.zone is not None:
        columns["utc_offset_min"] = offsets(np.zeros(len(at), dtype=np.int64), [table.zone], at)


def offsets(codes: npt.NDArray[np.int64], zones: list[str | None], at_us: npt.NDArray[np.int64]) -> npt.NDArray[np.int16]:
    """Minutes that local time is ahead of UTC, looked up once per zone and hour.

    Parameters
    ----------
    codes
        Index into `zones` of each event, shape (n_events,); -1 is the last one.
    at_us
        Instants, shape (n_events,), microseconds.

    Examples
    --------
    >>> offsets(np.array([0, 1]), ["Europe/Berlin", None], np.array([0, 0])).tolist()
    [60, 0]
    """
    n_zones = len(zones)
    where, pairs = pd.factorize(at_us // _HOUR_US * n_zones + codes % n_zones)
    found = [utc_offset_min(zones[pair % n_zones], pair // n_zones * _HOUR_US) for pair in pairs.tolist()]
    return np.array(found, dtype=np.int16)[where]


def source_of(table: Table, columns: tuple[str, ...], **more: Any) -> Source:
    """Make the `Source` of a table."""
    container = more.pop("container", "csv")
    more |= {"times": table.times, "numbers": (table.price,) if table.price else (), "added": table.added}
    return Source(table.source, container, columns, table.user, table.event_types, partial(map_table, table), **more)
