"""What is told of several shops is their mean, and how far it may be from that of all such shops."""

import pytest

from benchmarks.intent_lists import over_shops
from models.schema import INTENTS


def test_the_interval_over_shops_is_students_and_each_intent_counts_the_same() -> None:
    shops = [{"overlap_10": dict.fromkeys(INTENTS, mean) | {"log": 7.0, INTENTS[0]: mean + 4.0}} for mean in (3.0, 5.0)]
    found = over_shops(shops)
    assert found["log"] == {"mean": 7.0, "low": 7.0, "high": 7.0}
    half = 12.706  # two shops a standard error of 1 around their mean
    assert found["scripted"] == pytest.approx({"mean": 5.0, "low": 5.0 - half, "high": 5.0 + half}, abs=0.01)


def test_one_shop_tells_nothing_of_others() -> None:
    assert over_shops([{"overlap_10": dict.fromkeys((*INTENTS, "log"), 6.0)}])["log"] == {"mean": 6.0}
