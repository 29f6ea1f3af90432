"""Poisoning in small: whatever invented visitors send with a browser key, what is learned for others stays as it was."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from benchmarks import attack_poison as attack
from infra.store.engines import open_store, open_writer
from infra.store.events import read_events
from infra.store.statements.action_weights import POSTERIOR
from infra.store.statements.decisions import LOG_DECISION
from infra.store.statements.experiments import BEFORE, BOUGHT
from models.bandit import arms
from models.bandit.rewards import RewardParams
from models.bandit.thompson import EVERYWHERE
from models.events.identity import partner_key, partner_keys, pseudonym
from models.experiments.assignment import DYNAMIC_VS_STATIC
from models.model_set import NO_MODELS
from models.schema import DAY_US
from models.simulator import ShopConfig, simulate
from services.api.events import EventsHandler
from services.http.calls import Call
from services.http.idempotency import Writes
from services.http.partners import Caller
from services.serving.decision_log import Decision, as_row
from services.serving.profiles import newest_snapshot
from services.worker.action_weights import ActionWeightDuty
from services.worker.rewards import RewardDuty
from tests.stores import append_events, connect, settled

SHOP = ShopConfig(n_users=60, n_days=3, n_items=60, n_categories=4, seed=3)
NOW_US = SHOP.end_us
LATER_US = NOW_US + 3 * 3_600_000_000
ARMS = tuple(arms.arms_of(NO_MODELS).profiles)  # or what is dealt here moves nothing, whoever is believed
HOME = "203.0.113.9"


class Instance:
    """A home whose server has told of a shop, and the door of its events."""

    def __init__(self, home: Path) -> None:
        self.home = home
        append_events(home, simulate(SHOP).events, received_at_us=NOW_US)
        self._writer = open_writer(home, lambda: NOW_US)
        self._door = EventsHandler(Writes(self._writer, bytes(32)), partner_keys(bytes(32)))

    def send(self, events: Iterator[dict[str, Any]], kind: str = "pk", partner: str = "shop") -> list[str]:
        """Send events; the verdict on each."""
        told, left = [], list(events)
        for start in range(0, len(left), 500):
            body = msgspec.json.encode({"events": left[start : start + 500]})
            call = Call(Caller(partner, frozenset(), kind, 1), body, received_at_us=NOW_US, peer=HOME)
            told += [result.status for result in asyncio.run(self._door.receive(call)).body.results]
        return told

    def decide(self, users: Sequence[str], item: str, partner: str = "shop") -> list[tuple[str, str, str]]:
        """Show an item to visitors; (user, decision, item) of those who were dealt the second arm."""
        shown = []
        for n, user in enumerate(users):
            one = Decision(
                f"d-{user}", partner, pseudonym(partner_key(bytes(32), partner), user), None, NOW_US - 2_000_000,
                DYNAMIC_VS_STATIC.name, DYNAMIC_VS_STATIC.variants[n % 2], ARMS[n % 2], 0.5, {}, {}, [item], 9, [], 1,
            )  # fmt: skip
            connect(self.home).execute(LOG_DECISION, as_row(one))
            shown += [(user, f"d-{user}", item)] if n % 2 else []
        return shown

    def learned(self) -> tuple[Any, ...]:
        """What is learned for others: the bandit's shares, what experiments count, action weights, what models are fed."""
        settled(self.home)
        store = open_store(self.home)
        work(RewardDuty(self.home, store, RewardParams(window_s=3600)), ActionWeightDuty(store))
        connect(self.home).execute("DELETE FROM profile_snapshots")  # written once in a while: made anew from all there is
        work(RewardDuty(self.home, store, RewardParams(window_s=3600)))
        bandit = newest_snapshot(store.read)
        assert bandit is not None
        asked = (DYNAMIC_VS_STATIC.name, LATER_US, 7 * DAY_US)
        counted = store.read(BOUGHT, asked), store.read(BEFORE, asked), store.read("SELECT * FROM rewards")
        weights = store.read(POSTERIOR)[0][2]
        return (
            {name: tuple(row.p) for name, row in bandit.rows.items()},
            counted,
            weights,
            len(read_events(store, believed=True)),
        )

    def close(self) -> None:
        self._writer.close()


def work(*duties: Any) -> None:
    for duty in duties:
        while duty.step(LATER_US):
            pass


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    opened = Instance(tmp_path)
    yield opened
    opened.close()


@pytest.mark.parametrize("n", [1, 100])
def test_invented_visitors_move_nothing_and_the_shops_server_does(instance: Instance, n: int) -> None:
    users, item = attack.invented(n), popular(instance.home)
    shown = instance.decide([*users, "one more"], item)
    before = instance.learned()
    for sent in (
        attack.push(users, item, "ghost", NOW_US),
        attack.push(users, item, popular(instance.home, 7), NOW_US + 1),
        attack.choose_arm(shown, NOW_US),
        attack.inflate(users, item, NOW_US),
    ):
        assert set(instance.send(sent)) <= {"accepted", "duplicate"}
    assert instance.learned() == before
    instance.send(attack.choose_arm(shown, NOW_US), "sk")
    after = instance.learned()
    assert (after[0] != before[0], after[1] != before[1]) == (True, True)


def test_another_partners_server_moves_the_bandit_for_all_by_decision_12(instance: Instance) -> None:
    item = popular(instance.home)
    instance.decide([f"h{k}" for k in range(200)], item)
    theirs = instance.decide([f"r{k}" for k in range(40)], item, "rival")
    before = instance.learned()[0][EVERYWHERE][0]
    instance.send(attack.choose_arm(theirs, NOW_US), partner="rival")
    assert instance.learned()[0][EVERYWHERE][0] == before  # a browser key of theirs moves nothing
    instance.send(attack.choose_arm(theirs, NOW_US), "sk", "rival")
    assert instance.learned()[0][EVERYWHERE][0] < before


def popular(home: Path, nth: int = 0) -> str:
    seen = pd.Series([item for (item,) in connect(home).execute("SELECT item_id FROM events WHERE item_id IS NOT NULL")])
    return str(seen.value_counts().index[nth])


def test_the_servers_order_is_taken_after_a_page_took_its_id(instance: Instance) -> None:
    orders = [f"order-{n}" for n in (10_001, 10_002)]
    assert instance.send(attack.squat(orders, "a", NOW_US)) == ["accepted"] * 2
    assert instance.send(attack.squat(orders, "a", NOW_US), "sk") == ["accepted"] * 2


def test_what_a_page_says_of_a_visitor_whom_the_server_knows_does_count(instance: Instance) -> None:
    item = popular(instance.home)
    before = len(read_events(open_store(instance.home), believed=True))
    told = list(attack.push(["known"], item, popular(instance.home, 7), NOW_US))
    instance.send(iter([told[0]]), "sk")
    instance.send(iter(told))
    views = [event for event in told if event["type"] == "item_view"]  # of carts the server speaks itself
    after = read_events(open_store(instance.home), believed=True)
    assert len(after) - before == 1 + len(views)
    assert np.asarray(after["browser"])[-len(views) :].tolist() == [1] * len(views)
