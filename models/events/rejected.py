"""Rejected events as they are kept: enough to replay one after a fix, and nothing that names a user.

The form is that of a protected row of `models.events.sources.attune`, so that file rows and events of the API lie in one
quarantine and are replayed by one function. Fields that we do not know stay behind, query texts with them. Ids and names of
types are kept as they came; of every other field only what could stand in it: partners have put addresses of pages with their
query texts into the referrer, and texts where lengths are due.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from models.events.encode import DEVICE_CODE, REFERRER_CODE
from models.events.identity import pseudonym
from models.events.public_form import CONTEXT, FIELDS, REFUSED_USER, TEXTS
from models.events.rules import Problem
from models.schema import LATE_S, MAX_ID_LENGTH, SAID_COLUMNS

_KEPT_TEXTS: Final = (*TEXTS, *SAID_COLUMNS)
MAX_TEXT: Final = 4 * MAX_ID_LENGTH  # characters kept of a text; a longer one is refused in any case
_instant: Final = re.compile(r"[0-9TZtz:.+ -]{1,40}").fullmatch
_zone: Final = re.compile(r"[A-Z][A-Za-z]{1,19}(/[A-Z][A-Za-z0-9_+-]{1,29}){0,2}").fullmatch


def kept_form(event: Mapping[str, Any], key: bytes) -> dict[str, Any]:
    """Reduce a rejected event to the form in which it may be kept.

    Parameters
    ----------
    key
        The partner's pseudonym key.

    Examples
    --------
    >>> kept_form({"event_id": "e", "type": ["?"], "note": "call me", "context": {"device": "mobile"}}, bytes(32))
    {'event_id': 'e', 'type': [], 'device': 'mobile'}
    """
    found = event.get("context")
    context = found if isinstance(found, Mapping) else {}
    values = {name: event.get(name) for name in FIELDS} | {name: context.get(name) for name in CONTEXT}
    return reduced({**values, "user_id": None if event.get("user_id") is None else _user(event["user_id"], key)})


def reduced(row: Mapping[str, Any]) -> dict[str, Any]:
    """Reduce a row whose user is a pseudonym already.

    A value that the field cannot have keeps its type and loses its content, so that a replay refuses it again.

    Examples
    --------
    >>> reduced({"type": "dance", "ts": "yesterday", "price": "cheap", "item_id": {"a": 1}, "referrer": "https://x/?q=shoes"})
    {'type': 'dance', 'ts': '', 'price': '', 'item_id': {}}
    """
    kept = {name: _reduced(name, value) for name, value in row.items() if value is not None}
    return {name: value for name, value in kept.items() if value != "" or name not in CONTEXT}


def _reduced(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return value[:MAX_TEXT] if _may_stand(name, value) else ""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < 2**53 else float(2**60)
    return value if isinstance(value, bool | float) else {} if isinstance(value, Mapping) else []


def _may_stand(name: str, text: str) -> bool:
    if name == "ts":
        return _instant(text) is not None
    if name == "timezone":
        return _zone(text) is not None
    known = {"device": DEVICE_CODE, "referrer": REFERRER_CODE}.get(name, {})
    return name in _KEPT_TEXTS or text in known


def _user(user: Any, key: bytes) -> str:
    if not isinstance(user, str):
        return REFUSED_USER + pseudonym(key, repr(user))
    if not user:
        return user
    return pseudonym(key, user) if len(user) <= MAX_ID_LENGTH else REFUSED_USER + pseudonym(key, user)


def stand_in(text: str, key: bytes) -> str:
    """Stand-in for a line that is no row: a user may stand anywhere in it.

    Examples
    --------
    >>> stand_in("half a li", bytes(32))[:15]
    '(9 characters, '
    """
    return f"({len(text)} characters, {pseudonym(key, text)})"


def reason_of(problem: Problem) -> str:
    """A problem in one line, as the rows of files have it.

    Examples
    --------
    >>> reason_of(Problem("/ts", "ts is required"))
    'ts: ts is required'
    """
    return f"{problem.pointer[1:]}: {problem.reason}" if problem.pointer else problem.reason


def lateness_problem(occurred_at_us: int, received_at_us: int) -> Problem | None:
    """Refuse an event that comes more than `LATE_S` after it happened."""
    if occurred_at_us < received_at_us - LATE_S * 1_000_000:
        return Problem(
            "/ts", f"ts must not be more than {LATE_S // 86_400} days in the past; bring history in with: attune ingest"
        )
    return None
