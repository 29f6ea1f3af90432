"""Signal duty: from new events to signals in the outbox.

For every user with a fresh event it takes that event's session out of the log, assesses it as a request would be, lets the
partner's policy decide, and writes the signal. Reading and thinking happen outside of any lock. Then one transaction holds
everything: the cursor moved from where this step began, caps, budget and stock looked up as they stand, signals, promises and
engagement. So a signal exists exactly once per cause whenever the process is killed, and two workers cannot act on one event.
"""

import json
import random
from collections.abc import Mapping
from typing import Final, NamedTuple

from infra.settings import Settings
from infra.store.engines import open_store
from infra.store.protocol import Store, Transaction
from infra.store.statements import signals as sql
from infra.store.statements.events import BUSY_USERS, READ_CAUSES
from infra.store.statements.trust import VISITOR
from models.assess import Assessment, assess
from models.engagement.policy import Moment, Nudge, after_signal
from models.known import NOTHING_KNOWN
from models.live_session import EMPTY, LiveSession, last_item
from models.model_set import ModelSet
from models.schema import DAY_US, NEXT_ACTIONS
from models.trust import Visitor
from models.uuid7 import RANDOM_BITS, decision_id
from services.serving.associations import LiveChampions
from services.serving.features import OnlineSource
from services.serving.model_watch import ChampionSource, ChampionWatcher
from services.serving.reads import engagement_features
from services.signals.catalog import Catalog
from services.signals.nudges import Nudges, standing_of
from services.signals.shelf import PartnerCatalogs
from services.worker.sessions import sessions_at

CURSOR: Final = "signals"
POLL_S: Final = 0.1
EVENTS_A_STEP: Final = 5_000
USERS_A_STEP: Final = 200
MOST_EVENTS: Final = 20_000  # of one user: a machine
SESSION_SPAN_US: Final = DAY_US  # how far back a live session may reach


class Cause(NamedTuple):
    """Cause of a signal: the newest event of a user in a step."""

    seq: int
    partner: str
    user_id: str
    occurred_at_us: int
    received_at_us: int
    utc_offset_min: int

    def age_us(self, now_us: int) -> int:
        """Age of a cause; a clock that is ahead does not make it younger than its arrival."""
        return now_us - min(self.occurred_at_us, self.received_at_us)


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
    """

    name = CURSOR
    poll_s = POLL_S

    def __init__(
        self,
        store: Store,
        champions: ChampionSource,
        online: OnlineSource,
        catalogs: PartnerCatalogs,
        noise: random.Random,
    ) -> None:
        self._store = store
        self._tail = store.tail(CURSOR)
        self._champions = champions
        self._online = online
        self._noise = noise
        self._nudges = Nudges(catalogs)

    def champions(self) -> ModelSet:
        """Models that it decides with now."""
        return self._champions.current()

    def close(self) -> None:
        """Stop what follows the store for it."""
        self._champions.stop()
        self._online.stop()

    def step(self, now_us: int) -> int:
        """Decide about the next users, at most `USERS_A_STEP`.

        Returns
        -------
        How many events that were.
        """
        position = self._tail.position() or 0
        until, n_events, causes = self._causes(position, now_us)
        if n_events == 0:
            return 0
        considered = self._consider(causes, until, now_us)

        def work(transaction: Transaction) -> None:
            if self._tail.move_from(transaction, position, until, now_us):  # else another worker has been faster
                for each in considered:
                    self._decide(each, now_us, transaction)

        self._store.write(work)
        return n_events

    def _causes(self, position: int, now_us: int) -> tuple[int, int, dict[str, Cause]]:
        """Where the step ends, how many events it has, and the newest fresh event of each user."""
        until, n_events = position, 0
        causes: dict[str, Cause] = {}
        for row in self._store.read(READ_CAUSES, (position, EVENTS_A_STEP)):
            cause = Cause(*row)
            if cause.user_id not in causes and len(causes) == USERS_A_STEP:
                break
            until, n_events = cause.seq, n_events + 1
            if cause.age_us(now_us) <= self._max_age_us(cause.partner):
                causes[cause.user_id] = cause
        return until, n_events, causes

    def _consider(self, causes: Mapping[str, Cause], until: int, now_us: int) -> list[Considered]:
        """Assess the visitors as they stand."""
        busy = self._store.read(BUSY_USERS, (json.dumps(list(causes)), MOST_EVENTS)) if causes else []
        wanted = {user: cause.seq for user, cause in causes.items() if (user,) not in busy}
        champions, online = self.champions(), self._online.current()
        considered = []
        for user, visit in sessions_at(self._store.read, wanted, until, now_us - SESSION_SPAN_US).items():
            session, item_id = visit.session, last_item(visit.session)
            read = engagement_features(online, user, item_id, bool(session.item_ids), now_us)
            found = assess(session, champions.of(causes[user].partner), read, None, now_us)
            considered.append(Considered(causes[user], visit.believed, found))
        return considered

    def _max_age_us(self, partner: str) -> int:
        return self._nudges.policy_of(partner, self._store.read).max_cause_age_s * 1_000_000

    def _decide(self, each: Considered, now_us: int, transaction: Transaction) -> None:
        """Write what follows from an assessment: engagement always, and a signal where the policy admits it."""
        cause, _, found = each
        if not transaction.read(sql.IS_OPEN, (cause.seq,)):
            return  # erased a moment ago, or the cursor was set back
        moment = Moment(cause.partner, cause.user_id, now_us, cause.utc_offset_min)
        visitor = Visitor(*transaction.read(VISITOR, (cause.user_id, now_us // DAY_US))[0])
        nudge = self._nudges.decide(found, each.session, moment, transaction.read, visitor)
        standing = standing_of(moment, transaction.read)
        if nudge.signal["type"] != "no_action" and nudge.withheld in (None, "held_out"):
            standing = after_signal(standing, moment, held_out=nudge.withheld is not None)
            self._write(each, nudge, visitor, standing.sequence, now_us, transaction)
        action = predicted_action(found)
        transaction.execute(sql.PUT_USER, (cause.partner, cause.user_id, found.score, action, now_us, *standing))

    def _write(
        self, each: Considered, nudge: Nudge, visitor: Visitor, sequence: int, now_us: int, transaction: Transaction
    ) -> None:
        cause, _, found = each
        payload = nudge.signal["payload"]
        told = (nudge.signal["type"], json.dumps(payload), found.score, predicted_action(found), cause.seq, now_us)
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
    champions, online = LiveChampions(settings.home, ChampionWatcher(settings.home)), OnlineSource(settings)
    champions.start()
    online.start()
    assess(EMPTY, champions.current(), NOTHING_KNOWN, None, 0)
    return SignalDuty(open_store(settings.home), champions, online, Catalog(settings.home), random.SystemRandom())
