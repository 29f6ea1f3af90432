"""A day's budget for discounts, with two workers on one home, too: never overspent, spent evenly, on whom it is worth most."""

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from infra import aims
from infra.settings import Settings
from infra.store.engines import open_store, open_writer
from infra.store.statements.signals import PUT_POLICY
from models.engagement.pacing import allowed_cents
from models.events.rules import to_row
from models.experiments.targeting import Targeting, dealt, targeting
from models.schema import AIM_FEATURES, DAY_US
from services.serving.features import NoFeatures, OnlineSource
from services.signals.policies import DiscountBudget, PolicyBody, Thresholds, to_policy
from services.signals.rehearsal import rehearse
from services.worker.signals import SignalDuty
from tests.services.worker.test_signal_aims import Champions, Shop, TenOff
from tests.stores import connect, settled
from tests.waiting import PATIENCE_S

MIDNIGHT_US = 1_790_000_000_000_000 // DAY_US * DAY_US
HOUR_US = DAY_US // 24
BUDGET_CENTS = 80_000
N_VISITORS = 400  # a discount of ten for each would be five times the budget
POLICY = PolicyBody(
    thresholds=Thresholds(min_score_discount=0.0), holdout_share=0.0, signal_types=["offer_discount"],
    discount_budget=DiscountBudget(per_day=BUDGET_CENTS / 100),
)  # fmt: skip


def workers(home: Path) -> list[SignalDuty]:
    online = OnlineSource(Settings(home=home), NoFeatures())
    return [SignalDuty(open_store(home), Champions(), online, TenOff(), random.Random(k), ()) for k in range(2)]


def test_two_workers_spend_a_days_budget_evenly_and_never_more_than_it(tmp_path: Path) -> None:
    connect(tmp_path).execute(PUT_POLICY, ("shop", msgspec.json.encode(POLICY).decode(), 1))
    duties, by_hour, before = workers(tmp_path), np.zeros(24), 0
    at = np.sort(np.random.default_rng(5).integers(0, DAY_US - 10_000_000, N_VISITORS)).tolist()
    with ThreadPoolExecutor(len(duties)) as pool:
        for k, after_us in enumerate(at):
            now_us = MIDNIGHT_US + after_us
            writer = open_writer(tmp_path, partial(int, now_us))
            ts = f"{np.datetime64(now_us, 'us')}Z"
            event = {"event_id": f"e{k}", "type": "add_to_cart", "ts": ts, "item_id": "sku", "price": 40.0}
            writer.append("shop", [to_row(event, f"u{k}")]).result(PATIENCE_S)
            writer.close()
            settled(tmp_path)
            list(pool.map(lambda duty, now_us=now_us: duty.step(now_us + 1), duties))
            ((spent,),) = connect(tmp_path).execute("SELECT coalesce(sum(spent_cents), 0) FROM offer_spend").fetchall()
            assert spent <= allowed_cents(BUDGET_CENTS, now_us + 1)
            by_hour[after_us * 24 // DAY_US] += spent - before
            before = spent
    assert 0.95 * BUDGET_CENTS <= before <= BUDGET_CENTS
    parts = by_hour.reshape(8, 3).sum(axis=1)
    assert np.abs(parts / parts.mean() - 1).max() <= 0.2, parts
    (n,) = connect(tmp_path).execute("SELECT count(*) FROM signals").fetchone()
    assert n * 1_000 == before, "each discount that was sent is promised once"


def taught(searchers_earn: float, others_earn: float) -> Targeting:
    """What was learned from visitors whom a discount makes bring so much more."""
    rng, features = np.random.default_rng(1), np.zeros((3_000, len(AIM_FEATURES)), np.float32)
    features[::2, AIM_FEATURES.index("n_search")] = 3
    sent = rng.random(len(features)) < 0.6
    earns = np.where(features[:, AIM_FEATURES.index("n_search")] > 0, searchers_earn, others_earn)
    return targeting(dealt(features, sent * earns + rng.normal(0, 1, len(sent)), sent, 0.6))


def test_a_budget_that_binds_goes_to_whom_it_is_worth_more(tmp_path: Path) -> None:
    """Every other visitor has searched, and is worth four times as much to a budget of 20 discounts for 120 visitors a day."""
    budget_cents = 20_000
    policy = msgspec.structs.replace(POLICY, discount_budget=DiscountBudget(per_day=budget_cents / 100))
    shop = Shop(tmp_path, policy)
    with closing(open_store(tmp_path)) as store:
        store.write(lambda to: aims.keep(to, "shop", "offer_discount", taught(20.0, 5.0), 1))
    for k in range(240):
        shop.at_us = MIDNIGHT_US + DAY_US + k * (DAY_US // 120)
        shop.visits([f"u{k}"])
    sent = [int(user[1:]) for user in shop.sent()]
    by_day = [[k for k in sent if k // 120 == day] for day in range(2)]
    assert all(18 <= len(day) <= 20 for day in by_day)
    assert np.mean([k % 2 == 0 for k in by_day[1]]) > 0.8  # the price is learned on the first
    told = "SELECT count(DISTINCT worth), min(cents), max(cents) FROM discount_bids"
    assert connect(tmp_path).execute(told).fetchall() == [(2, 1_000, 1_000)]
    said = rehearse(
        open_store(tmp_path).read, to_policy(policy), "shop", Champions().current(), lambda _: None, TenOff(),
        shop.at_us + HOUR_US, days=2, steps_s=(),
    ).signals["offer_discount"]  # fmt: skip
    assert abs(said.count - len(sent)) <= 2  # it decides at each event, the worker two minutes later
    assert said.cost == 10.0 * said.count <= 2 * budget_cents / 100
