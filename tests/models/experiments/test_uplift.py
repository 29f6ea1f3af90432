"""The uplift readout: true effects are found, wasted discounts are called what they are."""

from typing import Any

import numpy as np
import pytest

from models.experiments.uplift import CONVERSION, NO_UPLIFT, REVENUE, UPLIFT, Money, UpliftParams, Users, by_group, readout
from models.schema import SIGNAL_TYPES
from models.simulator.config import ShopConfig
from models.simulator.simulation import simulate
from models.statistics.verdict import NOT_ENOUGH

DISCOUNT = SIGNAL_TYPES.index("offer_discount")
ALWAYS = tuple(float(name == "offer_discount") for name in SIGNAL_TYPES)
NEVER = tuple(float(name == "no_action") for name in SIGNAL_TYPES)
UNDECIDED = (0.1, 0.7, 0.1, 0.1)  # intents of a shop most of whose visitors compare, whom a discount moves
NOTHING = Money(np.zeros(0, dtype=np.int64), np.zeros(0))


def group(n_users: int, seed: int, p_signals: tuple[float, ...], *, helps: bool) -> tuple[int, Money]:
    """Users of a shop who reached the moment of a signal, and what they paid from then on."""
    config = ShopConfig(
        n_users=n_users, n_days=3, n_items=100, n_categories=5, seed=seed, p_intent=UNDECIDED,
        p_signals=p_signals, discount_has_effect=helps,
    )  # fmt: skip
    events = simulate(config).events
    place = events.groupby("session_id").cumcount()
    reached = events[place == config.signal_after_events - 1]  # the event after which the shop decides
    first_us = reached.groupby("user_id")["occurred_at_us"].min()
    since_us = events["user_id"].map(first_us)
    bought = events[(events["event_type"] == "purchase") & (events["occurred_at_us"] > since_us)]
    code = {user: n for n, user in enumerate(first_us.index)}
    return len(first_us), Money(bought["user_id"].map(code).to_numpy(np.int64), bought["price"].to_numpy())


def closed_loop(*, helps: bool, n_users: int = 4_500, costs: float = 0.1) -> dict[str, Any]:
    """A shop sends everybody a discount, but for a third who are held out."""
    n_sent, sent = group(2 * n_users // 3, 1, ALWAYS, helps=helps)
    n_held, held = group(n_users // 3, 2, NEVER, helps=helps)
    users = Users(np.arange(n_sent + n_held) >= n_sent, np.full(n_sent + n_held, DISCOUNT))
    paid = Money(np.append(sent.user, held.user + n_sent), np.append(sent.amount, held.amount))
    return readout(users, paid, Money(sent.user, costs * sent.amount), n_held / (n_sent + n_held))


def test_discounts_that_only_waste_money_are_reported_as_no_uplift() -> None:
    found = closed_loop(helps=False)
    assert found["verdict"] == NO_UPLIFT
    assert found["measures"][CONVERSION]["difference"]["low"] < 0 < found["measures"][CONVERSION]["difference"]["high"]
    assert found["measures"][REVENUE]["difference"]["low"] < 0
    assert set(found["by_signal"]) == {"offer_discount"}


def test_discounts_that_help_are_found() -> None:
    found = closed_loop(helps=True)
    assert found["verdict"] == UPLIFT
    assert found["measures"][CONVERSION]["difference"]["low"] > 0


def flat(n_sent: int, n_held: int, p_sent: float, p_held: float, price: float, cost: float, seed: int = 0) -> dict[str, Any]:
    """Everybody who buys pays the same price."""
    rng = np.random.default_rng(seed)
    held_out = np.arange(n_sent + n_held) >= n_sent
    buyers = np.flatnonzero(rng.random(len(held_out)) < np.where(held_out, p_held, p_sent))
    promised = np.arange(n_sent)
    users = Users(held_out, np.full(len(held_out), DISCOUNT))
    money = Money(promised, np.full(n_sent, cost))
    return readout(users, Money(buyers, np.full(len(buyers), price)), money, n_held / len(held_out))


def test_more_buyers_at_a_loss_are_no_uplift() -> None:
    found = flat(20_000, 20_000, 0.12, 0.10, price=10.0, cost=4.0)
    assert found["measures"][CONVERSION]["difference"]["low"] > 0
    assert found["verdict"] == NO_UPLIFT
    assert "surely costs money" in found["sentence"]


def test_a_discount_that_nobody_used_cost_nothing() -> None:
    held_out = np.array([False, False, True, True])
    users, few = Users(held_out, np.ones(4, dtype=np.int64)), UpliftParams(min_users=2, min_conversions=1)
    paid, promised = Money(np.array([0, 2]), np.array([10.0, 10.0])), Money(np.array([0, 1]), np.array([3.0, 3.0]))
    found = readout(users, paid, promised, 0.5, few)
    assert found["measures"][REVENUE]["sent"] == pytest.approx((10 - 3 + 0) / 2)


def test_where_nothing_differs_uplift_is_hardly_ever_said() -> None:
    said = [flat(2_000, 1_000, 0.1, 0.1, 10.0, 0.0, seed)["verdict"] for seed in range(40)]
    assert said.count(UPLIFT) <= 2  # 40 * alpha / 2 is one; a confidence sequence errs less at one look


def test_groups_of_the_wrong_size_say_nothing() -> None:
    held_out = np.arange(4_000) < 600
    found = readout(Users(held_out, np.ones(4_000, dtype=np.int64)), NOTHING, NOTHING, 0.05)
    assert found["verdict"] == "withheld: sample ratio 15.0% held out"


@pytest.mark.parametrize(("n_sent", "n_held"), [(0, 0), (500, 3), (30, 30)])
def test_too_few_users_say_nothing(n_sent: int, n_held: int) -> None:
    held_out = np.arange(n_sent + n_held) >= n_sent
    share = n_held / max(n_sent + n_held, 1)
    assert readout(Users(held_out, np.ones(len(held_out), dtype=np.int64)), NOTHING, NOTHING, share)["verdict"] == NOT_ENOUGH


def test_groups_are_told_if_they_are_large_enough_and_share_the_error():
    rng = np.random.default_rng(0)
    names = ["new"] * 400 + ["loyal"] * 400 + ["staff"] * 7 + [f"only-{k}" for k in range(30)]
    held = rng.random(len(names)) < 0.5
    p = np.where(held, 0.1, np.where(np.array(names) == "new", 0.6, 0.1))
    bought = np.flatnonzero(rng.random(len(names)) < p)
    users, nobody = Users(held, np.ones(len(names), np.int64)), Money(np.zeros(0, np.int64), np.zeros(0))
    paid = Money(bought, np.full(len(bought), 10.0))
    found = by_group(users, paid, nobody, names, UpliftParams())
    assert {name: one["users"] for name, one in found.items()} == {"new": 400, "loyal": 400}  # 37 others are too few to pool
    new, loyal = (found[name]["measures"]["conversion"]["difference"] for name in ("new", "loyal"))
    assert new["low"] > 0 > loyal["low"]
    alone = by_group(users, paid, nobody, ["new" if name == "new" else None for name in names], UpliftParams())
    assert alone["new"]["measures"]["conversion"]["difference"]["low"] > new["low"]  # two looks cost something
