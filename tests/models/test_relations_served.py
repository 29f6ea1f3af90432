"""What the intent says of where associations lead is served: in recommendations, in their reasons, in a nudge's products."""

from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import pytest

from models import weight_profile as weights
from models.assess import assess
from models.associations import model as associations
from models.associations.model import AssociationParams
from models.item_ranking import Asked, ItemRanking
from models.known import NOTHING_KNOWN
from models.model_set import ModelSet
from models.ranker.model import Ranker, SourceParams, build_sources
from models.recommend import Who, recommend
from models.schema import N_INTENTS
from tests.builders import event_array, visit

NOW_US = 1_700_000_000_000_000
DAY_US = 86_400_000_000
WHO = Who("u-1", "d")
BOOT = visit(("item_view", "boot"))
SHOES, BAGS = 0, 1


def store() -> associations.AssociationStore:
    """Boot goes with sandal, both shoes, as often as with bag."""
    categories = [SHOES, SHOES, SHOES, BAGS] * 10
    events = event_array(40, item=[0, 1, 0, 2] * 10, category=categories, occurred_at_us=NOW_US - DAY_US)
    ids = np.array(["boot", "sandal", "bag"], dtype=object)
    return associations.build(events, np.arange(40) % 2 == 0, ids, AssociationParams(min_llr=0.0))


def champions(within: float, beyond: float) -> ModelSet:
    """Weights by which every intent counts what stays in the category, and what leaves it, so much."""
    related = np.tile([within, beyond], (N_INTENTS, 1))
    profile = weights.profile(weights.STATIC.base, weights.STATIC.factors, related)
    return ModelSet(associations=store(), weights=profile, versions=MappingProxyType({}))


def answer(models: ModelSet, variant: str = "dynamic") -> ItemRanking:
    asked = Asked(explain=True, exclude_seen=True)
    return recommend(asked, BOOT, models, NOTHING_KNOWN, WHO, NOW_US, variant=variant).ranking


@pytest.mark.parametrize(
    ("within", "beyond", "order"), [(2.0, 0.5, ["sandal", "bag"]), (0.5, 2.0, ["bag", "sandal"]), (1.0, 0.0, ["sandal"])]
)
def test_the_relation_decides_between_items_that_are_associated_alike(within: float, beyond: float, order: list[str]) -> None:
    ranking = answer(champions(within, beyond))
    assert [item_id for item_id, reasons in zip(ranking.item_ids, ranking.because or [], strict=True) if reasons] == order


def test_a_nudge_offers_what_a_recommendation_would() -> None:
    for within, beyond, first in ((2.0, 0.5, "sandal"), (0.5, 2.0, "bag")):
        found = assess(BOOT, champions(within, beyond), NOTHING_KNOWN, "boot", NOW_US)
        assert found.product_ids[0] == first


def test_the_static_arm_of_the_experiment_knows_no_relation() -> None:
    ranking = answer(champions(2.0, 0.5), "static")
    scores = dict(zip(ranking.item_ids, ranking.scores, strict=True))
    assert scores["sandal"] == pytest.approx(scores["bag"])


class Listening(Ranker):
    """Remembers which intent it was told."""

    told: ClassVar[list[np.ndarray]] = []

    def rank(self, *asked: Any, **more: Any) -> Any:
        self.told.append(asked[5])
        return super().rank(*asked, **more)


def test_the_ranker_is_told_the_intent_that_the_answer_shows() -> None:
    events = event_array(4, item=[0, 1, 0, 1])
    params = SourceParams(n_dims=2)
    sources = build_sources(events, np.arange(4) % 2 == 0, np.array(["boot", "bag"], dtype=object), params)
    models = replace(champions(1.0, 1.0), ranker=Listening(sources, None, params))
    found = recommend(Asked(ranker=True), BOOT, models, NOTHING_KNOWN, WHO, NOW_US)
    assert found.p_intent == pytest.approx(Listening.told[-1])
