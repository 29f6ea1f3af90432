"""Categories of new items go with the deltas: who adds them, or begins with the whole, has the same lists."""

import json

import numpy as np
import pytest

from models.artifact import Parts
from models.associations import deltas
from models.associations.live import LiveAssociations
from models.associations.model import AssociationStore, build
from tests.builders import encoded


def in_categories(store: AssociationStore) -> dict[tuple[str, str], float]:
    """Share of each listed item, by the name of its category."""
    found: dict[tuple[str, str], float] = {}
    for name, (first, last) in zip(store.category_names, store.categories.span.tolist(), strict=True):
        items, shares = store.categories.item[first:last].tolist(), store.categories.share[first:last].tolist()
        found |= {(name, store.item_ids[item]): share for item, share in zip(items, shares, strict=True)}
    return found


def test_deltas_and_their_whole_bring_the_categories_of_new_items() -> None:
    events = encoded(["item_view"], [0])
    events["category"] = 0
    store = build(events, np.array([True]), np.array(["a"], object), None, ["hats"])
    at_us = int(events["occurred_at_us"][0])
    told = {
        "seq": [1, 2], "user_id": ["u", "v"], "session_id": [None, None], "event_type": ["item_view", "item_view"],
        "occurred_at_us": [at_us, at_us], "item_id": ["b", "c"], "category": ["hats", "shoes"],
    }  # fmt: skip
    counting, adding, late = (LiveAssociations(store) for _ in range(3))
    delta = counting.counted(told, np.array([True, True]))
    assert in_categories(counting.view) == {("hats", "a"): 1.0}  # counting changes nothing
    parts = deltas.to_parts(delta)
    adding.take([deltas.from_parts(Parts(json.loads(json.dumps(parts.meta)), parts.arrays))])
    late.restore(adding.whole())
    expected = {("hats", "a"): 0.5, ("hats", "b"): 0.5, ("shoes", "c"): 1.0}
    assert in_categories(adding.view) == pytest.approx(expected)
    assert in_categories(late.view) == in_categories(adding.view)
    np.testing.assert_array_equal(late.view.index.category, adding.view.index.category)
