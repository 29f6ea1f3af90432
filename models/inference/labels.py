"""Labels: weak intents and next actions, both read off whole sessions after the fact.

**Intent.** The rules of `models.inference.intent_rules` vote; a hidden Markov chain with a sticky intent joins the votes of a
session from both sides (forward-backward); then the shares are estimated once more from the result.

**Next action.** What the visitor does next and after how long, and how long it takes until the next purchase.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Flags, Floats, Ints
from models.events.encode import EventArray, is_item_event
from models.inference import label_kernels as kernels
from models.inference.intent_rules import KIND_VOTES, MEASURE_VOTES, RELATION_VOTES, RULES, LabelRules
from models.schema import N_EVENT_TYPES, N_INTENTS, NEXT_ACTIONS, EventType

LEAVE: Final = NEXT_ACTIONS.index("leave")
NEVER: Final = np.iinfo(np.int64).max  # a wait without an end
SILENT: Final = -1  # level of a signal that an event does not have
N_THIRDS: Final = 3


class _Signal(NamedTuple):
    """One kind of evidence: which level each event shows, among events of which group, and how levels vote."""

    group: Ints  # (n_events,)
    level: Ints  # (n_events,), SILENT where there is none
    share: Floats  # (n_groups, n_levels, 1), counts before normalising
    votes: Floats  # (n_levels, n_intents)


def intents(events: EventArray, starts: Flags, rules: LabelRules = RULES) -> npt.NDArray[np.int8]:
    """Most probable intent of each event, by the rules: codes of `Intent`, shape (n_events,).

    Parameters
    ----------
    events
        Shape (n_events,), whole sessions, each in time order.
    starts
        First row of each session, shape (n_events,).

    Examples
    --------
    >>> from models.events.encode import EVENT_DTYPE
    >>> from models.schema import Intent
    >>> events = np.zeros(3, EVENT_DTYPE)
    >>> events["event_type"] = [EventType.CART_VIEW, EventType.CHECKOUT_VIEW, EventType.PURCHASE]
    >>> intents(events, np.array([True, False, False])) == Intent.INTENT_TO_PURCHASE
    array([ True,  True,  True])
    """
    codes: npt.NDArray[np.int8] = intent_probabilities(events, starts, rules).argmax(axis=1).astype(np.int8)
    return codes


def intent_probabilities(events: EventArray, starts: Flags, rules: LabelRules = RULES) -> Floats:
    """Probability of each intent at each event given the whole session, shape (n_events, n_intents), rows sum to 1.

    The shares that the votes are measured against come from `events` themselves: label a log in one call.

    Raises
    ------
    ValueError
        If the lengths differ or the first row starts no session.
    """
    _check(events, starts)
    if len(events) == 0:
        return np.zeros((0, N_INTENTS))
    signals = _signals(events, starts, rules)
    first = np.full(N_INTENTS, 1 / N_INTENTS)
    sticky = np.full((N_INTENTS, N_INTENTS), (1 - rules.stay) / (N_INTENTS - 1))
    np.fill_diagonal(sticky, rules.stay)
    by_rules = [_normalised(s.share * np.exp(s.votes)) for s in signals]
    p, moves = kernels.forward_backward(_log_likelihood(signals, by_rules), starts, first, sticky)
    for _ in range(rules.n_refits):
        counted = [_refit(s, rule, p, rules.pull) for s, rule in zip(signals, by_rules, strict=True)]
        begun = p[starts].sum(axis=0) + rules.usual_events / N_INTENTS
        move = moves + sticky * (rules.usual_events + 0.01 * len(events))
        move /= move.sum(axis=1, keepdims=True)
        p, moves = kernels.forward_backward(_log_likelihood(signals, counted), starts, begun / begun.sum(), move)
    return np.asarray(p, dtype=np.float64)


def _signals(events: EventArray, starts: Flags, rules: LabelRules) -> list[_Signal]:
    kind = events["event_type"].astype(np.int64)
    relation = kernels.relations(
        kind, np.ascontiguousarray(events["item"]), np.ascontiguousarray(events["category"]), starts, is_item_event()
    )
    one_group = np.zeros(len(kind), dtype=np.int64)
    usual = rules.usual_events / N_EVENT_TYPES
    found = [_signal(one_group, kind, KIND_VOTES, usual), _signal(kind, relation, RELATION_VOTES, usual)]
    pause_us = np.full(len(events), np.nan)
    pause_us[:-1] = np.where(starts[1:], np.nan, np.diff(events["occurred_at_us"]))
    for name, (low, high) in MEASURE_VOTES.items():
        values = pause_us if name == "pause_us" else events[name]
        votes = np.array([low, (0.0,) * N_INTENTS, high])
        found.append(_signal(kind, _thirds(values, kind, rules.min_measured), votes, 1.0))
    return found


def _signal(group: Ints, level: Ints, votes: Floats, usual: float) -> _Signal:
    share = np.full((int(group.max()) + 1, len(votes)), usual)
    heard = level != SILENT
    np.add.at(share, (group[heard], level[heard]), 1.0)
    return _Signal(group, level, share[:, :, None], votes)


def _thirds(values: Floats, kind: Ints, min_measured: int) -> Ints:
    """Third of its value among those of the same event type: 0, 1, 2 or SILENT."""
    third = np.full(len(values), SILENT, dtype=np.int64)
    measured = np.isfinite(values)
    for code in range(N_EVENT_TYPES):
        rows = measured & (kind == code)
        if rows.sum() >= min_measured:
            edges = np.quantile(values[rows], np.arange(1, N_THIRDS) / N_THIRDS)
            third[rows] = np.searchsorted(edges, values[rows], side="right")
    return third


def _normalised(p: Floats) -> Floats:
    return np.asarray(p / p.sum(axis=1, keepdims=True))


def _log_likelihood(signals: list[_Signal], p_levels: list[Floats]) -> Floats:
    total = np.zeros((len(signals[0].level), N_INTENTS))
    for signal, p in zip(signals, p_levels, strict=True):
        heard = signal.level != SILENT
        total[heard] += np.log(p)[signal.group[heard], signal.level[heard]]
    return total


def _refit(signal: _Signal, by_rules: Floats, p: Floats, pull: float) -> Floats:
    """P(level | group, intent) from the labels so far, pulled towards the rules."""
    counts = by_rules * (pull * signal.share.sum(axis=1, keepdims=True) / N_INTENTS + 5.0)
    heard = signal.level != SILENT
    np.add.at(counts, (signal.group[heard], signal.level[heard]), p[heard])
    return _normalised(counts)


def _check(events: EventArray, starts: Flags) -> None:
    if len(events) != len(starts):
        raise ValueError(f"expected one start flag per event, got {len(starts)} for {len(events)} events")
    if len(starts) and not starts[0]:
        raise ValueError("the first row must start a session")


class Following(NamedTuple):
    """Next event and next purchase of each event's visitor, in whatever session; all of shape (n_events,), as given.

    Attributes
    ----------
    kind
        Type of the next event, int8; `LEAVE` where there is none.
    wait_us, purchase_wait_us
        Microseconds until the next event and until the next purchase; `NEVER` where there is none.
    """

    kind: npt.NDArray[np.int8]
    wait_us: Ints
    purchase_wait_us: Ints


def following(events: EventArray, user_codes: npt.NDArray[np.int64]) -> Following:
    """The next event and the next purchase of each event's visitor.

    Parameters
    ----------
    events, user_codes
        Shape (n_events,), in any order. Of events at one instant the later row counts as later.

    Examples
    --------
    >>> from models.events.encode import EVENT_DTYPE
    >>> events = np.zeros(3, EVENT_DTYPE)
    >>> events["event_type"] = [EventType.SEARCH, EventType.ITEM_VIEW, EventType.PURCHASE]
    >>> events["occurred_at_us"] = [0, 10_000_000, 900_000_000]
    >>> found = following(events, np.zeros(3, np.int64))
    >>> [NEXT_ACTIONS[code] for code in found.kind], found.purchase_wait_us[0] // 1_000_000
    (['item_view', 'purchase', 'leave'], np.int64(900))
    """
    if len(events) != len(user_codes):
        raise ValueError(f"expected one user per event, got {len(user_codes)} for {len(events)} events")
    n = len(events)
    order = np.lexsort((events["occurred_at_us"], user_codes))
    at, users, kinds = events["occurred_at_us"][order], user_codes[order], events["event_type"][order]
    followed = np.append(users[1:] == users[:-1], np.zeros(min(n, 1), dtype=bool))
    last = np.minimum(np.arange(1, n + 1), max(n - 1, 0))
    # Position of the next purchase after each row: a running minimum from the end.
    position = np.append(np.where(kinds == EventType.PURCHASE, np.arange(n), n), n)
    bought = np.minimum.accumulate(position[::-1])[::-1][1:]
    buys = np.minimum(bought, max(n - 1, 0))
    found = Following(np.full(n, LEAVE, dtype=np.int8), np.full(n, NEVER), np.full(n, NEVER))
    found.kind[order] = np.where(followed, kinds[last], LEAVE)
    found.wait_us[order] = np.where(followed, at[last] - at, NEVER)
    found.purchase_wait_us[order] = np.where((bought < n) & (users[buys] == users), at[buys] - at, NEVER)
    return found


def purchase_within(events: EventArray, user_codes: npt.NDArray[np.int64], horizon_s: float) -> Flags:
    """Events that a purchase by the same visitor follows within the horizon, in whatever session; shape (n_events,)."""
    return np.asarray(following(events, user_codes).purchase_wait_us <= horizon_s * 1e6)


def covered(occurred_at_us: npt.NDArray[np.int64], horizon_s: float, log_end_us: int) -> Flags:
    """Rows whose horizon the log covers to its end; of others nobody knows whether the visitor left."""
    return np.asarray(occurred_at_us + int(horizon_s * 1e6) <= log_end_us)
