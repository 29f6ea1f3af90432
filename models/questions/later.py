"""Later sessions: those on which answers are judged that rest on earlier ones."""

from typing import NamedTuple

import numpy as np

from models.arrays import Floats, Ints
from models.features import sessions
from models.inference.examples import Log
from models.inference.intent import IntentModel
from models.schema import N_INTENTS


class Later(NamedTuple):
    """Whole sessions and what each of their events let a model infer.

    Attributes
    ----------
    p_intent
        Of the prefix that ends with each event, shape (n_events, n_intents); NaN where nobody asks.
    whole
        The log that they are part of, which tells what their visitors did before; None where these are all.
    """

    log: Log
    p_intent: Floats
    whole: Log | None = None


def later(model: IntentModel, log: Log, whole: Log | None = None, at: Ints | None = None) -> Later:
    """Sessions of a log with the intent inferred at each event, bit for bit as one session at a time has it inferred.

    Parameters
    ----------
    at
        Only these events are asked about, all if None.
    """
    if at is None:
        return Later(log, model.predict(sessions.fold(log.events, log.starts)), whole)
    p_intent, asked = np.full((len(log.events), N_INTENTS), np.nan), np.unique(at)
    p_intent[asked] = model.predict(sessions.fold_at(log.events, log.starts, asked))
    return Later(log, p_intent, whole)
