"""What a page is told depends on what it says itself, and on nobody's history: two shops, alike but for whose history it is."""

import json
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from feature_repo.features import declare
from feature_repo.store import open_store as open_online
from infra.secret import secret
from infra.settings import Settings
from infra.store.engines import open_store
from infra.store.statements.cursors import MOVE_CURSOR
from services.api.app import build_app
from services.client import Attune
from services.http import partners
from services.serving.model_watch import ChampionWatcher
from services.worker.features import MATERIALIZED, open_duty
from tests.services.shop_door import NOW, NOW_US, SHOP
from tests.stores import copied

NAMED, SOMEBODY = "named-by-the-page", "somebody-else"
BEFORE = "before-they-said-who"  # an anonymous visitor, who became one of the two
ITEMS = [f"sku-{number:05d}" for number in range(1, 101)]
KINDS = ["item_view", "detail_view", "review_read", "wishlist_add", "add_to_cart"]
N_EVENTS, N_QUESTIONS = 120, 60


class Door:
    """A shop with models and online features, one of whose users has a history."""

    def __init__(self, alike: Path, home: Path, whose: str) -> None:
        copied(alike, home)
        self.server = partners.add(home, "shop", NOW_US)
        scopes = ("events:write", partners.PAGE, partners.EXPLAIN)
        self.page = partners.add(home, "shop", NOW_US, "pk", scopes=scopes, origins=[SHOP])
        declared = declare(home / "offline")
        with redirect_stdout(StringIO()):  # Feast prints its progress
            open_online(home, "embedded").apply([*declared.entities, *declared.views, *declared.services])
        self.app = build_app(Settings(home=home), champions=ChampionWatcher(home), now_us=lambda: NOW_US)
        self.client = TestClient(self.app)
        self.client.__enter__()
        told = self._as_server("/v1/events", {"events": history(whose)}).json()
        assert told["accepted"] == 2 * N_EVENTS, told
        self._as_server("/v1/identify", {"anonymous_id": BEFORE, "user_id": whose})
        store = open_store(home)
        store.write(lambda transaction: transaction.execute(MOVE_CURSOR, (MATERIALIZED, 0, NOW_US)))
        duty = open_duty(Settings(home=home))
        while duty.step(NOW_US):
            pass
        store.close()

    def _as_server(self, path: str, body: Any) -> Any:
        answer = self.client.post(path, json=body, headers={"authorization": f"Bearer {self.server}"})
        assert answer.status_code < 300, answer.text
        return answer

    def asked_by_page(self, question: dict[str, Any], **more: Any) -> dict[str, Any]:
        """The answer but for the name of the decision."""
        content = json.dumps({"key": self.page, "explain": True, **question, **more})
        answer = self.client.post("/v1/page", content=content, headers={"content-type": "text/plain", "origin": SHOP})
        assert answer.status_code == 200, answer.text
        return {name: value for name, value in answer.json().items() if name != "decision_id"}

    def asked_by_server(self, user_id: str) -> list[str]:
        """Items for a user of whom the shop's server asks."""
        return [item["item_id"] for item in self._as_server("/v1/recommendations", {"user_id": user_id}).json()["items"]]


def history(whose: str) -> list[dict[str, Any]]:
    """What somebody did in the last days, half of it before they said who they are."""
    rng = np.random.default_rng(3)
    found = []
    for number in range(2 * N_EVENTS):
        ts = NOW - timedelta(minutes=7 * (2 * N_EVENTS - number))
        fields = {"item_id": str(rng.choice(ITEMS[:40])), "type": str(rng.choice(KINDS)), "price": 5.0}
        user = BEFORE if number < N_EVENTS else whose
        found.append(
            {"event_id": f"h-{number}", "user_id": user, "session_id": f"s{number // 8}", "ts": ts.isoformat(), **fields}
        )
    return found


@pytest.fixture(scope="module")
def doors(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Door, Door]]:
    folder = tmp_path_factory.mktemp("doors")
    alike = copied(trained, folder / "alike")
    secret(alike)  # both deal by the same
    opened = Door(alike, folder / "one", NAMED), Door(alike, folder / "other", SOMEBODY)
    yield opened
    for one in opened:
        one.client.__exit__(None, None, None)


EVENTS = st.builds(
    lambda kind, item, minutes: {"type": kind, "item_id": item, "ts": (NOW - timedelta(minutes=minutes)).isoformat()},
    st.sampled_from(KINDS), st.sampled_from(ITEMS), st.integers(0, 25),
)  # fmt: skip
QUESTIONS = st.fixed_dictionaries(
    {"user_id": st.sampled_from([NAMED, BEFORE, SOMEBODY, "nobody"]), "limit": st.integers(1, 24)},
    optional={
        "item_id": st.sampled_from(ITEMS),
        "session_data": st.fixed_dictionaries({"events": st.lists(EVENTS, max_size=8)}),
        "exclude_seen": st.booleans(),
        "goal": st.sampled_from(["auto", "view", "add_to_cart", "purchase"]),
    },
)


@given(question=QUESTIONS)
@hypothesis_settings(max_examples=N_QUESTIONS)
def test_an_answer_to_a_page_does_not_change_by_whose_history_it_is(doors: tuple[Door, Door], question: dict[str, Any]) -> None:
    one, other = doors
    assert one.asked_by_page(question) == other.asked_by_page(question)


def test_whose_history_it_is_shows_where_the_shops_server_vouches(doors: tuple[Door, Door], monkeypatch: Any) -> None:
    """What makes the test above one that could fail: the histories are known to both, and tell where they may."""
    one, other = doors
    monkeypatch.setattr("time.time", lambda: NOW_US / 1e6)
    tokens = [Attune(door.server).visitor_token(NAMED) for door in doors]
    vouched = [door.asked_by_page({}, visitor_token=token) for door, token in zip(doors, tokens, strict=True)]
    assert vouched[0] != vouched[1]
    assert one.asked_by_server(NAMED) != other.asked_by_server(NAMED)
