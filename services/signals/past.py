"""Past moments of visitors, out of the log: those at which the worker would have looked at them, silences included.

Visitors are read some hundred at a time, and the moments of these are assessed together (`models.moments`).
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from infra.store.events import RECENT_COLUMNS, frame_of
from infra.store.protocol import Read
from infra.store.statements.events import READ_RECENT
from models.arrays import Flags, Floats, Floats32, Ints
from models.engagement.policy import SignalPolicy
from models.engagement.silence import SECOND_US, STEPS_S, left_lying
from models.engagement.trouble import troubles
from models.events.encode import NO_CODE, EventArray, encode
from models.features import items, users
from models.features.sessions import sessionize, starts
from models.model_set import ModelSet
from models.moments import Assessments, Moments, Visits, assess_all, visits
from models.schema import DAY_US, EVENT_COLUMNS, GROUPS, SESSION_FEATURES, EventType
from models.visitor_groups import named

HOUR_US: Final = 3_600 * SECOND_US
ONE_STEP_US: Final = SECOND_US  # the worker looks at the newest event of a second
_LYING: Final = {"n_add_to_cart": 1, "n_checkout_view": 1, "n_spec_compare": 2}  # without so many, nothing is left lying
ItemFeatures = Callable[[str], Floats32 | None]


class Sight(NamedTuple):
    """Sight of the past: what is looked with, and at which span of time.

    Attributes
    ----------
    item
        Features of an item, None where unknown.
    steps_s
        Of silences, rising.
    """

    policy: SignalPolicy
    models: ModelSet
    item: ItemFeatures
    since_us: int
    until_us: int
    steps_s: Sequence[int] = STEPS_S


class Past(NamedTuple):
    """Moments of some visitors, by visitor and in each by time, shape (n_moments,) each.

    Attributes
    ----------
    found
        The assessments.
    at_us
        Instants.
    user
        Place of the visitor in `user_ids`.
    bought
        Whether the visitor bought within the hour that followed.
    """

    found: Assessments
    at_us: Ints
    user: Ints
    user_ids: list[str]
    bought: Flags


def past_of(read: Read, some: Sequence[str], sight: Sight) -> Past | None:
    """Moments of some visitors, as the worker would have assessed them; None where there are no events of them any more."""
    rows = read(READ_RECENT, (msgspec.json.encode(some).decode(), 2**62, sight.since_us - DAY_US))
    if not rows:
        return None
    frame = sessionize(frame_of(rows, RECENT_COLUMNS))[[*EVENT_COLUMNS, GROUPS]]
    encoded, begins = encode(frame), starts(frame)
    seen = visits(encoded, begins, named(frame[GROUPS].to_numpy(dtype=object), begins))
    user_ids, user = np.unique(frame["user_id"].to_numpy(dtype=object).astype(str), return_inverse=True)
    at_us = encoded.events["occurred_at_us"]
    order = np.lexsort((np.arange(len(user)), at_us, user))  # of each visitor, by time
    last, silent_s = _looks(seen, order, user, sight)
    moments = Moments(last, silent_s, _users(encoded.events, order, user)[last], _items(seen, last, sight.item))
    then_us = at_us[last] + np.round(silent_s * SECOND_US).astype(np.int64)
    found = assess_all(seen, moments, sight.models)
    return Past(found, then_us, user[last], user_ids.tolist(), _bought(encoded.events, user, user[last], then_us))


def _looks(seen: Visits, order: Ints, user: Ints, sight: Sight) -> tuple[Ints, Floats]:
    """Events at or behind which the visitor is looked at, and how many seconds behind them, by visitor and time."""
    at_us = seen.encoded.events["occurred_at_us"][order]
    next_us = np.append(at_us[1:], 0)
    is_newest = np.append(user[order][1:] != user[order][:-1], True)
    gone_us = np.where(is_newest, np.iinfo(np.int64).max, next_us)  # when there is something newer
    within = (at_us >= sight.since_us) & (at_us <= sight.until_us)
    places = [np.flatnonzero(within & (gone_us > at_us + ONE_STEP_US))]
    silent = np.flatnonzero(within & (gone_us > at_us + min(sight.steps_s, default=0) * SECOND_US))
    silent = silent[_may_speak(seen, order[silent], sight.policy)]
    for step_s in sight.steps_s:
        then_us = at_us[silent] + step_s * SECOND_US
        places.append(silent[(gone_us[silent] > then_us) & (then_us <= sight.until_us)])
    steps_s = np.repeat(np.array([0, *sight.steps_s], np.int64), [len(each) for each in places])
    found = np.concatenate(places)
    by_event = np.lexsort((steps_s, found))
    return order[found[by_event]], steps_s[by_event].astype(np.float64)


def _may_speak(seen: Visits, last: Ints, policy: SignalPolicy) -> Flags:
    """Whether anything could come of a silence after each event: something left lying, an obstacle, or a workflow for it."""
    t, features = policy.thresholds, seen.features[last]
    if any(one.is_for_silence for one in policy.workflows):
        return np.ones(len(last), dtype=np.bool_)
    counts = {name: features[:, SESSION_FEATURES.index(name)] for name in (*_LYING, "n_search_refine")}
    found = counts["n_search_refine"] >= t.n_search_refines_support
    found |= counts["n_checkout_view"] >= t.n_checkout_views_support
    trouble = troubles(seen.encoded.events, seen.first[last], last + 1, np.zeros(len(last)))
    found |= trouble.p >= t.min_p_trouble * (1.0 - t.dead_band)
    lying = np.logical_or.reduce([counts[name] >= least for name, least in _LYING.items()])
    for k in np.flatnonzero(lying & ~found).tolist():
        found[k] = left_lying(seen.session(int(last[k]))) is not None
    return np.asarray(found)


def _users(events: EventArray, order: Ints, user: Ints) -> Floats32:
    """Features of the visitor before each event, as of its instant, shape (n_events, n_user_features)."""
    folded, at_us = users.fold(events[order], user[order]).features, events["occurred_at_us"][order]
    before = np.tile(users.NOTHING_YET, (len(order), 1))
    goes_on = np.flatnonzero(user[order][1:] == user[order][:-1])
    before[goes_on + 1] = users.as_of(folded[goes_on], at_us[goes_on], at_us[goes_on + 1])
    found = np.empty_like(before)
    found[order] = before
    return found


def _items(seen: Visits, last: Ints, item: ItemFeatures) -> Floats32:
    """Features of the newest item of each session so far, shape (n_moments, n_item_features)."""
    codes = seen.encoded.events["item"]
    place = np.maximum.accumulate(np.where((codes >= 0) | (seen.first == np.arange(len(codes))), np.arange(len(codes)), 0))
    met, which = np.unique(codes[place][last], return_inverse=True)
    told = [None if code == NO_CODE else item(str(seen.encoded.item_ids[code])) for code in met.tolist()]
    rows = np.array([items.NOTHING_YET if one is None else one for one in told], dtype=np.float32)
    return np.asarray(rows.reshape(-1, len(items.NOTHING_YET))[which])


def _bought(events: EventArray, user: Ints, of: Ints, then_us: Ints) -> Flags:
    """Whether each moment's visitor bought within the hour behind it."""
    bought = np.flatnonzero(events["event_type"] == EventType.PURCHASE)
    bought = bought[np.lexsort((events["occurred_at_us"][bought], user[bought]))]
    whose, when = user[bought], events["occurred_at_us"][bought]
    edges = np.searchsorted(whose, np.arange(int(user.max(initial=-1)) + 2))
    found = np.zeros(len(of), dtype=np.bool_)
    begin, end = np.searchsorted(of, np.arange(len(edges) - 1)), np.searchsorted(of, np.arange(len(edges) - 1), side="right")
    for code in np.unique(whose).tolist():
        own, rows = when[edges[code] : edges[code + 1]], slice(begin[code], end[code])
        found[rows] = np.searchsorted(own, then_us[rows] + HOUR_US, side="right") > np.searchsorted(
            own, then_us[rows], side="right"
        )
    return found
