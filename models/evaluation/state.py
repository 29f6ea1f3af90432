"""Ablation of the visitor's state: what category, query and item of `current_state` add to what the session alone tells.

At moments of held-out sessions the newest event, which the session does not have yet, is told as the state instead
(`models.live_session.looking_at`): the category that is browsed, the length of what is searched for, the item that is looked
at. Asked is what comes next, and whether a purchase does, within both horizons, with the state and without.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.arrays import Flags, Floats, Floats32, Ints
from models.features import items, sessions
from models.inference.examples import Examples, Log
from models.inference.next_action import NextActionModel
from models.live_session import EMPTY, CurrentState, LiveSession, cut, looking_at
from models.schema import HORIZONS_S, ITEM_FEATURES, NEXT_ACTION_FEATURES, SESSION_FEATURES, EventType
from models.statistics import bootstrap

STATES: Final = {
    "category": (EventType.CATEGORY_BROWSE,),
    "query": (EventType.SEARCH, EventType.SEARCH_REFINE),
    "item": (EventType.ITEM_VIEW,),
}
MOST_MOMENTS: Final = 1_000  # of each state
LEAST_MOMENTS: Final = 50
CHANGED: Final = 0.01  # total variation of the next action from which an answer is another one
N_DRAWS: Final = 300
_TINY: Final = 1e-12
_N_SESSION: Final = len(SESSION_FEATURES)
_ITEM: Final = slice(len(NEXT_ACTION_FEATURES) - len(ITEM_FEATURES), len(NEXT_ACTION_FEATURES))


def state_table(
    model: NextActionModel, log: Log, found: Examples, held: Flags, seed: int, most: int = MOST_MOMENTS
) -> dict[str, Any]:
    """Gains of each state at held-out moments.

    Parameters
    ----------
    held
        Rows of the examples, shape (n_rows,).

    Returns
    -------
    JSON-able, by state: `n` moments, `changed` (share of the answers that are others), and per horizon the gain in log loss
    of the next ``action`` and of a ``purchase``, each with its interval over sessions and a verdict; `n` alone where there
    are few.
    """
    kinds = log.events["event_type"][found.rows]
    rng = np.random.default_rng(seed)
    wide = found.next_action_features(model.groups)
    told: dict[str, Any] = {}
    for name, types in STATES.items():
        at = np.flatnonzero(held & np.isin(kinds, types))
        at = np.sort(rng.permutation(at)[:most])
        told[name] = {"n": len(at)}
        if len(at) >= LEAST_MOMENTS:
            told[name] |= _judged(model, found, at, *_both(log, found.rows[at], wide[at], name), seed)
    return told


def _both(log: Log, rows: Ints, wide: Floats32, name: str) -> tuple[Floats32, Floats32]:
    """Rows of the model at some moments, of the session before the newest event, and of that with the state."""
    first = np.maximum.accumulate(np.where(log.starts, np.arange(len(log.starts)), 0))
    names, categories = (_texts(log.events[of]) for of in ("item", "category"))
    without, with_it = wide.copy(), wide.copy()
    if name == "item":
        without[:, _ITEM] = items.NOTHING_YET
    for k, row in enumerate(rows.tolist()):
        before, newest = log.events[first[row] : row], log.events[row]
        session: LiveSession = cut(before, names, categories) if len(before) else EMPTY
        there = looking_at(session, _state(newest, name), int(newest["occurred_at_us"]))
        without[k, :_N_SESSION], with_it[k, :_N_SESSION] = (sessions.features_of(one.events) for one in (session, there))
    return without, with_it


def _texts(codes: Ints) -> npt.NDArray[np.object_]:
    """A text for each code: which one does not matter."""
    return np.array([str(k) for k in range(int(codes.max(initial=-1)) + 1)], dtype=object)


def _state(newest: Any, name: str) -> CurrentState:
    item, category = (None if newest[of] < 0 else str(newest[of]) for of in ("item", "category"))
    if name == "query":
        return CurrentState(query_length=None if np.isnan(newest["query_length"]) else int(newest["query_length"]))
    return CurrentState(item_id=item if name == "item" else None, category=category)


def _judged(
    model: NextActionModel, found: Examples, at: Ints, without: Floats32, with_it: Floats32, seed: int
) -> dict[str, Any]:
    bare, told = model.predict(without), model.predict(with_it)
    of_session = np.cumsum(found.starts, dtype=np.int64)[at]
    changed = np.abs(bare["short_term"].p_action - told["short_term"].p_action).sum(axis=1) / 2 > CHANGED
    answer: dict[str, Any] = {"changed": float(changed.mean())}
    for k, name in enumerate(HORIZONS_S):
        known = np.asarray(found.covered[at, k])
        if not known.any():
            continue
        draws = bootstrap.draw(of_session[known], np.random.default_rng(seed), N_DRAWS)
        action, bought = found.next_action[at, k][known].astype(np.int64), np.asarray(found.purchase[at, k])[known]
        gains = {
            "action": _loss(bare[name].p_action[known], action) - _loss(told[name].p_action[known], action),
            "purchase": _yes_no(bare[name].p_purchase[known], bought) - _yes_no(told[name].p_purchase[known], bought),
        }
        answer[name] = {}
        for asked, gain in gains.items():
            one = bootstrap.mean_intervals(gain[:, None], draws)[0]
            answer[name][asked] = {**bootstrap.as_json(one), "verdict": bootstrap.verdict(one, "with", "without")}
    return answer


def _loss(p: Floats, true: Ints) -> Floats:
    return np.asarray(-np.log(np.maximum(p[np.arange(len(true)), true], _TINY)))


def _yes_no(p: Floats, true: Flags) -> Floats:
    return np.asarray(-np.log(np.maximum(np.where(true, p, 1 - p), _TINY)))
