"""``POST /v1/engagement``: score, next action, and the signal that the partner's policy would send. Nothing is written."""

from collections.abc import Callable
from typing import Final

import msgspec

from models import consent
from models.identity import partner_keys, pseudonym
from models.nudging.signal_policy import Moment
from services import wire
from services.answering import engagement_answers
from services.answering.answers import Read
from services.answering.champion import Champions, ChampionSource
from services.answering.desk import consents, parse
from services.answering.engagement_reads import engagement_features, last_item
from services.answering.online import OnlineFeatures
from services.answering.session_data import LiveSession
from services.answering.shadow import Shadow
from services.door.calls import WARM_UP, Call
from services.reader import Reader
from services.signals import nudges
from services.signals.catalog import Catalog
from services.signals.nudges import Nudges

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
            found = engagement_answers.assess(session, champions, read, state_item, now_us)
            nudge = self._nudges.decide(found, session, Moment(call.partner, user_id, now_us, _utc_offset_min(session)))
            signal = nudges.told(nudge)
        else:
            read = Read(missing=(consent.NO_CONSENT,))
            found = engagement_answers.assess(session, champions, read, state_item, now_us)
            signal = wire.Signal("no_action", {})
        if self.shadow is not None and call.caller is not WARM_UP and self.shadow.wants():

            def score(models: Champions) -> wire.EngagementAnswer:
                assessed = engagement_answers.assess(session, models, read, state_item, now_us)
                return engagement_answers.answer(assessed, models, signal)

            self.shadow.offer("engagement", score)
        return engagement_answers.answer(found, champions, signal)

    def _goods(self, now_us: int) -> Catalog:
        self._catalog.refresh(now_us / 1e6)
        return self._catalog


def _utc_offset_min(session: LiveSession) -> int:
    """Of the visitor's clock, as the newest event tells it."""
    return int(session.events["utc_offset_min"][-1]) if len(session.events) else 0
