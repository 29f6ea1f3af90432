"""Action weights of groups of visitors, each shrunk to the weights of all: what an action is worth may depend on who does it.

As device and time of day lean on their segment (`models.weights.actions`), a group leans on everybody, with a strength that
empirical Bayes picks. Measured, not served: where groups differ in how readily they buy, their level takes it up, and what is
left does not improve the engagement score (``python -m benchmarks.groups``).
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from scipy.special import logit

from models.arrays import Floats
from models.weights import actions
from models.weights.actions import LEARNED, N_CELLS, SEGMENTS, Counts, Posterior

STRENGTHS: Final = (100.0, 300.0, 1_000.0, 3_000.0, 10_000.0)  # observations that "as all are" may be worth


def weights_of_groups(counts: Mapping[str, Counts], known: Posterior) -> dict[str, Floats]:
    """Action weights of each group, shape (n_event_types,) each.

    Parameters
    ----------
    counts
        Observations of each group's visitors.
    known
        Posterior of all visitors.

    Examples
    --------
    >>> nothing = Counts(*np.zeros((2, actions.N_CONTEXTS, len(LEARNED), 2)))
    >>> everybody = actions.posterior(nothing)
    >>> bool(np.allclose(weights_of_groups({"new": nothing}, everybody)["new"], actions.weights(everybody)))
    True
    """
    p = known.alpha / (known.alpha + known.beta)
    centre = logit(p[:, LEARNED])
    seen = {name: (_by_segment(one.trials), _by_segment(one.rewards)) for name, one in counts.items()}
    fits = {k: {name: actions.fit(n, yes, centre, k) for name, (n, yes) in seen.items()} for k in STRENGTHS}
    strength = max(STRENGTHS, key=lambda k: (sum(one.likelihood for one in fits[k].values()), k))
    return {name: _served(one, known) for name, one in fits[strength].items()}


def _by_segment(part: Floats) -> Floats:
    """Sums over who told, devices and times of day, shape (n_segments, n_learned)."""
    summed: Floats = part.sum(axis=-1)[:, LEARNED].reshape(len(SEGMENTS), N_CELLS, -1).sum(axis=1)
    return summed


def _served(found: actions.Fit, known: Posterior) -> Floats:
    p = actions.with_purchase(found.alpha / (found.alpha + found.beta))
    of_segments = actions.on_scale(p, known.level + found.level, known)
    return np.asarray(np.where(known.thin | ~LEARNED, actions.BASE, known.share @ of_segments))
