"""Aims of signals in the store: the trial that chance has made of each kind, and what was learned from it.

What a user brought within a window after the first decision counts at the margin of the partner's policy, less what a discount
took off it and what the signal itself cost.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from infra.store.protocol import Read, Transaction
from infra.store.statements.aims import AIM, AIMS_OF, DEALS_OF, DEALT, PUT_AIM
from infra.store.statements.signals import DISCOUNTS_OF, PURCHASES_OF, READ_POLICY
from models.arrays import Floats
from models.experiments.targeting import Targeting, Trial, from_json, to_json
from models.schema import AIM_FEATURES, DAY_US
from models.visitor_groups import beside, unpacked

WINDOW_US: Final = 7 * DAY_US  # what a user brings so long after a decision counts
MEMORY_US: Final = 90 * DAY_US  # older decisions are of another season, and a verdict that they gave is asked anew
CAP_QUANTILE: Final = 0.99  # what a user paid counts up to this quantile of the buyers'
USERS_A_READ: Final = 500


class Rates(NamedTuple):
    """Rates of a shop: its share of a price, from 0 to 1, and the cost of sending a signal."""

    margin_share: float
    cost: float


def dealt(read: Read) -> list[tuple[str, str]]:
    """Partners and the kinds of signals about which something was decided."""
    return [(partner, kind) for partner, kind in read(DEALT, ())]


def trial_of(read: Read, partner: str, kind: str, now_us: int, window_us: int = WINDOW_US) -> Trial:
    """Trial of a kind of signal: users whose window is over, and of whom the present features are known."""
    rows = [
        row
        for row in read(DEALS_OF, (partner, kind, now_us - MEMORY_US, now_us - window_us))
        if len(row[5]) == 4 * len(AIM_FEATURES)
    ]
    begun = {row[0]: (place, row[1]) for place, row in enumerate(rows)}
    rates = rates_of(read, partner, kind)
    paid, promised = (_sums(read, statement, partner, begun, window_us) for statement in (PURCHASES_OF, DISCOUNTS_OF))
    sent, held = (np.array([row[2] == arm for row in rows], dtype=bool) for arm in ("sent", "held"))
    paid = np.minimum(paid, np.quantile(paid[paid > 0], CAP_QUANTILE) if (paid > 0).any() else 0.0)
    features = np.frombuffer(b"".join(bytes(row[5]) for row in rows), dtype=np.float32).reshape(len(rows), len(AIM_FEATURES))
    p_sent, p_held = (np.array([row[at] for row in rows], dtype=np.float64) for at in (3, 4))
    money = rates.margin_share * paid - np.minimum(promised, paid) - rates.cost * sent
    wide, groups = beside(features, [unpacked(row[6]) for row in rows])
    return Trial(wide, money, sent, held, p_sent, p_held, groups)


def rates_of(read: Read, partner: str, kind: str) -> Rates:
    """Rates by the partner's policy: the whole price and nothing, where it does not say."""
    kept = read(READ_POLICY, (partner,))
    policy = msgspec.json.decode(kept[0][0]) if kept else {}
    costs = policy.get("signal_costs") or {}
    return Rates(float(policy.get("margin_share", 1.0)), float(costs.get(kind, 0.0)))


def keep(transaction: Transaction, partner: str, kind: str, found: Targeting, now_us: int) -> None:
    """Keep what was learned; whoever decides reads it from now on."""
    text = json.dumps(to_json(found, AIM_FEATURES))
    transaction.execute(PUT_AIM, (partner, kind, now_us, text))


class AimBook:
    """Aims of each partner, as they stand."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[int, Targeting]] = {}

    def of(self, partner: str, read: Read) -> dict[str, Targeting]:
        """By kind of signal; read anew where something was learned since."""
        found = {}
        for kind, learned_at_us in read(AIMS_OF, (partner,)):
            known = self._known.get((partner, kind))
            if known is None or known[0] != learned_at_us:
                ((text,),) = read(AIM, (partner, kind))
                known = self._known[partner, kind] = (learned_at_us, from_json(json.loads(text), AIM_FEATURES))
            found[kind] = known[1]
        return found


def _sums(read: Read, statement: str, partner: str, begun: dict[str, tuple[int, int]], window_us: int) -> Floats:
    """What happened to each user within the window, shape (n_users,)."""
    found = np.zeros(len(begun))
    for some in _chunks(list(begun)):
        for user, at_us, amount in read(statement, (partner, json.dumps(some))):
            place, since_us = begun[user]
            if since_us <= at_us <= since_us + window_us:
                found[place] += amount or 0.0
    return found


def _chunks(users: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(users), USERS_A_READ):
        yield users[start : start + USERS_A_READ]
