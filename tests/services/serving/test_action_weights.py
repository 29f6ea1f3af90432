from pathlib import Path

import numpy as np
import pytest

from flows.fold_actions import rebuild
from infra.store.engines import open_store
from infra.store.statements.action_weights import FREEZE, THAW
from models.item_ranking import Asked
from models.known import NOTHING_KNOWN
from models.live_session import EMPTY
from models.model_set import NO_MODELS, ModelSet
from models.recommend import Recommendation, Who, recommend
from models.schema import INTENTS
from models.simulator import ShopConfig, simulate
from models.weight_profile import HEURISTIC
from models.weights.contextual import applied, code_at, in_context
from services.serving.action_weights import LiveWeights
from tests.stores import append_events, connect

NOW_US = 1_700_000_000_000_000
P_INTENT = np.full(len(INTENTS), 0.25)


def test_nothing_is_moved_before_anything_was_counted(tmp_path: Path) -> None:
    assert LiveWeights().read(open_store(tmp_path).read) is None
    assert in_context(HEURISTIC, None, EMPTY.events, P_INTENT, NOW_US) is HEURISTIC


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    shop = simulate(ShopConfig(n_users=400, n_days=3, n_items=60, n_categories=4, seed=3)).events
    append_events(folder, shop)
    rebuild(folder, int(shop["occurred_at_us"].max()) + 10**10)
    return folder


def test_the_posterior_is_read_once_and_moves_a_profile(home: Path) -> None:
    live, look = LiveWeights(), open_store(home).read
    read = live.read(look)
    assert read is not None
    assert not read.is_heuristic
    assert live.read(look) is read
    mean = in_context(HEURISTIC, read, EMPTY.events, P_INTENT, NOW_US)
    code = code_at(EMPTY.events, P_INTENT, NOW_US)
    sample = applied(HEURISTIC, read.sampled[code])
    assert np.allclose(mean.base, read.mean[code])
    assert np.allclose(sample.base, read.sampled[code])
    assert not np.allclose(mean.base, HEURISTIC.base)
    assert not np.allclose(mean.base, sample.base)


def test_a_freeze_and_a_thaw_are_noticed(home: Path) -> None:
    connection, live, look = connect(home), LiveWeights(), open_store(home).read
    before = live.read(look)
    connection.execute(FREEZE, (NOW_US,))
    frozen = live.read(look)
    assert frozen is not before
    connection.execute(THAW)
    assert live.read(look) is not frozen


def test_a_posterior_of_another_schema_is_passed_over(home: Path) -> None:
    connection, live, look = connect(home), LiveWeights(), open_store(home).read
    before = live.read(look)
    ((counts,),) = connection.execute("SELECT counts FROM action_posterior").fetchall()
    connection.execute("UPDATE action_posterior SET seq = seq + 1, counts = '[[0, 99, 0, 1.0, 1.0]]'")
    assert live.read(look) is before
    connection.execute("UPDATE action_posterior SET seq = seq - 1, counts = ?", (counts,))


def test_action_weights_move_the_dynamic_variant_and_never_the_static_one(home: Path) -> None:
    read = LiveWeights().read(open_store(home).read)

    def told(user: str, models: ModelSet) -> Recommendation:
        return recommend(Asked(), EMPTY, models, NOTHING_KNOWN, Who(user, "d-1"), NOW_US)

    users = [f"u-{n}" for n in range(20)]
    for user in users:
        before, after = told(user, NO_MODELS), told(user, ModelSet(actions=read))
        moved_at_all = (before.weights != after.weights).any()
        assert moved_at_all == (after.assignment.variant == "dynamic")
        assert ("action_weights" in after.context) == moved_at_all
    assert {told(user, NO_MODELS).assignment.variant for user in users} == {"dynamic", "static"}
