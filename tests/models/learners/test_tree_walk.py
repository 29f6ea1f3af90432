"""Trees as plain arrays answer bit for bit as LightGBM does, whatever a row holds."""

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.learners.tree_walk import ManyRows, SingleRow, flatten, narrowed, score_rows

ODD = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-36, 1e300)


def booster(n_classes, seed=0, missing=0.0, **params):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(500, 6))
    x[rng.random(x.shape) < missing] = np.nan
    label = rng.integers(n_classes, size=500)
    goal = {"objective": "multiclass", "num_class": n_classes} if n_classes > 2 else {"objective": "binary"}
    return lgb.train({**goal, "verbose": -1, "num_threads": 1, **params}, lgb.Dataset(x, label=label), 10), x


def single_row(trained, n_features=6):
    return SingleRow([flatten(trained.model_to_string(), n_features)], n_features, [trained.num_model_per_iteration()])


@given(st.integers(0, 2**32 - 1), st.sampled_from((2, 3, 5)), st.sampled_from((0.0, 0.2)), st.integers(2, 40), st.booleans())
@settings(max_examples=25, deadline=None)
def test_one_row_and_many_score_as_lightgbm_to_the_last_bit(seed, n_classes, missing, n_leaves, use_missing):
    params = {"num_leaves": n_leaves, "min_data_in_leaf": 5, "use_missing": use_missing}
    trained, x = booster(n_classes, seed, missing, **params)
    rng = np.random.default_rng(seed)
    x = x[:60]
    odd = rng.random(x.shape) < 0.2
    x[odd] = rng.choice(ODD, odd.sum())
    score, expected = single_row(trained), trained.predict(x, raw_score=True).reshape(len(x), -1)
    assert np.array_equal([score(row) for row in x], expected)
    together = ManyRows(flatten(trained.model_to_string(), 6), 6, expected.shape[1])
    assert np.array_equal(together(x), expected)
    assert np.array_equal(together(x[::3]), expected[::3])
    narrow = x.astype(np.float32)
    assert np.array_equal(together(narrow), trained.predict(narrow.astype(float), raw_score=True).reshape(len(x), -1))


def test_float32_rows_score_as_their_doubles():
    trained, x = booster(4)
    row = x[0].astype(np.float32)
    assert np.array_equal(single_row(trained)(row), trained.predict(row[None, :].astype(float), raw_score=True)[0])


def test_single_rows_of_two_boosters_do_not_mix():
    (first, x), (second, _) = booster(4), booster(4, seed=1)
    one, other = single_row(first), single_row(second)
    kept = one(x[0])
    other(x[0])
    assert np.array_equal(kept, one(x[0]))
    assert not np.array_equal(kept, other(x[0]))


def test_several_boosters_score_a_row_as_each_of_them_does():
    grown = [booster(n_classes, seed, num_leaves=5 + seed) for seed, n_classes in enumerate((4, 2, 3))]
    row = grown[0][1][0]
    trees = [flatten(trained.model_to_string(), 6) for trained, _ in grown]
    together = SingleRow(trees, 6, [trained.num_model_per_iteration() for trained, _ in grown])(row)
    assert np.array_equal(together, np.concatenate([single_row(trained)(row) for trained, _ in grown]))


def test_a_row_of_the_wrong_width_is_refused():
    trained, x = booster(2)
    with pytest.raises(ValueError, match="6 features, expected 5"):
        single_row(trained, 5)
    with pytest.raises(ValueError, match="expected a row of 6 features"):
        single_row(trained)(x[0, :5])


def test_splits_that_the_walk_does_not_know_are_refused():
    by_zero, _ = booster(2, missing=0.2, zero_as_missing=True)
    kind = np.arange(400) % 5
    named = lgb.Dataset(kind[:, None].repeat(6, axis=1), kind % 2, categorical_feature=[0, 1, 2, 3, 4, 5])
    by_name = lgb.train({"objective": "binary", "verbose": -1}, named, 2)
    for trained in (by_zero, by_name):
        with pytest.raises(ValueError, match="cannot walk"):
            flatten(trained.model_to_string(), 6)
    apart, _ = booster(2, missing=0.2)
    with pytest.raises(ValueError, match="missing values apart"):
        narrowed(flatten(apart.model_to_string(), 6), 6)


@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 70))
@settings(max_examples=15, deadline=None)
def test_many_rows_score_as_lightgbm(seed, n_leaves, n_rows):
    rng = np.random.default_rng(seed)
    features = np.round(rng.normal(size=(400, 5)), 1).astype(np.float32)
    settings_ = {"num_leaves": n_leaves, "max_depth": 6, "verbose": -1, "min_data_in_leaf": 3, "use_missing": False, "seed": 1}
    trained = lgb.train(
        {**settings_, "objective": "regression", "boost_from_average": False},
        lgb.Dataset(features, features[:, 0] * features[:, 1] + rng.normal(size=400)), 8,
    )  # fmt: skip
    trees, out = narrowed(flatten(trained.model_to_string(), 5), 5), np.empty(n_rows)
    score_rows(trees, np.ascontiguousarray(features[:n_rows]), n_rows, out)
    assert np.array_equal(out, trained.predict(features[:n_rows].astype(np.float64)))


def test_trees_of_one_leaf_are_constants():
    trained = lgb.train(
        {"objective": "regression", "verbose": -1, "min_data_in_leaf": 500}, lgb.Dataset(np.zeros((50, 2)), np.ones(50)), 2
    )
    trees, out = flatten(trained.model_to_string(), 2), np.empty(3)
    score_rows(narrowed(trees, 2), np.zeros((3, 2), np.float32), 3, out)
    assert out == pytest.approx(trained.predict(np.zeros((3, 2))))
    assert SingleRow([trees], 2, [1])(np.zeros(2)) == pytest.approx(trained.predict(np.zeros((1, 2))))
