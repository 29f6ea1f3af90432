"""Associations of each shop of an event log: of all of it, to serve; of earlier sessions, to be judged on the later ones."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from models.artifact import Parts
from models.associations import indirect, model
from models.associations.model import AssociationParams, AssociationStore
from models.associations.shards import Spread
from models.inference import shops
from models.inference.examples import Log
from models.inference.training import TrainingInput
from models.memo import Memo


def fit_on(data: TrainingInput) -> Parts:
    """Count the typed item pairs of the whole log; nothing in it is random. The service follows the log from its last event."""

    def one(log: Log) -> Parts:
        return model.to_parts(replace(built(log, {}, data.spread), built_to_seq=data.last_seq, as_of_us=data.as_of_us))

    return shops.fit(data.log, one)


def built(log: Log, params: Mapping[str, Any], spread: Spread | None = None) -> AssociationStore:
    """The associations of a log, with parameters as a model file holds them; events without an item speak for theirs."""
    events, item_ids = indirect.with_categories(log.of_items(), log.item_ids, log.categories)
    found = indirect.touched(events, log.starts, log.counted)
    return model.build(*found, np.array(item_ids, dtype=object), AssociationParams(**params), log.categories, spread)


def rebuilt(parts: Parts, earlier: Log, fitted: Mapping[str, Any], memo: Memo) -> AssociationStore:
    """The associations as they would have been before a period, built on the sessions that began earlier."""

    def one(kept: Parts, log: Log, shop: str) -> AssociationStore:
        params = kept.meta["params"]
        return memo(("associations", shop, *sorted(params.items())), lambda: built(log, params))

    return shops.rebuilt(parts, earlier, one)
