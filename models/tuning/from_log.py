"""Learn from an event log how much each event type counts, and where intent leads visitors; judged on sessions that came later.

Pairs and action weights are counted before the validation period and the profile is learned within it, so that a promotion is
judged on a period that the profile does not know.
"""

from dataclasses import asdict
from typing import Final

import numpy as np

from models import weight_profile
from models.artifact import Parts
from models.associations import from_log as log_associations
from models.associations.model import AssociationParams
from models.inference.examples import Log
from models.inference.intent import IntentModel
from models.inference.training import TrainingInput
from models.model_set import ModelSet
from models.questions.later import later
from models.tuning import learning as weight_learning
from models.tuning.learning import Learned, LearnParams
from models.weight_profile import WeightProfile
from models.weights import actions_from_log

PARAMS: Final = LearnParams(at_most=4_000)  # a retraining waits for it


def learn(
    log: Log, model: IntentModel, periods_us: tuple[int, int], params: LearnParams | None = None, seed: int = 0,
    shaping: AssociationParams | None = None, incumbent: WeightProfile | None = None,
) -> Learned:  # fmt: skip
    """Weights as the sessions of the validation period teach them; see `weight_learning.learn`.

    Parameters
    ----------
    model
        Fitted before the held-out period, so that the intent of a prefix is inferred as it will be when the profile serves.
    periods_us
        Instants at which the validation period and the held-out period begin, microseconds since 1970 UTC: ``valid_from_us``
        and ``test_from_us`` of a split. Categories are those of the log before the first.
    shaping
        Of the pairs that are counted.
    incumbent
        What serves, learned before the held-out period; stays unless something is surely better.
    """
    valid_from_us, test_from_us = periods_us
    earlier, between = log.before(valid_from_us), log.since(valid_from_us).before(test_from_us)
    store = log_associations.built(earlier, {} if shaping is None else asdict(shaping))
    models = ModelSet(associations=store, actions=actions_from_log.ready_of(earlier, valid_from_us))
    rng = np.random.default_rng(seed)
    return weight_learning.learn(models, later(model, between, log), rng, params or PARAMS, incumbent)


def fit_on(data: TrainingInput) -> Parts:
    """Learn the profile on the validation period, with the fitted intent model, beside what serves."""
    serves = data.incumbent
    periods_us = data.split.valid_from_us, data.split.test_from_us
    incumbent = serves.model if serves else None
    learned = learn(data.log, data.fitted["intent"], periods_us, seed=data.seed, incumbent=incumbent)
    parts = weight_profile.to_parts(learned.weights)
    told = {
        "incumbent": serves.version if serves else None,
        "chosen": learned.chosen,
        "ndcg_20": dict(learned.ndcg_20),
        **asdict(PARAMS),
    }
    return Parts({**parts.meta, "params": told}, parts.arrays)
