"""Prior of the bandit: how profiles are expected to compare before any of them was dealt.

A retraining and a tuning replay logged sessions under every profile and measure what each would have ranked high of what was
wanted then: an off-policy estimate, by the direct method. It is about other sessions, and about rankings rather than rewards,
so it moves a profile's log odds by half of its own log ratio, and at most by `MOST`: less than the prior's spread, so that a
hundred outcomes say more.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

TRUST: Final = 0.5
MOST: Final = 0.5  # log odds


def expected(scores: Mapping[str, float]) -> dict[str, float]:
    """Log odds by which profiles are expected to differ from their mean; 0 for those with the mean score.

    Parameters
    ----------
    scores
        Replayed NDCG of each profile, >= 0; without any above 0 nothing is expected.

    Examples
    --------
    >>> {name: round(shift, 2) for name, shift in expected({"static": 0.1, "learned": 0.2, "odd": 0.0}).items()}
    {'static': -0.17, 'learned': 0.17, 'odd': -0.5}
    """
    told = [score for score in scores.values() if score > 0]
    if not told:
        return {}
    centre = float(np.mean(np.log(told)))
    shifts = {name: TRUST * (float(np.log(score)) - centre) if score > 0 else -MOST for name, score in scores.items()}
    return {name: min(max(shift, -MOST), MOST) for name, shift in shifts.items()}
