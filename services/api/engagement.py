"""``POST /v1/engagement``: score, next action, and the signal that the partner's policy would send. Nothing is written."""

from functools import partial
from typing import Final

import numpy as np

from models import degraded
from models.assess import Assessment, assess
from models.engagement.policy import Moment, Nudge
from models.known import Known
from models.live_session import CurrentState, LiveSession, last_item, looking_at
from models.model_set import ModelSet
from models.schema import NEXT_ACTIONS
from services.api import wire
from services.api.collaborators import Collaborators
from services.api.session_data import SessionDecoder, consents, parse
from services.http import asgi
from services.http.batching import Batching, Steps
from services.http.calls import WARM_UP, Call
from services.http.endpoints import Endpoint, Endpoints
from services.serving.reads import engagement_features
from services.signals.nudges import Nudges

_UNIFORM: Final = np.full(len(NEXT_ACTIONS), 1 / len(NEXT_ACTIONS))
_REQUEST: Final = SessionDecoder(wire.EngagementRequest)
EXAMPLE: Final = {
    "user_id": "u-1", "session_data": wire.EXAMPLE_SESSION, "current_state": {"category": "shoes", "item_id": "sku-9"}
}  # fmt: skip


class EngagementHandler:
    """Handler of questions for engagement."""

    def __init__(self, shared: Collaborators) -> None:
        self._shared = shared
        self._nudges = Nudges(shared.catalog)
        self._batching = Batching()

    async def answer(self, call: Call) -> wire.EngagementAnswer:
        """``POST /v1/engagement``."""
        request, session = await parse(_REQUEST, call, self._shared.event_names.of(call.partner))
        return await self._batching.answer(self._answered(call, request, session))

    def _answered(self, call: Call, request: wire.EngagementRequest, session: LiveSession) -> Steps[wire.EngagementAnswer]:
        now_us = call.received_at_us
        user_id = self._shared.visitor(call.partner, request.user_id)
        state = _state(request.current_state)
        session, state_item = looking_at(session, state, now_us), state.item_id
        models = self._shared.champions.current().of(call.partner)
        consent = consents(call, request.session_data)
        known = self._known(user_id, state_item, session, now_us) if consent else Known(missing=(degraded.NO_CONSENT,))
        yield
        found = assess(session, models, known, state_item, now_us)
        yield
        moment = Moment(call.partner, user_id, now_us, _utc_offset_min(session), session.groups)
        signal = self._signal(found, session, moment) if consent else wire.Signal("no_action", {})
        if call.caller is not WARM_UP and self._shared.shadow.wants():
            known = known.with_history()  # a challenger has a thread of its own, and reads nothing
            again = partial(_again, session, known, state_item, now_us, call.partner)
            self._shared.shadow.offer("engagement", again)
        answer = on_wire(found, models, signal)
        answer.user = user_id if consent else None
        return answer

    def signal_for(self, call: Call, user_id: str, session: LiveSession) -> wire.Signal:
        """The signal that the moment of a session calls for, of a visitor by pseudonym."""
        now_us = call.received_at_us
        models = self._shared.champions.current().of(call.partner)
        found = assess(session, models, self._known(user_id, None, session, now_us), None, now_us)
        moment = Moment(call.partner, user_id, now_us, _utc_offset_min(session), session.groups)
        return self._signal(found, session, moment)

    def _signal(self, found: Assessment, session: LiveSession, moment: Moment) -> wire.Signal:
        return signal_on_wire(self._nudges.decide(found, session, moment, self._shared.reader.rows))

    def _known(self, user_id: str, state_item: str | None, session: LiveSession, now_us: int) -> Known:
        """Read what the online store knows."""
        has_items = bool(session.item_ids or state_item)
        return engagement_features(self._shared.online.current(), user_id, state_item or last_item(session), has_items, now_us)


def _again(session: LiveSession, known: Known, item_id: str | None, now_us: int, partner: str, models: ModelSet) -> Assessment:
    return assess(session, models.of(partner), known, item_id, now_us)


def _state(told: wire.CurrentState | None) -> CurrentState:
    if told is None:
        return CurrentState()
    return CurrentState(told.item_id, told.category, len(told.query) if told.query else None)


def _utc_offset_min(session: LiveSession) -> int:
    """Of the visitor's clock, as the newest event tells it."""
    return int(session.events["utc_offset_min"][-1]) if len(session.events) else 0


def on_wire(found: Assessment, models: ModelSet, signal: wire.Signal) -> wire.EngagementAnswer:
    """An assessment and its nudge as they travel."""
    short, medium = (found.outlook[name].p_action if found.outlook else _UNIFORM for name in ("short_term", "medium_term"))
    return wire.EngagementAnswer(
        wire.EngagementScore(found.score, found.immediate, found.predicted),
        wire.NextAction(*(dict(zip(NEXT_ACTIONS, p.tolist(), strict=True)) for p in (short, medium))),
        signal,
        dict(models.versions),
        found.degraded,
        wire.Purchase(*(float(one.p_purchase) for one in found.outlook.values())) if found.outlook else None,
        trouble=wire.Trouble(*found.trouble),
    )


def signal_on_wire(nudge: Nudge) -> wire.Signal:
    """A nudge as it travels: what would be sent, or else what is withheld and why."""
    if nudge.withheld is None:
        return wire.Signal(nudge.signal["type"], nudge.signal["payload"])
    return wire.Signal("no_action", {}, wire.Withheld(nudge.signal["type"], nudge.withheld))


def endpoints(shared: Collaborators) -> Endpoints:
    """Endpoint of the engagement."""
    return {
        ("POST", "/v1/engagement"): Endpoint(
            EngagementHandler(shared).answer, "recommendations:read", "engagement",
            "Engagement, next action, and the signal that follows", request=wire.EngagementRequest,
            answer=wire.EngagementAnswer, example=EXAMPLE, limit=asgi.BODY_LIMIT, headers=(wire.SEC_GPC,),
            schemas=wire.session_schemas, warm_up=(EXAMPLE,),
        )
    }  # fmt: skip
