from pathlib import Path

import numpy as np
import pytest
from services.answering import answers

from flows.fold_actions import rebuild
from infra.store.connection import connect
from infra.store.events import append_events
from infra.store.statements.action_weights import FREEZE, THAW
from models.model_set import ModelSet
from models.schema import INTENTS
from models.simulator import ShopConfig, simulate
from models.weight_profile import HEURISTIC
from models.weights import actions as aw
from services.api import wire
from services.api.session_data import EMPTY
from services.serving.action_weights import LiveWeights, moved

NOW_US = 1_700_000_000_000_000
P_INTENT = np.full(len(INTENTS), 0.25)


def test_nothing_is_moved_before_anything_was_counted(tmp_path: Path) -> None:
    assert LiveWeights().read(connect(tmp_path)) is None
    assert moved(HEURISTIC, None, EMPTY.events, P_INTENT, NOW_US) is HEURISTIC


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    shop = simulate(ShopConfig(n_users=400, n_days=3, n_items=60, n_categories=4, seed=3)).events
    append_events(connect(folder), shop, "shop", 0)
    rebuild(folder, int(shop["occurred_at_us"].max()) + 10**10)
    return folder


def test_the_posterior_is_read_once_and_moves_a_profile(home: Path) -> None:
    connection, live = connect(home), LiveWeights()
    read = live.read(connection)
    assert read is not None
    assert not read.is_heuristic
    assert live.read(connection) is read
    mean = moved(HEURISTIC, read, EMPTY.events, P_INTENT, NOW_US)
    sample = moved(HEURISTIC, read, EMPTY.events, P_INTENT, NOW_US, sampled=True)
    code = aw.code_at(EMPTY.events, P_INTENT, NOW_US)
    assert np.allclose(mean.base, read.mean[code])
    assert np.allclose(sample.base, read.sampled[code])
    assert not np.allclose(mean.base, HEURISTIC.base)
    assert not np.allclose(mean.base, sample.base)


def test_a_freeze_and_a_thaw_are_noticed(home: Path) -> None:
    connection, live = connect(home), LiveWeights()
    before = live.read(connection)
    connection.execute(FREEZE, (NOW_US,))
    frozen = live.read(connection)
    assert frozen is not before
    connection.execute(THAW)
    assert live.read(connection) is not frozen


def test_a_posterior_of_another_schema_is_passed_over(home: Path) -> None:
    connection, live = connect(home), LiveWeights()
    before = live.read(connection)
    connection.execute("BEGIN")
    connection.execute("UPDATE action_posterior SET seq = seq + 1, counts = '[[0, 99, 0, 1.0, 1.0]]'")
    assert live.read(connection) is before
    connection.execute("ROLLBACK")


def test_action_weights_move_the_dynamic_variant_and_never_the_static_one(home: Path) -> None:
    read = LiveWeights().read(connect(home))
    request = wire.RecommendationRequest(user_id="u")

    def told(user: str, champions: ModelSet) -> answers.Recommended:
        return answers.recommend(request, EMPTY, champions, answers.Known(), "d-1", user, NOW_US)

    users = [f"u-{n}" for n in range(20)]
    for user in users:
        before, after = told(user, ModelSet()), told(user, ModelSet(actions=read))
        moved_at_all = before.reply.weights != after.reply.weights
        assert moved_at_all == (after.reply.experiment.variant == "dynamic")
        assert ("action_weights" in after.context) == moved_at_all
    assert {told(user, ModelSet()).reply.experiment.variant for user in users} == {"dynamic", "static"}
