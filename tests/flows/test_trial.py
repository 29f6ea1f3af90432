"""New weights and profiles are dealt to some, judged by what that earned in a simulated shop, and then stay or go."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.regret import NAMES, PROFILES, click_chances
from benchmarks.simulated_home import make_champions
from flows import off_policy, promote, train, trial
from infra import promotion, registry
from infra.artifacts import write_parts
from infra.store.engines import open_store
from infra.store.statements.decisions import LOG_DECISION
from infra.store.statements.events import APPEND_EVENT, NOTHING_SAID
from models import weight_profile as weights
from models.arrays import Floats
from models.bandit import arms, profiles
from models.bandit.arms import Bandit
from models.bandit.off_policy import off_policy_rule
from models.bandit.profiles import profile_set
from models.bandit.rewards import RewardParams
from models.bandit.thompson import BanditParams
from models.evaluation import gate
from models.events.rules import to_row
from models.model_set import ModelSet
from models.model_specs import MODEL_NAMES
from models.simulator import ShopConfig
from services.serving.decision_log import Decision, as_row
from services.serving.profiles import Profiles, replay
from services.worker.rewards import RewardDuty
from tests.stores import connect, settled
from tests.training import empty_rows, write_run

S = 1_000_000
T0 = 1_700_000_000 * S
SHARE = 0.2


@pytest.fixture(scope="module")
def chances() -> Floats:
    """How likely a visitor of the shop clicks one of the items that each profile recommends, at moments of its sessions."""
    return click_chances(ShopConfig(n_users=150, n_days=5, n_items=100, n_categories=5, seed=1), np.random.default_rng(1))


class Site:
    """A home where a champion serves; `run` lets visitors come, and takes and logs decisions as the service does."""

    def __init__(
        self, home: Path, chances: Floats, champion: str, of: tuple[str, ...], share: float = SHARE, floor: float = 0.01
    ) -> None:
        self.home, self.chances, self.connection = home, chances, connect(home)
        self.champions = ModelSet(weights=PROFILES[champion], profiles=named(*of))
        registry.save(home, "weights", weights.to_parts(PROFILES[champion]), {})
        registry.save(home, "profiles", profiles.to_parts(named(*of)), {})
        registry.set_champions(home, {"weights": 1, "profiles": 1}, actor="test", reason="first")
        self.params = RewardParams(window_s=3600)
        self.duty = RewardDuty(home, open_store(home), self.params, BanditParams(trial=share, floor=floor))
        self.profiles, self.now_us, self.n = Profiles(home, check_s=0.0), T0, 0
        self.rng = np.random.default_rng(5)
        self.work()

    def challenge(self, **models: Any) -> None:
        """Make the next version of weights or profiles the challenger."""
        for name, parts in models.items():
            version = registry.save(self.home, name, parts, {})
            registry.set_alias(self.home, "challenger", {name: version}, action="train", actor="test", reason="new")
        self.work()

    def work(self) -> None:
        """What the worker does by now."""
        settled(self.home)
        while self.duty.step(self.now_us):
            pass

    def bandit(self) -> Bandit:
        return self.profiles.current(self.champions, self.now_us / S)

    def run(self, n: int) -> None:
        """Decisions, one a second, and the clicks that follow, seen as carts half a minute later."""
        for _ in range(n // 500):
            with self.connection:
                for _ in range(500):
                    self._decide()
            self.work()
        self.now_us += 7200 * S
        self.work()

    def _decide(self) -> None:
        self.n, self.now_us = self.n + 1, self.now_us + S
        name, user = f"d-{self.n}", f"u-{self.n // 3}"
        context = {"device": "app", "session": name}
        dealt = arms.deal(self.bandit(), context, arms.dealt_by(user, name))
        arm = ARMS[dealt.profile.partition("@")[2]]
        one = Decision(
            name, "shop", user, None, self.now_us, "e", "dynamic", dealt.profile, dealt.propensity,
            context, {}, ["a"], 9, [], dealt.snapshot,
        )  # fmt: skip
        self.connection.execute(LOG_DECISION, as_row(one))
        if self.rng.random() < self.chances[self.rng.integers(len(self.chances)), arm]:
            at = datetime.fromtimestamp(self.now_us / S + 30, UTC).isoformat()
            event = {"event_id": f"e-{self.n}", "type": "add_to_cart", "item_id": "a", "ts": at}
            self.connection.execute(
                APPEND_EVENT, ("shop", *to_row(event, user), self.now_us + 30 * S, 0, 1, name, *NOTHING_SAID[1:])
            )

    def dealt(self) -> dict[str, int]:
        """How often each profile was dealt."""
        rows: Any = self.connection.execute("SELECT profile, count(*) FROM decisions GROUP BY profile")
        return {profile.partition("@")[2]: n for profile, n in rows}


def named(*names: str) -> profiles.ProfileSet:
    return profile_set(names, tuple(PROFILES[name] for name in names))


def content(name: str) -> str:
    return arms.arm_id(name, PROFILES[name]).partition("@")[2]


ARMS = {content(name): k for k, name in enumerate(NAMES)}


@pytest.fixture
def site(tmp_path: Path, chances: Floats) -> Site:
    return Site(tmp_path, chances, "views", ("views",))


def judged(found: dict[str, Any]) -> dict[str, Any]:
    """The gate's verdict where all else is well."""
    fine = gate.Rule("accuracy", gate.PASS, 0.5, "", decisive=True)
    return {**gate.judge([fine, off_policy_rule(found)], {"weights": gate.Standing(first=False)}), "evidence": {}}


@pytest.mark.parametrize(
    ("champion", "challenger", "says", "rule", "promoted"),
    [("views", "purchases", "worse", gate.FAIL, False), ("purchases", "views", "better", gate.PASS, True)],
)
def test_new_weights_that_are_worse_are_refused_and_better_ones_pass_once_enough_was_decided(
    tmp_path: Path, chances: Floats, champion: str, challenger: str, says: str, rule: str, promoted: bool
) -> None:
    means = dict(zip(NAMES, chances.mean(axis=0), strict=True))
    assert (means[challenger] > means[champion]) == promoted
    site = Site(tmp_path, chances, champion, (champion,))
    site.challenge(weights=weights.to_parts(PROFILES[challenger]))
    site.run(500)
    early = off_policy.verdict(tmp_path, {"weights": 2}, site.now_us)
    assert early["verdict"] == "not enough data"
    assert trial.held_back(tmp_path, {"intent": 1, "weights": 2}, early) == {"weights": early["reason"]}
    site.run(3_000)
    assert site.dealt()[content(challenger)] == pytest.approx(3_500 * SHARE, rel=0.15)
    found = off_policy.verdict(tmp_path, {"weights": 2}, site.now_us)
    truth = means[challenger] - means[champion]
    assert found["verdict"] == says
    assert found["difference"]["dr"]["low"] < 0.5 * truth < found["difference"]["dr"]["high"]  # a cart earns one half
    assert trial.held_back(tmp_path, {"weights": 2}, found) == {}
    assert off_policy_rule(found).verdict == rule
    verdict = judged(found)
    assert verdict["promote"] == promoted
    assert replay(tmp_path) == (3_500, [])
    trial.settle(tmp_path, verdict)
    assert registry.aliased(tmp_path, "challenger") == ({"weights": 2} if promoted else {})
    if promoted:
        registry.set_champions(tmp_path, {"weights": 2}, actor="gate", reason="gate: pass")
        site.champions = ModelSet(weights=PROFILES[challenger], profiles=named(champion))
    site.work()
    after = site.bandit()
    assert after.snapshot is not None
    assert after.arms.on_trial == frozenset()
    assert (after.arms.served.partition("@")[2] == content(challenger)) == promoted


@pytest.mark.parametrize(
    ("of", "new", "says", "stays"),
    [(("purchases", "views"), ("purchases",), "worse", 1), (("purchases",), ("purchases", "views"), "better", 2)],
)
def test_a_new_set_of_profiles_is_judged_alone_and_promoted_or_withdrawn(
    tmp_path: Path, chances: Floats, of: tuple[str, ...], new: tuple[str, ...], says: str, stays: int
) -> None:
    site = Site(tmp_path, chances, "purchases", of, floor=SHARE)
    assert trial.of_profiles(tmp_path) is None
    site.challenge(profiles=profiles.to_parts(named(*new)))
    site.run(8_000)  # one of them is dealt to few
    found = trial.of_profiles(tmp_path, site.now_us)
    assert found is not None
    assert (found["version"], found["verdict"]) == (2, says)
    passed = {"verdict": gate.PASS, "promote": True, "models": {}, "evidence": {"profiles": found}}
    trial.settle(tmp_path, passed, may_promote=False, now_us=site.now_us)
    assert registry.champions(tmp_path)["profiles"] == 1
    trial.settle(tmp_path, passed, now_us=site.now_us)
    assert registry.champions(tmp_path)["profiles"] == stays
    assert registry.aliased(tmp_path, "challenger") == {}
    assert registry.verify_audit(tmp_path)


def test_a_challenger_is_dealt_at_the_floor_and_not_once_it_is_withdrawn(tmp_path: Path, chances: Floats) -> None:
    site = Site(tmp_path, chances, "views", ("views",), share=0.01)
    before = site.bandit()
    registry.save(tmp_path, "weights", weights.to_parts(PROFILES["carts"]), {})
    registry.set_alias(tmp_path, "challenger", {"weights": 2}, action="train", actor="test", reason="new")
    assert site.bandit().snapshot == before.snapshot  # what is dealt goes on until the worker has the new arm
    site.work()
    now = site.bandit()
    assert now.snapshot is not None
    (row,) = now.snapshot.rows.values()
    assert {arm.partition("@")[2]: p for arm, p in zip(now.snapshot.profiles, row.p, strict=True)} == pytest.approx(
        {content("views"): 0.99, content("carts"): 0.01}
    )
    registry.set_alias(tmp_path, "challenger", {"weights": None}, action="withdraw", actor="test", reason="test")
    gone = site.bandit()  # at once, and before the worker knows
    assert gone.snapshot is None
    assert arms.deal(gone, {}, "d-1").weights is not None
    assert set(gone.arms.profiles) == {gone.arms.served}
    site.work()
    assert site.bandit().snapshot is not None


def test_where_challengers_are_not_dealt_nothing_is_on_trial_and_nothing_is_held_back(tmp_path: Path, chances: Floats) -> None:
    site = Site(tmp_path, chances, "views", ("views",), share=0.0)
    site.challenge(weights=weights.to_parts(PROFILES["carts"]))
    bandit = site.bandit()
    assert bandit.snapshot is not None
    assert bandit.snapshot.profiles == (bandit.arms.served,)
    found = off_policy.verdict(tmp_path, {"weights": 2}, site.now_us)
    assert found["verdict"] == "not enough data"
    assert (trial.running(tmp_path), trial.held_back(tmp_path, {"weights": 2}, found)) == ({}, {})


def test_a_worker_that_deals_no_challengers_any_more_ends_all_trials(site: Site) -> None:
    assert trial.running(site.home) == {}
    RewardDuty(site.home, open_store(site.home), site.params, BanditParams(trial=0.0)).step(site.now_us)
    registry.save(site.home, "weights", weights.to_parts(PROFILES["carts"]), {})
    registry.set_alias(site.home, "challenger", {"weights": 2}, action="train", actor="test", reason="new")
    assert trial.running(site.home) == {}
    site.work()
    assert trial.running(site.home) == {"weights": 2}


def test_a_trial_ends_undecided_after_its_longest_time(site: Site) -> None:
    site.challenge(weights=weights.to_parts(PROFILES["carts"]), profiles=profiles.to_parts(named("purchases")))
    assert trial.running(site.home) == {"weights": 2, "profiles": 2}
    thin = off_policy.verdict(site.home, {"weights": 2}, site.now_us)
    since: Any = site.connection.execute("SELECT max(set_at_us) FROM model_aliases").fetchone()
    late_us = since[0] + (trial.LONGEST_DAYS + 1) * 86_400 * S
    assert "weights" in trial.held_back(site.home, {"weights": 2}, thin, since[0])
    assert trial.held_back(site.home, {"weights": 2}, thin, late_us) == {}
    own = {"weights": {"verdict": gate.THIN, "promote": False}}
    undecided = {"verdict": gate.PASS, "promote": True, "models": own, "evidence": {"profiles": trial.of_profiles(site.home)}}
    trial.settle(site.home, undecided, now_us=since[0])
    assert trial.running(site.home) == {"weights": 2, "profiles": 2}
    trial.settle(site.home, undecided, now_us=late_us)
    assert trial.running(site.home) == {}
    assert registry.champions(site.home) == {"weights": 1, "profiles": 1}


def test_a_challenger_that_cannot_be_loaded_is_not_dealt(site: Site) -> None:
    version = registry.save(site.home, "weights", weights.to_parts(PROFILES["carts"]), {})
    next(registry.folder_of(site.home, "weights", version).glob("*.npy")).write_bytes(b"no array")
    registry.set_alias(site.home, "challenger", {"weights": version}, action="train", actor="test", reason="new")
    site.work()
    bandit = site.bandit()
    assert bandit.arms.on_trial == frozenset()
    assert bandit.snapshot is not None


def written(home: Path, name: str, as_of_us: int | None = None) -> str:
    """A working folder of a training whose models are the champions once more."""
    write_run(home / name, empty_rows(4), window={"as_of_us": as_of_us, "last_seq": 0})
    for model in MODEL_NAMES:
        write_parts(home / name / train.MODELS / model, registry.load(home, model, 1))
    return str(home / name)


def test_weights_on_trial_are_judged_before_there_are_new_ones_and_the_other_models_pass_without_them(tmp_path: Path) -> None:
    make_champions(tmp_path, ShopConfig(n_users=60, n_days=2, n_items=40, n_categories=4), n_rounds=2)
    home = str(tmp_path)
    first = train.keep.fn(home, written(tmp_path, "a"), 0, None)
    assert train.keep.fn(home, written(tmp_path, "b"), 0, None) == {name: version + 1 for name, version in first.items()}
    RewardDuty(tmp_path, open_store(tmp_path)).step(T0)  # a worker that deals challengers
    tried = train.keep.fn(home, written(tmp_path, "c"), 0, None)
    assert tried == {name: 3 if name == "weights" else 4 for name in MODEL_NAMES}
    assert registry.aliased(tmp_path, "challenger") == tried
    models = {name: {"verdict": gate.PASS, "promote": name != "weights", "why": ""} for name in MODEL_NAMES}
    models["weights"] |= {"why": "on trial: few", "instead": "the champion stays"}
    held = {"held_back": {"weights": "few"}}
    verdict = {"verdict": gate.PASS, "promote": True, "first": False, "models": models, "rules": [], **held}
    promote.apply.fn(home, tried, verdict)
    trial.settle(tmp_path, verdict)
    assert registry.champions(tmp_path) == {**tried, "weights": 1}
    assert registry.aliased(tmp_path, "challenger") == {"weights": 3}
    said = {row.version: row.verdict for row in registry.versions(tmp_path, "weights")}
    assert said[3] == gate.THIN
    assert gate.in_words(verdict) == "pass, promoted, without weights (on trial)"
    then = train.keep.fn(home, written(tmp_path, "d", as_of_us=5), 0, None)
    assert then["weights"] == 4  # a past day gives what that day would have given
    spoiled = {"weights": {"verdict": gate.FAIL, "promote": False}}
    trial.settle(tmp_path, {"verdict": gate.FAIL, "promote": False, "models": spoiled})
    assert trial.running(tmp_path) == {}
    assert registry.verify_audit(tmp_path)


def test_what_a_person_promotes_and_takes_back_is_not_tried_again(site: Site) -> None:
    site.challenge(weights=weights.to_parts(PROFILES["carts"]))
    promotion.promote(site.home, "weights:2")
    assert trial.running(site.home) == {}
    promotion.rollback(site.home, "weights")
    assert (trial.running(site.home), registry.champions(site.home)["weights"]) == ({}, 1)
    site.work()
    assert site.bandit().arms.on_trial == frozenset()
    assert registry.verify_audit(site.home)
