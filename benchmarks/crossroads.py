"""Crossroads: visits that stand at a moment at which a signal may be sent, and what comes of each with it and without.

A real shop sees one of the two; here a visit can be walked on from the moment as often as one likes, so what a signal is
worth to a visitor is known, and a policy can be judged by what it earns and not by what it was learned from.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from models.arrays import Floats, Ints, Records
from models.kernels import kernel
from models.schema import SIGNAL_TYPES, EventType
from models.simulator.behaviour import Behaviour
from models.simulator.catalogue import Catalogue
from models.simulator.records import N_CART, N_MET, VISIT_DTYPE, VisitState, blank_steps, new_state
from models.simulator.simulation import Shop
from models.simulator.visitors import Visitors
from models.simulator.walk import arrive, step

_ROWS_AT_ONCE: Final = 200_000
_BUY: Final = int(EventType.PURCHASE)
_DISCOUNT: Final = SIGNAL_TYPES.index("offer_discount")


@dataclass(frozen=True)
class Prices:
    """Money of the shop.

    Attributes
    ----------
    margin_rate
        Share of a price that the shop keeps, before discounts.
    discount_rate
        Share of the price that a discount gives away.
    signal_costs
        What sending each signal costs, in the order of `SIGNAL_TYPES`: room on the page, a person's time, an e-mail.
    """

    margin_rate: float = 0.35
    discount_rate: float = 0.1
    signal_costs: tuple[float, ...] = (0.0, 0.01, 0.01, 0.01, 1.0, 0.05)

    def earned(self, revenue: Floats, signals: Ints) -> Floats:
        """Earnings of a revenue after a signal, shape as the revenue's; signals broadcast from the left.

        Examples
        --------
        >>> Prices().earned(np.array([[100.0], [100.0]]), np.array([0, 3])).round(2).tolist()
        [[35.0], [24.99]]
        """
        by_visit = (len(signals), *(1,) * (revenue.ndim - 1))
        kept = self.margin_rate - np.where(signals == _DISCOUNT, self.discount_rate, 0.0)
        cost = np.array(self.signal_costs)[signals]
        found: Floats = revenue * kept.reshape(by_visit) - cost.reshape(by_visit)
        return found


class Standing(NamedTuple):
    """Visits that stand still; never written to.

    Attributes
    ----------
    visits
        Shape (n,), dtype `VISIT_DTYPE`.
    carts, mets
        As of `VisitState`, shapes (n, N_CART + 2) and (n, N_MET).
    """

    visits: Records
    carts: Ints
    mets: Ints

    def where(self, rows: Ints) -> "Standing":
        """Some of the visits."""
        return Standing(self.visits[rows], self.carts[rows], self.mets[rows])


class Reached(NamedTuple):
    """Visits that have come to a moment with something in the cart, and nothing bought.

    Attributes
    ----------
    rows
        Their events up to the moment, visit by visit, dtype `STEP_DTYPE`.
    first
        Row of each visit's first event and, last, the number of rows, shape (n + 1,).
    """

    rows: Records
    first: Ints
    at: Standing


def reached(shop: Shop, users: Ints, at_us: Ints, n_events: int, rng: np.random.Generator) -> Reached:
    """Let visitors come once each, and stop them at the first event from the `n_events`-th on after which a cart is full.

    Who leaves, or buys, before is left out.

    Parameters
    ----------
    users, at_us
        Who comes, and when, shape (n_visits,).
    """
    n, most = len(users), int(shop.behaviour.max_session_events)
    out = Standing(np.zeros(n, VISIT_DTYPE), np.zeros((n, N_CART + 2), np.int64), np.zeros((n, N_MET), np.int64))
    rows, first, kept, k = list[Records](), [0], 0, 0
    buffer, ends = blank_steps(_ROWS_AT_ONCE + most), np.zeros(n, np.int64)
    while k < n:
        n_rows, k, there = _reach(*shop, users, at_us, k, n_events, *new_state(), *out, kept, ends, buffer, rng)
        rows.append(buffer[:n_rows].copy())
        first += (ends[kept:there] + sum(len(part) for part in rows[:-1])).tolist()
        kept = there
    return Reached(np.concatenate(rows), np.array(first), out.where(np.arange(kept)))


def standing(states: list[VisitState]) -> Standing:
    """Some visits as they stand now; they may be walked on afterwards."""
    if not states:
        return Standing(np.zeros(0, VISIT_DTYPE), np.zeros((0, N_CART + 2), np.int64), np.zeros((0, N_MET), np.int64))
    visits, carts, mets = zip(*states, strict=True)
    return Standing(np.concatenate(visits), np.stack(carts), np.stack(mets))


def revenues(
    shop: Shop, at: Standing, signals: Ints, n_times: int, rng: np.random.Generator, offered: Ints | None = None
) -> Floats:
    """Revenue of the rest of each visit, walked `n_times` with a signal standing.

    Parameters
    ----------
    signals
        Place in `SIGNAL_TYPES`, shape (n,).
    offered
        Item that ``recommend_product`` shows, row of the catalogue, -1 for none; shape (n,).

    Returns
    -------
    Shape (n, n_times).
    """
    found = np.zeros((len(signals), n_times))
    shown = np.full(len(signals), -1) if offered is None else offered
    visit, cart, met = new_state()
    sent = np.asarray(signals, np.int64)
    _walk_on(*shop, *at, sent, np.asarray(shown, np.int64), visit, cart, met, blank_steps(1), found, rng)
    return found


@kernel
def _reach(
    shop: Catalogue, who: Visitors, how: Behaviour, users: Ints, at_us: Ints, begin: int, n_events: int, visits: Records,
    cart: Ints, met: Ints, out: Records, carts: Ints, mets: Ints, kept: int, ends: Ints, rows: Records,
    rng: np.random.Generator,
) -> tuple[int, int, int]:  # fmt: skip
    """Rows written, the visit to go on with, and how many have come to the moment so far."""
    visit, n = visits[0], 0
    for k in range(begin, len(users)):
        if n + how.max_session_events > len(rows):
            return n, k, kept
        arrive(who, how, visit, users[k], at_us[k], who.device[users[k]], rng)
        began, bought = n, False
        while not visit.ended and not bought and not (visit.n_events >= n_events and visit.n_cart > 0):
            rows[n].session = k
            step(shop, who, how, visit, cart, met, rows[n], rng)
            bought = rows[n].event_type == _BUY
            n += 1
        if visit.ended or bought:
            n = began
            continue
        out[kept] = visit
        carts[kept], mets[kept] = cart, met
        ends[kept] = n
        kept += 1
    return n, len(users), kept


@kernel
def _walk_on(
    shop: Catalogue, who: Visitors, how: Behaviour, visits: Records, carts: Ints, mets: Ints, signals: Ints, offered: Ints,
    scratch: Records, cart: Ints, met: Ints, rows: Records, found: Floats, rng: np.random.Generator,
) -> None:  # fmt: skip
    """Walk each visit to its end again and again, and add up what is bought."""
    for k in range(len(visits)):
        for time in range(found.shape[1]):
            scratch[0] = visits[k]
            cart[:], met[:] = carts[k], mets[k]
            visit = scratch[0]
            visit.signal, visit.offered = signals[k], offered[k]
            while not visit.ended:
                step(shop, who, how, visit, cart, met, rows[0], rng)
                if rows[0].event_type == _BUY:
                    found[k, time] += shop.price[rows[0].item]
