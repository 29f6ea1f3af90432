"""What `current_state` adds to an answer: category, query and item, each against the session alone.

    python -m benchmarks.state [--users N] [--seeds 301 302] [--moments N]

A next-action model is fitted to the earlier sessions of a simulated log, and asked at moments of the later ones with the state
and without (`models.evaluation.state`). Users and items are not known before. Gains are of log loss, with 95 % intervals over
sessions. Prints one JSON object.
"""

import argparse
import json
from typing import Any

from benchmarks.first_visits import examples_of
from models.evaluation.state import state_table
from models.inference import next_action
from models.inference.examples import ExampleParams
from models.inference.next_action import DEFAULT_PARAMS, NextActionParams, Waits
from models.simulator import ShopConfig, simulate


def measure(config: ShopConfig, n_moments: int, boosting: NextActionParams = DEFAULT_PARAMS) -> dict[str, Any]:
    """All states of one log."""
    params = ExampleParams()
    log, found = examples_of(simulate(config).events, params)
    split = found.split(params)
    learn = ~split.test
    waits = Waits.of(found).where(learn)
    model = next_action.fit(found.next_action_features()[learn], waits, boosting, valid=split.valid[learn])
    return state_table(model, log, found, split.test, 0, n_moments)


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
