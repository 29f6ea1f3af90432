"""The closed loop in small: who decides is the code that serves, and what was learned changes what a shop earns."""

import pytest

from benchmarks.closed_loop import fitted, judged, learned
from models.experiments.targeting import NOBODY, Targeting
from models.inference.next_action import NextActionParams
from models.learners.trees import BoostParams
from models.model_set import ModelSet
from models.simulator import ShopConfig

QUICK = NextActionParams(BoostParams(n_rounds=6, n_leaves=6), BoostParams(n_rounds=6, n_leaves=6))
STOPPED = Targeting(NOBODY, "send it to nobody", None, {}, {}, [], None)


@pytest.fixture(scope="module")
def models() -> ModelSet:
    return fitted(ShopConfig(n_users=800, seed=1), QUICK, least_rows=5)


def test_signals_that_cost_more_than_they_earn_are_left_out_and_the_next_rule_is_asked(models: ModelSet) -> None:
    """Discounts of a tenth of a price, of which a third is kept: most are wasted, and a reminder does better."""
    found = judged(models, ShopConfig(n_users=600, seed=2), {"offer_discount": STOPPED}, n_times=20)
    rules, chosen = found["signals"]["rules"], found["signals"]["learned"]
    assert rules["offer_discount"] > 20
    assert "offer_discount" not in chosen
    assert chosen["start_workflow"] > rules.get("start_workflow", 0)
    assert found["learned_above_rules"]["mean"] > 0
    assert found["above_none"]["learned"]["mean"] > 0


def test_what_is_learned_comes_from_hold_outs_of_the_rules(models: ModelSet) -> None:
    found = learned(models, ShopConfig(n_users=2_500, seed=3))
    assert {"offer_discount"} <= set(found) <= {"offer_discount", "proactive_support", "start_workflow"}
    assert found["offer_discount"].verdict in ("not enough data", "nobody")
    assert " sent, " in found["offer_discount"].sentence or "money per user" in found["offer_discount"].sentence


def test_the_rules_alone_earn_what_they_earn_twice(models: ModelSet) -> None:
    """Without anything learned both sides are sent the same signals at the same moments."""
    found = judged(models, ShopConfig(n_users=150, seed=4), {}, n_times=5)
    assert found["signals"]["rules"] == found["signals"]["learned"]
