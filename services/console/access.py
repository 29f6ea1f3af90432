"""Access to the console: operators with a role, one-time links, passwords, sessions, and the audit of what was done.

Tokens have 256 random bits and are kept as SHA-256; passwords as scrypt. An account is made on the machine, never in the
console.
"""

import hmac
import secrets
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from hashlib import blake2b, scrypt, sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

from infra.audit import GENESIS, chained, first_broken
from infra.store.engines import open_store
from infra.store.protocol import Read, Store, Transaction
from infra.store.statements import operators as sql

VIEWER, OPERATOR, ML, ADMIN = "viewer", "operator", "ml", "admin"
ROLES: Final = (VIEWER, OPERATOR, ML, ADMIN)
EVERYBODY: Final = frozenset(ROLES)
LINK_S: Final = 15 * 60
SESSION_S: Final = 12 * 3600
SHORTEST_PASSWORD: Final = 10
LONGEST_PASSWORD: Final = 200
_COST: Final = {"n": 1 << 14, "r": 8, "p": 1, "dklen": 32}
FREE_TRIES: Final = 5  # of a name in a row; then each waits twice as long
FIRST_WAIT_S, LONGEST_WAIT_S = 2.0, 900.0
MOST_NAMES: Final = 10_000


class Person(NamedTuple):
    """Person who is signed in; `secret` ties the forms of a session to it."""

    name: str
    role: str
    secret: str = ""

    @property
    def form_token(self) -> str:
        """Token that a form of this session carries."""
        return blake2b(self.secret.encode(), key=b"attune console form", digest_size=16).hexdigest()


@dataclass(frozen=True)
class Act:
    """Act of a person, for the audit."""

    at_us: int
    actor: str
    role: str
    action: str
    subject: str
    reason: str
    outcome: str


def add(home: Path, name: str, role: str, now_us: int) -> str:
    """Create an operator, or give one another role, and a one-time link; the link's token.

    Raises
    ------
    ValueError
        If the name is empty, over 64 characters, or not made of letters, digits, ``-``, ``_`` and ``.``; if there is no
        such role.
    """
    if not 0 < len(name) <= 64 or not all(c.isalnum() or c in "-_." for c in name):
        raise ValueError("an operator's name is 1 to 64 letters, digits, '-', '_' or '.'")
    if role not in ROLES:
        raise ValueError(f"a role is one of {', '.join(ROLES)}")
    token = secrets.token_urlsafe(32)

    def work(transaction: Transaction) -> None:
        transaction.execute(sql.ADD_OPERATOR, (name, role, now_us))
        for statement in sql.FORGET_EXPIRED:
            transaction.execute(statement, (now_us,))
        transaction.execute(sql.ADD_LINK, (_hash(token), name, now_us + LINK_S * 1_000_000))
        record(transaction, Act(now_us, "command line", ADMIN, "operator add", name, f"as {role}", "done"))

    with closing(open_store(home)) as store:
        store.write(work)
    return token


def revoke(home: Path, name: str, now_us: int) -> None:
    """Let an operator in no more, and end the operator's sessions.

    Raises
    ------
    KeyError
        If there is no such operator.
    """

    def work(transaction: Transaction) -> int:
        n = transaction.execute(sql.REVOKE_OPERATOR, (now_us, name))
        transaction.execute(sql.FORGET_SESSIONS_OF, (name,))
        transaction.execute(sql.FORGET_LINKS_OF, (name,))
        if n:
            record(transaction, Act(now_us, "command line", ADMIN, "operator revoke", name, "", "done"))
        return n

    with closing(open_store(home)) as store:
        if not store.write(work):
            raise KeyError(f"no operator called {name!r}; see: attune operator list")


def listing(read: Read) -> list[dict[str, Any]]:
    """All operators, by name; never anything secret."""
    names = ("name", "role", "has_password", "created_at_us", "revoked_at_us", "last_session_at_us")
    return [dict(zip(names, row, strict=True)) | {"has_password": bool(row[2])} for row in read(sql.OPERATORS, ())]


def record(transaction: Transaction, act: Act) -> None:
    """Append to the audit, in the transaction of what was done where there is one."""
    last = transaction.read(sql.LAST_HASH)
    previous = last[0][0] if last else GENESIS
    said = asdict(act)
    transaction.execute(sql.APPEND_AUDIT, (*said.values(), previous, chained(previous, said)))


def audited(read: Read) -> tuple[list[dict[str, Any]], int | None]:
    """The audit, oldest first, and the place of the first row that does not fit, or None."""
    rows = [dict(zip(sql.AUDIT_COLUMNS, row, strict=True)) for row in read(sql.AUDIT, ())]
    kept = [{name: value for name, value in row.items() if "hash" not in name} for row in rows]
    hashes = [(row["previous_hash"], row["hash"]) for row in rows]
    return kept, first_broken((said, *pair) for said, pair in zip(kept, hashes, strict=True))


def _hash(token: str) -> str:
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _stretched(password: str, salt: bytes) -> bytes:
    return scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, **_COST)


class Doorkeeper:
    """Doorkeeper: lets people in and knows them again; for several threads, one at a time.

    Parameters
    ----------
    store
        For writing; used by nobody else.
    """

    def __init__(self, store: Store, now_us: Callable[[], int]) -> None:
        self._store, self._now_us = store, now_us
        self._failures: dict[str, tuple[int, int]] = {}  # by name: how many in a row, and when the last was

    def by_link(self, token: str) -> Person | None:
        """Whoever a one-time link is for; it stays good."""
        found = self._store.read(sql.LINK, (_hash(token), self._now_us()))
        return Person(*found[0]) if found else None

    def enter_by_link(self, token: str, password: str = "") -> tuple[str, Person] | None:
        """Use up a one-time link; the token of a new session, and who it is for. None if the link is not good any more.

        Parameters
        ----------
        password
            To come back with, later; none is set if empty.

        Raises
        ------
        ValueError
            If the password is too short or too long; then the link stays good.
        """
        if password and not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
            raise ValueError(f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
        salt = secrets.token_bytes(16)
        kept = f"{salt.hex()}:{_stretched(password, salt).hex()}" if password else None

        def work(transaction: Transaction) -> tuple[str, Person] | None:
            found = transaction.read(sql.LINK, (_hash(token), self._now_us()))
            if not found:
                return None
            transaction.execute(sql.USE_LINK, (_hash(token),))
            if kept:
                transaction.execute(sql.SET_PASSWORD, (kept, found[0][0]))
            return self._begin(transaction, *found[0])

        return self._store.write(work)

    def enter(self, name: str, password: str) -> tuple[str, Person] | None:
        """Sign in; the token of a new session, and who it is for. None where name or password are wrong, or it is too early."""
        if self.waits_s(name) > 0:
            return None
        found = self._store.read(sql.OPERATOR, (name,))
        role, kept = found[0] if found else ("", None)
        salt, _, expected = (kept or f"{'0' * 32}:").partition(":")
        given = _stretched(password[:LONGEST_PASSWORD], bytes.fromhex(salt))  # takes as long for a name that nobody has
        if not kept or not hmac.compare_digest(given.hex(), expected):
            if len(self._failures) >= MOST_NAMES:
                self._failures.clear()
            self._failures[name] = self._failures.get(name, (0, 0))[0] + 1, self._now_us()
            return None
        self._failures.pop(name, None)
        return self._store.write(lambda transaction: self._begin(transaction, name, role))

    def waits_s(self, name: str) -> float:
        """For how long a name has to wait before it may try again."""
        n, last_us = self._failures.get(name, (0, 0))
        if n < FREE_TRIES:
            return 0.0
        wait_s = min(FIRST_WAIT_S * 2.0 ** (n - FREE_TRIES), LONGEST_WAIT_S)
        return max(0.0, last_us / 1e6 + wait_s - self._now_us() / 1e6)

    def _begin(self, transaction: Transaction, name: str, role: str) -> tuple[str, Person]:
        token, now_us = secrets.token_urlsafe(32), self._now_us()
        for statement in sql.FORGET_EXPIRED:
            transaction.execute(statement, (now_us,))
        transaction.execute(sql.BEGIN_SESSION, (_hash(token), name, now_us, now_us + SESSION_S * 1_000_000))
        record(transaction, Act(now_us, name, role, "sign in", name, "", "done"))
        return token, Person(name, role, token)

    def known(self, token: str) -> Person | None:
        """Whose session a token is of; None for one that is over."""
        found = self._store.read(sql.SESSION, (_hash(token), self._now_us()))
        return Person(found[0][0], found[0][1], token) if found else None

    def named(self, name: str) -> Person | None:
        """An operator by name, whom a proxy in front has made sure of."""
        found = self._store.read(sql.OPERATOR, (name,))
        return Person(name, found[0][0], name) if found else None

    def leave(self, token: str) -> None:
        """End a session."""
        self._store.write(lambda transaction: transaction.execute(sql.END_SESSION, (_hash(token),)))

    def note(self, person: Person, action: str, subject: str, reason: str, outcome: str) -> None:
        """Write down what somebody did, or tried."""
        act = Act(self._now_us(), person.name, person.role, action, subject, reason[:500], outcome[:500])
        self._store.write(lambda transaction: record(transaction, act))
