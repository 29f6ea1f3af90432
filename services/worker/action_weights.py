"""Action-weight duty: new events, released ones, and actions whose horizon has passed become the posterior that serves.

For every visitor concerned it folds that visitor's history again (`models.weights.action_outcomes`) and replaces what it had
kept, in one transaction with its place in the log. So a late event, a second run or a kill at any moment changes nothing in
what comes out, and `flows.fold_actions`, which folds the whole log at once, comes to the same.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from infra.settings import Settings
from infra.store.engines import open_store
from infra.store.events import BELIEVED_COLUMNS, frame_of
from infra.store.lengths import Lengths
from infra.store.protocol import Store, Transaction
from infra.store.statements import action_weights as sql
from infra.store.statements.action_weights import CURSOR
from infra.store.statements.events import BELIEVED_OF_USERS, COUNT_BELIEVED, USERS_BETWEEN
from models.weights import action_outcomes
from models.weights import actions as action_weights
from models.weights.actions import PARAMS, ActionParams

POLL_S: Final = 2.0
GATHER_S: Final = 2.0  # nobody waits for an outcome of this second
REFRESH_US: Final = 15_000_000  # the posterior is made anew at most so often, unless there is nothing else to do
EVENTS_A_STEP: Final = 5_000
DUE_A_STEP: Final = 1_000
# A release is dated when it begins and seen when it is over, and many are folded in portions; folding one again does no harm.
MARGIN_US: Final = 3_600_000_000


class ActionWeightDuty:
    """Duty that stands somewhere in the log and brings the action weights up to its end, and to the present.

    Parameters
    ----------
    store
        Used by one thread.
    """

    name = CURSOR
    poll_s = POLL_S
    gather_s = GATHER_S

    def __init__(self, store: Store, params: ActionParams = PARAMS) -> None:
        self._store = store
        self._tail = store.tail(CURSOR)
        self._lengths = Lengths(store.read, COUNT_BELIEVED, action_outcomes.MOST_EVENTS)
        self._params = params
        self._changed: set[tuple[int, int]] = set()  # in quarantine: what this process has folded since
        self._made_at_us = 0
        self._is_stale = True  # what is kept may have been changed by a process before, or by a flow

    def step(self, now_us: int) -> int:
        """Fold the next events, at most `EVENTS_A_STEP`, what is due, and what quarantine has held back or released.

        Returns
        -------
        How many visitors were folded; 0 when all is done.
        """
        position = self._position()
        until = self._tail.until(position, EVENTS_A_STEP)
        n_new: dict[str, int] = dict(self._store.read(USERS_BETWEEN, (position, until)))
        self._lengths.passed(position, until, n_new)
        users = set(n_new)
        users.update(user for (user,) in self._store.read(sql.DUE, (now_us, DUE_A_STEP)))
        changed = {(seq, at_us): user for seq, at_us, user in self._store.read(sql.CHANGED, (MARGIN_US,))}
        new = [one for one in changed if one not in self._changed][:DUE_A_STEP]
        users.update(changed[one] for one in new)
        if users or until > position:
            self._fold(sorted(users), until, now_us)
            self._is_stale = True
        self._changed = (self._changed & changed.keys()).union(new)
        if self._is_stale and (not users or now_us - self._made_at_us >= REFRESH_US):
            self.refresh(now_us)
        return len(users)

    def _position(self) -> int:
        return min(self._tail.position() or 0, self._tail.end())  # the newest events may have been erased

    def _fold(self, users: Sequence[str], until: int, now_us: int) -> None:
        asked = _json(users)
        busy = self._lengths.busy(users)
        followed = _json([user for user in users if user not in busy])
        frame = frame_of(self._store.read(BELIEVED_OF_USERS, (followed, until)), BELIEVED_COLUMNS)
        outcomes = action_outcomes.of_frame(frame, now_us, self._params)

        def work(transaction: Transaction) -> None:
            transaction.execute(sql.FORGET_OBSERVATIONS, (asked,))
            transaction.execute(sql.FORGET_DUE, (asked,))
            transaction.executemany(sql.KEEP_OBSERVATION, outcomes.observations)
            transaction.executemany(sql.KEEP_DUE, outcomes.due)
            self._tail.move(transaction, until, now_us)

        self._store.write(work)

    def refresh(self, now_us: int) -> None:
        """Make the posterior from what is kept; the services look for it.

        It is written only where it changed, so that nobody loads it in vain.
        """
        counts = action_weights.of_sums(self._store.read(sql.SUMS), self._params)
        text = _json(action_weights.counts_to_lists(counts))
        kept = self._store.read(sql.POSTERIOR)
        if not kept or kept[0][2] != text:
            posterior = (self._position(), now_us, text)
            self._store.write(lambda transaction: transaction.execute(sql.SET_POSTERIOR, posterior))
        self._made_at_us, self._is_stale = now_us, False


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def open_duty(settings: Settings) -> ActionWeightDuty:
    """Stand ready at a home's log."""
    return ActionWeightDuty(open_store(settings.home))
