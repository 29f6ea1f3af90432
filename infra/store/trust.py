"""Trust in the store: browser events are appended with the belief that `models.trust` gives them, in one transaction.

Counters move only by what is new in the log: an event sent again, or of an erased user, uses nothing up.
"""

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import Final, NamedTuple

import msgspec

from infra.store.identities import all_resolved
from infra.store.statements import trust as sql
from infra.store.statements.decisions import FORGET_CREDITS
from infra.store.statements.events import TOLD_BY_PAGES, TOLD_OF_ORDER
from infra.store.statements.quarantine import SUPERSEDE
from infra.store.transaction import Row, Transaction
from models import trust
from models.schema import DAY_US, EVENT_COLUMNS, SAID_COLUMNS
from models.trust import ANYWHERE, OUTCOMES, PARAMS, Admitted, Item, TrustParams, Visitor

_ID, _USER, _TYPE, _AT, _ITEM = (
    EVENT_COLUMNS.index(name) for name in ("event_id", "user_id", "event_type", "occurred_at_us", "item_id")
)


_END: Final = len(EVENT_COLUMNS)
_ORDER: Final = _END + SAID_COLUMNS.index("order_id")


class Sender(NamedTuple):
    """Sender of browser events: the key, and where it was used.

    Attributes
    ----------
    secret
        The partner's key of pseudonyms, under which networks are hashed too.
    peer
        Address, which is kept nowhere; empty where there is none.
    """

    partner: str
    secret: bytes
    key_id: int
    peer: str
    received_at_us: int


def append_from_server(transaction: Transaction, partner: str, rows: Sequence[Row], received_at_us: int) -> list[bool]:
    """Append events of a server.

    Parameters
    ----------
    rows
        In the order of `EVENT_COLUMNS`, each with what its sender said beside, in that of `SAID_COLUMNS`.

    Returns
    -------
    Per row, whether it is new.
    """
    rows = _by_identity(transaction, rows)
    note_outcomes(transaction, partner, ((row[_TYPE], row[_AT]) for row in rows))
    news = transaction.append((partner, *row[:_END], received_at_us, 0, 1, *row[_END:]) for row in rows)
    supersede_pages(transaction, partner, [row[_ORDER] for row in rows], received_at_us)
    return news


def _by_identity(transaction: Transaction, rows: Sequence[Row]) -> Sequence[Row]:
    """Rows of anonymous visitors who are known by now as those of their users."""
    known = all_resolved(transaction.read, (row[_USER] for row in rows))
    return [(*row[:_USER], known.get(row[_USER], row[_USER]), *row[_USER + 1 :]) for row in rows] if known else rows


def supersede_pages(transaction: Transaction, partner: str, order_ids: Iterable[str | None], now_us: int) -> None:
    """Leave out for good what pages told of orders that their shop tells of itself."""
    named = msgspec.json.encode([order_id for order_id in set(order_ids) if order_id is not None]).decode()
    if named == "[]":
        return
    pages = msgspec.json.encode([seq for (seq,) in transaction.read(TOLD_BY_PAGES, (partner, named))]).decode()
    if pages != "[]":
        transaction.execute(SUPERSEDE, (now_us, now_us, pages))
        transaction.execute(FORGET_CREDITS, (pages,))


def note_outcomes(transaction: Transaction, partner: str, events: Iterable[tuple[str, int]]) -> None:
    """Note of which outcomes a server or a file speaks; events are (type, instant)."""
    newest: dict[str, int] = {}
    for kind, at_us in events:
        if kind in OUTCOMES and at_us > newest.get(kind, -1):
            newest[kind] = at_us
    for kind, at_us in newest.items():
        transaction.execute(sql.SERVER_TOLD, (partner, kind, at_us))


def append_from_browser(
    transaction: Transaction, sender: Sender, rows: Sequence[Row], params: TrustParams = PARAMS
) -> list[bool]:
    """Append events of a browser key, under ids of their own, believed as far as the quotas of today reach.

    Parameters
    ----------
    rows
        As `append_from_server` takes them.

    Returns
    -------
    Per row, whether it is new.
    """
    ledger = _Ledger(transaction, sender, params)
    news = []
    for row in _by_identity(transaction, rows):
        if (
            row[_ORDER]
            and row[_TYPE] == "purchase"
            and transaction.read(TOLD_OF_ORDER, (sender.partner, row[_ORDER], row[_ITEM]))
        ):
            news.append(False)
            continue
        believed = ledger.believes(row)
        event = (trust.kept_id(row[_ID]), *row[1:_END])
        (new,) = transaction.append([(sender.partner, *event, sender.received_at_us, 1, int(believed), *row[_END:])])
        if new:
            ledger.count(row)
        news.append(new)
    ledger.keep()
    return news


class _Ledger:
    """Counters of one batch: read where they are needed, written once."""

    def __init__(self, transaction: Transaction, sender: Sender, params: TrustParams) -> None:
        self._transaction = transaction
        self._sender = sender
        self._params = params
        self._day = sender.received_at_us // DAY_US
        self._block = trust.network(sender.peer)
        self._network = trust.network_of_day(sender.secret, self._block, self._day)
        self._key = f"key {sender.key_id}"
        self._visitors: dict[str, Visitor] = {}
        self._items: dict[str, tuple[Item, str]] = {}
        self._seen: set[str] = set()
        self._marked: set[str] = set()
        self._has_admitted = False

    @cached_property
    def _admitted(self) -> dict[str, Admitted]:
        found = self._transaction.read(sql.ADMITTED, (self._day, self._sender.partner, self._network, self._key))
        return {self._network: Admitted(), self._key: Admitted()} | {name: Admitted(*n) for name, *n in found}

    @cached_property
    def _has_catalog(self) -> bool:
        return bool(self._transaction.read(sql.HAS_CATALOG, (self._sender.partner,))[0][0])

    @cached_property
    def _told_by_server(self) -> Collection[str]:
        since_us = trust.speaks_since_us(self._sender.received_at_us, self._params)
        return {kind for (kind,) in self._transaction.read(sql.TOLD_BY_SERVER, (self._sender.partner, since_us))}

    def _visitor(self, user_id: str) -> Visitor:
        if user_id not in self._visitors:
            ((is_vouched, n_events),) = self._transaction.read(sql.VISITOR, (user_id, self._day))
            self._visitors[user_id] = Visitor(bool(is_vouched), n_events)
        return self._visitors[user_id]

    def _item(self, item_id: str) -> tuple[Item, str]:
        if item_id not in self._items:
            ((listed, is_known, marks),) = self._transaction.read(sql.ITEM, (self._sender.partner, item_id))
            in_catalog = bool(listed) if self._has_catalog and item_id != ANYWHERE else None
            self._items[item_id] = Item(in_catalog, bool(is_known)), marks or ""
        return self._items[item_id]

    def _is_admitted(self, visitor: Visitor) -> bool:
        return trust.is_admitted(visitor, self._admitted[self._network], self._admitted[self._key], self._params)

    def believes(self, row: Row) -> bool:
        """Whether an event counts in what is learned for others."""
        visitor = self._visitor(row[_USER])
        if not self._is_admitted(visitor):
            return False
        told = self._told_by_server if row[_TYPE] in OUTCOMES else ()
        return trust.is_believed(visitor, row[_TYPE], self._item(row[_ITEM] or ANYWHERE)[0], told)

    def count(self, row: Row) -> None:
        """Count a new event of a visitor who counts, believed or not; its network leaves a mark at its item."""
        user_id, item_id = row[_USER], row[_ITEM] or ANYWHERE
        visitor = self._visitor(user_id)
        if not self._is_admitted(visitor):
            return
        if visitor.n_events is None:
            for name in (self._network, self._key):
                self._admitted[name] = self._admitted[name].plus(is_vouched=visitor.is_vouched)
            self._has_admitted = True
        self._visitors[user_id] = visitor._replace(n_events=(visitor.n_events or 0) + 1)
        self._seen.add(user_id)
        self._mark(item_id)

    def _mark(self, item_id: str) -> None:
        item, marks = self._item(item_id)
        if item.is_known or item.in_catalog is False:
            return
        longer = trust.marked(marks, trust.mark(self._sender.secret, self._block, item_id))
        if longer != marks:
            self._items[item_id] = item._replace(is_known=trust.is_enough(longer, self._params)), longer
            self._marked.add(item_id)

    def keep(self) -> None:
        """Write what has changed."""
        write, partner = self._transaction.execute, self._sender.partner
        for user_id in self._seen:
            write(sql.KEEP_VISITOR, (user_id, self._day, self._visitors[user_id].n_events))
        for name in (self._network, self._key) if self._has_admitted else ():
            write(sql.KEEP_ADMITTED, (self._day, partner, name, *self._admitted[name]))
        for item_id in self._marked:
            item, marks = self._items[item_id]
            write(sql.KEEP_ITEM, (partner, item_id, "" if item.is_known else marks, int(item.is_known), self._day))
