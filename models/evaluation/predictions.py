"""Predictions of a set of models about the held-out period, kept as files so that candidate and champion can be compared."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Floats, Ints
from models.artifact import Parts
from models.assess import immediates
from models.evaluation import tables
from models.evaluation.held_out import HeldOut
from models.model_set import ModelSet, required
from models.questions.later import later
from models.schema import HORIZONS_S

MEDIUM: Final = "medium_term"  # the horizon of the engagement score


class Predictions(NamedTuple):
    """Predictions of one set of models about the held-out rows.

    Attributes
    ----------
    p_intent
        Shape (n_held, n_intents).
    p_action, p_purchase
        By horizon, shapes (n_held, n_next_actions) and (n_held,).
    ranks
        By method, rank of the wanted item for each question, 0 for a miss, shape (n_questions,).
    p_engagement
        Probability of a purchase within the medium term by the engagement score, shape (n_held,); None where none was learned.
    """

    p_intent: Floats
    p_action: Mapping[str, Floats]
    p_purchase: Mapping[str, Floats]
    ranks: Mapping[str, Ints]
    p_engagement: Floats | None = None


def predict(models: ModelSet, on: HeldOut) -> Predictions:
    """Predictions of a set of models: what it would have served on the held-out rows and at the questions of that period.

    Bit for bit what `models.assess.assess` and `models.recommend.recommend` answer to the same sessions, as a test keeps: only
    what does not hang on the rest of a batch is computed in batches.

    Raises
    ------
    ValueError
        If a model that is needed is missing.
    """
    found, model = on.examples, required(models.intent, "an intent model")
    features = found.session_features[on.rows]
    following = required(models.next_action, "a next-action model")
    outlooks = following.predict(found.next_action_features(following.groups)[on.rows])
    p_intent = model.predict(features)
    p_purchase = {name: np.asarray(outlooks[name].p_purchase, dtype=np.float64) for name in HORIZONS_S}
    p_engagement = None
    if models.engagement is not None:
        newest = on.log.events[found.rows[on.rows]]
        effects = models.engagement.groups.rows(found.groups, len(found.rows))[on.rows]
        p_immediate = immediates(models, newest, features, p_intent, effects=effects)
        p_engagement = models.engagement.score(p_immediate, p_purchase[MEDIUM])
    return Predictions(
        p_intent,
        {name: np.asarray(outlooks[name].p_action, dtype=np.float64) for name in HORIZONS_S},
        p_purchase,
        tables.served_ranks(models, later(model, on.later, on.log, on.asked.last), on.asked),
        p_engagement,
    )


def to_parts(said: Predictions) -> Parts:
    """Predictions as files."""
    arrays: dict[str, npt.NDArray[np.generic]] = {"p_intent": said.p_intent}
    for field in ("p_action", "p_purchase", "ranks"):
        arrays |= {f"{field}.{name}": array for name, array in getattr(said, field).items()}
    if said.p_engagement is not None:
        arrays["p_engagement"] = said.p_engagement
    return Parts({}, arrays)


def from_parts(parts: Parts) -> Predictions:
    """The predictions that `to_parts` wrote."""

    def named(field: str) -> dict[str, Any]:
        return {name.split(".", 1)[1]: array for name, array in parts.arrays.items() if name.startswith(f"{field}.")}

    p_intent: Any = parts.arrays["p_intent"]
    p_engagement: Any = parts.arrays.get("p_engagement")
    return Predictions(p_intent, named("p_action"), named("p_purchase"), named("ranks"), p_engagement)
