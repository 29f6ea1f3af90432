"""The signal duty: one signal per cause, within caps and budget, whatever happens."""

import json
import random
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import msgspec
import numpy as np
import pytest

from infra.settings import Settings
from infra.store.embedded.store import EmbeddedStore
from infra.store.engines import open_store, open_writer
from infra.store.errors import StoreBusy, StoreUnavailable
from infra.store.statements.quarantine import QUARANTINE_EVENT
from infra.store.statements.signals import PUT_POLICY
from models.associations import model as associations
from models.events.rules import to_row
from models.inference.next_action import Outlook
from models.model_set import ModelSet
from models.schema import DAY_US, NEXT_ACTIONS
from models.visitor_groups import NOBODY_NAMED
from services.serving.features import NoFeatures, OnlineSource
from services.signals.catalog import CatalogItem, CatalogOffer
from services.signals.policies import PolicyBody, QuietHours, Thresholds
from services.signals.shelf import NoCatalogs
from services.worker.signals import SignalDuty, open_duty
from tests.builders import encoded
from tests.fixed_models import FixedModels
from tests.stores import connect, copied, embedded_only, nth, place, settled
from tests.waiting import PATIENCE_S, until

NOON_US = 1_790_000_000_000_000 // 86_400_000_000 * 86_400_000_000 + 43_200_000_000
EAGER = PolicyBody(
    thresholds=Thresholds(min_score_product=0.0, min_score_discount=0.0), holdout_share=0.0, cool_down_s=0, max_per_day=1000
)


class Leaving:
    """A next-action model that sees everybody leave without a purchase."""

    groups = NOBODY_NAMED

    def predict_one(self, row: Any, silent_s: float = 0.0) -> dict[str, Outlook]:
        p = np.zeros(len(NEXT_ACTIONS))
        p[NEXT_ACTIONS.index("leave")] = 1
        return {name: Outlook(p, np.float64(0.1)) for name in ("short_term", "medium_term")}  # type: ignore[arg-type]


class Models(FixedModels):
    """Models that never change."""

    def __init__(self, **models: Any) -> None:
        super().__init__(ModelSet(**models))


class Shop(NoCatalogs):
    """A catalogue with one offer of two euros and a budget."""

    def __init__(self, budget: float | None = None) -> None:
        self._offer = CatalogOffer("two", "Two off", None, 2.0, None, None, budget, None, (), (), None, None, True)

    def offers(self, partner: str) -> Sequence[CatalogOffer]:
        return [self._offer]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    allow(tmp_path, EAGER)
    return tmp_path


def allow(home: Path, policy: PolicyBody) -> None:
    connect(home).execute(PUT_POLICY, ("shop", msgspec.json.encode(policy).decode(), 1))


def put(home: Path, *events: tuple[str, str, int], at_us: int = NOON_US) -> None:
    """Log events of (user, type, how many seconds after `at_us`)."""
    rows = []
    for n, (user, kind, second) in enumerate(events):
        ts = np.datetime64(at_us + second * 1_000_000, "us").item().isoformat() + "Z"
        fields = {"type": kind, "item_id": "sku", "price": 20.0, "ts": ts, "session_id": f"s-{user}"}
        rows.append(to_row({"event_id": f"{user}-{second}-{n}-{at_us}", **fields}, user))
    writer = open_writer(home, lambda: at_us + max(second for _, _, second in events) * 1_000_000)
    writer.append("shop", rows).result(PATIENCE_S)
    writer.close()
    settled(home)


def duty(home: Path, catalogs: Any = None, **models: Any) -> SignalDuty:
    """A duty that looks at new events only; silences are in `test_silences.py`."""
    online = OnlineSource(Settings(home=home), NoFeatures())
    return SignalDuty(open_store(home), Models(**models), online, catalogs or NoCatalogs(), random.Random(0), ())


def leaving(home: Path, budget: float | None = None) -> SignalDuty:
    return duty(home, Shop(budget), next_action=Leaving())


def table(home: Path, statement: str) -> list[tuple[Any, ...]]:
    return list(connect(home).execute(statement))


SIGNALS = f"SELECT user_id, sequence, type, {place('cause_seq')} FROM signals ORDER BY seq"


def test_a_fresh_event_causes_one_signal_and_is_not_looked_at_again(home: Path) -> None:
    put(home, ("a", "add_to_cart", 0))
    worker = leaving(home)
    assert (worker.step(NOON_US + 1), worker.step(NOON_US + 2)) == (1, 0)
    assert table(home, SIGNALS) == [("a", 1, "offer_discount", 1)]
    ((payload, action),) = table(home, "SELECT payload, predicted_action FROM signals")
    assert json.loads(payload) == {
        "reason": "cart_at_risk",
        "offer_id": "two",
        "amount": 2.0,
        "title": "Two off",
        "cart_item_ids": ["sku"],
    }
    assert action == "leave"
    assert leaving(home).step(NOON_US + 3) == 0  # a worker that starts again goes on where the first one stood


def test_sequences_of_a_user_have_no_gap(home: Path) -> None:
    worker = leaving(home)
    for second in range(4):
        put(home, ("a", "add_to_cart", second), ("b", "add_to_cart", second))
        worker.step(NOON_US + second * 1_000_000 + 1)
    found = table(home, "SELECT user_id, sequence FROM signals ORDER BY user_id, seq")
    assert found == [(user, n) for user in "ab" for n in (1, 2, 3, 4)]


class Wavering:
    """A next-action model that sees visitors leave with the next of some probabilities."""

    groups = NOBODY_NAMED

    def __init__(self, *p_leave: float) -> None:
        self._p_leave = iter(p_leave)

    def predict_one(self, row: Any, silent_s: float = 0.0) -> dict[str, Outlook]:
        p = np.zeros(len(NEXT_ACTIONS))
        p[NEXT_ACTIONS.index("leave")] = next(self._p_leave)
        return {name: Outlook(p, np.float64(0.1)) for name in ("short_term", "medium_term")}  # type: ignore[arg-type]


def test_a_signal_goes_on_within_its_dead_band_whichever_worker_looks(home: Path) -> None:
    allow(home, msgspec.structs.replace(EAGER, signal_types=["start_workflow"]))
    wavering = Wavering(0.09, 0.11, 0.09, 0.07, 0.09)
    for second in range(5):
        put(home, ("a", "add_to_cart", second))
        duty(home, next_action=wavering).step(NOON_US + second * 1_000_000)
    assert [row[3] for row in table(home, SIGNALS)] == [2, 3]


def test_a_stale_event_causes_nothing_but_is_passed(home: Path) -> None:
    put(home, ("a", "add_to_cart", 0))
    worker = leaving(home)
    assert worker.step(NOON_US + 301_000_000) == 1
    assert table(home, SIGNALS) == []
    put(home, ("a", "add_to_cart", 302))
    worker.step(NOON_US + 303_000_000)
    assert [row[3] for row in table(home, SIGNALS)] == [2]


def test_caps_and_cool_down_hold_and_the_score_is_kept(home: Path) -> None:
    allow(home, msgspec.structs.replace(EAGER, cool_down_s=60, max_per_day=2))
    worker = leaving(home)
    for second in (0, 30, 61, 200):
        put(home, ("a", "add_to_cart", second))
        worker.step(NOON_US + second * 1_000_000)
    assert [row[3] for row in table(home, SIGNALS)] == [1, 3]
    ((score, at_us, n),) = table(home, "SELECT score, scored_at_us, n_that_day FROM signal_users")
    assert 0 < score < 1
    assert (at_us, n) == (NOON_US + 200_000_000, 2)


def test_quiet_hours_are_those_of_the_users_clock(home: Path) -> None:
    allow(home, msgspec.structs.replace(EAGER, quiet_hours=QuietHours("20:00", "08:00")))
    put(home, *((zone, "add_to_cart", 0) for zone in ("UTC", "Tokyo", "Honolulu")))
    store = connect(home)
    for zone, offset in (("Tokyo", 540), ("Honolulu", -600)):
        store.execute("UPDATE events SET utc_offset_min = ? WHERE user_id = ?", (offset, zone))
    leaving(home).step(NOON_US)
    assert [row[0] for row in table(home, SIGNALS)] == ["UTC"]  # it is 21:00 in Tokyo, 02:00 in Honolulu


def test_the_hold_out_group_gets_nothing_and_is_on_record(home: Path) -> None:
    allow(home, msgspec.structs.replace(EAGER, holdout_share=0.5))
    users = [f"u{n}" for n in range(40)]
    worker = leaving(home)
    for second in (0, 1):
        put(home, *((user, "add_to_cart", second) for user in users))
        worker.step(NOON_US + second * 1_000_000)
    sent = {row[0] for row in table(home, SIGNALS)}
    held = {user for (user,) in table(home, "SELECT user_id FROM holdout")}
    assert sent | held == set(users)
    assert sent & held == set()
    assert min(len(sent), len(held)) > 8
    assert table(home, "SELECT sum(n_signals) FROM offer_spend") == [(2 * len(sent),)]  # who is held out costs nothing


class Priced(Shop):
    """The same with a price for everything."""

    def item(self, partner: str, item_id: str) -> CatalogItem:
        return CatalogItem(item_id, "item", None, 20.0, None, None, None)


DISCOUNTED = "SELECT user_id FROM signals WHERE type = 'offer_discount' ORDER BY user_id"
SAID_BY_PAGES = "UPDATE events SET browser = 1, believed = 0"
COUNTS = "INSERT INTO trust_visitors VALUES (?, ?, 1)"


def test_strangers_draw_a_share_of_a_budget_and_only_those_who_count(home: Path) -> None:
    put(home, *((f"u{n}", "add_to_cart", 0) for n in range(10)))
    store = connect(home)
    store.execute(SAID_BY_PAGES)
    store.executemany(COUNTS, [(f"u{n}", NOON_US // DAY_US) for n in range(2, 10)])
    duty(home, Priced(budget=40.0), next_action=Leaving()).step(NOON_US + 1)
    drawn = [user for (user,) in table(home, DISCOUNTED)]
    assert len(drawn) == 5  # two euros each of a quarter of forty
    assert not {"u0", "u1"} & set(drawn)
    assert table(home, "SELECT spent_cents, strangers_cents FROM offer_spend") == [(1000, 1000)]
    put(home, ("known", "add_to_cart", 2))
    duty(home, Priced(budget=40.0), next_action=Leaving()).step(NOON_US + 3_000_000)
    assert ("known",) in table(home, DISCOUNTED)
    assert table(home, "SELECT spent_cents, strangers_cents FROM offer_spend") == [(1200, 1000)]


def test_a_stranger_gets_no_discount_on_what_only_a_page_named_a_price_of(home: Path) -> None:
    put(home, ("a", "add_to_cart", 0))
    store = connect(home)
    store.execute(SAID_BY_PAGES)
    store.execute(COUNTS, ("a", NOON_US // DAY_US))
    leaving(home).step(NOON_US + 1)
    assert table(home, DISCOUNTED) == []


class Tenth(NoCatalogs):
    """A catalogue with one offer of a tenth."""

    def offers(self, partner: str) -> Sequence[CatalogOffer]:
        return [CatalogOffer("tenth", None, 10.0, None, None, None, None, None, (), (), None, None, True)]


def test_a_price_that_a_page_told_pays_no_discount_even_for_a_visitor_of_whom_the_server_speaks(home: Path) -> None:
    put(home, ("a", "item_view", 0), ("a", "add_to_cart", 1), ("b", "add_to_cart", 1))
    connect(home).execute("UPDATE events SET browser = 1, price = 999 WHERE user_id = 'a' AND event_type = 'add_to_cart'")
    connect(home).execute("UPDATE events SET price = NULL WHERE event_type = 'item_view'")
    duty(home, Tenth(), next_action=Leaving()).step(NOON_US + 2_000_000)
    assert table(home, DISCOUNTED) == [("b",)]


def test_the_budget_is_never_overspent_by_workers_at_once(home: Path) -> None:
    put(home, *((f"u{n}", "add_to_cart", 0) for n in range(50)))
    workers = [leaving(home, budget=15.0) for _ in range(4)]

    def work(one: SignalDuty) -> None:
        while True:
            try:
                if one.step(NOON_US + 1) == 0:
                    return
            except StoreBusy:
                continue

    threads = [threading.Thread(target=work, args=(one,)) for one in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert table(home, "SELECT type, count(*) FROM signals GROUP BY type ORDER BY type") == [
        ("offer_discount", 7),
        ("start_workflow", 43),
    ]
    assert table(home, "SELECT sum(spent_cents) FROM offer_spend") == [(1400,)]


@embedded_only("the driver's trace fails at a statement")
@pytest.mark.parametrize(
    "statement", ["INSERT INTO signals", "INSERT INTO offer_spend", "INSERT INTO signal_users", "INSERT INTO cursors", "COMMIT"]
)
def test_a_step_that_fails_anywhere_leaves_nothing_and_is_done_again(home: Path, statement: str) -> None:
    put(home, ("a", "add_to_cart", 0), ("b", "add_to_cart", 0))
    store = EmbeddedStore(home)

    def trip(cursor: apsw.Cursor, text: str, bindings: Any) -> bool:
        if text.startswith(statement):
            raise apsw.FullError("disk full")
        return True

    online = OnlineSource(Settings(home=home), NoFeatures())
    worker = SignalDuty(store, Models(next_action=Leaving()), online, Shop(), random.Random(0))
    store.connection.exec_trace = trip
    with pytest.raises(StoreUnavailable):
        worker.step(NOON_US + 1)
    for name in ("signals", "offer_spend", "signal_users", "cursors"):
        assert table(home, f"SELECT count(*) FROM {name}") == [(0,)]
    store.connection.exec_trace = None
    assert worker.step(NOON_US + 1) == 2
    assert [row[:2] for row in table(home, SIGNALS)] == [("a", 1), ("b", 1)]


class Erasing(Leaving):
    """Somebody erases a user while the worker thinks."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def predict_one(self, row: Any, silent_s: float = 0.0) -> dict[str, Outlook]:
        connect(self._home).execute("DELETE FROM events WHERE user_id = 'a'")
        return super().predict_one(row, silent_s)


def test_an_event_that_is_erased_meanwhile_causes_nothing(home: Path) -> None:
    put(home, ("a", "add_to_cart", 0), ("b", "add_to_cart", 0))
    duty(home, Shop(), next_action=Erasing(home)).step(NOON_US)
    assert [row[0] for row in table(home, SIGNALS)] == ["b"]
    assert table(home, "SELECT user_id FROM signal_users") == [("b",)]


def test_products_are_those_of_the_partners_shop(home: Path) -> None:
    theirs, ours = (
        associations.build(encoded(["item_view"], [0]), np.ones(1, np.bool_), np.array([item], dtype=object))
        for item in ("t", "o")
    )
    put(home, ("a", "item_view", 0), ("a", "wishlist_add", 1))
    duty(home, associations=theirs.beside({"shop": ours})).step(NOON_US + 2)
    assert [json.loads(payload)["item_ids"] for (payload,) in table(home, "SELECT payload FROM signals")] == [["o"]]


def test_a_quarantined_event_causes_nothing(home: Path) -> None:
    put(home, ("a", "add_to_cart", 0), ("b", "add_to_cart", 0))
    connect(home).execute(QUARANTINE_EVENT, ("a test", "k", 7, nth(home, 1)))
    assert leaving(home).step(NOON_US) == 2
    assert [row[0] for row in table(home, SIGNALS)] == ["b"]


def test_a_cursor_that_was_set_back_sends_nothing_twice(home: Path) -> None:
    put(home, ("a", "add_to_cart", 0))
    leaving(home).step(NOON_US)
    connect(home).execute("DELETE FROM cursors")
    assert leaving(home).step(NOON_US + 1) == 1
    assert len(table(home, SIGNALS)) == 1


def test_opened_duty_ranks_with_what_has_happened_since_the_build_until_it_is_closed(crowned: Path, tmp_path: Path) -> None:
    home = copied(crowned, tmp_path / "home")
    before = {*threading.enumerate()}
    duty = open_duty(Settings(home=home))
    writer = open_writer(home, lambda: NOON_US)
    seen = {"event_id": "new", "user_id": "u", "type": "item_view", "item_id": "lamp", "ts": "2026-11-21T11:00:00Z"}
    writer.append("shop", [to_row(seen, "u")]).result(PATIENCE_S)
    writer.close()
    settled(home)

    def item_ids() -> list[str]:
        associations = duty.champions().associations
        return [] if associations is None else list(associations.item_ids)

    until(lambda: "lamp" in item_ids(), "it was not taken in")
    duty.close()
    assert not [thread for thread in {*threading.enumerate()} - before if thread.name == "associations"]


def test_a_clock_that_jumps_ahead_and_back_sends_nothing_twice_and_loses_nothing(home: Path) -> None:
    worker, hour_us = leaving(home), 3_600_000_000
    put(home, ("a", "add_to_cart", 0))
    worker.step(NOON_US + 1)
    assert worker.step(NOON_US + 30 * hour_us) == 0  # ahead, with nothing new
    put(home, ("b", "add_to_cart", 10))
    worker.step(NOON_US + 10_000_001)  # back
    put(home, ("c", "add_to_cart", 20))
    worker.step(NOON_US - 2 * hour_us)  # behind the events
    found = table(home, "SELECT user_id, sequence FROM signals ORDER BY seq")
    assert found == [("a", 1), ("b", 1), ("c", 1)]
    worker.step(NOON_US + 30 * hour_us)
    assert table(home, "SELECT count(*) FROM signals") == [(3,)]
    ((spent,),) = table(home, "SELECT sum(spent_cents) FROM offer_spend")
    assert spent == 3 * 200
