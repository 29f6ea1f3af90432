"""Learn from an event log how much each event type counts, and where intent leads visitors; judged on sessions that came later.

Pairs are counted before the validation period and the profile is learned within it, so that a promotion is judged on a period
that the profile does not know.
"""

from typing import Final

import numpy as np

from models.associations import model as associations
from models.associations.model import AssociationParams, AssociationStore
from models.evaluation import ablation
from models.evaluation.ablation import Later
from models.features import sessions
from models.inference.examples import Log
from models.inference.intent import IntentModel
from models.weight_profile import WeightProfile
from models.weights import learning as weight_learning
from models.weights.learning import Learned, LearnParams

PARAMS: Final = LearnParams(at_most=4_000)  # a retraining waits for it


def learn(
    log: Log, model: IntentModel, periods_us: tuple[int, int], params: LearnParams | None = None, seed: int = 0,
    shaping: AssociationParams | None = None, incumbent: WeightProfile | None = None,
) -> Learned:  # fmt: skip
    """What the sessions of the validation period teach; see `weight_learning.learn`.

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
    store = associations.build(earlier.events, earlier.starts, np.array(log.item_ids, dtype=object), shaping)
    rng, taught = np.random.default_rng(seed), later(model, store, between)
    return weight_learning.learn(store, taught, rng, params or PARAMS, incumbent)


def later(model: IntentModel, store: AssociationStore, log: Log) -> Later:
    """Sessions of a log as the learner and the ablation read them: items by the store's codes, intent inferred by the model."""
    p_intent = model.predict(sessions.fold(log.events, log.starts))
    codes = ablation.store_codes(store, log.item_ids, log.events["item"])
    return Later(log.events, log.starts, log.user_codes, codes, p_intent)
