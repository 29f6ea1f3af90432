"""The handlers: parse, read, call one pure function, reply.

Everything runs on the event loop's thread, because an answer takes a fraction of a millisecond. Only a large body is parsed in
a thread, so that one session of ten thousand events does not stop the others.
"""

import asyncio
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol, TypeVar

import msgspec

from models import consent
from models.experimentation.experiments import DYNAMIC_VS_STATIC, assign
from models.identity import partner_keys, pseudonym
from services import wire
from services.answering import answers
from services.answering.answers import Read, Recommended
from services.answering.champion import Champions, ChampionSource
from services.answering.decision import RANDOM_BITS, decision_id
from services.answering.decision_log import Decision, DecisionLog, Failure
from services.answering.engagement_reads import read_or_name
from services.answering.online import OnlineFeatures
from services.answering.profile_source import ProfileSource
from services.answering.session_data import LiveSession, live_session
from services.answering.shadow import TOP, Shadow
from services.door.calls import WARM_UP, Call
from services.door.decoding import decode
from services.signals.catalog import Catalog

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
        user_id = pseudonym(self._key(call.partner), request.user_id) if allowed else decision
        recorded = self._decisions if allowed and call.caller is not WARM_UP else None
        champions = self._champions.current()
        try:
            read = self._read(request, session, user_id, now_us) if allowed else Read(missing=(consent.NO_CONSENT,))
            if self._goods is not None:
                self._goods.refresh(now_us / 1e6)
                read = read._replace(sold_out=partial(self._goods.sold_out_codes, call.partner))
            bandit = self._profiles.current(champions, now_us / 1e6) if self._profiles else None
            found = answers.recommend(request, session, champions, read, decision, user_id, now_us, bandit)
        except Exception as error:  # the door answers it; here it counts for the variant that the user was dealt
            if recorded is not None:
                assignment = answers.assigned(request, champions, assign(DYNAMIC_VS_STATIC, user_id))
                told = (now_us, assignment.name, assignment.variant, type(error).__name__)
                recorded.append(Failure(call.partner, user_id, *told))
            raise
        if recorded is not None:
            session_id = request.session_data.session_id if request.session_data else None
            who = (call.partner, user_id, session_id, now_us)
            recorded.append(on_record(found, who, (time.perf_counter_ns() - began_ns) // 1000))
        if self.shadow is not None and call.caller is not WARM_UP and self.shadow.wants():
            first = msgspec.structs.replace(request, limit=TOP, explain=False)

            def score(models: Champions) -> wire.Recommendation:
                return answers.recommend(first, session, models, read, decision, user_id, now_us).reply

            self.shadow.offer("recommendations", score)
        return found.reply

    async def intent(self, call: Call) -> wire.IntentAnswer:
        """``POST /v1/intent``."""
        request, session = await parse(_INTENT, call.body, call.received_at_us)
        answer = answers.tell_intent(session, self._champions.current())
        if not consents(call, request.session_data):
            answer.degraded.append(consent.NO_CONSENT)
        return answer

    def _read(self, request: wire.RecommendationRequest, session: LiveSession, user_id: str, now_us: int) -> Read:
        if session.item_ids or request.item_id:
            return Read()
        missing: list[str] = []
        recent = read_or_name(lambda: self._online().recent_items(user_id, now_us), "unknown_user", missing)
        return Read(recent=recent, missing=tuple(missing))


def consents(call: Call, data: wire.SessionData | None) -> bool:
    """Whether neither the session nor the browser says that the visitor does not consent."""
    refused = data is not None and data.context is not None and data.context.consent is False
    return not refused and not consent.is_opted_out(call.headers)


def on_record(found: Recommended, who: tuple[str, str, str | None, int], latency_us: int) -> Decision:
    """The record of an answer.

    Parameters
    ----------
    who
        Partner, pseudonym, session id and the instant.
    """
    reply, dealt = found.reply, found.dealt
    return Decision(
        reply.decision_id,
        *who,
        reply.experiment.name,
        reply.experiment.variant,
        dealt.profile,
        dealt.propensity,
        found.context,
        reply.models,
        [item.item_id for item in reply.items],
        latency_us,
        reply.degraded,
        dealt.snapshot,
    )


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
