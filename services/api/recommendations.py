"""The handlers: parse, read, call one pure function, reply.

Everything runs on the event loop's thread, because an answer takes a fraction of a millisecond. Only a large body is parsed in
a thread, so that one session of ten thousand events does not stop the others.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final, Protocol, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from models import degraded
from models.events import consent
from models.events.identity import partner_keys, pseudonym
from models.experiments.assignment import DYNAMIC_VS_STATIC, assign
from models.item_ranking import Asked
from models.known import NOTHING_KNOWN, Known
from models.live_session import LiveSession
from models.model_set import ModelSet
from models.recommend import Recommendation, Who, assigned_to, recommend, situate
from models.schema import EVENT_TYPES, INTENTS
from models.uuid7 import RANDOM_BITS, decision_id
from services.api import wire
from services.api.session_data import live_session
from services.http.calls import WARM_UP, Call
from services.http.decoding import decode
from services.serving.decision_log import Decision, DecisionLog, Failure
from services.serving.features import OnlineFeatures
from services.serving.model_watch import ChampionSource
from services.serving.profiles import ProfileSource
from services.serving.reads import read_or_name
from services.serving.shadow import TOP, Shadow
from services.signals.catalog import Catalog

Floats = npt.NDArray[np.float64]
LARGE_BODY: Final = 64 * 1024  # bytes; parsing more blocks for over a millisecond


class HasSession(Protocol):
    """A request that may carry a session."""

    session_data: wire.SessionData | None


Request = TypeVar("Request", bound=HasSession)
_RECOMMENDATION: Final = msgspec.json.Decoder(wire.RecommendationRequest)
_INTENT: Final = msgspec.json.Decoder(wire.IntentRequest)


class Desk:
    """Answers partners' questions.

    Parameters
    ----------
    secret
        The installation's secret: features are kept under pseudonyms.
    noise
        Source of random bits for decision ids.
    profiles
        Deals the weight profiles within the dynamic variant; without it the champion weights are used.
    decisions
        Where every decision goes on record, and every request that failed to lead to one.
    goods
        The catalogues: what is sold out is not recommended.

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
        noise: random.Random,
        profiles: ProfileSource | None = None,
        decisions: DecisionLog | None = None,
        goods: Catalog | None = None,
    ) -> None:
        self._champions = champions
        self._online = online
        self._key = partner_keys(secret)
        self._noise = noise
        self._goods = goods
        self._profiles = profiles
        self._decisions = decisions
        self.shadow: Shadow | None = None

    async def recommendations(self, call: Call) -> wire.Recommendation:
        """``POST /v1/recommendations``."""
        began_ns, now_us = time.perf_counter_ns(), call.received_at_us
        request, session = await parse(_RECOMMENDATION, call.body, now_us)
        allowed = consents(call, request.session_data)
        decision = decision_id(now_us, self._noise.getrandbits(RANDOM_BITS))
        # Without consent nobody is recognized: the variant is dealt anew for every request.
        who = Who(pseudonym(self._key(call.partner), request.user_id) if allowed else decision, decision)
        asked = Asked(request.item_id, request.limit, request.explain, request.exclude_seen, request.ranker, request.interleave)
        recorded = self._decisions if allowed and call.caller is not WARM_UP else None
        champions = self._champions.current()
        try:
            known = self._read(asked, session, who.user_id, now_us) if allowed else Known(missing=(degraded.NO_CONSENT,))
            if self._goods is not None:
                self._goods.refresh(now_us / 1e6)
                known = known._replace(sold_out=partial(self._goods.sold_out_codes, call.partner))
            bandit = self._profiles.current(champions, now_us / 1e6) if self._profiles else None
            found = recommend(asked, session, champions, known, who, now_us, bandit)
        except Exception as error:  # the door answers it; here it counts for the variant that the user was dealt
            if recorded is not None:
                assigned = assigned_to(asked, champions, assign(DYNAMIC_VS_STATIC, who.user_id))
                recorded.append(Failure(call.partner, who.user_id, now_us, *assigned, type(error).__name__))
            raise
        reply = told(found, who.decision_id, champions)
        if recorded is not None:
            session_id = request.session_data.session_id if request.session_data else None
            place = (call.partner, who.user_id, session_id, now_us)
            recorded.append(on_record(found, reply, place, (time.perf_counter_ns() - began_ns) // 1000))
        if self.shadow is not None and call.caller is not WARM_UP and self.shadow.wants():
            first = replace(asked, limit=TOP, explain=False)
            self.shadow.offer("recommendations", lambda models: recommend(first, session, models, known, who, now_us))
        return reply

    async def intent(self, call: Call) -> wire.IntentAnswer:
        """``POST /v1/intent``."""
        request, session = await parse(_INTENT, call.body, call.received_at_us)
        models, missing = self._champions.current(), list[str]()
        p_intent = situate(session, models, missing).p_intent
        answer = wire.IntentAnswer(intent_estimate(p_intent), dict(models.versions), missing)
        if not consents(call, request.session_data):
            answer.degraded.append(degraded.NO_CONSENT)
        return answer

    def _read(self, asked: Asked, session: LiveSession, user_id: str, now_us: int) -> Known:
        if session.item_ids or asked.item_id:
            return NOTHING_KNOWN
        missing: list[str] = []
        recent = read_or_name(lambda: self._online().recent_items(user_id, now_us), degraded.UNKNOWN_USER, missing)
        return Known(recent=recent, missing=tuple(missing))


def consents(call: Call, data: wire.SessionData | None) -> bool:
    """Whether neither the session nor the browser says that the visitor does not consent."""
    refused = data is not None and data.context is not None and data.context.consent is False
    return not refused and not consent.is_opted_out(call.headers)


def told(found: Recommendation, decision: str, models: ModelSet) -> wire.Recommendation:
    """A recommendation as it travels."""
    ids, scores, because = found.ranking
    if because is None:
        items = [wire.RankedItem(item_id, score) for item_id, score in zip(ids, scores, strict=True)]
    else:
        items = [
            wire.RankedItem(item_id, score, [wire.Contribution(**one) for one in reasons])
            for item_id, score, reasons in zip(ids, scores, because, strict=True)
        ]
    return wire.Recommendation(
        decision_id=decision,
        intent=intent_estimate(found.p_intent),
        weights=dict(zip(EVENT_TYPES, found.weights.tolist(), strict=True)),
        items=items,
        experiment=wire.Assignment(*found.assignment),
        models=dict(models.versions),
        degraded=found.degraded,
    )


def intent_estimate(p_intent: Floats) -> wire.IntentEstimate:
    """Intents as they travel, from probabilities of shape (n_intents,)."""
    return wire.IntentEstimate(INTENTS[int(p_intent.argmax())], dict(zip(INTENTS, p_intent.tolist(), strict=True)))


def on_record(
    found: Recommendation, reply: wire.Recommendation, place: tuple[str, str, str | None, int], latency_us: int
) -> Decision:
    """The record of an answer.

    Parameters
    ----------
    place
        Partner, pseudonym, session id and the instant.
    """
    return Decision(
        reply.decision_id, *place, *found.assignment, found.dealt.profile, found.dealt.propensity, found.context, reply.models,
        found.ranking.item_ids, latency_us, found.degraded, found.dealt.snapshot,
    )  # fmt: skip


async def parse(decoder: "msgspec.json.Decoder[Request]", body: bytes, now_us: int) -> tuple[Request, LiveSession]:
    """Read a request and the session it brings along; a large one in a thread.

    Raises
    ------
    Refusal
        400 or 422.
    """
    if len(body) > LARGE_BODY:
        return await asyncio.to_thread(_parse_now, decoder, body, now_us)
    return _parse_now(decoder, body, now_us)


def _parse_now(decoder: "msgspec.json.Decoder[Request]", body: bytes, now_us: int) -> tuple[Request, LiveSession]:
    request = decode(decoder, body)
    return request, live_session(request.session_data, now_us)
