"""The shadow: what a challenger would have answered is summed up, and the visitor's answer stays what it was."""

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from flows.evaluate import shadowed
from infra import registry
from infra.settings import Settings
from infra.store.statements import shadow as shadow_tables
from models import weight_profile as weights
from models.bandit.arms import STATIC_ARM
from models.item_ranking import ItemRanking
from models.model_set import ModelSet
from models.recommend import Assignment, Goal, Recommendation
from models.schema import INTENTS
from models.weight_profile import STATIC
from services.api import recommendations, wire
from services.api.app import build_app
from services.api.collaborators import Unobserved
from services.http.calls import Call
from services.http.guard import AdmitAll
from services.http.partners import SCOPES, Caller
from services.serving.model_watch import ChampionWatcher
from services.serving.shadow import MAX_WAITING, Shadow, likeness
from tests.stores import connect, copied
from tests.waiting import until

EXAMPLE = msgspec.json.encode(recommendations.EXAMPLE)


@pytest.fixture
def home(crowned: Path, tmp_path: Path) -> Path:
    return copied(crowned, tmp_path / "home")


def challenge(home: Path, view: float = 0.9) -> None:
    """A challenger with other weights."""
    base = weights.base_weights()
    base[0] = view
    version = registry.save(home, "weights", weights.to_parts(weights.profile(base, weights.heuristic_factors())), {})
    registry.set_alias(home, "challenger", {"weights": version}, action="train", actor="test", reason="test")


@pytest.fixture
def champions(home: Path) -> Iterator[ChampionWatcher]:
    watcher = ChampionWatcher(home)
    watcher.start()
    yield watcher
    watcher.stop()


def recommendation(label: str, *items: str) -> Recommendation:
    p = np.where(np.isin(INTENTS, label), 0.5, np.where(np.isin(INTENTS, ("exploratory", "research")), 0.25, 0.0))
    ranking = ItemRanking(list(items), [1.0] * len(items))
    return Recommendation(p, STATIC.base, ranking, Assignment("e", "v"), STATIC_ARM, {}, [], Goal("auto", np.full(3, 1 / 3)))


def test_answers_are_compared_by_label_items_and_probabilities() -> None:
    ours = recommendation("exploratory", "a", "b", "c", "d")
    assert likeness(ours, ours) == (True, 1.0, 0.0)
    assert likeness(ours, recommendation("research", "a", "x")) == (False, 0.25, 0.25)
    assert likeness(recommendation("research"), recommendation("research")).overlap == 1.0


class Shadowed(Unobserved):
    """Remembers how answers compare."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []

    def shadowed(self, outcome: str) -> None:
        self.outcomes.append(outcome)


def test_requests_are_scored_by_the_challenger_and_the_answers_stay_the_champions(home: Path) -> None:
    settings = Settings(home=home, shadow_share=1.0)
    observer = Shadowed()
    outcomes = observer.outcomes
    app = build_app(settings, authenticator=AdmitAll(), observer=observer)
    call = Call(Caller("local", frozenset(SCOPES), "sk"), EXAMPLE, {}, {}, {}, time.time_ns() // 1000)

    async def ask() -> wire.Recommendation:
        answer: wire.Recommendation = await app.endpoints["POST", "/v1/recommendations"].handler(call)
        return answer

    async def session() -> None:
        await app.start()
        before = await ask()
        assert not app.shared.shadow.wants()  # there is no challenger yet
        challenge(home)
        await asyncio.to_thread(until, app.shared.shadow.wants)
        answers = [await ask() for _ in range(5)]
        assert all(one.models == before.models and one.items == before.items for one in answers)
        await asyncio.to_thread(until, lambda: len(outcomes) == 5)
        await app.stop()

    asyncio.run(session())
    assert outcomes == ["same_label"] * 5  # the weights differ, the intent model does not
    ((kind, *sums),) = connect(home).execute(shadow_tables.READ, (challenger_set(home),)).fetchall()
    found = shadow_tables.summary(tuple(sums))
    assert (kind, found["n_requests"], found["n_failed"], found["label_agreement"]) == ("recommendations", 5, 0, 1.0)
    assert found["probability_distance"] == 0.0
    assert found["challenger_ms"] > 0  # type: ignore[operator]
    assert set(shadowed(home, {"weights": 2})) == {"recommendations"}  # whatever else served with them
    assert shadowed(home, {"weights": 3}) == shadowed(home, {"weights": 2, "oracle": 1}) == {}


def challenger_set(home: Path) -> str:
    return shadow_tables.named({**registry.champions(home), **registry.aliased(home, "challenger")})


def test_a_challenger_that_fails_is_counted_and_harms_nobody(home: Path, champions: ChampionWatcher) -> None:
    challenge(home)
    outcomes: list[str] = []
    shadow = Shadow(home, 1.0, champions, random.Random(1), outcomes.append)
    shadow.start()
    until(shadow.wants)

    def score(models: ModelSet) -> Recommendation:
        if models.versions["weights"] > 1:
            raise IndexError("beyond the table")
        return recommendation("research")

    shadow.offer("recommendations", score)
    until(lambda: outcomes == ["failed"])
    shadow.stop()
    ((n, n_failed),) = connect(home).execute("SELECT n_requests, n_failed FROM shadow").fetchall()
    assert (n, n_failed) == (1, 1)


def test_a_full_queue_drops_and_a_share_of_nothing_starts_nothing(home: Path, champions: ChampionWatcher) -> None:
    outcomes: list[str] = []
    shadow = Shadow(home, 0.0, champions, random.Random(1), outcomes.append)
    shadow.start()
    for _ in range(MAX_WAITING + 3):
        shadow.offer("recommendations", lambda models: recommendation("research"))
    assert outcomes == ["dropped"] * 3
    shadow.stop()


def test_a_challenger_that_lost_its_alias_is_let_go(home: Path) -> None:
    challenge(home)
    watcher = ChampionWatcher(home, poll_s=0.02, alias="challenger")
    watcher.start()
    assert watcher.current().versions == {"weights": 2}
    registry.set_alias(home, "challenger", {"weights": None}, action="test", actor="test", reason="test")
    until(lambda: watcher.current().versions == {})
    assert watcher.current().weights is None
    watcher.stop()
