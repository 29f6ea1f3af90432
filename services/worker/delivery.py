"""Delivery duty: signals reach those who subscribed at least once, under one id, for as long as the schedule says.

Each step writes what has come back, makes deliveries of what is new in the outbox, starts what is due and waits a moment for
answers. Attempts run on in the duty's event loop from step to step, so an endpoint that hangs holds only its own slots. What is
written decides: a worker that is killed makes those attempts again whose outcome it had not written.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from infra.settings import Settings
from infra.store.engines import open_store
from infra.store.protocol import Row, Store, Transaction
from infra.store.statements import deliveries as sql
from infra.store.statements.signals import NEWEST_SIGNAL
from infra.store.tail import LogTail
from models.engagement.delivery import LONGEST_PAUSE_S, Slots, is_long_failure, next_due_us
from services.delivery import webhooks
from services.delivery.outbound import GONE, Answer, Outbound
from services.delivery.webhooks import Secrets
from services.signals.body import OutboxSignal, instant, signal_body

SIGNALS_A_STEP: Final = 1_000
MOST_UNDER_WAY: Final = 256
MOST_FAILING: Final = MOST_UNDER_WAY // 2  # of them to endpoints that did not take the last one
POLL_S: Final = 0.02
LOOK_US: Final = 250_000  # how often what is due is looked for where nothing else gives cause
log = logging.getLogger("attune.worker")


class Target(NamedTuple):
    """Target of a subscription's messages."""

    subscription_id: str
    url: str
    secrets: Secrets

    @property
    def key(self) -> tuple[str, str]:
        """Key of its slots: another address is a fresh start."""
        return self.subscription_id, self.url


class Attempt(NamedTuple):
    """Attempt under way; `n_attempts` were made before it."""

    target: Target
    delivery_id: int
    n_attempts: int
    started_at_us: int
    answer: "asyncio.Task[Answer]"


class DeliveryDuty:
    """Duty that delivers what is in the outbox.

    Parameters
    ----------
    store
        Used by one thread.
    open_outbound
        Makes the way out; called inside the duty's event loop.
    rng
        For jitter.
    """

    name: Final = sql.CURSOR
    poll_s: Final = POLL_S

    def __init__(self, store: Store, open_outbound: Callable[[], Outbound], rng: random.Random) -> None:
        self._store = store
        self._outbox = LogTail(store.read, self.name, NEWEST_SIGNAL)
        self._open_outbound = open_outbound
        self._rng = rng
        self._runner = asyncio.Runner()
        self._outbound: Outbound | None = None
        self._under_way: dict[int, Attempt] = {}  # by delivery
        self._looked_at_us = -LOOK_US
        self._ended = 0  # attempts, in the step before: there are slots again
        self._slots: dict[tuple[str, str], Slots] = {}  # by subscription and address

    def step(self, now_us: int) -> int:
        """Write, make, start, wait.

        Returns
        -------
        How many signals became deliveries, attempts ended and attempts are under way.
        """
        return self._runner.run(self._step(now_us))

    def close(self) -> None:
        """Give up what is under way: whoever comes next tries it again."""
        if self._outbound is not None:
            self._runner.run(self._outbound.close())
        self._runner.close()

    async def _step(self, now_us: int) -> int:
        self._outbound = self._outbound or self._open_outbound()
        done = self._write_ended() + self._fan_out(now_us)
        if done or self._ended or not 0 <= now_us - self._looked_at_us < LOOK_US:
            done += self._start_due(self._outbound, now_us)
            self._looked_at_us = now_us
        if self._under_way:
            answers = [attempt.answer for attempt in self._under_way.values()]
            await asyncio.wait(answers, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
        self._ended = self._write_ended()
        return done + self._ended + len(self._under_way)

    def _fan_out(self, now_us: int) -> int:
        """Make deliveries of new signals; of how many."""
        after = self._outbox.position() or 0
        until = self._outbox.until(after, SIGNALS_A_STEP)
        if until <= after:
            return 0

        def work(transaction: Transaction) -> None:
            transaction.execute(sql.FAN_OUT, (now_us, now_us, after, until))
            self._outbox.move(transaction, until, now_us)

        self._store.write(work)
        return until - after

    def _start_due(self, outbound: Outbound, now_us: int) -> int:
        """Start attempts as far as there are slots; how many."""
        before = len(self._under_way)
        busy = Counter(attempt.target.subscription_id for attempt in self._under_way.values())
        for subscription_id, url, *secrets in self._store.read(sql.ENDPOINTS_DUE, (now_us, now_us)):
            target = Target(subscription_id, url, Secrets(*secrets))
            slots = self._slots.get(target.key, Slots())
            free = min(slots.n - busy[subscription_id], self._room(slots.failing))
            if free > 0:
                self._start(outbound, target, free, free + busy[subscription_id], now_us)
        return len(self._under_way) - before

    def _room(self, failing: bool) -> int:
        """How many more may be under way in all. Endpoints that fail may not use up what the others need."""
        room = MOST_UNDER_WAY - len(self._under_way)
        if not failing:
            return room
        held = sum(self._slots.get(attempt.target.key, Slots()).failing for attempt in self._under_way.values())
        return min(room, MOST_FAILING - held)

    def _start(self, outbound: Outbound, target: Target, free: int, limit: int, now_us: int) -> None:
        due = self._store.read(sql.DELIVERIES_DUE, (target.subscription_id, now_us, limit))
        for delivery_id, n_attempts, *signal in [row for row in due if row[0] not in self._under_way][:free]:
            if signal[0] is None:  # erased since
                self._cancel(delivery_id, now_us)
                continue
            attempt = send(outbound, target, OutboxSignal(*signal), now_us)
            answer = asyncio.get_running_loop().create_task(attempt)
            self._under_way[delivery_id] = Attempt(target, delivery_id, n_attempts, now_us, answer)

    def _cancel(self, delivery_id: int, now_us: int) -> None:
        self._store.write(lambda transaction: transaction.execute(sql.CANCELLED, (now_us, delivery_id)))

    def _write_ended(self) -> int:
        """Write the attempts that have ended, and what follows from each, in one transaction; how many."""
        ended = [(attempt, answer_of(attempt.answer)) for attempt in self._under_way.values() if attempt.answer.done()]
        if not ended:
            return 0

        def work(transaction: Transaction) -> None:
            for attempt, answer in ended:
                self._write(attempt, answer, transaction)

        self._store.write(work)
        for attempt, answer in ended:
            del self._under_way[attempt.delivery_id]
            slots = self._slots.get(attempt.target.key, Slots())
            self._slots[attempt.target.key] = slots.after(delivered=answer.delivered)
        return len(ended)

    def _write(self, attempt: Attempt, answer: Answer, transaction: Transaction) -> None:
        now_us = attempt.started_at_us + answer.latency_us
        due_at_us = None
        if not answer.delivered and answer.status != GONE:
            due_at_us = next_due_us(attempt.n_attempts + 1, now_us, answer.retry_after_s, self._rng.random())
        state = "delivered" if answer.delivered else "pending" if due_at_us is not None else "failed"
        finished_at_us = now_us if due_at_us is None else None
        attempted = (state, due_at_us, finished_at_us, attempt.delivery_id)
        if not transaction.execute(sql.ATTEMPTED, attempted):  # erased while it was under way
            return
        made = (attempt.delivery_id, attempt.started_at_us, answer.latency_us, answer.outcome, answer.status, answer.text)
        transaction.execute(sql.ATTEMPT, made)
        _judge(attempt.target, answer, now_us, transaction)


def _judge(target: Target, answer: Answer, now_us: int, transaction: Transaction) -> None:
    """Keep how the endpoint does; one that is gone, or has failed for long, is left alone, and GET says why."""
    if answer.delivered:
        transaction.execute(sql.SUCCEEDED, (target.subscription_id, now_us))
        return
    pause_us = int(min(answer.retry_after_s, LONGEST_PAUSE_S) * 1e6)
    transaction.execute(sql.FAILED, (target.subscription_id, now_us, now_us + pause_us if pause_us else 0))
    if answer.status == GONE:
        reason: str | None = "the endpoint answered 410: it is gone"
    else:
        reason = _long_failure(answer, now_us, transaction.read(sql.FAILING_SINCE, (target.subscription_id,)))
    if reason is not None:
        transaction.execute(sql.DISABLE, (reason, now_us, target.subscription_id, target.url))


def _long_failure(answer: Answer, now_us: int, failing: Sequence[Row]) -> str | None:
    if not failing or not is_long_failure(failing[0][0], failing[0][1], now_us):
        return None
    last = f"answered {answer.status}" if answer.status is not None else f"failed: {answer.outcome}"
    return f"nothing was delivered since {instant(failing[0][0])}; the last attempt {last}"


async def send(outbound: Outbound, target: Target, signal: OutboxSignal, now_us: int) -> Answer:
    """Make one attempt."""
    body = msgspec.json.encode(signal_body(signal))
    headers = webhooks.headers(signal.signal_id, now_us, body, target.secrets.valid(now_us))
    return await outbound.post(target.url, body, headers)


def answer_of(attempt: "asyncio.Task[Answer]") -> Answer:
    """Outcome of an attempt. An error that nobody foresaw is a failure of this one message, and holds up no other."""
    error = attempt.exception()
    if error is None:
        return attempt.result()
    log.error("an attempt failed by an unforeseen %s", type(error).__name__)
    return Answer("error", 0)


def open_duty(settings: Settings) -> DeliveryDuty:
    """Make the duty for a home."""
    allow_private = settings.allow_private_webhooks
    return DeliveryDuty(open_store(settings.home), lambda: Outbound(allow_private), random.SystemRandom())
