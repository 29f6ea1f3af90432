"""Models, one row each: how it is fitted, made from its parts and checked, what it needs, and what an answer is without it.

Flows, services, registry and reports take their list of models from `SPECS`. A new model is a row here, its module, and its
field in `models.model_set.ModelSet`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from models import degraded, shops, weight_profile
from models.arrays import Features
from models.artifact import Golden, Parts, flat
from models.associations import from_log as log_associations
from models.associations import model as associations
from models.bandit import profiles
from models.engagement import from_log as log_engagement
from models.engagement import model as engagement
from models.evaluation import per_model
from models.evaluation.per_model import Evaluation
from models.inference import intent, next_action
from models.inference.examples import Examples, Log
from models.inference.training import TrainingInput
from models.memo import Memo
from models.ranker import from_log as log_ranker
from models.ranker import model as ranker
from models.schema import FEATURE_SERVICES
from models.tuning import from_log as log_weights


@dataclass(frozen=True)
class ModelSpec:
    """All that the rest of the house must know of one model.

    Attributes
    ----------
    name
        Also its field in `models.model_set.ModelSet`.
    load
        The model from its parts.
    fit
        Its parts from a training input; None for a model that a retraining does not fit.
    step
        What its fit is called among the tasks of a flow.
    needs
        Models that are fitted before it, and given to its fit.
    beside_incumbent
        Whether its fit is given the version that serves.
    rebuild
        The model as it would have been before the held-out period, from its parts, the earlier sessions, the models it needs
        and a memo of what was made of the same sessions; None for a model that learned from no others, and is judged as it is.
    golden
        Rows that its `predict_one` is asked; some are kept as golden rows, and the gate takes its time with them. None for a
        model that is not asked row by row.
    evaluation
        How it is judged.
    promoted_with
        Models among `needs` without which it would not answer as it was judged: it is promoted with them or not at all. Where
        the weights stay on trial, the ranker may serve with the champion's.
    learned
        Whether its parts hold anything learned; what learned from no row is never promoted.
    is_counted
        Whether it is counted and not fitted. Both sides of a comparison are rebuilt from the same sessions, so a newer count
        needs no evidence of its own: it serves unless something speaks against it.
    is_needed
        Whether a set of models without it is none: homes of before there was a model serve without it.
    without
        Reason of `models.degraded` that an answer admits where it is missing; None where nothing is lost.
    params
        Hyper-parameters of its fit that a retraining may set otherwise; None where there are none.
    """

    name: str
    load: Callable[[Parts], Any]
    fit: Callable[[TrainingInput], Parts] | None
    step: str
    needs: tuple[str, ...] = ()
    beside_incumbent: bool = False
    rebuild: Callable[[Parts, Log, Mapping[str, Any], Memo], Any] | None = None
    golden: Callable[[Examples], Features] | None = None
    evaluation: Evaluation = per_model.NOT_JUDGED
    promoted_with: tuple[str, ...] = ()
    learned: Callable[[Parts], bool] = lambda _: True
    is_counted: bool = False
    is_needed: bool = False
    without: str | None = None
    params: Any = None

    @property
    def feature_service(self) -> str | None:
        """The feature service whose features it learns from."""
        return FEATURE_SERVICES.get(self.name)

    def judged(self, parts: Parts, earlier: Log, models: Mapping[str, Any], memo: Memo) -> Any:
        """The model as it may be judged on what came after `earlier`, of which alone `memo` knows anything."""
        return self.rebuild(parts, earlier, models, memo) if self.rebuild else self.load(parts)


def _has_trees(classifier: Mapping[str, Any]) -> bool:
    return classifier["booster"] is not None


def _foresees(parts: Parts) -> bool:
    return any(_has_trees(one) for horizon in parts.meta["classifiers"].values() for one in horizon.values())


def _has_answers(parts: Parts) -> bool:
    """Whether any answer was right where weights were tried: none is where nothing was asked."""
    return any((parts.meta.get("params") or {}).get("ndcg_20", {"before there were": 1.0}).values())


SPECS: Final = (
    ModelSpec(
        "intent",
        load=intent.from_parts,
        fit=intent.fit_on,
        step="fit intent",
        golden=lambda examples: examples.session_features,
        evaluation=per_model.INTENT,
        learned=lambda parts: _has_trees(parts.meta["classifier"]),
        is_needed=True,
        without=degraded.INTENT_BY_RULES,
        params=intent.DEFAULT_PARAMS,
    ),
    ModelSpec(
        "next_action",
        load=next_action.from_parts,
        fit=next_action.fit_on,
        step="fit next action",
        golden=Examples.next_action_features,
        evaluation=per_model.NEXT_ACTION,
        learned=_foresees,
        is_needed=True,
        without=degraded.NEXT_ACTION_MODEL_MISSING,
        params=next_action.DEFAULT_PARAMS,
    ),
    ModelSpec(
        "associations",
        load=shops.loaded(associations.from_parts),
        fit=log_associations.fit_on,
        step="build associations",
        rebuild=log_associations.rebuilt,
        evaluation=per_model.ASSOCIATIONS,
        learned=lambda parts: any(len(one.arrays["item_id_offsets"]) > 1 for one in shops.each(parts)),
        is_counted=True,
        is_needed=True,
        without=degraded.ASSOCIATIONS_MISSING,
    ),
    ModelSpec(
        "weights",
        load=weight_profile.from_parts,
        fit=log_weights.fit_on,
        step="learn weights",
        needs=("intent",),
        beside_incumbent=True,
        evaluation=per_model.WEIGHTS,
        promoted_with=("intent",),
        learned=_has_answers,
        is_needed=True,
        without=degraded.WEIGHTS_HEURISTIC,
    ),
    ModelSpec(
        "ranker",
        load=shops.loaded(ranker.from_parts),
        fit=log_ranker.fit_on,
        step="fit ranker",
        needs=("intent", "weights"),
        rebuild=log_ranker.rebuilt,
        evaluation=per_model.RANKER,
        promoted_with=("intent",),
        learned=lambda parts: any(not one.meta["fallback"] for one in shops.each(parts)),
        without=degraded.RANKER_MISSING,
    ),
    ModelSpec(
        "engagement",
        load=engagement.from_parts,
        fit=log_engagement.fit_on,
        step="fit engagement",
        needs=("next_action",),
        evaluation=per_model.ENGAGEMENT,
        promoted_with=("next_action",),
        learned=lambda parts: bool(parts.meta["learned"]),
        without=degraded.ENGAGEMENT_BY_FORMULA,
        params=engagement.PARAMS,
    ),
    ModelSpec(
        "profiles",
        load=profiles.from_parts,
        fit=None,  # tuned, by flows.tune
        step="tune profiles",
    ),
)
SPEC: Final = {spec.name: spec for spec in SPECS}
KEPT_MODELS: Final = tuple(SPEC)
PARAMS: Final = {spec.name: spec.params for spec in SPECS if spec.params is not None}  # that a retraining may set otherwise
MODEL_NAMES: Final = tuple(spec.name for spec in SPECS if spec.fit)  # fitted by a retraining, in an order that `needs` allows
NEEDED_MODELS: Final = tuple(spec.name for spec in SPECS if spec.is_needed)

# Whatever may come of files that were damaged or written by another program.
FAULTS: Final = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
)
TOLERANCE: Final = 1e-6  # of a golden prediction, absolute


def golden_misses(model: Any, golden: Golden) -> int:
    """Golden rows that a loaded model answers differently, or with answers of another shape.

    Parameters
    ----------
    model
        With ``predict_one``.
    """
    answers = [flat(model.predict_one(row)) for row in np.array(golden.rows, dtype=np.float32)]
    return sum(
        found.shape != (len(expected),) or not np.allclose(found, expected, rtol=0, atol=TOLERANCE)
        for found, expected in zip(answers, golden.predictions, strict=True)
    )


def made(name: str, parts: Parts, golden: Golden | None) -> Any:
    """Make a model from its parts and let it repeat its golden predictions.

    Parameters
    ----------
    name
        Of a row of `SPECS`.

    Raises
    ------
    ValueError
        If the parts are of another schema or format, or its predictions differ from the recorded ones.
    """
    try:
        model = SPEC[name].load(parts)
    except (LookupError, TypeError, AttributeError) as error:  # the files are whole: they were written for another version
        raise ValueError(
            f"{name} was kept by another version of Attune ({type(error).__name__}: {error}); "
            "train it again with attune retrain"
        ) from error
    if golden is not None and golden_misses(model, golden):
        raise ValueError("golden predictions are not repeated: the file or a library has changed")
    return model
