"""Learn the engagement score from an event log: action weights and the chain of earlier sessions, calibrated on later ones."""

import numpy as np

from models.engagement import model as engagement_model
from models.engagement.model import PARAMS, EngagementModel, EngagementParams, Rows
from models.inference.examples import Log
from models.weights import action_outcomes, markov
from models.weights import actions as action_weights
from models.weights.actions import Floats, Posterior


def weights_of(log: Log, clock_us: int) -> Floats:
    """Action weights of a log, as an instant knows its outcomes; shape (n_event_types,)."""
    return action_weights.weights(posterior_of(log, clock_us))


def posterior_of(log: Log, clock_us: int) -> Posterior:
    """What a log tells of its actions, as an instant knows their outcomes."""
    user = np.unique(log.user_codes, return_inverse=True)[1].astype(np.int64)
    seen = action_outcomes.fold(log.events, log.starts, user, clock_us)
    server = np.zeros_like(seen.day)
    counts = action_weights.faded(seen.day, seen.event_type, seen.context, server, seen.trials, seen.rewards)
    return action_weights.posterior(counts)


def learn(earlier: Log, rows: Rows, clock_us: int, params: EngagementParams = PARAMS) -> EngagementModel | None:
    """The engagement score, or None where too few sessions bought.

    Parameters
    ----------
    earlier
        Sessions before the later ones of `rows`.
    clock_us
        Up to when outcomes are known while action weights are learned: the beginning of the later sessions.
    """
    chain = markov.estimate(earlier.events["event_type"], earlier.starts)
    return engagement_model.fit(chain, rows, weights_of(earlier, clock_us), params)
