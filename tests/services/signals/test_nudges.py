"""What a signal may name, and that the worker and the API decide alike."""

import asyncio
import json
import random
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from infra import registry
from infra.secret import secret
from infra.settings import Settings
from infra.store.engines import open_store, open_writer
from infra.store.statements.catalog import NEXT_CHANGE, PUT_ITEM, PUT_OFFER
from infra.store.statements.signals import PUT_POLICY
from models.assess import Assessment, Products
from models.engagement.policy import SignalPolicy
from models.engagement.signals import Offer
from models.events.identity import partner_key, pseudonym
from models.events.rules import to_row
from models.live_session import LiveSession
from models.model_set import ModelSet
from models.schema import SESSION_FEATURES
from services.api.app import build_app
from services.api.session_data import live_session
from services.api.wire import SessionData
from services.http.calls import Call
from services.http.partners import SCOPES, Caller
from services.serving.features import NoFeatures, OnlineSource
from services.signals.catalog import Catalog
from services.signals.shelf import UNSPENT, NoCatalogs, Spent, VisitorShelf
from services.worker.signals import SignalDuty
from tests.stores import connect, settled
from tests.waiting import PATIENCE_S

NOW_US = 1_790_000_000_000_000
TS = "2026-09-21T14:13:{:02}Z"


async def awaited(answer: Awaitable[Any]) -> Any:
    return await answer


def visit(*events: tuple[str, str, float | None, str | None]) -> LiveSession:
    """A session of (type, item, price, category)."""
    told = [
        {"type": kind, "ts": TS.format(n), "item_id": item, "price": price, "category": category}
        for n, (kind, item, price, category) in enumerate(events)
    ]
    return live_session(msgspec.convert({"events": told}, SessionData), NOW_US)


def assessed(products: tuple[str, ...] = (), cart: tuple[str, ...] = ()) -> Assessment:
    features = np.zeros(len(SESSION_FEATURES), dtype=np.float32)
    return Assessment(0.5, 0.5, 0.0, features, None, Products(lambda: list(products)), list(cart), [])


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Two products in stock, one sold out, two articles; offers on everything, on hats, and one that has ended."""
    store = connect(tmp_path)
    ((change,),) = store.execute(NEXT_CHANGE, ("shop",)).fetchall()
    items = [
        ("hat", "item", "hats", 30.0, 5, "A hat", "https://shop.example/hat"),
        ("shoe", "item", "shoes", 80.0, None, None, None),
        ("gone", "item", "hats", 10.0, 0, None, None),
        ("on-hats", "content", "hats", None, None, "On hats", None),
        ("on-shoes", "content", "shoes", None, None, "On shoes", None),
    ]
    offers = [
        ("all", None, 10.0, None, "EUR", "TEN", 5.0, None, "[]", "[]", None, None, 1),
        ("hats", "Off hats", None, 4.0, None, None, None, None, '["hats"]', "[]", None, None, 1),
        ("over", None, 50.0, None, None, None, None, None, "[]", "[]", None, NOW_US, 1),
        ("off", None, 50.0, None, None, None, None, None, "[]", "[]", None, None, 0),
        ("dear", None, 50.0, None, None, None, None, 100.0, "[]", "[]", None, None, 1),
    ]
    for row in items:
        store.execute(PUT_ITEM, ("shop", *row, NOW_US, change))
    for offer in offers:
        store.execute(PUT_OFFER, ("shop", *offer, NOW_US, change))
    found = Catalog(tmp_path)
    found.refresh(0.0)
    return found


def shelf(
    goods: Any, found: Assessment, session: LiveSession, policy: SignalPolicy | None = None, spent: Spent = UNSPENT
) -> Any:
    return VisitorShelf(found, lambda: session, goods, policy or SignalPolicy(), spent, "shop", NOW_US)


def test_products_are_in_the_catalogue_and_in_stock(catalog: Catalog) -> None:
    found = shelf(catalog, assessed(("gone", "unknown", "on-hats", "shoe", "hat")), visit())
    assert found.product_ids == ("shoe", "hat")
    told = {"title": "A hat", "url": "https://shop.example/hat", "price": 30.0, "category": "hats"}
    assert found.details["hat"] == told
    assert shelf(NoCatalogs(), assessed(("gone", "unknown")), visit()).product_ids == ("gone", "unknown")


def test_articles_of_the_sessions_category_come_first_and_none_twice(catalog: Catalog) -> None:
    browsing = visit(("item_view", "hat", None, "hats"), ("item_view", "shoe", None, "shoes"))
    assert shelf(catalog, assessed(), browsing).content_ids == ("on-shoes", "on-hats")
    reading = visit(("item_view", "hat", None, "hats"), ("content_view", "on-hats", None, "hats"))
    assert shelf(catalog, assessed(), reading).content_ids == ("on-shoes",)


def test_offers_hold_for_what_lies_in_the_cart(catalog: Catalog) -> None:
    session = visit(("add_to_cart", "hat", None, None), ("add_to_cart", "shoe", 75.0, None))
    found = shelf(catalog, assessed(cart=("shoe", "hat")), session)
    assert found.cart_cents == 11_000  # the catalogue's prices
    assert found.offers == (
        Offer("all", 11_000, 10.0, None, 500, {"code": "TEN", "currency": "EUR"}),
        Offer("hats", 3_000, None, 400, None, {"title": "Off hats"}),
    )
    assert [o.offer_id for o in shelf(catalog, assessed(cart=("shoe",)), session).offers] == ["all"]
    assert shelf(catalog, assessed(), session).offers == ()


def test_a_price_that_nobody_knows_leaves_the_value_open(catalog: Catalog) -> None:
    session = visit(("add_to_cart", "hat", None, None), ("add_to_cart", "strange", None, None))
    assert shelf(catalog, assessed(cart=("strange", "hat")), session).cart_cents is None
    priced = visit(("item_view", "strange", 9.5, None), ("add_to_cart", "strange", None, None))
    assert shelf(catalog, assessed(cart=("strange",)), priced).cart_cents == 950


@pytest.mark.parametrize(
    ("policy", "spent", "left"),
    [
        (SignalPolicy(), Spent({"all": 320}, 320, 320), [180, None]),
        (SignalPolicy(), Spent({"all": 900}, 900, 900), [0, None]),  # the budget was made smaller meanwhile
        (SignalPolicy(max_discount_cents=1_000), Spent({"gone": 700}, 0, 700), [300, 300]),
        # It is 14:13: of a day's 1,000 may 613 have been spent.
        (SignalPolicy(max_discount_cents_per_day=1_000), Spent({"all": 450}, 450, 450), [50, 163]),
        (SignalPolicy(max_discount_cents_per_day=1_000), Spent({"all": 450}, 0, 450), [50, 613]),  # another day
    ],
)
def test_what_is_left_is_the_smallest_of_all_budgets(
    catalog: Catalog, policy: SignalPolicy, spent: Spent, left: list[int]
) -> None:
    found = shelf(catalog, assessed(cart=("hat",)), visit(("add_to_cart", "hat", None, None)), policy, spent)
    assert [offer.left_cents for offer in found.offers] == left


def test_the_worker_sends_what_the_api_says_it_would_send(crowned: Path, tmp_path: Path) -> None:
    models = {name: registry.load_model(crowned, name, 1) for name in ("intent", "next_action", "associations")}
    champions = ModelSet(**models, versions=dict.fromkeys(models, 1))
    early = '"min_score_product": 0.01, "min_p_leave": 0.01, "n_search_refines_support": 2'
    policy = f'{{"thresholds": {{{early}}}, "holdout_share": 0.2, "cool_down_s": 0, "max_per_day": 1000}}'
    connect(tmp_path).execute(PUT_POLICY, ("shop", policy, 1))

    class Source:
        def start(self) -> None: ...

        def stop(self) -> None: ...

        def current(self) -> ModelSet:
            return champions

        def problems(self) -> dict[str, str]:
            return {}

    app = build_app(Settings(home=tmp_path), champions=Source(), online=NoFeatures())
    online = OnlineSource(Settings(home=tmp_path), NoFeatures())
    worker = SignalDuty(open_store(tmp_path), Source(), online, Catalog(tmp_path), random.Random(0))
    writer = open_writer(tmp_path, lambda: NOW_US)
    kinds = ("item_view", "add_to_cart", "search_refine", "review_read", "item_view", "cart_view")
    expected = []
    for n in range(30):
        rng = np.random.default_rng(n)
        chosen = [str(kinds[k]) for k in rng.integers(len(kinds), size=6)]
        events = [
            {"type": kind, "item_id": f"sku-{rng.integers(1, 90):05}", "price": 9.0, "ts": TS.format(second)}
            for second, kind in enumerate(chosen)
        ]
        body = json.dumps({"user_id": f"u{n}", "session_data": {"events": events}}).encode()
        call = Call(Caller("shop", frozenset(SCOPES), "sk"), body, received_at_us=NOW_US)
        answer = asyncio.run(awaited(app.endpoints["POST", "/v1/engagement"].handler(call)))
        user = pseudonym(partner_key(secret(tmp_path), "shop"), f"u{n}")
        rows = [to_row({"event_id": f"{n}-{second}", "session_id": "s", **event}, user) for second, event in enumerate(events)]
        writer.append("shop", rows).result(PATIENCE_S)
        held = answer.signal.withheld is not None and answer.signal.withheld.reason == "held_out"
        kind = answer.signal.withheld.type if held and answer.signal.withheld else answer.signal.type
        expected.append((user, held, kind, answer.engagement.score))
    writer.close()
    settled(tmp_path)
    while worker.step(NOW_US):
        pass
    store = connect(tmp_path)
    scores = dict(store.execute("SELECT user_id, score FROM signal_users"))
    sent = {user: (False, kind) for user, kind in store.execute("SELECT user_id, type FROM signals")}
    sent |= {user: (True, kind) for user, kind in store.execute("SELECT user_id, type FROM holdout")}
    assert sent == {user: (held, kind) for user, held, kind, _ in expected if kind != "no_action"}
    assert scores == {user: pytest.approx(score) for user, _, _, score in expected}
    assert len({kind for _, kind in sent.values()}) > 1
    assert {held for held, _ in sent.values()} == {True, False}
