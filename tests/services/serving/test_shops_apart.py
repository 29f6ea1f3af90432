"""Partners are shops of their own: however hard one pushes an item, no list of another moves, live or built anew."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from infra import registry
from infra.settings import Settings
from infra.store.engines import open_store
from infra.store.events import newest_believed, partners_of
from models.artifact import Parts
from models.associations import from_log as log_associations
from models.associations import model as associations
from models.associations.eviction import Bounds
from models.events.encode import NO_CODE
from models.inference import examples, shops
from models.inference.examples import Log
from models.model_set import ModelSet
from models.ranker import from_log as log_ranker
from models.ranker import model as ranker
from models.simulator import ShopConfig, simulate
from services.api.app import build_app
from services.http import partners
from services.serving.associations import LiveChampions
from services.serving.features import NoFeatures
from services.serving.model_watch import ChampionWatcher
from tests.stores import append_events, copied
from tests.waiting import until

CONFIG = ShopConfig(n_users=50, n_days=2, n_items=40, n_categories=4)
BASE, OURS, THEIRS = (simulate(replace(CONFIG, seed=seed)).events for seed in range(3))
ANCHOR, PUSHED = (str(OURS["item_id"].value_counts().index[place]) for place in (0, -1))
GHOST = "no such item"
Lists = dict[tuple[str | None, str, bool], list[str]]


def build(home: Path, *, one_shop: bool = False) -> None:
    """Make what the next training would of the log the champions."""
    with closing(open_store(home)) as store:
        frame = newest_believed(store, 1_000_000)
    log, _ = examples.read_log(frame)
    log = log._replace(senders=None) if one_shop else log

    def pairs(part: Log) -> Parts:
        return associations.to_parts(replace(log_associations.built(part, {}), built_to_seq=int(frame["seq"].max())))

    made = {"associations": shops.fit(log, pairs), "ranker": shops.fit(log, lambda part: ranker.to_parts(log_ranker.fit(part)))}
    versions = {name: registry.save(home, name, parts, {}) for name, parts in made.items()}
    registry.set_alias(home, registry.CHAMPION, versions, action="promote", actor="test", reason="to serve")


@pytest.fixture(scope="module")
def divided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of three partners, each with models of its own."""
    home = tmp_path_factory.mktemp("divided")
    fill(home)
    build(home)
    return home


def fill(home: Path) -> None:
    for partner, events in (("local", BASE), ("a", THEIRS), ("b", OURS)):
        append_events(home, events.assign(user_id=partner + events["user_id"]), partner)


@contextmanager
def served(home: Path) -> Iterator[Callable[..., Any]]:
    """Calls of the API: partner, path and body, with that partner's server key, or its browser key."""
    keys = {(name, kind): partners.add(home, name, 1, kind) for name in ("local", "a", "b", "new") for kind in ("sk", "pk")}
    with TestClient(build_app(Settings(home=home), online=NoFeatures())) as client:

        def post(partner: str, path: str, body: Any, kind: str = "sk") -> Any:
            answer = client.post(path, json=body, headers={"authorization": f"Bearer {keys[partner, kind]}"})
            assert answer.status_code < 300, answer.text
            return answer.json()

        yield post


def lists(post: Callable[..., Any], partner: str) -> Lists:
    """Every list of a partner: beside items and without, to both variants, of associations and ranker."""
    asked = [(item, user, asks) for item in (None, ANCHOR, PUSHED) for user in ("u-1", "u-2", "u-3") for asks in (False, True)]
    return {
        (item, user, asks): [
            one["item_id"]
            for one in post(partner, "/v1/recommendations", {"user_id": user, "item_id": item, "ranker": asks})["items"]
        ]
        for item, user, asks in asked
    }


def push(post: Callable[..., Any], partner: str, kind: str = "sk", n: int = 60) -> None:
    """Visitors who look at the anchor, then at what is pushed, and buy it."""
    ts = datetime.fromtimestamp(time.time() - 60, UTC).isoformat()
    steps = [("item_view", ANCHOR), *((deed, item) for item in (PUSHED, GHOST) for deed in ("item_view", "purchase"))]
    events = [
        {"event_id": f"{kind}-{visitor}-{k}", "user_id": f"{kind}-{visitor}", "type": deed, "item_id": item, "ts": ts}
        for visitor in range(n)
        for k, (deed, item) in enumerate(steps)
    ]
    assert post(partner, "/v1/events", {"events": events}, kind)["accepted"] == len(events)


def first_beside_anchor(post: Callable[..., Any], partner: str) -> list[str]:
    found = post(partner, "/v1/recommendations", {"user_id": "u-1", "item_id": ANCHOR, "limit": 2})["items"]
    return [one["item_id"] for one in found]


def test_a_partner_moves_its_own_lists_and_no_others(divided: Path, tmp_path: Path) -> None:
    home = copied(divided, tmp_path / "home")
    with served(home) as post:
        before = {partner: lists(post, partner) for partner in ("b", "local", "new")}
        push(post, "a")
        push(post, "a", "pk")
        until(lambda: GHOST in first_beside_anchor(post, "a"), "what a partner sends does not count for itself")
        assert {partner: lists(post, partner) for partner in before} == before
    build(home)
    with served(home) as post:
        assert {partner: lists(post, partner) for partner in before} == before
        assert GHOST in first_beside_anchor(post, "a")


def test_a_new_partner_has_the_base_and_what_it_sends(divided: Path, tmp_path: Path) -> None:
    home = copied(divided, tmp_path / "home")
    with served(home) as post:
        before = {partner: lists(post, partner) for partner in ("b", "local")}
        push(post, "new")
        until(lambda: GHOST in first_beside_anchor(post, "new"), "what a new partner sends does not count for it")
        assert {partner: lists(post, partner) for partner in before} == before
    with served(home) as post:
        until(lambda: GHOST in first_beside_anchor(post, "new"), "a new start forgets it")


def test_as_one_shop_they_share(tmp_path: Path) -> None:
    fill(tmp_path)
    build(tmp_path, one_shop=True)
    with served(tmp_path) as post:
        push(post, "a")
        until(lambda: GHOST in first_beside_anchor(post, "b"), "one shop does not share")


def test_a_set_of_models_that_is_held_stays_as_it_is(divided: Path, tmp_path: Path) -> None:
    home = copied(divided, tmp_path / "home")
    watcher = ChampionWatcher(home)
    watcher.refresh()
    source = LiveChampions(home, watcher, poll_s=0.01)
    source.start()
    try:
        until(lambda: source.current().associations is not watcher.current().associations, "the tail is not followed")
        held = source.current().of("new")
        append_events(home, THEIRS[:20].assign(item_id=GHOST, user_id="v"), "new")
        until(lambda: known(source.current().of("new")), "what a new partner sends does not count for it")
        assert not known(held)
        assert not known(source.current())
        assert partners_of(open_store(home)) == ["a", "b", "local", "new"]
    finally:
        source.stop()


def known(models: ModelSet) -> bool:
    return models.associations is not None and models.associations.code(GHOST) != NO_CODE


def test_shops_share_one_bound_and_the_largest_gives_way(divided: Path, tmp_path: Path) -> None:
    home = copied(divided, tmp_path / "home")
    source = LiveChampions(home, ChampionWatcher(home), poll_s=0.01, most=Bounds(items=100))
    source.start()

    def known_of(partner: str, marks: str) -> int:
        found = source.current().associations
        return 0 if found is None else sum(one.startswith(marks) for one in found.of(partner).item_ids)

    def tell(partner: str, marks: str, n: int) -> None:
        events = OURS.head(1).loc[[OURS.index[0]] * n].reset_index(drop=True)
        names = [f"{marks}{k}" for k in range(n)]
        append_events(home, events.assign(event_id=names, user_id=names, item_id=names, event_type="item_view"), partner)

    try:
        tell("b", "few-", 20)
        until(lambda: known_of("b", "few-") == 20, "the tail is not followed")
        tell("a", "many-", 300)
        until(lambda: "associations" in source.problems(), "nothing was let go")
        tell("b", "last-", 1)
        until(lambda: known_of("b", "last-") == 1, "the tail is not followed any more")
        assert (known_of("b", "few-"), known_of("a", "many-") <= 80) == (20, True)
    finally:
        source.stop()
