"""Nudge of a moment under the partner's policy: what the worker sends and what ``POST /v1/engagement`` says it would send.

Reads only; whoever sends writes the consequences in the same transaction.
"""

from infra.store.statements.signals import READ_SPENT, READ_STANDING
from models.assess import Assessment
from models.engagement import policy as signal_policy
from models.engagement.policy import NEWCOMER, Moment, Nudge, SignalPolicy, Standing
from models.live_session import LiveSession
from models.schema import DAY_US
from services.signals import shelf as signal_shelf
from services.signals.policies import PolicyBook, Read
from services.signals.shelf import PartnerCatalogs, Spent


class Nudges:
    """Nudges by what the store says.

    Parameters
    ----------
    read
        All rows of a statement, as the store stands.
    catalogs
        Looked at again for every nudge.
    """

    def __init__(self, read: Read, catalogs: PartnerCatalogs) -> None:
        self._read = read
        self._catalogs = catalogs
        self._policies = PolicyBook(read)

    def decide(self, found: Assessment, session: LiveSession, moment: Moment) -> Nudge:
        """Choose the signal of a moment, and say whether it may be sent."""
        policy = self.policy_of(moment.partner)
        spent = self._spent(moment.partner, moment.now_us)
        self._catalogs.refresh(moment.now_us / 1e6)
        shelf = signal_shelf.fill(found, session, self._catalogs, policy, spent, moment.partner, moment.now_us)
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
