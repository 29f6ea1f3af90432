"""``/v1/subscriptions/{id}/deliveries``, ``…/replay``, ``…/test``: what became of signals, and sending them again."""

import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from infra.store.protocol import Read, Transaction
from infra.store.statements import deliveries as sql
from infra.store.statements import signals as signal_tables
from services.api.collaborators import Collaborators
from services.api.subscriptions import ONE, SCOPE
from services.delivery import webhooks
from services.delivery.answers import Answer
from services.delivery.seals import Seals
from services.delivery.webhooks import Secrets
from services.http.calls import Call, Reply
from services.http.decoding import decode
from services.http.endpoints import Endpoint, Endpoints, Parameter, Schemas, number
from services.http.idempotency import Writes
from services.http.openapi_schemas import INSTANT, components, ref, words
from services.http.problems import Refusal
from services.http.reader import Reader
from services.signals.body import instant

if TYPE_CHECKING:
    from services.delivery.outbound import Outbound

BODY_LIMIT: Final = 128 * 1024
TEST_S: Final = 4.0  # the caller waits, and the service gives no answer more than five
MAX_TESTS: Final = 4  # of a partner under way, in one worker process: a name that is never resolved holds a thread
MAX_REPLAYED: Final = 10_000  # in one transaction of the writer, which others wait for
MAX_WAITING: Final = 20_000  # replayed signals of a partner that are not delivered yet
MAX_IDS: Final = 1_000
PAGE: Final = 50
MAX_PAGE: Final = 200
STATES: Final = ("pending", "delivered", "failed", "cancelled")
Moment = Annotated[datetime, Meta(tz=True)]
SignalId = Annotated[str, Meta(min_length=1, max_length=64)]


class Attempt(msgspec.Struct, omit_defaults=True):
    """One attempt: `outcome` is `delivered` or why not, `answer` the first characters that the endpoint answered."""

    at: str
    outcome: str
    latency_ms: float
    status: int | None = None
    answer: str | None = None


class DeliveryRecord(msgspec.Struct, omit_defaults=True):
    """Delivery of one signal: `cause` is `signal`, `replay` or `test`; `next_attempt_at` is there while it is pending."""

    delivery_id: int
    signal_id: str
    cause: str
    state: str
    created_at: str
    attempts: list[Attempt]
    signal_type: str | None = None
    next_attempt_at: str | None = None


class DeliveryList(msgspec.Struct):
    """Deliveries, newest first; `next` is the `before` of the page that follows, null at the end."""

    deliveries: list[DeliveryRecord]
    next: int | None


class ReplayRequest(msgspec.Struct, forbid_unknown_fields=True, rename={"start": "from"}):
    """Either `signal_ids`, or all signals made in [`from`, `until`) that the subscription wants."""

    signal_ids: Annotated[list[SignalId], Meta(min_length=1, max_length=MAX_IDS)] | UnsetType = UNSET
    start: Moment | UnsetType = UNSET
    until: Moment | UnsetType = UNSET


class ReplayAnswer(msgspec.Struct):
    """Number of signals that will be sent again."""

    replay_id: str
    queued: int


class Trial(msgspec.Struct, omit_defaults=True):
    """Trial of an endpoint: its response to a message of type `signal.test`."""

    message_id: str
    delivered: bool
    outcome: str
    latency_ms: float
    status: int | None = None
    answer: str | None = None


_REPLAY: Final = msgspec.json.Decoder(ReplayRequest)


class DeliveriesHandler:
    """Handler of deliveries, replays and tests.

    Parameters
    ----------
    open_outbound
        Makes the way out of a test, given its time limit in seconds.
    """

    def __init__(self, reader: Reader, writes: Writes, seals: Seals, open_outbound: "Callable[[float], Outbound]") -> None:
        self._reader = reader
        self._writes = writes
        self._seals = seals
        self._open_outbound = open_outbound
        self._testing: Counter[str] = Counter()

    async def deliveries(self, call: Call) -> DeliveryList:
        """``GET /v1/subscriptions/{id}/deliveries?limit=&before=&state=``."""
        limit, before = _number(call.query, "limit", PAGE, MAX_PAGE), _number(call.query, "before", 2**62, 2**62)
        state = call.query.get("state")
        if state is not None and state not in STATES:
            raise Refusal(422, f"the parameter state must be one of {', '.join(STATES)}")
        subscription = _subscription(self._reader.rows, call)["id"]
        found = self._reader.rows(sql.LIST_DELIVERIES, (subscription, before, state, limit + 1))
        ids = [row[0] for row in found[:limit]]
        made: dict[int, list[Attempt]] = {delivery_id: [] for delivery_id in ids}
        for delivery_id, *attempt in self._reader.rows(sql.LIST_ATTEMPTS, (msgspec.json.encode(ids).decode(),)):
            made[delivery_id].append(_attempt(*attempt))
        return DeliveryList(
            [_record(row, made[row[0]]) for row in found[:limit]],
            ids[-1] if len(found) > limit else None,
        )

    async def replay(self, call: Call) -> Reply:
        """``POST /v1/subscriptions/{id}/replay``: queue signals once more, durably; the worker sends them."""
        asked = _decode(call.body)
        replay_id = f"rpl_{secrets.token_hex(8)}"

        def work(transaction: Transaction) -> ReplayAnswer:
            subscription = _subscription(transaction.read, call)
            if subscription["state"] != "active":
                raise Refusal(409, "the subscription is disabled; set its state to active first")
            made = (replay_id, call.received_at_us, call.received_at_us, subscription["id"])
            if isinstance(asked.signal_ids, list):
                ids = msgspec.json.encode(asked.signal_ids).decode()
                queued = transaction.execute(sql.REPLAY_IDS, (*made, ids))
            else:
                queued = transaction.execute(sql.REPLAY_SPAN, (*made, _us(asked.start), _us(asked.until), MAX_REPLAYED + 1))
            if queued > MAX_REPLAYED:
                raise Refusal(422, f"a replay may hold {MAX_REPLAYED} signals at most; ask for a shorter span")
            ((waiting,),) = transaction.read(sql.COUNT_REPLAYED, (call.partner,))
            if waiting > MAX_WAITING:
                raise Refusal(
                    409, f"{MAX_WAITING} replayed signals may wait for delivery at most; ask again when some are delivered"
                )
            return ReplayAnswer(replay_id, queued)

        return await self._writes.write(call, work, 202)

    async def test(self, call: Call) -> Reply:
        """``POST /v1/subscriptions/{id}/test``: send a message now, and tell what came back."""
        subscription = _subscription(self._reader.rows, call)
        message_id, now_us = f"test_{secrets.token_hex(12)}", call.received_at_us
        body = webhooks.of_test(message_id, now_us)
        signing = Secrets(subscription["secret"], subscription["previous_secret"], subscription["previous_secret_until_us"])
        headers = webhooks.headers(message_id, now_us, body, self._seals.signing(subscription["id"], signing, now_us))

        async def send() -> Answer:
            return await self._tried(call.partner, subscription["url"], body, headers)

        def work(transaction: Transaction, answer: Answer) -> Trial:
            return _kept(transaction, call, subscription["id"], message_id, answer)

        return await self._writes.act(call, send, work)

    async def _tried(self, partner: str, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        if self._testing[partner] >= MAX_TESTS:
            raise Refusal(429, f"{MAX_TESTS} tests may be under way at once", headers=((b"retry-after", b"4"),))
        self._testing[partner] += 1
        outbound = self._open_outbound(TEST_S)
        try:
            return await outbound.post(url, body, headers)
        finally:
            self._testing[partner] -= 1
            await outbound.close()


def _subscription(read: Read, call: Call) -> dict[str, Any]:
    found = read(signal_tables.SUBSCRIPTION, (call.partner, call.path["id"]))
    if not found:
        raise Refusal(404, "no subscription of yours has this id")
    return dict(zip(signal_tables.SUBSCRIPTION_COLUMNS, found[0], strict=True))


def _kept(transaction: Transaction, call: Call, subscription: str, message_id: str, answer: Answer) -> Trial:
    now_us = call.received_at_us
    state = "delivered" if answer.delivered else "failed"
    ended_at_us = now_us + answer.latency_us
    trial = (subscription, call.partner, message_id, message_id, state, now_us, now_us, ended_at_us)
    ((delivery_id,),) = transaction.read(sql.TESTED, trial)
    made = (delivery_id, now_us, answer.latency_us, answer.outcome, answer.status, answer.text)
    transaction.execute(sql.ATTEMPT, made)
    return Trial(message_id, answer.delivered, answer.outcome, answer.latency_us / 1e3, answer.status, answer.text)


def _decode(body: bytes) -> ReplayRequest:
    asked = decode(_REPLAY, body)
    by_id, by_span = asked.signal_ids is not UNSET, (asked.start is not UNSET, asked.until is not UNSET)
    if by_id == any(by_span) or by_span in ((True, False), (False, True)):
        raise Refusal(422, "send either signal_ids, or both from and until", "")
    return asked


def _us(moment: datetime | UnsetType) -> int:
    """Microseconds since 1970 of an aware instant.

    Examples
    --------
    >>> _us(datetime(1970, 1, 1, 1, 0, 0, 1, tzinfo=UTC))
    3600000001
    """
    if not isinstance(moment, datetime):
        raise ValueError(f"expected an instant, got {moment}")
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and 1 <= int(text) <= most):
        raise Refusal(422, f"the parameter {name} must be a number between 1 and {most}")
    return int(text)


def _attempt(started_at_us: int, latency_us: int, outcome: str, status: int | None, answer: str | None) -> Attempt:
    return Attempt(instant(started_at_us), outcome, latency_us / 1e3, status, answer)


def _record(row: tuple[Any, ...], attempts: list[Attempt]) -> DeliveryRecord:
    delivery_id, signal_id, signal_type, cause, state, created_at_us, due_at_us = row
    due = instant(due_at_us) if state == "pending" else None
    return DeliveryRecord(delivery_id, signal_id, cause, state, instant(created_at_us), attempts, signal_type, due)


def schemas(today: date) -> Schemas:
    """Schema of a replay: by ids, or by a span of time."""
    replay = components(ReplayRequest)["ReplayRequest"]
    by_ids = {"signal_ids": replay["properties"]["signal_ids"]}
    by_time = {name: {"type": "string", "pattern": INSTANT} for name in ("from", "until")}
    kinds = {
        "ReplayByIds": {"description": "The signals with these ids.", "properties": by_ids},
        "ReplayByTime": {
            "description": "All signals made in [`from`, `until`) that the subscription wants.", "properties": by_time
        },
    }  # fmt: skip
    closed = {
        name: {"type": "object", **kind, "required": list(kind["properties"]), "additionalProperties": False}
        for name, kind in kinds.items()
    }
    return closed | {"ReplayRequest": {"description": replay["description"], "oneOf": [ref(name) for name in closed]}}


def _outbound(allow_private: bool, timeout_s: float) -> "Outbound":
    from services.delivery.outbound import Outbound  # loads aiohttp: a tenth of a start, for what is rarely asked

    return Outbound(allow_private, timeout_s)


def endpoints(shared: Collaborators) -> Endpoints:
    """Endpoints of the deliveries."""
    private = shared.settings.allow_private_webhooks
    handler = DeliveriesHandler(shared.reader, shared.writes, shared.seals, partial(_outbound, private))
    query = (
        number("limit", PAGE, MAX_PAGE, "How many."),
        number("before", 2**62, 2**62, "`next` of an earlier answer."),
        Parameter("state", {"type": "string", **words(STATES)}, "Only deliveries in this state."),
    )
    return {
        ("GET", f"{ONE}/deliveries"): Endpoint(
            handler.deliveries, SCOPE, "deliveries", "What became of the signals, newest first",
            answer=DeliveryList, query=query,
        ),
        ("POST", f"{ONE}/replay"): Endpoint(
            handler.replay, SCOPE, "replay", "Send signals again, by id or by time", request=ReplayRequest,
            answer=ReplayAnswer, example={"signal_ids": ["sig_1"]}, status=202, limit=BODY_LIMIT, schemas=schemas,
        ),
        ("POST", f"{ONE}/test"): Endpoint(
            handler.test, SCOPE, "test_subscription", "Send a test message now", answer=Trial
        ),
    }  # fmt: skip
