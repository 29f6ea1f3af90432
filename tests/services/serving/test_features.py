from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from infra.settings import Settings
from models.events.touches import History, text_of
from models.schema import ITEM_FEATURES, LAST_EVENT_AT, RECENT_ITEMS_AT, USER_FEATURES, USER_RECENT_EVENTS, USER_RECENT_ITEMS
from services.serving.features import FeastFeatures, NoFeatures, StoreUnreachable, open_features

NOW_US = 1_700_000_000_000_000
DAY_US = 86_400_000_000


class Store:
    """Answers like Feast: one row, or a failure."""

    def __init__(self, row: dict[str, Any], at_s: int = NOW_US // 10**6) -> None:
        self.row, self.at_s, self.n_asked, self.fails = row, at_s, 0, False

    def history(self, user_id: str) -> History | None:
        raise NotImplementedError

    def read(self, view: str, key: str, names: Collection[str]) -> tuple[dict[str, Any], int]:
        self.n_asked += 1
        if self.fails:
            raise ConnectionRefusedError("nobody home")
        return {name: self.row[name] for name in names if name in self.row}, self.at_s


def reader(store: Store, clock: Any = lambda: 0.0) -> FeastFeatures:
    return FeastFeatures(store, max_age_s=86_400, failures=(OSError,), clock=clock)


def user_row(at_us: int) -> dict[str, Any]:
    return {name: float(n) for n, name in enumerate(USER_FEATURES)} | {LAST_EVENT_AT: at_us}


def test_a_fresh_user_is_read_in_schema_order() -> None:
    found = reader(Store(user_row(NOW_US - DAY_US))).user("u", NOW_US)
    assert found is not None
    assert found.row.tolist() == list(range(len(USER_FEATURES)))
    assert found.row.dtype == np.float32
    assert found.last_event_at_us == NOW_US - DAY_US


def test_what_is_too_old_or_absent_is_as_good_as_nothing() -> None:
    assert reader(Store(user_row(NOW_US - DAY_US - 1))).user("u", NOW_US) is None
    assert reader(Store({})).user("u", NOW_US) is None
    assert reader(Store({}, at_s=0)).item("i", NOW_US) is None
    items = {USER_RECENT_ITEMS: ["b", "a"], RECENT_ITEMS_AT: NOW_US - 5}
    assert reader(Store(items)).recent_items("u", NOW_US) == (["b", "a"], NOW_US - 5)
    assert reader(Store(items | {RECENT_ITEMS_AT: NOW_US - 2 * DAY_US})).recent_items("u", NOW_US) is None
    assert reader(Store({USER_RECENT_ITEMS: []})).recent_items("u", NOW_US) is None
    old_item = dict.fromkeys(ITEM_FEATURES, 1.0)
    assert reader(Store(old_item, at_s=NOW_US // 10**6 - 90_000)).item("i", NOW_US) is None


def test_a_store_that_fails_is_left_alone_for_a_while() -> None:
    now = [0.0]
    store = Store(user_row(NOW_US))
    features = reader(store, lambda: now[0])
    store.fails = True
    for _ in range(3):
        with pytest.raises(StoreUnreachable):
            features.user("u", NOW_US)
    assert store.n_asked == 1
    store.fails = False
    now[0] = 1.5
    assert features.user("u", NOW_US) is not None


def test_without_a_store_every_read_says_so() -> None:
    for read in (NoFeatures().user, NoFeatures().recent_items, NoFeatures().history, NoFeatures().item):
        with pytest.raises(StoreUnreachable):
            read("x", NOW_US)


def test_features_are_read_from_a_real_feast_store(tmp_path: Path) -> None:
    """The names, types and instants that the flows write are the ones we read."""
    from feature_repo.features import declare
    from feature_repo.store import open_store

    empty = open_features(Settings(home=tmp_path))
    with pytest.raises(StoreUnreachable):
        empty.user("u", NOW_US)
    store = open_store(tmp_path)
    declared = declare(tmp_path / "offline")
    store.apply([*declared.entities, *declared.views, *declared.services])
    at = pd.Timestamp(NOW_US, unit="us", tz="UTC")
    key = {"user_id": ["u"], "occurred_at": [at]}
    floats = {name: np.array([n], dtype=np.float32) for n, name in enumerate(USER_FEATURES)}
    touches = [text_of(10, NOW_US, "b c"), text_of(0, NOW_US - 5, "a")]
    recent = {USER_RECENT_ITEMS: [["b", "a"]], RECENT_ITEMS_AT: [NOW_US], USER_RECENT_EVENTS: [touches]}
    item = {name: np.array([2.5], dtype=np.float32) for name in ITEM_FEATURES}
    store.write_to_online_store("user_features", pd.DataFrame(key | floats | {LAST_EVENT_AT: [NOW_US]}))
    store.write_to_online_store("user_recent_items", pd.DataFrame(key | recent))
    store.write_to_online_store("item_features", pd.DataFrame({"item_id": ["i"], "occurred_at": [at]} | item))

    features = open_features(Settings(home=tmp_path))
    user = features.user("u", NOW_US)
    assert user is not None
    assert (user.row.tolist(), user.last_event_at_us) == (list(range(len(USER_FEATURES))), NOW_US)
    assert features.recent_items("u", NOW_US) == (["b", "a"], NOW_US)
    told = features.history("u", NOW_US)
    assert told is not None
    assert (told.item_ids, told.types.tolist(), told.at_us.tolist()) == (["b c", "a"], [10, 0], [NOW_US, NOW_US - 5])
    assert features.history("u", NOW_US + 400 * DAY_US) is None
    found = features.item("i", NOW_US)
    assert found is not None
    assert found.tolist() == [2.5] * len(ITEM_FEATURES)
    for read in (features.user, features.recent_items, features.history, features.item):
        assert read("never seen", NOW_US) is None
