"""Experiments: which variant a user belongs to.

The assignment is a pure function of the user, so it needs no store, is the same in every worker and survives a restart. Users
of one experiment say nothing about another, because its name and salt go into the hash.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final


@dataclass(frozen=True)
class Experiment:
    """Variants and the share of users each gets.

    Attributes
    ----------
    salt
        Changing it deals the users anew.
    variants
        Names, in the order in which they divide the interval [0, 1). The last one is the control.
    shares
        One per variant, positive, summing to 1.

    Raises
    ------
    ValueError
        If names and shares do not fit together.
    """

    name: str
    salt: str
    variants: tuple[str, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.variants or len(self.variants) != len(self.shares) or len(set(self.variants)) != len(self.variants):
            raise ValueError(f"need distinct variants with a share each, got {self.variants} and {self.shares}")
        if min(self.shares) <= 0 or abs(sum(self.shares) - 1) > 1e-9:
            raise ValueError(f"shares must be positive and sum to 1, got {self.shares}")

    @property
    def control(self) -> str:
        """The variant that the others are compared with."""
        return self.variants[-1]

    @property
    def treatments(self) -> tuple[str, ...]:
        """All variants but the control."""
        return self.variants[:-1]


DYNAMIC: Final = "dynamic"
STATIC: Final = "static"
DYNAMIC_VS_STATIC: Final = Experiment("dynamic_vs_static", "2026-11", (DYNAMIC, STATIC), (0.5, 0.5))
EXPERIMENTS: Final[Mapping[str, Experiment]] = {one.name: one for one in (DYNAMIC_VS_STATIC,)}

# Not a split of users: lists in which associations and ranker take turns, on request (`models.experiments.interleaving`).
INTERLEAVED: Final = "associations_vs_ranker"
SIDES: Final = ("associations", "ranker")
TEAMS: Final = "teams"  # in the context of such a decision: who picked each item


def position(experiment: Experiment, user_id: str) -> float:
    """Where a user stands in [0, 1): the first 53 bits of BLAKE2b over salt, name and user, so that a float holds them exactly.

    Examples
    --------
    >>> 0 <= position(DYNAMIC_VS_STATIC, "u-1") < 1
    True
    """
    text = f"{experiment.salt}\x1f{experiment.name}\x1f{user_id}".encode("utf-8", "surrogatepass")
    return (int.from_bytes(blake2b(text, digest_size=8).digest(), "big") >> 11) / 2**53


def assign(experiment: Experiment, user_id: str) -> str:
    """Variant of a user; always the same one.

    Examples
    --------
    >>> assign(Experiment("e", "s", ("only",), (1.0,)), "u-1")
    'only'
    """
    return variant_at(experiment.variants, experiment.shares, position(experiment, user_id))


def variant_at(variants: Sequence[str], shares: Sequence[float], at: float) -> str:
    """Variant whose stretch of [0, 1) holds a position.

    Examples
    --------
    >>> variant_at(("a", "b"), (0.25, 0.75), 0.25)
    'b'
    """
    reached = 0.0
    for variant, share in zip(variants, shares, strict=True):
        reached += share
        if at < reached:
            return variant
    return variants[-1]  # the shares' sum may round to just under 1
