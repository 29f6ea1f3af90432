import numpy as np

from models.features import histories
from models.schema import N_RECENT_EVENTS
from tests.builders import encoded


def test_each_item_and_type_stands_once_newest_first_and_not_from_the_future() -> None:
    events = encoded(["item_view", "add_to_cart", "item_view", "search", "item_view"], [1, 1, 1, -1, 2])
    events["occurred_at_us"] = [10, 20, 30, 40, 50]
    found = histories.of(events, np.zeros(5, np.int64))
    assert [(found.item[k], found.at_us[k]) for k in histories.until(found, 0, 30)] == [(1, 30), (1, 20)]
    assert histories.until(found, 0, 9).tolist() == []
    assert found.at_us[histories.until(found, 0, 50, 30)].tolist() == [20]


def test_users_are_kept_apart_and_the_newest_are_kept() -> None:
    n = N_RECENT_EVENTS + 5
    events = encoded(["item_view"] * (n + 1), [*range(n), 99])
    events["occurred_at_us"] = np.arange(n + 1)
    found = histories.of(events, np.append(np.zeros(n, np.int64), 1))
    assert found.item[histories.until(found, 0, 10**6)].tolist() == list(range(n - 1, 4, -1))
    assert found.item[histories.until(found, 1, 10**6)].tolist() == [99]
