"""What a shop's segments add: something where they matter, nothing and no loss where they are names alone."""

from benchmarks.groups import measure, shop
from models.inference.next_action import NextActionParams
from models.learners.trees import BoostParams

QUICK = NextActionParams(BoostParams(n_rounds=4, n_leaves=4), BoostParams(n_rounds=20, n_leaves=8))


def test_segments_that_matter_improve_what_is_said_of_a_purchase() -> None:
    found = measure(shop(2_500, 5, True), QUICK)
    assert set(found["segments_told_apart"]["segment"]) == {"members", "guests", "trade"}
    assert found["next_action"]["low"] > 0
    assert found["engagement"]["low"] > 0


def test_segments_that_are_names_alone_cost_nothing() -> None:
    found = measure(shop(2_500, 6, False), QUICK)
    for name in ("next_action", "engagement", "action_weights"):
        assert found[name]["high"] > 0, "no sure loss"
        assert abs(found[name]["mean"]) < 0.01
