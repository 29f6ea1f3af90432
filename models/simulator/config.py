"""Configuration of the simulated shop, and the causes that decide whether a visitor buys.

The defaults make a plausible mid-sized shop: nine events a session with a long tail, about one session in twenty buys.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, NamedTuple

from models.schema import DAY_US, INTENTS, N_EVENT_TYPES, N_INTENTS, SIGNAL_TYPES, EventType

FIRST_START_US: Final = 1_767_571_200_000_000  # Monday 2026-01-05T00:00Z, for callers to whom the date does not matter

# Columns follow `INTENTS`: exploratory, comparative, intent_to_purchase, research.
_SIGNAL_EFFECTS: Final = {
    "no_action": (0.0, 0.0, 0.0, 0.0),
    "recommend_product": (0.50, 0.40, 0.15, 0.10),
    "recommend_content": (0.10, 0.10, -0.20, 0.70),
    "offer_discount": (0.15, 0.90, 0.05, 0.20),  # times the visitor's price sensitivity, whose mean is 1
    "proactive_support": (-0.20, 0.30, 0.40, 0.30),
    "start_workflow": (-0.30, 0.00, 0.70, 0.10),
}
_EVENT_EFFECTS: Final = {
    EventType.ITEM_ENGAGEMENT: 0.25,
    EventType.DETAIL_VIEW: 0.35,
    EventType.REVIEW_READ: 0.45,
    EventType.SPEC_COMPARE: 0.15,
    EventType.CATEGORY_BROWSE: -0.40,
    EventType.SEARCH: -0.15,
    EventType.SEARCH_REFINE: -0.05,
    EventType.CONTENT_VIEW: -0.25,
    EventType.WISHLIST_ADD: 0.60,
    EventType.ADD_TO_CART: 1.50,
    EventType.REMOVE_FROM_CART: -1.20,
    EventType.CART_VIEW: 1.00,
    EventType.CHECKOUT_VIEW: 2.00,
}


@dataclass(frozen=True)
class Causes:
    """Why visitors buy: everything enters the log odds of the decision to buy, taken after each event that has an item in mind.

    logit P(decide now) = base + intent[z] + warmth + appeal(item) + eagerness(visitor)
    - price_weight * sensitivity(visitor) * log(price / category's usual price) + signal[s, z]

    where warmth, starting at 0, is ``warmth_decay * warmth + event[type]`` after each event and the effect of
    ``offer_discount`` is multiplied by the visitor's price sensitivity.

    Attributes
    ----------
    intent
        Log odds by latent intent, shape (n_intents,).
    event
        Log odds that an event of each type adds to the warmth, shape (n_event_types,).
    signal
        Log odds by signal and intent while a signal stands, shape (n_signals, n_intents); row 0 is ``no_action``.
    p_complement
        Probability that a visitor who decided to buy also takes a complement of the item.
    discount_rate
        Share of the price that a discount costs the shop.
    """

    base: float = -6.7
    intent: tuple[float, ...] = (-0.9, 0.0, 1.5, -0.7)
    event: tuple[float, ...] = tuple(_EVENT_EFFECTS.get(t, 0.0) for t in EventType)
    warmth_decay: float = 0.6
    price_weight: float = 0.6
    sd_appeal: float = 0.5
    sd_eagerness: float = 0.5
    signal: tuple[tuple[float, ...], ...] = tuple(_SIGNAL_EFFECTS[s] for s in SIGNAL_TYPES)
    p_complement: float = 0.35
    discount_rate: float = 0.1

    def __post_init__(self) -> None:
        if len(self.intent) != N_INTENTS or len(self.event) != N_EVENT_TYPES:
            raise ValueError(f"expected {N_INTENTS} intent and {N_EVENT_TYPES} event effects")
        if len(self.signal) != len(SIGNAL_TYPES) or {len(row) for row in self.signal} != {N_INTENTS}:
            raise ValueError(f"expected signal effects of shape ({len(SIGNAL_TYPES)}, {N_INTENTS})")


class Segment(NamedTuple):
    """Segment of visitors: its share of them, and the log odds by which they buy more readily than others."""

    name: str
    share: float
    eagerness: float = 0.0


@dataclass(frozen=True)
class ShopConfig:
    """One simulated shop and period. Equal configurations give equal bytes.

    Attributes
    ----------
    seed
        Drives visitors and what they do; `catalogue_seed` alone decides the items: two seeds are two samples of one shop.
    start_us
        First instant of the period, microseconds since 1970 UTC; nothing happens at or after `end_us`.
    sessions_per_day
        Mean sessions of a visitor per day, beside the one that everybody has.
    p_intent
        Shares of the intents at a first visit's first event, shape (n_intents,).
    p_switch
        Probability that the latent intent changes before an event.
    noise_rate
        Share of events that say nothing about the intent.
    p_signals
        Probability of each signal in a session that reaches `signal_after_events` events: a randomised trial.
        The default sends nothing.
    discount_has_effect
        False: discounts only waste money.
    intent_has_influence
        False: associations and the causes of buying are the same for all intents ("no difference"); what visitors do still
        shows their intent.
    segments
        That the shop names; each visitor belongs to one, by chance. None by default.
    """

    n_users: int = 1000
    n_days: int = 7
    seed: int = 0
    start_us: int = FIRST_START_US
    n_items: int = 2000
    n_categories: int = 20
    catalogue_seed: int = 0
    sessions_per_day: float = 0.3
    p_intent: tuple[float, ...] = (0.36, 0.24, 0.15, 0.25)
    p_switch: float = 0.02
    noise_rate: float = 0.10
    max_session_events: int = 400
    signal_after_events: int = 3
    p_signals: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    discount_has_effect: bool = True
    intent_has_influence: bool = True
    causes: Causes = field(default_factory=Causes)
    segments: tuple[Segment, ...] = field(default=(), repr=False)  # a shop without any has the ids that it had before

    def __post_init__(self) -> None:
        whole = ("n_users", "n_days", "n_categories", "max_session_events", "seed", "start_us", "catalogue_seed")
        for name, low in zip(whole, (1, 1, 1, 1, 0, 0, 0), strict=True):
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be at least {low}, got {getattr(self, name)}")
        for name in ("p_switch", "noise_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {getattr(self, name)}")
        if self.n_items < 2 * self.n_categories:
            raise ValueError(f"n_items must be at least twice n_categories ({self.n_categories}), got {self.n_items}")
        if self.segments and abs(sum(one.share for one in self.segments) - 1) > 1e-9:
            raise ValueError(f"segments must have shares that sum to 1, got {[one.share for one in self.segments]}")
        for name, n in (("p_intent", N_INTENTS), ("p_signals", len(SIGNAL_TYPES))):
            shares = getattr(self, name)
            if len(shares) != n or min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
                raise ValueError(f"{name} must be {n} probabilities that sum to 1, got {shares}")

    @property
    def end_us(self) -> int:
        """End of the period (exclusive), microseconds since 1970 UTC."""
        return self.start_us + self.n_days * DAY_US


def ending_at(config: ShopConfig, end_us: int) -> ShopConfig:
    """Move the period so that it ends at an instant.

    Raises
    ------
    ValueError
        If the period would begin before 1970.

    Examples
    --------
    >>> ending_at(ShopConfig(n_days=2), 3 * DAY_US).start_us == DAY_US
    True
    """
    return replace(config, start_us=end_us - config.n_days * DAY_US)


def effective_causes(config: ShopConfig) -> Causes:
    """Apply the switches of a configuration to its causes.

    Examples
    --------
    >>> effective_causes(ShopConfig(discount_has_effect=False)).signal[SIGNAL_TYPES.index("offer_discount")]
    (0.0, 0.0, 0.0, 0.0)
    """
    causes = config.causes
    if not config.discount_has_effect:
        at = SIGNAL_TYPES.index("offer_discount")
        zero = (0.0,) * N_INTENTS
        causes = replace(causes, signal=tuple(zero if s == at else row for s, row in enumerate(causes.signal)))
    if not config.intent_has_influence:
        mean = sum(p * effect for p, effect in zip(config.p_intent, causes.intent, strict=True))
        rows = (sum(p * effect for p, effect in zip(config.p_intent, row, strict=True)) for row in causes.signal)
        causes = replace(causes, intent=(mean,) * N_INTENTS, signal=tuple((row,) * N_INTENTS for row in rows))
    return causes


def parameters(config: ShopConfig) -> dict[str, Any]:
    """Everything that caused a simulation, as JSON can hold it: the configuration and the named effects in force."""
    causes = effective_causes(config)
    return {
        "config": asdict(config),
        "intent_effects": dict(zip(INTENTS, causes.intent, strict=True)),
        "event_effects": {t.name.lower(): causes.event[t] for t in EventType},
        "signal_effects": {
            name: dict(zip(INTENTS, row, strict=True)) for name, row in zip(SIGNAL_TYPES, causes.signal, strict=True)
        },
    }
