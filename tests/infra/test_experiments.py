"""Life of an experiment: started, stopped, shipped; and what its runs deal."""

from pathlib import Path

import pytest

from infra import experiments
from infra.store.engines import open_store
from models.experiments.assignment import DYNAMIC_VS_STATIC
from models.experiments.runs import FIRST, RUNNING, SHIPPED, STOPPED, Run

WHY = {"actor": "ada", "reason": "because"}


def now(home: Path) -> Run:
    return experiments.runs(open_store(home).read)[0]


def test_without_a_word_the_first_run_goes_on(tmp_path: Path) -> None:
    assert now(tmp_path) == FIRST
    assert FIRST.experiment == DYNAMIC_VS_STATIC


def test_a_life_from_start_to_ship(tmp_path: Path) -> None:
    assert experiments.start(tmp_path, 0.9, **WHY) == Run(2, 0.9)
    assert [run.state for run in experiments.runs(open_store(tmp_path).read)] == [RUNNING, STOPPED]
    assert experiments.stop(tmp_path, **WHY).state == STOPPED
    with pytest.raises(ValueError, match="attune experiment start"):
        experiments.stop(tmp_path, **WHY)
    assert experiments.ship(tmp_path, "dynamic", **WHY) == Run(2, 0.9, SHIPPED, "dynamic")
    with pytest.raises(ValueError, match="shipped already"):
        experiments.ship(tmp_path, "dynamic", **WHY)
    with pytest.raises(ValueError, match="one of dynamic, static"):
        experiments.ship(tmp_path, "third", **WHY)
    assert now(tmp_path).winner == "dynamic"
    assert experiments.start(tmp_path, 0.5, **WHY).number == 3


def test_a_run_deals_by_its_split_and_anew() -> None:
    users = [f"u-{k}" for k in range(4_000)]
    dealt = [Run(2, 0.9).variant_of(user) for user in users]
    assert 0.88 < dealt.count("dynamic") / len(users) < 0.92
    assert 0.4 < sum(Run(2).variant_of(u) == Run(3).variant_of(u) for u in users) / len(users) < 0.6


@pytest.mark.parametrize("wrong", [(1, 0.0), (1, 1.0), (1, 0.5, SHIPPED), (1, 0.5, RUNNING, "static"), (1, 0.5, "x")])
def test_what_does_not_fit_together_is_refused(wrong: tuple) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match=r"."):
        Run(*wrong)
