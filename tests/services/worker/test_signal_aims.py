"""Discounts go to those whom they are worth: from the worker's decisions over the retraining's verdict to its decisions."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from flows.aim import bring_up
from infra import aims
from infra.settings import Settings
from infra.store.engines import open_store, open_writer
from infra.store.statements.signals import PUT_POLICY
from models.events.rules import to_row
from models.experiments.uplift import UpliftParams
from models.inference.next_action import Outlook
from models.model_set import ModelSet
from models.schema import AIM_FEATURES, DAY_US, NEXT_ACTIONS
from models.visitor_groups import NOBODY_NAMED
from services.serving.features import NoFeatures, OnlineSource
from services.signals import uplift
from services.signals.catalog import CatalogOffer
from services.signals.policies import PolicyBody, SignalCosts, Thresholds, to_policy
from services.signals.rehearsal import rehearse
from services.signals.shelf import NoCatalogs
from services.worker.signals import SignalDuty
from tests.fixed_models import FixedModels
from tests.stores import connect, settled
from tests.waiting import PATIENCE_S

NOON_US = 1_790_000_000_000_000 // DAY_US * DAY_US + DAY_US // 2
MINUTE_US = 60_000_000
POLICY = PolicyBody(thresholds=Thresholds(min_score_discount=0.0), holdout_share=0.4, signal_types=["offer_discount"])
N_VISITORS = 1_500


class Leaving:
    """A next-action model that sees everybody leave without a purchase."""

    groups = NOBODY_NAMED

    def predict_one(self, row: Any, silent_s: float = 0.0) -> dict[str, Outlook]:
        told = self.predict(row[None, :])
        return {name: Outlook(one.p_action[0], one.p_purchase[0]) for name, one in told.items()}

    def predict(self, rows: Any, silent_s: Any = None) -> dict[str, Outlook]:
        p = np.zeros((len(rows), len(NEXT_ACTIONS)))
        p[:, NEXT_ACTIONS.index("leave")] = 1
        return {name: Outlook(p, np.full(len(rows), 0.1)) for name in ("short_term", "medium_term")}


class Champions(FixedModels):
    """Models by which every visitor leaves."""

    def __init__(self) -> None:
        super().__init__(ModelSet(next_action=Leaving()))  # type: ignore[arg-type]


class TenOff(NoCatalogs):
    """A catalogue with one offer."""

    def offers(self, partner: str) -> list[CatalogOffer]:
        return [CatalogOffer("ten", "Ten off", None, 10.0, None, None, None, None, (), (), None, None, True)]


class Shop:
    """A shop with a log, a worker, and visitors who either search for what they put into the cart or look around."""

    def __init__(self, home: Path, policy: PolicyBody = POLICY, by_segment: bool = False) -> None:
        self.home = home
        self.by_segment = by_segment  # the same is told by a segment, and all do the same
        self.at_us = NOON_US
        connect(home).execute(PUT_POLICY, ("shop", msgspec.json.encode(policy).decode(), 1))
        online = OnlineSource(Settings(home=home), NoFeatures())
        self.duty = SignalDuty(open_store(home), Champions(), online, TenOff(), random.Random(0), ())

    def append(self, events: list[tuple[str, str, int]]) -> None:
        """Log events of (user, type, microseconds behind `at_us`)."""
        rows = []
        for n, (user, kind, after_us) in enumerate(events):
            ts = f"{np.datetime64(self.at_us + after_us, 'us')}Z"
            about = {} if kind == "search" else {"item_id": "sku", "price": 40.0}
            event = {"event_id": f"{user}-{kind}-{n}", "session_id": user, "type": kind, "ts": ts}
            rows.append(to_row(event | about, user))
        writer = open_writer(self.home, lambda: self.at_us + MINUTE_US)
        writer.append("shop", rows).result(PATIENCE_S)
        writer.close()
        settled(self.home)

    def visits(self, users: list[str]) -> None:
        """Let visitors come with a full cart, those with an even number by searching, and the worker decide."""
        steps = {user: "search" if int(user[1:]) % 2 == 0 and not self.by_segment else "item_view" for user in users}
        before = [(user, step, k) for user, step in steps.items() for k in range(3)]
        self.append([*before, *((user, "add_to_cart", 3) for user in users)])
        if self.by_segment:
            even = "CASE WHEN CAST(substr(user_id, 2) AS BIGINT) % 2 = 0 THEN 'members' ELSE 'guests' END"
            connect(self.home).execute(f"UPDATE events SET segment = {even} WHERE segment IS NULL")
        while self.duty.step(self.at_us + 2 * MINUTE_US):
            pass

    def arms(self) -> dict[str, str]:
        return dict(connect(self.home).execute("SELECT user_id, arm FROM signal_deals"))

    def sent(self) -> set[str]:
        return {user for (user,) in connect(self.home).execute("SELECT user_id FROM signals")}


def served_after(
    home: Path, p_buys: dict[tuple[bool, bool], float], by_segment: bool = False
) -> tuple[Shop, str, Counter[tuple[bool, str]]]:
    """Shop, verdict, and arms of later visitors by whether they search; visitors buy with `p_buys` of (searches, sent)."""
    rng = np.random.default_rng(3)
    shop = Shop(home, by_segment=by_segment)
    shop.visits([f"u{k}" for k in range(N_VISITORS)])
    bought = [
        (user, "purchase", 10 * MINUTE_US)
        for user, arm in sorted(shop.arms().items())
        if rng.random() < p_buys[int(user[1:]) % 2 == 0, arm == "sent"]
    ]
    shop.append(bought)
    shop.at_us += aims.WINDOW_US + DAY_US
    while shop.duty.step(shop.at_us):
        pass
    verdicts = bring_up(home, shop.at_us)
    later = [f"u{k}" for k in range(N_VISITORS, N_VISITORS + 200)]
    shop.visits(later)
    arms = shop.arms()
    return shop, verdicts["shop/offer_discount"], Counter((int(user[1:]) % 2 == 0, arms[user]) for user in later)


def test_discounts_go_to_those_whom_they_make_buy_and_to_nobody_else(tmp_path: Path) -> None:
    """Searchers buy for a discount alone; the others buy anyway, and each of them would cost ten."""
    p_buys = {(True, True): 0.7, (True, False): 0.1, (False, True): 0.6, (False, False): 0.6}
    shop, verdict, arms = served_after(tmp_path, p_buys)
    assert verdict == "targeted"
    assert arms[True, "sent"] >= 0.9 * (arms[True, "sent"] + arms[True, "passed"])
    assert arms[False, "sent"] <= 0.15 * (arms[False, "sent"] + arms[False, "passed"])
    assert arms[True, "held"] > 0
    assert arms[False, "held"] > 0
    assert shop.sent() == {user for user, arm in shop.arms().items() if arm == "sent"}
    said = rehearse(
        open_store(tmp_path).read, to_policy(POLICY), "shop", Champions().current(), lambda _: None, TenOff(),
        shop.at_us + 2 * MINUTE_US, days=1, steps_s=(),
    ).signals["offer_discount"]  # fmt: skip
    assert said.visitors == arms[True, "sent"] + arms[False, "sent"]  # a dry run says what the worker then does
    held = [user for (user,) in connect(tmp_path).execute("SELECT user_id FROM holdout") if int(user[1:]) >= N_VISITORS]
    assert said.held_out == len(held) > 0
    (told,) = uplift.of_home(tmp_path, "shop", 0, UpliftParams())
    assert told["discounts"]["verdict"] == "targeted"
    # A searcher is worth 0.7 * 30 - 0.1 * 40 = 17 more, the others 0.6 * 10 = 6 less; there are as many of each.
    assert told["discounts"]["value"]["targeted"] == pytest.approx(8.5, abs=2)
    assert told["discounts"]["value"]["everybody"] == pytest.approx(5.5, abs=2)


def test_discounts_go_to_the_segment_that_they_make_buy_and_to_no_other(tmp_path: Path) -> None:
    """All visitors do the same; members buy for a discount alone, guests anyway."""
    p_buys = {(True, True): 0.7, (True, False): 0.1, (False, True): 0.6, (False, False): 0.6}
    shop, verdict, arms = served_after(tmp_path, p_buys, by_segment=True)
    assert verdict == "targeted"
    assert arms[True, "sent"] >= 0.9 * (arms[True, "sent"] + arms[True, "passed"])
    assert arms[False, "sent"] <= 0.15 * (arms[False, "sent"] + arms[False, "passed"])
    said = rehearse(
        open_store(tmp_path).read, to_policy(POLICY), "shop", Champions().current(), lambda _: None, TenOff(),
        shop.at_us + 2 * MINUTE_US, days=1, steps_s=(),
    ).signals["offer_discount"]  # fmt: skip
    assert said.visitors == arms[True, "sent"] + arms[False, "sent"]
    (told,) = uplift.of_home(tmp_path, "shop", 0, UpliftParams())
    assert "members" not in str(told["aims"])


def test_where_they_only_waste_money_nobody_is_sent_one_any_more(tmp_path: Path) -> None:
    p_buys = {(True, True): 0.6, (True, False): 0.6, (False, True): 0.6, (False, False): 0.6}
    _, verdict, arms = served_after(tmp_path, p_buys)
    assert verdict == "nobody"
    assert arms[True, "sent"] == arms[False, "sent"] == 0
    (told,) = uplift.of_home(tmp_path, "shop", 0, UpliftParams())
    assert "send it to nobody: it costs more than it earns" in uplift.text(told)


def test_until_something_is_known_the_rules_decide(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.visits([f"u{k}" for k in range(60)])
    assert bring_up(tmp_path, shop.at_us + 30 * DAY_US) == {"shop/offer_discount": "not enough data"}
    shop.visits([f"u{k}" for k in range(60, 120)])
    assert set(shop.arms().values()) == {"sent", "held"}
    kept = connect(tmp_path).execute("SELECT DISTINCT p_sent, p_held, length(features) FROM signal_deals").fetchall()
    assert kept == [(0.6, 0.4, 4 * len(AIM_FEATURES))]


def test_what_is_earned_counts_at_the_margin_of_the_policy_and_less_its_cost(tmp_path: Path) -> None:
    costly = msgspec.structs.replace(POLICY, margin_share=0.25, signal_costs=SignalCosts(offer_discount=0.5))
    shop = Shop(tmp_path, costly)
    shop.visits([f"u{k}" for k in range(20)])
    shop.append([(f"u{k}", "purchase", 10 * MINUTE_US) for k in range(20)])
    trial = aims.trial_of(open_store(tmp_path).read, "shop", "offer_discount", shop.at_us + 8 * DAY_US)
    assert {*trial.money[trial.held].tolist()} == {10.0}
    assert {*trial.money[trial.sent].tolist()} == {10.0 - 10.0 - 0.5}
    assert len(aims.trial_of(open_store(tmp_path).read, "shop", "offer_discount", shop.at_us + DAY_US).money) == 0
