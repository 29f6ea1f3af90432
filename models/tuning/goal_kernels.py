"""Loss of goal weights: a power of the score, over all items that anything speaks for (Luce's choice rule), and its gradient.

A score is linear in the products of weights that its entries are multiplied by. So a moment is a sparse matrix of items by
kinds of evidence, kept item by item: two compiled passes go over it, there with the weights and back with the slopes. All else
is numpy's, over the items or the weights of all moments at once.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Floats, Floats32, Ints
from models.goal_weights import N_PARTS
from models.kernels import kernel


class Lessons(NamedTuple):
    """Moments after which something of one kind was wanted, and could be had; each with an item at least.

    Kinds of evidence of moment q stand at ``kinds_at[q]:kinds_at[q + 1]``, its items at ``items_at[q]:items_at[q + 1]``, the
    entries of an item j at ``entries_at[j]:entries_at[j + 1]``.
    """

    kinds_at: Ints  # (n_moments + 1,)
    parts: npt.NDArray[np.int16]  # (n_kinds of all moments, 3), weights whose product a kind is multiplied by; N_PARTS for 1
    items_at: Ints  # (n_moments + 1,)
    entries_at: Ints  # (n_items of all moments + 1,)
    kind: npt.NDArray[np.uint16]  # of each entry, among those of its moment
    amount: Floats32  # (n_entries,)
    many: Floats32  # (n_items,), as how many each item counts: others of its like were left out
    wanted: Floats  # (n_items,), 1 / n_wanted of the moment where it was wanted, else 0
    centered: Floats  # (n_moments, n_intents), p_intent - center


class Loss(NamedTuple):
    """Loss of each moment, in `each`, and gradients of the mean over the moments; `top` is each moment's highest score."""

    each: Floats  # (n_moments,)
    top: Floats  # (n_moments,)
    to_base: Floats  # (N_PARTS,)
    to_slopes: Floats  # (N_PARTS, n_intents)
    to_power: float  # in the logarithm of the power


def loss(lessons: Lessons, base: Floats, slopes: Floats, power: float) -> Loss:
    """Loss of the moments: P(j) = score(j)^power / sum of score^power, and the mean over the wanted items of -log P.

    Parameters
    ----------
    base, slopes
        Logarithms of the weights at the mean intent, shape (N_PARTS,), and what intent adds, shape (N_PARTS, n_intents).
    """
    n, starts = len(lessons.centered), lessons.items_at[:-1]
    moment = np.repeat(np.arange(n), np.diff(lessons.items_at))
    w = np.ones((n, N_PARTS + 1))
    np.exp(base + lessons.centered @ slopes.T, out=w[:, :N_PARTS])
    score = np.empty(len(lessons.many))
    _score(lessons, w, score)
    top = np.maximum.reduceat(score, starts)
    log = np.log(score / top[moment])
    chance = lessons.many * np.exp(power * log)
    total = np.add.reduceat(chance, starts)
    each = np.log(total) - power * np.add.reduceat(lessons.wanted * log, starts)
    wrong = power / n * (chance / total[moment] - lessons.wanted)
    to_w = np.zeros((n, N_PARTS + 1))
    _gradients(lessons, w, wrong / score, to_w)
    to_w = to_w[:, :N_PARTS]
    return Loss(each, top, to_w.sum(axis=0), to_w.T @ lessons.centered, float(wrong @ log))


@kernel
def _score(lessons: Lessons, w: Floats, score: Floats) -> None:
    """What speaks for each item; at least 1e-300, so that there is a logarithm."""
    kinds_at, parts, items_at, entries_at = lessons.kinds_at, lessons.parts, lessons.items_at, lessons.entries_at
    kind, amount, of_kind = lessons.kind, lessons.amount, np.empty(_most_kinds(kinds_at))
    for q in range(len(w)):
        first = kinds_at[q]
        for k in range(first, kinds_at[q + 1]):
            of_kind[k - first] = w[q, parts[k, 0]] * w[q, parts[k, 1]] * w[q, parts[k, 2]]
        for j in range(items_at[q], items_at[q + 1]):
            total = 1e-300
            for e in range(entries_at[j], entries_at[j + 1]):
                total += of_kind[kind[e]] * amount[e]
            score[j] = total


@kernel
def _gradients(lessons: Lessons, w: Floats, slope: Floats, to_w: Floats) -> None:
    """Add the gradient in the logarithms of each moment's weights; `slope` is that in the scores."""
    kinds_at, parts, items_at, entries_at = lessons.kinds_at, lessons.parts, lessons.items_at, lessons.entries_at
    kind, amount, of_kind = lessons.kind, lessons.amount, np.empty(_most_kinds(kinds_at))
    for q in range(len(w)):
        first, n = kinds_at[q], kinds_at[q + 1] - kinds_at[q]
        of_kind[:n] = 0.0
        for j in range(items_at[q], items_at[q + 1]):
            for e in range(entries_at[j], entries_at[j + 1]):
                of_kind[kind[e]] += slope[j] * amount[e]
        for k in range(n):
            a, b, c = parts[first + k, 0], parts[first + k, 1], parts[first + k, 2]
            change = of_kind[k] * w[q, a] * w[q, b] * w[q, c]
            to_w[q, a] += change
            to_w[q, b] += change
            to_w[q, c] += change


@kernel
def _most_kinds(kinds_at: Ints) -> int:
    most = 0
    for q in range(len(kinds_at) - 1):
        most = max(most, kinds_at[q + 1] - kinds_at[q])
    return most
