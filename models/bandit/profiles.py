"""Weight profiles that compete: the static weights, the heuristic ones, what was learned; a bandit chooses among them."""

from typing import Final, NamedTuple

import numpy as np

from models import weight_profile as weights
from models.artifact import Parts
from models.goal_prior import FLAT_GOALS, HEURISTIC_GOALS
from models.weight_profile import WeightProfile

MOST: Final = 16  # profiles in one set; each has to be tried


class ProfileSet(NamedTuple):
    """Profiles in a fixed order, the arms of a bandit; make one with `profile_set`.

    Attributes
    ----------
    names
        Lower-case words, each once; shape (n_profiles,).
    profiles
        Shape (n_profiles,).
    """

    names: tuple[str, ...]
    profiles: tuple[WeightProfile, ...]

    def named(self, name: str) -> WeightProfile:
        """The profile of a name.

        Raises
        ------
        KeyError
            If there is none.
        """
        if name not in self.names:
            raise KeyError(f"no profile is named {name!r}; there are {', '.join(self.names)}")
        return self.profiles[self.names.index(name)]


def profile_set(names: tuple[str, ...], profiles: tuple[WeightProfile, ...]) -> ProfileSet:
    """Check a choice of profiles.

    Raises
    ------
    ValueError
        If there are none or more than `MOST`, names and profiles differ in number, or a name stands twice.

    Examples
    --------
    >>> from models.weight_profile import HEURISTIC, STATIC
    >>> profile_set(("static", "heuristic"), (STATIC, HEURISTIC)).named("static") is STATIC
    True
    """
    if not 1 <= len(names) <= MOST or len(names) != len(profiles) or len(set(names)) != len(names):
        raise ValueError(f"expected 1 to {MOST} profiles with a name each, no name twice, got {len(profiles)} named {names}")
    return ProfileSet(names, profiles)


DEFAULT: Final = profile_set(("static", "heuristic"), (FLAT_GOALS, HEURISTIC_GOALS))


def to_parts(profiles: ProfileSet) -> Parts:
    """The profiles as a model file holds them: one array for each part of a profile, profiles along the first axis."""
    meta, parts = weights.to_parts(profiles.profiles[0]).meta, [weights.arrays_of(one) for one in profiles.profiles]
    with_goals = [one.goals is not None for one in profiles.profiles]
    widest = max(parts, key=len)
    arrays = {name: np.stack([one.get(name, np.zeros_like(like)) for one in parts]) for name, like in widest.items()}
    return Parts({**meta, "names": list(profiles.names), "with_goals": with_goals}, arrays)


def from_parts(parts: Parts) -> ProfileSet:
    """The profiles of a model file; event types that were added since keep their base weight and the factor 1.

    Raises
    ------
    ValueError
        If the file's event types or intents are not those of the schema, in order, or the set is none (see `profile_set`).
    """
    names = tuple(str(name) for name in parts.meta["names"])
    with_goals = parts.meta.get("with_goals", [False] * len(names))  # files of before have none
    rows = []
    for k, has_goals in enumerate(with_goals):
        kept = {name: array[k] for name, array in parts.arrays.items() if has_goals or not name.startswith("goal_")}
        rows.append(Parts(parts.meta, kept))
    return profile_set(names, tuple(weights.from_parts(row) for row in rows))
