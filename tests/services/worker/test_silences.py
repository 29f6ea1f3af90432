"""Silences: what is left lying causes one signal, in time, unless the visitor comes back or has bought."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from infra.settings import Settings
from infra.store.engines import open_store, open_writer
from infra.store.identities import join
from infra.store.statements.signals import PUT_POLICY
from models.engagement.silence import STEPS_S
from models.events.rules import to_row
from models.inference.next_action import Outlook
from models.model_set import ModelSet
from models.schema import NEXT_ACTIONS
from models.simulator import config as simulator
from models.simulator.simulation import simulate
from models.visitor_groups import NOBODY_NAMED
from services.serving.features import NoFeatures, OnlineSource
from services.signals.policies import PolicyBody, QuietHours, Thresholds
from services.signals.shelf import NoCatalogs
from services.worker.signals import SignalDuty
from tests.fixed_models import FixedModels
from tests.stores import connect, place, settled
from tests.waiting import PATIENCE_S

NOON_US = 1_790_000_000_000_000 // 86_400_000_000 * 86_400_000_000 + 43_200_000_000
PATIENT = PolicyBody(holdout_share=0.0, cool_down_s=0, max_per_day=1000)
SIGNALS = f"SELECT user_id, type, {place('cause_seq')}, silence_s FROM signals ORDER BY seq"
TIMERS = f"SELECT user_id, {place('cause_seq')}, (due_at_us - since_us) / 1000000 FROM silences ORDER BY user_id"


class Thinking:
    """A next-action model during whose thinking something happens; it sees nobody leave."""

    groups = NOBODY_NAMED

    def __init__(self, meanwhile: Any) -> None:
        self._meanwhile = meanwhile

    def predict_one(self, row: Any, silent_s: float = 0.0) -> dict[str, Outlook]:
        if silent_s:
            self._meanwhile()
        p = np.zeros(len(NEXT_ACTIONS))
        p[NEXT_ACTIONS.index("leave")] = float(silent_s > 0)
        return {name: Outlook(p, np.float64(0.0)) for name in ("short_term", "medium_term")}  # type: ignore[arg-type]


def allow(home: Path, policy: PolicyBody) -> None:
    connect(home).execute(PUT_POLICY, ("shop", msgspec.json.encode(policy).decode(), 1))


def put(home: Path, *events: tuple[str, str, float], offset_min: int = 0) -> None:
    """Log events of (user, type, seconds after noon), received at the last of them."""
    writer = open_writer(home, lambda: NOON_US + int(max(second for _, _, second in events) * 1e6))
    rows = []
    for n, (user, kind, second) in enumerate(events):
        ts = np.datetime64(NOON_US + int(second * 1e6), "us").item().isoformat() + "Z"
        fields = {"type": kind, "item_id": "sku", "price": 20.0, "ts": ts, "session_id": f"s-{user}"}
        rows.append(to_row({"event_id": f"{user}-{second}-{n}", **fields}, user))
    writer.append("shop", rows).result(PATIENCE_S)
    writer.close()
    settled(home)


def duty(home: Path, models: ModelSet | None = None, steps_s: Sequence[int] = STEPS_S) -> SignalDuty:
    online, champions = OnlineSource(Settings(home=home), NoFeatures()), FixedModels(models or ModelSet())
    return SignalDuty(open_store(home), champions, online, NoCatalogs(), random.Random(0), steps_s)


def at(second: float) -> int:
    return NOON_US + int(second * 1e6)


def table(home: Path, statement: str) -> list[tuple[Any, ...]]:
    return list(connect(home).execute(statement))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    allow(tmp_path, PATIENT)
    return tmp_path


def test_a_cart_left_lying_causes_one_reminder_when_it_has_lain_long_enough(home: Path) -> None:
    put(home, ("a", "item_view", 0), ("a", "add_to_cart", 1))
    worker = duty(home)
    for second in (1, 61, 300, 301, 302, 1201, 1801, 3601, 4000):
        worker.step(at(second))
        if second <= 300:
            assert table(home, SIGNALS) == []
    assert table(home, SIGNALS) == [("a", "start_workflow", 2, 300)]
    ((payload, created),) = table(home, "SELECT payload, created_at_us FROM signals")
    assert json.loads(payload) == {
        "workflow": "cart_reminder",
        "fields": {"cart_item_ids": ["sku"], "n_items": 1, "cart_value": 20.0},
        "left": "cart",
        "silent_s": 300,
    }
    assert created == at(301)
    assert table(home, TIMERS) == []


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (["checkout_view"], [("start_workflow", 300)]),
        (["spec_compare"] * 2, [("start_workflow", 1200)]),
        (["spec_compare"], []),
        (["add_to_cart", "remove_from_cart"], []),
        (["add_to_cart", "purchase"], []),
        (["add_to_cart", "purchase", "checkout_view"], []),
        (["purchase", *["spec_compare"] * 2], []),
        (["add_to_cart", "purchase", "add_to_cart"], [("start_workflow", 300)]),
        (["search_refine"] * 4, [("proactive_support", 60)]),
        (["item_view"] * 9, []),
    ],
)
def test_what_is_left_lying_and_what_is_not(home: Path, kinds: list[str], expected: list[Any]) -> None:
    thresholds = Thresholds(n_search_refines_support=4)
    allow(home, msgspec.structs.replace(PATIENT, thresholds=thresholds, max_cause_age_s=59))
    put(home, *(("a", kind, n / 10) for n, kind in enumerate(kinds)))
    worker = duty(home)
    for second in (59.95, *(step + 2 for step in STEPS_S)):
        worker.step(at(second))
    found = [(kind, silence) for _, kind, _, silence in table(home, SIGNALS) if silence]
    assert found == expected


def test_a_visitor_who_comes_back_is_not_reminded_and_may_be_later(home: Path) -> None:
    put(home, ("a", "add_to_cart", 0))
    worker = duty(home)
    worker.step(at(1))
    put(home, ("a", "item_view", 299))
    worker.step(at(301))
    assert (table(home, SIGNALS), table(home, TIMERS)) == ([], [("a", 2, 60)])
    worker.step(at(599))
    assert table(home, SIGNALS) == [("a", "start_workflow", 2, 300)]


def test_who_comes_back_while_the_worker_thinks_is_not_reminded(home: Path) -> None:
    put(home, ("a", "add_to_cart", 0), ("b", "add_to_cart", 0))

    def meanwhile() -> None:
        if len(table(home, "SELECT 1 FROM events")) < 3:
            put(home, ("a", "item_view", 300))

    thinking = Thinking(meanwhile)
    worker = duty(home, ModelSet(next_action=thinking))  # type: ignore[arg-type]
    worker.step(at(1))
    worker.step(at(300))
    assert table(home, SIGNALS) == [("b", "start_workflow", 2, 300)]


def test_who_is_erased_while_the_worker_thinks_is_forgotten(home: Path) -> None:
    put(home, ("a", "add_to_cart", 0))
    worker = duty(home, ModelSet(next_action=Thinking(lambda: connect(home).execute("DELETE FROM events"))))  # type: ignore[arg-type]
    worker.step(at(1))
    worker.step(at(300))
    assert (table(home, SIGNALS), table(home, "SELECT user_id FROM holdout")) == ([], [])


def test_a_silence_that_the_worker_slept_through_is_passed_over(home: Path) -> None:
    put(home, ("a", "add_to_cart", 0))
    put(home, ("b", "add_to_cart", 1))
    worker = duty(home)
    worker.step(at(1))
    worker.step(at(1100))  # 800 seconds after the step of 300, which is more than `max_cause_age_s`
    assert table(home, SIGNALS) == []
    worker.step(at(1200))
    assert table(home, SIGNALS) == [("a", "start_workflow", 1, 1200)]
    worker.step(at(5000))
    assert (len(table(home, SIGNALS)), table(home, TIMERS)) == (1, [])


@pytest.mark.parametrize(("second", "is_bought"), [(2, True), (-5, False)])
def test_an_order_that_the_server_tells_of_late_and_in_a_session_of_its_own_settles_the_cart(
    home: Path, second: float, is_bought: bool
) -> None:
    put(home, ("a", "add_to_cart", 0), ("a", "item_view", 3))
    worker = duty(home)
    worker.step(at(4))
    writer = open_writer(home, lambda: at(9))
    ts = np.datetime64(at(second), "us").item().isoformat() + "Z"
    order = {"event_id": "order", "type": "purchase", "item_id": "sku", "price": 20.0, "ts": ts}
    writer.append("shop", [to_row(order, "a")]).result(PATIENCE_S)
    writer.close()
    settled(home)
    for step in STEPS_S:
        worker.step(at(step + 4))
    assert (table(home, SIGNALS) == []) is is_bought


def test_old_events_set_no_timer_and_a_late_one_does_not_hide_a_newer(home: Path) -> None:
    put(home, ("old", "add_to_cart", -5000), ("a", "add_to_cart", 0))
    put(home, ("a", "item_view", -50))
    duty(home).step(at(1))
    assert table(home, TIMERS) == [("a", 2, 60)]


def test_quiet_hours_and_pauses_hold_and_a_later_step_may_be_sent(home: Path) -> None:
    allow(home, msgspec.structs.replace(PATIENT, quiet_hours=QuietHours("12:00", "12:25")))
    put(home, ("a", "add_to_cart", 0))
    worker = duty(home)
    for step in (0, *STEPS_S):
        worker.step(at(step))
    assert table(home, SIGNALS) == [("a", "start_workflow", 1, 1800)]


def test_a_pause_after_a_signal_holds_in_silence_too(home: Path) -> None:
    allow(home, msgspec.structs.replace(PATIENT, cool_down_s=1500))
    put(home, ("a", "add_to_cart", 0), *(("a", "search_refine", 0.1) for _ in range(4)), ("a", "checkout_view", 0.2))
    put(home, *(("a", "checkout_view", 0.3) for _ in range(2)))
    worker = duty(home)
    for step in (1, *(step + 1 for step in STEPS_S)):
        worker.step(at(step))
    assert [row[3] for row in table(home, SIGNALS)] == [0, 1800]  # support at the checkout, and once more


def test_the_hold_out_group_is_on_record_and_never_written_to(home: Path) -> None:
    allow(home, msgspec.structs.replace(PATIENT, holdout_share=1.0))
    put(home, ("a", "add_to_cart", 0))
    worker = duty(home)
    for step in (0, *STEPS_S):
        worker.step(at(step))
    assert table(home, SIGNALS) == []
    assert table(home, f"SELECT user_id, {place('cause_seq')}, silence_s FROM holdout") == [("a", 1, 300)]


def test_no_steps_no_timers(home: Path) -> None:
    put(home, ("a", "add_to_cart", 0))
    worker = duty(home, steps_s=())
    assert [worker.step(at(second)) for second in (0, 300)] == [1, 0]
    assert table(home, TIMERS) == []


def test_the_silence_of_an_anonymous_visitor_is_the_users(home: Path) -> None:
    put(home, ("anonymous", "add_to_cart", 0))
    worker = duty(home)
    worker.step(at(1))
    open_store(home).write(lambda transaction: join(transaction, "shop", "anonymous", "known", at(2)))
    worker.step(at(300))
    assert table(home, SIGNALS) == [("known", "start_workflow", 1, 300)]


def test_many_silences_are_taken_a_few_at_a_time(home: Path) -> None:
    put(home, *((f"u{n}", "add_to_cart", 0) for n in range(250)))
    worker = duty(home, steps_s=(300,))
    while worker.step(at(1)):
        pass
    assert [worker.step(at(300)) for _ in range(3)] == [200, 50, 0]
    assert len(table(home, SIGNALS)) == 250


# ---- a simulated shop ------------------------------------------------------------------------------------------------


def carts_left(frame: pd.DataFrame, idle_s: float) -> tuple[set[str], set[str]]:
    """Events after which a cart lay for so long, by id; and events after a purchase since which nothing was put in."""
    left: set[str] = set()
    bought: set[str] = set()
    for _, own in frame.groupby("user_id"):
        waits = np.append(np.diff(own["occurred_at_us"]) / 1e6, np.inf)
        cart: set[str] = set()
        session, has_bought = None, False
        for row, wait in zip(own.itertuples(), waits, strict=True):
            if row.session_id != session:
                session, cart, has_bought = row.session_id, set(), False
            if row.event_type == "add_to_cart":
                cart, has_bought = cart | {str(row.item_id)}, False
            elif row.event_type == "remove_from_cart":
                cart = cart - {row.item_id}
            elif row.event_type == "purchase":
                cart, has_bought = set(), True
            if cart and wait > idle_s:
                left.add(str(row.event_id))
            if has_bought and not cart:
                bought.add(str(row.event_id))
    return left, bought


@pytest.mark.parametrize("n_users", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_a_simulated_shops_carts_are_noticed_within_one_step_and_never_after_the_purchase(home: Path, n_users: int) -> None:
    allow(home, msgspec.structs.replace(PATIENT, signal_types=["start_workflow"]))
    frame = one_visit_each(simulate(simulator.ShopConfig(n_users=n_users, n_items=60, n_days=1, seed=3)).events)
    frame["event_id"] = [f"e{n}" for n in range(len(frame))]
    worker, step_us = duty(home), 60_000_000
    begin, end = int(frame["occurred_at_us"].min()), int(frame["occurred_at_us"].max()) + 4_000_000_000
    minute = (frame["occurred_at_us"].to_numpy() - begin) // step_us
    for now_minute in range((end - begin) // step_us):
        new = frame[minute == now_minute]
        now_us = begin + (now_minute + 1) * step_us
        if len(new):
            log(home, new, now_us)
        while worker.step(now_us):
            pass
    reminders = "SELECT event_id FROM signals JOIN events ON events.seq = cause_seq WHERE silence_s > 0"
    reminded = {event_id for (event_id,) in table(home, reminders)}
    left, bought = carts_left(frame, 300 + 60)
    assert len(left) >= n_users / 40
    assert len(bought) > 0
    assert len(left & reminded) >= 0.95 * len(left), f"{len(left & reminded)} of {len(left)}"
    assert not bought & reminded
    late = "SELECT max(s.created_at_us - e.occurred_at_us) FROM signals s JOIN events e ON e.seq = s.cause_seq"
    assert table(home, late)[0][0] <= (1200 + 60) * 1_000_000


def one_visit_each(events: pd.DataFrame) -> pd.DataFrame:
    """Everybody's first session, all beginning within ten minutes, in the order of time."""
    first = events.groupby("user_id")["session_id"].transform("first") == events["session_id"]
    frame = events[first]
    begin = frame.groupby("user_id")["occurred_at_us"].transform("min")
    offset = pd.factorize(frame["user_id"])[0] % 10 * 60_000_000
    moved = frame.assign(occurred_at_us=frame["occurred_at_us"] - begin + NOON_US + offset)
    return moved.sort_values("occurred_at_us", kind="stable").reset_index(drop=True)


def log(home: Path, frame: pd.DataFrame, now_us: int) -> None:
    rows = []
    one: Any
    for one in frame.itertuples():
        ts = np.datetime64(int(one.occurred_at_us), "us").item().isoformat() + "Z"
        fields = {"event_id": one.event_id, "type": one.event_type, "ts": ts, "session_id": one.session_id}
        item = {"item_id": one.item_id} if isinstance(one.item_id, str) else {}
        rows.append(to_row({**fields, **item}, one.user_id))
    writer = open_writer(home, lambda: now_us)
    writer.append("shop", rows).result(PATIENCE_S)
    writer.close()
    settled(home)
