"""Action weights that serve, read where the worker's duty wrote them."""

import logging

import msgspec

from infra.store.protocol import Read
from infra.store.statements.action_weights import SERVING, SERVING_STAMP
from models.weights import actions as action_weights
from models.weights.actions import ActionWeights

log = logging.getLogger("attune.weights")


class LiveWeights:
    """Action weights that serve, read again when another posterior does."""

    def __init__(self) -> None:
        self._stamp: tuple[int, ...] | None = None
        self._weights: ActionWeights | None = None

    def read(self, read: Read) -> ActionWeights | None:
        """Action weights that serve; None before anything was counted. What was made by another schema is passed over."""
        stamp = read(SERVING_STAMP, ())
        if not stamp or stamp[0] == self._stamp:
            return self._weights
        ((is_frozen, seq, at_us, text),) = read(SERVING, ())
        self._stamp = (is_frozen, seq, at_us)
        try:
            counts = action_weights.counts_from_lists(msgspec.json.decode(text))
        except ValueError:
            log.error("the action weights of event %d are of another schema; what served before goes on serving", seq)
            return self._weights
        self._weights = action_weights.ready(action_weights.posterior(counts), seq)
        return self._weights
