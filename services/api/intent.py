"""``POST /v1/intent``: what a session is about."""

from typing import Final

import numpy as np
import numpy.typing as npt

from models import degraded
from models.recommend import situate
from models.schema import INTENTS
from services.api import wire
from services.api.collaborators import Collaborators
from services.api.session_data import SessionDecoder, consents, parse
from services.http import asgi
from services.http.calls import Call
from services.http.endpoints import Endpoint, Endpoints
from services.serving.event_names import EventNames
from services.serving.model_watch import ChampionSource

_REQUEST: Final = SessionDecoder(wire.IntentRequest)
EXAMPLE: Final = {"session_data": wire.EXAMPLE_SESSION}


class IntentHandler:
    """Handler of questions for the intent."""

    def __init__(self, champions: ChampionSource, event_names: EventNames) -> None:
        self._champions, self._event_names = champions, event_names

    async def answer(self, call: Call) -> wire.IntentAnswer:
        """``POST /v1/intent``."""
        request, session = await parse(_REQUEST, call, self._event_names.of(call.partner))
        models, missing = self._champions.current(), list[str]()
        p_intent = situate(session, models, missing).p_intent
        if not consents(call, request.session_data):
            missing.append(degraded.NO_CONSENT)
        return wire.IntentAnswer(intent_estimate(p_intent), dict(models.versions), missing)


def intent_estimate(p_intent: npt.NDArray[np.float64]) -> wire.IntentEstimate:
    """Intents as they travel, from probabilities of shape (n_intents,)."""
    return wire.IntentEstimate(INTENTS[int(p_intent.argmax())], dict(zip(INTENTS, p_intent.tolist(), strict=True)))


def endpoints(shared: Collaborators) -> Endpoints:
    """Endpoint of the intent."""
    handler = IntentHandler(shared.champions, shared.event_names)
    return {
        ("POST", "/v1/intent"): Endpoint(
            handler.answer, "recommendations:read", "intent", "What a session is about",
            request=wire.IntentRequest, answer=wire.IntentAnswer, example=EXAMPLE, limit=asgi.BODY_LIMIT,
            headers=(wire.SEC_GPC,), schemas=wire.session_schemas, warm_up=(EXAMPLE,),
        )
    }  # fmt: skip
