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


def test_where_the_segment_tells_whom_a_discount_helps_knowing_it_changes_who_is_sent_one() -> None:
    told, blind = (measure(seed=7, n_visitors=30_000, by_segment=True, is_told=is_told) for is_told in (True, False))
    assert told["verdict"] == "targeted"
    assert told["of_oracle"] >= 0.8
    assert told["earned"]["chosen"] > max(blind["earned"]["chosen"], told["earned"]["everybody"], 0.0)
    assert told["share_sent_by_kind"]["helped"] > 0.8 > 0.4 > told["share_sent_by_kind"]["hurt"]
