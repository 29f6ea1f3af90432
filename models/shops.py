"""Shops: partners whose events count for one another in what is learned of items.

Every partner is a shop of its own, over what the operator has ingested as `LOCAL_PARTNER`: the base, which all shops know. What
a partner sends moves its own lists and nobody else's. Where the operator says that all partners are one shop, there is one of
everything.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Final, Self, TypeVar

import numpy as np
import numpy.typing as npt

from models.artifact import Parts

LEAST_EVENTS: Final = 1_000  # of its own, from which a shop has models of its own; with fewer it has the base's
_SHOPS: Final = "shops"


@dataclass(frozen=True, eq=False)
class ByShop:
    """Model of items, and beside it that of each shop.

    Attributes
    ----------
    shops
        Of the shops that have something of their own, by partner; None where all partners are one shop.
    """

    shops: Mapping[str, Self] | None = field(default=None, kw_only=True, repr=False)

    def of(self, partner: str) -> Self:
        """Model that answers a partner: its shop's, or the base's where it has none of its own."""
        return self.shops.get(partner, self) if self.shops else self

    def beside(self, shops: Mapping[str, Self] | None) -> Self:
        """This as the base, with other shops beside it."""
        found = copy(self)
        object.__setattr__(found, "shops", shops)
        return found


Learned = TypeVar("Learned", bound=ByShop)


def fair_shares(n_events: Mapping[str, int], most: int) -> dict[str, int]:
    """Share of each partner in so many events: as many as any other has, and what one does not need goes to the others.

    Examples
    --------
    >>> fair_shares({"flood": 9_000_000, "shop": 700_000, "new": 100_000}, 2_000_000)
    {'new': 100000, 'shop': 700000, 'flood': 1200000}
    """
    found: dict[str, int] = {}
    for k, name in enumerate(sorted(n_events, key=n_events.__getitem__)):
        found[name] = min(n_events[name], (most - sum(found.values())) // (len(n_events) - k))
    return found


def joined(base: Parts, shops: Mapping[str, Parts]) -> Parts:
    """Parts of the base and of all shops as those of one model.

    Examples
    --------
    >>> import numpy as np
    >>> one, two = (Parts({"n": n}, {"a": np.full(1, n)}) for n in (1, 2))
    >>> kept = joined(one, {"web": two})
    >>> kept.meta, sorted(kept.arrays)
    ({'n': 1, 'shops': {'web': {'n': 2}}}, ['0.a', 'a'])
    >>> base, found = apart(kept)
    >>> base.meta, found["web"].arrays["a"].tolist()
    ({'n': 1}, [2])
    """
    arrays = {f"{k}.{name}": array for k, one in enumerate(shops.values()) for name, array in one.arrays.items()}
    return Parts({**base.meta, _SHOPS: {name: dict(one.meta) for name, one in shops.items()}}, {**base.arrays, **arrays})


def apart(parts: Parts) -> tuple[Parts, dict[str, Parts] | None]:
    """Parts of the base, and of each shop; None where all partners are one, as in files of before there were shops."""
    if _SHOPS not in parts.meta:
        return parts, None
    metas = parts.meta[_SHOPS]
    base = Parts(
        {name: value for name, value in parts.meta.items() if name != _SHOPS},
        {name: array for name, array in parts.arrays.items() if "." not in name},
    )
    return base, {name: Parts(meta, _arrays_of(parts, f"{k}.")) for k, (name, meta) in enumerate(metas.items())}


def _arrays_of(parts: Parts, prefix: str) -> dict[str, npt.NDArray[np.generic]]:
    return {name.removeprefix(prefix): array for name, array in parts.arrays.items() if name.startswith(prefix)}


def loaded(load: Callable[[Parts], Learned]) -> Callable[[Parts], Learned]:
    """Loader of a model that each shop has one of, from the loader of one."""

    def all_of(parts: Parts) -> Learned:
        base, shops = apart(parts)
        return load(base).beside(None if shops is None else {name: load(one) for name, one in shops.items()})

    return all_of


def each(parts: Parts) -> Iterator[Parts]:
    """The base's parts, then those of each shop."""
    base, shops = apart(parts)
    yield base
    yield from (shops or {}).values()
