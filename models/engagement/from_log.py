"""Learn the engagement score from an event log: action weights and the chain of earlier sessions, calibrated on later ones."""

import numpy as np

from models import visitor_groups
from models.artifact import Parts
from models.engagement import model as engagement_model
from models.engagement.model import PARAMS, EngagementModel, EngagementParams, Rows
from models.inference.examples import Log
from models.inference.training import TrainingInput
from models.schema import HORIZONS_S, EventType
from models.weights import markov
from models.weights.actions_from_log import weights_of


def fit_on(data: TrainingInput) -> Parts:
    """Learn the score, with the fitted next-action model; nothing in it is random.

    It is calibrated on the validation period, and on what of the held-out period judges nothing.
    """
    examples, medium = data.examples, list(HORIZONS_S).index("medium_term")
    early = ~data.split.test | data.unjudged
    later, valid_from_us = (data.split.valid | data.unjudged)[early], data.split.valid_from_us
    model = data.fitted["next_action"]
    outlook = model.predict(examples.next_action_features(model.groups)[early][later])["medium_term"]
    predicted = np.zeros(len(later))
    predicted[later] = outlook.p_purchase
    rows = Rows(
        examples.session_features[early],
        examples.purchase[early, medium],
        later,
        examples.started_us[early],
        predicted,
        None if examples.groups is None else examples.groups.where(early),
    ).where(examples.covered[early, medium])
    return engagement_model.to_parts(learn(data.log.before(valid_from_us), rows, valid_from_us, data.params or PARAMS))


def learn(earlier: Log, rows: Rows, clock_us: int, params: EngagementParams = PARAMS) -> EngagementModel | None:
    """The engagement score, or None where too few sessions bought.

    Parameters
    ----------
    earlier
        Sessions before the later ones of `rows`.
    clock_us
        Up to when outcomes are known while action weights are learned: the beginning of the later sessions.
    """
    chain = markov.learned(earlier.events["event_type"], earlier.starts)
    bought = earlier.events["event_type"] == EventType.PURCHASE
    groups = visitor_groups.learned(earlier.groups, earlier.user_codes, bought)
    return engagement_model.fit(chain, rows, weights_of(earlier, clock_us), params, groups)
