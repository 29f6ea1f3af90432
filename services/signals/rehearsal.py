"""Rehearsal of a policy: the partner's last days once more, with what it would have sent, to whom, when, and at what cost.

The functions that decide are those of the worker: `models.assess.assess` of every moment of a visitor's sessions, silences
included, and `models.engagement.policy.nudge` under the policy, in the order of time, with caps, pauses and budgets as they
would have stood. A sample of the visitors stands for all where there are many: whole visitors, by their pseudonyms.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Final, NamedTuple

import msgspec
import numpy as np

from infra.aims import AimBook
from infra.store.events import RECENT_COLUMNS, frame_of
from infra.store.protocol import Read
from infra.store.statements import rehearsals as sql
from infra.store.statements.events import READ_RECENT
from models import degraded
from models.arrays import Floats32, Ints
from models.assess import Assessment, assess
from models.engagement import policy as signal_policy
from models.engagement.policy import NEWCOMER, SENDABLE, Moment, SignalPolicy, Standing, after_signal
from models.engagement.silence import SECOND_US, STEPS_S, left_lying
from models.engagement.trouble import trouble_of
from models.events.encode import EncodedEvents, encode
from models.experiments.targeting import Targeting
from models.features import users
from models.features.sessions import sessionize, starts
from models.known import Known, UserFeatures
from models.live_session import LiveSession, cut, last_item
from models.model_set import ModelSet
from models.schema import DAY_US, EVENT_COLUMNS, GROUPS, EventType
from models.visitor_groups import Named, groups_at, named
from services.signals import shelf as signal_shelf
from services.signals.shelf import PartnerCatalogs, Spent

DAYS: Final = 7
MOST_MOMENTS: Final = 100_000
USERS_A_READ: Final = 200
HOUR_US: Final = 3_600 * SECOND_US
ONE_STEP_US: Final = SECOND_US  # the worker looks at the newest event of a second
_Z: Final = 1.96  # standard errors of an interval of 95 %
ItemFeatures = Callable[[str], Floats32 | None]


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


class SuggestedThreshold(msgspec.Struct):
    """Score from which signals of a kind pay, by the visitors who were held out; null where that is not known, or none pays.

    `value` is what sending from there on brings per visitor, in money; each lies between its `low` and `high` with 95 %.
    """

    threshold: float | None
    threshold_low: float | None
    threshold_high: float | None
    value: float | None
    value_low: float | None
    value_high: float | None
    sentence: str


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


class _Moment(NamedTuple):
    """A moment of a visitor, assessed."""

    at_us: int
    user_id: str
    cause: int  # number of the event in its visitor's rows: of a silence's steps one may send
    utc_offset_min: int
    session: LiveSession
    found: Assessment
    bought: bool


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
    end_s, moments, n_taken, n_moments = time.monotonic() + within_s, list[_Moment](), 0, 0
    models = models.of(partner)
    left = iter([user for user, _ in known[:most_visitors]])
    while n_moments < most and time.monotonic() < end_s and (some := list(islice(left, USERS_A_READ))):
        found = list(_moments(read, some, _Sight(policy, models, item, steps_s, since_us, until_us)))
        moments += found
        n_taken, n_moments = n_taken + len(some), n_moments + len(found)
    share = n_taken / len(known) if known else 1.0
    catalogs.refresh(now_us / 1e6)
    aims = AimBook().of(partner, read)
    tally = _decided(sorted(moments, key=lambda one: one.at_us), policy, partner, catalogs, share, aims)
    return _answer(tally, moments, (since_us, until_us), (n_events, len(known), n_taken), share)


class _Sight(NamedTuple):
    """Sight of a rehearsal: what is looked with, and at which span of time."""

    policy: SignalPolicy
    models: ModelSet
    item: ItemFeatures
    steps_s: Sequence[int]
    since_us: int
    until_us: int

    @property
    def least_score(self) -> float:
        """Score below which no products are named: there is no need to look for any."""
        if self.policy.workflows:
            return 0.0  # their fields may name some
        t = self.policy.thresholds
        return t.min_score_product * (1.0 - t.dead_band) if "recommend_product" in self.policy.signal_types else np.inf


def _moments(read: Read, some: Sequence[str], sight: _Sight) -> Iterator[_Moment]:
    """Moments of some visitors, as the worker would have assessed them."""
    rows = read(READ_RECENT, (msgspec.json.encode(some).decode(), 2**62, sight.since_us - DAY_US))
    if not rows:
        return
    frame = sessionize(frame_of(rows, RECENT_COLUMNS))[["seq", "partner", *EVENT_COLUMNS, "browser", GROUPS]]
    encoded, begins = encode(frame), starts(frame)
    groups = named(frame[GROUPS].to_numpy(dtype=object), begins)
    first = np.maximum.accumulate(np.where(begins, np.arange(len(frame)), 0))
    names = frame["user_id"].to_numpy(dtype=object)
    ids, codes = np.unique(names.astype(str), return_inverse=True)
    for code in range(len(ids)):
        own = np.flatnonzero(codes == code)
        own = own[np.argsort(encoded.events["occurred_at_us"][own], kind="stable")]
        yield from _of_visitor(str(ids[code]), own, first, encoded, groups, sight)


def _of_visitor(
    user_id: str, own: Ints, first: Ints, encoded: EncodedEvents, groups: Named | None, sight: _Sight
) -> Iterator[_Moment]:
    events = encoded.events
    at_us = events["occurred_at_us"][own]
    features = users.fold(events[own], np.zeros(len(own), dtype=np.int64)).features
    purchases = at_us[events["event_type"][own] == EventType.PURCHASE]
    for k, row in enumerate(own.tolist()):
        at, following = int(at_us[k]), int(at_us[k + 1]) if k + 1 < len(own) else None
        if not sight.since_us <= at <= sight.until_us:
            continue
        session = cut(events[first[row] : row + 1], *encoded[1:], groups_at(groups, row))
        user = UserFeatures(features[k - 1], int(at_us[k - 1])) if k else None
        name = last_item(session)
        told = Known(user, None if name is None else sight.item(name))
        for step_s in (0, *sight.steps_s):
            then = at + step_s * SECOND_US
            gone = following is not None and following <= then + (ONE_STEP_US if step_s == 0 else 0)
            if gone or then > sight.until_us or (step_s and not _may_speak(session, sight.policy)):
                break
            if step_s and (purchases > at).any() and int(purchases[purchases > at][0]) <= then:
                break
            found = assess(session, sight.models, told, None, then, float(step_s), sight.least_score)
            bought = bool(((purchases > then) & (purchases <= then + HOUR_US)).any())
            yield _Moment(then, user_id, k, int(events["utc_offset_min"][row]), session, found, bought)


def _may_speak(session: LiveSession, policy: SignalPolicy) -> bool:
    """Whether anything could come of a silence: something left lying, an obstacle, or a workflow that asks for silence."""
    kinds = session.events["event_type"]
    sought = (kinds == EventType.SEARCH_REFINE).sum() >= policy.thresholds.n_search_refines_support
    stuck = (kinds == EventType.CHECKOUT_VIEW).sum() >= policy.thresholds.n_checkout_views_support
    troubled = trouble_of(session.events).p >= policy.thresholds.min_p_trouble * (1.0 - policy.thresholds.dead_band)
    return bool(
        sought or stuck or troubled or any(one.is_for_silence for one in policy.workflows) or left_lying(session) is not None
    )


class _Tally:
    """Counts of what a policy does, by kind."""

    def __init__(self) -> None:
        self.sent: dict[str, Counter[str]] = defaultdict(Counter)  # by kind, then visitor
        self.held: Counter[str] = Counter()
        self.withheld: dict[str, Counter[str]] = defaultdict(Counter)
        self.hours: dict[str, Ints] = defaultdict(lambda: np.zeros(24, dtype=np.int64))
        self.cents: Counter[str] = Counter()
        self.bought: dict[str, list[bool]] = defaultdict(list)


def _decided(
    moments: Sequence[_Moment], policy: SignalPolicy, partner: str, catalogs: PartnerCatalogs, share: float,
    aims: Mapping[str, Targeting],
) -> _Tally:  # fmt: skip
    """Decide the moments in their order; what a sample spends counts for all whom it stands for."""
    tally, standing = _Tally(), dict[str, Standing]()
    spoken: set[tuple[str, int]] = set()
    by_offer, by_day = Counter[str](), Counter[int]()
    for one in moments:
        if (one.user_id, one.cause) in spoken:
            continue
        stands = standing.get(one.user_id, NEWCOMER)
        spent = Spent(by_offer, by_day[one.at_us // DAY_US], sum(by_day.values()))
        shelf = signal_shelf.fill(one.found, one.session, catalogs, policy, spent, partner, one.at_us)
        moment = Moment(partner, one.user_id, one.at_us, one.utc_offset_min, one.session.groups)
        found = one.found
        nudge = signal_policy.nudge(
            found.score,
            found.p_next,
            found.features,
            shelf,
            policy,
            stands,
            moment,
            found.silence,
            aims,
            found.p_intent,
            found.trouble,
        )
        kind = nudge.signal["type"]
        if kind != "no_action":
            if nudge.withheld not in (None, "held_out"):
                tally.withheld[kind][nudge.withheld] += 1
            else:
                stands = after_signal(stands, moment, held_out=nudge.withheld is not None)
                if found.silence.seconds > 0:
                    spoken.add((one.user_id, one.cause))
                _count(tally, one, kind, nudge, by_offer, by_day, share)
        standing[one.user_id] = stands._replace(chosen=kind, chosen_at_us=one.at_us)
    return tally


def _count(
    tally: _Tally,
    one: _Moment,
    kind: str,
    nudge: signal_policy.Nudge,
    by_offer: Counter[str],
    by_day: Counter[int],
    share: float,
) -> None:
    if nudge.withheld is not None:
        tally.held[kind] += 1
        return
    tally.sent[kind][one.user_id] += 1
    tally.hours[kind][(one.at_us // (60 * SECOND_US) + one.utc_offset_min) // 60 % 24] += 1
    tally.bought[kind].append(one.bought)
    if kind == "offer_discount":
        cents = round(nudge.signal["payload"]["amount"] * 100)
        tally.cents[kind] += cents
        by_offer[nudge.signal["payload"]["offer_id"]] += round(cents / share)
        by_day[one.at_us // DAY_US] += round(cents / share)


def _answer(
    tally: _Tally, moments: Sequence[_Moment], span: tuple[int, int], n: tuple[int, int, int], share: float
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
    all_bought = round(float(np.mean([one.bought for one in moments])), 4) if moments else None
    notes = [f"{n_taken} of {n_visitors} visitors were looked at, and stand for all"] if n_taken < n_visitors else []
    notes += sorted({f"degraded: {each}" for one in moments for each in one.found.degraded if each != degraded.UNKNOWN_USER})
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
