"""Pacing of a budget over a day: what may have been spent by an instant, and which discounts are worth what is left.

What may be spent is a straight line, with a small lead: half an hour's share may be spent ahead, so that the first visitors of
a day get something too. Where visitors want less than the line allows, what is left stays for later in the day.

Where they want more, the budget has a price: what each of its cents earns with the last visitor whom it reaches. It is learned
from those who came lately (`Bid`), whether they got something or not, and a discount goes to those alone to whom it is worth
more. The further spending is behind the line, the lower the price: that is what keeps the two together, whatever the visitors
of an hour are like. The rule is the resolving of the deterministic problem, its dual price taken from a sample of arrivals.

Source: Devanur and Hayes, *The AdWords problem: online keyword matching with budgeted bidders under random permutations*,
EC 2009 (dual prices from a sample); Jasin and Kumar, Mathematics of Operations Research 37, 2012 (resolving).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from models.schema import DAY_US

LEAD_US: Final = DAY_US // 48
LEAST_BIDS: Final = 20  # of which a price can be told
MOST_BIDS: Final = 256  # that are looked at, the newest


class Bid(NamedTuple):
    """A visitor who came and could be offered a discount.

    Attributes
    ----------
    at_us
        When that was.
    worth
        What the discount is estimated to earn, in the shop's currency, per cent of the budget.
    cents
        That it would promise, hundredths of the currency, above 0.
    """

    at_us: int
    worth: float
    cents: int


class Price(NamedTuple):
    """Price of a budget.

    Attributes
    ----------
    of_a_cent
        In the shop's currency, >= 0.
    reach
        Share of the bids that are worth more, in [0, 1].
    """

    of_a_cent: float
    reach: float


FREE: Final = Price(0.0, 1.0)


@dataclass(frozen=True)
class Pace:
    """A day's budget at an instant.

    Attributes
    ----------
    bids
        Gives those of the visitors who came lately, in any order; asked only where a discount is called for.
    budget_cents, spent_cents
        Of the day, and promised on it so far.
    """

    bids: Callable[[], Sequence[Bid]]
    budget_cents: int
    spent_cents: int
    now_us: int

    def price(self) -> Price:
        """Price of the budget now.

        What the line has left is to be spent within half the lead, or within as long as the budget takes for two discounts,
        where that is longer, and on the day that there is: the price is that at which so much is wanted, if visitors come as
        they came lately.

        Examples
        --------
        >>> noon, hour = DAY_US // 2, DAY_US // 24
        >>> bids = [Bid(noon - k * hour // 60, 0.01 * k, 100) for k in range(1, 61)]  # 100 a minute, worth up to .60
        >>> [Pace(lambda: bids, 24 * 60 * wanted, 12 * 60 * wanted, noon).price() for wanted in (10, 50)]
        [Price(of_a_cent=0.51, reach=0.15), Price(of_a_cent=0.0, reach=1.0)]
        """
        bids = self.bids()
        if len(bids) < LEAST_BIDS:
            return FREE
        at_us, worth, cents = (np.array(column) for column in zip(*bids, strict=True))
        two_us = 2.0 * cents.mean() * DAY_US / max(self.budget_cents, 1)
        within_us = max(min(max(LEAD_US / 2, two_us), DAY_US - self.now_us % DAY_US), 1.0)
        room = max(allowed_cents(self.budget_cents, self.now_us) - self.spent_cents, 0)
        order = np.argsort(-worth, kind="stable")
        wanted = cents[order].cumsum() / max(self.now_us - at_us.min(), 1)
        paid = int(np.searchsorted(wanted, room / within_us, side="right"))
        return Price(max(float(worth[order[paid]]), 0.0), paid / len(order)) if paid < len(order) else FREE


def allowed_cents(budget_cents: int, now_us: int) -> int:
    """Share of a day's budget that may have been spent by an instant of that day (UTC), hundredths of the currency.

    Never more than the budget, and all of it at the day's end.

    Examples
    --------
    >>> hour_us = 3_600_000_000
    >>> [allowed_cents(4_800, hour * hour_us) for hour in (0, 1, 12, 23, 24 + 12)]
    [100, 300, 2500, 4700, 2500]
    """
    if budget_cents < 0:
        raise ValueError(f"a budget must be 0 or more, got {budget_cents}")
    return min(budget_cents, budget_cents * (now_us % DAY_US + LEAD_US) // DAY_US)
