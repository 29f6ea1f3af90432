import numpy as np
import pytest

from models.statistics import logistic


def test_regression_without_a_useful_column_answers_the_base_rate():
    model = logistic.fit(np.zeros((4, 1)), np.array([True, False, False, False]))
    assert model.predict(np.zeros((1, 1)))[0] == pytest.approx(0.25, abs=1e-4)


def test_regression_finds_the_coefficients_that_made_the_data():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(20_000, 2))
    positive = rng.random(20_000) < 1 / (1 + np.exp(-(0.5 + 1.0 * rows[:, 0] - 2.0 * rows[:, 1])))
    model = logistic.fit(rows, positive, l2=0.0)
    assert model.coefficients / np.append(1.0, model.scale) == pytest.approx([0.5, 1.0, -2.0], abs=0.1)


def test_log_counts_of_zero_is_zero():
    assert logistic.log_counts(np.array([0.0, np.expm1(1.0)])).tolist() == pytest.approx([0.0, 1.0])


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="got 1 for 2 rows"):
        logistic.fit(np.zeros((2, 1)), np.array([True]))
