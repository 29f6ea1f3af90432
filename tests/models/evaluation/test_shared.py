"""Shared work of an evaluation: asked about some events only, or for two sets of models at once, all comes out the same."""

import numpy as np

from models.associations import from_log as log_associations
from models.associations import model as associations
from models.memo import Memo
from models.questions.later import later
from models.ranker import from_log as log_ranker
from models.ranker import model as ranker
from models.weight_profile import HEURISTIC
from tests.fitted import Fitted


def test_intents_of_some_events_are_those_of_all(fitted: Fitted) -> None:
    model = fitted.models.intent
    assert model is not None
    at = np.array([7, 3, 3, 20])
    some, everything = later(model, fitted.log, at=at).p_intent, later(model, fitted.log).p_intent
    assert some[at].tobytes() == everything[at].tobytes()
    assert np.isnan(np.delete(some, at, axis=0)).all()


def test_what_two_sets_share_is_made_once_and_changes_neither(fitted: Fitted) -> None:
    made = {
        "associations": associations.to_parts(log_associations.built(fitted.log, {})),
        "ranker": ranker.to_parts(log_ranker.fit(fitted.log, model=fitted.models.intent, weights=HEURISTIC)),
    }
    sets = [{"intent": fitted.models.intent, "weights": one} for one in (HEURISTIC, fitted.models.weights)]
    memo = Memo()
    shared = [log_ranker.rebuilt(made["ranker"], fitted.log, one, memo) for one in sets]
    alone = [log_ranker.rebuilt(made["ranker"], fitted.log, one, Memo()) for one in sets]
    assert shared[0].sources is shared[1].sources
    assert [_bytes(one) for one in shared] == [_bytes(one) for one in alone]
    pairs = [log_associations.rebuilt(made["associations"], fitted.log, {}, memo) for _ in sets]
    assert pairs[0] is pairs[1]


def _bytes(model: ranker.Ranker) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in ranker.to_parts(model).arrays.items()}
