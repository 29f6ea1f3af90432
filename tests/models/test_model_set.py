"""A set of models hands out those of a partner's shop."""

from dataclasses import replace

from models.associations import model as associations
from models.model_set import NO_MODELS, ModelSet
from models.weight_profile import HEURISTIC, STATIC
from tests.builders import NO_EVENTS, NO_STARTS, item_ids


def store() -> associations.AssociationStore:
    return associations.build(NO_EVENTS, NO_STARTS, item_ids(0))


def test_what_is_of_items_is_the_shops_and_all_else_everybodys() -> None:
    base, own = store(), store()
    models = ModelSet(associations=base.beside({"shop": own}), weights=HEURISTIC, versions={"associations": 3})
    found = models.of("shop")
    assert (found.associations, found.weights, found.versions) == (own, HEURISTIC, {"associations": 3})
    assert models.of("shop") is found  # a request pays for a look only
    assert models.of("another") is models


def test_one_shop_is_the_set_itself() -> None:
    for models in (NO_MODELS, ModelSet(associations=store()), ModelSet(associations=store().beside({}))):
        assert models.of("shop") is models


def test_a_set_with_other_models_hands_out_those() -> None:
    one, two, weights = store(), store(), STATIC
    models = ModelSet(associations=store().beside({"shop": one}), weights=HEURISTIC)
    assert models.of("shop").associations is one
    newer = replace(models, associations=store().beside({"shop": two}), weights=weights)
    assert (newer.of("shop").associations, newer.of("shop").weights) == (two, weights)
