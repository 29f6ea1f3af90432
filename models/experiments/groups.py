"""Groups of visitors, as their shop names them: anonymous, of a fixed number, and none smaller than k (k-anonymity).

Whom a shop takes its visitors for (`models.schema.VISITOR_GROUPS`) may be as fine as a single person. So a group counts only if
it has `LEAST_USERS` visitors, and the largest `MOST_GROUPS` do; all others are pooled, and where the pool is too small it is
left out as well. Source: Sweeney, k-anonymity, 2002.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

LEAST_USERS: Final = 50
MOST_GROUPS: Final = 12
POOLED: Final = "all others"


def pooled(names: Sequence[str | None], least: int = LEAST_USERS, most: int = MOST_GROUPS) -> list[str | None]:
    """Group of each visitor; None where nothing may be said of it.

    Parameters
    ----------
    names
        As the shop names them, one per visitor; None where it does not.

    Examples
    --------
    >>> found = pooled(["new"] * 60 + ["vip"] * 40 + ["staff"] * 11 + [None])
    >>> sorted({(name, found.count(name)) for name in found}, key=str)
    [('all others', 51), ('new', 60), (None, 1)]
    >>> sorted(set(pooled(["new"] * 60 + ["vip"] * 10)), key=str)
    [None, 'new']
    """
    counts = Counter(name for name in names if name is not None)
    kept = {name for name, n in counts.most_common(most) if n >= least}
    found: list[str | None] = [name if name is None or name in kept else POOLED for name in names]
    return found if found.count(POOLED) >= least else [None if name == POOLED else name for name in found]
