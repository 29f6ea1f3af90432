"""Discounts in a simulated shop: who is chosen earns nearly what the oracle earns; where they waste money, it stops."""

from benchmarks.uplift import measure


def test_it_earns_most_of_what_the_oracle_earns_and_more_than_everybody_and_nobody() -> None:
    found = measure(seed=7, n_visitors=30_000)
    assert found["verdict"] == "targeted"
    assert found["of_oracle"] >= 0.8
    assert found["earned"]["chosen"] > max(found["earned"]["everybody"], 0.0)
    told = found["share_sent_by_kind"]
    assert told["helped"] > 0.8 > 0.4 > max(told["wasted"], told["hurt"])


def test_where_discounts_only_waste_money_it_stops_and_says_so() -> None:
    found = measure(seed=8, n_visitors=30_000, waste=True)
    assert found["verdict"] == "nobody"
    assert found["sentence"].startswith("send it to nobody: it costs more than it earns")
    assert found["share_sent"] == found["earned"]["chosen"] == 0.0
    assert found["earned"]["everybody"] < 0
