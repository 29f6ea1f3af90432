"""Judged is served: any recorded decision can be taken again from the log, and comes out as the visitor saw it."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from starlette.testclient import TestClient

from flows.fold_actions import rebuild
from infra import layout, registry
from infra.settings import Settings
from infra.store.engines import open_store
from infra.store.events import append_events
from infra.store.statements.decisions import DECISION_COLUMNS
from models import goal_weights, weight_profile
from models.assess import assess
from models.associations.model import AssociationStore
from models.bandit.arms import arms_of, bandit_of
from models.events.touches import History, history_of
from models.goal_weights import GoalWeights
from models.item_ranking import Asked
from models.known import Known, RecentItems, UserFeatures
from models.live_session import EMPTY, LiveSession, last_item
from models.model_set import ModelSet
from models.model_specs import SPEC
from models.recommend import Recommendation, Who, recommend
from models.schema import EVENT_TYPES, GOALS, INTENTS, ITEM_EVENT_TYPES, ITEM_FEATURES, NEXT_ACTIONS, USER_FEATURES, EventType
from models.simulator import ShopConfig, simulate
from models.weight_profile import STATIC
from services.api import engagement, recommendations, wire
from services.api.app import build_app
from services.http.guard import AdmitAll
from services.serving.action_weights import LiveWeights
from services.serving.association_tail import Tail
from services.serving.model_watch import ChampionSource, ChampionWatcher
from services.serving.profiles import read_snapshot
from services.serving.reads import engagement_features
from services.signals.catalog import Catalog
from services.signals.sessions import sessions_at
from services.worker.rewards import RewardDuty
from tests.stores import copied, settled

NOW_US = 1_763_719_200_000_000  # 2025-11-21T10:00:00Z
DAY_US = 86_400_000_000
N_VISITS = 150
ITEMS = [f"sku-{n:05d}" for n in range(1, 13)]
SOLD_OUT = ITEMS[2:4]
GOODS = [f"sku-{n:05d}" for n in range(1, 51)]  # of the 60 that the log names
KINDS = [name for name in EVENT_TYPES if name not in ("wishlist_add", "content_view")]


class Remembered:
    """Online features: made up, of every other visitor."""

    def user(self, user_id: str, now_us: int) -> UserFeatures | None:
        row = np.random.default_rng(user_id.encode()[0]).gamma(1.0, 2.0, len(USER_FEATURES)).astype(np.float32)
        return UserFeatures(row, NOW_US - DAY_US) if user_id.encode()[0] % 2 else None

    def recent_items(self, user_id: str, now_us: int) -> RecentItems | None:
        return RecentItems(ITEMS[user_id.encode()[0] % 5 :][:3], NOW_US - DAY_US) if user_id.encode()[0] % 2 else None

    def history(self, user_id: str, now_us: int) -> History | None:
        n = user_id.encode()[0] % 5
        at_us = [NOW_US + 3_600_000_000, *[NOW_US - DAY_US] * 3]
        touches = history_of([*ITEMS[n : n + 3], "never seen"], [0, 10, 0, 14], at_us)
        return touches if user_id.encode()[0] % 2 else None

    def item(self, item_id: str, now_us: int) -> Any:
        return np.full(len(ITEM_FEATURES), 2.0, dtype=np.float32) if item_id in ITEMS else None


class Following:
    """Champions whose associations follow the log whenever they are asked for."""

    def __init__(self, home: Path) -> None:
        self._watcher = ChampionWatcher(home)
        self._tail: Tail | None = None
        self.start, self.stop, self.problems = self._watcher.start, self._watcher.stop, self._watcher.problems
        self._store = open_store(home)

    def current(self) -> ModelSet:
        now = self._watcher.current()
        if now.associations is None:
            return now
        self._tail = self._tail or Tail(self._store, now.associations)
        return replace(now, associations=followed(self._tail))


def followed(tail: Tail, last: int = 2**62) -> AssociationStore:
    """The associations when the log had come to an event, their gates settled."""
    while tail.step(last):
        pass
    return tail.live.settle()


class Visit(NamedTuple):
    """What a visitor did, and what the partner asked and was answered."""

    asked: dict[str, Any]
    until: int
    recommended: wire.Recommendation
    engaged: wire.EngagementAnswer


class Shop:
    """The service of a home, with champions, a bandit that has learned, action weights, and a catalogue."""

    def __init__(self, home: Path, champions: ChampionSource) -> None:
        self.home, self.now_us, self.store = home, NOW_US, open_store(home)
        (home / layout.SECRET).write_bytes(bytes(32))  # who is known goes by the pseudonym: the same in every run
        events = simulate(ShopConfig(n_users=400, n_days=3, n_items=60, n_categories=4, seed=3)).events
        self.store.write(lambda transaction: append_events(transaction, events, "local", NOW_US))
        version = registry.save(home, "weights", weight_profile.to_parts(STATIC._replace(goals=some_goals())), {})
        registry.set_alias(home, registry.CHAMPION, {"weights": version}, action="promote", actor="test", reason="goals")
        rebuild(home, int(events["occurred_at_us"].max()) + DAY_US)
        RewardDuty(home, self.store).step(NOW_US)
        self.app = build_app(
            Settings(home=home), authenticator=AdmitAll(), champions=champions, online=Remembered(),
            now_us=lambda: self.now_us,
        )  # fmt: skip

    def visit(self, client: TestClient, nth: int, rng: np.random.Generator) -> Visit:
        """Do something at random, and ask at once."""
        self.now_us = NOW_US + nth * 60_000_000
        user, events = f"u-{nth % 60}", happened(self.now_us, rng)
        context = {"device": str(rng.choice(["mobile", "desktop"])), "timezone": str(rng.choice(["Europe/Berlin", "UTC"]))}
        whole = {"user_id": user, "session_id": f"s-{nth}", "context": context}
        if events:
            sent = [{**event, **whole, "event_id": f"e-{nth}-{k}"} for k, event in enumerate(events)]
            assert client.post("/v1/events", json={"events": sent}).json()["accepted"] == len(sent)
            settled(self.home)
        ((until,),) = self.store.read("SELECT max(seq) FROM events")
        session = {"session_id": f"s-{nth}", "context": context, "events": events}
        asked = {"user_id": user, "session_data": session, **options(rng)}
        answer = client.post("/v1/recommendations", json=asked)
        told = client.post("/v1/engagement", json={"user_id": user, "session_data": session})
        return Visit(
            asked, until if events else 0, msgspec.json.decode(answer.content, type=wire.Recommendation),
            msgspec.json.decode(told.content, type=wire.EngagementAnswer),
        )  # fmt: skip

    def session_of(self, visit: Visit, user_id: str) -> LiveSession:
        """The session as the log has it, cut as the worker cuts it."""
        if not visit.until:
            return EMPTY
        return sessions_at(self.store.read, {user_id: visit.until}, visit.until, NOW_US - DAY_US)[user_id].session

    def models_of(self, decision: Mapping[str, Any]) -> ModelSet:
        """The models that a decision names, in the state that it names."""
        models, context = self._loaded(**decision["models"]), decision["context"]
        assert models.actions is not None
        assert models.associations is not None
        assert context.get("action_weights", models.actions.seq) == models.actions.seq
        if context["associations"] == models.associations.built_to_seq:
            return models
        return replace(models, associations=followed(Tail(self.store, models.associations), context["associations"]))

    @cache  # noqa: B019 - as long as the tests of this file
    def _loaded(self, **versions: int) -> ModelSet:
        loaded = {name: SPEC[name].load(registry.load(self.home, name, version)) for name, version in versions.items()}
        return ModelSet(**loaded, versions=versions, actions=LiveWeights().read(self.store.read))

    def again(self, visit: Visit, decision: Mapping[str, Any]) -> tuple[Asked, ModelSet, Recommendation]:
        """Take a decision once more: what was asked, by which models, and what comes out."""
        request = msgspec.convert(visit.asked, wire.RecommendationRequest)
        asked = recommendations.asked_of(request)
        models, session = self.models_of(decision), self.session_of(visit, decision["user_id"])
        version = decision["snapshot"]
        snapshot = None if version is None else read_snapshot(self.store.read, version)
        names_items = bool(session.item_ids or asked.item_id)
        recent = None if names_items else Remembered().recent_items(decision["user_id"], 0)
        goods = Catalog(self.home, check_s=0)
        goods.refresh(0.0)
        history = Remembered().history(decision["user_id"], 0)
        known = Known(
            recent=recent, missing=() if names_items or recent else ("unknown_user",),
            allowed=partial(goods.allowed, decision["partner"]), history=history,
            without_history=() if history else ("history_unknown",),
        )  # fmt: skip
        assert request.session_data is not None
        who = Who(decision["user_id"], decision["decision_id"], request.session_data.session_id or "")
        bandit = bandit_of(arms_of(models), snapshot)
        return asked, models, recommend(asked, session, models, known, who, decision["decided_at_us"], bandit)


def happened(now_us: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Events of one session up to now; none in every tenth."""
    n = 0 if rng.random() < 0.1 else int(rng.integers(1, 12))
    at_us = now_us - np.sort(rng.integers(0, 900_000_000, n))[::-1]
    events = []
    for instant, kind in zip(at_us.tolist(), rng.choice(KINDS, n), strict=True):
        about = EventType[kind.upper()] in ITEM_EVENT_TYPES
        item = {"item_id": str(rng.choice([*ITEMS, "never seen"])), "category": "c"} if about else {}
        seconds, rest = divmod(instant, 1_000_000)
        events.append({"type": str(kind), "ts": f"{np.datetime64(seconds, 's')}.{rest:06d}Z", "dwell_ms": 900.5, **item})
    return events


def options(rng: np.random.Generator) -> dict[str, Any]:
    """How a partner asks."""
    flags = {name: bool(rng.random() < 0.3) for name in ("explain", "exclude_seen", "ranker", "interleave")}
    item = {"item_id": str(rng.choice([*ITEMS[:6], "unheard of"]))} if rng.random() < 0.4 else {}
    goal = {"goal": str(rng.choice(GOALS))} if rng.random() < 0.75 else {}
    return {"limit": int(rng.integers(1, 30)), **flags, **item, **goal}


def some_goals() -> GoalWeights:
    """Goal weights as good as any."""
    rng = np.random.default_rng(5)
    base, slopes, center, chances = (rng.normal(size=shape) for shape in goal_weights.SHAPES)
    return goal_weights.goal_weights(base, 0.1 * slopes, np.full_like(center, 0.25), chances)


def opened(crowned: Path, home: Path, champions: Callable[[Path], ChampionSource], n_visits: int) -> tuple[Shop, list[Visit]]:
    """A shop, and visits to it; when this returns the decisions are on disk."""
    shop, rng = Shop(Path(copied(crowned, home)), champions(home)), np.random.default_rng(7)
    with TestClient(shop.app) as client:
        stock = [{"item_id": item, "stock": 0 if item in SOLD_OUT else 5} for item in GOODS]
        assert client.put("/v1/catalog/items", json={"items": stock}).status_code == 200
        return shop, [shop.visit(client, nth, rng) for nth in range(1, n_visits)]


@pytest.fixture(scope="module")
def visited(crowned: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Shop, list[Visit]]:
    return opened(crowned, tmp_path_factory.mktemp("judged") / "home", ChampionWatcher, N_VISITS)


def decisions(shop: Shop) -> dict[str, dict[str, Any]]:
    rows = shop.store.read(f"SELECT {', '.join(DECISION_COLUMNS)} FROM decisions")
    named = (dict(zip(DECISION_COLUMNS, row, strict=True)) for row in rows)
    texts = ("context", "models", "items", "degraded")
    return {one["decision_id"]: {**one, **{name: msgspec.json.decode(one[name]) for name in texts}} for one in named}


def test_every_recorded_decision_comes_out_the_same_when_it_is_taken_again(visited: tuple[Shop, list[Visit]]) -> None:
    (shop, visits), seen = visited, Counter[str]()
    rows = decisions(shop)
    assert len(rows) == len(visits)
    for visit in visits:
        reply, row = visit.recommended, rows[visit.recommended.decision_id]
        asked, models, again = shop.again(visit, row)
        assert recommendations.on_wire(again, row["decision_id"], models) == reply  # items, scores, reasons, weights, fallbacks
        assert again.ranking.item_ids == row["items"] == [item.item_id for item in reply.items]
        assert (again.dealt.profile, again.dealt.propensity) == (row["profile"], row["propensity"])
        assert (tuple(again.assignment), again.context) == ((row["experiment"], row["variant"]), row["context"])
        assert set(row["items"]) <= set(GOODS) - {*SOLD_OUT, asked.item_id}
        seen.update({row["variant"], row["profile"].partition("@")[0], *again.degraded, *row["context"]})
        seen.update(one["via"] for because in again.ranking.because or [] for one in because if "via" in one)
        seen.update({again.goal.asked})
        seen.update({"explained": asked.explain, "ranked": asked.ranker and asked.limit > 1, "some": len(row["items"]) > 1})
    of_each_kind = (
        *("dynamic", "static", "interleaved", "heuristic", "learned", "action_weights", "explained", "ranked", "some"),
        *("history", "category", "auto", *GOALS),
    )
    fallbacks = ("recent_items", "unknown_user", "unknown_item", "session_empty", "filled_with_popular", "history_unknown")
    assert {name: seen[name] for name in (*of_each_kind, *fallbacks) if seen[name] < 3} == {}


def test_every_assessment_comes_out_the_same_from_the_log(visited: tuple[Shop, list[Visit]]) -> None:
    shop, visits = visited
    rows = decisions(shop)
    for visit in visits:
        row = rows[visit.recommended.decision_id]
        models, session = shop.models_of(row), shop.session_of(visit, row["user_id"])
        known = engagement_features(
            Remembered(), row["user_id"], last_item(session), bool(session.item_ids), row["decided_at_us"]
        )
        again = assess(session, models, known, None, row["decided_at_us"])
        assert engagement.on_wire(again, models, visit.engaged.signal) == msgspec.structs.replace(visit.engaged, user=None)
        assert again.outlook is not None
        assert list(visit.engaged.next_action.short_term) == list(NEXT_ACTIONS)


def test_a_decision_by_live_associations_names_the_event_that_they_had_come_to(crowned: Path, tmp_path: Path) -> None:
    """What they were then is made again from the champion and the log, up to rounding: so items may change places at a tie."""
    shop, visits = opened(crowned, tmp_path / "home", Following, 20)
    rows = decisions(shop)
    for visit in visits:
        row = rows[visit.recommended.decision_id]
        assert row["context"]["associations"] >= visit.until
        _, _, again = shop.again(visit, row)
        scores = [item.score for item in visit.recommended.items]
        assert again.ranking.scores == pytest.approx(scores, rel=1e-4)
        clear = [item.item_id for item in visit.recommended.items if item.score > 1.001 * scores[-1]]
        assert set(clear) <= set(again.ranking.item_ids)


def test_an_answer_travels_with_every_intent_and_event_type_and_without_nan(visited: tuple[Shop, list[Visit]]) -> None:
    for visit in visited[1]:
        assert list(visit.recommended.intent.probabilities) == list(INTENTS)
        assert list(visit.recommended.weights) == list(EVENT_TYPES)
        assert visit.recommended.models.keys() >= {"intent", "associations", "ranker"}
        assert b"null" not in msgspec.json.encode([item for item in visit.recommended.items if item.because is not None])


def test_the_same_request_brings_the_same_answer_until_something_has_happened(crowned: Path, tmp_path: Path) -> None:
    shop, visits = opened(crowned, tmp_path / "home", ChampionWatcher, 12)
    with TestClient(shop.app) as client:
        for visit in visits:
            again = [client.post("/v1/recommendations", json=visit.asked).json() for _ in range(5)]
            assert len({msgspec.json.encode({**one, "decision_id": ""}) for one in again}) == 1
