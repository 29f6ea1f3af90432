"""Our own event form as JSON lines: an EVENT of ``POST /v1/events`` a line. The rules are those of the door."""

from collections.abc import Sequence
from itertools import compress
from typing import Any, Final

import numpy as np
import pandas as pd

from models.arrays import Objects
from models.events.consent import is_refused
from models.events.encode import DEVICE_CODE, REFERRER_CODE
from models.events.foreign import number_of
from models.events.plain import text_of, without_placeholders
from models.events.public_form import CONTEXT, FIELDS, TEXTS
from models.events.rules import event_problem, frame_problems, parse_instant_us, utc_offset_min
from models.events.said import SAID_AT_TOP, said, said_problem
from models.events.sources.columns import Reasons, blank_events, kept, object_array
from models.events.sources.frames import Flat, Json, Mapped, Source
from models.events.sources.tables import users
from models.schema import EVENT_COLUMNS, EVENT_TYPES, MEASURES, MONEY, SAID_COLUMNS, VISITOR_GROUPS

MAX_MEASURE: Final = max(high for _, high in MEASURES.values())
_IDS: Final = ("event_id", "user_id", "session_id", "item_id", "category", "order_id", "decision_id")
_NUMBERS: Final = (*MEASURES, *MONEY)
_PLAIN: Final = frozenset({str, type(None)})
_SHARED: Final = ("user_id", "session_id", "context")  # of a session, what it says of all its events
COLUMNS: Final = (*FIELDS, *CONTEXT)


def flatten(documents: Sequence[Json]) -> Flat:
    """One row per event, of a batch or a session too; unknown fields stay behind, and events of visitors who do not consent.

    Examples
    --------
    >>> flat = flatten([{"event_id": "e", "query": "red shoes", "context": {"device": "mobile"}}])
    >>> flat.columns[0], flat.columns[-6:-3]
    (['e'], [['mobile'], [None], [None]])
    """
    batches = [_events_of(document) for document in documents]
    rows = [_typed(without_placeholders(event)) for batch in batches for event in batch]
    n_rows = np.array([len(batch) for batch in batches], dtype=np.int64)
    found = [document.get("context") for document in rows]
    contexts = [context if isinstance(context, dict) else {} for context in found]
    if any("consent" in context for context in contexts):
        consents = [not is_refused(row) for row in rows]
        whose = np.repeat(np.arange(len(batches)), n_rows)
        n_rows = np.bincount(whose, weights=consents, minlength=len(batches)).astype(np.int64)
        rows, contexts = list(compress(rows, consents)), list(compress(contexts, consents))
    fields = [[row.get(name) for row in rows] for name in FIELDS]
    return Flat([*fields, *([context.get(name) for context in contexts] for name in CONTEXT)], n_rows)


def _events_of(document: Json) -> list[Json]:
    """The events of a document: itself, or those of a batch or a session, each with what was said of all.

    Examples
    --------
    >>> _events_of({"session_id": "s", "events": [{"type": "search"}, 7]})
    [{'session_id': 's', 'type': 'search'}]
    """
    events = document.get("events")
    if "type" in document or not isinstance(events, list) or not any(isinstance(event, dict) for event in events):
        return [document]
    shared: Json = {name: document[name] for name in _SHARED if name in document}
    return [shared | event for event in events if isinstance(event, dict)]


def _typed(event: Json) -> Json:
    """The same event with numbers of ids as texts, and texts of measures as numbers; the door asks for them as they should be.

    Examples
    --------
    >>> _typed({"user_id": 7, "item_id": 9.0, "price": "12.50", "type": True})
    {'user_id': '7', 'item_id': '9', 'price': 12.5, 'type': True}
    """
    if {type(event.get(name)) for name in _IDS} <= _PLAIN and {type(event.get(name)) for name in _NUMBERS}.isdisjoint({str}):
        return event
    ids = {name: text_of(event[name]) for name in _IDS if type(event.get(name)) in (int, float)}
    numbers = {name: number_of(event[name]) for name in _NUMBERS if isinstance(event.get(name), str)}
    return event | ids | numbers


def to_events(raw: pd.DataFrame, now_us: int) -> Mapped:
    """Map a protected raw chunk of events in the public form; see `models.events.sources.frames.Mapped`."""
    reasons = Reasons(len(raw))
    columns = blank_events(len(raw))
    users(raw["user_id"].fillna(""), reasons)
    values = {name: raw[name].to_numpy(dtype=object) for name in COLUMNS}
    at = [_instant_us(ts) for ts in values["ts"]]
    wrong = np.array([t is None for t in at], dtype=bool)
    for name in TEXTS:
        wrong |= _not_of(values[name], str)
    for name in MEASURES:
        wrong |= _not_of(values[name], int, float) | _huge(values[name])
    reasons.add_each(_problems(raw, np.flatnonzero(wrong), now_us))
    columns["occurred_at_us"] = np.array([t if t is not None and abs(t) < 2**62 else 0 for t in at], dtype=np.int64)
    for name in TEXTS:
        columns["event_type" if name == "type" else name] = kept(values[name], ~wrong)
    for name in MEASURES:
        columns[name] = np.where(wrong, np.nan, values[name]).astype(np.float64)
    _add_context(values, columns)
    found, problems = _said(values)
    events = pd.DataFrame(columns | found, columns=[*EVENT_COLUMNS, *found], copy=False)
    reasons.add_each(frame_problems(events, now_us))
    reasons.add_each(problems)
    return Mapped(events, reasons.found)


def _said(values: dict[str, Objects]) -> tuple[dict[str, Objects], Objects]:
    """What rows say beside, as columns where any row says something; and what is wrong with it."""
    n_rows = len(values["ts"])
    problems: Objects = np.full(n_rows, None, dtype=object)
    told = np.zeros(n_rows, dtype=bool)
    for name in SAID_COLUMNS:
        told |= pd.notna(values[name])
    if not told.any():
        return {}, problems
    columns: dict[str, Objects] = {name: np.full(n_rows, None, dtype=object) for name in SAID_COLUMNS}
    for row in np.flatnonzero(told).tolist():
        event: Json = {name: values[name][row] for name in SAID_AT_TOP}
        event["context"] = {name: values[name][row] for name in VISITOR_GROUPS}
        if problem := said_problem(event):
            problems[row] = f"{problem.pointer[1:]}: {problem.reason}"
            continue
        for name, value in zip(SAID_COLUMNS, said(event), strict=True):
            columns[name][row] = value
    return columns, problems


def _instant_us(ts: object) -> int | None:
    try:
        return parse_instant_us(ts) if isinstance(ts, str) else None
    except (ValueError, OverflowError):
        return None


def _not_of(values: Objects, *kinds: type) -> "np.typing.NDArray[np.bool_]":
    """Which values are neither missing nor of these types; one set of types decides for most chunks."""
    admitted = {type(None), *kinds}
    if set(map(type, values)) <= admitted:
        return np.zeros(len(values), dtype=bool)
    return np.array([type(value) not in admitted for value in values], dtype=bool)


def _records(raw: pd.DataFrame) -> list[Json]:
    return [dict(zip(raw.columns, row, strict=True)) for row in raw.itertuples(index=False, name=None)]


def _huge(values: Objects) -> "np.typing.NDArray[np.bool_]":
    """Which integers are beyond any admitted measure, so that none overflows on its way into a float."""
    return np.array([type(value) is int and abs(value) > MAX_MEASURE for value in values], dtype=bool)


def _problems(raw: pd.DataFrame, rows_: "np.typing.NDArray[np.intp]", now_us: int) -> Objects:
    found = np.full(len(raw), None, dtype=object)
    for row, event in zip(rows_.tolist(), _records(raw.iloc[rows_]), strict=True):
        problem = event_problem(event, now_us)
        found[row] = f"{problem.pointer[1:]}: {problem.reason}" if problem else "the event has a value of the wrong type"
    return found


def _add_context(values: dict[str, Objects], columns: dict[str, Any]) -> None:
    for name, known in (("device", DEVICE_CODE), ("referrer", REFERRER_CODE)):
        columns[name] = object_array([v if isinstance(v, str) and v in known else "unknown" for v in values[name]])
    pairs = zip(values["timezone"], columns["occurred_at_us"].tolist(), strict=True)
    ahead = [utc_offset_min(zone, at) if isinstance(zone, str) else 0 for zone, at in pairs]
    columns["utc_offset_min"] = np.array(ahead, dtype=np.int16)


ATTUNE: Final = Source(
    name="attune",
    container="jsonl",
    columns=COLUMNS,
    user="user_id",
    event_types={name: name for name in EVENT_TYPES},
    to_events=to_events,
    needs=("event_id", "user_id", "type", "ts"),
    flatten=flatten,
)
