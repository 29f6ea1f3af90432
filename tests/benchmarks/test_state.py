"""What the visitor's state adds: each of category, query and item changes the answer, and tells what comes next better."""

import json

from benchmarks.state import measure
from models.evaluation.state import STATES
from models.inference.next_action import NextActionParams
from models.learners.trees import BoostParams
from models.schema import HORIZONS_S
from models.simulator import ShopConfig

QUICK = NextActionParams(BoostParams(n_rounds=15, n_leaves=8), BoostParams(n_rounds=15, n_leaves=8))


def test_each_state_changes_the_answer_and_saves_log_loss() -> None:
    found = measure(ShopConfig(n_users=1_500, seed=5), 600, QUICK)
    assert set(found) == set(STATES)
    for name, one in found.items():
        assert one["n"] >= 200, name
        assert one["changed"] > 0.25, name
        for horizon in HORIZONS_S:
            assert one[horizon]["action"]["low"] > 0, (name, horizon)
            assert one[horizon]["action"]["verdict"] == "with", (name, horizon)
    assert json.loads(json.dumps(found)) == found


def test_where_there_are_few_moments_only_their_number_is_told() -> None:
    found = measure(ShopConfig(n_users=60, seed=6), 40, QUICK)
    assert all(set(one) == {"n"} for one in found.values())
