"""Threshold by value: from which score on a signal earned more than it cost, by the users to whom chance denied it.

Of each user with a first signal of a kind, sent or held back, the score then and the money since are known. Above a threshold
t, sending is worth

    V(t) = mean over users of [score >= t] * (money * sent / (1 - h) - money * held / h)

with the share h held out (Horvitz and Thompson, 1952). The best t has the highest V; users are drawn again and again to say how
far both may be from the truth.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from models.arrays import Flags, Floats
from models.statistics.verdict import NOT_ENOUGH

LEAST_USERS: Final = 200  # in each group
N_CANDIDATES: Final = 20
N_DRAWS: Final = 200
ALPHA: Final = 0.05


@dataclass(frozen=True)
class SuggestedThreshold:
    """Score from which signals of a kind pay, by the visitors who were held out; null where that is not known, or none pays.

    `value` is what sending from there on brings per visitor, in money; each lies between its `low` and `high` with 95 %.
    """

    threshold: float | None
    threshold_low: float | None
    threshold_high: float | None
    value: float | None
    value_low: float | None
    value_high: float | None
    sentence: str


def suggest(score: Floats, money: Floats, held: Flags, holdout_share: float, rng: np.random.Generator) -> SuggestedThreshold:
    """Suggest a threshold for one kind of signal.

    Parameters
    ----------
    score, money, held
        Of each user with a first signal of the kind: score then, what was paid since less what was promised, and whether it was
        held back; shape (n_users,).

    Examples
    --------
    >>> nobody = np.zeros(0)
    >>> suggest(nobody, nobody, nobody > 0, 0.05, np.random.default_rng(1)).sentence
    'not enough data: 0 sent, 0 held out; 200 of each are needed'
    """
    n_held = int(held.sum())
    n_sent = len(held) - n_held
    if min(n_held, n_sent) < LEAST_USERS or not 0 < holdout_share < 1:
        told = f"{NOT_ENOUGH}: {n_sent} sent, {n_held} held out; {LEAST_USERS} of each are needed"
        return SuggestedThreshold(None, None, None, None, None, None, told)
    gain = money * np.where(held, -1 / holdout_share, 1 / (1 - holdout_share))
    candidates = np.unique(np.quantile(score, np.linspace(0, 0.95, N_CANDIDATES)))
    above = score[:, None] >= candidates  # (n_users, n_candidates)
    values = gain @ above / len(gain)
    best = int(values.argmax())
    n_times = rng.multinomial(len(gain), np.full(len(gain), 1 / len(gain)), size=N_DRAWS)
    drawn = (n_times * gain) @ above / len(gain)
    low, high = np.quantile(drawn[:, best], (ALPHA / 2, 1 - ALPHA / 2)).tolist()
    if values[best] <= 0:
        said = f"it loses money at every threshold: {values[best]:+.3f} per user ({low:+.3f} to {high:+.3f}); leave it out"
        return SuggestedThreshold(None, None, None, float(values[best]), low, high, said)
    t_low, t_high = np.quantile(candidates[drawn.argmax(axis=1)], (ALPHA / 2, 1 - ALPHA / 2)).tolist()
    sure = "" if low > 0 else "; that it pays is not shown yet"
    said = f"from a score of {candidates[best]:.3f} ({t_low:.3f} to {t_high:.3f}) it brings {values[best]:+.3f} per user"
    return SuggestedThreshold(
        float(candidates[best]), t_low, t_high, float(values[best]), low, high, f"{said} ({low:+.3f} to {high:+.3f}){sure}"
    )
