"""The early-purchase curve: which moments it is about, and that thresholds come from earlier sessions."""

import numpy as np
import pytest

from models.evaluation import early
from models.schema import N_EVENT_TYPES, EventType


def seen(n: int, carts: int = 0, purchases: int = 0) -> list[float]:
    counts = np.zeros(N_EVENT_TYPES)
    counts[EventType.ITEM_VIEW], counts[EventType.ADD_TO_CART], counts[EventType.PURCHASE] = n, carts, purchases
    return counts.tolist()


@pytest.fixture
def came() -> early.Moments:
    """A session that looks, puts into a cart, and buys at its fourth event; one that only looks."""
    counts = np.array([seen(1), seen(1, 1), seen(2, 1), seen(2, 1, 1), seen(1), seen(2)])
    bought = np.array([True, True, True, False, False, False])
    return early.moments(np.array([1, 2, 3, 4, 1, 2]), counts, bought)


def test_each_point_is_about_its_own_moments(came: early.Moments) -> None:
    parts = {name: np.flatnonzero(rows).tolist() for name, rows in came.parts().items()}
    assert parts["after 1 event"] == [0, 4]
    assert parts["after 4 events"] == [3]
    assert parts["before the first cart"] == [0, 4, 5]
    assert parts["before the first purchase"] == [0, 1, 2, 4, 5]


def test_the_threshold_is_that_of_the_earlier_sessions(came: early.Moments) -> None:
    p = np.array([0.6, 0.6, 0.6, 0.6, 0.4, 0.4])
    told = early.curve({"well": (p, p), "too high": (p + 0.3, p)}, came, came)
    assert [told[name]["after 1 event"]["f1"] for name in told] == [1.0, 0.0]
    assert [told[name]["after 1 event"]["roc_auc"] for name in told] == [1.0, 1.0]


def test_where_nobody_is_nothing_is_said(came: early.Moments) -> None:
    p = np.full(6, 0.5)
    told = early.curve({"model": (p, p)}, came, came)["model"]
    assert told["after 10 events"] == {"n_rows": 0, "f1": None}
    assert told["after 4 events"]["f1"] is None
