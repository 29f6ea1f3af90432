"""Query of the ranker: from a session to candidates, or to the best items, in one compiled call.

What stays from request to request is bound once as addresses (`models.bound`): to hand over some fifty arrays costs as much as
to score the candidates.
"""

from typing import Final, NamedTuple

import numpy as np

from models.arrays import Bytes, Flags, Floats, Floats32, Ints
from models.associations.arrays import Pairs, pair_types
from models.associations.goal_query import Past
from models.bound import Bound, bind, float32_rows, floats, floats32, int32_rows, int_rows, ints, ints32
from models.kernels import kernel
from models.learners.tree_walk import Trees, score_rows
from models.ranker import kernels, neighbour_kernels
from models.ranker.arrays import Catalogue, Embeddings, Mix, Scratch, Session

_NO_TREES: Final = Trees(
    np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.int32), np.zeros(0), np.zeros(0, np.int32),
    np.zeros(0, np.int32),
)  # fmt: skip
_FOLLOWING, _ITEMS, _MIX, _NEIGHBOURS, _TREES = 4, 8, 15, 19, 24  # where the arrays of each begin in the table
_MET: Final = 8  # the same of the neighbours' scratch, behind the ranker's own


class Question(NamedTuple):
    """Question to the ranker: the fields of `Session`, shapes as there.

    Attributes
    ----------
    past_item, past_kind, past_age_s
        Of earlier sessions, newest first.
    """

    items: Ints
    kinds: Bytes
    weight: Floats
    p_intent: Floats
    past_item: Ints
    past_kind: Bytes
    past_age_s: Floats


def bound(
    catalogue: Catalogue, mix: Mix, index: neighbour_kernels.Index, rules: neighbour_kernels.Rules, trees: Trees | None
) -> Bound:
    """Bind all that a ranker has learned.

    Raises
    ------
    ValueError
        If the trees' thresholds are not of 32 bits.
    """
    grown = _NO_TREES if trees is None else trees
    if grown.threshold.dtype != np.float32:
        raise ValueError(f"thresholds must be float32, got {grown.threshold.dtype}")
    numbers = np.array([mix.unmatched, mix.max_anchors, mix.n_blended, mix.n_reached, *rules])
    return bind(
        *catalogue.wide, *catalogue.following, catalogue.traits, catalogue.vectors, catalogue.category, *catalogue.embeddings,
        mix.decays, mix.blend, numbers, mix.nearness, *index, *grown,
    )  # fmt: skip


@kernel
def _pairs(table: Ints, at: int) -> Pairs:
    return Pairs(ints(table, at), ints32(table, at + 1), pair_types(table, at + 2), floats32(table, at + 3))


@kernel
def _scratch(table: Ints) -> Scratch:
    return Scratch(
        ints(table, 0), int_rows(table, 1), ints(table, 2), float32_rows(table, 3), floats32(table, 4), int32_rows(table, 5),
        ints(table, 6), float32_rows(table, 7),
    )  # fmt: skip


@kernel
def collect(
    items: Ints, kinds: Bytes, weight: Floats, p_intent: Floats, past_item: Ints, past_kind: Bytes, past_age_s: Floats,
    table: Ints, scratch_table: Ints,
) -> int:  # fmt: skip
    """Candidates of a session; they and their features stand in the scratch afterwards. Returns how many.

    Parameters
    ----------
    items, kinds, weight, p_intent, past_item, past_kind, past_age_s
        Fields of `Question`.
    table, scratch_table
        Of `bound`, and of `Scratch` with the neighbours' behind it.
    """
    session = Session(items, kinds, weight, p_intent, Past(past_item, past_kind, past_age_s))
    at = _ITEMS
    catalogue = Catalogue(
        _pairs(table, 0), _pairs(table, _FOLLOWING), float32_rows(table, at), float32_rows(table, at + 1),
        ints32(table, at + 2),
        Embeddings(
            float32_rows(table, at + 3), float32_rows(table, at + 4), floats32(table, at + 5), int32_rows(table, at + 6)
        ),
    )  # fmt: skip
    numbers, at = floats(table, _MIX + 2), _NEIGHBOURS
    mix = Mix(
        floats(table, _MIX), floats(table, _MIX + 1), numbers[0], int(numbers[1]), int(numbers[2]), int(numbers[3]),
        floats32(table, _MIX + 3),
    )  # fmt: skip
    index = neighbour_kernels.Index(
        ints(table, at), ints32(table, at + 1), ints(table, at + 2), ints32(table, at + 3), floats32(table, at + 4)
    )
    rules = neighbour_kernels.Rules(int(numbers[4]), int(numbers[5]), numbers[6], numbers[7], numbers[8])
    at = _MET
    met = neighbour_kernels.Scratch(
        ints(scratch_table, at), ints(scratch_table, at + 1), floats32(scratch_table, at + 2), ints32(scratch_table, at + 3),
        ints32(scratch_table, at + 4), int_rows(scratch_table, at + 5), ints32(scratch_table, at + 6),
        ints(scratch_table, at + 7), float32_rows(scratch_table, at + 8), ints(scratch_table, at + 9),
    )  # fmt: skip
    n = neighbour_kernels.query(index, items, rules, met)
    return kernels.candidates(session, catalogue, mix, met.item[:n], met.sums[:n], _scratch(scratch_table))


@kernel
def _scores(table: Ints, features: Floats32, n: int) -> Floats:
    at, found = _TREES, np.empty(n)
    trees = Trees(
        ints32(table, at), floats32(table, at + 1), ints32(table, at + 2), floats(table, at + 3), ints32(table, at + 4),
        ints32(table, at + 5),
    )  # fmt: skip
    if len(trees.roots):
        score_rows(trees, features, n, found)
    else:
        kernels.blend_score(features, n, floats(table, _MIX + 1), found)
    return found


@kernel
def best(
    items: Ints, kinds: Bytes, weight: Floats, p_intent: Floats, past_item: Ints, past_kind: Bytes, past_age_s: Floats,
    table: Ints, scratch_table: Ints, shut: Ints, allowed: Flags, limit: int,
) -> tuple[Ints, Floats]:  # fmt: skip
    """The best candidates of a session, best first, and their scores.

    Parameters
    ----------
    shut
        Codes that must not come back.
    allowed
        Which items may, shape (n_items,), or empty.
    """
    n = collect(items, kinds, weight, p_intent, past_item, past_kind, past_age_s, table, scratch_table)
    scratch = _scratch(scratch_table)
    scores, codes = _scores(table, scratch.features, n), scratch.codes
    if len(allowed):
        more, closed = len(shut), np.empty(len(shut) + n, np.int64)
        closed[:more] = shut
        for k in range(n):
            if not allowed[codes[k]]:
                closed[more] = codes[k]
                more += 1
        shut = closed[:more]
    return kernels.best(codes, scores, n, shut, limit)
