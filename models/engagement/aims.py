"""Aim of a signal: whether it is sent to this visitor, once a rule calls for it, by what was learned of its effect.

`models.experiments.targeting` says of each kind of signal for whom it earns more than it costs. Who is passed over is sent it
all the same with the small probability `EXPLORED`, so that a verdict can be seen to be wrong one day, unless the signal surely
costs more than it earns whoever gets it. Each of these decisions is a `Deal`, kept with its probabilities: the next verdict is
learned from them. While nothing is sure, the rules alone decide.

Where a day's budget binds, a discount has to earn more than its cents cost at the budget's price (`models.engagement.pacing`).
Fewer are then sent it, and as much fewer all the same: `EXPLORED` stays the share of them among all discounts.
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

import numpy as np

from models.arrays import Floats, Floats32
from models.experiments.assignment import Experiment, position
from models.experiments.targeting import EVERYBODY, NOBODY, TARGETED, Targeting
from models.schema import AIM_FEATURES, CODES, N_INTENTS
from models.visitor_groups import NO_GROUPS, Groups

EXPLORED: Final = 0.05
AIM_CODES: Final = tuple(AIM_FEATURES.index(name) for name in CODES)  # columns
Arm = Literal["sent", "held", "passed"]
NO_AIMS: Final[Mapping[str, Targeting]] = {}
UNKNOWN_INTENT: Final = np.full(N_INTENTS, 1 / N_INTENTS)


class Deal(NamedTuple):
    """Decision about one visitor and one kind of signal that the rules called for.

    Attributes
    ----------
    arm
        Sent, held back for the hold-out group, or passed over.
    p_sent, p_held
        Probability of either, by chance alone, in [0, 1].
    features
        Of the moment, in the order of `AIM_FEATURES`, shape (n_aim_features,).
    groups
        Whom the shop took the visitor for.
    """

    kind: str
    arm: Arm
    p_sent: float
    p_held: float
    features: Floats32
    groups: Groups = NO_GROUPS


class Dealt(NamedTuple):
    """A decision, and whether the visitor is one to whom the signal goes, but for the hold-out group."""

    deal: Deal
    goes: bool


class Stake(NamedTuple):
    """Stake of a signal with one visitor.

    Attributes
    ----------
    effect
        What the signal is estimated to earn, in the shop's currency; None while that is not learned.
    least
        That it has to earn.
    reach
        Share of such visitors for whom there is budget, in [0, 1].
    """

    effect: float | None
    least: float = 0.0
    reach: float = 1.0


UNKNOWN_STAKE: Final = Stake(None)


def effect_of(aim: Targeting | None, row: Floats32, groups: Groups = NO_GROUPS) -> float | None:
    """Estimated effect of a signal on what a visitor brings, in the shop's currency; None while that is not learned.

    Parameters
    ----------
    aim
        What was learned about the kind.
    row
        From `aim_row`.
    """
    if aim is None or aim.effects is None or aim.verdict not in (TARGETED, EVERYBODY):
        return None
    return float(aim.effects.of(np.append(row, aim.groups.row(groups))[None, :])[0])


def aim_row(features: Floats32, p_intent: Floats | None, score: float, cart_cents: int | None, silent_s: float) -> Floats32:
    """Features of a moment, in the order of `AIM_FEATURES`.

    Parameters
    ----------
    features
        Of the session, shape (n_session_features,).
    p_intent
        Shape (n_intents,), or None where nobody asked.
    cart_cents
        Value of the cart, or None where it is not known: NaN.
    """
    more = (score, np.nan if cart_cents is None else cart_cents / 100.0, silent_s)
    row = np.concatenate((features, UNKNOWN_INTENT if p_intent is None else p_intent, more)).astype(np.float32)
    if len(row) != len(AIM_FEATURES):
        raise ValueError(f"expected {len(AIM_FEATURES)} features, got {len(row)}")
    return row


def deal(
    kind: str, aim: Targeting | None, row: Floats32, holdout_share: float, is_held: bool, place: float,
    groups: Groups = NO_GROUPS, stake: Stake = UNKNOWN_STAKE,
) -> Dealt:  # fmt: skip
    """Decide about one visitor.

    Parameters
    ----------
    aim
        What was learned about the kind; None or not enough: the rules decide.
    is_held
        Whether the visitor belongs to the hold-out group.
    place
        Where the visitor stands in [0, 1), by chance, for this kind of signal: `place_of`.
    groups
        Whom the shop takes the visitor for.
    stake
        Its effect is that of `effect_of`.

    Examples
    --------
    >>> found = deal("offer_discount", None, np.zeros(3, np.float32), 0.05, False, 0.5)
    >>> found.goes, found.deal.arm, found.deal.p_sent, found.deal.p_held
    (True, 'sent', 0.95, 0.05)
    """
    share = _share(aim, stake)
    goes = place < share
    arm: Arm = "held" if is_held else "sent" if goes else "passed"
    return Dealt(Deal(kind, arm, (1.0 - holdout_share) * share, holdout_share, row, groups), goes)


def _share(aim: Targeting | None, stake: Stake) -> float:
    """Share of visitors like this one to whom the signal goes."""
    if aim is None or stake.effect is None:
        return 0.0 if aim is not None and aim.verdict == NOBODY else 1.0
    is_asked = aim.verdict == TARGETED or stake.least > 0.0
    return EXPLORED * stake.reach if is_asked and stake.effect <= stake.least else 1.0


def place_of(partner: str, user_id: str, kind: str, salt: str) -> float:
    """Where a visitor stands in [0, 1) for a kind of signal, by salted hash: always the same."""
    return position(Experiment(f"signals/{partner}/{kind}", salt, ("all",), (1.0,)), user_id)
