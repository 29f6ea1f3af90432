"""Signal policy: what a partner allows to be sent now, and what keeps signals honest.

A chosen signal is withheld in quiet hours, while the user cools down, and above the day's cap. A share of the users, the
hold-out group, never gets any; what they would have got is kept, so that the readout compares users between whom only chance
decided. A signal that a moment of the session called for goes on within the dead band of its thresholds, so that noise around
one does not flip it (hysteresis, as of a Schmitt trigger). Everything is a pure function of the policy, the user and the
instant, so the worker and ``POST /v1/engagement`` say the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from models.arrays import Floats, Floats32
from models.engagement.aims import NO_AIMS, Deal, Stake, aim_row, deal, effect_of, place_of
from models.engagement.pacing import Bid, Pace
from models.engagement.signals import OnShelf, Signal, SignalThresholds, choose
from models.engagement.silence import PRESENT, Silence
from models.engagement.trouble import CALM, Trouble
from models.engagement.workflows import Workflow
from models.experiments.assignment import Experiment, position
from models.experiments.targeting import Targeting
from models.schema import SESSION_IDLE_S, SIGNAL_TYPES
from models.visitor_groups import NO_GROUPS, Groups

MINUTE_US: Final = 60_000_000
DAY_MIN: Final = 1440
_BANDED: Final = {  # thresholds that must be reached, by signal
    "recommend_product": ("min_score_product",),
    "recommend_content": ("min_score_content",),
    "offer_discount": ("min_score_discount", "min_p_leave"),
    "proactive_support": ("min_score_support", "min_p_trouble"),
    "start_workflow": ("min_score_workflow", "min_p_leave"),
}
SENDABLE: Final = tuple(name for name in SIGNAL_TYPES if name != "no_action")
Reason = Literal["quiet_hours", "cool_down", "frequency_cap", "held_out"]


@dataclass(frozen=True)
class SignalPolicy:
    """Policy of one partner.

    Attributes
    ----------
    signal_types
        Those that may be sent; a rule whose signal is not among them is passed over.
    max_per_day
        Signals of a user within a day of the user's clock, 0 to 1000.
    cool_down_s
        Between two signals of a user, seconds, 0 to 30 days.
    quiet_from_min, quiet_to_min
        Minutes after the user's midnight, 0 to 1439, between which (the end excluded) nothing is sent, over midnight too.
        Both or neither; equal means never.
    max_discount_cents_per_day, max_discount_cents
        Budget for discounts of a UTC day and in all, hundredths of the shop's currency, beside those of the offers; None: none.
    holdout_share
        Of the users, 0 to 1: enlarging it keeps who is in.
    holdout_salt
        Changing it deals the users anew.
    max_cause_age_s
        An event that is older when the worker reads it causes nothing any more: the visitor is gone. 1 to 86 400.
    workflows
        Of the partner's own, in the order in which they are tried.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    thresholds: SignalThresholds = field(default_factory=SignalThresholds)
    signal_types: tuple[str, ...] = SENDABLE
    max_per_day: int = 3
    cool_down_s: int = 1800
    quiet_from_min: int | None = None
    quiet_to_min: int | None = None
    max_discount_cents_per_day: int | None = None
    max_discount_cents: int | None = None
    holdout_share: float = 0.05
    holdout_salt: str = "1"
    max_cause_age_s: int = 300
    workflows: tuple[Workflow, ...] = ()

    def __post_init__(self) -> None:
        for name in self.signal_types:
            if name not in SENDABLE:
                raise ValueError(f"signal_types must be among {', '.join(SENDABLE)}")
        if (self.quiet_from_min is None) != (self.quiet_to_min is None):
            raise ValueError("quiet_from_min and quiet_to_min must be given together")
        for each in fields(self):
            bounds, value = _RANGES.get(each.name), getattr(self, each.name)
            if bounds is not None and value is not None and not bounds[0] <= value <= bounds[1]:
                raise ValueError(f"{each.name} must be from {bounds[0]} to {bounds[1]}, got {value}")
        if not 1 <= len(self.holdout_salt) <= 64:
            raise ValueError(f"holdout_salt must have 1 to 64 characters, got {len(self.holdout_salt)}")


_RANGES: Final = {
    "max_per_day": (0, 1000),
    "cool_down_s": (0, 30 * 86_400),
    "quiet_from_min": (0, DAY_MIN - 1),
    "quiet_to_min": (0, DAY_MIN - 1),
    "max_discount_cents_per_day": (0, 10**12),
    "max_discount_cents": (0, 10**12),
    "holdout_share": (0.0, 1.0),
    "max_cause_age_s": (1, 86_400),
}


class Standing(NamedTuple):
    """Standing of a user: earlier signals, as far as they matter to the next one; those of the hold-out group count alike.

    Attributes
    ----------
    sequence
        Number of the user's newest signal, 0 before the first.
    last_signal_at_us
        None before the first.
    local_day
        Newest day on the user's clock with a signal, days since 1970.
    n_that_day
        Signals on it.
    chosen, chosen_at_us
        Signal that the newest moment called for, sent or not, and when that was.
    """

    sequence: int = 0
    last_signal_at_us: int | None = None
    local_day: int | None = None
    n_that_day: int = 0
    chosen: str = "no_action"
    chosen_at_us: int = 0


NEWCOMER: Final = Standing()


class Moment(NamedTuple):
    """A user at an instant.

    Attributes
    ----------
    user_id
        The pseudonym.
    utc_offset_min
        Of the user's clock, minutes east of UTC.
    groups
        Whom the shop takes the user for.
    """

    partner: str
    user_id: str
    now_us: int
    utc_offset_min: int
    groups: Groups = NO_GROUPS


class Nudge(NamedTuple):
    """The signal that a moment calls for, and why it is not sent; None: it is.

    Attributes
    ----------
    deals
        Decisions that were taken on the way: of the signal, and before it of those that the visitor was passed over for.
    bid
        Of the visitor for a day's budget, where there is one and it is known what a discount earns; whoever sends keeps it.
        Who is held out makes none.
    """

    signal: Signal
    withheld: Reason | None
    deals: tuple[Deal, ...] = ()
    bid: Bid | None = None


def nudge(
    score: float, p_next: Floats | None, features: Floats32, shelf: OnShelf, policy: SignalPolicy, standing: Standing,
    moment: Moment, silence: Silence = PRESENT, aims: Mapping[str, Targeting] = NO_AIMS, p_intent: Floats | None = None,
    trouble: Trouble = CALM, pace: Pace | None = None,
) -> Nudge:  # fmt: skip
    """Choose the signal of a moment and say whether it may be sent: the one decision of the worker and of the API.

    A kind of signal that is not worth sending to the visitor is passed over, and the next rule is asked.

    Parameters
    ----------
    score, p_next, features, silence, trouble
        As `models.engagement.signals.choose` takes them.
    aims
        What was learned of the effect of signals, by kind.
    p_intent
        Probability of each intent, shape (n_intents,); None where nobody asked.
    pace
        Of the day's budget for discounts; None: there is none.
    """
    thresholds = eased(policy.thresholds, standing, moment.now_us)
    band = thresholds.dead_band if thresholds is not policy.thresholds and standing.chosen == "start_workflow" else 0.0
    withheld = withheld_because(policy, standing, moment)
    row, allowed, deals, bid = None, policy.signal_types, list[Deal](), None
    while True:
        chosen = choose(score, p_next, features, thresholds, shelf, allowed, silence, policy.workflows, band, trouble)
        kind = chosen["type"]
        if kind == "no_action" or withheld not in (None, "held_out"):
            return Nudge(chosen, withheld if kind != "no_action" else None, tuple(deals), bid)
        if row is None:
            row = aim_row(features, p_intent, score, shelf.cart_cents, silence.seconds)
        place = place_of(moment.partner, moment.user_id, kind, policy.holdout_salt)
        aim = aims.get(kind)
        stake = Stake(effect_of(aim, row, moment.groups))
        if kind == "offer_discount" and pace is not None and stake.effect is not None:
            cents, price = round(100 * chosen["payload"]["amount"]), pace.price()
            bid = Bid(moment.now_us, stake.effect / cents, cents) if withheld is None else None
            stake = Stake(stake.effect, price.of_a_cent * cents, price.reach)
        dealt = deal(kind, aim, row, policy.holdout_share, withheld is not None, place, moment.groups, stake)
        deals.append(dealt.deal)
        if dealt.goes:
            return Nudge(chosen, withheld, tuple(deals), bid)
        allowed = tuple(name for name in allowed if name != kind)


def eased(thresholds: SignalThresholds, standing: Standing, now_us: int) -> SignalThresholds:
    """Thresholds within the dead band of the signal that the newest moment of the session called for.

    What must be reached falls by the share `dead_band`, what must not be passed rises by it; counts only rise, and have none.

    Examples
    --------
    >>> called = Standing(chosen="offer_discount", chosen_at_us=0)
    >>> now = eased(SignalThresholds(dead_band=0.2), called, 60 * 1_000_000)
    >>> round(now.min_p_leave, 9), now.min_score_product
    (0.08, 0.1)
    >>> eased(SignalThresholds(), called, 3_600 * 1_000_000) == SignalThresholds()  # another session
    True
    """
    if standing.chosen not in _BANDED or now_us - standing.chosen_at_us > SESSION_IDLE_S * 1_000_000:
        return thresholds
    return _eased(thresholds, standing.chosen)


@lru_cache(maxsize=1024)  # few policies, asked at every moment
def _eased(thresholds: SignalThresholds, chosen: str) -> SignalThresholds:
    band = thresholds.dead_band
    lower = {name: getattr(thresholds, name) * (1.0 - band) for name in _BANDED[chosen]}
    if chosen == "offer_discount":
        lower["max_p_purchase_discount"] = min(thresholds.max_p_purchase_discount * (1.0 + band), 1.0)
    return replace(thresholds, **lower)


def withheld_because(policy: SignalPolicy, standing: Standing, moment: Moment) -> Reason | None:
    """Why a signal that was chosen may not be sent, or None.

    ``held_out`` is only said where the signal would have been sent otherwise.

    Examples
    --------
    >>> noon_us = 43_200_000_000
    >>> siesta = SignalPolicy(quiet_from_min=780, quiet_to_min=960, holdout_share=0.0)
    >>> [withheld_because(siesta, NEWCOMER, Moment("shop", "p1", noon_us, offset)) for offset in (0, 60, 240)]
    [None, 'quiet_hours', None]
    """
    partner, user_id, now_us, utc_offset_min, _ = moment
    if is_quiet(policy, now_us, utc_offset_min):
        return "quiet_hours"
    if standing.last_signal_at_us is not None and now_us - standing.last_signal_at_us < policy.cool_down_s * 1_000_000:
        return "cool_down"
    if _n_today(standing, local_day(now_us, utc_offset_min)) >= policy.max_per_day:
        return "frequency_cap"
    return "held_out" if is_held_out(policy, partner, user_id) else None


def is_quiet(policy: SignalPolicy, now_us: int, utc_offset_min: int) -> bool:
    """Whether the user's clock stands within the quiet hours.

    Examples
    --------
    >>> night = SignalPolicy(quiet_from_min=22 * 60, quiet_to_min=7 * 60)
    >>> [is_quiet(night, hour * 60 * MINUTE_US, 0) for hour in (6, 7, 21, 22, 23)]
    [True, False, False, True, True]
    """
    if policy.quiet_from_min is None or policy.quiet_to_min is None:
        return False
    minute = (now_us // MINUTE_US + utc_offset_min) % DAY_MIN
    length = (policy.quiet_to_min - policy.quiet_from_min) % DAY_MIN
    return (minute - policy.quiet_from_min) % DAY_MIN < length


def local_day(now_us: int, utc_offset_min: int) -> int:
    """Days since 1970 on a clock so many minutes east of UTC.

    Examples
    --------
    >>> local_day(0, 0), local_day(0, -60), local_day(23 * 60 * MINUTE_US, 60)
    (0, -1, 1)
    """
    return (now_us // MINUTE_US + utc_offset_min) // DAY_MIN


def is_held_out(policy: SignalPolicy, partner: str, user_id: str) -> bool:
    """Whether a user belongs to the hold-out group; always the same answer for one salt, and who is in stays in."""
    return holdout_position(policy, partner, user_id) < policy.holdout_share


def holdout_position(policy: SignalPolicy, partner: str, user_id: str) -> float:
    """Where a user stands in [0, 1) by salted hash; those below `holdout_share` are held out."""
    group = Experiment(f"signals/{partner}", policy.holdout_salt, ("all",), (1.0,))
    return position(group, user_id)


def after_signal(standing: Standing, moment: Moment, *, held_out: bool) -> Standing:
    """Where a user stands once a signal was sent, or would have been.

    Examples
    --------
    >>> moment = Moment("shop", "p1", 5, 0)
    >>> after_signal(Standing(3, 0, 0, 2), moment, held_out=False)[:4]
    (4, 5, 0, 3)
    >>> after_signal(NEWCOMER, moment, held_out=True)[:4]
    (0, 5, 0, 1)
    """
    day = local_day(moment.now_us, moment.utc_offset_min)
    newest = day if standing.local_day is None else max(day, standing.local_day)
    return Standing(standing.sequence + (not held_out), moment.now_us, newest, _n_today(standing, day) + 1)


def _n_today(standing: Standing, day: int) -> int:
    """Signals on a day; a day that went back (a traveller, or a clock that was set) counts as the newest one."""
    return standing.n_that_day if standing.local_day is not None and day <= standing.local_day else 0


def smallest(*limits: int | None) -> int | None:
    """The smallest limit, where None is no limit; never below 0.

    Examples
    --------
    >>> smallest(None, 5, 7), smallest(None), smallest(-3)
    (5, None, 0)
    """
    known = [limit for limit in limits if limit is not None]
    return max(min(known), 0) if known else None
