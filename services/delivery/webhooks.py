"""Webhook headers: the signature that proves who sent a message, and the others of an attempt.

The scheme is Standard Webhooks: HMAC-SHA256 over ``id.timestamp.body``, in base64 behind ``v1,``. While a secret is being
rotated the header carries a signature by either secret, so a receiver may change over whenever it likes.

Source: the Standard Webhooks specification, version 1.
"""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec
from standardwebhooks import Webhook

from services.signals.body import OutboxSignal, instant, signal_body

SECRET_PREFIX: Final = "whsec_"
MEDIA_TYPE: Final = "application/json"
TEST_TYPE: Final = "signal.test"
CHALLENGE_TYPE: Final = "endpoint.challenge"


class Secrets(NamedTuple):
    """Signing secrets of a subscription, sealed as they are kept; `previous` counts before `previous_until_us`."""

    current: str
    previous: str | None = None
    previous_until_us: int | None = None

    def valid(self, now_us: int) -> tuple[str, ...]:
        """The secrets to sign with, newest first.

        Examples
        --------
        >>> Secrets("new", "old", 100).valid(99), Secrets("new", "old", 100).valid(100)
        (('new', 'old'), ('new',))
        """
        if self.previous and self.previous_until_us is not None and now_us < self.previous_until_us:
            return self.current, self.previous
        return (self.current,)


def headers(message_id: str, now_us: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The headers of one attempt.

    Parameters
    ----------
    message_id
        The same in every attempt: by it a receiver knows what it has already.
    now_us
        When the attempt is made, microseconds since 1970.
    secrets
        As `signature` takes them; at least one.

    Examples
    --------
    >>> headers("msg_1", 5_000_000, b"{}", ["whsec_AAAA"])["webhook-timestamp"]
    '5'
    """
    seconds = now_us // 1_000_000
    return {
        "content-type": MEDIA_TYPE,
        "user-agent": "Attune-Webhooks/1",
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(signature(secret, message_id, seconds, body) for secret in secrets),
    }


def signature(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    """Sign ``id.timestamp.body``.

    Parameters
    ----------
    secret
        ``whsec_`` and the base64 of 24 to 64 random bytes.

    Raises
    ------
    ValueError
        If the secret is no base64.

    Examples
    --------
    >>> signature("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)  # the library passes over what is no base64
    # Aware and in UTC: of any other zone the library would sign the clock's digits.
    return Webhook(key).sign(message_id, datetime.fromtimestamp(timestamp_s, UTC), body.decode())


def of_test(message_id: str, now_us: int) -> bytes:
    """The body of a message that only says that the way is open: nobody's user, nothing to do."""
    nothing = OutboxSignal(0, message_id, "", "0" * 32, 0, "no_action", "{}", 0.0, "leave", 0, now_us)
    body = signal_body(nothing)
    body.type = TEST_TYPE
    return msgspec.json.encode(body)


def of_challenge(text: str, now_us: int) -> bytes:
    """The body of a challenge: an endpoint that wants messages repeats `text` in its answer.

    Examples
    --------
    >>> of_challenge("5f", 0)
    b'{"type":"endpoint.challenge","timestamp":"1970-01-01T00:00:00.000000Z","data":{"challenge":"5f"}}'
    """
    return msgspec.json.encode({"type": CHALLENGE_TYPE, "timestamp": instant(now_us), "data": {"challenge": text}})
