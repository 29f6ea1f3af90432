"""The models that serve: how each is made from its parts, and the proof that a loaded one still answers as it did."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from lightgbm.basic import LightGBMError

from models import weight_profile as weights
from models.artifact import Parts, flat
from models.associations import model as associations
from models.bandit import profiles
from models.engagement import model as engagement_model
from models.inference import intent, next_action
from models.ranker import model as ranker

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
    LightGBMError,
)
TOLERANCE: Final = 1e-6  # of a golden prediction, absolute
LOADERS: Final[Mapping[str, Callable[[Parts], Any]]] = {
    "intent": intent.from_parts,
    "next_action": next_action.from_parts,
    "associations": associations.from_parts,
    "weights": weights.from_parts,
    "ranker": ranker.from_parts,
    "engagement": engagement_model.from_parts,
    "profiles": profiles.from_parts,
}


def golden_misses(model: Any, rows: Sequence[Any], predictions: Sequence[Any]) -> int:
    """Golden rows that a loaded model answers differently, or with answers of another shape.

    Parameters
    ----------
    model
        With ``predict_one``.
    rows, predictions
        What was kept beside it: inputs, and its answers as `models.artifact.flat` writes them.
    """
    answers = [flat(model.predict_one(row)) for row in np.array(rows, dtype=np.float32)]
    return sum(
        found.shape != (len(expected),) or not np.allclose(found, expected, rtol=0, atol=TOLERANCE)
        for found, expected in zip(answers, predictions, strict=True)
    )


def made(name: str, parts: Parts, golden: Mapping[str, Any] | None) -> Any:
    """Make a model from its parts and let it repeat its golden predictions.

    Parameters
    ----------
    name
        One of `KEPT_MODELS`.
    golden
        ``{"rows", "predictions"}``, where there are any.

    Raises
    ------
    ValueError
        If the parts are of another schema, or its predictions differ from the recorded ones.
    """
    model = LOADERS[name](parts)
    if golden is not None and golden_misses(model, golden["rows"], golden["predictions"]):
        raise ValueError("golden predictions are not repeated: the file or a library has changed")
    return model
