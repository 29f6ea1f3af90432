"""Associations that follow later sessions know what had happened at a moment, and nothing of what came with it or after it."""

import numpy as np

from benchmarks.live_views import followed
from models.associations import model as associations
from models.associations.model import AssociationParams
from models.inference.examples import Log
from models.model_set import ModelSet
from models.questions.later import Later
from models.replay import replay
from models.schema import N_INTENTS
from models.weight_profile import STATIC
from tests.builders import encoded

A, B, NEW, OTHER = range(4)
ITEMS = ["a", "b", "new", "other"]


def test_a_moment_is_answered_by_what_came_before_it() -> None:
    built = encoded(["item_view"] * 2, [A, B]), np.array([True, False])
    store = associations.build(*built, np.array(["a", "b"], object), AssociationParams(min_llr=0.0), ["hats"])
    events = encoded(["item_view"] * 5, [A, B, NEW, OTHER, NEW])[2:]
    events["category"] = 0
    starts, users = np.array([True, False, True]), np.array([0, 0, 1])
    log = Log(events, starts, events["occurred_at_us"][[0, 0, 2]], users, ITEMS, None, ["hats"])
    views = followed(store, log, 1)
    assert views.until_us.tolist() == events["occurred_at_us"].tolist()
    later = Later(log, np.full((3, N_INTENTS), 1 / N_INTENTS))
    first = last = np.array([0, 2])
    asks = replay(ModelSet(associations=store), later, first, last, views=views)
    assert [one.side.model.code("other") >= 0 for one in asks.moments] == [False, True]
    first_list, second_list = asks.answers(STATIC)
    assert OTHER not in first_list
    assert second_list[0] == OTHER
    at_last = views.stores[1]
    assert at_last.category_names[at_last.index.category[at_last.code("other")]] == "hats"
