"""``POST /v1/recommendations``: parse, read, call one pure function, reply, record.

Everything runs on the event loop's thread, because an answer takes a fraction of a millisecond.
"""

import random
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

from models import degraded
from models.arrays import Flags
from models.bandit.arms import Bandit
from models.experiments.assignment import DYNAMIC_VS_STATIC
from models.experiments.runs import Run
from models.item_ranking import Asked
from models.known import ItemList, Known
from models.live_session import LiveSession
from models.model_set import ModelSet
from models.recommend import Assignment, Goal, Recommendation, Who, assigned_to, recommend
from models.schema import EVENT_TYPES, GOALS
from models.uuid7 import RANDOM_BITS, decision_id
from services.api import wire
from services.api.collaborators import Collaborators
from services.api.intent import intent_estimate
from services.api.session_data import SessionDecoder, consents, parse
from services.http import asgi
from services.http.batching import Batching, Steps
from services.http.calls import WARM_UP, Call
from services.http.endpoints import Endpoint, Endpoints
from services.serving.decision_log import Decision, Failure, PageDecision
from services.serving.reads import read_or_name
from services.serving.shadow import TOP

_REQUEST: Final = SessionDecoder(wire.RecommendationRequest)
EXAMPLE: Final = {
    "user_id": "u-1", "item_id": "sku-9", "session_data": wire.EXAMPLE_SESSION, "limit": 5, "explain": True
}  # fmt: skip
# Of sixteen visitors, so that each variant is dealt to some of them whatever the home's key makes of their names.
WARM_UPS: Final = tuple(
    {**EXAMPLE, **more, "user_id": f"u-{k}"} for k in range(16) for more in ({}, {"explain": False}, {"ranker": True})
)


class Question(NamedTuple):
    """Question of a request, as the pure function takes it.

    Attributes
    ----------
    consent
        Whether the visitor may be recognized and the answer kept.
    user_id
        The visitor's pseudonym; `who` has the one by which is dealt, which is the first that was.
    by_page
        Whether a page asks, with a browser key.
    is_recognized
        Whether it is sure who the visitor is: what the stores know of anybody else is not read.
    """

    asked: Asked
    session: LiveSession
    session_id: str | None
    who: Who
    consent: bool
    user_id: str
    by_page: bool = False
    is_recognized: bool = True


class RecommendationHandler:
    """Handler of questions for items.

    Parameters
    ----------
    noise
        Source of random bits for decision ids.
    """

    def __init__(self, shared: Collaborators, noise: random.Random) -> None:
        self._shared = shared
        self._noise = noise
        self._batching = Batching()

    async def answer(self, call: Call) -> wire.Recommendation:
        """``POST /v1/recommendations``."""
        began_ns = time.perf_counter_ns()
        request, session = await parse(_REQUEST, call, self._shared.event_names.of(call.partner))
        user_id = self._shared.visitor(call.partner, request.user_id) if consents(call, request.session_data) else None
        dealt_as = None if user_id is None else self._shared.identities.dealt_as(user_id)
        question = self.question(call, asked_of(request), (user_id, dealt_as), request.session_data, session)
        return await self._batching.answer(self.answered(call, question, began_ns))

    def answered(self, call: Call, question: Question, began_ns: int) -> Steps[wire.Recommendation]:
        """Answer a question and put the decision on record."""
        now_us = call.received_at_us
        models = self._shared.champions.current().of(call.partner)
        try:
            known, bandit = self._read(question, models, call.partner, now_us)
            run = self._shared.experiments.current(now_us / 1e6)
            variant = run.variant_of(question.who.user_id)
            yield
            found = recommend(question.asked, question.session, models, known, question.who, now_us, bandit, variant)
            if run.name != DYNAMIC_VS_STATIC.name:
                found = found._replace(assignment=_named(found.assignment, run))
        except Exception as error:  # the guard answers it; here it counts for the variant that the user was dealt
            self._record_failure(call, question, models, error)
            raise
        yield
        reply = on_wire(found, question.who.decision_id, models)
        self._record(call, question, found, reply, (time.perf_counter_ns() - began_ns) // 1000)
        self._offer(call, question, known)
        return reply

    def question(
        self,
        call: Call,
        asked: Asked,
        visitor: tuple[str | None, str | None],
        data: wire.SessionData | None,
        session: LiveSession,
    ) -> Question:
        """The question of a call.

        Parameters
        ----------
        visitor
            The pseudonym, and the one by which is dealt; None without consent: the variant is dealt anew for every request.
        """
        decision = decision_id(call.received_at_us, self._noise.getrandbits(RANDOM_BITS))
        session_id = data.session_id if data else None
        who = Who(visitor[1] or decision, decision, session_id or began(session))
        return Question(asked, session, session_id, who, visitor[0] is not None, visitor[0] or decision)

    def _read(self, question: Question, models: ModelSet, partner: str, now_us: int) -> tuple[Known, Bandit]:
        """Read what the stores know, and what the bandit believes."""
        shared = self._shared
        shared.catalog.refresh(now_us / 1e6)
        bandit = shared.profiles.current(models, now_us / 1e6)
        return self._known(question, partial(shared.catalog.allowed, partner), now_us, bandit.arms.has_goals), bandit

    def _known(self, question: Question, allowed: Callable[[ItemList], Flags], now_us: int, has_goals: bool) -> Known:
        if not question.consent:
            return Known(missing=(degraded.NO_CONSENT,), allowed=allowed)
        if not question.is_recognized:
            return Known(allowed=allowed)
        missing: list[str] = []
        without_history: list[str] = []
        online, user_id, recent, history = self._shared.online.current(), question.user_id, None, None
        if not (question.session.item_ids or question.asked.item_id):
            recent = read_or_name(lambda: online.recent_items(user_id, now_us), degraded.UNKNOWN_USER, missing)
        if has_goals:
            history = read_or_name(lambda: online.history(user_id, now_us), degraded.HISTORY_UNKNOWN, without_history)
        return Known(
            recent=recent, missing=tuple(missing), allowed=allowed, history=history, without_history=tuple(without_history)
        )

    def _record(self, call: Call, question: Question, found: Recommendation, reply: wire.Recommendation, took_us: int) -> None:
        if question.consent and call.caller is not WARM_UP:
            place = (call.partner, question.user_id, question.session_id, call.received_at_us)
            dealt_as = question.who.user_id if question.who.user_id != question.user_id else None
            decision = on_record(found, reply, place, took_us, dealt_as)
            if question.by_page:
                decision = decision._replace(context={**found.context, "door": "page"})
            self._shared.decisions.append(PageDecision(decision, question.is_recognized) if question.by_page else decision)

    def _record_failure(self, call: Call, question: Question, models: ModelSet, error: Exception) -> None:
        if question.consent and question.is_recognized and call.caller is not WARM_UP:
            run = self._shared.experiments.current(call.received_at_us / 1e6)
            assigned = _named(assigned_to(question.asked, models, run.variant_of(question.who.user_id)), run)
            failure = Failure(call.partner, question.user_id, call.received_at_us, *assigned, type(error).__name__)
            self._shared.decisions.append(failure)

    def _offer(self, call: Call, question: Question, known: Known) -> None:
        """Let a challenger answer too, where there is one."""
        if question.is_recognized and call.caller is not WARM_UP and self._shared.shadow.wants():
            asked, now_us = replace(question.asked, limit=TOP, explain=False), call.received_at_us
            again = partial(_again, asked, question, known, now_us, call.partner)
            self._shared.shadow.offer("recommendations", again)


def _named(assigned: Assignment, run: Run) -> Assignment:
    """An assignment under the name of the run that made it."""
    return assigned._replace(name=run.name) if assigned.name == DYNAMIC_VS_STATIC.name else assigned


def asked_of(request: wire.RecommendationRequest) -> Asked:
    """The question of a request, as the pure function takes it."""
    flags = request.explain, request.exclude_seen, request.ranker, request.interleave
    return Asked(request.item_id, request.limit, *flags, request.goal)


def began(session: LiveSession) -> str:
    """When a session began, which tells it from the visitor's others; nothing for an empty one."""
    return str(session.events["occurred_at_us"][0]) if len(session.events) else ""


def _again(asked: Asked, question: Question, known: Known, now_us: int, partner: str, models: ModelSet) -> Recommendation:
    return recommend(asked, question.session, models.of(partner), known, question.who, now_us)


def on_wire(found: Recommendation, decision: str, models: ModelSet) -> wire.Recommendation:
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
        goal=_goal(found.goal),
    )


def _goal(goal: Goal) -> dict[str, float]:
    return dict(zip(GOALS, goal.mixture.tolist(), strict=True))


def on_record(
    found: Recommendation, reply: wire.Recommendation, place: tuple[str, str, str | None, int], latency_us: int,
    dealt_as: str | None = None,
) -> Decision:  # fmt: skip
    """The record of an answer.

    Parameters
    ----------
    place
        Partner, pseudonym, session id and the instant.
    dealt_as
        Of `Decision`.
    """
    return Decision(
        reply.decision_id, *place, *found.assignment, found.dealt.profile, found.dealt.propensity, found.context, reply.models,
        found.ranking.item_ids, latency_us, found.degraded, found.dealt.snapshot, dealt_as,
    )  # fmt: skip


def endpoints(shared: Collaborators) -> Endpoints:
    """Endpoint of the recommendations."""
    # Ids must differ and need not be secret: asking the system for noise lets go of the interpreter in every request.
    handler = RecommendationHandler(shared, random.Random())
    return {
        ("POST", "/v1/recommendations"): Endpoint(
            handler.answer, "recommendations:read", "recommendations", "Items that go with a session",
            request=wire.RecommendationRequest, answer=wire.Recommendation, example=EXAMPLE, limit=asgi.BODY_LIMIT,
            headers=(wire.SEC_GPC,), schemas=wire.session_schemas,
            warm_up=WARM_UPS,
        )
    }  # fmt: skip
