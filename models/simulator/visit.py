"""One visit, event by event, for tests that close the loop: watch, decide on a signal, watch what comes of it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.arrays import Records
from models.events.encode import EVENT_DTYPE, EventArray
from models.schema import MEASURES, SIGNAL_TYPES, EventType
from models.simulator import walk
from models.simulator.records import VisitState, blank_steps, new_state
from models.simulator.simulation import Shop


@dataclass
class Visit:
    """A visitor in the shop. Moves on only when asked to; the same generator state gives the same visit.

    Attributes
    ----------
    state
        Hand on a visitor's old state for a returning visit: what they looked at and wanted last time still counts.
    offset_min
        Minutes that the visitor's clock is ahead of UTC.

    Examples
    --------
    >>> from models.simulator import ShopConfig, open_shop
    >>> rng = np.random.default_rng(5)
    >>> visit = Visit(open_shop(ShopConfig(n_users=3), rng), user=1, at_us=0, rng=rng)
    >>> events = visit.advance(3)
    >>> visit.send("offer_discount")
    >>> later = visit.advance()
    >>> visit.ended
    True
    """

    shop: Shop
    user: int
    at_us: int
    rng: np.random.Generator
    state: VisitState = field(default_factory=new_state)
    offset_min: int = 0
    n_purchases: int = 0

    def __post_init__(self) -> None:
        self.device = int(self.shop.visitors.device[self.user])
        walk.arrive(self.shop.visitors, self.shop.behaviour, self._now, self.user, self.at_us, self.device, self.rng)

    @property
    def _now(self) -> Any:
        return self.state.visit[0]

    @property
    def ended(self) -> bool:
        """Whether the visitor has left."""
        return bool(self._now["ended"])

    @property
    def intent(self) -> int:
        """Latent intent now, `Intent` code: the truth, not for the policy under test."""
        return int(self._now["intent"])

    @property
    def item(self) -> int:
        """Item in mind, row of the catalogue, -1 if none."""
        return int(self._now["item"])

    @property
    def p_purchase(self) -> float:
        """Probability to decide now to buy the item in mind."""
        return walk.p_decide(self.shop.catalogue, self.shop.visitors, self.shop.behaviour, self._now)

    def send(self, signal: str, item: int = -1) -> None:
        """Let a signal stand from now on; `item` is what ``recommend_product`` shows, row of the catalogue.

        Raises
        ------
        ValueError
            If the signal is unknown.
        """
        if signal not in SIGNAL_TYPES:
            raise ValueError(f"signal must be one of {', '.join(SIGNAL_TYPES)}, got {signal!r}")
        self._now["signal"] = SIGNAL_TYPES.index(signal)
        self._now["offered"] = item

    def advance(self, n_events: int | None = None) -> Records:
        """Watch the next events, at most `n_events` or to the end of the visit; shape (n,), dtype `STEP_DTYPE`."""
        rows: list[Records] = []
        while not self.ended and (n_events is None or len(rows) < n_events):
            row = blank_steps(1)
            _, cart, met = self.state
            walk.step(*self.shop, self._now, cart, met, row[0], self.rng)
            rows.append(row)
        events: Records = np.concatenate(rows) if rows else blank_steps(0)
        self.n_purchases += int((events["event_type"] == EventType.PURCHASE).sum())
        return events

    def event_array(self, rows: Records) -> EventArray:
        """Events as every fold reads them; item and category codes are the catalogue's."""
        events: EventArray = np.zeros(len(rows), dtype=EVENT_DTYPE)
        for ours, theirs in (
            ("occurred_at_us", "at_us"),
            *((name, name) for name in ("item", "category", "event_type", *MEASURES)),
        ):
            events[ours] = rows[theirs]
        events["device"] = self.device
        events["referrer"] = self._now["referrer"]
        events["utc_offset_min"] = self.offset_min
        return events
