"""``POST /v1/page``: items for a page of a shop, asked by the page itself with a browser key.

Whoever opens the page has that key, and may say to be anybody. So nothing that is stored about a user is read unless the
partner's server vouched for the visitor (`services.api.visitor_token`): the answer follows from the session that comes with the
question. Its decision goes on record as far as `infra.store.statements.decisions.IS_PAGE_RECORDED` admits.
"""

import random
import time
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from models.events.identity import pseudonym
from models.item_ranking import Asked
from services.api import wire
from services.api.collaborators import Collaborators
from services.api.engagement import EngagementHandler
from services.api.recommendations import RecommendationHandler
from services.api.session_data import SessionDecoder, consents, parse
from services.api.visitor_token import MOST, user_of
from services.http.batching import at_once
from services.http.calls import Call
from services.http.endpoints import Endpoint, Endpoints, Parameter
from services.http.partners import EXPLAIN, PAGE
from services.http.problems import Refusal

BODY_LIMIT: Final = 32 * 1024
MAX_EVENTS: Final = 100
MAX_ITEMS: Final = 24
ORIGIN: Final = Parameter("Origin", {"type": "string"}, "As browsers send it; one of the key's.")
EXAMPLE: Final = {"key": "pk_example", "user_id": "v-1", "item_id": "sku-9", "session_data": wire.EXAMPLE_SESSION, "limit": 6}


class PageRequest(msgspec.Struct):
    """Which items go with what the visitor of this page does?

    `user_id` is what the page calls the visitor in its events; nothing is read about it. `visitor_token` is made by the
    partner's server, names the user, and lets the answer use what is known of them; only with it, `with_signal` brings the
    signal of the moment. `explain` needs a key made with ``--explain``. All else is as in a `RecommendationRequest`.
    """

    key: str
    user_id: wire.Id | None = None
    visitor_token: Annotated[str, Meta(max_length=MOST)] | None = None
    item_id: wire.Id | None = None
    session_data: wire.SessionData | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_ITEMS)] = 6
    explain: bool = False
    exclude_seen: bool = False
    goal: Literal["auto", "view", "add_to_cart", "purchase"] = "auto"
    with_signal: bool = False


class PageAnswer(msgspec.Struct, omit_defaults=True):
    """Items for a page; send `decision_id` along with what the visitor does about them. `weights` come with reasons.

    `signal` is what would be sent under the shop's policy, or why it is withheld.
    """

    decision_id: str
    intent: wire.IntentEstimate
    items: list[wire.RankedItem]
    degraded: list[str]
    weights: dict[str, float] | None = None
    signal: wire.Signal | None = None


_REQUEST: Final = SessionDecoder(PageRequest)


class PageHandler:
    """Handler of questions of pages."""

    def __init__(
        self, shared: Collaborators, recommendations: RecommendationHandler, engagement: EngagementHandler
    ) -> None:  # fmt: skip
        self._shared = shared
        self._recommendations, self._engagement = recommendations, engagement

    async def answer(self, call: Call) -> PageAnswer:
        """``POST /v1/page``."""
        began_ns = time.perf_counter_ns()
        if "origin" not in call.headers:  # the guard has seen that it is one of the key's, where there is one
            raise Refusal(403, "only pages may ask here; send the header Origin")
        request, session = await parse(_REQUEST, call, self._shared.event_names.of(call.partner))
        if len(session.events) > MAX_EVENTS:
            raise Refusal(422, f"a page's session may hold {MAX_EVENTS} events at most", "/session_data/events")
        if request.explain and EXPLAIN not in call.caller.scopes:
            raise Refusal(403, f"this needs a key with the scope {EXPLAIN}", "/explain")
        vouched = self._vouched(request, call)
        visitor = self._visitor(vouched, request, call)
        asked = Asked(request.item_id, request.limit, request.explain, request.exclude_seen, False, False, request.goal)
        question = self._recommendations.question(call, asked, visitor, request.session_data, session)
        question = question._replace(by_page=True, is_recognized=vouched is not None)
        found = at_once(self._recommendations.answered(call, question, began_ns))
        weights = found.weights if request.explain else None
        asks = request.with_signal and vouched is not None and visitor[0] is not None
        signal = self._engagement.signal_for(call, visitor[0] or "", session) if asks else None
        return PageAnswer(found.decision_id, found.intent, found.items, found.degraded, weights, signal)

    def _visitor(self, vouched: str | None, request: PageRequest, call: Call) -> tuple[str | None, str | None]:
        """The visitor's pseudonym, and the one by which is dealt: for a stranger it follows from nothing that is stored."""
        shared, user_id = self._shared, vouched or request.user_id
        if user_id is None or not consents(call, request.session_data):
            return None, None
        kept = shared.visitor(call.partner, user_id)
        return kept, shared.identities.dealt_as(kept) if vouched else pseudonym(shared.key(call.partner), user_id)

    def _vouched(self, request: PageRequest, call: Call) -> str | None:
        """The user for whom the partner's server vouched.

        Raises
        ------
        Refusal
            403 for a token that is not, or no longer, valid.
        """
        if request.visitor_token is None:
            return None
        now_s = call.received_at_us / 1e6
        user_id = user_of(request.visitor_token, self._shared.authenticator.vouching(call.partner, now_s), now_s)
        if user_id is None:
            raise Refusal(403, "the visitor_token is not valid, or no longer; ask your server for another", "/visitor_token")
        return user_id


def endpoints(shared: Collaborators) -> Endpoints:
    """Endpoint of the pages."""
    handler = PageHandler(shared, RecommendationHandler(shared, random.Random()), EngagementHandler(shared))
    return {
        ("POST", "/v1/page"): Endpoint(
            handler.answer, PAGE, "page", "Items for a page that asks by itself", request=PageRequest, answer=PageAnswer,
            example=EXAMPLE, limit=BODY_LIMIT, headers=(wire.SEC_GPC, ORIGIN), schemas=wire.session_schemas, from_pages=True,
        )
    }  # fmt: skip
