from pathlib import Path

import pytest

from benchmarks.simulated_home import make_champions
from flows.tune import learn_profiles, tune
from flows.weigh import cause_lines, causes, freeze, inspect, sequence_lines, sequences, thaw, weight_lines
from infra import promotion, registry
from infra.store.engines import open_store
from models.schema import EVENT_TYPES
from models.simulator import Causes, ShopConfig, simulate
from services.serving.model_watch import ChampionWatcher
from services.worker.action_weights import ActionWeightDuty
from services.worker.rewards import RewardDuty
from tests.stores import append_events

SHOP = ShopConfig(n_users=150, n_days=3, n_items=80, n_categories=5)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned")
    make_champions(folder, SHOP, n_rounds=3)
    append_events(folder, simulate(SHOP).events)
    return folder


def test_a_tuned_set_is_kept_promoted_and_served(home: Path) -> None:
    found = tune(home)
    assert found["version"] == 1
    assert {"static", "heuristic"} < set(found["profiles"])
    assert registry.aliased(home, "challenger") == {"profiles": 1}
    promotion.promote(home, "profiles")
    watcher = ChampionWatcher(home)
    watcher.start()
    watcher.stop()
    served = watcher.current().profiles
    assert served is not None
    assert list(served.names) == list(found["profiles"])
    assert watcher.problems() == {}


def test_the_scheduled_tuning_leaves_a_trial_alone_and_an_empty_home_in_peace(home: Path, tmp_path: Path) -> None:
    assert learn_profiles.fn(str(tmp_path)) == {"skipped": "no intent model serves yet"}
    done = learn_profiles.fn(str(home))
    assert registry.aliased(home, "challenger") == {"profiles": done["version"]}
    RewardDuty(home, open_store(home)).step(SHOP.end_us)  # a worker that deals challengers
    assert learn_profiles.fn(str(home)) == {"skipped": f"version {done['version']} is still on trial"}


def test_tuning_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the event log is empty"):
        tune(tmp_path)
    append_events(tmp_path, simulate(ShopConfig(n_users=5, n_days=1)).events)
    with pytest.raises(ValueError, match="no intent model serves"):
        tune(tmp_path)


def test_the_weights_can_be_looked_at_frozen_and_thawed(home: Path) -> None:
    before = inspect(home)
    assert (before["seq"], before["fallback"]) == (0, True)
    with pytest.raises(ValueError, match="no actions were counted yet"):
        freeze(home)
    duty = ActionWeightDuty(open_store(home))
    while duty.step(SHOP.end_us + 10**11):
        pass
    found = inspect(home)
    assert [row["event_type"] for row in found["actions"]] == list(EVENT_TYPES)
    view = found["actions"][0]
    assert view["low"] < view["p"] < view["high"]
    assert (view["prior"], view["fallback"], found["fallback"]) == (0.2, False, False)
    assert freeze(home)["frozen"]
    assert inspect(home)["frozen"]
    assert "frozen" in weight_lines(inspect(home))[-1]
    assert not thaw(home)["frozen"]
    assert inspect(home) == found


def test_causes_are_told_apart_from_what_actions_predict_and_not_from_a_few_purchases(home: Path, tmp_path: Path) -> None:
    few = causes(home)
    assert (few["actions"], few["decay"]) == ([], None)
    assert cause_lines(few) == [f"too few purchases in {few['n_sessions']} sessions to tell what causes them"]
    eager = ShopConfig(n_users=300, n_days=3, n_items=80, n_categories=5, causes=Causes(base=-5.0))
    append_events(tmp_path, simulate(eager).events)
    found = causes(tmp_path)
    assert found["n_purchases"] >= 50
    rows = {row["event_type"]: row for row in found["actions"]}
    assert list(rows) == [name for name in EVENT_TYPES if name != "purchase"]
    assert rows["wishlist_add"]["cause"] > rows["category_browse"]["cause"]
    assert all(row["sd"] < row["se"] for row in rows.values())  # shrunk
    assert len(cause_lines(found)) == 2 + len(rows)


def test_sequences_tell_lifts_and_removal_effects(home: Path, tmp_path: Path) -> None:
    found = sequences(home)
    rows = {row["event_type"]: row for row in found["actions"]}
    assert rows["checkout_view"]["p_purchase"] > rows["item_view"]["p_purchase"]
    assert 0 < rows["checkout_view"]["removal_effect"] < 1
    assert len(sequence_lines(found)) == 4 + len(EVENT_TYPES) + len(found["pairs"])
    with pytest.raises(ValueError, match="the event log is empty"):
        sequences(tmp_path)
