"""Trust: how far an event counts in what is learned for others. The one rule; `docs/trust.md` says it in prose.

A server key and a file are the partner's own word: believed. A browser key stands in every page of a shop, so whoever has one
is anybody. What it tells counts for its own visitor at once (session, signals, erasure) and for others only within quotas:

- of a visitor of whom the partner's server or a file has spoken (*vouched*), up to `TrustParams.vouched_a_network` such
  visitors a day by way of one network;
- of any other visitor (*stranger*), up to `strangers_a_network` a day, and only what is about an item to which visitors have
  come from `networks_an_item` networks;
- never about an item that the partner's catalogue, where there is one, does not have;
- never about an outcome (`OUTCOMES`) of which the partner's server speaks.

It is decided once, when the event is appended, so that flows and live tails agree. Networks are blocks of addresses that one
owner may hold; what is kept of them are keyed hashes, cut short.
"""

from collections.abc import Collection
from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple

from models.schema import DAY_US

OUTCOMES: Final = ("add_to_cart", "purchase")  # what moves rewards, experiments and action weights
RESERVED: Final = "\x1f"  # begins the ids under which browser events are kept; no id that is sent may begin with it
ANYWHERE: Final = ""  # in place of the item, of what is about none


@dataclass(frozen=True)
class TrustParams:
    """Quotas of what browser keys may add to what is learned for others, a UTC day and partner.

    Attributes
    ----------
    strangers_a_network, vouched_a_network
        Visitors that count by way of one network.
    strangers_a_key, vouched_a_key
        Visitors that count by way of one key.
    events_a_visitor
        Events of one visitor that count.
    networks_an_item
        From so many networks visitors have to come to an item, or to the shop, before strangers count there.
    unknown_days
        An item to which nobody new has come for so many days begins anew.
    silent_days
        After so many days without an outcome of a type, the server speaks of it no more.
    budget_share
        Of a discount budget, what strangers may draw.
    """

    strangers_a_network: int = 1
    vouched_a_network: int = 20
    strangers_a_key: int = 2_000
    vouched_a_key: int = 50_000
    events_a_visitor: int = 300
    networks_an_item: int = 5
    unknown_days: int = 30
    silent_days: int = 30
    budget_share: float = 0.25


PARAMS: Final = TrustParams()


class Admitted(NamedTuple):
    """Visitors that count today by way of a network or a key, by their standing."""

    strangers: int = 0
    vouched: int = 0

    def plus(self, *, is_vouched: bool) -> "Admitted":
        """One visitor more."""
        return Admitted(self.strangers + (not is_vouched), self.vouched + is_vouched)


class Visitor(NamedTuple):
    """Visitor of a browser event: whether the server has spoken of them, and how many of their events count today.

    None: they do not count yet.
    """

    is_vouched: bool
    n_events: int | None


class Item(NamedTuple):
    """Item of a browser event: whether the catalogue has it (None: there is no catalogue), and whether enough networks came."""

    in_catalog: bool | None
    is_known: bool


def is_admitted(visitor: Visitor, by_network: Admitted, by_key: Admitted, params: TrustParams = PARAMS) -> bool:
    """Whether a visitor counts today.

    Examples
    --------
    >>> nobody, stranger, vouched = Admitted(), Visitor(False, None), Visitor(True, None)
    >>> is_admitted(stranger, nobody, nobody), is_admitted(stranger, Admitted(strangers=1), nobody)
    (True, False)
    >>> is_admitted(vouched, Admitted(strangers=1), nobody), is_admitted(Visitor(False, 299), Admitted(9, 9), nobody)
    (True, True)
    >>> is_admitted(Visitor(True, 300), nobody, nobody)
    False
    """
    if visitor.n_events is not None:
        return visitor.n_events < params.events_a_visitor
    if visitor.is_vouched:
        return by_network.vouched < params.vouched_a_network and by_key.vouched < params.vouched_a_key
    return by_network.strangers < params.strangers_a_network and by_key.strangers < params.strangers_a_key


def is_believed(visitor: Visitor, event_type: str, item: Item, told_by_server: Collection[str]) -> bool:
    """Whether an event of a visitor who counts is believed.

    Parameters
    ----------
    told_by_server
        Outcomes of which the partner's server speaks.

    Examples
    --------
    >>> stranger, vouched = Visitor(False, 0), Visitor(True, 0)
    >>> [is_believed(who, "item_view", Item(True, known), ()) for who in (stranger, vouched) for known in (False, True)]
    [False, True, True, True]
    >>> is_believed(vouched, "item_view", Item(False, True), ())
    False
    >>> is_believed(vouched, "purchase", Item(True, True), {"purchase"})
    False
    """
    if event_type in told_by_server or item.in_catalog is False:
        return False
    return visitor.is_vouched or item.is_known


def speaks_since_us(now_us: int, params: TrustParams = PARAMS) -> int:
    """Since when a server has to have spoken of an outcome, for a page not to be believed about it."""
    return now_us - params.silent_days * DAY_US


def network(peer: str) -> str:
    """Block of addresses that one owner may hold: /24 of IPv4, /48 of IPv6; the text itself where it is no address.

    Examples
    --------
    >>> network("192.0.2.7"), network("::ffff:192.0.2.7"), network("2001:db8:7:1::2") == network("2001:db8:7:9::1")
    ('192.0.2', '192.0.2', True)
    """
    try:
        address: IPv4Address | IPv6Address | None = ip_address(peer)
    except ValueError:
        return peer
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return address.packed[:6].hex()
        address = address.ipv4_mapped
    return str(address).rpartition(".")[0]


def network_of_day(key: bytes, block: str, utc_day: int) -> str:
    """Name of a network on one day, 16 hexadecimal digits: under a key, and another one every day.

    Examples
    --------
    >>> network_of_day(bytes(32), "192.0.2", 20_000) == network_of_day(bytes(32), "192.0.2", 20_001)
    False
    """
    return blake2b(f"{utc_day}/{block}".encode(), key=key, digest_size=8, person=b"attune-network").hexdigest()


def mark(key: bytes, block: str, item_id: str) -> str:
    """Mark that a network leaves at an item, 4 hexadecimal digits; too short, and another one at each item, to be followed."""
    text = f"{block}/{item_id}".encode("utf-8", "surrogatepass")
    return blake2b(text, key=key, digest_size=2, person=b"attune-item-mark").hexdigest()


def marked(marks: str, new: str) -> str:
    """Marks of an item with one more.

    Examples
    --------
    >>> marked("00a1", "00a2"), marked("00a100a2", "00a1")
    ('00a100a2', '00a100a2')
    """
    held = {marks[at : at + len(new)] for at in range(0, len(marks), len(new))}
    return marks if new in held else marks + new


def is_enough(marks: str, params: TrustParams = PARAMS) -> bool:
    """Whether visitors have come from enough networks."""
    return len(marks) >= 4 * params.networks_an_item


def kept_id(event_id: str) -> str:
    """Id under which a browser event is kept: no event of a server or a file can have it.

    Examples
    --------
    >>> kept_id("order-1") == "order-1", kept_id("order-1").endswith("order-1")
    (False, True)
    """
    return RESERVED + event_id


def sent_id(event_id: str) -> str:
    """Id as it was sent, of an event of the log.

    Examples
    --------
    >>> sent_id(kept_id("order-1")), sent_id("order-1")
    ('order-1', 'order-1')
    """
    return event_id.removeprefix(RESERVED)
