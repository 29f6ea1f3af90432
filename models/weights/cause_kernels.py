"""Kernels behind the causes of purchases: decayed counts of actions, and the two-way pass over what is latent in each stretch.

Plain arrays in and out, so that they compile once; `models.weights.causes` says what they mean.
"""

import numpy as np

from models.arrays import Flags, Floats, Ints
from models.kernels import kernel


@kernel
def decayed_counts(kind: Ints, starts: Flags, decay: float, n_types: int) -> Floats:
    """Count of each type up to and with each event, an earlier event counting `decay` for each event since."""
    found = np.zeros((len(kind), n_types))
    for i in range(len(kind)):
        if not starts[i]:
            for e in range(n_types):
                found[i, e] = decay * found[i - 1, e]
        found[i, kind[i]] += 1.0
    return found


@kernel
def expectations(
    seen: Floats, first: Floats, move: Floats, hazard: Floats, decided: Floats, begins: Ints, ends: Ints, buys: Flags
) -> tuple[Floats, Floats, Floats, float]:
    """Posterior of mood and decision at every event.

    Parameters
    ----------
    seen
        Likelihood of each event by mood, as long as nothing is decided, shape (n_events, n_moods).
    first, move
        Of the moods, shape (n_moods,), (n_moods, n_moods).
    hazard
        P(decide after this event | mood, not decided), shape (n_events, n_moods).
    decided
        Likelihood of each event once it is decided, 0 where it cannot be, shape (n_events,).
    begins, ends, buys
        First event of each stretch, the one behind its last, and whether a purchase follows; shape (n_stretches,).

    Returns
    -------
    P(undecided, mood), P(decides here, mood), both of shape (n_events, n_moods); expected moves of the mood, shape
    (n_stretches, n_moods, n_moods); log likelihood.
    """
    n, k = seen.shape
    open_, decides = np.zeros((n, k)), np.zeros((n, k))
    moves = np.zeros((len(begins), k, k))
    alive, scale = np.zeros((n, k)), np.zeros(n)
    future, past, arrives = np.zeros(k), np.zeros(k), np.zeros(k)
    likelihood = 0.0
    for s in range(len(begins)):
        a, b = begins[s], ends[s]
        for i in range(a, b):
            total = 0.0
            for z in range(k):
                if i == a:
                    past[z] = first[z]
                else:
                    past[z] = 0.0
                    for y in range(k):
                        past[z] += alive[i - 1, y] * (1.0 - hazard[i - 1, y]) * move[y, z]
                alive[i, z] = past[z] * seen[i, z]
                total += alive[i, z]
            scale[i] = total
            likelihood += np.log(total)
            for z in range(k):
                alive[i, z] /= total
        # Backwards: `paid` is the likelihood, on the forward scale, of all that follows if it is decided by now.
        paid = 1.0 if buys[s] else 0.0
        evidence = 0.0
        for i in range(b - 1, a - 1, -1):
            for z in range(k):
                after = 0.0
                if i < b - 1:
                    for y in range(k):
                        after += move[z, y] * seen[i + 1, y] * future[y] / scale[i + 1]
                elif not buys[s]:
                    after = 1.0
                arrives[z] = hazard[i, z] * paid + (1.0 - hazard[i, z]) * after
                open_[i, z] = alive[i, z] * arrives[z]
                decides[i, z] = alive[i, z] * hazard[i, z] * paid
            for z in range(k):
                future[z] = arrives[z]
            paid = paid * decided[i] / scale[i]
            if i == a:
                for z in range(k):
                    evidence += open_[i, z]
        if evidence <= 0.0:
            for i in range(a, b):
                for z in range(k):
                    open_[i, z] = decides[i, z] = 0.0
            continue
        likelihood += np.log(evidence)
        for i in range(a, b):
            for z in range(k):
                open_[i, z] /= evidence
                decides[i, z] /= evidence
        for i in range(a, b - 1):
            for z in range(k):
                stays = open_[i, z] - decides[i, z]
                total = 0.0
                for y in range(k):
                    before = alive[i, z] * (1.0 - hazard[i, z]) * move[z, y] * seen[i + 1, y] / scale[i + 1]
                    if alive[i + 1, y] > 0.0:
                        arrives[y] = before * open_[i + 1, y] / alive[i + 1, y]
                    else:
                        arrives[y] = 0.0
                    total += arrives[y]
                if total > 0.0 and stays > 0.0:
                    for y in range(k):
                        moves[s, z, y] += stays * arrives[y] / total
    return open_, decides, moves, likelihood
