"""Signal duty: from new events to signals in the outbox.

For every user with a fresh event it takes that event's session out of the log, assesses it as a request would be, lets the
partner's policy decide, and writes the signal. Reading and thinking happen outside of any lock. Then one transaction holds
everything: the cursor moved from where this step began, caps, budget and stock looked up as they stand, signals, promises and
engagement. So a signal exists exactly once per cause whenever the process is killed, and two workers cannot act on one event.
"""

import json
import random
from collections.abc import Mapping
from functools import partial
from typing import Final, NamedTuple

import apsw

from infra.settings import Settings
from infra.store.connection import connect, rows
from infra.store.statements import log as tables
from infra.store.statements import signals as sql
from models.assess import Assessment, assess
from models.engagement.policy import Moment, Nudge, after_signal
from models.known import NOTHING_KNOWN
from models.live_session import EMPTY, LiveSession, last_item
from models.model_set import ModelSet
from models.schema import DAY_US, NEXT_ACTIONS
from models.uuid7 import RANDOM_BITS, decision_id
from services.serving.associations import LiveChampions
from services.serving.features import OnlineSource
from services.serving.model_watch import ChampionSource, ChampionWatcher
from services.serving.reads import engagement_features
from services.signals.catalog import Catalog
from services.signals.nudges import Nudges
from services.signals.shelf import PartnerCatalogs
from services.worker.sessions import sessions_at

CURSOR: Final = "signals"
POLL_S: Final = 0.1
EVENTS_A_STEP: Final = 5_000
USERS_A_STEP: Final = 200
MOST_EVENTS: Final = 20_000  # of one user: a machine
SESSION_SPAN_US: Final = DAY_US  # how far back a live session may reach
_OF_CAUSES: Final = "seq, partner, user_id, occurred_at_us, received_at_us, utc_offset_min"
NEW_EVENTS: Final = f"SELECT {_OF_CAUSES} FROM events WHERE seq > ? ORDER BY seq LIMIT ?"


class Cause(NamedTuple):
    """Cause of a signal: the newest event of a user in a step."""

    seq: int
    partner: str
    user_id: str
    occurred_at_us: int
    received_at_us: int
    utc_offset_min: int

    def age_us(self, now_us: int) -> int:
        """How long ago it happened; a clock that is ahead does not make it younger than its arrival."""
        return now_us - min(self.occurred_at_us, self.received_at_us)


class Considered(NamedTuple):
    """Considered cause: its session, and the assessment of its visitor."""

    cause: Cause
    session: LiveSession
    found: Assessment


class SignalDuty:
    """Duty that stands somewhere in the log and decides about signals up to its end.

    Parameters
    ----------
    connection
        Of the store; used by one thread.
    champions, online
        Stopped when the duty ends.
    noise
        Source of random bits for signal ids.
    """

    name = CURSOR
    poll_s = POLL_S

    def __init__(
        self,
        connection: apsw.Connection,
        champions: ChampionSource,
        online: OnlineSource,
        catalogs: PartnerCatalogs,
        noise: random.Random,
    ) -> None:
        self._connection = connection
        self._champions = champions
        self._online = online
        self._noise = noise
        self._nudges = Nudges(partial(rows, connection), catalogs)

    def champions(self) -> ModelSet:
        """What it decides with now."""
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
        found = rows(self._connection, "SELECT seq FROM cursors WHERE name = ?", (CURSOR,))
        position = int(found[0][0]) if found else 0
        until, n_events, causes = self._causes(position, now_us)
        if n_events == 0:
            return 0
        considered = self._consider(causes, until, now_us)
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            if self._claim(position, until, now_us):
                for each in considered:
                    self._decide(each, now_us)
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        return n_events

    def _causes(self, position: int, now_us: int) -> tuple[int, int, dict[str, Cause]]:
        """Where the step ends, how many events it has, and the newest fresh event of each user."""
        until, n_events = position, 0
        causes: dict[str, Cause] = {}
        for row in rows(self._connection, NEW_EVENTS, (position, EVENTS_A_STEP)):
            cause = Cause(*row)
            if cause.user_id not in causes and len(causes) == USERS_A_STEP:
                break
            until, n_events = cause.seq, n_events + 1
            if cause.age_us(now_us) <= self._nudges.policy_of(cause.partner).max_cause_age_s * 1_000_000:
                causes[cause.user_id] = cause
        return until, n_events, causes

    def _consider(self, causes: Mapping[str, Cause], until: int, now_us: int) -> list[Considered]:
        """Assess the visitors as they stand."""
        busy = rows(self._connection, tables.BUSY_USERS, (json.dumps(list(causes)), MOST_EVENTS)) if causes else []
        wanted = {user: cause.seq for user, cause in causes.items() if (user,) not in busy}
        champions, online = self.champions(), self._online.current()
        considered = []
        for user, session in sessions_at(self._connection, wanted, until, now_us - SESSION_SPAN_US).items():
            item_id = last_item(session)
            read = engagement_features(online, user, item_id, bool(session.item_ids), now_us)
            considered.append(Considered(causes[user], session, assess(session, champions, read, None, now_us)))
        return considered

    def _claim(self, position: int, until: int, now_us: int) -> bool:
        """Whether the cursor could be moved; not where another worker has been faster."""
        found = rows(self._connection, "SELECT seq FROM cursors WHERE name = ?", (CURSOR,))
        if (int(found[0][0]) if found else 0) != position:
            return False
        self._connection.execute(tables.MOVE_CURSOR, (CURSOR, until, now_us))
        return True

    def _decide(self, each: Considered, now_us: int) -> None:
        """Write what follows from an assessment: engagement always, and a signal where the policy admits it."""
        cause, _, found = each
        if not rows(self._connection, sql.IS_OPEN, (cause.seq,)):
            return  # erased a moment ago, or the cursor was set back
        moment = Moment(cause.partner, cause.user_id, now_us, cause.utc_offset_min)
        nudge = self._nudges.decide(found, each.session, moment)
        standing = self._nudges.standing_of(moment)
        if nudge.signal["type"] != "no_action" and nudge.withheld in (None, "held_out"):
            standing = after_signal(standing, moment, held_out=nudge.withheld is not None)
            self._write(each, nudge, standing.sequence, now_us)
        action = predicted_action(found)
        self._connection.execute(sql.PUT_USER, (cause.partner, cause.user_id, found.score, action, now_us, *standing))

    def _write(self, each: Considered, nudge: Nudge, sequence: int, now_us: int) -> None:
        cause, _, found = each
        payload = nudge.signal["payload"]
        told = (nudge.signal["type"], json.dumps(payload), found.score, predicted_action(found), cause.seq, now_us)
        if nudge.withheld is not None:
            self._connection.execute(sql.ADD_HELD_OUT, (cause.partner, cause.user_id, *told))
            return
        signal_id = f"sig_{decision_id(now_us, self._noise.getrandbits(RANDOM_BITS))}"
        self._connection.execute(sql.ADD_SIGNAL, (signal_id, cause.partner, cause.user_id, sequence, *told))
        if nudge.signal["type"] == "offer_discount":
            cents = round(payload["amount"] * 100)
            self._connection.execute(sql.SPEND, (cause.partner, payload["offer_id"], now_us // DAY_US, cents))


def predicted_action(found: Assessment) -> str:
    """The likeliest next action within minutes; ``unknown`` where no model answers."""
    return "unknown" if found.p_next is None else NEXT_ACTIONS[int(found.p_next.argmax())]


def open_duty(settings: Settings) -> SignalDuty:
    """Stand ready to send signals: champions loaded and kept up to date as where requests are answered, kernels compiled."""
    champions, online = LiveChampions(settings.home, ChampionWatcher(settings.home)), OnlineSource(settings)
    champions.start()
    online.start()
    assess(EMPTY, champions.current(), NOTHING_KNOWN, None, 0)
    return SignalDuty(connect(settings.home), champions, online, Catalog(settings.home), random.SystemRandom())
