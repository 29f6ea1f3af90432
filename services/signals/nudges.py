"""Nudge of a moment under the partner's policy: what the worker sends and what ``POST /v1/engagement`` says it would send.

Reads only; whoever sends writes the consequences in the same transaction.
"""

from typing import Final

from infra.aims import AimBook
from infra.store.protocol import Read
from infra.store.statements.signals import READ_BIDS, READ_SPENT, READ_STANDING
from models.assess import Assessment
from models.engagement import policy as signal_policy
from models.engagement.pacing import MOST_BIDS, Bid, Pace
from models.engagement.policy import NEWCOMER, Moment, Nudge, SignalPolicy, Standing
from models.live_session import LiveSession
from models.schema import DAY_US
from models.trust import Visitor
from services.signals.policies import PolicyBook
from services.signals.shelf import UNSPENT, PartnerCatalogs, Spent, VisitorShelf

ASKED_ABOUT: Final = Visitor(is_vouched=True, n_events=None)  # by the partner's own server


class Nudges:
    """Nudges by what the store says, each as one `read` of it does: the transaction's, where something is written too.

    Parameters
    ----------
    catalogs
        Looked at again for every nudge.
    """

    def __init__(self, catalogs: PartnerCatalogs) -> None:
        self._catalogs = catalogs
        self._policies = PolicyBook()
        self._aims = AimBook()

    def decide(
        self, found: Assessment, session: LiveSession, moment: Moment, read: Read, visitor: Visitor = ASKED_ABOUT
    ) -> Nudge:
        """Choose the signal of a moment, and say whether it may be sent.

        Parameters
        ----------
        visitor
            How far the visitor is trusted; as one of whom the server speaks, if not given.
        """
        policy = self.policy_of(moment.partner, read)
        spent, by_strangers = _spent(moment.partner, moment.now_us, read)
        self._catalogs.refresh(moment.now_us / 1e6)
        strangers = None if visitor.is_vouched else by_strangers
        counts = visitor.is_vouched or visitor.n_events is not None  # else one more visitor of a network than do
        shelf = VisitorShelf(
            found, lambda: session, self._catalogs, policy, spent, moment.partner, moment.now_us, strangers, counts
        )  # fmt: skip
        standing = standing_of(moment, read)
        return signal_policy.nudge(
            found.score, found.p_next, found.features, shelf, policy, standing, moment, found.silence,
            self._aims.of(moment.partner, read), found.p_intent, found.trouble, _pace(policy, spent, moment, read),
        )  # fmt: skip

    def policy_of(self, partner: str, read: Read) -> SignalPolicy:
        """Policy of a partner."""
        return self._policies.of(partner, read)


def standing_of(moment: Moment, read: Read) -> Standing:
    """Where a user stands."""
    kept = read(READ_STANDING, (moment.partner, moment.user_id))
    return Standing(*kept[0]) if kept else NEWCOMER


def _pace(policy: SignalPolicy, spent: Spent, moment: Moment, read: Read) -> Pace | None:
    """The day's budget as it stands."""
    budget, newest = policy.max_discount_cents_per_day, (moment.partner, moment.now_us, MOST_BIDS)
    if budget is None:
        return None
    return Pace(lambda: [Bid(*row) for row in read(READ_BIDS, newest)], budget, spent.today, moment.now_us)


def _spent(partner: str, now_us: int, read: Read) -> tuple[Spent, Spent]:
    """What was promised to all visitors, and to strangers."""
    offers = read(READ_SPENT, (now_us // DAY_US, partner))
    if not offers:
        return UNSPENT, UNSPENT
    everybody, strangers = (
        Spent({row[0]: row[at] for row in offers}, sum(row[at + 1] for row in offers), sum(row[at] for row in offers))
        for at in (1, 3)
    )
    return everybody, strangers
