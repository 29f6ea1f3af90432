"""What `current_state` adds to an answer: category, query and item, each against the session alone.

    python -m benchmarks.state [--users N] [--seeds 301 302] [--moments N]

A next-action model is fitted to the earlier sessions of a simulated log. At moments of the later ones the newest event, which
the session does not have yet, is told as the state instead (`models.live_session.looking_at`): the category that is browsed,
the length of what is searched for, the item that is looked at. Asked is what comes next, and whether a purchase does, within
both horizons, with the state and without. "changed" is the share of moments in which the probabilities of the next action
differ by more than 0.01 in all; gains are of log loss, with 95 % intervals over sessions. Prints one JSON object.
"""

import argparse
import json
from typing import Any, Final

import numpy as np
import pandas as pd

from models.arrays import Flags, Floats, Floats32, Ints
from models.assess import next_action_row
from models.features import sessions
from models.inference import examples, next_action
from models.inference.examples import ExampleParams, Examples, Log
from models.inference.next_action import Waits
from models.known import NOTHING_KNOWN
from models.live_session import EMPTY, CurrentState, LiveSession, cut, looking_at
from models.schema import HORIZONS_S, ITEM_FEATURES, LAST_EVENT_AT, USER_FEATURES, EventType
from models.simulator import ShopConfig, simulate
from models.statistics import bootstrap

STATES: Final = {
    "category": (EventType.CATEGORY_BROWSE,),
    "query": (EventType.SEARCH, EventType.SEARCH_REFINE),
    "item": (EventType.ITEM_VIEW,),
}
N_DRAWS: Final = 300
_TINY: Final = 1e-12


def measure(config: ShopConfig, n_moments: int) -> dict[str, Any]:
    """All states of one log."""
    log, frame = examples.read_log(simulate(config).events)
    params = ExampleParams()
    rows = examples.choose(log, frame, params)
    nothing = pd.DataFrame(np.nan, index=range(len(rows)), columns=[*USER_FEATURES, LAST_EVENT_AT, *ITEM_FEATURES])
    found = examples.assemble(log, rows, nothing)
    test, valid = found.split(params).test, found.split(params).valid
    waits = Waits(found.following, found.wait_us, found.purchase_wait_us, found.known_us)
    model = next_action.fit(found.next_action_features()[~test], waits.where(~test), valid=valid[~test])
    kinds = log.events["event_type"][rows]
    rng = np.random.default_rng(0)
    told = {}
    for name, types in STATES.items():
        at = np.flatnonzero(test & np.isin(kinds, types))
        at = np.sort(rng.permutation(at)[:n_moments])
        without, with_it = _features(log, rows[at], name)
        told[name] = _judged(model, found, at, without, with_it)
    return told


def _features(log: Log, rows: Ints, name: str) -> tuple[Floats32, Floats32]:
    """Rows of the model at some moments, of the session before the newest event, and of that with the state."""
    first = np.maximum.accumulate(np.where(log.starts, np.arange(len(log.starts)), 0))
    both: list[tuple[Floats32, Floats32]] = []
    for row in rows.tolist():
        before = log.events[first[row] : row]
        session = cut(before, log.item_ids, log.categories) if len(before) else EMPTY
        newest, at_us = log.events[row], int(log.events["occurred_at_us"][row])
        item, category = (
            None if newest[column] < 0 else names[newest[column]]
            for column, names in (("item", log.item_ids), ("category", log.categories))
        )
        length = None if np.isnan(newest["query_length"]) else int(newest["query_length"])
        state = {
            "category": CurrentState(category=category),
            "query": CurrentState(query_length=length),
            "item": CurrentState(item_id=item, category=category),
        }[name]
        there = looking_at(session, state, at_us)
        both.append((_row(session, at_us), _row(there, at_us)))
    without, with_it = zip(*both, strict=True)
    return np.stack(without), np.stack(with_it)


def _row(session: LiveSession, at_us: int) -> Floats32:
    return next_action_row(sessions.features_of(session.events), NOTHING_KNOWN, at_us)


def _judged(
    model: next_action.NextActionModel, found: Examples, at: Ints, without: Floats32, with_it: Floats32
) -> dict[str, Any]:
    bare, told = model.predict(without), model.predict(with_it)
    of_session = np.cumsum(found.starts, dtype=np.int64)[at]
    changed = np.abs(bare["short_term"].p_action - told["short_term"].p_action).sum(axis=1) / 2 > 0.01
    answer: dict[str, Any] = {"n": len(at), "changed": round(float(changed.mean()), 4)}
    for k, name in enumerate(HORIZONS_S):
        known = np.asarray(found.covered[at, k])
        draws = bootstrap.draw(of_session[known], np.random.default_rng(0), N_DRAWS)
        action, bought = found.next_action[at, k][known].astype(np.int64), np.asarray(found.purchase[at, k])[known]
        gains = {
            "action": _loss(bare[name].p_action[known], action) - _loss(told[name].p_action[known], action),
            "purchase": _yes_no(bare[name].p_purchase[known], bought) - _yes_no(told[name].p_purchase[known], bought),
        }
        answer[name] = {
            asked: {
                key: round(value, 4)
                for key, value in bootstrap.as_json(bootstrap.mean_intervals(gain[:, None], draws)[0]).items()
            }
            for asked, gain in gains.items()
        }
    return answer


def _loss(p: Floats, true: Ints) -> Floats:
    return np.asarray(-np.log(np.maximum(p[np.arange(len(true)), true], _TINY)))


def _yes_no(p: Floats, true: Flags) -> Floats:
    return np.asarray(-np.log(np.maximum(np.where(true, p, 1 - p), _TINY)))


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=4000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[301, 302])
    parser.add_argument("--moments", type=int, default=2000)
    given = parser.parse_args()
    runs = {f"shop {seed}": measure(ShopConfig(n_users=given.users, seed=seed), given.moments) for seed in given.seeds}
    print(json.dumps({"benchmark": "state", **runs}, indent=1))


if __name__ == "__main__":
    main()
