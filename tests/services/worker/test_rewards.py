"""What was shown and then wanted is credited once, to one decision; the bandit learns from decisions whose time is over."""

from pathlib import Path
from typing import Any, cast

import pytest
from scipy.special import expit

from infra import promotion, registry
from infra.store.embedded.store import EmbeddedStore
from infra.store.engines import open_store
from infra.store.errors import ConflictingWrite
from infra.store.protocol import Store
from infra.store.statements.decisions import FORGET_SNAPSHOTS, KEEP_SNAPSHOT, LOG_DECISION
from infra.store.statements.events import APPEND_EVENT, NOTHING_SAID, RECEIVED
from models import weight_profile as weights
from models.bandit import arms, profiles
from models.bandit.profiles import profile_set
from models.bandit.rewards import RewardParams
from models.bandit.thompson import BanditParams, Row, Snapshot
from models.events.rules import to_row
from models.experiments.assignment import INTERLEAVED
from models.goal_prior import FLAT_GOALS, HEURISTIC_GOALS
from models.model_set import ModelSet
from models.weight_profile import HEURISTIC, profile
from services.serving.decision_log import Decision, as_row
from services.serving.profiles import Profiles, newest_snapshot, replay
from services.worker.rewards import RewardDuty, moved
from tests.stores import connect, copied, embedded_only, nth, settled

S = 1_000_000
T0 = 1_700_000_000 * S
HEURISTIC_ARM, STATIC_ARM = arms.arm_id("heuristic", HEURISTIC_GOALS), arms.arm_id("static", FLAT_GOALS)


class Counting:
    """A store that counts what is read to see when events were received."""

    def __init__(self, store: Store) -> None:
        self._store, self.n_rows = store, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def read(self, statement: str, bindings: Any = ()) -> list[Any]:
        self.n_rows += len(found := self._store.read(statement, bindings)) * (statement == RECEIVED)
        return found


class Shop:
    """A home in which decisions are taken and events arrive."""

    def __init__(self, home: Path, **bandit: Any) -> None:
        self.home = home
        self.connection = connect(home)
        self.bandit = BanditParams(**bandit)
        self.duty = self.hire()
        self.now_us = T0

    def hire(self, store: Store | None = None) -> RewardDuty:
        return RewardDuty(self.home, store or open_store(self.home), RewardParams(window_s=3600), self.bandit)

    def decide(self, name: str, at_s: int, *items: str, **other: Any) -> None:
        one = Decision(
            name, "shop", "p", None, T0 + at_s * S, "e", "dynamic", HEURISTIC_ARM, 0.5, {"device": "app"}, {}, items, 9, [], 1
        )
        self.connection.execute(LOG_DECISION, as_row(one._replace(**other)))

    def event(
        self,
        name: str,
        kind: str,
        item: str,
        at_s: int,
        user: str = "p",
        price: float = 3.0,
        cause: str | None = None,
        at_us: int | None = None,
    ) -> None:
        """Something that a visitor does; `at_us` is what the sender's clock says."""
        told = {"event_id": name, "type": kind, "item_id": item, "price": price, "ts": _rfc3339(at_s)}
        row = to_row(told, user)
        row = row if at_us is None else (*row[:4], at_us, *row[5:])
        self.connection.execute(APPEND_EVENT, ("shop", *row, T0 + at_s * S, 0, 1, cause, *NOTHING_SAID[1:]))

    def work(self, at_s: int) -> None:
        settled(self.home)
        while self.duty.step(T0 + at_s * S):
            pass

    def rewards(self) -> dict[str, tuple[float, float]]:
        rows: Any = self.connection.execute("SELECT decision_id, reward, revenue FROM rewards ORDER BY decision_id")
        return {name: (reward, revenue) for name, reward, revenue in rows}


def _rfc3339(at_s: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(T0 // S + at_s, UTC).isoformat()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_the_last_decision_that_showed_the_item_gets_the_credit(shop: Shop) -> None:
    shop.decide("d-1", 0, "a", "b")
    shop.decide("d-2", 10, "b", "c")
    shop.decide("d-3", 20, "c")
    shop.event("e-1", "add_to_cart", "b", 30)
    shop.event("e-2", "purchase", "b", 40)
    shop.event("e-3", "item_view", "c", 50)
    shop.work(100)
    assert shop.rewards() == {"d-2": (1.0, 3.0)}


def test_the_decision_that_an_event_names_gets_the_credit_if_it_was_that_users(shop: Shop) -> None:
    shop.decide("d-1", 0, "a")
    shop.decide("d-2", 10, "a")
    shop.decide("theirs", 10, "z", user_id="q")
    shop.event("e-1", "add_to_cart", "a", 30, cause="d-1")
    shop.event("e-2", "add_to_cart", "a", 31, cause="theirs")
    shop.event("e-3", "add_to_cart", "z", 32, cause="no such decision")
    shop.work(100)
    assert shop.rewards() == {"d-1": (0.5, 0.0), "d-2": (0.5, 0.0)}


def test_only_what_happens_within_the_window_counts(shop: Shop) -> None:
    shop.decide("d-1", 0, "a")
    shop.event("before", "purchase", "a", -3)
    shop.event("long before", "purchase", "a", -130, cause="d-1")
    shop.event("after", "purchase", "a", 3601)
    shop.event("someone", "purchase", "a", 60, user="q")
    shop.work(4000)
    assert shop.rewards() == {}
    shop.event("just", "purchase", "a", 3600)
    shop.work(8000)
    assert shop.rewards() == {"d-1": (1.0, 3.0)}


@pytest.mark.parametrize("behind_s", [1.5, 60])
def test_a_named_decision_is_rewarded_by_a_clock_that_is_behind(shop: Shop, behind_s: float) -> None:
    shop.decide("d-1", 100, "a")
    shop.event("named", "purchase", "a", 101, cause="d-1", at_us=T0 + int((101 - behind_s) * S))
    shop.work(200)
    assert shop.rewards() == {"d-1": (1.0, 3.0)}


def test_a_clock_that_is_cut_to_seconds_rewards_what_was_shown(shop: Shop) -> None:
    shop.decide("d-1", 0, "a", decided_at_us=T0 + 900_000)
    shop.event("cut", "add_to_cart", "a", 0)
    shop.work(200)
    assert shop.rewards() == {"d-1": (0.5, 0.0)}


LIST = "INSERT INTO catalog_items (partner, item_id, kind, price, updated_at_us, change) VALUES ('shop', ?, 'item', ?, 1, 1)"


def test_what_a_page_says_was_paid_is_worth_the_catalogues_price_at_most(shop: Shop) -> None:
    shop.connection.executemany(LIST, [("dear", 5.0), ("cheap", 5.0), ("doubted", 5.0), ("unpriced", None)])
    for n, (item, price) in enumerate((("dear", 1e9), ("cheap", 3.0), ("doubted", 5.0), ("unpriced", 7.0), ("unlisted", 7.0))):
        shop.decide(f"d-{item}", n, item)
        shop.event(item, "purchase", item, 30, price=price)
    shop.connection.execute("UPDATE events SET browser = 1, believed = CASE WHEN event_id = 'doubted' THEN 0 ELSE 1 END")
    shop.work(100)
    paid = {"dear": 5.0, "cheap": 3.0, "unpriced": 0.0, "unlisted": 0.0}
    assert shop.rewards() == {f"d-{item}": (1.0, revenue) for item, revenue in paid.items()}


def test_events_of_the_last_seconds_wait_for_their_decision(shop: Shop) -> None:
    shop.event("e-1", "purchase", "a", 10)
    shop.work(12)
    shop.decide("d-1", 9, "a")  # the decision log gathers for a moment
    shop.work(20)
    assert shop.rewards() == {"d-1": (1.0, 3.0)}


def test_an_event_that_has_to_wait_is_read_once(shop: Shop) -> None:
    for k in range(50):
        shop.event(f"e{k}", "purchase", "a", at_s=10 if k < 20 else 20)
    duty = shop.hire(cast("Store", counting := Counting(open_store(shop.home))))
    settled(shop.home)
    assert [duty.step(T0 + at_s * S) for at_s in (21, 22, 23, 26, 27)] == [20, 0, 0, 30, 0]
    assert counting.n_rows == 50


def test_events_that_another_has_passed_wait_no_more(shop: Shop) -> None:
    shop.event("young", "purchase", "a", at_s=20)
    settled(shop.home)
    assert shop.duty.step(T0 + 21 * S) == 0
    assert shop.hire().step(T0 + 30 * S) == 1
    assert shop.duty.step(T0 + 30 * S) == 0


@embedded_only("a commit hook of the driver's")
def test_an_event_counts_once_when_it_is_sent_twice_and_when_the_worker_dies_at_the_commit(shop: Shop) -> None:
    shop.decide("d-1", 0, "a", "b")
    shop.event("e-1", "purchase", "a", 30)
    shop.event("e-1", "purchase", "a", 30)
    store = EmbeddedStore(shop.home)
    store.connection.set_commit_hook(lambda: True)  # nothing it writes gets to the disk
    with pytest.raises(ConflictingWrite):
        shop.hire(store).step(T0 + 100 * S)
    assert shop.rewards() == {}
    shop.duty = shop.hire()
    shop.work(100)
    shop.connection.execute("UPDATE cursors SET seq = 0 WHERE name = 'rewards'")
    shop.event("e-2", "purchase", "b", 40)
    shop.work(101)
    assert shop.rewards() == {"d-1": (1.0, 6.0)}


def test_a_quarantined_event_counts_when_it_is_released(shop: Shop) -> None:
    shop.decide("d-1", 0, "a")
    shop.event("e-1", "purchase", "a", 30)
    shop.connection.execute(
        "INSERT INTO quarantine (partner, source, format, seq, reason, content_key, quarantined_at_us) "
        "SELECT partner, 'validation', 'log', seq, 'odd', 'k', 0 FROM events"
    )
    shop.work(100)
    assert shop.rewards() == {}
    shop.connection.execute("UPDATE quarantine SET replayed_at_us = ?", (T0 + 150 * S,))
    shop.event("e-2", "search", "a", 160)
    shop.work(200)
    assert shop.rewards() == {"d-1": (1.0, 3.0)}


def rows_of(shop: Shop) -> dict[str, Row]:
    now = newest_snapshot(open_store(shop.home).read)
    assert now is not None
    return dict(now.rows)


def places(shop: Shop) -> tuple[int, int]:
    now = newest_snapshot(open_store(shop.home).read)
    assert now is not None
    return now.profiles.index(HEURISTIC_ARM), now.profiles.index(STATIC_ARM)


def test_the_bandit_learns_from_the_first_minutes_and_is_surer_when_their_time_is_over(shop: Shop) -> None:
    with shop.connection:
        for k in range(80):
            shop.decide(f"d-{k}", k // 10, "a", user_id=f"u-{k}", profile=(HEURISTIC_ARM, STATIC_ARM)[k % 2])
            if k % 12 == 0 or k % 20 == 1:  # 7 of 40 heuristic ones, 4 of 40 static ones
                shop.event(f"e-{k}", "purchase", "a", k // 10 + 20, user=f"u-{k}")
    shop.work(0)
    assert rows_of(shop)[""].p == (0.5, 0.5)
    heuristic, static = places(shop)
    shop.work(120)
    young = rows_of(shop)[""]
    assert 0.6 < young.p[heuristic] < 0.9  # long before the hour is over
    shop.work(3700)
    old = rows_of(shop)[""]
    assert [expit(old.a[arm]) for arm in (heuristic, static)] == pytest.approx([0.17, 0.1], abs=0.03)
    assert all(is_old < was_young for is_old, was_young in zip(old.b, young.b, strict=True))
    shop.duty = shop.hire()
    shop.work(3701)
    assert rows_of(shop)[""] == old  # a worker that begins anew knows the same


def test_a_reward_that_comes_late_still_reaches_its_decision(shop: Shop) -> None:
    for k in range(12):
        shop.decide(f"d-{k}", k, "a", user_id=f"u-{k}", profile=(HEURISTIC_ARM, STATIC_ARM)[k % 2])
    shop.work(3700)
    before = rows_of(shop)[""]
    shop.event("late", "purchase", "a", 61, user="u-1")
    shop.connection.execute("UPDATE events SET received_at_us = ? WHERE event_id = 'late'", (T0 + 7000 * S,))
    shop.work(7100)
    assert shop.rewards() == {"d-1": (1.0, 3.0)}
    assert rows_of(shop)[""].a[places(shop)[1]] > before.a[places(shop)[1]]


def test_what_waits_to_be_joined_makes_no_decision_look_bad(shop: Shop) -> None:
    shop.decide("d-1", 0, "a")
    shop.event("e-1", "purchase", "a", 30)
    shop.event("e-2", "purchase", "b", 40)
    shop.work(100)
    assert shop.duty.seen_us(T0 + 100 * S) == T0 + 95 * S
    shop.connection.execute("UPDATE cursors SET seq = ? WHERE name = 'rewards'", (nth(shop.home, 1),))
    assert shop.duty.seen_us(T0 + 100 * S) == T0 + 40 * S - 1


def test_one_visitor_alone_hardly_moves_the_posteriors(shop: Shop) -> None:
    with shop.connection:
        for k in range(150):
            shop.decide(f"d-{k}", k, "a")
    shop.work(4000)
    alone = rows_of(shop)[""]
    heuristic, static = places(shop)
    assert alone.b[heuristic] > 0.5  # a spread of 1 if nothing was known, and below 0.3 if all had counted
    assert alone.p[static] < 0.9


def test_interleaved_lists_move_no_posteriors(shop: Shop) -> None:
    shop.decide("d-1", 0, "a", experiment=INTERLEAVED, variant="interleaved")
    shop.event("e-1", "purchase", "a", 30)
    shop.work(4000)
    assert rows_of(shop) == {"": Row((0.0, 0.0), (1.0, 1.0), (0.5, 0.5))}
    assert shop.rewards() == {"d-1": (1.0, 3.0)}


def test_a_new_champion_brings_new_arms_and_those_that_stayed_keep_what_was_learned(crowned: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    copied(crowned, home)
    shop = Shop(home)
    shop.decide("d-1", 0, "a")
    shop.event("e-1", "purchase", "a", 30)
    shop.work(4000)
    before = newest_snapshot(open_store(shop.home).read)
    assert before is not None
    changed = profile(HEURISTIC.base, HEURISTIC.factors * 1.5)
    version = registry.save(home, "weights", weights.to_parts(changed), {})
    promotion.promote(home, f"weights:{version}")
    shop.work(4001)
    after = newest_snapshot(open_store(shop.home).read)
    assert after is not None
    assert after.profiles == (*before.profiles[:2], arms.arm_id("learned", changed))  # the old champion is gone
    place = after.profiles.index(HEURISTIC_ARM)
    assert after.rows[""].a[place] == before.rows[""].a[place] > 0
    assert after.rows[""].b[place] == before.rows[""].b[place] < after.rows[""].b[-1]
    bandit = Profiles(home).current(ModelSet(weights=changed), 0.0)
    assert tuple(bandit.arms.profiles) == after.profiles
    assert bandit.snapshot == after


def test_what_replayed_sessions_say_of_the_profiles_is_the_prior_until_outcomes_say_otherwise(tmp_path: Path) -> None:
    learned = profile(HEURISTIC.base, HEURISTIC.factors * 1.5)
    parts = weights.to_parts(learned)
    told = {"chosen": "fitted", "ndcg_20": {"static": 0.1, "fitted": 0.3}}
    registry.save(tmp_path, "weights", parts._replace(meta={**parts.meta, "params": told}), {})
    registry.set_champions(tmp_path, {"weights": 1}, actor="test", reason="first")
    shop, arm = Shop(tmp_path), arms.arm_id("learned", learned)
    shop.work(0)
    first = newest_snapshot(open_store(tmp_path).read)
    assert first is not None
    p = dict(zip(first.profiles, first.rows[""].p, strict=True))
    assert p[arm] > 2 * p[STATIC_ARM]
    assert p[STATIC_ARM] > 0.05  # not given up
    with shop.connection:
        for k in range(300):
            shop.decide(f"d-{k}", k, "a", user_id=f"u-{k}", profile=(arm, STATIC_ARM)[k % 2])
            if k % 8 == 1:
                shop.event(f"e-{k}", "purchase", "a", k + 20, user=f"u-{k}")
    shop.work(1000)
    assert rows_of(shop)[""].p[places(shop)[1]] > 0.8


def test_a_tuned_set_brings_its_own_prior(tmp_path: Path) -> None:
    own = profile_set(("static", "tuned"), (FLAT_GOALS, profile(HEURISTIC.base, HEURISTIC.factors * 2)))
    registry.save(tmp_path, "weights", weights.to_parts(HEURISTIC_GOALS), {})
    registry.save(tmp_path, "profiles", profiles.to_parts(own), {}, {"ndcg_20": {"static": 0.3, "tuned": 0.1}})
    registry.set_champions(tmp_path, {"weights": 1, "profiles": 1}, actor="test", reason="first")
    shop = Shop(tmp_path)
    shop.work(0)
    now = newest_snapshot(open_store(tmp_path).read)
    assert now is not None
    p = dict(zip(now.profiles, now.rows[""].p, strict=True))
    served = arms.arm_id("learned", HEURISTIC_GOALS)  # of which the replay says nothing
    assert p[STATIC_ARM] > p[served] > p[arms.arm_id("tuned", own.profiles[1])]


def test_a_snapshot_is_written_when_much_moved_and_not_for_one_of_many_contexts() -> None:
    def of(everywhere: float, *contexts: float) -> Snapshot:
        rows = {str(k or ""): Row((0.0, 0.0), (1.0, 1.0), (p, 1 - p)) for k, p in enumerate((everywhere, *contexts))}
        return Snapshot(1, ("a", "b"), "device", rows)

    before = of(0.5, *[0.5] * 20)
    assert not moved(before, of(0.505, *[0.5] * 19, 0.59))
    assert moved(before, of(0.52, *[0.5] * 20))
    assert moved(before, of(0.5, *[0.52] * 20))
    assert moved(before, of(0.5, *[0.5] * 19, 0.61))
    assert moved(before, of(0.5, *[0.5] * 21))


def test_a_replay_repeats_every_decision_and_finds_one_that_was_altered(shop: Shop) -> None:
    shop.work(0)
    bandit = Profiles(shop.home).current(ModelSet(), 0.0)
    for k in range(50):
        context = {"device": "app", "session": f"s-{k}"}
        dealt = arms.deal(bandit, context, arms.dealt_by("p", context["session"]))
        shop.decide(
            f"d-{k}", k, "a", context=context, profile=dealt.profile, propensity=dealt.propensity, snapshot=dealt.snapshot
        )
    assert replay(shop.home) == (50, [])
    shop.connection.execute("UPDATE decisions SET propensity = 0.9 WHERE decision_id = 'd-7'")
    assert replay(shop.home) == (50, ["d-7"])
    shop.connection.execute("INSERT INTO profile_snapshots SELECT version + 1, body, 50, created_at_us FROM profile_snapshots")
    shop.connection.execute(FORGET_SNAPSHOTS, (1, 10))
    assert replay(shop.home) == (0, [])


@pytest.mark.parametrize("body", ['{"snapshot": {"kind": "beta"}}', "[]", "{"])
def test_a_snapshot_of_another_schema_stops_neither_answers_nor_the_worker(shop: Shop, body: str) -> None:
    shop.connection.execute(KEEP_SNAPSHOT, (body, 0, T0))
    assert Profiles(shop.home).current(ModelSet(), 0.0).snapshot is None
    shop.work(0)
    bandit = Profiles(shop.home).current(ModelSet(), 0.0)
    assert bandit.snapshot is not None
    assert bandit.snapshot.version == 2
