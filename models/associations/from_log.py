"""Associations of an event log: of all of it, to serve; of its earlier sessions, to be judged on the later ones."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from models.artifact import Parts
from models.associations import model
from models.associations.model import AssociationParams, AssociationStore
from models.inference.examples import Log
from models.inference.training import TrainingInput


def fit_on(data: TrainingInput) -> Parts:
    """Count the typed item pairs of the whole log; nothing in it is random. The service follows the log from its last event."""
    log = data.log
    store = model.build(log.events, log.starts, np.array(log.item_ids, dtype=object))
    return model.to_parts(replace(store, built_to_seq=data.last_seq, as_of_us=data.as_of_us))


def built_before(log: Log, instant_us: int, params: Mapping[str, Any]) -> AssociationStore:
    """The associations as they would have been at an instant: built on the sessions that began before it."""
    earlier = log.before(instant_us)
    return model.build(earlier.events, earlier.starts, np.array(log.item_ids, dtype=object), AssociationParams(**params))
