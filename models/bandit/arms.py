"""The arms of the profile bandit: which weight profiles an answer may use, named by what is in them.

An arm's id is its name and a hash of its numbers. So a profile that a new version leaves as it was keeps what was learned about
it, and one that was changed begins anew.
"""

from collections.abc import Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from models.bandit import profile_bandit, profiles
from models.bandit.profile_bandit import EVERYWHERE, Snapshot
from models.bandit.profiles import ProfileSet
from models.weighting.weights import HEURISTIC, STATIC, WeightProfile

LEARNED: Final = "learned"  # name of the champion weights where the set has no name for them


class Arms(NamedTuple):
    """What can be dealt.

    Attributes
    ----------
    profiles
        By id, in a fixed order.
    served
        Id of the champion weights: dealt where the bandit has nothing to say.
    """

    profiles: Mapping[str, WeightProfile]
    served: str


class Bandit(NamedTuple):
    """What a decision is made from.

    Attributes
    ----------
    snapshot
        None as long as nothing was learned.
    """

    arms: Arms
    snapshot: Snapshot | None


class Dealt(NamedTuple):
    """The profile of one decision.

    Attributes
    ----------
    profile
        Id of the arm.
    propensity
        Probability with which it was dealt, given the variant.
    snapshot
        Version of the posteriors that dealt it; None where the bandit did not choose.
    """

    profile: str
    weights: WeightProfile
    propensity: float = 1.0
    snapshot: int | None = None


def _content(weights: WeightProfile) -> bytes:
    return b"".join(part.tobytes() for part in weights)


def arm_id(name: str, weights: WeightProfile) -> str:
    """Name an arm by what is in it.

    Examples
    --------
    >>> arm_id("static", STATIC) == arm_id("static", STATIC._replace()), arm_id("static", STATIC) == arm_id("static", HEURISTIC)
    (True, False)
    """
    return f"{name}@{blake2b(_content(weights), digest_size=4).hexdigest()}"


STATIC_ARM: Final = Dealt(arm_id("static", STATIC), STATIC)


def arms_of(weights: WeightProfile | None, candidates: ProfileSet | None) -> Arms:
    """The arms of an installation: its profile set, and the champion weights where they are not in it.

    Two names of the same weights are one arm, the first: what it earns would be split among them, and its propensity too.

    Parameters
    ----------
    weights
        The champion; None where there is none, then the heuristic weights are served.
    candidates
        The set; None for the static and the heuristic weights.

    Examples
    --------
    >>> [name.partition("@")[0] for name in arms_of(None, None).profiles]
    ['static', 'heuristic']
    """
    candidates = candidates or profiles.DEFAULT
    own = HEURISTIC if weights is None else weights
    named = [*zip(candidates.names, candidates.profiles, strict=True), ("heuristic" if weights is None else LEARNED, own)]
    ids: dict[bytes, str] = {}
    found: dict[str, WeightProfile] = {}
    for name, one in named:
        if _content(one) not in ids:
            ids[_content(one)] = arm_id(name, one)
            found[ids[_content(one)]] = one
    return Arms(MappingProxyType(found), ids[_content(own)])


def deal(bandit: Bandit, context: Mapping[str, Any], decision_id: str) -> Dealt:
    """Let the bandit choose; the champion weights where no posteriors are there, or where they are about other arms.

    Parameters
    ----------
    context
        Of the decision; the snapshot says what of it counts.
    """
    arms, now = bandit
    if now is None or now.profiles != tuple(arms.profiles):
        return Dealt(arms.served, arms.profiles[arms.served])
    choice = profile_bandit.choose(now, context.get(now.context, EVERYWHERE), decision_id)
    return Dealt(choice.profile, arms.profiles[choice.profile], choice.propensity, now.version)
