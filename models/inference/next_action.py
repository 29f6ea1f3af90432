"""Next action of a visitor, and the purchase that may come of it, within a short (5 minutes) and a medium (1 hour) horizon.

Per horizon two boosted classifiers over the session, user and item features: the type of the next event (or leaving), and
P(purchase within the horizon) – the next action is seldom the purchase itself, even when one is coming. Both are calibrated on
later, held-out rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Codes, Features, Flags, Floats
from models.artifact import Parts
from models.inference.training import TrainingInput
from models.learners import boosting
from models.learners.boosting import Classifier
from models.learners.trees import BoostParams
from models.schema import HORIZONS_S, NEXT_ACTION_FEATURES, NEXT_ACTIONS

N_NEXT_ACTIONS: Final = len(NEXT_ACTIONS)


@dataclass(frozen=True)
class NextActionParams:
    """Hyper-parameters of the classifiers of one horizon; stored with the artifact.

    Fewer rounds for the next action: each of its rounds grows one tree per class, up to sixteen.
    """

    action: BoostParams = field(default_factory=lambda: BoostParams(n_rounds=40, learning_rate=0.2))
    purchase: BoostParams = field(default_factory=lambda: BoostParams(n_rounds=60, learning_rate=0.12))


DEFAULT_PARAMS: Final = NextActionParams()


class Targets(NamedTuple):
    """Targets of one horizon.

    Attributes
    ----------
    action
        `labels.next_actions`, shape (n_rows,), index into `NEXT_ACTIONS`.
    purchase
        `labels.purchase_within`, shape (n_rows,).
    """

    action: Codes
    purchase: Flags


class Outlook(NamedTuple):
    """The answer for one horizon.

    Attributes
    ----------
    p_action
        Calibrated probability of each of `NEXT_ACTIONS`, shape (…, n_next_actions), sums to 1; 0 for types never seen.
    p_purchase
        Calibrated probability of a purchase within the horizon, shape (…).
    """

    p_action: Floats
    p_purchase: Floats


class HorizonModel(NamedTuple):
    """The two classifiers of one horizon."""

    action: Classifier
    purchase: Classifier


@dataclass(frozen=True)
class NextActionModel:
    """A fitted next-action model; `meta` holds its parameters and the fallbacks it stands on, if any.

    Attributes
    ----------
    horizons
        One entry per name in `HORIZONS_S`.
    meta
        ``{"features", "next_actions", "horizons_s", "params", "seed", "fallback": {horizon: {part: reason}}, "n_rows"}``.
    """

    horizons: Mapping[str, HorizonModel]
    meta: Mapping[str, Any]

    def predict(self, features: Features) -> dict[str, Outlook]:
        """Many rows: shape (n_rows, len(NEXT_ACTION_FEATURES)) in, an `Outlook` of n_rows per horizon out."""
        return {
            name: Outlook(model.action.predict(features), model.purchase.predict(features)[:, 1])
            for name, model in self.horizons.items()
        }

    def predict_one(self, row: npt.NDArray[np.floating]) -> dict[str, Outlook]:
        """One row: shape (len(NEXT_ACTION_FEATURES),) in, an `Outlook` per horizon out; `p_purchase` has shape ().

        Meant for one thread per process, the event loop; other threads get the same answers, one after the other.
        """
        return {
            name: Outlook(model.action.predict_one(row), model.purchase.predict_one(row)[1])
            for name, model in self.horizons.items()
        }


def fit(
    features: Features,
    targets: Mapping[str, Targets],
    params: NextActionParams = DEFAULT_PARAMS,
    *,
    valid: Flags | None = None,
    rows: Mapping[str, Flags] | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> NextActionModel:
    """Fit the classifiers of every horizon.

    Parameters
    ----------
    features
        Shape (n_rows, len(NEXT_ACTION_FEATURES)), float32; NaN where a user or an item is new.
    targets
        What to learn, per name in `HORIZONS_S`.
    valid
        Held-out rows, later than the others (`boosting.later_rows`); None: the last share of the rows.
    rows
        Rows that may be used, per horizon: those whose horizon the log covers (`labels.covered`); None: all.
    progress
        Called with (classifiers done, classifiers in all).

    Raises
    ------
    ValueError
        If a horizon is missing or shapes do not fit each other.
    """
    if set(targets) != set(HORIZONS_S):
        raise ValueError(f"expected targets for {', '.join(HORIZONS_S)}, got {', '.join(targets) or 'none'}")
    horizons: dict[str, HorizonModel] = {}
    done = 0
    for name in HORIZONS_S:
        use = np.ones(len(features), dtype=bool) if rows is None else rows[name]
        held = None if valid is None else valid[use]
        learned = []
        for target, n_classes, part in (
            (targets[name].action, N_NEXT_ACTIONS, params.action),
            (targets[name].purchase, 2, params.purchase),
        ):
            learned.append(boosting.fit(features[use], target[use], n_classes, part, valid=held, seed=seed))
            done += 1
            if progress is not None:
                progress(done, 2 * len(HORIZONS_S))
        horizons[name] = HorizonModel(*learned)
    return NextActionModel(horizons, _meta(horizons, features.shape, params, seed))


def _meta(horizons: Mapping[str, HorizonModel], shape: tuple[int, ...], params: NextActionParams, seed: int) -> dict[str, Any]:
    return {
        "features": list(NEXT_ACTION_FEATURES[: shape[1]]),
        "next_actions": list(NEXT_ACTIONS),
        "horizons_s": dict(HORIZONS_S),
        "params": {"action": boosting.describe(params.action), "purchase": boosting.describe(params.purchase)},
        "seed": seed,
        "fallback": {
            name: {part: c.fallback for part, c in model._asdict().items() if c.fallback} for name, model in horizons.items()
        },
        "n_rows": shape[0],
    }


def fit_on(data: TrainingInput) -> Parts:
    """Fit both horizons on the sessions before the held-out period; calibrated on what of it judges nothing."""
    rows, early = data.examples, ~data.split.test
    targets = {
        name: Targets(rows.next_action[early, k].astype(np.int64), rows.purchase[early, k]) for k, name in enumerate(HORIZONS_S)
    }
    covered = {name: rows.covered[early, k] for k, name in enumerate(HORIZONS_S)}
    features = rows.next_action_features()
    params = data.params or DEFAULT_PARAMS
    model = fit(features[early], targets, params, valid=data.split.valid[early], rows=covered, seed=data.seed)
    horizons = {}
    for k, (name, one) in enumerate(model.horizons.items()):
        newer = data.unjudged & rows.covered[:, k]
        action, purchase = (found[newer, k].astype(np.int64) for found in (rows.next_action, rows.purchase))
        horizons[name] = HorizonModel(
            boosting.recalibrated(one.action, features[newer], action),
            boosting.recalibrated(one.purchase, features[newer], purchase),
        )
    return to_parts(replace(model, horizons=horizons))


def to_parts(model: NextActionModel) -> Parts:
    """The model as JSON values; it has no arrays of a size worth a file."""
    classifiers = {
        name: {part: boosting.to_meta(c) for part, c in horizon._asdict().items()} for name, horizon in model.horizons.items()
    }
    return Parts({**model.meta, "classifiers": classifiers}, {})


def from_parts(parts: Parts) -> NextActionModel:
    """The model that `to_parts` wrote.

    Raises
    ------
    ValueError
        If it was trained on other features, actions or horizons than this version has.
    """
    meta = {name: value for name, value in parts.meta.items() if name != "classifiers"}
    expected = (list(NEXT_ACTION_FEATURES), list(NEXT_ACTIONS), dict(HORIZONS_S))
    if (list(meta["features"]), list(meta["next_actions"]), dict(meta["horizons_s"])) != expected:
        raise ValueError("the next-action model was trained on other features or actions than this version has: train again")
    horizons = {
        name: HorizonModel(boosting.from_meta(saved["action"]), boosting.from_meta(saved["purchase"]))
        for name, saved in parts.meta["classifiers"].items()
    }
    return NextActionModel(horizons, meta)
