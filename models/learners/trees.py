"""Growing the trees of one classifier: LightGBM's settings, and the cross-entropy against uncertain targets."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from models.arrays import Features, Floats
from models.statistics.calibration import softmax

if TYPE_CHECKING:
    import lightgbm as lgb

Progress = Callable[[int, int], None]  # (rounds done, rounds at most)


@dataclass(frozen=True)
class BoostParams:
    """Hyper-parameters of one boosted classifier; stored with the artifact.

    Attributes
    ----------
    n_rounds
        Boosting rounds at most; each grows one tree per class.
    patience
        Rounds without a better held-out loss before training stops.
    valid_share
        Share of the rows, the last ones, that are held out where no mask is given.
    max_bin
        Histogram bins per feature; 63 is twice as fast as 255 and no worse on counts.
    num_threads
        Threads of training; serving uses one. On data of this size a second one gains a third on idle cores and loses several
        times over on busy ones, because LightGBM's threads wait for each other by spinning.
    """

    n_rounds: int = 60
    n_leaves: int = 15
    learning_rate: float = 0.15
    min_rows_in_leaf: int = 40
    l2: float = 5.0
    feature_share: float = 0.5
    max_bin: int = 63
    patience: int = 8
    valid_share: float = 0.2
    num_threads: int = 1


def grow(
    features: Features,
    soft: Floats,
    held: npt.NDArray[np.bool_],
    params: BoostParams,
    uncertain: bool,
    seed: int,
    progress: Progress | None,
    weight: Floats | None = None,
) -> str:
    """Grow the trees; they are given as LightGBM writes them, so that a stored copy answers exactly the same.

    Parameters
    ----------
    features
        Shape (n_rows, n_features).
    soft
        Probability of each class, shape (n_rows, n_classes), n_classes >= 2.
    held
        Rows to choose the number of rounds on, shape (n_rows,); none: all rounds are grown.
    uncertain
        Whether `soft` holds more than zeros and ones. Then the trees start from the class shares, which the raw scores lack.
    weight
        Of each row, > 0, shape (n_rows,); None: all weigh alike.
    """
    import lightgbm as lgb  # only here: what serves grows no trees

    n_classes = soft.shape[1]
    settings = _settings(params, n_classes, uncertain, seed)
    start = np.log(soft[~held].mean(axis=0)) if uncertain else None

    def rows(mask: npt.NDArray[np.bool_], reference: "lgb.Dataset | None" = None) -> "lgb.Dataset":
        label = soft[mask].argmax(axis=1)
        init_score = None if start is None else np.tile(start, (int(mask.sum()), 1))
        weighs = None if weight is None else weight[mask]
        return lgb.Dataset(
            features[mask], label=label, weight=weighs, init_score=init_score, reference=reference, params=settings
        )

    train = rows(~held)
    callbacks: list[Callable[..., Any]] = []
    if progress is not None:
        callbacks.append(lambda env: progress(env.iteration + 1, params.n_rounds))
    valid_sets: list[lgb.Dataset] = []
    feval = None
    if held.any():
        valid_sets = [rows(held, train)]
        callbacks.append(lgb.early_stopping(params.patience, verbose=False))
        feval = _loss_against(soft[held]) if uncertain else None
    if uncertain:
        settings["objective"] = _cross_entropy(soft[~held])
    grown = lgb.train(settings, train, params.n_rounds, valid_sets=valid_sets, feval=feval, callbacks=callbacks)
    text: str = grown.model_to_string(num_iteration=grown.best_iteration or -1)
    return text


def _settings(params: BoostParams, n_classes: int, uncertain: bool, seed: int) -> dict[str, Any]:
    binary = n_classes == 2 and not uncertain
    return {
        "objective": "binary" if binary else "multiclass",
        "metric": "None" if uncertain else "binary_logloss" if binary else "multi_logloss",
        "num_leaves": params.n_leaves,
        "learning_rate": params.learning_rate,
        "min_data_in_leaf": params.min_rows_in_leaf,
        "lambda_l2": params.l2,
        "feature_fraction": params.feature_share,
        "max_bin": params.max_bin,
        "num_threads": params.num_threads,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
        **({} if binary else {"num_class": n_classes}),
    }


def _cross_entropy(soft: Floats) -> "Callable[[Floats, lgb.Dataset], tuple[Floats, Floats]]":
    def gradient(raw: Floats, _: "lgb.Dataset") -> tuple[Floats, Floats]:
        p = softmax(raw)
        return p - soft, np.maximum(p * (1 - p) * soft.shape[1] / (soft.shape[1] - 1), 1e-6)

    return gradient


def _loss_against(soft: Floats) -> "Callable[[Floats, lgb.Dataset], tuple[str, float, bool]]":
    def loss(raw: Floats, _: "lgb.Dataset") -> tuple[str, float, bool]:
        return "cross_entropy", float(-(soft * np.log(np.maximum(softmax(raw), 1e-12))).sum(axis=1).mean()), False

    return loss
