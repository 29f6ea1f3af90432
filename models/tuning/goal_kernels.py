"""Compiled loss of goal weights: a power of the score, over all items that anything speaks for (Luce's choice rule)."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Floats, Floats32, Ints, Ints32
from models.goal_weights import N_PARTS, moved
from models.kernels import kernel


class Lessons(NamedTuple):
    """Moments after which something of one kind was wanted, and could be had.

    Entries of moment q stand at ``entries_at[q]:entries_at[q + 1]``, its wanted items at ``wanted_at[q]:wanted_at[q + 1]``.
    """

    entries_at: Ints  # (n_moments + 1,)
    n_items: Ints  # (n_moments,), that anything speaks for
    place: Ints32  # of each entry's item among them
    parts: npt.NDArray[np.int16]  # (n_entries, 3), weights whose product an entry is multiplied by; N_PARTS for 1
    amount: Floats32  # (n_entries,)
    wanted_at: Ints  # (n_moments + 1,)
    wanted: Ints32  # places
    centered: Floats  # (n_moments, n_intents), p_intent - center
    items_at: Ints  # (n_moments + 1,), where those of a moment stand in `many`
    many: Floats32  # (n_items of all moments,), as how many each item counts: others of its like were left out


@kernel
def loss(
    lessons: Lessons, base: Floats, slopes: Floats, power: float, each: Floats, top: Floats, to_base: Floats, to_slopes: Floats
) -> float:
    """Mean over the moments, gradients of it added to `to_base` and `to_slopes`; returns that in the logarithm of the power.

    P(j) = score(j)^power / sum of score^power; the loss of a moment, in `each`, is the mean over its wanted items of -log P.
    `top` takes each moment's highest score.
    """
    w, to_w, by_power, n_moments = np.ones(N_PARTS + 1), np.empty(N_PARTS + 1), 0.0, len(lessons.n_items)
    most = 1
    for q in range(n_moments):
        most = max(most, lessons.n_items[q])
    score, slope, hit = np.empty(most), np.empty(most), np.empty(most)
    place, parts, amount, many = lessons.place, lessons.parts, lessons.amount, lessons.many
    for q in range(n_moments):
        n, first, last, at = lessons.n_items[q], lessons.entries_at[q], lessons.entries_at[q + 1], lessons.items_at[q]
        moved(base, slopes, lessons.centered[q], w)
        score[:n], hit[:n] = 1e-300, 0.0
        for e in range(first, last):
            score[place[e]] += w[parts[e, 0]] * w[parts[e, 1]] * w[parts[e, 2]] * amount[e]
        n_wanted = lessons.wanted_at[q + 1] - lessons.wanted_at[q]
        for k in range(lessons.wanted_at[q], lessons.wanted_at[q + 1]):
            hit[lessons.wanted[k]] += 1.0 / n_wanted
        top[q] = score[:n].max()
        total = 0.0
        for j in range(n):
            slope[j] = np.log(score[j] / top[q])
            total += many[at + j] * np.exp(power * slope[j])
        each[q] = np.log(total)
        for j in range(n):
            wrong = many[at + j] * np.exp(power * slope[j]) / total - hit[j]
            each[q] -= hit[j] * power * slope[j]
            by_power += power * wrong * slope[j] / n_moments
            slope[j] = power * wrong / score[j] / n_moments
        to_w[:] = 0.0
        for e in range(first, last):
            a, b, c = parts[e, 0], parts[e, 1], parts[e, 2]
            change = w[a] * w[b] * w[c] * amount[e] * slope[place[e]]
            to_w[a] += change
            to_w[b] += change
            to_w[c] += change
        for part in range(N_PARTS):
            to_base[part] += to_w[part]
            for intent in range(to_slopes.shape[1]):
                to_slopes[part, intent] += to_w[part] * lessons.centered[q, intent]
    return by_power
