"""Later sessions: those on which answers are judged that rest on earlier ones."""

from typing import NamedTuple

from models.arrays import Floats
from models.features import sessions
from models.inference.examples import Log
from models.inference.intent import IntentModel


class Later(NamedTuple):
    """Whole sessions and what each of their events let a model infer.

    Attributes
    ----------
    p_intent
        Of the prefix that ends with each event, shape (n_events, n_intents).
    whole
        The log that they are part of, which tells what their visitors did before; None where these are all.
    """

    log: Log
    p_intent: Floats
    whole: Log | None = None


def later(model: IntentModel, log: Log, whole: Log | None = None) -> Later:
    """Sessions of a log with the intent inferred at each event, bit for bit as one session at a time has it inferred."""
    return Later(log, model.predict(sessions.fold(log.events, log.starts)), whole)
