"""Rehearsal of a policy: the partner's last days once more, with what it would have sent, to whom, when, and at what cost.

Every moment of a visitor's sessions, silences included, is assessed as the worker would assess it (`services.signals.past`),
and decided by the worker's function, `models.engagement.policy.nudge`, under the policy, in the order of time, with caps,
pauses and budgets as they would have stood. What a signal would name is looked up only where that decides something. Where
there are more visitors than time, a sample stands for all: whole visitors, by their pseudonyms.
"""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import numpy as np

from infra.aims import AimBook
from infra.store.protocol import Read
from infra.store.statements import rehearsals as sql
from models.arrays import Ints
from models.assess import N_CANDIDATES
from models.engagement import policy as signal_policy
from models.engagement.pacing import MOST_BIDS, Bid, Pace
from models.engagement.policy import NEWCOMER, SENDABLE, Moment, SignalPolicy, Standing, after_signal
from models.engagement.silence import SECOND_US, STEPS_S
from models.engagement.threshold_value import SuggestedThreshold
from models.experiments.targeting import Targeting
from models.item_ranking import surely_listed
from models.model_set import ModelSet
from models.moments import At
from models.recommend import profile_of
from models.schema import DAY_US
from services.signals.past import ItemFeatures, Past, Sight, past_of
from services.signals.sessions import MOST_EVENTS
from services.signals.shelf import PartnerCatalogs, Spent, VisitorShelf, is_for_sale

DAYS: Final = 7
MOST_MOMENTS: Final = 1_500_000  # some 700 bytes each are held at once
EVENTS_A_READ, USERS_A_READ = 10_000, 500
_Z: Final = 1.96  # standard errors of an interval of 95 %
_AT_ONCE: Final = 10_000
_SOME_PRODUCT: Final = ("",)


class Rehearsed(msgspec.Struct):
    """Signals of one kind that would have been sent; numbers are of all visitors, estimated from the sample.

    `count` lies between `low` and `high` with 95 %. `held_out` would have been sent but for the hold-out group; `withheld` says
    how often what else kept it back. `by_hour` counts on the visitors' clocks; `cost` is what discounts would have promised;
    `bought_within_hour` the share of the moments after which the visitor bought, with no such signal.
    """

    count: float
    low: float
    high: float
    visitors: float
    held_out: float
    withheld: dict[str, float]
    by_hour: list[float]
    cost: float
    bought_within_hour: float | None


class RehearsalAnswer(msgspec.Struct):
    """Outcome of a rehearsal: what a policy would have done in the partner's last days; nothing was set and nothing sent."""

    dry_run: bool
    since: str
    until: str
    events: int
    visitors: int
    sampled_visitors: int
    signals: dict[str, Rehearsed]
    bought_within_hour: float | None
    notes: list[str]
    suggested: dict[str, SuggestedThreshold] = {}


def rehearse(
    read: Read, policy: SignalPolicy, partner: str, models: ModelSet, item: ItemFeatures, catalogs: PartnerCatalogs,
    now_us: int, days: float = DAYS, most: int = MOST_MOMENTS, within_s: float = 40.0, steps_s: Sequence[int] = STEPS_S,
    most_visitors: int = 2**62,
) -> RehearsalAnswer:  # fmt: skip
    """Rehearse a policy.

    Parameters
    ----------
    item
        Features of an item, None where unknown.
    days
        Before the partner's newest event.
    most
        Events that are looked at: whole visitors, until there are so many.
    within_s
        Seconds after which no more visitors are taken in.
    steps_s
        Of silences.
    most_visitors
        Visitors that are looked at; always the same ones first, so that two policies can be compared on as many.
    """
    ((newest,),) = read(sql.NEWEST_INSTANT, (partner, now_us))
    until_us = newest or now_us
    since_us = until_us - int(days * DAY_US)
    known = read(sql.VISITORS_WITHIN, (partner, since_us, until_us))
    n_events = sum(n for _, n in known)
    end_s, n_moments, lived = time.monotonic() + within_s, 0, list[Past]()
    sight = Sight(policy, models.of(partner), item, since_us, until_us, steps_s)
    n_taken = 0
    while n_taken < min(len(known), most_visitors) and n_moments < most and time.monotonic() < end_s:
        some, n_taken = _next_visitors(known[:most_visitors], n_taken)
        if some and (past := past_of(read, some, sight)) is not None:
            lived.append(past)
            n_moments += len(past.at_us)
    share = n_taken / len(known) if known else 1.0
    catalogs.refresh(now_us / 1e6)
    tally = _decided(lived, policy, partner, catalogs, share, AimBook().of(partner, read))
    return _answer(tally, lived, (since_us, until_us), (n_events, len(known), n_taken), share)


def _next_visitors(known: Sequence[Sequence[Any]], place: int) -> tuple[list[str], int]:
    """Visitors from a place on with some `EVENTS_A_READ` events, machines left out, and the place behind them."""
    some, n_events = list[str](), 0
    while place < len(known) and n_events < EVENTS_A_READ and len(some) < USERS_A_READ:
        user_id, n = known[place]
        place += 1
        if n <= MOST_EVENTS:
            some.append(user_id)
            n_events += n
    return some, place


class _Tally:
    """Counts of what a policy does, by kind."""

    def __init__(self) -> None:
        self.sent: dict[str, Counter[str]] = defaultdict(Counter)  # by kind, then visitor
        self.held: Counter[str] = Counter()
        self.withheld: dict[str, Counter[str]] = defaultdict(Counter)
        self.hours: dict[str, Ints] = defaultdict(lambda: np.zeros(24, dtype=np.int64))
        self.cents: Counter[str] = Counter()
        self.bought: dict[str, list[bool]] = defaultdict(list)

    def count(self, nudge: signal_policy.Nudge, moment: Moment, bought: bool) -> int:
        """Count a signal that is sent, or held out; what it promises, in hundredths."""
        kind = nudge.signal["type"]
        if nudge.withheld is not None:
            self.held[kind] += 1
            return 0
        self.sent[kind][moment.user_id] += 1
        self.hours[kind][(moment.now_us // (60 * SECOND_US) + moment.utc_offset_min) // 60 % 24] += 1
        self.bought[kind].append(bought)
        cents = round(nudge.signal["payload"]["amount"] * 100) if kind == "offer_discount" else 0
        self.cents[kind] += cents
        return cents


class _Assured(VisitorShelf):
    """Shelf of a visitor of whom only the kind of a signal is asked, and what a discount costs.

    Where a list surely has a product, which one it is does not matter, nor does the cart where no effect and no workflow of the
    partner's own goes by what it is worth.
    """

    def __init__(self, found: At, n_sure: int, is_cart_asked: bool, *given: Any) -> None:
        super().__init__(found, lambda: found.session, *given)
        self._is_sure = n_sure > found.n_met
        self._is_cart_asked = is_cart_asked

    @property
    def product_ids(self) -> Sequence[str]:
        """One that stands for all, or those that are for sale."""
        return _SOME_PRODUCT if self._is_sure else super().product_ids

    @property
    def cart_ids(self) -> Sequence[str]:
        """Items in the cart, where that is asked."""
        return super().cart_ids if self._is_cart_asked else ()

    @property
    def cart_cents(self) -> int | None:
        """Value of the cart, where that is asked."""
        return super().cart_cents if self._is_cart_asked else None


def _decided(
    lived: Sequence[Past], policy: SignalPolicy, partner: str, catalogs: PartnerCatalogs, share: float,
    aims: Mapping[str, Targeting],
) -> _Tally:  # fmt: skip
    """Decide the moments in their order; what a sample spends counts for all whom it stands for."""
    tally, standing = _Tally(), dict[str, Standing]()
    spoken: set[tuple[int, int]] = set()
    by_offer, by_day, bids = Counter[str](), Counter[int](), deque[Bid](maxlen=MOST_BIDS)
    budget = policy.max_discount_cents_per_day
    n_sure = _n_sure(lived[0].found.models, catalogs, partner) if lived else 0
    is_cart_asked = bool(aims or policy.workflows)
    for of, row in _in_time(lived):
        past = lived[of]
        cause = of, int(past.found.last[row])
        if cause in spoken:  # of a silence's steps one may send
            continue
        user_id, at_us, one = past.user_ids[past.user[row]], int(past.at_us[row]), At(past.found, row)
        stands = standing.get(user_id, NEWCOMER)
        spent = Spent(by_offer, by_day[at_us // DAY_US], sum(by_day.values()))
        shelf = _Assured(one, n_sure, is_cart_asked, catalogs, policy, spent, partner, at_us)
        moment = Moment(partner, user_id, at_us, one.utc_offset_min, one.groups)
        # The sample's share of the budget, since its bids are its own.
        pace = None if budget is None else Pace(lambda: bids, round(budget * share), round(spent.today * share), at_us)
        nudge = signal_policy.nudge(
            one.score, one.p_next, one.features, shelf, policy, stands, moment, one.silence, aims, one.p_intent, one.trouble,
            pace,
        )  # fmt: skip
        if nudge.bid is not None:
            bids.append(nudge.bid)
        kind = nudge.signal["type"]
        if kind != "no_action":
            if nudge.withheld not in (None, "held_out"):
                tally.withheld[kind][nudge.withheld] += 1
            else:
                stands = after_signal(stands, moment, held_out=nudge.withheld is not None)
                if one.silence.seconds > 0:
                    spoken.add(cause)
                cents = tally.count(nudge, moment, bool(past.bought[row]))
                if cents:
                    by_offer[nudge.signal["payload"]["offer_id"]] += round(cents / share)
                    by_day[at_us // DAY_US] += round(cents / share)
        standing[user_id] = stands._replace(chosen=kind, chosen_at_us=at_us)
    return tally


def _in_time(lived: Sequence[Past]) -> Iterator[tuple[int, int]]:
    """Part and row of each moment, by time."""
    at_us = np.concatenate([past.at_us for past in lived]) if lived else np.zeros(0, np.int64)
    parts = np.repeat(np.arange(len(lived)), [len(past.at_us) for past in lived])
    rows = np.concatenate([np.arange(len(past.at_us)) for past in lived]) if lived else np.zeros(0, np.int64)
    for k in range(0, len(order := np.argsort(at_us, kind="stable")), _AT_ONCE):
        some = order[k : k + _AT_ONCE]
        yield from zip(parts[some].tolist(), rows[some].tolist(), strict=True)


def _n_sure(models: ModelSet, catalogs: PartnerCatalogs, partner: str) -> int:
    """With fewer events, a session's list surely has a product that is for sale; 0: none has.

    A list may leave out what the session has met, and name, though it is not for sale, what the session has met or the
    catalogue says: where it is longer than all that together, something is left.
    """
    store = models.associations
    if store is None:
        return 0
    n_gone = sum(not is_for_sale(catalogs, partner, item_id) for item_id in store.item_ids[: store.n_items])
    return min(N_CANDIDATES, surely_listed(store, profile_of(models, [])) // 2) - n_gone


def _answer(
    tally: _Tally, lived: Sequence[Past], span: tuple[int, int], n: tuple[int, int, int], share: float
) -> RehearsalAnswer:
    n_events, n_visitors, n_taken = n
    signals = {}
    for kind in SENDABLE:
        per_user = np.array(list(tally.sent[kind].values()), dtype=np.float64)
        count = float(per_user.sum()) / share
        mean = per_user.sum() / max(n_taken, 1)
        variance = (np.square(per_user).sum() / max(n_taken, 1) - mean**2) if n_taken > 1 else 0.0
        margin = _Z * n_visitors * float(np.sqrt(max(variance, 0.0) / max(n_taken, 1) * (1 - share)))
        bought = tally.bought[kind]
        signals[kind] = Rehearsed(
            round(count, 1), max(round(count - margin, 1), 0.0), round(count + margin, 1), round(len(per_user) / share, 1),
            round(tally.held[kind] / share, 1), {why: round(k / share, 1) for why, k in tally.withheld[kind].items()},
            [round(k / share, 1) for k in tally.hours[kind].tolist()], round(tally.cents[kind] / 100 / share, 2),
            round(float(np.mean(bought)), 4) if bought else None,
        )  # fmt: skip
    n_bought, n_moments = sum(int(past.bought.sum()) for past in lived), sum(len(past.bought) for past in lived)
    all_bought = round(n_bought / n_moments, 4) if n_moments else None
    notes = [f"{n_taken} of {n_visitors} visitors were looked at, and stand for all"] if n_taken < n_visitors else []
    notes += sorted({f"degraded: {each}" for past in lived for each in past.found.degraded})
    return RehearsalAnswer(
        True, _instant(span[0]), _instant(span[1]), n_events, n_visitors, n_taken, signals, all_bought, notes
    )


def _instant(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="seconds")


def text(found: RehearsalAnswer) -> str:
    """A rehearsal for the eye."""
    lines = [f"{found.events} events of {found.visitors} visitors, {found.since} to {found.until}; nothing was set or sent"]
    for kind, one in found.signals.items():
        kept = ", ".join(f"{n:g} {why}" for why, n in one.withheld.items())
        bought = "" if one.bought_within_hour is None else f"; {one.bought_within_hour:.1%} bought within the hour"
        cost = f"; promised {one.cost:.2f}" if one.cost else ""
        lines.append(
            f"  {kind:18} {one.count:g} ({one.low:g} to {one.high:g}) to {one.visitors:g} visitors, "
            f"{one.held_out:g} held out{f', {kept}' if kept else ''}{cost}{bought}"
        )
    lines += [f"  threshold of {kind}: {one.sentence}" for kind, one in found.suggested.items()]
    return "\n".join([*lines, *(f"  {note}" for note in found.notes)])
