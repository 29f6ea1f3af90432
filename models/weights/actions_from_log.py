"""Action weights of an event log, as an instant knows the outcomes of its actions."""

import numpy as np

from models.arrays import Floats
from models.inference.examples import Log
from models.weights import action_outcomes, actions
from models.weights.actions import ActionWeights, Posterior


def posterior_of(log: Log, clock_us: int) -> Posterior:
    """Posterior of a log's actions."""
    import pandas as pd  # only here: what serves reads no frames

    user = pd.factorize(log.user_codes, sort=True)[0].astype(np.int64)
    seen = action_outcomes.fold(log.events, log.starts, user, clock_us)
    server = np.zeros_like(seen.day)
    counts = actions.faded(seen.day, seen.event_type, seen.context, server, seen.trials, seen.rewards)
    return actions.posterior(counts)


def weights_of(log: Log, clock_us: int) -> Floats:
    """Action weights of a log whatever the context, shape (n_event_types,)."""
    return actions.weights(posterior_of(log, clock_us))


def ready_of(log: Log, clock_us: int) -> ActionWeights:
    """Action weights of a log as they serve; numbered by its events, because it does not hold their numbers."""
    return actions.ready(posterior_of(log, clock_us), len(log.events))
