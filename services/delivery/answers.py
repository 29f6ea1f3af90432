"""Answers of endpoints, judged by their status, however carelessly the rest is written.

A strict parser refuses a whole answer for a length that is too small or a header that is none; but an endpoint that has said
200 has the message, and must not get it nine times more. So the protocol keeps the first bytes of what it hears, and where
the parser gives up, the status line and ``Retry-After`` are read from those.
"""

import re
import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

KEPT_CHARACTERS: Final = 256
GONE: Final = 410
_status_line: Final = re.compile(rb"HTTP/1\.[01] ([2-5][0-9]{2})[ \r\n]").match
_retry_after: Final = re.compile(rb"\nretry-after[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE).search
_head_ends: Final = re.compile(rb"\r?\n\r?\n").search


class Answer(NamedTuple):
    """Outcome of one attempt.

    Attributes
    ----------
    outcome
        `delivered`, or why not: `gone`, `redirect`, `answered` (another status), `timeout`, `tls`, `unresolved`, `inside` (the
        address is not a public one), `connection`, `error` (a fault of ours).
    status
        Of the answer; None where none came.
    text
        First characters of the answer's body.
    retry_after_s
        For how long the endpoint asks to be left alone, seconds.
    """

    outcome: str
    latency_us: int
    status: int | None = None
    text: str | None = None
    retry_after_s: float = 0.0

    @property
    def delivered(self) -> bool:
        """Whether the endpoint has the message."""
        return self.outcome == "delivered"


def judged(status: int, body: bytes, retry_after: str) -> Answer:
    """Judge an answer by its status.

    Examples
    --------
    >>> [judged(status, b"", "").outcome for status in (204, 307, 410, 500)]
    ['delivered', 'redirect', 'gone', 'answered']
    """
    text = printable(body)
    if 200 <= status < 300:
        return Answer("delivered", 0, status, text)
    outcome = "gone" if status == GONE else "redirect" if 300 <= status < 400 else "answered"
    return Answer(outcome, 0, status, text, seconds(retry_after))


def from_heard(error: Exception) -> Answer | None:
    """The answer behind an error of the parser that tells what it heard; None where no status was.

    Examples
    --------
    >>> error = ValueError()
    >>> error.heard = b"HTTP/1.1 503 Busy\\r\\nRetry-After: 30\\r\\nno header\\r\\n\\r\\nlater"
    >>> from_heard(error)
    Answer(outcome='answered', latency_us=0, status=503, text='later', retry_after_s=30.0)
    """
    heard: bytes = getattr(error, "heard", b"") or getattr(error.__cause__, "heard", b"")
    status = _status_line(heard)
    if status is None:
        return None
    end = _head_ends(heard)
    head, body = (heard[: end.start()], heard[end.end() :]) if end else (heard, b"")
    asked = _retry_after(head)
    return judged(int(status[1]), body, asked[1].decode("latin-1").strip() if asked else "")


def printable(body: bytes) -> str:
    """First characters of a body that may be anything; what does not print becomes a dot."""
    text = body[: 4 * KEPT_CHARACTERS].decode("utf-8", "replace")[:KEPT_CHARACTERS]
    return "".join(c if c.isprintable() else "·" for c in text)


def seconds(retry_after: str) -> float:
    """Read a ``Retry-After`` header, seconds or a date in any of HTTP's three forms; 0 for none and for nonsense.

    Examples
    --------
    >>> seconds("120"), seconds("soon"), seconds("Thu, 01 Jan 1970 00:00:00 GMT"), seconds("Thu Jan  1 00:00:00 1970")
    (120.0, 0.0, 0.0, 0.0)
    """
    if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 10:
        return float(retry_after)
    try:
        found = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return 0.0
    at = found if found.tzinfo else found.replace(tzinfo=UTC)  # asctime's form names no zone, and means UTC
    return max(0.0, at.timestamp() - time.time())
