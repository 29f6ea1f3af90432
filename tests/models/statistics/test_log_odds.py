import numpy as np
from scipy import special

from models.statistics.log_odds import betaln, expit, logit

RNG = np.random.default_rng(0)
ODD = (0.0, -0.0, np.inf, -np.inf, np.nan, 800.0, -800.0, 1e-300)


def test_probabilities_of_log_odds_are_scipys_to_the_last_bit():
    x = np.concatenate((RNG.normal(0, 5, 50_000), ODD)).reshape(-1, 2)
    assert np.array_equal(expit(x), special.expit(x), equal_nan=True)
    assert np.array_equal(expit(x.T), expit(x).T, equal_nan=True)


def test_log_odds_are_scipys_to_the_last_bit():
    p = np.concatenate(
        (RNG.random(50_000), 1e-9 * RNG.random(99), 1 - 1e-9 * RNG.random(99), (0.3, 0.5, 0.65, 0.0, 1.0, np.nan))
    )
    assert np.array_equal(logit(p), special.logit(p), equal_nan=True)


def test_the_beta_function_is_scipys_but_for_rounding():
    a, b = 10 ** RNG.uniform(-3, 6, (2, 10_000))
    assert np.allclose(betaln(a, b), special.betaln(a, b), rtol=1e-9, atol=1e-8)


def test_what_is_given_stays_as_it_was():
    given = np.array([0.25, 0.75])
    expit(given), logit(given), betaln(given, given)
    assert given.tolist() == [0.25, 0.75]
