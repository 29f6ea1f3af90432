"""What it adds that a shop names the segments of its visitors: to P(purchase), to the engagement score, to action weights.

    python -m benchmarks.groups [--users N] [--seeds 501 502 503]

Two simulated shops with three segments: in one of them they buy more and less readily than others do, in the other they are
names alone. Models are fitted to the earlier sessions, with the segments and without, and judged on the last 20 %; users and
items are not known before. Gains are of log loss, with 95 % intervals over sessions. Prints one JSON object.
"""

import argparse
import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from benchmarks.first_visits import examples_of
from benchmarks.group_weights import weights_of_groups
from models import visitor_groups
from models.arrays import Flags, Floats, Ints
from models.engagement import from_log
from models.engagement.model import EngagementModel, Rows
from models.inference import next_action
from models.inference.examples import ExampleParams, Examples, Log
from models.inference.next_action import DEFAULT_PARAMS, NextActionParams, Waits
from models.model_set import required
from models.schema import HORIZONS_S, EventType
from models.simulator import ShopConfig, simulate
from models.simulator.config import Segment
from models.statistics import bootstrap
from models.visitor_groups import NOBODY_NAMED, GroupEffects
from models.weights import action_outcomes, actions
from models.weights.actions_from_log import posterior_of

SHARES: Final = {"members": 0.3, "guests": 0.5, "trade": 0.2}
EAGER: Final = {"members": 0.6, "guests": -1.2, "trade": 1.4}
N_DRAWS: Final = 300
_TINY: Final = 1e-12


def shop(n_users: int, seed: int, matters: bool) -> ShopConfig:
    """A shop whose segments matter, or are names alone."""
    segments = tuple(Segment(name, share, EAGER[name] * matters) for name, share in SHARES.items())
    return ShopConfig(n_users=n_users, seed=seed, segments=segments)


def measure(config: ShopConfig, boosting: NextActionParams = DEFAULT_PARAMS) -> dict[str, Any]:
    """All gains of one log."""
    params = ExampleParams()
    log, found = examples_of(simulate(config).events, params)
    split = found.split(params)
    before = log.before(split.test_from_us)
    groups = visitor_groups.learned(before.groups, before.user_codes, before.events["event_type"] == EventType.PURCHASE)
    k, test = list(HORIZONS_S).index("medium_term"), split.test & found.covered[:, 1]
    bought = np.asarray(found.purchase[test, k])
    said: dict[str, dict[str, Floats]] = {"next_action": {}, "engagement": {}}
    for name, effects in (("without", NOBODY_NAMED), ("with", groups)):
        waits = Waits.of(found).where(~split.test)
        wide, valid = found.next_action_features(effects), split.valid[~split.test]
        model = next_action.fit(wide[~split.test], waits, boosting, valid=valid, groups=effects)
        said["next_action"][name] = model.predict(wide[test])["medium_term"].p_purchase
        score = _score(log, found, ~split.test & found.covered[:, k], split.valid, split.valid_from_us, bool(effects.kinds))
        told = score.groups.rows(found.groups, len(found.rows))[test]
        weights = actions.weights(posterior_of(log.before(split.valid_from_us), split.valid_from_us))
        said["engagement"][name] = score.immediate(found.session_features[test], weights, told)
        if effects.kinds:
            own = _own_weights(log.before(split.valid_from_us), found, weights, effects)[test]
            said["action_weights"] = {
                "without": said["engagement"][name],
                "with": score.immediate(found.session_features[test], own, told),
            }
    sessions = np.cumsum(found.starts, dtype=np.int64)[test]
    return {name: _gain(one["without"], one["with"], bought, sessions) for name, one in said.items()} | {
        "segments_told_apart": {kind: list(of) for kind, of in groups.by_kind.items()},
        "n_rows": int(test.sum()),
        "n_purchases": int(bought.sum()),
    }


def _score(log: Log, found: Examples, rows: Flags, later: Flags, from_us: int, is_told: bool) -> EngagementModel:
    seen = Rows(found.session_features, found.purchase[:, 1], later, found.started_us, None, found.groups).where(rows)
    earlier = log.before(from_us)
    if not is_told:
        seen, earlier = seen._replace(groups=None), earlier._replace(groups=None)
    return required(from_log.learn(earlier, seen, from_us), "an engagement score")


def _own_weights(log: Log, found: Examples, weights: Floats, effects: GroupEffects) -> Floats:
    """Action weights of each row's segment, shape (n_rows, n_event_types); those of all where none is told."""
    assert log.groups is not None
    assert found.groups is not None
    clock_us = int(log.events["occurred_at_us"].max()) + 1
    counts = {}
    for name in effects.by_kind["segment"]:
        own = log.only(np.array([groups[0] == name for groups in log.groups.groups])[log.groups.codes])
        user = pd.factorize(own.user_codes, sort=True)[0].astype(np.int64)
        seen = action_outcomes.fold(own.events, own.starts, user, clock_us)
        counts[name] = actions.faded(
            seen.day, seen.event_type, seen.context, np.zeros_like(seen.day), seen.trials, seen.rewards
        )
    learned: Mapping[str, Floats] = weights_of_groups(counts, posterior_of(log, clock_us))
    table = np.array([learned.get(groups[0] or "", weights) for groups in found.groups.groups])
    return np.asarray(table[found.groups.codes])


def _gain(without: Floats, with_it: Floats, bought: Flags, sessions: Ints) -> dict[str, Any]:
    losses = [-np.log(np.maximum(np.where(bought, p, 1 - p), _TINY)) for p in (without, with_it)]
    draws = bootstrap.draw(sessions, np.random.default_rng(0), N_DRAWS)
    one = bootstrap.mean_intervals((losses[0] - losses[1])[:, None], draws)[0]
    told = {name: round(value, 5) for name, value in bootstrap.as_json(one).items()}
    return {"log_loss": round(float(losses[1].mean()), 5), **told, "verdict": bootstrap.verdict(one, "with", "without")}


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=6000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[501, 502, 503])
    given = parser.parse_args()
    runs = {
        f"{'segments matter' if matters else 'names alone'}, shop {seed}": measure(shop(given.users, seed, matters))
        for matters in (True, False)
        for seed in given.seeds
    }
    print(json.dumps({"benchmark": "groups", **runs}, indent=1))


if __name__ == "__main__":
    main()
