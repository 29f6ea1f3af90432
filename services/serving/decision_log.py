"""Decision log: every decision, and every request that failed to lead to one; no answer waits for it.

A request appends one tuple to a queue in memory; a thread takes what has gathered every `GATHER_S` and commits it as one group.
Where the store cannot be written for so long that `MAX_WAITING` decisions wait, further ones are dropped and counted: an answer
is worth more than its record. A process that is killed loses the decisions of the last `GATHER_S`; their events still arrive,
but lead to no reward.
"""

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from infra.store.engines import closed_store
from infra.store.errors import StoreUnavailable
from infra.store.free_space import FreeSpace
from infra.store.protocol import Transaction
from infra.store.statements.decisions import IS_PAGE_RECORDED, LOG_DECISION, LOG_FAILURE
from models.schema import DAY_US
from models.trust import PARAMS

MAX_WAITING: Final = 20_000  # decisions, about 40 MB
MAX_GROUP: Final = 2_000  # decisions in one commit
GATHER_S: Final = 0.25
REST_S: Final = 1.0  # after a store that could not be written
log = logging.getLogger("attune.decisions")

LOGGED: Final = "logged"
DROPPED: Final = "dropped"
FAILED: Final = "failed"
UNTRUSTED: Final = "untrusted"


class Decision(NamedTuple):
    """Decision: one answer, in the order of `infra.store.statements.decisions.DECISION_COLUMNS`.

    Attributes
    ----------
    user_id
        The pseudonym.
    propensity
        Probability of the profile, given the variant.
    context
        Device, hour, intent, segment.
    models
        Version of each model that served.
    items
        Ids of the items shown, best first.
    snapshot
        Version of the posteriors that chose the profile; None where the bandit did not choose.
    dealt_as
        The pseudonym by which it was dealt; None where that is the user's.
    """

    decision_id: str
    partner: str
    user_id: str
    session_id: str | None
    decided_at_us: int
    experiment: str
    variant: str
    profile: str
    propensity: float
    context: Mapping[str, Any]
    models: Mapping[str, int]
    items: Sequence[str]
    latency_us: int
    degraded: Sequence[str]
    snapshot: int | None = None
    dealt_as: str | None = None


class PageDecision(NamedTuple):
    """Decision that a page asked for; `is_recognized` where the partner's server vouched for the visitor."""

    decision: Decision
    is_recognized: bool


class Failure(NamedTuple):
    """Failure: a request that ended in a fault of ours, in the order of `infra.store.statements.decisions.LOG_FAILURE`.

    Attributes
    ----------
    user_id
        The pseudonym.
    error
        The kind of error; its words may hold values of the request.
    """

    partner: str
    user_id: str
    failed_at_us: int
    experiment: str
    variant: str
    error: str


_JSON_FIELDS: Final = frozenset(Decision._fields.index(name) for name in ("context", "models", "items", "degraded"))


def as_row(decision: Decision) -> tuple[Any, ...]:
    """The decision as the table holds it."""
    return tuple(
        msgspec.json.encode(value).decode() if place in _JSON_FIELDS else value for place, value in enumerate(decision)
    )


class DecisionLog:
    """Decision log of a process: the writer of the tables `decisions` and `failed_decisions`.

    Parameters
    ----------
    home
        Whose store to write.
    counted
        Is told, from any thread, how many decisions were `LOGGED`, `DROPPED` or, of pages, `UNTRUSTED`, and how many requests
        `FAILED`.
    gather_s
        Seconds between two commits.
    max_waiting
        Decisions above which further ones are dropped.
    space
        While it is short, nothing is written.
    admitted
        Is told, from any thread, the names of the fallbacks in what was logged, and how often each.
    """

    def __init__(
        self,
        home: Path,
        counted: Callable[[str, int], None] | None = None,
        gather_s: float = GATHER_S,
        max_waiting: int = MAX_WAITING,
        space: FreeSpace | None = None,
        admitted: Callable[[Mapping[str, int]], None] | None = None,
    ) -> None:
        self._counted = counted or (lambda status, n: None)
        self._admitted = admitted or (lambda fallbacks: None)
        self._gather_s = gather_s
        self._max_waiting = max_waiting
        self._space = space or FreeSpace(home, 0)
        self._waiting: deque[Decision | PageDecision | Failure] = deque()
        self._stopping = threading.Event()
        self._store = closed_store(home)  # of the thread
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)
        self._thread.start()

    def append(self, decision: Decision | PageDecision | Failure) -> bool:
        """Hand over a decision or a failure; whether there was room for it. Never waits and never raises."""
        if len(self._waiting) >= self._max_waiting:
            self._counted(DROPPED, 1)
            return False
        self._waiting.append(decision)
        return True

    def close(self) -> None:
        """Write what is waiting, then end the thread; what the store does not take now is dropped and counted."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._gather_s):
            if not self._flush():
                self._stopping.wait(REST_S)
        if not self._flush() and self._waiting:
            self._counted(DROPPED, len(self._waiting))
        self._store.close()

    def _flush(self) -> bool:
        """Commit all that waits; whether the store took it."""
        while self._waiting:
            group = [self._waiting[place] for place in range(min(len(self._waiting), MAX_GROUP))]
            decisions = [one for one in group if isinstance(one, Decision)]
            pages = [one for one in group if isinstance(one, PageDecision)]
            failures = [one for one in group if isinstance(one, Failure)]
            try:
                self._space.require()
                n_left_out = self._store.write(partial(_log, list(map(as_row, decisions)), pages, failures))
                statuses = {LOGGED: len(decisions) + len(pages) - n_left_out, UNTRUSTED: n_left_out, FAILED: len(failures)}
                self._admitted(Counter(name for one in decisions for name in one.degraded))
            except StoreUnavailable as error:
                log.warning("decisions cannot be written: %s", error.kind)
                return False
            except (ValueError, TypeError) as error:  # no store would take them: rather a gap than a log that stands still
                log.error("decisions cannot be put into words: %s", type(error).__name__)
                statuses = {DROPPED: len(group)}
            for _ in group:  # only what is on disk leaves the queue
                self._waiting.popleft()
            for status, n in statuses.items():
                if n:
                    self._counted(status, n)
        return True


def _log(
    decisions: Sequence[tuple[Any, ...]], pages: Sequence[PageDecision], failures: Sequence[Failure], transaction: Transaction
) -> int:
    """Write a group; how many decisions of pages do not go on record."""
    transaction.executemany(LOG_DECISION, decisions)
    transaction.executemany(LOG_FAILURE, failures)
    n_left_out = 0
    for decision, is_recognized in pages:
        day = decision.decided_at_us // DAY_US
        asked = (decision.user_id, day * DAY_US, PARAMS.events_a_visitor, int(is_recognized), day)
        ((recorded,),) = transaction.read(IS_PAGE_RECORDED, asked)
        if recorded:
            transaction.execute(LOG_DECISION, as_row(decision))
        n_left_out += not recorded
    return n_left_out
