"""Signal rules: which nudge is worth it, by the engagement score, the next action and the session.

What a signal may name stands on a `Shelf` that the caller fills: products and articles that can be had, offers with money left.
Whether the chosen signal may be sent now is for `models.engagement.policy` to say.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, NamedTuple, Protocol, TypedDict

from models.arrays import Floats, Floats32
from models.engagement.silence import PRESENT, Silence
from models.engagement.trouble import CALM, Trouble
from models.engagement.workflows import CART_REMINDER, Workflow, filled, first_that_holds, moment_values
from models.schema import NEXT_ACTIONS, SESSION_FEATURES, SIGNAL_TYPES

_COLUMN: Final = {name: at for at, name in enumerate(SESSION_FEATURES)}
_SHAPE: Final = (len(SESSION_FEATURES),)
_LEAVE: Final = NEXT_ACTIONS.index("leave")
_PURCHASE: Final = NEXT_ACTIONS.index("purchase")
NO_TERMS: Final[Mapping[str, Any]] = {}
_PROMPTS: Final = {
    "checkout": "Something seems to be in the way at the checkout. Offer help.",
    "search": "The visitor searches and does not find. Offer help, or a person to ask.",
    "errors": "The shop has shown the visitor errors. Offer help, or another way to go on.",
    "back_and_forth": "The visitor goes back and forth and does not decide. Offer help, or a person to ask.",
}


@dataclass(frozen=True)
class SignalThresholds:
    """Where one partner's signals begin. Probabilities and scores are in [0, 1], counts and seconds are >= 1.

    Raises
    ------
    ValueError
        If a value is outside its range.
    """

    # The score is the probability to buy within the hour; few visitors of a shop reach one half.
    min_score_product: float = 0.1
    min_score_content: float = 0.03
    min_score_discount: float = 0.25
    min_score_support: float = 0.0
    min_score_workflow: float = 0.0
    min_p_trouble: float = 0.7  # that something is in the visitor's way
    # About to go, with a cart. In sessions of ten events one event in ten is the last: nobody is ever nearly sure of it.
    min_p_leave: float = 0.1
    max_p_purchase_discount: float = 0.5  # who buys anyway needs no discount
    n_search_refines_support: int = 4  # so many refinements: does not find it
    n_checkout_views_support: int = 3  # so many looks at the checkout without a purchase: something is in the way
    n_reading_events_content: int = 2  # reviews, comparisons and articles that make a reader
    # So many seconds of silence make that something was left lying.
    min_silence_cart_s: int = 300
    min_silence_checkout_s: int = 300
    min_silence_comparison_s: int = 1200
    max_items: int = 5  # in a payload
    dead_band: float = 0.2  # share of a threshold by which the value must fall below it before a signal is called for no more

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not (value >= 1 if each.name.startswith(("n_", "max_items", "min_silence_")) else 0.0 <= value <= 1.0):
                raise ValueError(f"{each.name} is out of range, got {value}")


class Offer(NamedTuple):
    """A discount that the partner grants, as it stands for one cart.

    Attributes
    ----------
    base_cents
        Value of what it holds for in the cart, hundredths of the currency; None where a price is not known.
    percent
        Of that value, 0 to 100; or else
    amount_cents
        once, for all of it.
    left_cents
        What may still be promised, of all budgets the smallest; None: no limit.
    terms
        What the shopper is told beside the amount: title, code, currency.
    """

    offer_id: str
    base_cents: int | None
    percent: float | None = None
    amount_cents: int | None = None
    left_cents: int | None = None
    terms: Mapping[str, Any] = NO_TERMS


class OnShelf(Protocol):
    """Shelf of a payload: items, articles and offers that it may name, best first.

    The rules look at nothing that they do not need: a shelf may look things up when it is asked.
    """

    @property
    def product_ids(self) -> Sequence[str]:
        """Products."""
        ...

    @property
    def content_ids(self) -> Sequence[str]:
        """Articles."""
        ...

    @property
    def cart_ids(self) -> Sequence[str]:
        """Items in the cart, newest first."""
        ...

    @property
    def offers(self) -> Sequence[Offer]:
        """Discounts on something in the cart."""
        ...

    @property
    def cart_cents(self) -> int | None:
        """Value of what lies in the cart, or None where a price is not known."""
        ...

    @property
    def details(self) -> Mapping[str, Mapping[str, Any]]:
        """Entries of the catalogue about items and articles that the shelf names, by id."""
        ...

    @property
    def category(self) -> str | None:
        """Where the visitor is, as far as it is known."""
        ...

    @property
    def item_id(self) -> str | None:
        """Item that the visitor looks at, as far as it is known."""
        ...


@dataclass(frozen=True)
class Shelf:
    """`OnShelf` whose things are at hand."""

    product_ids: Sequence[str] = ()
    content_ids: Sequence[str] = ()
    cart_ids: Sequence[str] = ()
    offers: Sequence[Offer] = ()
    cart_cents: int | None = None
    details: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    category: str | None = None
    item_id: str | None = None


class Signal(TypedDict):
    """Signal to a partner: one of `SIGNAL_TYPES`, and its payload."""

    type: str
    payload: dict[str, Any]


class Discount(NamedTuple):
    """An offer, and what it costs here."""

    offer: Offer
    cents: int


def discount_of(offers: Sequence[Offer]) -> Discount | None:
    """The offer that costs least here, of those that can be paid from what is left; of equals, the first.

    Examples
    --------
    >>> found = discount_of([Offer("ten", 6_000, percent=10.0), Offer("two", 6_000, amount_cents=200)])
    >>> found.offer.offer_id, found.cents
    ('two', 200)
    >>> discount_of([Offer("ten", None, percent=10.0)]) is None  # ten percent of what?
    True
    """
    priced = (Discount(offer, _cents(offer)) for offer in offers)
    payable = (one for one in priced if one.cents > 0 and (one.offer.left_cents is None or one.cents <= one.offer.left_cents))
    return min(payable, key=lambda one: one.cents, default=None)


def _cents(offer: Offer) -> int:
    """Cost of an offer here: never more than what it holds for is worth."""
    if offer.base_cents is None:
        return offer.amount_cents or 0
    wanted = offer.amount_cents if offer.percent is None else int(offer.base_cents * offer.percent / 100 + 0.5)
    return min(wanted or 0, offer.base_cents)


def choose(
    engagement: float,
    p_next: Floats | None,
    features: Floats32,
    thresholds: SignalThresholds,
    shelf: OnShelf,
    allowed: Collection[str] = SIGNAL_TYPES,
    silence: Silence = PRESENT,
    workflows: Sequence[Workflow] = (),
    band: float = 0.0,
    trouble: Trouble = CALM,
) -> Signal:
    """Choose the signal of this moment; the first rule that holds, and whose signal is allowed, wins.

    1. `proactive_support`: searches refined, or the checkout looked at, again and again, and nothing bought; or else probably
       in trouble;
    2. `offer_discount`: a cart, about to leave, engaged enough to be worth it, not about to buy anyway, and an offer that can
       be paid;
    3. `start_workflow`: the first of the partner's workflows that begins here; else, with a cart and about to leave, the
       reminder of the cart, unless the partner has one of that name;
    4. `recommend_content`: a reader, if there is content;
    5. `recommend_product`: engaged, if there are products;
    6. `no_action`.

    Who is about to buy anyway gets neither 2 nor 3, if engaged enough for 2.

    In silence there is nobody to recommend anything to: 1; then 2 and 3, once a cart or checkout has been left lying for long
    enough, for which there need be no model; then 3 with a comparison that was left lying. Payloads say how long it has been.

    Parameters
    ----------
    engagement
        Score in [0, 1].
    p_next
        Probability of each next action, short term, shape (n_next_actions,) in the order of `NEXT_ACTIONS`;
        None where no model answers: the rules that need it then stay silent.
    features
        Session features after the last event, shape (n_session_features,).
    workflows, band
        Of the partner, and the share by which their thresholds of estimates are eased.

    Raises
    ------
    ValueError
        If the score is outside [0, 1] or a shape is not as above.

    Examples
    --------
    >>> import numpy as np
    >>> quiet = np.zeros(len(SESSION_FEATURES), dtype=np.float32)
    >>> choose(0.6, None, quiet, SignalThresholds(), Shelf(product_ids=["sku-1"]))
    {'type': 'recommend_product', 'payload': {'item_ids': ['sku-1']}}
    """
    if not 0.0 <= engagement <= 1.0:
        raise ValueError(f"engagement must be in [0, 1], got {engagement}")
    if features.shape != _SHAPE or (p_next is not None and p_next.shape != (len(NEXT_ACTIONS),)):
        raise ValueError(f"features must have the shape {_SHAPE}, p_next {(len(NEXT_ACTIONS),)}, got {features.shape}")
    t, own = thresholds, _Own(workflows if "start_workflow" in allowed else (), band)
    supporting = _support(engagement, features, t, allowed, trouble)
    if silence.seconds > 0:
        chosen = _in_silence(engagement, p_next, features, t, shelf, allowed, silence, own, supporting)
        return chosen or Signal(type="no_action", payload={})
    if supporting is not None:
        return supporting
    saving = None
    if p_next is not None and features[_COLUMN["cart_size"]] >= 1 and p_next[_LEAVE] >= t.min_p_leave:
        saving = _save_cart(engagement, float(p_next[_PURCHASE]), t, shelf, allowed, own)
    if saving is None or saving["type"] != "offer_discount":
        saving = own.begun(engagement, p_next, features, silence, shelf, t) or saving
    if saving is not None:
        return saving
    reads = engagement >= t.min_score_content and n_reading(features) >= t.n_reading_events_content
    if reads and "recommend_content" in allowed and shelf.content_ids:
        return Signal(type="recommend_content", payload=_items(shelf.content_ids, shelf, t))
    if engagement >= t.min_score_product and "recommend_product" in allowed and shelf.product_ids:
        return Signal(type="recommend_product", payload=_items(shelf.product_ids, shelf, t))
    return Signal(type="no_action", payload={})


def _in_silence(
    engagement: float, p_next: Floats | None, features: Floats32, t: SignalThresholds, shelf: OnShelf, allowed: Collection[str],
    silence: Silence, own: "_Own", supporting: Signal | None,
) -> Signal | None:  # fmt: skip
    """What may bring a visitor back who went silent."""
    left, found = silence.left, supporting
    leaves = p_next is None or p_next[_LEAVE] >= t.min_p_leave
    if found is None and left is not None and leaves and silence.seconds >= getattr(t, f"min_silence_{left.kind}_s"):
        if left.kind == "comparison":
            found = _remind_of_comparison(engagement, left.item_ids, t, shelf, allowed)
        else:
            p_purchase = 0.0 if p_next is None else float(p_next[_PURCHASE])
            found = _save_cart(engagement, p_purchase, t, shelf, allowed, own)
    if found is None or found["type"] == "start_workflow":
        found = own.begun(engagement, p_next, features, silence, shelf, t) or found
    if found is None:
        return None
    named = {} if left is None else {"left": left.kind}
    return Signal(type=found["type"], payload=found["payload"] | named | {"silent_s": int(silence.seconds)})


def _remind_of_comparison(
    engagement: float, item_ids: Sequence[str], t: SignalThresholds, shelf: OnShelf, allowed: Collection[str]
) -> Signal | None:
    if "start_workflow" not in allowed or engagement < t.min_score_workflow or not item_ids:
        return None
    return Signal(
        type="start_workflow",
        payload={"workflow": "comparison_reminder", "fields": {"item_ids": list(item_ids[: t.max_items])}},
    )


def _support(
    engagement: float, features: Floats32, t: SignalThresholds, allowed: Collection[str], trouble: Trouble
) -> Signal | None:
    obstacle = _obstacle(features, t) or (trouble.reason if trouble.reason and trouble.p >= t.min_p_trouble else None)
    if obstacle is None or "proactive_support" not in allowed or engagement < t.min_score_support:
        return None
    return Signal(type="proactive_support", payload={"reason": obstacle, "prompt": _PROMPTS[obstacle]})


class _Own(NamedTuple):
    """Workflows of the partner, and the share by which their thresholds are eased."""

    workflows: Sequence[Workflow]
    band: float

    def has(self, name: str) -> bool:
        """Whether the partner says itself when a workflow begins."""
        return any(one.name == name for one in self.workflows)

    def begun(
        self,
        engagement: float,
        p_next: Floats | None,
        features: Floats32,
        silence: Silence,
        shelf: OnShelf,
        t: SignalThresholds,
    ) -> Signal | None:
        """The first that begins, with its fields."""
        if not self.workflows:
            return None
        told = {
            "category": shelf.category,
            "item_id": shelf.item_id,
            "cart_value": None if shelf.cart_cents is None else shelf.cart_cents / 100,
            "cart_item_ids": shelf.cart_ids,
            "product_ids": shelf.product_ids,
            "content_ids": shelf.content_ids,
        }
        values = moment_values(engagement, p_next, features, silence, told)
        found = first_that_holds(self.workflows, values, self.band)
        if found is None:
            return None
        return Signal(type="start_workflow", payload={"workflow": found.name, "fields": filled(found, values, t.max_items)})


def _save_cart(
    engagement: float, p_purchase: float, t: SignalThresholds, shelf: OnShelf, allowed: Collection[str], own: _Own
) -> Signal | None:
    """What may keep a visitor who is about to leave with a cart."""
    if engagement >= t.min_score_discount:
        if p_purchase > t.max_p_purchase_discount:
            return None
        discount = discount_of(shelf.offers) if "offer_discount" in allowed else None
        if discount is not None:
            offer = {"offer_id": discount.offer.offer_id, "amount": discount.cents / 100, **discount.offer.terms}
            cart = {"cart_item_ids": list(shelf.cart_ids[: t.max_items])}
            return Signal(type="offer_discount", payload={"reason": "cart_at_risk", **offer, **cart})
    if "start_workflow" in allowed and engagement >= t.min_score_workflow and not own.has(CART_REMINDER):
        value = {} if shelf.cart_cents is None else {"cart_value": shelf.cart_cents / 100}
        prefilled = {"cart_item_ids": list(shelf.cart_ids[: t.max_items]), "n_items": len(shelf.cart_ids), **value}
        return Signal(type="start_workflow", payload={"workflow": CART_REMINDER, "fields": prefilled})
    return None


def _items(ids: Sequence[str], shelf: OnShelf, t: SignalThresholds) -> dict[str, Any]:
    named = list(ids[: t.max_items])
    if not any(item_id in shelf.details for item_id in named):
        return {"item_ids": named}
    return {"item_ids": named, "items": [{"item_id": item_id, **shelf.details.get(item_id, {})} for item_id in named]}


def _obstacle(features: Floats32, t: SignalThresholds) -> str | None:
    """What the visitor seems to be stuck at, or None."""
    if features[_COLUMN["n_purchase"]] > 0:
        return None
    if features[_COLUMN["n_checkout_view"]] >= t.n_checkout_views_support:
        return "checkout"
    if features[_COLUMN["n_search_refine"]] >= t.n_search_refines_support and features[_COLUMN["n_add_to_cart"]] == 0:
        return "search"
    return None


def n_reading(features: Floats32) -> float:
    """Reviews, comparisons and articles that a session has read."""
    return float(sum(features[_COLUMN[f"n_{name}"]] for name in ("review_read", "spec_compare", "content_view")))
