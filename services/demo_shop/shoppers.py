"""Shoppers: what the shop keeps by a cookie that says nothing: a cart, a comparison, and whether Attune may watch."""

import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

MOST: Final = 5_000  # shoppers in memory; the one who was away longest is forgotten
CONSENTS: Final = ("pending", "granted", "denied")
MOST_COMPARED: Final = 4
MOST_PIECES: Final = 20


@dataclass
class Shopper:
    """Shopper of this demo; nothing about a person.

    Attributes
    ----------
    user_id
        What the shop calls the shopper when it speaks to Attune.
    cart
        Pieces by item id.
    """

    user_id: str = field(default_factory=lambda: f"shopper-{secrets.token_hex(8)}")
    consent: str = "pending"
    cart: dict[str, int] = field(default_factory=dict)
    compared: list[str] = field(default_factory=list)

    @property
    def n_pieces(self) -> int:
        """Pieces in the cart."""
        return sum(self.cart.values())

    def put(self, item_id: str) -> None:
        """Put one more piece into the cart."""
        if self.n_pieces < MOST_PIECES:
            self.cart[item_id] = self.cart.get(item_id, 0) + 1

    def compare(self, item_id: str) -> None:
        """Put an item beside the others that are compared; the oldest goes."""
        self.compared = [*(one for one in self.compared if one != item_id), item_id][-MOST_COMPARED:]


class Shoppers:
    """Shoppers by their cookie."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Shopper] = OrderedDict()

    def of(self, cookie: str | None) -> tuple[str, Shopper]:
        """The shopper of a cookie, and the cookie: a new pair for one that nobody knows.

        Examples
        --------
        >>> shoppers = Shoppers()
        >>> cookie, one = shoppers.of(None)
        >>> shoppers.of(cookie)[1] is one, shoppers.of("forged")[0] == "forged"
        (True, False)
        """
        if cookie is None or cookie not in self._known:
            cookie = secrets.token_urlsafe(16)
            self._known[cookie] = Shopper()
        self._known.move_to_end(cookie)
        while len(self._known) > MOST:
            self._known.popitem(last=False)
        return cookie, self._known[cookie]
