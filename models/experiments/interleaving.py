"""Interleaving: two rankers share one list, and what visitors take from it says which ranker they prefer (`preference`).

Every visitor sees both, so the comparison needs a fraction of the visitors that a split into two groups needs; it says which
order is preferred, not what that is worth in money. Lists are drafted by teams (Radlinski, Kurup and Joachims 2008).
"""

from collections import deque
from collections.abc import Hashable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np

Item = TypeVar("Item", bound=Hashable)
BOTH: Final = "="  # in `Draft.teams`: a click says nothing, both rankers had the item there or one had nothing left
FIRST: Final = "a"
SECOND: Final = "b"


class Draft(NamedTuple):
    """A list and who picked each place: a character of `teams` per item."""

    items: list[Any]
    teams: str


def team_draft(first: Sequence[Item], second: Sequence[Item], limit: int, rng: np.random.Generator) -> Draft:
    """Let two rankers pick in turns, each its best item that is not in the list yet; who begins a round is drawn.

    Where both agree from the top on, the items are common to both and credited to nobody (Chapelle, Joachims, Radlinski and Yue
    2012, section 3.4). Nor is anybody credited for filling the list once the other has nothing left.

    Parameters
    ----------
    first, second
        Items without repetition, best first.
    limit
        Length of the list, at most what both know together.

    Examples
    --------
    >>> draft = team_draft("xabc", "xcda", 4, np.random.default_rng(2))
    >>> draft.items[0], draft.teams[0], sorted(draft.teams[1:3])
    ('x', '=', ['a', 'b'])
    """
    common = next(
        (k for k, pair in enumerate(zip(first, second, strict=False)) if pair[0] != pair[1]), min(len(first), len(second))
    )
    items: list[Item] = list(first[:common][:limit])
    teams, taken = [BOTH] * len(items), set(items)
    left = {FIRST: deque(first[common:]), SECOND: deque(second[common:])}
    while len(items) < limit:
        for waiting in left.values():
            while waiting and waiting[0] in taken:
                waiting.popleft()
        able = [team for team, waiting in left.items() if waiting]
        if not able:
            break
        n = {team: teams.count(team) for team in (FIRST, SECOND)}
        behind = FIRST if n[FIRST] < n[SECOND] or (n[FIRST] == n[SECOND] and rng.random() < 0.5) else SECOND
        team = behind if behind in able else able[0]
        items.append(left[team].popleft())
        teams.append(team if len(able) == 2 else BOTH)
        taken.add(items[-1])
    return Draft(items, "".join(teams))
