"""Signal body as partners get it, whichever way it travels: webhook, pull or stream."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec


class OutboxSignal(NamedTuple):
    """Outbox row of a signal, in the order of `SIGNAL_COLUMNS`."""

    seq: int
    signal_id: str
    partner: str
    user_id: str
    sequence: int
    type: str
    payload: str
    score: float
    predicted_action: str
    cause_seq: int
    created_at_us: int


class SignalData(msgspec.Struct):
    """Data of a signal. `user_id` is a pseudonym of this partner's; `sequence` counts the user's signals without a gap."""

    signal_id: str
    user_id: str
    signal_type: str
    payload: dict[str, Any]
    engagement_score: float
    predicted_action: str
    sequence: int


class SignalBody(msgspec.Struct):
    """A signal: ``signal.`` and its type, when it was made, and what it says."""

    type: str
    timestamp: str
    data: SignalData


def instant(at_us: int) -> str:
    """An instant as partners read it.

    Examples
    --------
    >>> instant(1_500_000)
    '1970-01-01T00:00:01.500000Z'
    """
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def signal_body(row: OutboxSignal) -> SignalBody:
    """Turn a row of the outbox into what travels; the same row gives the same bytes every time.

    Examples
    --------
    >>> row = OutboxSignal(1, "sig_1", "shop", "p1", 1, "offer_discount", "{}", 0.5, "leave", 7, 0)
    >>> signal_body(row).type, signal_body(row).timestamp
    ('signal.offer_discount', '1970-01-01T00:00:00.000000Z')
    """
    payload = json.loads(row.payload)
    data = SignalData(row.signal_id, row.user_id, row.type, payload, row.score, row.predicted_action, row.sequence)
    return SignalBody(f"signal.{row.type}", instant(row.created_at_us), data)
