"""Intent of a session, from its events so far: probabilities of the four intents.

Learned from weak labels (`models.inference.labels`, by the rules of `models.inference.intent_rules`), which may look at the
whole session; the features are those of the prefix (`models.features.sessions`), so the model answers early. The loss is the
plain cross-entropy, without class weights: the probabilities are mixed into the event weights and must mean what they say.
Where one intent must be named it is the most probable one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.arrays import Features, Floats, Ints, Records, writeable
from models.artifact import Parts
from models.bound import Bound
from models.events.encode import EVENT_DTYPE, EventArray
from models.features import kernel as session_kernel
from models.features import sessions
from models.inference import intent_rules, label_kernels
from models.inference.training import TrainingInput
from models.kernels import kernel
from models.learners import boosting
from models.learners.boosting import Classifier, predicted
from models.learners.trees import BoostParams, Progress
from models.schema import EVENT_TYPES, INTENT_FEATURES, INTENTS, N_INTENTS
from models.statistics.calibration import softmax

DEFAULT_PARAMS: Final = BoostParams(n_rounds=80)
SHORT_LOOK_MS: Final = 8_000.0  # the rules on a prefix have no shop to compare with
LONG_LOOK_MS: Final = 30_000.0


@dataclass(frozen=True)
class IntentModel:
    """A fitted intent model; `meta` holds its parameters and the fallback it stands on, if any.

    Attributes
    ----------
    classifier
        Over the codes of `Intent`.
    meta
        ``{"features", "intents", "params", "seed", "fallback", "n_rows"}``.
    """

    classifier: Classifier
    meta: Mapping[str, Any]

    def predict(self, features: Features) -> Floats:
        """Calibrated probabilities of many prefixes: shape (n_rows, len(INTENT_FEATURES)) in, (n_rows, n_intents) out."""
        return self.classifier.predict(features)

    def predict_one(self, row: npt.NDArray[np.floating]) -> Floats:
        """Calibrated probabilities of one prefix: shape (len(INTENT_FEATURES),) in, (n_intents,) out.

        Meant for one thread per process, the event loop; other threads get the same answers, one after the other.
        """
        return self.classifier.predict_one(row)

    def of_session(self, events: EventArray) -> tuple[Features, Floats]:
        """Features of a session, and the probabilities of its intents: `sessions.features_of` and `predict_one` in one call.

        Parameters
        ----------
        events
            The session in order, shape (n_events,), dtype `EVENT_DTYPE`; not empty.

        Returns
        -------
        Shapes (n_session_features,) and (n_intents,).
        """
        by = self.classifier.one_row()
        if by.forest is None:
            features = sessions.features_of(events)
            return features, self.predict_one(features)
        folded, p = np.empty((1, sessions.N_FEATURES), np.float32), np.empty(by.shape)
        sessions.require_types(_of_session(writeable(events), sessions.new_state(), by.forest.table, folded, p), events)
        return folded[0], p[0]


def rehearse(forest: Bound) -> None:
    """Situate a session, so that whatever has to be compiled is there before the first real one arrives."""
    folded = np.empty((1, sessions.N_FEATURES), np.float32)
    _of_session(np.zeros(1, EVENT_DTYPE), sessions.new_state(), forest.table, folded, np.zeros((1, 2)))


@kernel
def _of_session(events: Records, state: Records, forest: Ints, folded: Features, p: Floats) -> int:
    """Fold a session, and infer its intent; -1, or the index of the first event whose type is none."""
    bad = session_kernel.fold(state, events, np.zeros(0, np.bool_), folded)
    if bad < 0:
        predicted(forest, folded[0].astype(np.float64), p)
    return bad


def fit(
    features: Features,
    targets: npt.NDArray[np.generic],
    params: BoostParams = DEFAULT_PARAMS,
    *,
    valid: npt.NDArray[np.bool_] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> IntentModel:
    """Fit on prefix features and weak labels.

    Parameters
    ----------
    features
        Features after each event, shape (n_events, len(INTENT_FEATURES)), float32.
    targets
        `labels.intent_probabilities` of the same events, shape (n_events, n_intents), which keeps the labels' own doubt and
        calibrates better; or `labels.intents`, shape (n_events,).
    valid
        Held-out rows, later than the others, for the number of rounds and the calibration; None: the
        last `params.valid_share` of the rows, which must then be in time order.

    Raises
    ------
    ValueError
        If shapes do not fit each other.
    """
    classifier = boosting.fit(features, targets, N_INTENTS, params, valid=valid, seed=seed, progress=progress)
    meta = {
        "features": list(INTENT_FEATURES[: features.shape[1]]),
        "intents": list(INTENTS),
        "params": boosting.describe(params),
        "seed": seed,
        "fallback": classifier.fallback,
        "n_rows": len(features),
    }
    return IntentModel(classifier, meta)


def fit_on(data: TrainingInput) -> Parts:
    """Fit on the sessions before the held-out period; calibrated on what of it judges nothing."""
    early, features, targets = ~data.split.test, data.examples.session_features, data.examples.p_intent
    params = replace(data.params or DEFAULT_PARAMS, num_threads=1)  # the next-action model, which takes longest, fits beside it
    model = fit(features[early], targets[early], params, valid=data.split.valid[early], seed=data.seed)
    newer = data.unjudged
    return to_parts(replace(model, classifier=boosting.recalibrated(model.classifier, features[newer], targets[newer])))


def to_parts(model: IntentModel) -> Parts:
    """The model as JSON values; it has no arrays of a size worth a file."""
    return Parts({**model.meta, "classifier": boosting.to_meta(model.classifier)}, {})


def from_parts(parts: Parts) -> IntentModel:
    """The model that `to_parts` wrote.

    Raises
    ------
    ValueError
        If it was trained on other features than `INTENT_FEATURES`.
    """
    if tuple(parts.meta["features"]) != INTENT_FEATURES:
        raise ValueError("the intent model was trained on other features than this version computes: train again")
    meta = {name: value for name, value in parts.meta.items() if name != "classifier"}
    return IntentModel(boosting.from_meta(parts.meta["classifier"]), meta)


def majority(targets: npt.NDArray[np.generic]) -> Floats:
    """Baseline: the class shares of the training labels, whatever the session does; shape (n_intents,)."""
    soft = targets if targets.ndim == 2 else np.eye(N_INTENTS)[np.asarray(targets, dtype=np.int64)]
    return np.asarray((soft.sum(axis=0) + 1.0) / (len(soft) + N_INTENTS), dtype=np.float64)


def by_rules(features: Features) -> Floats:
    """Baseline without learning: the labelling rules applied to the counts of the prefix.

    The votes of the recent events of each type (halved every two minutes) and of what the prefix says about items, categories
    and dwell are added up; shape (n_rows, len(INTENT_FEATURES)) in, (n_rows, n_intents) out. Also the service's fallback where
    no model is loaded.
    """
    column = {name: i for i, name in enumerate(INTENT_FEATURES)}

    def of(name: str) -> Floats:
        return np.nan_to_num(np.asarray(features[:, column[name]], dtype=np.float64))

    recent = features[:, [column[f"recent_{name}"] for name in EVENT_TYPES]].astype(np.float64)
    votes = np.nan_to_num(recent, copy=False) @ intent_rules.KIND_VOTES
    n_further_items = np.maximum(of("n_items") - 1, 0)
    n_switches = np.minimum(of("n_category_switches"), n_further_items)
    votes += n_switches[:, None] * intent_rules.RELATION_VOTES[label_kernels.OTHER_CATEGORY]
    votes += (n_further_items - n_switches)[:, None] * intent_rules.RELATION_VOTES[label_kernels.SAME_CATEGORY]
    dwell_ms = of("last_dwell_ms")
    short, long = intent_rules.MEASURE_VOTES["dwell_ms"]
    votes += ((dwell_ms > 0) & (dwell_ms < SHORT_LOOK_MS))[:, None] * np.array(short)
    votes += (dwell_ms > LONG_LOOK_MS)[:, None] * np.array(long)
    return softmax(votes)
