"""Targeting: where a discount helps one kind of visitor, wastes money on another and hurts a third."""

import numpy as np
import pytest

from models.experiments.targeting import EVERYBODY, N_POINTS, NOBODY, TARGETED, Trial, dealt, from_json, targeting, to_json

P_SENT = 0.8
N = 12_000


def shop(seed, helps=(0.30, 0.0, -0.15), n=N):
    """Features, the money of each visitor with and without the discount, and who was sent it.

    A visitor is of one of three kinds, which shows in two noisy features. Who buys pays 40 and, with a discount, 4 less.
    """
    rng = np.random.default_rng(seed)
    kind = rng.integers(3, size=n)
    features = np.column_stack([kind + rng.normal(0, 0.2, n), rng.normal(size=n), (kind == 1) + rng.normal(0, 0.3, n)]).astype(
        np.float32
    )
    p_without = np.array([0.1, 0.5, 0.4])[kind]
    p_with = np.clip(p_without + np.array(helps)[kind], 0, 1)
    drawn = rng.random(n)
    without, with_it = 40.0 * (drawn < p_without), 36.0 * (drawn < p_with)
    sent = rng.random(n) < P_SENT
    return features, without, with_it, sent, 36 * p_with - 40 * p_without


def earned(wanted, effect):
    return float((effect * wanted).mean())


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 20))])
def test_it_earns_most_of_what_the_oracle_earns_and_more_than_everybody_and_nobody(seed):
    features, without, with_it, sent, _ = shop(seed)
    found = targeting(dealt(features, np.where(sent, with_it, without), sent, P_SENT))
    later, _, _, _, effect = shop(1000 + seed)
    chosen, oracle = earned(found.wants(later), effect), earned(effect > 0, effect)
    assert found.verdict == TARGETED
    assert chosen >= 0.8 * oracle
    assert chosen > max(earned(np.ones(N), effect), 0.0)
    assert found.coefficient is not None
    assert found.coefficient > 0
    assert len(found.qini) == N_POINTS
    assert abs(found.value[TARGETED] - chosen) <= 4 * found.margin[TARGETED]


@pytest.mark.parametrize("seed", range(4))
def test_where_discounts_only_waste_money_it_stops_and_says_so(seed):
    features, without, with_it, sent, _ = shop(seed, helps=(0.0, 0.0, 0.0))
    found = targeting(dealt(features, np.where(sent, with_it, without), sent, P_SENT))
    assert found.verdict == NOBODY
    assert found.sentence.startswith("send it to nobody: it costs more than it earns")
    assert not found.wants(features).any()


def test_where_it_helps_all_alike_everybody_gets_it():
    features, without, with_it, sent, _ = shop(5, helps=(0.3, 0.3, 0.3))
    found = targeting(dealt(features, np.where(sent, with_it, without), sent, P_SENT))
    assert found.verdict == EVERYBODY
    assert found.wants(features).all()


def test_few_visitors_say_nothing():
    features, without, with_it, sent, _ = shop(6, n=150)
    found = targeting(dealt(features, np.where(sent, with_it, without), sent, P_SENT))
    assert found.verdict == "not enough data"
    assert not found.wants(features).any()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="as many rows"):
        targeting(dealt(np.zeros((3, 1), np.float32), np.zeros(2), np.zeros(3, bool), 0.5))
    with pytest.raises(ValueError, match="above 0"):
        targeting(dealt(np.zeros((3, 1), np.float32), np.zeros(3), np.ones(3, bool), 0.0))


def test_a_signal_that_changes_nothing_and_costs_nothing_is_left_to_the_rules():
    rng = np.random.default_rng(11)
    features, money = rng.normal(size=(4_000, 3)).astype(np.float32), np.where(rng.random(4_000) < 0.3, 40.0, 0.0)
    found = targeting(dealt(features, money, rng.random(4_000) < P_SENT, P_SENT))
    assert found.verdict == "not enough data"
    assert found.sentence.startswith("not enough data: neither that it earns more than it costs is sure")


@pytest.mark.parametrize("seed", range(3))
def test_a_verdict_is_not_forgotten_once_it_has_decided_who_is_sent_anything(seed):
    """Who was passed over is among those that are judged: else everybody who is left would be worth it."""
    features, without, with_it, _, _ = shop(seed)
    kind_is_helped = features[:, 0] < 0.5
    rng = np.random.default_rng([seed, 1])
    held, explored = rng.random(N) < 1 - P_SENT, rng.random(N) < 0.1
    goes = kind_is_helped | explored
    p_sent = P_SENT * np.where(kind_is_helped, 1.0, 0.1)
    sent = goes & ~held
    found = targeting(Trial(features, np.where(sent, with_it, without), sent, held, p_sent, np.full(N, 1 - P_SENT)))
    assert found.verdict == TARGETED
    truth = shop(seed)[4]
    assert abs(found.value[EVERYBODY] - truth.mean()) <= 4 * found.margin[EVERYBODY]


def test_it_is_kept_and_read_again_unless_the_features_have_changed():
    features, without, with_it, sent, _ = shop(8, n=3_000)
    found = targeting(dealt(features, np.where(sent, with_it, without), sent, P_SENT))
    again = from_json(to_json(found, ["a", "b", "c"]), ["a", "b", "c"])
    assert again._replace(effects=None) == found._replace(effects=None)
    assert (again.wants(features) == found.wants(features)).all()
    assert from_json(to_json(found, ["a", "b", "c"]), ["a", "b", "d"]).verdict == "not enough data"
