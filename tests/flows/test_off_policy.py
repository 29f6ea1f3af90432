"""A change of the weights is judged by decisions in which both weights could have been dealt."""

import json
from pathlib import Path

import numpy as np
import pytest

from flows.off_policy import verdict
from infra import registry
from infra.store.statements.decisions import DECISION_COLUMNS, KEEP_SNAPSHOT
from models import weight_profile as weights
from models.bandit import arms, rewards
from models.bandit import thompson as profile_bandit
from models.bandit.off_policy import off_policy_rule
from models.experiments.assignment import INTERLEAVED
from models.weight_profile import HEURISTIC, STATIC, WeightProfile, profile
from tests.stores import connect

NOW_US = 1_700_000_000_000_000
OLD_US = NOW_US - 7_200_000_000
OTHER = profile(HEURISTIC.base, HEURISTIC.factors * 1.5)


def crowned(home: Path, *candidates: WeightProfile) -> None:
    """Versions of the weights, the first of them champion."""
    for one in candidates:
        registry.save(home, "weights", weights.to_parts(one), {})
    registry.set_champions(home, {"weights": 1}, actor="test", reason="first")


def log_decisions(
    home: Path, n: int, rates: dict[str, float], at_us: int = OLD_US, experiment: str = "e", window_s: int = 3600
) -> None:
    """The bandit deals the heuristic and the static weights evenly."""
    rng, names = np.random.default_rng(1), list(rates)
    connection = connect(home)
    now = profile_bandit.snapshot(0, rewards.outcomes([], tuple(names)))
    body = json.dumps({"snapshot": profile_bandit.as_json(now), "params": {"window_s": window_s}})
    ((version,),) = connection.execute(KEEP_SNAPSHOT, (body, 0, at_us)).fetchall()
    marks = ", ".join("?" * len(DECISION_COLUMNS))
    with connection:
        for k in range(n):
            name = names[int(rng.integers(len(names)))]
            context = json.dumps({"device": "app", "hour": 3, "intent": "research", "segment": "looker"})
            row = (
                f"d-{k}",
                "shop",
                f"u-{k // 2}",
                None,
                at_us,
                experiment,
                "dynamic",
                name,
                0.5,
                context,
                "{}",
                "[]",
                9,
                "[]",
                version,
                None,
            )
            connection.execute(f"INSERT INTO decisions ({', '.join(DECISION_COLUMNS)}) VALUES ({marks})", row)
            if rng.random() < rates[name]:
                connection.execute("INSERT INTO rewards VALUES (?, 1.0, 3.0, ?)", (f"d-{k}", at_us))


HEURISTIC_ARM, STATIC_ARM = arms.arm_id("heuristic", HEURISTIC), arms.arm_id("static", STATIC)


@pytest.mark.parametrize(
    ("rates", "n", "says", "rule"),
    [
        ((0.1, 0.3), 700, "better", "pass"),
        ((0.3, 0.1), 700, "worse", "fail"),
        ((0.3, 0.1), 60, "not enough data", "not_enough_data"),
        ((0.2, 0.21), 700, "not enough data", "not_enough_data"),
    ],
)
def test_the_verdict_follows_what_both_profiles_earned(
    tmp_path: Path, rates: tuple[float, float], n: int, says: str, rule: str
) -> None:
    crowned(tmp_path, HEURISTIC, STATIC)
    log_decisions(tmp_path, n, {HEURISTIC_ARM: rates[0], STATIC_ARM: rates[1]})
    found = verdict(tmp_path, {"weights": 2}, NOW_US)
    assert found["verdict"] == says
    assert (found["n_decisions"], found["n_visitors"]) == (n, n // 2)
    assert off_policy_rule(found).verdict == rule
    assert "u-" not in str(found)


def test_weights_that_were_never_dealt_cannot_be_judged(tmp_path: Path) -> None:
    assert verdict(tmp_path, {"weights": 1}, NOW_US)["verdict"] == "not enough data"
    crowned(tmp_path, HEURISTIC, OTHER, HEURISTIC)
    log_decisions(tmp_path, 50, {HEURISTIC_ARM: 0.1, STATIC_ARM: 0.1})
    assert verdict(tmp_path, {"weights": 2}, NOW_US)["reason"].startswith("the bandit has not dealt both")
    assert verdict(tmp_path, {"weights": 3}, NOW_US)["verdict"] == "no difference"
    assert verdict(tmp_path, {"intent": 3}, NOW_US)["verdict"] == "not enough data"


def test_decisions_whose_time_is_not_over_say_nothing_yet(tmp_path: Path) -> None:
    crowned(tmp_path, HEURISTIC, STATIC)
    log_decisions(tmp_path, 100, {HEURISTIC_ARM: 0.1, STATIC_ARM: 0.9}, at_us=NOW_US - 60_000_000)
    assert verdict(tmp_path, {"weights": 2}, NOW_US)["n_decisions"] == 0


def test_the_window_is_the_one_that_rewards_were_joined_with(tmp_path: Path) -> None:
    crowned(tmp_path, HEURISTIC, STATIC)
    log_decisions(tmp_path, 100, {HEURISTIC_ARM: 0.1, STATIC_ARM: 0.9}, window_s=86_400)
    assert verdict(tmp_path, {"weights": 2}, NOW_US)["n_decisions"] == 0
    assert verdict(tmp_path, {"weights": 2}, NOW_US + 86_400_000_000)["n_decisions"] == 100


def test_interleaved_lists_tell_nothing_of_a_profile(tmp_path: Path) -> None:
    crowned(tmp_path, HEURISTIC, STATIC)
    log_decisions(tmp_path, 100, {HEURISTIC_ARM: 0.1, STATIC_ARM: 0.9}, experiment=INTERLEAVED)
    assert verdict(tmp_path, {"weights": 2}, NOW_US)["n_decisions"] == 0
