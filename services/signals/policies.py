"""Signal policies: what a partner allows, as the partner writes it and as whoever decides reads it.

Amounts are in the shop's currency here and in hundredths of it inside. The partner's JSON is what is kept; a partner who never
set a policy has the default one.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

from infra.store.protocol import Read
from infra.store.statements.signals import READ_POLICY
from models.engagement.expressions import MOST_CHARACTERS, ExpressionError, parse
from models.engagement.policy import DAY_MIN, SENDABLE, SignalPolicy
from models.engagement.signals import SignalThresholds
from models.engagement.workflows import (
    MOST_FIELDS,
    MOST_TEXT,
    MOST_WORKFLOWS,
    NAMES,
    TemplateError,
    Workflow,
    check_template,
    workflow,
)

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Count = Annotated[int, Meta(ge=1, le=1000)]
Seconds = Annotated[int, Meta(ge=1, le=86_400)]
Money = Annotated[float, Meta(ge=0.0, le=1e10)]
Sendable = Annotated[str, Meta(extra_json_schema={"enum": list(SENDABLE)})]  # for the document; who sets a policy checks it
Types = Annotated[list[Sendable], Meta(max_length=len(SENDABLE))]
TimeOfDay = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]\Z")]
_DEFAULT: Final = SignalPolicy()
_T: Final = _DEFAULT.thresholds


FieldName = Annotated[str, Meta(min_length=1, max_length=64)]
Template = Annotated[str, Meta(max_length=MOST_TEXT, extra_json_schema={"pattern": "^[^{}]*$"})]
# For the document: who sets a policy reads the whole language.
_SIMPLE: Final = r"^(score|p_leave|p_purchase|silence_s|cart_size) (>|>=) 0\.[1-9]( (and|or) (score|p_leave) (>|>=) 0\.[1-9])?$"


class Thresholds(msgspec.Struct, forbid_unknown_fields=True):
    """Where each signal begins: engagement scores and probabilities from 0 to 1, counts and seconds from 1."""

    min_score_product: Share = _T.min_score_product
    min_score_content: Share = _T.min_score_content
    min_score_discount: Share = _T.min_score_discount
    min_score_support: Share = _T.min_score_support
    min_score_workflow: Share = _T.min_score_workflow
    min_p_trouble: Share = _T.min_p_trouble
    min_p_leave: Share = _T.min_p_leave
    max_p_purchase_discount: Share = _T.max_p_purchase_discount
    n_search_refines_support: Count = _T.n_search_refines_support
    n_checkout_views_support: Count = _T.n_checkout_views_support
    n_reading_events_content: Count = _T.n_reading_events_content
    min_silence_cart_s: Seconds = _T.min_silence_cart_s
    min_silence_checkout_s: Seconds = _T.min_silence_checkout_s
    min_silence_comparison_s: Seconds = _T.min_silence_comparison_s
    max_items: Annotated[int, Meta(ge=1, le=50)] = _T.max_items
    dead_band: Share = _T.dead_band


class QuietHours(msgspec.Struct, forbid_unknown_fields=True, rename={"begin": "from", "end": "to"}):
    """On the visitor's clock, hours and minutes; over midnight where `to` is before `from`."""

    begin: TimeOfDay
    end: TimeOfDay


class DiscountBudget(msgspec.Struct, forbid_unknown_fields=True):
    """Most that discounts may promise, in the shop's currency, of all offers together; null is no limit."""

    per_day: Money | None = None
    total: Money | None = None


class WorkflowBody(msgspec.Struct, forbid_unknown_fields=True):
    """A workflow of yours: it begins where `when` holds, and is told `fields`, in which `{name}` stands for a value.

    `when` compares `score`, `p_leave` and the other actions, `silence_s`, `left`, `category`, `item_id`, `cart_value` and
    counts of the session, such as `cart_size`: ``p_leave >= 0.2 and cart_size >= 1``.
    """

    name: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_]*\Z")]
    when: Annotated[str, Meta(min_length=1, max_length=MOST_CHARACTERS, extra_json_schema={"pattern": _SIMPLE})]
    fields: Annotated[dict[FieldName, Template], Meta(max_length=MOST_FIELDS)] = {}


class SignalCosts(msgspec.Struct, forbid_unknown_fields=True):
    """Cost of sending a signal of each kind, in the shop's currency: an e-mail, a call, a visitor's attention."""

    recommend_product: Money = 0.0
    recommend_content: Money = 0.0
    offer_discount: Money = 0.0
    proactive_support: Money = 0.0
    start_workflow: Money = 0.0


class PolicyBody(msgspec.Struct, forbid_unknown_fields=True):
    """A partner's policy. What a request leaves out is set to its default.

    `margin_share` is what you keep of a price: signals are worth sending by what they earn at it, less `signal_costs`.
    """

    thresholds: Thresholds = msgspec.field(default_factory=Thresholds)
    signal_types: Types = msgspec.field(default_factory=lambda: list(SENDABLE))
    max_per_day: Annotated[int, Meta(ge=0, le=1000)] = _DEFAULT.max_per_day
    cool_down_s: Annotated[int, Meta(ge=0, le=30 * 86_400)] = _DEFAULT.cool_down_s
    quiet_hours: QuietHours | None = None
    discount_budget: DiscountBudget = msgspec.field(default_factory=DiscountBudget)
    holdout_share: Share = _DEFAULT.holdout_share
    holdout_salt: Annotated[str, Meta(min_length=1, max_length=64)] = _DEFAULT.holdout_salt
    max_cause_age_s: Annotated[int, Meta(ge=1, le=86_400)] = _DEFAULT.max_cause_age_s
    workflows: Annotated[list[WorkflowBody], Meta(max_length=MOST_WORKFLOWS)] = []
    margin_share: Share = 1.0
    signal_costs: SignalCosts = msgspec.field(default_factory=SignalCosts)


DEFAULT_BODY: Final = PolicyBody()
DECODER: Final = msgspec.json.Decoder(PolicyBody)
_CLOCK: Final = re.compile(r"(\d\d):(\d\d)")


def to_policy(body: PolicyBody) -> SignalPolicy:
    """The policy that a body means.

    Raises
    ------
    ValueError
        If a signal type is unknown.

    Examples
    --------
    >>> night = PolicyBody(quiet_hours=QuietHours("22:00", "07:30"), discount_budget=DiscountBudget(per_day=12.5))
    >>> to_policy(night).quiet_to_min, to_policy(night).max_discount_cents_per_day
    (450, 1250)
    """
    quiet = body.quiet_hours
    return SignalPolicy(
        thresholds=SignalThresholds(**msgspec.structs.asdict(body.thresholds)),
        signal_types=tuple(body.signal_types),
        max_per_day=body.max_per_day,
        cool_down_s=body.cool_down_s,
        quiet_from_min=_minute(quiet.begin) if quiet else None,
        quiet_to_min=_minute(quiet.end) if quiet else None,
        max_discount_cents_per_day=_cents(body.discount_budget.per_day),
        max_discount_cents=_cents(body.discount_budget.total),
        holdout_share=body.holdout_share,
        holdout_salt=body.holdout_salt,
        max_cause_age_s=body.max_cause_age_s,
        workflows=tuple(_workflows(body)),
    )


def _workflows(body: PolicyBody) -> Iterator[Workflow]:
    """Workflows of a policy; one that names what an earlier version had is left out."""
    for one in body.workflows:
        with suppress(ExpressionError, TemplateError):
            yield workflow(one.name, one.when, one.fields)


class Contradiction(NamedTuple):
    """Place in a policy that cannot be followed, as a JSON pointer, and why."""

    pointer: str
    reason: str


def contradiction(body: PolicyBody) -> Contradiction | None:
    """The first thing in a policy that contradicts the rest of it, or that nobody could follow.

    Examples
    --------
    >>> contradiction(PolicyBody(workflows=[WorkflowBody("call", "score > 2")]))
    Contradiction(pointer='/workflows/0/when', reason='it can never hold: score is from 0 to 1')
    >>> contradiction(PolicyBody(signal_types=["recommend_product"], discount_budget=DiscountBudget(per_day=5))).pointer
    '/discount_budget'
    """
    unknown = [place for place, name in enumerate(body.signal_types) if name not in SENDABLE]
    if unknown:
        return Contradiction(f"/signal_types/{unknown[0]}", f"a signal type must be one of {', '.join(SENDABLE)}")
    if body.workflows and "start_workflow" not in body.signal_types:
        return Contradiction("/workflows", "signal_types leaves out start_workflow, so none of these could ever begin")
    if body.discount_budget != DiscountBudget() and "offer_discount" not in body.signal_types:
        return Contradiction("/discount_budget", "signal_types leaves out offer_discount, so nothing could ever be spent")
    if body.quiet_hours and body.quiet_hours.begin == body.quiet_hours.end:
        return Contradiction("/quiet_hours/to", "quiet hours that end when they begin are none: leave them out")
    for place, one in enumerate(body.workflows):
        try:
            parse(one.when, NAMES)
        except ExpressionError as error:
            return Contradiction(f"/workflows/{place}/when", str(error))
        for name, template in one.fields.items():
            try:
                check_template(template)
            except TemplateError as error:
                return Contradiction(f"/workflows/{place}/fields/{_escaped(name)}", str(error))
    return None


def _escaped(name: str) -> str:
    """A part of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def _minute(clock: str) -> int:
    found = _CLOCK.fullmatch(clock)
    if found is None:
        raise ValueError("a time of day must be HH:MM")
    return (int(found[1]) * 60 + int(found[2])) % DAY_MIN


def _cents(amount: float | None) -> int | None:
    return None if amount is None else int(amount * 100 + 0.5)


class PolicyBook:
    """Policies of the partners, as they stand."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, SignalPolicy]] = {}

    def of(self, partner: str, read: Read) -> SignalPolicy:
        """The policy of a partner, read anew where its version has changed."""
        kept = read(READ_POLICY, (partner,))
        if not kept:
            return _DEFAULT
        text, version = kept[0]
        known = self._known.get(partner)
        if known is None or known[0] != version:
            known = self._known[partner] = (version, to_policy(DECODER.decode(text)))
        return known[1]
