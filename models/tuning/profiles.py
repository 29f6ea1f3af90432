"""Tune weight profiles on a log: pairs and action weights from its earlier sessions, wanted items from the later ones."""

from typing import Final, NamedTuple

import numpy as np

from models.associations import from_log as log_associations
from models.bandit.profiles import ProfileSet, profile_set
from models.inference.examples import Log
from models.inference.intent import IntentModel
from models.model_set import ModelSet
from models.questions.later import later as later_sessions
from models.tuning import learning as weight_learning
from models.tuning.learning import LearnParams
from models.weights import actions_from_log

PARAMS: Final = LearnParams(l2_factors=(0.003, 0.03, 0.3))  # from "the data says" to "the heuristic, hardly moved"
LATER_SHARE: Final = 0.4  # of the events, by the start of their session


class Tuned(NamedTuple):
    """Tuned profiles, and how they were judged.

    Attributes
    ----------
    profiles
        Static, heuristic, and one tuned profile for each penalty.
    ndcg_20
        Of each profile on later sessions of users that taught nothing.
    n_sessions
        Later sessions.
    """

    profiles: ProfileSet
    ndcg_20: dict[str, float]
    n_sessions: int


def tune(log: Log, model: IntentModel, rng: np.random.Generator, params: LearnParams = PARAMS) -> Tuned:
    """Learn the intent x event factors, regularised towards the heuristic table.

    Parameters
    ----------
    log
        At least two sessions.
    model
        Infers the intent of each prefix, as where the profile serves.

    Raises
    ------
    ValueError
        If all sessions began at one instant.
    """
    cut_us = int(np.quantile(log.started_us, 1 - LATER_SHARE))
    earlier, later = log.before(cut_us), log.since(cut_us)
    if not len(earlier.events):
        raise ValueError("expected sessions that began at different instants, one to learn pairs from and one to learn weights")
    store = log_associations.built(earlier, {})
    models = ModelSet(associations=store, actions=actions_from_log.ready_of(earlier, cut_us))
    found = weight_learning.alternatives(models, later_sessions(model, later, log), rng, params)
    named = profile_set(tuple(found), tuple(one for one, _ in found.values()))
    return Tuned(named, {name: round(value, 4) for name, (_, value) in found.items()}, int(later.starts.sum()))
