"""Every type of event changes what a shop's visitors are shown, and intent moves the weights as the design asks, over HTTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from infra import registry
from infra.settings import Settings
from models import weight_profile
from models.associations import from_log
from models.associations import model as associations
from models.features import sessions
from models.goal_prior import HEURISTIC_GOALS
from models.inference import examples, labels
from models.inference import intent as intent_model
from models.learners.trees import BoostParams
from models.schema import EVENT_TYPES, ITEM_EVENT_TYPES, EventType
from models.simulator import ShopConfig, simulate
from models.simulator.catalogue import category_names
from services.api.app import build_app
from services.http.guard import AdmitAll

CATEGORY = str(category_names(4)[0])
ABOUT_ITEMS = ITEM_EVENT_TYPES | {EventType.SPEC_COMPARE}
STATIC = dict(zip(EVENT_TYPES, weight_profile.STATIC.base.tolist(), strict=True))
SCRIPTS = {
    "exploratory": (["category_browse", "item_view"], {"item_view": 1, "category_browse": 1, "purchase": -1}),
    "comparative": (["detail_view", "spec_compare"], {"item_view": 1, "spec_compare": 1}),
    "intent_to_purchase": (["add_to_cart", "cart_view", "checkout_view"], {"cart_view": 1, "checkout_view": 1}),
    "research": (["detail_view", "review_read", "content_view"], {"item_view": 1, "review_read": 1}),
}


@pytest.fixture(scope="module")
def client(crowned: Path) -> Iterator[TestClient]:
    """A shop of sixty items whose champions are its intent model, its associations and the heuristic goal weights."""
    log, _ = examples.read_log(simulate(ShopConfig(n_users=300, n_days=3, n_items=60, n_categories=4, seed=3)).events)
    features, likely = sessions.fold(log.events, log.starts), labels.intent_probabilities(log.events, log.starts)
    guess = intent_model.fit(features, likely, BoostParams(n_rounds=60), valid=np.arange(len(features)) % 5 == 0)
    champions = {
        "intent": intent_model.to_parts(guess),
        "associations": associations.to_parts(from_log.built(log, {})),
        "weights": weight_profile.to_parts(HEURISTIC_GOALS),
    }
    versions = {name: registry.save(crowned, name, parts, {}) for name, parts in champions.items()}
    registry.set_alias(crowned, registry.CHAMPION, versions, action="promote", actor="test", reason="types")
    with TestClient(build_app(Settings(home=crowned), authenticator=AdmitAll())) as opened:
        yield opened


@pytest.fixture(scope="module")
def user(client: TestClient) -> str:
    """A visitor of the dynamic variant."""
    return next(f"u-{n}" for n in range(99) if ask(client, f"u-{n}", [])["experiment"]["variant"] == "dynamic")


def ask(client: TestClient, user: str, events: list[dict[str, Any]]) -> dict[str, Any]:
    asked = {"user_id": user, "session_data": {"session_id": "s", "events": events}, "limit": 10}
    answer: dict[str, Any] = client.post("/v1/recommendations", json=asked).json()
    return answer


def event(kind: str, nth: int, item: int) -> dict[str, Any]:
    about = {"item_id": f"sku-{item:05d}"} if EventType[kind.upper()] in ABOUT_ITEMS else {}
    return {"type": kind, "ts": f"2026-11-21T10:00:{nth:02d}Z", "category": CATEGORY, **about}


def visits() -> Iterator[list[dict[str, Any]]]:
    rng = np.random.default_rng(0)
    for _ in range(12):
        a, b, c = rng.permutation(60)[:3].tolist()
        yield [event("add_to_cart", 0, a), event("item_view", 1, b), event("item_view", 2, c)]


@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_another_event_of_a_type_changes_some_list(client: TestClient, user: str, kind: str) -> None:
    def shown(events: list[dict[str, Any]]) -> list[str]:
        return [item["item_id"] for item in ask(client, user, events)["items"]]

    more = [[*one, event(kind, 3, int(str(one[1]["item_id"])[-5:]))] for one in visits()]
    assert any(shown(one) != shown(longer) for one, longer in zip(visits(), more, strict=True))


@pytest.mark.parametrize("intent", SCRIPTS)
def test_a_pure_intent_moves_weights_as_the_design_asks_and_the_goals_are_told(
    client: TestClient, user: str, intent: str
) -> None:
    kinds, signs = SCRIPTS[intent]
    answer = ask(client, user, [event(kind, 3 * n + k, n) for n in range(3) for k, kind in enumerate(kinds)])
    assert answer["goal"]
    for kind, sign in signs.items():
        assert sign * (answer["weights"][kind] - STATIC[kind]) > 0
