"""Visitors that a browser key invents move nobody's recommendations: not live, and not after the next build.

The shop is simulated and told of by its server; the attacker's events go through the rule of `models.trust`.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from infra.store.engines import open_store
from infra.store.events import append_events, read_events
from infra.store.statements.catalog import NEXT_CHANGE, PUT_ITEM
from infra.store.statements.events import NOTHING_SAID
from infra.store.trust import Sender, append_from_browser
from models.associations import from_log as log_associations
from models.associations.model import AssociationStore
from models.events.rules import to_row
from models.inference import examples
from models.item_ranking import Asked
from models.known import NOTHING_KNOWN, Known
from models.live_session import EMPTY
from models.model_set import ModelSet
from models.ranker import from_log as log_ranker
from models.recommend import Who, recommend
from models.simulator import ShopConfig, simulate
from services.serving.association_tail import Tail
from services.signals.catalog import Catalog
from tests.stores import copied, settled

LEAST_VISITORS = 30  # of an anchor; with 100 less is moved still
GHOST = "no such item"
NOW_US = 1_763_719_200_000_000


class Shop(NamedTuple):
    home: Path
    events: pd.DataFrame
    before: ModelSet

    def anchors(self) -> list[str]:
        """Items with many honest visitors."""
        n_visitors = self.events.groupby("item_id")["user_id"].nunique()
        return sorted(n_visitors[n_visitors >= LEAST_VISITORS].index)


def built(home: Path, *, with_ranker: bool = True) -> ModelSet:
    """What the next build makes of the log."""
    with closing(open_store(home)) as store:
        frame = read_events(store, believed=True)
    log, _ = examples.read_log(frame)
    associations = replace(log_associations.built(log, {}), built_to_seq=int(frame["seq"].max()))
    return ModelSet(associations=associations, ranker=log_ranker.fit(log) if with_ranker else None)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    home = tmp_path_factory.mktemp("poisoned")
    events = simulate(ShopConfig(n_users=400, n_days=3, n_items=60, n_categories=4, seed=3)).events
    with closing(open_store(home)) as store:
        store.write(lambda transaction: append_events(transaction, events, "shop", NOW_US))
    settled(home)
    return Shop(home, events, built(home))


def shown(models: ModelSet, anchor: str | None, known: Known = NOTHING_KNOWN, *, ranker: bool = False) -> list[str]:
    """The list beside an item; the popular ones without."""
    asked = Asked(item_id=anchor, limit=20, ranker=ranker)
    return recommend(asked, EMPTY, models, known, Who("u", "d"), NOW_US, variant="dynamic").ranking.item_ids


def invented(n: int, anchors: list[str], pushed: str) -> Iterator[dict[str, Any]]:
    """What n visitors do: each looks at the anchors, and buys something."""
    for visitor in range(n):
        about = {"user_id": f"bot-{visitor}", "session_id": f"s-{visitor}"}
        for k, (item, kind) in enumerate(
            step for anchor in anchors for step in ((anchor, "item_view"), (pushed, "item_view"), (pushed, "purchase"))
        ):
            at = {"event_id": f"bot-{visitor}-{k}", "ts": f"2025-11-21T10:{visitor % 60:02}:{k % 60:02}Z"}
            yield {**about, **at, "type": kind, "item_id": item}


def attack(shop: Shop, home: Path, n: int, pushed: str, n_networks: int = 1) -> Path:
    """A copy of the shop in which n visitors were invented, from so many networks."""
    copied(shop.home, home)
    events = list(invented(n, shop.anchors()[:3], pushed))
    with closing(open_store(home)) as store:
        for network in range(n_networks):
            sender = Sender("shop", bytes(32), 1, f"192.0.{network}.7", NOW_US)
            mine = [event for event in events if int(event["user_id"].removeprefix("bot-")) % n_networks == network]
            rows = [(*to_row(event, event["user_id"]), *NOTHING_SAID) for event in mine]
            store.write(partial(append_from_browser, sender=sender, rows=rows))
    return home


def followed(home: Path, associations: AssociationStore | None) -> AssociationStore:
    """The associations when they have come to the end of the log."""
    assert associations is not None
    with closing(open_store(home)) as store:
        tail = Tail(store, associations)
        while tail.step():
            pass
        return tail.live.settle()


@pytest.mark.parametrize("n", [1, 300])
def test_visitors_of_one_network_move_no_list(shop: Shop, tmp_path: Path, n: int) -> None:
    pushed = shown(shop.before, shop.anchors()[0])[-1]
    home = attack(shop, tmp_path / "home", n, pushed)
    after = built(home)
    live = replace(shop.before, associations=followed(home, shop.before.associations))
    for anchor in [None, *shop.anchors()]:
        assert shown(live, anchor) == shown(after, anchor) == shown(shop.before, anchor)
        assert shown(after, anchor, ranker=True) == shown(shop.before, anchor, ranker=True)


def test_a_pushed_item_moves_by_one_place_at_most_where_visitors_come_from_many_networks(shop: Shop, tmp_path: Path) -> None:
    pushed = shown(shop.before, shop.anchors()[0])[-1]
    home = attack(shop, tmp_path / "home", 60, pushed, n_networks=6)
    with closing(open_store(home)) as store:
        ((n_believed,),) = store.read("SELECT sum(believed) FROM events WHERE browser = 1")
    assert 0 < n_believed < 20  # of 540
    models = built(home, with_ranker=False), replace(shop.before, associations=followed(home, shop.before.associations))
    for anchor in shop.anchors():
        before = shown(shop.before, anchor)
        for after in models:
            moved = [shown(models, anchor).index(pushed) for models in (after, shop.before)] if pushed in before else [0, 0]
            assert abs(moved[0] - moved[1]) <= 1


@pytest.mark.parametrize("ranker", [False, True])
def test_what_the_catalogue_does_not_have_is_in_no_list_whoever_speaks_of_it(shop: Shop, tmp_path: Path, ranker: bool) -> None:
    home = copied(shop.home, tmp_path / "home")
    told = shop.events[shop.events["item_id"] == shop.anchors()[0]]
    ghosts = [told.assign(item_id=GHOST, event_id=f"{k}/" + told["event_id"].astype(str)) for k in range(2)]
    with closing(open_store(home)) as store:
        store.write(lambda transaction: [append_events(transaction, ghost, "shop", NOW_US) for ghost in ghosts])
        goods = [("shop", item, "item", *[None] * 5, NOW_US, 1) for item in shop.events["item_id"].dropna().unique()]
        store.write(lambda transaction: (transaction.executemany(PUT_ITEM, goods), transaction.read(NEXT_CHANGE, ("shop",))))
    settled(home)
    catalog = Catalog(home, check_s=0)
    catalog.refresh(0.0)
    known = Known(allowed=partial(catalog.allowed, "shop"))
    live = replace(shop.before, associations=followed(home, shop.before.associations))
    after = built(home) if ranker else live
    anchors = [None, *shop.anchors()]
    assert any(GHOST in shown(after, anchor, ranker=ranker) for anchor in anchors)
    for anchor in anchors:
        assert GHOST not in shown(after, anchor, known, ranker=ranker)
        assert len(shown(after, anchor, known, ranker=ranker)) == 20
