"""A day's budget for discounts, with two workers on one home: never overspent, and spent evenly."""

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np

from infra.settings import Settings
from infra.store.engines import open_store, open_writer
from infra.store.statements.signals import PUT_POLICY
from models.engagement.pacing import allowed_cents
from models.events.rules import to_row
from models.schema import DAY_US
from services.serving.features import NoFeatures, OnlineSource
from services.signals.policies import DiscountBudget, PolicyBody, Thresholds
from services.worker.signals import SignalDuty
from tests.services.worker.test_signal_aims import Champions, TenOff
from tests.stores import connect
from tests.waiting import PATIENCE_S

MIDNIGHT_US = 1_790_000_000_000_000 // DAY_US * DAY_US
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
            writer = open_writer(tmp_path, lambda now_us=now_us: now_us)
            ts = f"{np.datetime64(now_us, 'us')}Z"
            event = {"event_id": f"e{k}", "type": "add_to_cart", "ts": ts, "item_id": "sku", "price": 40.0}
            writer.append("shop", [to_row(event, f"u{k}")]).result(PATIENCE_S)
            writer.close()
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
