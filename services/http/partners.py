"""API keys of partners, their scopes and limits.

A key is ``sk_…`` (server, scoped) or ``pk_…`` (browser, may send events, and ask for items where it was made so) with 256
random bits. Only its SHA-256 is kept: a fast hash is right for a secret that cannot be guessed. Unknown, revoked and expired
keys are all answered alike.
"""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec

from infra.store.engines import closed_store, open_store
from infra.store.protocol import Transaction
from infra.store.statements.event_names import OWN_NAMES
from infra.store.statements.partners import (
    ADD_KEY,
    ADD_PARTNER,
    EXPIRE_OTHERS,
    IS_KEY,
    IS_PARTNER,
    LIST_KEYS,
    LISTED_COLUMNS,
    NEWEST_KEY,
    REVOKE_ALL,
    VALID_KEYS,
)
from infra.store.watch import StoreWatch

SCOPES: Final = (
    "events:write",
    "recommendations:read",
    "signals:manage",
    "catalog:write",
    "models:read",
    "privacy:erase",
)
PAGE, EXPLAIN = "recommendations:page", "recommendations:explain"  # items for a page; their reasons and weights with them
BROWSER_SCOPES: Final = ("events:write", PAGE, EXPLAIN)
READS_USERS: Final = "recommendations:read"  # a server key with it may vouch for a visitor to a page
ROTATION_OVERLAP_S: Final = 86_400
_origin: Final = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:[0-9]{1,5})?").fullmatch


@dataclass(frozen=True)
class Caller:
    """Caller: whose valid key it is, and what the key may do."""

    partner: str
    scopes: frozenset[str]
    kind: str  # "sk" or "pk"
    key_id: int = 0
    origins: frozenset[str] = frozenset()  # pages that a browser key may be used from
    requests_per_minute: int | None = None  # None: as the settings say


def key_hash(key: str) -> str:
    """Hash a key as it is kept: SHA-256, 64 hexadecimal digits."""
    return sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def add(
    home: Path, name: str, now_us: int, kind: str = "sk", *, scopes: Sequence[str] = (), origins: Sequence[str] = (),
    requests_per_minute: int | None = None,
) -> str:  # fmt: skip
    """Create a partner, if need be, and one more key for it; the key is returned once and cannot be read again.

    Parameters
    ----------
    kind
        ``sk`` for a server key, ``pk`` for a browser key.
    scopes
        What the key may do; without any, all that a server key may, and sending events with a browser key.
    origins
        Pages that a browser key may be used from.
    requests_per_minute
        A limit of this key's own.

    Raises
    ------
    ValueError
        If the name is empty, over 64 characters, or not made of letters, digits, ``-``, ``_`` and ``.``; if there is no such
        scope, or a browser key must not have it; if an origin is none, or the key is none for browsers.
    """
    if not 0 < len(name) <= 64 or not all(c.isalnum() or c in "-_." for c in name):
        raise ValueError("a partner's name is 1 to 64 letters, digits, '-', '_' or '.'")
    admitted = SCOPES if kind == "sk" else BROWSER_SCOPES
    for scope in scopes:
        if scope not in admitted:
            raise ValueError(f"{scope!r} is no scope of such a key; there are {', '.join(admitted)}")
    if origins and kind != "pk":
        raise ValueError("origins belong to browser keys: add --browser")
    for origin in origins:
        require_origin(origin)
    key = f"{kind}_{secrets.token_urlsafe(32)}"

    def work(transaction: Transaction) -> None:
        transaction.execute(ADD_PARTNER, (name, now_us))
        _insert_key(
            transaction,
            name,
            key,
            now_us,
            scopes or (SCOPES if kind == "sk" else BROWSER_SCOPES[:1]),
            origins,
            requests_per_minute,
        )

    open_store(home).write(work)
    return key


def require_origin(text: str) -> str:
    """Check an origin as an operator types it.

    Raises
    ------
    ValueError
        If it is not scheme, host and port as browsers send them.

    Examples
    --------
    >>> require_origin("https://shop.example")
    'https://shop.example'
    """
    if not _origin(text):
        raise ValueError("an origin is scheme, host and port in lower case, such as https://shop.example")
    return text


def keep(home: Path, name: str, key: str, now_us: int) -> None:
    """Make sure that a key which the caller already holds is a valid server key of the partner."""

    def work(transaction: Transaction) -> None:
        transaction.execute(ADD_PARTNER, (name, now_us))
        if not transaction.read(IS_KEY, (key_hash(key),)):
            _insert_key(transaction, name, key, now_us, SCOPES)

    open_store(home).write(work)


def _insert_key(
    transaction: Transaction, name: str, key: str, now_us: int, scopes: Sequence[str], origins: Sequence[str] = (),
    requests_per_minute: int | None = None,
) -> None:  # fmt: skip
    pages = msgspec.json.encode(sorted(set(origins))).decode()
    limits = (" ".join(dict.fromkeys(scopes)), pages, requests_per_minute)
    transaction.execute(ADD_KEY, (name, key[:2], key_hash(key), key[:7], *limits, now_us))


def rotate(home: Path, name: str, now_us: int) -> str:
    """Issue a new server key with the scopes of the newest one; the old ones stay valid for `ROTATION_OVERLAP_S` seconds."""
    _require(home, name)
    until_us = now_us + ROTATION_OVERLAP_S * 1_000_000
    store = open_store(home)
    newest = store.read(NEWEST_KEY, (name,))
    scopes, limit = newest[0] if newest else ("", None)
    # The new key first: whatever happens in between, the partner is never left with keys that end.
    key = add(home, name, now_us, scopes=scopes.split(), requests_per_minute=limit)
    store.write(lambda transaction: transaction.execute(EXPIRE_OTHERS, (until_us, name, key_hash(key))))
    return key


def revoke(home: Path, name: str, now_us: int) -> int:
    """Refuse every key of a partner from now on; how many were still valid."""
    _require(home, name)
    return open_store(home).write(lambda transaction: transaction.execute(REVOKE_ALL, (now_us, name)))


def listing(home: Path) -> list[dict[str, Any]]:
    """Partners with the hints of their keys, oldest first; never a key."""
    named = [dict(zip(LISTED_COLUMNS, row, strict=True)) for row in open_store(home).read(LIST_KEYS)]
    return [row | {"origins": msgspec.json.decode(row["origins"] or "[]")} for row in named]


def own_names(home: Path, name: str) -> dict[str, str]:
    """Own names of event types of a partner, with the types that they mean."""
    _require(home, name)
    kept = open_store(home).read(OWN_NAMES, (name,))
    return msgspec.json.decode(kept[0][0], type=dict[str, str]) if kept else {}


def _require(home: Path, name: str) -> None:
    if not open_store(home).read(IS_PARTNER, (name,)):
        raise KeyError(f"no partner called {name!r}; see: attune partner list")


class Keys:
    """Authenticator by the valid keys in memory: one look-up per request, re-read when the store has changed.

    `authenticate` asks the store for changes at most every `check_s` seconds, so a revoked key is refused within that time.
    While the store cannot be read, nobody can revoke a key either, and the keys known before stay valid.

    Attributes
    ----------
    origins
        Of all browser keys together.
    """

    def __init__(self, home: Path, check_s: float = 0.2) -> None:
        self._store = closed_store(home, wait_ms=0)  # requests wait behind this
        self._watch = StoreWatch(self._store, "keys", check_s)
        self._callers: dict[str, tuple[Caller, int | None]] = {}
        self._vouching: dict[str, list[tuple[str, int | None]]] = {}
        self.origins: frozenset[str] = frozenset()

    def authenticate(self, key: str, now_s: float) -> Caller | None:
        """Whose key this is, or None for one that is unknown, expired or revoked.

        Parameters
        ----------
        now_s
            Wall clock, seconds since 1970.
        """
        self._watch.look(now_s, self._read)
        caller, expires_at_us = self._callers.get(key_hash(key), (None, None))
        return None if expires_at_us is not None and expires_at_us <= now_s * 1e6 else caller

    def vouching(self, partner: str, now_s: float) -> list[str]:
        """Hashes of a partner's valid server keys that may read what is known of users."""
        self._watch.look(now_s, self._read)
        return [hash_ for hash_, until_us in self._vouching.get(partner, ()) if until_us is None or until_us > now_s * 1e6]

    def _read(self) -> None:
        callers: dict[str, tuple[Caller, int | None]] = {}
        vouching: dict[str, list[tuple[str, int | None]]] = {}
        for hash_, partner, scopes, kind, id_, origins, limit, expires_at_us in self._store.read(VALID_KEYS):
            allowed = frozenset(msgspec.json.decode(origins))
            callers[hash_] = Caller(partner, frozenset(scopes.split()), kind, id_, allowed, limit), expires_at_us
            if kind == "sk" and READS_USERS in scopes.split():
                vouching.setdefault(partner, []).append((hash_, expires_at_us))
        self._callers, self._vouching = callers, vouching
        self.origins = frozenset().union(*(caller.origins for caller, _ in callers.values()))
