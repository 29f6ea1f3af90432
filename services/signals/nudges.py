"""The nudge of a moment under the partner's policy: what the worker sends and what ``POST /v1/engagement`` says it would send.

Reads only; whoever sends writes the consequences in the same transaction.
"""

from collections.abc import Callable

from models.nudging import signal_policy
from models.nudging.signal_policy import NEWCOMER, Moment, Nudge, SignalPolicy, Standing
from models.schema import DAY_US
from models.stored.signal_tables import READ_SPENT, READ_STANDING
from services import wire
from services.answering.engagement_answers import Assessment
from services.answering.session_data import LiveSession
from services.signals import signal_shelf
from services.signals.signal_policies import PolicyBook, Read
from services.signals.signal_shelf import Goods, Spent


class Nudges:
    """Decides, on what the store says.

    Parameters
    ----------
    read
        All rows of a statement, as the store stands.
    goods
        The catalogues as they stand at an instant, microseconds since 1970.
    """

    def __init__(self, read: Read, goods: Callable[[int], Goods]) -> None:
        self._read = read
        self._goods = goods
        self._policies = PolicyBook(read)

    def decide(self, found: Assessment, session: LiveSession, moment: Moment) -> Nudge:
        """Choose the signal of a moment, and say whether it may be sent."""
        policy = self.policy_of(moment.partner)
        spent = self._spent(moment.partner, moment.now_us)
        shelf = signal_shelf.fill(found, session, self._goods(moment.now_us), policy, spent, moment.partner, moment.now_us)
        standing = self.standing_of(moment)
        return signal_policy.nudge(found.score, found.p_next, found.features, shelf, policy, standing, moment)

    def policy_of(self, partner: str) -> SignalPolicy:
        """What a partner allows."""
        return self._policies.of(partner)

    def standing_of(self, moment: Moment) -> Standing:
        """Where a user stands."""
        found = self._read(READ_STANDING, (moment.partner, moment.user_id))
        return Standing(*found[0]) if found else NEWCOMER

    def _spent(self, partner: str, now_us: int) -> Spent:
        found = self._read(READ_SPENT, (now_us // DAY_US, partner))
        return Spent({offer: total for offer, total, _ in found}, sum(row[2] for row in found), sum(row[1] for row in found))


def told(nudge: Nudge) -> wire.Signal:
    """A nudge as ``POST /v1/engagement`` tells it: what would be sent, or else what is withheld and why."""
    if nudge.withheld is None:
        return wire.Signal(nudge.signal["type"], nudge.signal["payload"])
    return wire.Signal("no_action", {}, wire.Withheld(nudge.signal["type"], nudge.withheld))
