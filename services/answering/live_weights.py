"""The action weights that serve: read where the worker's duty wrote them, and put into a weight profile."""

import logging

import apsw
import msgspec

from models.events import EventArray
from models.stored.action_weight_tables import SERVING, SERVING_STAMP
from models.weighting import action_weights
from models.weighting.action_weights import ActionWeights, Floats
from models.weighting.weights import WeightProfile
from services.store import rows

log = logging.getLogger("attune.weights")


class LiveWeights:
    """Reads the posterior again when another one serves."""

    def __init__(self) -> None:
        self._stamp: tuple[int, ...] | None = None
        self._weights: ActionWeights | None = None

    def read(self, connection: apsw.Connection) -> ActionWeights | None:
        """What serves; None before anything was counted. What was made by another schema is passed over."""
        found = rows(connection, SERVING_STAMP)
        if not found or found[0] == self._stamp:
            return self._weights
        ((is_frozen, seq, at_us, text),) = rows(connection, SERVING)
        self._stamp = (is_frozen, seq, at_us)
        try:
            counts = action_weights.counts_from_lists(msgspec.json.decode(text))
        except ValueError:
            log.error("the action weights of event %d are of another schema; what served before goes on serving", seq)
            return self._weights
        self._weights = action_weights.ready(action_weights.posterior(counts), seq)
        return self._weights


def moved(
    profile: WeightProfile,
    actions: ActionWeights | None,
    events: EventArray,
    p_intent: Floats,
    now_us: int,
    *,
    sampled: bool = False,
) -> WeightProfile:
    """A profile with the action weights of the visitor's context in it; the profile itself where there are none.

    Parameters
    ----------
    events
        The session so far.
    sampled
        Of the Thompson sample instead of the posterior means.
    """
    if actions is None:
        return profile
    table = actions.sampled if sampled else actions.mean
    return action_weights.applied(profile, table[action_weights.code_at(events, p_intent, now_us)])
