"""The ranker of a typed event log, grown small enough for every retraining.

The log's sessions are put in the order of time first: the ranker learns from the newest, against what was known before them.
The intents and weights that it learns from are those that the fitted models give for each prefix, as they will when it serves.
The intent model has seen weak labels of some of these sessions: the trees may trust it a little more than it deserves.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from models.arrays import Flags, Ints, Objects
from models.artifact import Parts
from models.associations.goal_query import Past
from models.events.encode import EventArray
from models.features import histories, sessions
from models.inference import shops
from models.inference.examples import Log
from models.inference.intent import IntentModel
from models.inference.training import TrainingInput
from models.memo import Memo
from models.ranker import model as ranker_model
from models.ranker import training as ranker_training
from models.ranker.embeddings import EmbeddingParams
from models.ranker.model import Ranker, SourceParams, Sources, build_sources, source_params
from models.ranker.training import Build, GrowParams, Knowing, Known
from models.weight_profile import STATIC, WeightProfile

# Without embeddings: on Taobao, trivago and REES46 they changed nothing surely, and they cost a retraining time.
SOURCES: Final = SourceParams(n_dims=16, embeddings=EmbeddingParams(n_rounds=0), n_reached=0)
GROW: Final = GrowParams(learn_share=0.5, n_blocks=2, n_questions=8_000, n_trees=60, n_leaves=15, max_depth=5, moves_only=True)


def fit(
    log: Log, params: Mapping[str, Any] | None = None, seed: int = 0,
    model: IntentModel | None = None, weights: WeightProfile = STATIC, build: Build = build_sources,
) -> Ranker:  # fmt: skip
    """Fit the ranker to a log.

    Parameters
    ----------
    params
        Of the sources, as a ranker's file holds them; this program's if not given.
    model, weights
        That will serve beside the ranker. Without the model it learns, and must be asked, without intents.
    build
        Makes the sources of the log up to some event.
    """
    events, starts, users = by_time(log)
    sources = SOURCES if params is None else source_params(params)
    ids = np.array(log.item_ids, dtype=object)
    plain = ranker_training.always(weights.base) if model is None else _inferred(events, starts, model, weights)
    knowing = _with_history(plain, events, starts, users)
    return ranker_training.fit(events, starts, ids, knowing, sources, GROW, seed=seed, build=build)


def _inferred(events: EventArray, starts: Flags, model: IntentModel, weights: WeightProfile) -> Knowing:
    """What a request knows after an event, by models that serve beside the ranker."""

    def knowing(rows: Ints) -> Known:
        p = model.predict(sessions.fold_at(events, starts, rows))
        return Known(weights.scaled(p), p)

    return knowing


def _with_history(knowing: Knowing, events: EventArray, starts: Flags, users: Ints) -> Knowing:
    """Knowledge of the visitor's earlier sessions beside it, as the online store would have told it."""
    known, at_us = histories.of(events, users), events["occurred_at_us"]
    began = np.maximum.accumulate(np.where(starts, np.arange(len(starts)), 0))

    def past(row: int) -> Past:
        now_us = int(at_us[row])
        places = histories.until(known, int(users[row]), now_us, int(at_us[began[row]]))
        return Past(known.item[places], known.kind[places], (now_us - known.at_us[places]) / 1e6)

    return lambda rows: knowing(rows)._replace(pasts=[past(row) for row in rows.tolist()])


def fit_on(data: TrainingInput) -> Parts:
    """Fit to the whole log, with the fitted intent model and weights; a log too small to learn from gives the fallback."""
    given = {"seed": data.seed, "model": data.fitted["intent"], "weights": data.fitted["weights"]}
    return shops.fit(data.log, lambda log: ranker_model.to_parts(fit(log, **given)))


def rebuilt(parts: Parts, earlier: Log, fitted: Mapping[str, Any], memo: Memo) -> Ranker:
    """The ranker as it would have been before a period, fitted to the sessions that began earlier."""
    given = {"model": fitted["intent"], "weights": fitted["weights"]}

    def one(kept: Parts, log: Log, shop: str) -> Ranker:
        def build(events: EventArray, starts: Flags, item_ids: Objects, params: SourceParams) -> Sources:
            key = ("sources", shop, len(events), params)
            return memo(key, lambda: build_sources(events, starts, item_ids, params))

        return fit(log, kept.meta["params"], **given, build=build)

    return shops.rebuilt(parts, earlier, one)


def by_time(log: Log) -> tuple[EventArray, Flags, Ints]:
    """Events, as `Log.of_items` has them, session starts and users of a log, the oldest session first."""
    order = np.argsort(log.started_us, kind="stable")  # stable: of sessions that began at once, each stays whole
    return np.ascontiguousarray(log.of_items()[order]), np.ascontiguousarray(log.starts[order]), log.user_codes[order]
