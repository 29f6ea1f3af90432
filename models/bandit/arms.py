"""The arms of the profile bandit: which weight profiles an answer may use, named by what is in them.

An arm's id is its name and a hash of its numbers. So a profile that a new version leaves as it was keeps what was learned about
it, and one that was changed begins anew.

The profiles of a challenger are arms on trial: dealt to a few, so that the gate can judge them by what they earned. A snapshot
is used as long as it has every arm of the champions and none that is gone: a challenger that comes waits for the next snapshot,
one that was withdrawn is not dealt any more as soon as this process knows.
"""

from collections.abc import Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

from models.bandit import profiles
from models.bandit import thompson as profile_bandit
from models.bandit.profiles import ProfileSet
from models.bandit.thompson import Snapshot
from models.goal_prior import HEURISTIC_GOALS
from models.weight_profile import STATIC, WeightProfile, arrays_of

LEARNED: Final = "learned"  # name of the champion weights where the set has no name for them


class Arms(NamedTuple):
    """Arms that can be dealt.

    Attributes
    ----------
    profiles
        By id, in a fixed order.
    served
        Id of the champion weights: dealt where the bandit has nothing to say.
    on_trial
        Ids that only a challenger has.
    has_goals
        Whether one of them has goal weights, which ask for the visitor's history.
    """

    profiles: Mapping[str, WeightProfile]
    served: str
    on_trial: frozenset[str] = frozenset()
    has_goals: bool = False


class Bandit(NamedTuple):
    """Bandit as a decision sees it; made by `bandit_of`.

    Attributes
    ----------
    snapshot
        None as long as nothing was learned about these arms.
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


def content(weights: WeightProfile) -> bytes:
    """Bytes that are the same for the same weights, whatever they are called."""
    return b"".join(array.tobytes() for array in arrays_of(weights).values())


def arm_id(name: str, weights: WeightProfile) -> str:
    """Name an arm by what is in it.

    Examples
    --------
    >>> from models.weight_profile import HEURISTIC
    >>> arm_id("static", STATIC) == arm_id("static", STATIC._replace()), arm_id("static", STATIC) == arm_id("static", HEURISTIC)
    (True, False)
    """
    return f"{name}@{blake2b(content(weights), digest_size=4).hexdigest()}"


STATIC_ARM: Final = Dealt(arm_id("static", STATIC), STATIC)


class Weighted(Protocol):
    """A set of models, as far as it has weights to deal; `models.model_set.ModelSet` is one."""

    @property
    def weights(self) -> WeightProfile | None:
        """The weight profile."""
        ...

    @property
    def profiles(self) -> ProfileSet | None:
        """The profiles that compete."""
        ...


def arms_of(champion: Weighted, challenger: Weighted | None = None) -> Arms:
    """The arms of an installation: its profile set, the champion weights where they are not in it, and what is on trial.

    Two names of the same weights are one arm, the first: what it earns would be split among them, and its propensity too.

    Parameters
    ----------
    champion
        Without weights the heuristic ones are served; without a set the static and the heuristic weights compete.
    challenger
        Its arms are named as if it were champion, so that they keep their ids when it is.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> [name.partition("@")[0] for name in arms_of(SimpleNamespace(weights=None, profiles=None)).profiles]
    ['static', 'heuristic']
    """
    candidates, weights = champion.profiles or profiles.DEFAULT, champion.weights
    own = HEURISTIC_GOALS if weights is None else weights
    named = [*zip(candidates.names, candidates.profiles, strict=True), ("heuristic" if weights is None else LEARNED, own)]
    tried: list[tuple[str, WeightProfile]] = []
    if challenger is not None:
        tried += [] if challenger.weights is None else [(LEARNED, challenger.weights)]
        if challenger.profiles is not None:
            tried += zip(challenger.profiles.names, challenger.profiles.profiles, strict=True)
    ids: dict[bytes, str] = {}
    found: dict[str, WeightProfile] = {}
    on_trial: set[str] = set()
    for place, (name, one) in enumerate([*named, *tried]):
        if content(one) not in ids:
            own_id = ids[content(one)] = arm_id(name, one)
            found[own_id] = one
            if place >= len(named):
                on_trial.add(own_id)
    has_goals = any(one.goals is not None for one in found.values())
    return Arms(MappingProxyType(found), ids[content(own)], frozenset(on_trial), has_goals)


def bandit_of(arms: Arms, snapshot: Snapshot | None) -> Bandit:
    """The bandit of these arms; without the snapshot where it is about others.

    Examples
    --------
    >>> rows = {"": profile_bandit.Row((1.0,), (1.0,), (1.0,))}
    >>> from types import SimpleNamespace
    >>> arms = arms_of(SimpleNamespace(weights=None, profiles=None))
    >>> bandit_of(arms, Snapshot(1, ("gone",), "", rows)).snapshot is None
    True
    """
    fits = snapshot is not None and arms.profiles.keys() - arms.on_trial <= set(snapshot.profiles) <= arms.profiles.keys()
    return Bandit(arms, snapshot if fits else None)


def dealt_by(user_id: str, session: str) -> str:
    """Key of a deal: visitor and session."""
    return f"{user_id} {session}"


def deal(bandit: Bandit, context: Mapping[str, Any], dealt_to: str) -> Dealt:
    """Let the bandit choose; the champion weights where there are no posteriors about these arms.

    Parameters
    ----------
    context
        Of the decision; the snapshot says what of it counts.
    dealt_to
        Visitor and session: the same ones get the same profile.
    """
    arms, now = bandit
    if now is None:
        return Dealt(arms.served, arms.profiles[arms.served])
    choice = profile_bandit.choose(now, profile_bandit.value_of(now.context, context), dealt_to)
    return Dealt(choice.profile, arms.profiles[choice.profile], choice.propensity, now.version)
