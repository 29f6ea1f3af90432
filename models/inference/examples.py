"""Training examples: one row per event of the chosen sessions, with its features, its labels and its period.

Session features come from the one fold (`models.features.sessions`); user and item features are joined by the feature store as
they were known before the event, and completed here exactly as the service completes them: a user ages to the instant of the
event, an unknown user or item has the documented defaults.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Features, Flags, Ints, Ints32
from models.artifact import Parts
from models.events import visitor_share
from models.events.encode import EVENT_DTYPE, NO_CODE, EventArray, encode
from models.features import items, sessions, users
from models.inference import labels
from models.schema import (
    GROUPS,
    HORIZONS_S,
    INSTANT,
    ITEM_FEATURES,
    LAST_EVENT_AT,
    LOCAL_PARTNER,
    SESSION_FEATURES,
    USER_FEATURES,
)
from models.statistics import split
from models.visitor_groups import NOBODY_NAMED, GroupEffects, Named, named, packed, unpacked

if TYPE_CHECKING:
    import pandas as pd

_COUNTED: Final = "counted"
_PARTNERS: Final = "partners"
_SENT_BY: Final = "sent_by"
_GROUPS: Final = "groups"
_HORIZONS_US: Final = np.array([int(1e6 * seconds) for seconds in HORIZONS_S.values()])
_HASH_KEY: Final = "attune-examples!"  # 16 characters; another key, another sample


@dataclass(frozen=True)
class ExampleParams:
    """Parameters of the examples: how many, and which part is held out; stored with the models.

    Attributes
    ----------
    at_most
        Rows; whole sessions are chosen by a hash of their ids.
    window_events
        Newest events of the log that are looked at, about 1 GiB a million: time and memory of a training stop growing there.
        What lies before is in the features of visitors and items only.
    valid_share, test_share
        Share of the rows in the period for calibration and in the last one, which no model sees before it is judged.
    """

    at_most: int = 100_000
    window_events: int = 2_000_000
    valid_share: float = 0.15
    test_share: float = 0.2


class Senders(NamedTuple):
    """Partners that sent the events of a log.

    Attributes
    ----------
    partners
        Their names.
    codes
        Which of them sent each event, shape (n_events,).
    """

    partners: tuple[str, ...]
    codes: Ints32

    def of(self, *names: str) -> Flags:
        """Flag of each event that is of one of these partners, shape (n_events,)."""
        return np.array([name in names for name in self.partners], np.bool_)[self.codes]

    def n_events(self) -> dict[str, int]:
        """Number of events of each partner that has any."""
        counts = np.bincount(self.codes, minlength=len(self.partners)).tolist()
        return {name: n for name, n in zip(self.partners, counts, strict=True) if n}


class Log(NamedTuple):
    """The event log as the folds read it: whole sessions, one after the other.

    Attributes
    ----------
    events
        Shape (n_events,), dtype `EVENT_DTYPE`.
    starts
        First row of each session, shape (n_events,).
    started_us
        Start of each row's session, shape (n_events,).
    user_codes
        Who did it, shape (n_events,).
    item_ids
        Text of each item code.
    counted
        Which events count in what is learned of items, shape (n_events,); None where all do (`models.events.visitor_share`).
    categories
        Text of each category code; empty where nobody asks for them.
    senders
        Whose events they are; None where nobody asks, since all partners are one shop.
    groups
        Groups of the visitor at each event; None where no shop tells any.
    """

    events: EventArray
    starts: Flags
    started_us: Ints
    user_codes: Ints
    item_ids: list[str]
    counted: Flags | None = None
    categories: Sequence[str] = ()
    senders: Senders | None = None
    groups: Named | None = None

    def before(self, instant_us: int) -> "Log":
        """The sessions that began before an instant."""
        return self.only(self.started_us < instant_us)

    def since(self, instant_us: int) -> "Log":
        """The sessions that began at an instant or later."""
        return self.only(self.started_us >= instant_us)

    def only(self, kept: Flags) -> "Log":
        """Some of the sessions, each whole; `kept` says it of each event."""
        counted = None if self.counted is None else self.counted[kept]
        senders = None if self.senders is None else self.senders._replace(codes=self.senders.codes[kept])
        groups = None if self.groups is None else self.groups.where(kept)
        rows = self.events[kept], self.starts[kept], self.started_us[kept], self.user_codes[kept]
        return Log(*rows, self.item_ids, counted, self.categories, senders, groups)

    def of_shop(self, partner: str) -> "Log":
        """The part that counts for a partner: the operator's events and its own, coded as if there were no others."""
        if self.senders is None:
            return self
        kept = self.senders.of(LOCAL_PARTNER, partner)
        if kept.all():
            return self
        part = self.only(kept)
        events = part.events.copy()
        events["item"], items = _coded_anew(events["item"])
        events["category"], codes = _coded_anew(events["category"])
        categories = [self.categories[code] for code in codes.tolist()] if self.categories else self.categories
        return part._replace(events=events, item_ids=[self.item_ids[code] for code in items.tolist()], categories=categories)

    def of_items(self) -> EventArray:
        """The events as whatever is learned of items sees them: those that do not count there are about none."""
        if self.counted is None:
            return self.events
        events = self.events.copy()
        events["item"][~self.counted] = NO_CODE
        return events


def _coded_anew(codes: Ints) -> tuple[Ints, Ints]:
    """Codes that count up in order of first appearance, as `encode` has them, and the old code of each; `NO_CODE` stays."""
    import pandas as pd  # only here: what serves reads no frames

    new, old = pd.factorize(codes)
    if NO_CODE not in old:
        return new, old
    none = int(np.flatnonzero(old == NO_CODE)[0])
    return np.where(new == none, NO_CODE, new - (new > none)), np.delete(old, none)


class Examples(NamedTuple):
    """Rows to learn from; all arrays have one row per chosen event, in the log's order.

    Attributes
    ----------
    session_features, user_features, item_features
        Shapes (n_rows, len(SESSION_FEATURES)), (n_rows, len(USER_FEATURES)), (n_rows, len(ITEM_FEATURES)).
    starts
        First row of each session, shape (n_rows,).
    at_us, started_us
        Instant of the event and of its session's start, shape (n_rows,).
    p_intent
        Weak labels as probabilities, shape (n_rows, n_intents).
    following
        Type of the visitor's next event (`labels.following`), shape (n_rows,).
    wait_us, purchase_wait_us, known_us
        Microseconds until the next event, until the next purchase (`labels.NEVER` where none comes), and until the log ends,
        shape (n_rows,).
    rows
        Place of each row in the log, shape (n_rows,).
    groups
        Of the visitor at each row; None where no shop tells any.
    """

    session_features: Features
    user_features: Features
    item_features: Features
    starts: Flags
    at_us: Ints
    started_us: Ints
    p_intent: npt.NDArray[np.float64]
    following: npt.NDArray[np.int8]
    wait_us: Ints
    purchase_wait_us: Ints
    known_us: Ints
    rows: Ints
    groups: Named | None = None

    @property
    def next_action(self) -> npt.NDArray[np.int8]:
        """Next action within each of `HORIZONS_S`, index into `NEXT_ACTIONS`, shape (n_rows, n_horizons)."""
        return np.where(self._within(self.wait_us), self.following[:, None], labels.LEAVE).astype(np.int8)

    @property
    def purchase(self) -> Flags:
        """Rows that a purchase follows within each of `HORIZONS_S`, shape (n_rows, n_horizons)."""
        return self._within(self.purchase_wait_us)

    @property
    def covered(self) -> Flags:
        """Rows of which the log covers each of `HORIZONS_S` to its end, shape (n_rows, n_horizons)."""
        return np.asarray(self.known_us[:, None] >= _HORIZONS_US)

    def _within(self, wait_us: Ints) -> Flags:
        return np.asarray(wait_us[:, None] <= _HORIZONS_US)

    def split(self, params: ExampleParams) -> split.Split:
        """The periods of these rows."""
        return split.by_time(self.started_us, params.valid_share, params.test_share)

    def next_action_features(self, effects: GroupEffects = NOBODY_NAMED) -> Features:
        """Session, user and item features side by side, in the order of `NEXT_ACTION_FEATURES`, then the groups' effects."""
        parts = (self.session_features, self.user_features, self.item_features)
        return np.concatenate((*parts, effects.rows(self.groups, len(self.rows))), axis=1)


def read_log(frame: "pd.DataFrame") -> "tuple[Log, pd.DataFrame]":
    """Encode a log, in the order in which it was kept; also its frame, sessionized, row by row beside the events."""
    import pandas as pd  # only here: what serves reads no frames

    counted = visitor_share.counted(frame)
    frame = sessions.sessionize(frame if counted.all() else frame.assign(**{_COUNTED: counted}))
    starts = sessions.starts(frame)
    events, item_ids, categories = encode(frame)
    started_us = split.session_starts_us(events["occurred_at_us"], starts)
    user_codes = pd.factorize(frame["user_id"])[0].astype(np.int64)
    senders = None
    if "partner" in frame:
        codes, partners = pd.factorize(frame["partner"])
        senders = Senders(tuple(map(str, partners)), codes.astype(np.int32))
    kept = frame.pop(_COUNTED).to_numpy(np.bool_) if _COUNTED in frame else None
    ids, names = ([str(text) for text in texts] for texts in (item_ids, categories))
    groups = named(frame[GROUPS].to_numpy(dtype=object), starts) if GROUPS in frame else None
    return Log(events, starts, started_us, user_codes, ids, kept, names, senders, groups), frame


def choose(log: Log, frame: "pd.DataFrame", params: ExampleParams) -> Ints:
    """Positions of the chosen rows in the log, ascending; whole sessions, the same ones every time."""
    import pandas as pd  # only here: what serves reads no frames

    ids = frame["session_id"].to_numpy(dtype=object)[log.starts]
    keys = pd.util.hash_array(ids, hash_key=_HASH_KEY)
    return np.flatnonzero(split.sample(log.starts, keys, params.at_most))


def entities(log: Log, frame: "pd.DataFrame", rows: Ints) -> "pd.DataFrame":
    """Entity rows for the feature store: session, user, instant, and the item the visitor is at.

    Returns
    -------
    Columns ``row_id`` (position among the chosen), `session_id`, `user_id`, `item_id` (of the last item event of the session so
    far, None before the first) and ``occurred_at`` (UTC, microseconds).
    """
    import pandas as pd  # only here: what serves reads no frames

    at = last_item(log.events["item"], log.starts)[rows]
    texts = np.array([*log.item_ids, None], dtype=object)
    return pd.DataFrame(
        {
            "row_id": np.arange(len(rows)),
            "session_id": frame["session_id"].to_numpy(dtype=object)[rows],
            "user_id": frame["user_id"].to_numpy(dtype=object)[rows],
            "item_id": texts[at],
            INSTANT: pd.to_datetime(log.events["occurred_at_us"][rows], unit="us", utc=True).astype("datetime64[us, UTC]"),
        }
    )


def last_item(item: Ints, starts: Flags) -> Ints:
    """Item code of the last item event of the session up to each row, `NO_CODE` before the first; shape (n_events,).

    Examples
    --------
    >>> last_item(np.array([-1, 4, -1, -1]), np.array([True, False, False, True])).tolist()
    [-1, 4, 4, -1]
    """
    place = np.maximum.accumulate(np.where((item != NO_CODE) | starts, np.arange(len(item)), 0))
    found: Ints = item[place]
    return found


def assemble(log: Log, rows: Ints, known: "pd.DataFrame") -> Examples:
    """Put the rows together.

    Parameters
    ----------
    rows
        From `choose`.
    known
        User and item features as of each row, with the columns `USER_FEATURES`, `LAST_EVENT_AT` and `ITEM_FEATURES`, in the
        order of `rows`; NaN where the store knew nothing.
    """
    events, starts = log.events[rows], log.starts[rows]
    at_us = np.ascontiguousarray(events["occurred_at_us"])
    end_us = int(log.events["occurred_at_us"].max(initial=0))
    after = labels.following(log.events, log.user_codes)
    return Examples(
        session_features=sessions.fold(events, starts),
        user_features=_users(known, at_us),
        item_features=_items(known),
        starts=starts,
        at_us=at_us,
        started_us=log.started_us[rows],
        p_intent=labels.intent_probabilities(events, starts),
        following=after.kind[rows],
        wait_us=after.wait_us[rows],
        purchase_wait_us=after.purchase_wait_us[rows],
        known_us=end_us - at_us,
        rows=rows,
        groups=None if log.groups is None else log.groups.where(rows),
    )


def _users(known: "pd.DataFrame", at_us: Ints) -> Features:
    features = known[list(USER_FEATURES)].to_numpy(dtype=np.float32)
    last_us = known[LAST_EVENT_AT].fillna(0).to_numpy(dtype=np.int64)
    return users.as_of(features, last_us, at_us)


def _items(known: "pd.DataFrame") -> Features:
    features = known[list(ITEM_FEATURES)].to_numpy(dtype=np.float32).copy()
    features[np.isnan(features).any(axis=1)] = items.NOTHING_YET
    return features


def log_to_parts(log: Log) -> Parts:
    """The encoded log as files."""
    arrays = {"events": log.events, "starts": log.starts, "started_us": log.started_us, "user_codes": log.user_codes}
    meta = {"item_ids": log.item_ids, "categories": list(log.categories)}
    parts = _with_groups(Parts(meta, arrays if log.counted is None else {**arrays, _COUNTED: log.counted}), log.groups)
    if log.senders is None:
        return parts
    return Parts({**parts.meta, _PARTNERS: list(log.senders.partners)}, {**parts.arrays, _SENT_BY: log.senders.codes})


def _with_groups(parts: Parts, said: Named | None) -> Parts:
    if said is None:
        return parts
    texts = [packed(groups) for groups in said.groups]
    return Parts({**parts.meta, _GROUPS: texts}, {**parts.arrays, _GROUPS: said.codes})


def _groups_of(parts: Parts) -> Named | None:
    arrays: Mapping[str, Any] = parts.arrays
    return Named(arrays[_GROUPS], tuple(map(unpacked, parts.meta[_GROUPS]))) if _GROUPS in arrays else None


def log_from_parts(parts: Parts) -> Log:
    """The log that `log_to_parts` wrote.

    A file forgets that the fields of its records are aligned, and kernels would take them for records of another type: each
    call with some of them would cost as much as a hundred.
    """
    arrays: Mapping[str, Any] = parts.arrays
    events = np.asarray(arrays["events"]).view(EVENT_DTYPE)
    rows = events, arrays["starts"], arrays["started_us"], arrays["user_codes"]
    senders = Senders(tuple(parts.meta[_PARTNERS]), arrays[_SENT_BY]) if _SENT_BY in arrays else None
    texts = list(parts.meta["item_ids"]), arrays.get(_COUNTED), list(parts.meta["categories"])
    return Log(*rows, *texts, senders, _groups_of(parts))


def to_parts(examples: Examples) -> Parts:
    """The rows as files."""
    arrays = {name: array for name, array in examples._asdict().items() if name != _GROUPS}
    return _with_groups(Parts({"session_features": list(SESSION_FEATURES)}, arrays), examples.groups)


def from_parts(parts: Parts) -> Examples:
    """The rows that `to_parts` wrote; arrays may be read-only memory maps."""
    arrays: Mapping[str, Any] = parts.arrays
    return Examples(**{name: arrays[name] for name in Examples._fields if name != _GROUPS}, groups=_groups_of(parts))
