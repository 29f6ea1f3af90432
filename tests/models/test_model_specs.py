"""The table of models fits the house: every row has its place, its order, and an answer that admits where it is missing."""

from dataclasses import fields, replace
from typing import Any

import pytest

from benchmarks.simulated_home import make_champions
from infra import registry
from models import degraded, schema
from models.assess import assess
from models.item_ranking import Asked
from models.known import NOTHING_KNOWN
from models.live_session import EMPTY
from models.model_set import ModelSet
from models.model_specs import KEPT_MODELS, MODEL_NAMES, SPEC, SPECS, ModelSpec
from models.recommend import Who, recommend
from models.simulator import ShopConfig


def test_every_model_has_its_field_in_a_set() -> None:
    assert {spec.name for spec in SPECS} <= {one.name for one in fields(ModelSet)}


def test_no_name_stands_twice_and_a_feature_service_belongs_to_a_model() -> None:
    assert len(KEPT_MODELS) == len(SPECS)
    assert set(schema.FEATURE_SERVICES) <= set(KEPT_MODELS)


@pytest.mark.parametrize("spec", SPECS, ids=KEPT_MODELS)
def test_what_a_model_needs_is_fitted_before_it(spec: ModelSpec) -> None:
    before = MODEL_NAMES[: MODEL_NAMES.index(spec.name)] if spec.fit else ()
    assert set(spec.needs) <= set(before)
    assert not spec.is_needed or all(SPEC[name].is_needed for name in spec.needs)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> ModelSet:
    """All models of a small shop."""
    home = tmp_path_factory.mktemp("home")
    versions = make_champions(home, ShopConfig(n_users=60, n_days=2, n_items=40, n_categories=4), n_rounds=2)
    return ModelSet(**{name: registry.load_model(home, name) for name in versions})


@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec.without], ids=lambda spec: spec.name)
def test_an_answer_admits_that_a_model_is_missing(whole: ModelSet, spec: ModelSpec) -> None:
    assert spec.without in degraded.REASONS

    def told(models: ModelSet) -> set[str]:
        items = [
            recommend(Asked(ranker=by_ranker), EMPTY, models, NOTHING_KNOWN, Who("u-1", "d-1"), 0, variant="dynamic")
            for by_ranker in (False, True)
        ]
        engagement = assess(EMPTY, models, NOTHING_KNOWN, None, 0)
        return {*engagement.degraded, *(reason for answer in items for reason in answer.degraded)}

    assert spec.without in told(replace(whole, **dict[str, Any]({spec.name: None})))
    assert spec.without not in told(whole) or spec.name == "engagement"  # too few sessions bought in this shop
