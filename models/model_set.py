"""Model set: the models that answer together, whether they serve, stand trial or are judged."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from models.associations.model import AssociationStore
from models.bandit.profiles import ProfileSet
from models.engagement.model import EngagementModel
from models.inference.intent import IntentModel
from models.inference.next_action import NextActionModel
from models.ranker.model import Ranker
from models.weight_profile import WeightProfile
from models.weights.actions import ActionWeights

Model = TypeVar("Model")


@dataclass(frozen=True)
class ModelSet:
    """Models of one moment, each None where there is none; immutable, so that a request sees one set from beginning to end.

    Attributes
    ----------
    actions
        Action weights as last counted; they move the base of the weight profile.
    versions
        Version of each model that is loaded.
    """

    intent: IntentModel | None = None
    next_action: NextActionModel | None = None
    associations: AssociationStore | None = None
    weights: WeightProfile | None = None
    ranker: Ranker | None = None
    engagement: EngagementModel | None = None
    profiles: ProfileSet | None = None
    actions: ActionWeights | None = None
    versions: Mapping[str, int] = field(default_factory=dict)
    _asked: dict[str, "ModelSet"] = field(init=False, repr=False, compare=False, default_factory=dict)

    def of(self, partner: str) -> "ModelSet":
        """Models that answer a partner: what is learned of items is its shop's, all else is everybody's."""
        found = self._asked.get(partner)
        if found is not None:
            return found
        store = self.associations.of(partner) if self.associations else None
        ranker = self.ranker.of(partner) if self.ranker else None
        if store is self.associations and ranker is self.ranker:
            return self
        return self._asked.setdefault(partner, replace(self, associations=store, ranker=ranker))


NO_MODELS = ModelSet()


def required(model: Model | None, name: str) -> Model:
    """A model of a set, where nothing stands in for it.

    Raises
    ------
    ValueError
        If there is none.
    """
    if model is None:
        raise ValueError(f"expected a set of models with {name}, got one without")
    return model
