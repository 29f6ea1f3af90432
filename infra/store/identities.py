"""Identities: joins the histories of an anonymous visitor and a user, once, and reads one as the other from then on.

Joining rewrites the log: afterwards every fold, of the worker and of a rebuild, finds one visitor, so there is nothing that
they could do differently. Whoever has folded already is told by the table `identities`: the online features by its ids, the
offline tables by its instants.
"""

from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec

from infra.store.protocol import Read
from infra.store.statements import identities as sql
from infra.store.transaction import Transaction

Outcome = Literal["joined", "known"]
ANOTHER: Final = "anonymous_id is another user's already"
A_USER: Final = "anonymous_id is a user, with whom others were joined already"


def join(transaction: Transaction, partner: str, anonymous_id: str, user_id: str, now_us: int) -> Outcome:
    """Join two pseudonyms of a partner.

    Raises
    ------
    ValueError
        If the anonymous visitor is somebody else already: two people at one device are two, and the first stays.
    """
    user_id = resolved(transaction.read, user_id)
    before = resolved(transaction.read, anonymous_id)
    if before == user_id:
        return "known"
    if before != anonymous_id:
        raise ValueError(ANOTHER)
    if transaction.read(sql.ANONYMOUS_OF, (anonymous_id,)):
        raise ValueError(A_USER)
    for statement in sql.FORGET_OLD:
        transaction.execute(statement, (anonymous_id, user_id))
    transaction.execute(sql.JOIN, (partner, anonymous_id, user_id, now_us))
    for statement in sql.MOVE:
        transaction.execute(statement, (anonymous_id, user_id))
    transaction.execute(sql.DUE_NOW, (user_id, now_us))
    return "joined"


class Joins:
    """Joins since the last look: for whoever remembers something of visitors, and has to forget it of those."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._seen: int | None = None

    def lately(self) -> list[str]:
        """Users with whom anonymous visitors were joined since the last look, and these; nobody at the first."""
        if self._seen is None:
            self._seen = int(self._read(sql.NEWEST_JOIN, ())[0][0])
        found = list[str]()
        for number, *both in self._read(sql.JOINED_SINCE, (self._seen,)):
            self._seen = int(number)
            found += both
        return found


def resolved(read: Read, user_id: str) -> str:
    """Whom a pseudonym stands for: the user, for an anonymous visitor who became one; else itself."""
    found = read(sql.KNOWN_AS, (user_id,))
    return str(found[0][0]) if found else user_id


def any_known(read: Read) -> bool:
    """Whether anybody was ever identified."""
    return bool(read(sql.ANY_IDENTITY, ()))


def all_resolved(read: Read, user_ids: Iterable[Any]) -> dict[str, str]:
    """Those of some pseudonyms that stand for another one, and for which."""
    if not any_known(read):
        return {}
    return dict(read(sql.KNOWN_AMONG, (msgspec.json.encode(sorted(set(user_ids))).decode(),)))


def dealt_as(read: Read, user_id: str) -> str:
    """The pseudonym by which a visitor is dealt variants and profiles: the one that was dealt first."""
    found = read(sql.DEALT_AS, (user_id,))
    return str(found[0][0]) if found else user_id
