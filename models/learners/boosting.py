"""A small boosted classifier with calibrated probabilities: what the intent and the next-action model share.

Trees are grown by LightGBM on the earlier rows, the number of rounds and the calibration are chosen on the later ones.
Targets may be class codes or, where a label is itself uncertain, a probability per class; the loss is the cross-entropy in both
cases, so the probabilities stay honest under class imbalance, and whoever needs one class takes the most probable.

Where all rows of a session have much the same target, as with a purchase that one visit leads to, they are no more than a few
observations. Told the sessions, `fit` lets n rows of one weigh as much together as sqrt(n) sessions of one row, so that a few
long ones do not decide the trees; it moves the scores so that the class shares of all rows are right again, since short
sessions differ from long ones; and it calibrates on later rows only as far as their number of sessions bears it.

Too little to learn from is not an error: with fewer than `MIN_ROWS` rows or a single class the classifier answers the
(smoothed) class shares, and `fallback` says why.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.arrays import Features, Floats, Ints
from models.bound import Bound, bind, float_rows, floats, ints
from models.kernels import kernel
from models.learners.tree_walk import FOREST, ManyRows, SingleRow, Trees, flatten, n_scores, scored
from models.learners.trees import BoostParams, Progress, grow
from models.statistics import calibration
from models.statistics.calibration import Scaling

MIN_ROWS: Final = 50
MIN_VALID_ROWS: Final = 30
PULL_ALIKE: Final = 200.0  # of a calibration towards what training says, in rows that are not alike


@dataclass(frozen=True)
class Classifier:
    """A fitted classifier over `n_classes` codes.

    Attributes
    ----------
    text
        The trees as LightGBM writes them; None where there was too little to learn from.
    n_features, n_classes
        Columns of a row; codes that may be answered.
    classes
        Codes seen in training, ascending, shape (n_seen,); every other code has probability 0.
    prior
        Smoothed class shares, shape (n_classes,); the answer without trees.
    scaling
        Calibration of the raw scores of `classes`.
    fallback
        Why a part is missing: "", "too_few_rows", "one_class" (both: no trees) or "uncalibrated" (no later rows).
    """

    text: str | None
    n_features: int
    n_classes: int
    classes: npt.NDArray[np.int64]
    prior: Floats
    scaling: Scaling
    fallback: str
    _local: threading.local = field(default_factory=threading.local, init=False, repr=False, compare=False)

    def predict(self, features: Features) -> Floats:
        """Calibrated probabilities of many rows.

        Parameters
        ----------
        features
            Shape (n_rows, n_features); NaN is a missing value.

        Returns
        -------
        Shape (n_rows, n_classes), rows sum to 1.

        Raises
        ------
        ValueError
            If the number of columns differs from training.
        """
        if features.ndim != 2 or features.shape[1] != self.n_features:
            raise ValueError(f"expected rows of {self.n_features} features, got shape {features.shape}")
        if self.text is None or len(features) == 0:
            return np.tile(self.prior, (len(features), 1))
        p = np.zeros((len(features), self.n_classes))
        p[:, self.classes] = calibration.apply(self.scaling, self.raw(features))
        return p

    def raw(self, features: Features) -> Floats:
        """Scores of `classes` before calibration, shape (n_rows, n_seen); there must be trees."""
        found = self._many(features)
        return two_columns(found[:, 0] if found.shape[1] == 1 else found)

    @cached_property
    def _many(self) -> ManyRows:
        assert self.text is not None
        return ManyRows(self.trees, self.n_features, n_scores(self.text))

    @cached_property
    def trees(self) -> Trees:
        """The trees as one row walks down them."""
        assert self.text is not None
        return flatten(self.text, self.n_features)

    def predict_one(self, row: npt.NDArray[np.floating]) -> Floats:
        """Calibrated probabilities of one row, shape (n_features,) in and (n_classes,) out; any number of threads may ask."""
        p: Floats = self.one_row()(row)[0]
        return p

    def one_row(self) -> "OneRow":
        """This thread's `OneRow` of this classifier alone."""
        found: OneRow | None = getattr(self._local, "one_row", None)
        if found is None:
            found = self._local.one_row = OneRow([self])
        return found


class OneRow:
    """Calibrated probabilities of one row by several classifiers of the same features; one instance per thread.

    Parameters
    ----------
    classifiers
        With as many features each.

    Attributes
    ----------
    forest
        What `predicted` reads, and the buffers that it writes to; None where no classifier has trees.
    shape
        Of an answer: (n_classifiers, most classes).
    """

    def __init__(self, classifiers: Sequence[Classifier]) -> None:
        self.shape = len(classifiers), max(one.n_classes for one in classifiers)
        self._prior = np.zeros(self.shape)
        for row, one in zip(self._prior, classifiers, strict=True):
            row[: one.n_classes] = 0.0 if one.text else one.prior
        grown = [(place, one, n_scores(one.text)) for place, one in enumerate(classifiers) if one.text]
        self.forest: Bound | None = None
        if grown:
            place, some, sizes = zip(*grown, strict=True)
            trees = SingleRow([one.trees for one in some], some[0].n_features, sizes)
            self._checked = trees.checked
            self.forest = bind(
                *trees.arrays,
                self._prior,
                np.array(place),
                np.cumsum([0, *(len(one.classes) for one in some)]),
                np.concatenate([one.classes for one in some]),
                np.concatenate([one.scaling.shift for one in some]),
                np.array([one.scaling.scale for one in some]),
            )

    def __call__(self, row: npt.NDArray[np.floating]) -> Floats:
        """Probabilities of each classifier's classes, shape (n_features,) in, (n_classifiers, most classes) out; else 0."""
        if self.forest is None:
            prior: Floats = self._prior.copy()
            return prior
        found = np.empty(self.shape)
        predicted(self.forest.table, self._checked(row), found)
        return found


@kernel
def predicted(forest: Ints, row: Floats, out: Floats) -> None:
    """Calibrated probabilities of one row, written where their classes stand: what `OneRow` is asked, of its `forest`."""
    raw, first_score = scored(forest, row)
    place, first_class, classes = ints(forest, FOREST + 1), ints(forest, FOREST + 2), ints(forest, FOREST + 3)
    shift, scale = floats(forest, FOREST + 4), floats(forest, FOREST + 5)
    out[:] = float_rows(forest, FOREST)
    for b in range(len(place)):
        begin, end = first_class[b], first_class[b + 1]
        own = raw[first_score[b] : first_score[b + 1]]
        p = np.zeros((1, end - begin))
        for k in range(len(own)):  # of a binary booster the second of two, before which stands 0
            p[0, end - begin - len(own) + k] = own[k]
        calibration.calibrate(p, scale[b], shift[begin:end])
        for k in range(end - begin):
            out[place[b], classes[begin + k]] = p[0, k]


def rehearse(trees: Trees, n_features: int) -> Bound:
    """Ask one row of two classes, so that all is compiled before the first real one arrives; the forest that was asked."""
    told = np.zeros((1, 2)), np.zeros(1, np.int64), np.array([0, 2]), np.arange(2), np.zeros(2), np.ones(1)
    forest = bind(*SingleRow([trees], n_features, [1]).arrays, *told)
    predicted(forest.table, np.zeros(n_features), np.zeros((1, 2)))
    return forest


def two_columns(raw: Floats) -> Floats:
    """Scores of both classes from a binary booster's one score: (0, s). Scores of several classes pass unchanged."""
    return np.column_stack((np.zeros(len(raw)), raw)) if raw.ndim == 1 else raw


def fit(
    features: Features,
    targets: npt.NDArray[np.generic],
    n_classes: int,
    params: BoostParams,
    *,
    valid: npt.NDArray[np.bool_] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    session: Ints | None = None,
) -> Classifier:
    """Fit on the rows that are not `valid`; choose rounds and calibration on those that are.

    Parameters
    ----------
    features
        Shape (n_rows, n_features), float32; NaN is a missing value.
    targets
        Class codes, shape (n_rows,), or probabilities, shape (n_rows, n_classes).
    n_classes
        Codes are 0 … n_classes - 1.
    valid
        Held-out rows, shape (n_rows,), later in time than the others; None: the last `params.valid_share` of the rows.
    seed
        Same data, parameters, seed and thread count: same classifier.
    progress
        Called after every round.
    session
        Code of each row's session, shape (n_rows,), where the rows of one have much the same target; None: rows are apart.

    Raises
    ------
    ValueError
        If lengths differ or a code lies outside the classes.
    """
    soft = _soft_targets(targets, n_classes)
    if len(soft) != len(features):
        raise ValueError(f"expected one target per row, got {len(soft)} for {len(features)} rows")
    held = np.arange(len(soft)) >= len(soft) * (1 - params.valid_share) if valid is None else np.asarray(valid, dtype=bool)
    # Too few on one side of time: everything is for learning, and nothing is calibrated.
    calibrated = int(held.sum()) >= MIN_VALID_ROWS and int((~held).sum()) >= MIN_ROWS
    if not calibrated:
        held = np.zeros(len(soft), dtype=bool)
    mass = soft[~held].sum(axis=0)
    prior = (mass + 1.0) / (mass.sum() + n_classes)
    classes = np.flatnonzero(mass > 0)
    reason = "too_few_rows" if len(soft) < MIN_ROWS else "one_class" if len(classes) < 2 else ""
    if reason:
        return Classifier(None, features.shape[1], n_classes, classes, prior, calibration.identity(n_classes), reason)
    weight = None if session is None else 1.0 / np.sqrt(_sizes(session))
    text = grow(features, soft[:, classes], held, params, targets.ndim == 2, seed, progress, weight)
    scaling = calibration.identity(len(classes))
    if targets.ndim == 2:  # the trees of the probability loss start from the class shares
        scaling = Scaling(1.0, np.log(prior[classes]))
    found = Classifier(text, features.shape[1], n_classes, classes, prior, scaling, "uncalibrated")
    if session is not None:
        found = replace(found, scaling=calibration.levelled(scaling, found.raw(features), soft[:, classes]))
    if not calibrated:
        return found
    return recalibrated(found, features[held], targets[held], None if session is None else session[held])


def recalibrated(
    classifier: Classifier, features: Features, targets: npt.NDArray[np.generic], session: Ints | None = None
) -> Classifier:
    """The classifier, its calibration fitted once more on top, to later rows; itself where they are too few.

    Parameters
    ----------
    features, targets, session
        As for `fit`; codes that training never saw say nothing.
    """
    soft = _soft_targets(targets, classifier.n_classes)[:, classifier.classes]
    if classifier.text is None or len(soft) < MIN_VALID_ROWS:
        return classifier
    raw = classifier.raw(features)
    before = classifier.scaling
    pull = {} if session is None else {"pull": PULL_ALIKE * _alike(session)}
    fitted = calibration.fit(before.scale * raw + before.shift, soft, **pull)
    scaling = Scaling(fitted.scale * before.scale, fitted.scale * before.shift + fitted.shift)
    return replace(classifier, scaling=scaling, fallback="")


def _sizes(session: Ints) -> Ints:
    """Number of rows of each row's session, shape (n_rows,)."""
    _, place, sizes = np.unique(session, return_inverse=True, return_counts=True)
    return np.asarray(sizes[place])


def _alike(session: Ints) -> float:
    """Rows that stand for one where a session's are all alike: their design effect (Kish, *Survey Sampling*, 1965).

    Examples
    --------
    >>> _alike(np.array([7, 7, 7, 8]))
    2.5
    """
    return float(_sizes(session).mean())


def _soft_targets(targets: npt.NDArray[np.generic], n_classes: int) -> Floats:
    if targets.ndim == 2:
        if targets.shape[1] != n_classes:
            raise ValueError(f"expected {n_classes} probabilities per row, got {targets.shape[1]}")
        return np.asarray(targets, dtype=np.float64)
    codes = np.asarray(targets, dtype=np.int64)
    if len(codes) and not (codes.min() >= 0 and codes.max() < n_classes):
        raise ValueError(f"class codes must lie in 0 … {n_classes - 1}, got {codes.min()} … {codes.max()}")
    soft = np.zeros((len(codes), n_classes))
    soft[np.arange(len(codes)), codes] = 1.0
    return soft


def to_meta(classifier: Classifier) -> dict[str, Any]:
    """The classifier as plain JSON values; the booster as its text, or None."""
    return {
        "booster": classifier.text,
        "n_features": classifier.n_features,
        "n_classes": classifier.n_classes,
        "classes": classifier.classes.tolist(),
        "prior": classifier.prior.tolist(),
        "scale": classifier.scaling.scale,
        "shift": classifier.scaling.shift.tolist(),
        "fallback": classifier.fallback,
    }


def from_meta(meta: Mapping[str, Any]) -> Classifier:
    """The classifier that `to_meta` wrote."""
    return Classifier(
        None if meta["booster"] is None else str(meta["booster"]),
        int(meta["n_features"]),
        int(meta["n_classes"]),
        np.asarray(meta["classes"], dtype=np.int64),
        np.asarray(meta["prior"], dtype=np.float64),
        Scaling(float(meta["scale"]), np.asarray(meta["shift"], dtype=np.float64)),
        str(meta["fallback"]),
    )


def describe(params: BoostParams) -> dict[str, Any]:
    """The hyper-parameters as JSON values, for a model's meta."""
    return asdict(params)
