"""Browser events in the store: what counts for others, by visitor, network, key, item and outcome."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from infra.store.engines import open_store
from infra.store.protocol import Store
from infra.store.statements.erasure import BURY
from infra.store.trust import Sender, append_from_browser, append_from_server
from models.events.rules import to_row
from models.events.said import said
from models.schema import DAY_US
from models.trust import TrustParams, kept_id

NOW_US = 20_000 * DAY_US
TS = "2024-10-04T00:00:00Z"
FEW = TrustParams(strangers_a_network=2, vouched_a_network=3, strangers_a_key=4, events_a_visitor=3, networks_an_item=2)


class Shop:
    """A store, and who sends to it."""

    def __init__(self, home: Path) -> None:
        self.store: Store = open_store(home)
        self.n = 0

    def rows(self, user: str, items: Sequence[str | None], kind: str) -> list[tuple[Any, ...]]:
        found = []
        for item in items:
            self.n += 1
            told = {"event_id": f"e{self.n}", "type": kind if item else "search", "item_id": item, "ts": TS}
            found.append((*to_row(told, user), *said(told)))
        return found

    def server(self, user: str, *items: str | None, kind: str = "item_view") -> None:
        rows = self.rows(user, items, kind)
        self.store.write(lambda transaction: append_from_server(transaction, "shop", rows, NOW_US))

    def page(
        self, user: str, *items: str | None, kind: str = "item_view", peer: str = "192.0.2.7", day: int = 0, key_id: int = 1,
        params: TrustParams = FEW,
    ) -> list[int]:  # fmt: skip
        """Send from a page; per event, whether it is believed."""
        rows = self.rows(user, items, kind)
        sender = Sender("shop", bytes(32), key_id, peer, NOW_US + day * DAY_US)
        self.store.write(lambda transaction: append_from_browser(transaction, sender, rows, params))
        told = "SELECT believed FROM events WHERE event_id = ?"
        return [self.store.read(told, (kept_id(row[0]),))[0][0] for row in rows]

    def table(self, name: str) -> list[tuple[Any, ...]]:
        return self.store.read(f"SELECT * FROM {name} ORDER BY 1, 2, 3")

    def list(self, *items: str) -> None:
        put = "INSERT INTO catalog_items (partner, item_id, kind, updated_at_us, change) VALUES ('shop', ?, 'item', 1, 1)"
        self.store.write(lambda transaction: transaction.executemany(put, [(item,) for item in items]))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    opened = Shop(tmp_path)
    yield opened
    opened.store.close()


def test_strangers_count_at_an_item_once_visitors_came_to_it_from_enough_networks(shop: Shop) -> None:
    assert shop.page("a", "lamp") == [0]
    assert shop.page("b", "lamp") == [0]  # the same network
    assert shop.page("c", "lamp", None, peer="198.51.100.1") == [0, 0]
    assert shop.page("a", "lamp", "desk") == [1, 0]
    told = [(item, len(marks), is_known) for _, item, marks, is_known, _ in shop.table("trust_items")]
    assert told == [("", 4, 0), ("desk", 4, 0), ("lamp", 0, 1)]


def test_one_network_makes_no_item_known_however_many_days_it_takes(shop: Shop) -> None:
    told = [shop.page(f"u{day}", "lamp", peer=f"192.0.2.{day}", day=day) for day in range(9)]
    assert told == [[0]] * 9


def test_so_many_strangers_count_by_way_of_a_network_and_of_a_key_and_tomorrow_again(shop: Shop) -> None:
    for peer in ("203.0.113.1", "203.0.114.1"):
        shop.page(peer, "lamp", peer=peer, key_id=2)
    assert [shop.page(user, "lamp") for user in "abcd"] == [[1], [1], [0], [0]]
    assert shop.page("a", "lamp", peer="198.51.100.1") == [1]  # who counts, counts from everywhere
    assert [shop.page(user, "lamp", peer=f"198.51.{n}.1") for n, user in enumerate("efg")] == [[1], [1], [0]]  # four a key
    assert shop.page("c", "lamp", day=1) == [1]


def test_a_visitor_of_whom_the_server_spoke_counts_at_once_and_many_of_them_by_way_of_a_network(shop: Shop) -> None:
    for user in "abcd":
        shop.server(user, None)
    assert [shop.page(user, "lamp") for user in "abcd"] == [[1], [1], [1], [0]]
    assert shop.page("stranger", "lamp") == [0]


def test_so_many_events_of_a_visitor_count_in_a_day(shop: Shop) -> None:
    shop.server("a", None)
    assert shop.page("a", *["lamp"] * 5) == [1, 1, 1, 0, 0]
    assert shop.page("a", "lamp", day=1) == [1]


def test_what_the_catalogue_does_not_have_is_believed_of_nobody(shop: Shop) -> None:
    shop.server("a", None)
    shop.list("lamp")
    assert shop.page("a", "lamp", "ghost") == [1, 0]
    assert [row[1] for row in shop.table("trust_items")] == ["lamp"]


def test_an_outcome_of_which_the_server_speaks_is_believed_of_no_page(shop: Shop) -> None:
    shop.server("a", None)
    assert shop.page("a", "lamp", kind="purchase") == [1]
    shop.server("b", "lamp", kind="purchase")
    assert shop.page("a", "lamp", kind="purchase") == [0]
    assert shop.page("a", "lamp", kind="add_to_cart") == [1]
    assert shop.page("a", "lamp", kind="purchase", day=31) == [1]  # it has spoken of none for a month


def test_what_is_sent_again_or_of_an_erased_user_uses_nothing_up(shop: Shop) -> None:
    shop.server("a", None)
    rows = shop.rows("a", ["lamp"], "item_view")
    sender = Sender("shop", bytes(32), 1, "192.0.2.7", NOW_US)
    for _ in range(5):
        shop.store.write(lambda transaction: append_from_browser(transaction, sender, rows, FEW))
    assert shop.table("trust_visitors") == [("a", 20_000, 1)]
    shop.store.write(lambda transaction: transaction.execute(BURY, ("gone", "shop", "r", 2 * NOW_US)))
    gone = shop.rows("gone", ["lamp"], "item_view")
    assert shop.store.write(lambda transaction: append_from_browser(transaction, sender, gone, FEW)) == [False]
    assert [row[0] for row in shop.table("trust_visitors")] == ["a"]


def test_no_address_is_kept_and_a_network_has_another_name_every_day(shop: Shop, tmp_path: Path) -> None:
    for day in (0, 1):
        shop.page("a", "lamp", day=day)
    names = [row[2] for row in shop.table("trust_senders")]
    assert sorted(name for name in names if name.startswith("key")) == ["key 1", "key 1"]
    assert len({name for name in names if not name.startswith("key")}) == 2
    assert b"192.0" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_ids_of_pages_and_of_servers_never_meet(shop: Shop) -> None:
    page, server = shop.rows("a", ["lamp"], "purchase"), shop.rows("b", ["lamp"], "purchase")
    server = [(page[0][0], *server[0][1:])]
    sender = Sender("shop", bytes(32), 1, "192.0.2.7", NOW_US)
    assert shop.store.write(lambda transaction: append_from_browser(transaction, sender, page)) == [True]
    assert shop.store.write(lambda transaction: append_from_server(transaction, "shop", server, NOW_US)) == [True]
    assert shop.store.write(lambda transaction: append_from_browser(transaction, sender, page)) == [False]
