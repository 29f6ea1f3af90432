"""``POST /v1/engagement``: score, next action, and the signal that the partner's policy would send. Nothing is written."""

from collections.abc import Callable
from typing import Final

import msgspec
import numpy as np

from models import degraded
from models.assess import Assessment, assess
from models.engagement.policy import Moment, Nudge
from models.events.identity import partner_keys, pseudonym
from models.known import Known
from models.live_session import LiveSession, last_item
from models.model_set import ModelSet
from models.schema import NEXT_ACTIONS
from services.api import wire
from services.api.recommendations import consents, parse
from services.http.calls import WARM_UP, Call
from services.http.reader import Reader
from services.serving.features import OnlineFeatures
from services.serving.model_watch import ChampionSource
from services.serving.reads import engagement_features
from services.serving.shadow import Shadow
from services.signals.catalog import Catalog
from services.signals.nudges import Nudges

_UNIFORM: Final = np.full(len(NEXT_ACTIONS), 1 / len(NEXT_ACTIONS))
_ENGAGEMENT: Final = msgspec.json.Decoder(wire.EngagementRequest)


class EngagementDesk:
    """The handler.

    Parameters
    ----------
    secret
        The installation's secret: users are known by pseudonyms.

    Attributes
    ----------
    shadow
        Lets a challenger answer some requests a second time; may be set before the first request.
    """

    def __init__(
        self,
        champions: ChampionSource,
        online: Callable[[], OnlineFeatures],
        secret: bytes,
        reader: Reader,
        catalog: Catalog,
    ) -> None:
        self._champions = champions
        self._online = online
        self._key = partner_keys(secret)
        self._catalog = catalog
        self._nudges = Nudges(reader.rows, self._goods)
        self.shadow: Shadow | None = None

    async def engagement(self, call: Call) -> wire.EngagementAnswer:
        """``POST /v1/engagement``."""
        now_us = call.received_at_us
        request, session = await parse(_ENGAGEMENT, call.body, now_us)
        user_id = pseudonym(self._key(call.partner), request.user_id)
        state_item = request.current_state.item_id if request.current_state else None
        item_id = state_item or last_item(session)
        champions = self._champions.current()
        if consents(call, request.session_data):
            read = engagement_features(self._online(), user_id, item_id, bool(session.item_ids or state_item), now_us)
            found = assess(session, champions, read, state_item, now_us)
            nudge = self._nudges.decide(found, session, Moment(call.partner, user_id, now_us, _utc_offset_min(session)))
            signal = signal_told(nudge)
        else:
            read = Known(missing=(degraded.NO_CONSENT,))
            found = assess(session, champions, read, state_item, now_us)
            signal = wire.Signal("no_action", {})
        if self.shadow is not None and call.caller is not WARM_UP and self.shadow.wants():
            self.shadow.offer("engagement", lambda models: assess(session, models, read, state_item, now_us))
        return told(found, champions, signal)

    def _goods(self, now_us: int) -> Catalog:
        self._catalog.refresh(now_us / 1e6)
        return self._catalog


def _utc_offset_min(session: LiveSession) -> int:
    """Of the visitor's clock, as the newest event tells it."""
    return int(session.events["utc_offset_min"][-1]) if len(session.events) else 0


def told(found: Assessment, models: ModelSet, signal: wire.Signal) -> wire.EngagementAnswer:
    """An assessment and its nudge as they travel."""
    short, medium = (found.outlook[name].p_action if found.outlook else _UNIFORM for name in ("short_term", "medium_term"))
    return wire.EngagementAnswer(
        wire.EngagementScore(found.score, found.immediate, found.predicted),
        wire.NextAction(*(dict(zip(NEXT_ACTIONS, p.tolist(), strict=True)) for p in (short, medium))),
        signal,
        dict(models.versions),
        found.degraded,
    )


def signal_told(nudge: Nudge) -> wire.Signal:
    """A nudge as it travels: what would be sent, or else what is withheld and why."""
    if nudge.withheld is None:
        return wire.Signal(nudge.signal["type"], nudge.signal["payload"])
    return wire.Signal("no_action", {}, wire.Withheld(nudge.signal["type"], nudge.withheld))
