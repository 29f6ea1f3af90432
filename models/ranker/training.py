"""Training of the ranker: questions of later sessions against sources that had not seen them.

The newest share of the sessions is cut into blocks. For each block the sources are built from everything before it, so that the
features look as they will when serving: fresh, and without the answer in them. A question is a prefix of a session; the rows
are the candidate that came next and some of the others, drawn at random. Questions whose answer is no candidate teach nothing.
LambdaMART: LightGBM's ``lambdarank`` (Burges 2010), one relevant row per question.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from models.arrays import Flags, Floats, Floats32, Ints, Objects
from models.associations.goal_query import Past
from models.associations.goals import NO_PAST
from models.events.encode import EventArray
from models.learners.tree_walk import Trees, flatten, narrowed
from models.ranker import kernels
from models.ranker.model import Ranker, SourceParams, Sources, build_sources
from models.schema import N_INTENTS

MIN_QUESTIONS: Final = 30  # with an answer among the candidates; fewer are too few to learn from
Progress = Callable[[int, int], None]  # (steps done, steps in all)
Build = Callable[[EventArray, Flags, Objects, SourceParams], Sources]


@dataclass(frozen=True)
class GrowParams:
    """Parameters of the training: how much is learned from, and the shape of the trees.

    Attributes
    ----------
    learn_share
        Share of the sessions, the newest, that questions come from.
    n_questions
        Drawn at random from the newest share.
    n_negatives
        Rows per question beside the answer.
    max_depth
        Of a tree; every candidate walks that many steps down each tree.
    moves_only
        Ask only where the visitor goes on to another item. In a log that tells several things about each item, the item at
        hand would otherwise be most answers.
    """

    learn_share: float = 0.25
    n_blocks: int = 5
    n_questions: int = 80_000
    n_negatives: int = 12
    n_trees: int = 200
    n_leaves: int = 31
    max_depth: int = 6
    learning_rate: float = 0.08
    min_rows_in_leaf: int = 50
    feature_share: float = 0.7
    truncation: int = 8
    max_bin: int = 63
    moves_only: bool = False
    num_threads: int = 1  # a second one loses several times over on busy cores


class Known(NamedTuple):
    """Sessions as a request would know them after some events, shapes (n_asked, n_event_types) and (n_asked, n_intents).

    Attributes
    ----------
    pasts
        Deeds of each one's visitor in earlier sessions; empty where nobody knows.
    """

    weights: Floats
    p_intent: Floats
    pasts: Sequence[Past] = ()

    def at(self, nth: int) -> "Known":
        """Knowledge of one of them."""
        return Known(self.weights[nth], self.p_intent[nth], self.pasts[nth : nth + 1] or (NO_PAST,))


Knowing = Callable[[Ints], Known]  # from the rows of some events


def always(weights: Floats, p_intent: Floats | None = None) -> Knowing:
    """The same knowledge after every event: weights, shape (n_event_types,), and the intent, where anybody knows it."""
    p = np.zeros(N_INTENTS) if p_intent is None else p_intent
    return lambda rows: Known(np.tile(weights, (len(rows), 1)), np.tile(p, (len(rows), 1)))


class Rows(NamedTuple):
    """Candidates of questions, the answer first in each group.

    Attributes
    ----------
    features
        Shape (n_rows, n_features).
    sizes
        Rows of each question, shape (n_kept,).
    n_asked
        Questions asked, also those whose answer was no candidate.
    """

    features: Floats32
    sizes: Ints
    n_asked: int


def fit(
    events: EventArray, starts: Flags, item_ids: Objects, knowing: Knowing,
    sources: SourceParams | None = None, grow: GrowParams | None = None,
    *, seed: int = 0, progress: Progress | None = None, build: Build = build_sources,
) -> Ranker:  # fmt: skip
    """Learn trees from the newest sessions, and build the sources from all of them.

    Parameters
    ----------
    events
        Whole sessions one after the other, oldest session first, shape (n_events,).
    starts
        True at the first event of each session, shape (n_events,).
    item_ids
        Text of each item code, shape (n_items,).
    knowing
        What a request would know after an event; asked for those that questions stand behind, and no others.
    progress
        Called after each block and now and then while trees grow.
    build
        Makes the sources.

    Raises
    ------
    ValueError
        If the shapes disagree, or an item code has no text.
    """
    params, grow = sources or SourceParams(), grow or GrowParams()
    rows = collect(events, starts, item_ids, knowing, params, grow, np.random.default_rng(seed), progress, build)
    trees = None if len(rows.sizes) < MIN_QUESTIONS else _boost(rows, grow, seed, progress)
    return Ranker(build(events, starts, item_ids, params), trees, params, "" if trees else "too_few_questions")


def collect(
    events: EventArray, starts: Flags, item_ids: Objects, knowing: Knowing,
    params: SourceParams, grow: GrowParams, rng: np.random.Generator, progress: Progress | None = None,
    build: Build = build_sources,
) -> Rows:  # fmt: skip
    """Rows to learn from: block by block, against sources built from everything before the block."""
    begins = np.append(np.flatnonzero(starts), len(events))
    n_sessions = len(begins) - 1
    edges = np.linspace(int(n_sessions * (1 - grow.learn_share)), n_sessions, grow.n_blocks + 1).astype(np.int64)
    first, last = questions(events, begins, int(edges[0]), grow.moves_only)
    if len(last) > grow.n_questions:
        drawn = np.sort(rng.choice(len(last), grow.n_questions, replace=False))
        first, last = first[drawn], last[drawn]
    known = knowing(last - 1)
    features, sizes = [np.zeros((0, kernels.N_FEATURES), np.float32)], []
    for k, (begin, end) in enumerate(pairwise(edges)):
        upto = begins[begin]
        asked = (last >= upto) & (last < begins[end])
        if asked.any():
            ranker = Ranker(build(events[:upto], starts[:upto], item_ids, params), None, params)
            for nth in np.flatnonzero(asked).tolist():
                found = _rows(ranker, events, first[nth], last[nth], known.at(nth), grow.n_negatives, rng)
                if found is not None:
                    features.append(found)
                    sizes.append(len(found))
        if progress:
            progress(k + 1, grow.n_blocks)
    return Rows(np.concatenate(features), np.array(sizes, dtype=np.int64), len(last))


def questions(events: EventArray, begins: Ints, first_session: int, moves_only: bool = False) -> tuple[Ints, Ints]:
    """First row of the session and row of the wanted event, for every item event but the first of each session.

    Parameters
    ----------
    moves_only
        Without those about the same item as the item event before.

    Examples
    --------
    >>> from models.events.encode import EVENT_DTYPE
    >>> events = np.zeros(5, EVENT_DTYPE)
    >>> events["item"] = [7, 8, 7, -1, 8]
    >>> [rows.tolist() for rows in questions(events, np.array([0, 2, 5]), 0)]
    [[0, 2], [1, 4]]
    """
    with_item = np.flatnonzero(events["item"] >= 0)
    session = np.searchsorted(begins, with_item, side="right") - 1
    asked = np.zeros(len(with_item), dtype=bool)
    asked[1:] = session[1:] == session[:-1]
    asked &= session >= first_session
    if moves_only:
        asked[1:] &= events["item"][with_item[1:]] != events["item"][with_item[:-1]]
    return begins[session[asked]], with_item[asked]


def _rows(
    ranker: Ranker, events: EventArray, first: int, wanted: int, seen: Known, n_negatives: int, rng: np.random.Generator
) -> Floats32 | None:
    prefix = events[first:wanted]
    codes, features, n = ranker.candidates(prefix["item"], prefix["event_type"], seen.weights, seen.p_intent, seen.pasts[0])
    hit = codes[:n] == events["item"][wanted]
    others = np.flatnonzero(~hit)
    if len(others) == n or len(others) == 0:
        return None
    if len(others) > n_negatives:
        others = rng.choice(others, n_negatives, replace=False)
    return features[np.concatenate((np.flatnonzero(hit), others))]


def _boost(rows: Rows, grow: GrowParams, seed: int, progress: Progress | None) -> Trees:
    import lightgbm as lgb  # only here: what serves grows no trees

    label = np.zeros(len(rows.features), np.int8)
    label[np.cumsum(rows.sizes) - rows.sizes] = 1
    settings = {
        "objective": "lambdarank", "label_gain": [0, 1], "lambdarank_truncation_level": grow.truncation,
        "num_leaves": grow.n_leaves, "max_depth": grow.max_depth, "learning_rate": grow.learning_rate,
        "min_data_in_leaf": grow.min_rows_in_leaf, "feature_fraction": grow.feature_share, "max_bin": grow.max_bin,
        "num_threads": grow.num_threads, "use_missing": False, "deterministic": True, "force_row_wise": True,
        "seed": seed, "verbose": -1,
    }  # fmt: skip
    data = lgb.Dataset(rows.features, label, group=rows.sizes, feature_name=list(kernels.FEATURES), free_raw_data=True)
    told = [lambda env: progress(env.iteration + 1, grow.n_trees)] if progress else []
    booster = lgb.train(settings, data, grow.n_trees, callbacks=told)
    return narrowed(flatten(booster.model_to_string(), kernels.N_FEATURES), kernels.N_FEATURES)
