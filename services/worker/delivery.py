"""Delivery duty: signals reach those who subscribed at least once, under one id, for as long as the schedule says.

Each step writes what has come back and makes deliveries of what is new in the outbox, starts what is due and waits a moment for
answers. Attempts run on in the duty's event loop from step to step, so an endpoint that hangs holds only its own slots, and a
partner only a share of all. What is written decides: a worker that is killed makes those attempts again whose outcome it had
not written.

Where several workers deliver, each claims what it starts, for `CLAIM_S`, and goes on with its claims while attempts are under
way. So nobody else starts one of them, and those of a worker that was killed are free soon after.
"""

import asyncio
import logging
import os
import random
import secrets as randomness
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import msgspec

from infra.secret import secret
from infra.settings import Settings
from infra.store.engines import is_shared, open_store
from infra.store.errors import StoreUnavailable
from infra.store.protocol import Row, Store, Transaction
from infra.store.statements import deliveries as sql
from infra.store.statements.signals import NEWEST_SIGNAL
from infra.store.tail import LogTail
from models.engagement.delivery import FAILING, LONGEST_PAUSE_S, SLOW, Slots, is_long_failure, next_due_us, room
from services.delivery import webhooks
from services.delivery.answers import GONE, Answer
from services.delivery.outbound import Outbound
from services.delivery.seals import Seals
from services.delivery.webhooks import Secrets
from services.signals.body import OutboxSignal, instant, signal_body

SIGNALS_A_STEP: Final = 1_000
MOST_UNDER_WAY: Final = 256
MOST_IN_TROUBLE: Final = {FAILING: 96, SLOW: 96}  # of them, all partners together: the others are left a quarter
MOST_STARTED: Final = {
    "": 16,
    FAILING: 4,
    SLOW: 4,
}  # of a partner in one step: many at once would keep the loop from the others
POLL_S: Final = 0.02
BUSY_POLL_S: Final = 0.008  # while attempts are under way: what is new shall not wait for them
GATHER_S: Final = 0.002  # after a first answer, for others: a transaction of its own for each costs more
NO_CONSENT: Final = "no_consent"  # outcome: the challenge was not answered
CLAIM_S: Final = 5.0  # for so long nobody else delivers what a worker has begun; as the worker's lease
_CLAIM_US: Final = round(CLAIM_S * 1e6)
KEEP_US: Final = 1_000_000  # how often claims are gone on with
LOOK_US: Final = 250_000  # how often what is due is looked for where nothing else gives cause
log = logging.getLogger("attune.worker")


class Target(NamedTuple):
    """Target of a subscription's messages; `consented` where it has answered the challenge at this address."""

    subscription_id: str
    partner: str
    url: str
    consented: bool
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
    seals
        Opens the secrets to sign with.
    asks_consent
        Whether an endpoint must answer a challenge before its first message.
    most
        Attempts under way at once.
    holder
        Under which name deliveries are claimed, where other workers deliver too; None: nobody else does.
    """

    name: Final = sql.CURSOR
    poll_s: Final = POLL_S

    def __init__(
        self,
        store: Store,
        open_outbound: Callable[[], Outbound],
        rng: random.Random,
        seals: Seals,
        *,
        asks_consent: bool = False,
        most: int = MOST_UNDER_WAY,
        holder: str | None = None,
    ) -> None:
        self._store = store
        self._seals = seals
        self._asks_consent = asks_consent
        self._most = most
        self._holder = holder
        self._kept_us = 0  # when claims were gone on with
        self._outbox = LogTail(store.read, self.name, NEWEST_SIGNAL)
        self._open_outbound = open_outbound
        self._rng = rng
        self._runner = asyncio.Runner()
        self._outbound: Outbound | None = None
        self._under_way: dict[int, Attempt] = {}  # by delivery
        self._looked_at_us = -LOOK_US
        self._n_started = 0  # in the step before: there may be more to start
        self._slots: dict[tuple[str, str], Slots] = {}  # by subscription and address
        self._consented: set[tuple[str, str]] = set()  # those that have, and whose attempt has not been written yet

    def step(self, now_us: int) -> int:
        """Write, make, start, wait.

        Returns
        -------
        How many signals became deliveries, attempts ended and attempts are under way.
        """
        return self._runner.run(self._step(now_us))

    def close(self) -> None:
        """Give up what is under way: whoever comes next tries it again."""
        with suppress(StoreUnavailable):  # then they are made again
            self._write(0, 0, 0)
            self._claim(sql.GIVE_BACK)
        if self._outbound is not None:
            self._runner.run(self._outbound.close())
        self._runner.close()

    async def _step(self, now_us: int) -> int:
        self._outbound = self._outbound or self._open_outbound()
        self._keep_claims(now_us)
        after = self._outbox.position() or 0
        done = self._write(after, self._outbox.until(after, SIGNALS_A_STEP), now_us)
        if done or self._n_started or not 0 <= now_us - self._looked_at_us < LOOK_US:
            self._n_started = self._start_due(self._outbound, now_us)
            self._looked_at_us = now_us
        if self._under_way:
            answers = [attempt.answer for attempt in self._under_way.values()]
            _, left = await asyncio.wait(answers, timeout=BUSY_POLL_S, return_when=asyncio.FIRST_COMPLETED)
            if 0 < len(left) < len(answers):
                await asyncio.wait(left, timeout=GATHER_S)
        return done + self._n_started + len(self._under_way)

    def _write(self, after: int, until: int, now_us: int) -> int:
        """Write the attempts that have ended, and what follows from each; make deliveries of new signals; one transaction.

        Returns
        -------
        How many attempts and signals those were.
        """
        ended = [(attempt, answer_of(attempt.answer)) for attempt in self._under_way.values() if attempt.answer.done()]
        if not ended and until <= after:
            return 0

        def work(transaction: Transaction) -> None:
            for attempt, answer in ended:
                self._write_attempt(attempt, answer, transaction)
            if until > after and self._outbox.move_from(transaction, after, until, now_us):  # else another has been faster
                transaction.execute(sql.FAN_OUT, (now_us, now_us, after, until))

        self._store.write(work, serializable=until > after)
        for attempt, answer in ended:
            del self._under_way[attempt.delivery_id]
            slots = self._slots.get(attempt.target.key, Slots())
            self._slots[attempt.target.key] = slots.after(answer.latency_us / 1e6, delivered=answer.delivered)
        return len(ended) + max(until - after, 0)

    def _start_due(self, outbound: Outbound, now_us: int) -> int:
        """Start attempts as far as there are slots; how many."""
        before = len(self._under_way)
        held = Counter(key for attempt in self._under_way.values() for key in self._keys(attempt.target))
        started: Counter[tuple[str, str]] = Counter()  # by partner and trouble
        for target in self._due(held, now_us):
            busy, kind = held[target.key], (target.partner, self._trouble(target))
            free = min(self._slots.get(target.key, Slots()).n - busy, self._room(target, held))
            free = min(free, MOST_STARTED[kind[1]] - started[kind])
            if free > 0 and (n_started := self._start(outbound, target, free, free + busy, now_us)):
                held.update(dict.fromkeys(self._keys(target), n_started))
                started[kind] += n_started
        return len(self._under_way) - before

    def _due(self, held: Counter[object], now_us: int) -> list[Target]:
        """Targets with something due: those in trouble last, and whoever holds less before who holds more."""
        rows = self._store.read(sql.ENDPOINTS_DUE, (now_us, now_us))
        targets = [Target(one, partner, url, bool(consented), Secrets(*more)) for one, partner, url, consented, *more in rows]
        return sorted(targets, key=lambda one: (bool(self._trouble(one)), held[one.partner], held[one.key]))

    def _trouble(self, target: Target) -> str:
        return self._slots.get(target.key, Slots()).trouble

    def _keys(self, target: Target) -> tuple[object, ...]:
        """What holds a slot with a message to a target: its endpoint, its partner, and its trouble, there and in all."""
        trouble = self._trouble(target)
        return target.key, target.partner, (target.partner, trouble), (None, trouble)

    def _room(self, target: Target, held: Counter[object]) -> int:
        """How many more may be under way to a target. A partner, and endpoints in trouble, leave the others what they need."""
        trouble = self._trouble(target)
        n_free = self._most - len(self._under_way)
        alike = held[target.partner, trouble] if trouble else 0
        free = room(n_free, held[target.partner], alike)
        return min(free, MOST_IN_TROUBLE[trouble] - held[None, trouble]) if trouble else free

    def _start(self, outbound: Outbound, target: Target, free: int, limit: int, now_us: int) -> int:
        before = len(self._under_way)
        for delivery_id, n_attempts, *signal in self._taken(target.subscription_id, free, limit, now_us):
            if signal[0] is None:  # erased since
                self._cancel(delivery_id, now_us)
                continue
            attempt = self._attempt(outbound, target, OutboxSignal(*signal), now_us)
            answer = asyncio.get_running_loop().create_task(attempt)
            self._under_way[delivery_id] = Attempt(target, delivery_id, n_attempts, now_us, answer)
        return len(self._under_way) - before

    def _taken(self, subscription_id: str, free: int, limit: int, now_us: int) -> list[Row]:
        """What is due to a subscription and nobody delivers: as many as there are slots."""
        if self._holder is None:
            due = self._store.read(sql.DELIVERIES_DUE, (subscription_id, now_us, limit))
            return [row for row in due if row[0] not in self._under_way][:free]
        asked = (self._holder, _CLAIM_US, subscription_id, now_us, free)
        claimed = self._store.write(lambda transaction: transaction.read(sql.CLAIM, asked), serializable=False)
        found = self._store.read(sql.CLAIMED, (_json(number for (number,) in claimed),)) if claimed else []
        return [row for row in found if row[0] not in self._under_way]  # a claim that lapsed here, and was taken again

    def _keep_claims(self, now_us: int) -> None:
        """Go on with claims while their attempts are under way."""
        if 0 <= now_us - self._kept_us < KEEP_US:
            return
        self._kept_us = now_us
        self._claim(sql.KEEP_CLAIMS, _CLAIM_US, now_us)

    def _claim(self, statement: str, *more: int) -> None:
        if self._holder is not None and self._under_way:
            asked = (self._holder, *more, _json(self._under_way))
            self._store.write(lambda transaction: transaction.execute(statement, asked), serializable=False)

    async def _attempt(self, outbound: Outbound, target: Target, signal: OutboxSignal, now_us: int) -> Answer:
        """Make one attempt; the first one to an address may have to ask before."""
        signing = self._seals.signing(target.subscription_id, target.secrets, now_us)
        if self._asks_consent and not target.consented and target.key not in self._consented:
            asked = await challenge(outbound, target.url, signing, now_us)
            if not asked.delivered:
                return asked
            self._consented.add(target.key)
        return await send(outbound, target.url, signing, signal, now_us)

    def _cancel(self, delivery_id: int, now_us: int) -> None:
        self._store.write(lambda transaction: transaction.execute(sql.CANCELLED, (now_us, delivery_id)))

    def _write_attempt(self, attempt: Attempt, answer: Answer, transaction: Transaction) -> None:
        now_us = attempt.started_at_us + answer.latency_us
        due_at_us = None
        if not answer.delivered and answer.status != GONE:
            due_at_us = next_due_us(attempt.n_attempts + 1, now_us, answer.retry_after_s, self._rng.random())
        state = "delivered" if answer.delivered else "pending" if due_at_us is not None else "failed"
        finished_at_us = now_us if due_at_us is None else None
        attempted = (state, due_at_us, finished_at_us, attempt.delivery_id, self._holder or "")
        if not transaction.execute(sql.ATTEMPTED, attempted):  # erased while it was under way, or claimed by another
            return
        made = (attempt.delivery_id, attempt.started_at_us, answer.latency_us, answer.outcome, answer.status, answer.text)
        transaction.execute(sql.ATTEMPT, made)
        if attempt.target.key in self._consented and not attempt.target.consented:
            transaction.execute(sql.CONSENTED, (attempt.target.url, attempt.target.subscription_id))
        _judge(attempt.target, answer, now_us, transaction)


def _json(numbers: Iterable[int]) -> str:
    return msgspec.json.encode(list(numbers)).decode()


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


async def send(outbound: Outbound, url: str, signing: Sequence[str], signal: OutboxSignal, now_us: int) -> Answer:
    """Send a signal once, signed by all secrets that count."""
    body = msgspec.json.encode(signal_body(signal))
    return await outbound.post(url, body, webhooks.headers(signal.signal_id, now_us, body, signing))


async def challenge(outbound: Outbound, url: str, signing: Sequence[str], now_us: int) -> Answer:
    """Ask an endpoint whether it wants messages at all: it does if its answer repeats what it was sent."""
    text, message_id = randomness.token_hex(16), f"chl_{randomness.token_hex(12)}"
    body = webhooks.of_challenge(text, now_us)
    answer = await outbound.post(url, body, webhooks.headers(message_id, now_us, body, signing))
    if answer.delivered and text not in (answer.text or ""):
        return answer._replace(outcome=NO_CONSENT)
    return answer


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
    return DeliveryDuty(
        open_store(settings.home),
        lambda: Outbound(allow_private),
        random.SystemRandom(),
        Seals(secret(settings.home)),
        asks_consent=settings.webhook_consent,
        holder=f"{socket.gethostname()} {os.getpid()}" if is_shared(settings.home) else None,
    )
