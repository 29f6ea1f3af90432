"""The closed loop: the same luck in both variants, and lists that matter."""

import numpy as np

from benchmarks.heart_worlds import Loop
from models.associations import model as associations
from models.events.encode import encode
from models.features import sessions
from models.goal_prior import HEURISTIC_GOALS
from models.model_set import ModelSet
from models.simulator import ShopConfig, open_shop, simulate
from models.simulator.catalogue import category_names, item_ids


def loop(with_pairs: bool) -> Loop:
    config = ShopConfig(n_users=60, n_days=5, n_items=40, n_categories=4)
    frame = sessions.sessionize(simulate(config).events)
    encoded, starts = encode(frame), sessions.starts(frame)
    n = len(starts) if with_pairs else 0
    store = associations.build(encoded.events[:n], starts[:n], encoded.item_ids)
    models = ModelSet(associations=store, weights=HEURISTIC_GOALS)
    shop = open_shop(config, np.random.default_rng(0))
    return Loop(config, shop, models, item_ids(40).tolist(), category_names(4).tolist())


def test_the_same_visitor_has_the_same_luck() -> None:
    one = loop(with_pairs=True)
    assert [one.revenue(k, "dynamic") for k in range(5)] == [one.revenue(k, "dynamic") for k in range(5)]


def test_who_is_shown_nothing_buys_nothing_of_it() -> None:
    assert sum(loop(with_pairs=False).revenue(k, "static") for k in range(10)) == 0.0
    assert sum(loop(with_pairs=True).revenue(k, "static") for k in range(10)) > 0.0
