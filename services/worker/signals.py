"""Signal duty: from new events to signals in the outbox.

For every user with a fresh event, and for those who have gone silent (`services.worker.silences`), it takes the session out of
the log, assesses it as a request would be, lets the partner's policy decide, and writes the signal. Reading and thinking happen
outside of any lock. Then one transaction holds everything: the cursor moved from where this step began, or the timer from where
it stood, caps, budget and stock looked up as they stand, signals, promises and engagement. So a signal exists exactly once per
cause whenever the process is killed, and two workers cannot act on one event or one step of a silence.
"""

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final, NamedTuple

from infra.settings import Settings
from infra.store.engines import open_store
from infra.store.lengths import Lengths
from infra.store.protocol import Store, Transaction
from infra.store.statements import signals as sql
from infra.store.statements.aims import ADD_DEAL
from infra.store.statements.events import COUNT_OF_USERS, READ_CAUSES
from infra.store.statements.trust import VISITOR
from models.assess import Assessment, assess
from models.engagement.policy import Moment, Nudge, after_signal
from models.engagement.silence import SECOND_US, STEPS_S
from models.known import NOTHING_KNOWN
from models.live_session import EMPTY, LiveSession, last_item
from models.model_set import ModelSet
from models.schema import DAY_US, NEXT_ACTIONS
from models.trust import Visitor
from models.uuid7 import RANDOM_BITS, decision_id
from models.visitor_groups import packed
from services.serving.associations import LiveChampions
from services.serving.features import OnlineSource
from services.serving.model_watch import ChampionSource, ChampionWatcher
from services.serving.reads import engagement_features
from services.signals.catalog import Catalog
from services.signals.nudges import Nudges, standing_of
from services.signals.sessions import MOST_EVENTS, sessions_at
from services.signals.shelf import PartnerCatalogs
from services.worker.silences import Silences

CURSOR: Final = "signals"
POLL_S: Final = 0.1
GATHER_S: Final = 0.15
FOLLOW_S: Final = 1.0  # how late what goes with an item may be here: nobody waits for a list
EVENTS_A_STEP: Final = 5_000
USERS_A_STEP: Final = 200
SESSION_SPAN_US: Final = DAY_US  # how far back a live session may reach


class Cause(NamedTuple):
    """Cause of a signal: the newest event of a user in a step, or a step of the silence after it (0: the event itself)."""

    seq: int
    partner: str
    user_id: str
    occurred_at_us: int
    received_at_us: int
    utc_offset_min: int
    silence_s: int = 0

    @property
    def since_us(self) -> int:
        """When the event was; a clock that is ahead does not make it younger than its arrival."""
        return min(self.occurred_at_us, self.received_at_us)

    def age_us(self, now_us: int) -> int:
        """Age of a cause."""
        return now_us - self.since_us - self.silence_s * SECOND_US


class Stretch(NamedTuple):
    """Stretch of the log.

    Attributes
    ----------
    until
        The last event's number.
    causes
        The last fresh event of each user.
    newest
        The latest event of each user after which something may happen yet.
    """

    until: int
    n_events: int
    causes: dict[str, Cause]
    newest: dict[str, Cause]


class Considered(NamedTuple):
    """Considered cause: its session without the prices that a page told, and the assessment of its visitor."""

    cause: Cause
    session: LiveSession
    found: Assessment


class SignalDuty:
    """Duty that stands somewhere in the log and decides about signals up to its end.

    Parameters
    ----------
    store
        Used by one thread.
    champions, online
        Stopped when the duty ends.
    noise
        Source of random bits for signal ids.
    silence_steps_s
        After so many seconds of silence a visitor is looked at again, rising.
    """

    name = CURSOR
    poll_s = POLL_S
    gather_s = GATHER_S

    def __init__(
        self,
        store: Store,
        champions: ChampionSource,
        online: OnlineSource,
        catalogs: PartnerCatalogs,
        noise: random.Random,
        silence_steps_s: Sequence[int] = STEPS_S,
    ) -> None:
        self._store = store
        self._tail = store.tail(CURSOR)
        self._lengths = Lengths(store.read, COUNT_OF_USERS, MOST_EVENTS)
        self._champions = champions
        self._online = online
        self._noise = noise
        self._nudges = Nudges(catalogs)
        self._silences = Silences(store, silence_steps_s)

    def champions(self) -> ModelSet:
        """Models that it decides with now."""
        return self._champions.current()

    def close(self) -> None:
        """Stop what follows the store for it."""
        self._champions.stop()
        self._online.stop()

    def step(self, now_us: int) -> int:
        """Decide about the next users, at most `USERS_A_STEP`, and about as many who have gone silent.

        Returns
        -------
        How many events and silences that were.
        """
        return self._follow(now_us) + self._listen(now_us)

    def _follow(self, now_us: int) -> int:
        """Decide about the next events; how many they were."""
        position = self._tail.position() or 0
        until, n_events, fresh, newest = self._causes(position, now_us)
        if n_events == 0:
            return 0
        considered = self._consider(fresh, until, now_us)

        def work(transaction: Transaction) -> None:
            if self._tail.move_from(transaction, position, until, now_us):  # else another worker has been faster
                for each in considered:
                    self._decide(each, now_us, transaction)
                for cause in newest.values():
                    self._silences.begin(transaction, cause.seq, cause.since_us, now_us - self._max_age_us(cause.partner))

        self._store.write(work)
        return n_events

    def _listen(self, now_us: int) -> int:
        """Decide about visitors who have gone silent; how many they were."""
        position = self._tail.position() or 0
        due = self._silences.due(position, now_us, USERS_A_STEP)
        if not due:
            return 0
        causes = {
            user: Cause(one.cause_seq, one.partner, user, one.since_us, one.since_us, one.utc_offset_min, step_s)
            for user, (one, step_s) in due.items()
        }
        fresh = {user: cause for user, cause in causes.items() if cause.silence_s and self._is_fresh(cause, now_us)}
        considered = {each.cause.user_id: each for each in self._consider(fresh, position, now_us)}

        def work(transaction: Transaction) -> None:
            for user, (one, _) in due.items():
                if not self._silences.go_on(transaction, one, position, now_us) or user not in considered:
                    continue  # she has come back, or nothing may be decided about her
                each = considered[user]
                is_over = self._silences.is_settled(transaction, user, each.session)
                if is_over or self._decide(each, now_us, transaction):
                    self._silences.end(transaction, user)

        self._store.write(work)
        return len(due)

    def _causes(self, position: int, now_us: int) -> Stretch:
        """The next stretch of the log."""
        until, n_new = position, Counter[str]()
        causes: dict[str, Cause] = {}
        newest: dict[str, Cause] = {}
        oldest_of = cache(lambda partner: now_us - self._max_age_us(partner))  # one policy for the whole stretch
        for row in self._store.read(READ_CAUSES, (position, EVENTS_A_STEP)):
            cause = Cause(*row)
            if cause.user_id not in newest and len(newest) == USERS_A_STEP:
                break
            until = cause.seq
            n_new[cause.user_id] += 1
            oldest_us = oldest_of(cause.partner)
            is_fresh = cause.since_us >= oldest_us
            if is_fresh:
                causes[cause.user_id] = cause
            if is_fresh or self._silences.may_come(cause.since_us, oldest_us):
                newest[cause.user_id] = max(cause, newest.get(cause.user_id, cause), key=lambda one: one.since_us)
        self._lengths.passed(position, until, n_new)
        return Stretch(until, n_new.total(), causes, newest)

    def _consider(self, causes: Mapping[str, Cause], until: int, now_us: int) -> list[Considered]:
        """Assess the visitors as they stand."""
        busy = self._lengths.busy(causes)
        wanted = {user: cause.seq for user, cause in causes.items() if user not in busy}
        champions, online = self.champions(), self._online.current()
        considered = []
        for user, visit in sessions_at(self._store.read, wanted, until, now_us - SESSION_SPAN_US).items():
            session, item_id = visit.session, last_item(visit.session)
            read = engagement_features(online, user, item_id, bool(session.item_ids), now_us)
            cause = causes[user]
            silent_s = (now_us - cause.since_us) / SECOND_US if cause.silence_s else 0.0
            found = assess(session, champions.of(cause.partner), read, None, now_us, silent_s)
            considered.append(Considered(cause, visit.believed, found))
        return considered

    def _is_fresh(self, cause: Cause, now_us: int) -> bool:
        return cause.age_us(now_us) <= self._max_age_us(cause.partner)

    def _max_age_us(self, partner: str) -> int:
        return self._nudges.policy_of(partner, self._store.read).max_cause_age_s * SECOND_US

    def _decide(self, each: Considered, now_us: int, transaction: Transaction) -> bool:
        """Write what follows from an assessment: engagement always, and a signal where the policy admits it.

        Returns
        -------
        Whether a signal follows, sent or held out.
        """
        cause, _, found = each
        if not transaction.read(sql.IS_OPEN, (cause.seq, cause.silence_s)):
            return False  # erased a moment ago, or the cursor was set back
        moment = Moment(cause.partner, cause.user_id, now_us, cause.utc_offset_min, each.session.groups)
        visitor = Visitor(*transaction.read(VISITOR, (cause.user_id, now_us // DAY_US))[0])
        nudge = self._nudges.decide(found, each.session, moment, transaction.read, visitor)
        standing = standing_of(moment, transaction.read)
        follows = nudge.signal["type"] != "no_action" and nudge.withheld in (None, "held_out")
        if follows:
            standing = after_signal(standing, moment, held_out=nudge.withheld is not None)
            self._write(each, nudge, visitor, standing.sequence, now_us, transaction)
        if visitor.is_vouched or visitor.n_events is not None:
            for one in nudge.deals:
                told_deal = (one.kind, now_us, one.arm, one.p_sent, one.p_held, one.features.tobytes(), packed(one.groups))
                transaction.execute(ADD_DEAL, (cause.partner, cause.user_id, *told_deal))
        if nudge.bid is not None:
            transaction.execute(sql.ADD_BID, (cause.partner, *nudge.bid))
        told = standing._replace(chosen=nudge.signal["type"], chosen_at_us=now_us)
        transaction.execute(sql.PUT_USER, (cause.partner, cause.user_id, found.score, predicted_action(found), *told))
        return follows

    def _write(
        self, each: Considered, nudge: Nudge, visitor: Visitor, sequence: int, now_us: int, transaction: Transaction
    ) -> None:
        cause, _, found = each
        payload = nudge.signal["payload"]
        told = (
            *(nudge.signal["type"], json.dumps(payload), found.score, predicted_action(found)),
            *(cause.seq, now_us, cause.silence_s),
        )
        if nudge.withheld is not None:
            transaction.execute(sql.ADD_HELD_OUT, (cause.partner, cause.user_id, *told))
            return
        signal_id = f"sig_{decision_id(now_us, self._noise.getrandbits(RANDOM_BITS))}"
        transaction.execute(sql.ADD_SIGNAL, (signal_id, cause.partner, cause.user_id, sequence, *told))
        if nudge.signal["type"] == "offer_discount":
            cents = round(payload["amount"] * 100)
            of_strangers = 0 if visitor.is_vouched else cents
            transaction.execute(sql.SPEND, (cause.partner, payload["offer_id"], now_us // DAY_US, cents, of_strangers))


def predicted_action(found: Assessment) -> str:
    """The likeliest next action within minutes; ``unknown`` where no model answers."""
    return "unknown" if found.p_next is None else NEXT_ACTIONS[int(found.p_next.argmax())]


def open_duty(settings: Settings) -> SignalDuty:
    """Stand ready to send signals: champions loaded and kept up to date as where requests are answered, kernels compiled."""
    champions = LiveChampions(settings.home, ChampionWatcher(settings.home), FOLLOW_S)
    online = OnlineSource(settings)
    champions.start()
    online.start()
    assess(EMPTY, champions.current(), NOTHING_KNOWN, None, 0)
    catalog, steps_s = Catalog(settings.home), settings.silence_steps_s
    return SignalDuty(open_store(settings.home), champions, online, catalog, random.SystemRandom(), steps_s)
