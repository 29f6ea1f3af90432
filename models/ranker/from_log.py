"""The ranker of a typed event log: grown small enough for every retraining, and asked the question that it serves.

The log's sessions are put in the order of time first: the ranker learns from the newest, against what was known before them.
The intents and weights that it learns from are those that the fitted models give for each prefix, as they will when it serves.
The intent model has seen weak labels of some of these sessions: the trees may trust it a little more than it deserves.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.associations.model import AssociationStore
from models.evaluation.ablation import Later
from models.events.encode import NO_CODE, EventArray
from models.features import sessions
from models.inference.examples import Log
from models.inference.intent import IntentModel
from models.questions.next_item import LIMIT, Questions, rank_of
from models.questions.rest_of_session import Prefixes
from models.ranker import training as ranker_training
from models.ranker.model import Ranker, SourceParams, source_params
from models.ranker.training import GrowParams
from models.weight_profile import STATIC, WeightProfile

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SOURCES: Final = SourceParams(n_dims=16)
GROW: Final = GrowParams(learn_share=0.5, n_blocks=2, n_questions=8_000, n_trees=60, n_leaves=15, max_depth=5, moves_only=True)


def fit(
    log: Log, params: Mapping[str, Any] | None = None, seed: int = 0,
    model: IntentModel | None = None, weights: WeightProfile = STATIC,
) -> Ranker:  # fmt: skip
    """Fit the ranker to a log.

    Parameters
    ----------
    params
        Of the sources, as a ranker's file holds them; this program's if not given.
    model, weights
        That will serve beside the ranker. Without the model it learns, and must be asked, without intents.
    """
    events, starts = by_time(log)
    sources = SOURCES if params is None else source_params(params)
    ids = np.array(log.item_ids, dtype=object)
    if model is None:
        return ranker_training.fit(events, starts, ids, weights.base, sources, GROW, seed=seed)
    p = model.predict(sessions.fold(events, starts))
    scaled = weights.base * (p @ weights.factors)
    return ranker_training.fit(events, starts, ids, scaled, sources, GROW, p_intent=p, seed=seed)


def by_time(log: Log) -> tuple[EventArray, npt.NDArray[np.bool_]]:
    """Events and session starts of a log, the oldest session first."""
    order = np.argsort(log.started_us, kind="stable")  # stable: of sessions that began at once, each stays whole
    return np.ascontiguousarray(log.events[order]), np.ascontiguousarray(log.starts[order])


def answers(
    ranker: Ranker, store: AssociationStore, item_ids: list[str], later: Later, asked: Prefixes, weights: WeightProfile
) -> Ints:
    """The ranker's answer to each prefix, as `rest_of_session.answers` has it for the associations, in codes of the store.

    Parameters
    ----------
    item_ids
        Text of each item code of the sessions.
    weights
        That serve beside the ranker.
    """
    known = np.array([*map(ranker.code, item_ids), NO_CODE], dtype=np.int64)
    to_store = np.array([store.code(item_id) for item_id in ranker.sources.wide.item_ids] + [NO_CODE], dtype=np.int64)
    codes, types = known[later.events["item"]], later.events["event_type"]
    p_intent = later.p_intent[asked.last]
    scaled = weights.base * (p_intent @ weights.factors)
    found = np.full((len(asked.last), LIMIT), NO_CODE, dtype=np.int64)
    for k, (first, last, hand) in enumerate(zip(asked.first, asked.last, asked.at_hand, strict=True)):
        rows = slice(first, last + 1)
        answer = ranker.rank(codes[rows], types[rows], scaled[k], LIMIT, known[hand : hand + 1], p_intent[k])
        found[k, : len(answer.items)] = to_store[answer.items]
    return found


def ranks(
    ranker: Ranker, events: EventArray, codes: Ints, asked: Questions, weights: Floats, p_intent: Floats | None = None
) -> Ints:
    """Rank at which the wanted item stands in the ranker's answer, as `next_item.ranks` has it for the associations.

    Parameters
    ----------
    codes
        Code in the ranker of each event's item, shape (n_events,).
    weights
        Weight of each event type for each question, shape (n_questions, n_event_types).
    p_intent
        Probability of each intent for each question, shape (n_questions, n_intents).
    """
    found = np.zeros(len(asked.last), dtype=np.int64)
    types = events["event_type"]
    for k, (first, last, target) in enumerate(zip(asked.first, asked.last, asked.target, strict=True)):
        rows = slice(first, last + 1)
        p = None if p_intent is None else p_intent[k]
        answer = ranker.rank(codes[rows], types[rows], weights[k], LIMIT, codes[last : last + 1], p)
        found[k] = rank_of(answer.items, codes[target])
    return found
