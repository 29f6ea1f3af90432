"""Which of two interleaved rankers visitors prefer: a sign test over visitors, which may be looked at any time."""

from collections.abc import Hashable, Iterable
from typing import Any, Final, NamedTuple

import numpy as np
from scipy.stats import binomtest

from models.experiments.interleaving import BOTH, FIRST
from models.experiments.sequential import p_counts
from models.statistics.verdict import NOT_ENOUGH

UNDECIDED: Final = "no preference yet"
MIN_VISITORS: Final = 25


class Preference(NamedTuple):
    """Preference counts: visitors who took more from the first ranker, from the second, as much from both."""

    first: int
    second: int
    ties: int


def preferred(clicks: Iterable[tuple[Hashable, str]]) -> Preference:
    """Count visitors by whose items they took more of; each visitor counts once, however busy.

    Parameters
    ----------
    clicks
        Visitor, and the team of the item taken.

    Examples
    --------
    >>> preferred([("u", "a"), ("u", "a"), ("u", "b"), ("v", "b"), ("w", "=")])
    Preference(first=1, second=1, ties=0)
    """
    ahead: dict[Hashable, int] = {}
    for visitor, team in clicks:
        if team != BOTH:
            ahead[visitor] = ahead.get(visitor, 0) + (1 if team == FIRST else -1)
    signs = np.sign(np.array(list(ahead.values()), dtype=np.int64))
    return Preference(int((signs > 0).sum()), int((signs < 0).sum()), int((signs == 0).sum()))


def report(found: Preference, names: tuple[str, str], alpha: float = 0.05) -> dict[str, Any]:
    """The sign test of a preference: its p-value may be looked at any time; the binomial test of one look stands beside it.

    Parameters
    ----------
    names
        Of the first and the second ranker.

    Returns
    -------
    ``{"sentence", "verdict", "visitors", "share", "p_value", "p_value_fixed_horizon"}``, JSON-able; ``share`` is the first
    ranker's of the visitors with a preference, None if there are none.

    Examples
    --------
    >>> report(Preference(80, 20, 5), ("old", "new"))["verdict"]
    'old preferred'
    """
    n = found.first + found.second
    p = p_counts((found.first, found.second), (0.5, 0.5))
    winner = names[0] if found.first > found.second else names[1]
    if n < MIN_VISITORS:
        verdict, about = NOT_ENOUGH, f"{n} visitors took an item of one ranker only, {MIN_VISITORS} are needed"
    else:
        verdict = f"{winner} preferred" if p <= alpha else UNDECIDED
        about = f"{found.first:,} visitors took more from {names[0]}, {found.second:,} from {names[1]} (p {p:.3g} at any time)"
    return {
        "sentence": f"{verdict}: {about}",
        "verdict": verdict,
        "visitors": {names[0]: found.first, names[1]: found.second, "as much from both": found.ties},
        "share": found.first / n if n else None,
        "p_value": p,
        "p_value_fixed_horizon": float(binomtest(found.first, n).pvalue) if n else 1.0,
    }
