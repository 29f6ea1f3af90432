"""The learned engagement score: weighted actions, their decay and the lift of their sequence, calibrated to a purchase.

    raw = logistic(log(1 + sum of w_e recent_e), log(1 + sum of w_e n_e), log odds of the last two actions' chain value,
                   effect of each of the visitor's groups)

`recent` fades by half every two minutes, `n` does not; w are the action weights, one Thompson sample of them where they are
served. The chain is `models.weights.markov`. On later sessions than those that were learned from, isotonic regression or
Platt's scaling, whichever does better on the latest ones, turns `raw` into P(purchase within the horizon): the *immediate*
engagement. The *predicted* one is the next-action model's, and the score the mixture of both that was likeliest on the later
sessions.
"""

from dataclasses import asdict, dataclass
from typing import Final, NamedTuple, TypeVar

import numpy as np

from models import visitor_groups
from models.arrays import Flags, Floats, Floats32, Ints, writeable
from models.artifact import Parts
from models.kernels import kernel
from models.schema import EVENT_TYPES, HORIZONS_S, N_EVENT_TYPES, SESSION_FEATURES
from models.statistics import logistic
from models.statistics.log_odds import log_odds_of, logit
from models.statistics.logistic import Logistic
from models.visitor_groups import NOBODY_NAMED, GroupEffects, Named
from models.weights import markov
from models.weights.markov import START

Amount = TypeVar("Amount", float, Floats)

ISOTONIC: Final = "isotonic"
PLATT: Final = "platt"
_COUNT: Final = np.array([SESSION_FEATURES.index(f"n_{name}") for name in EVENT_TYPES])
_RECENT: Final = np.array([SESSION_FEATURES.index(f"recent_{name}") for name in EVENT_TYPES])
_LAST: Final = SESSION_FEATURES.index("last_event_type")
_BEFORE: Final = SESSION_FEATURES.index("previous_event_type")
_SURE: Final = 1e-4  # no probability is further out: a few hundred rows cannot tell


@dataclass(frozen=True)
class EngagementParams:
    """Parameters of the engagement score's learner.

    Attributes
    ----------
    horizon_s
        Seconds within which a purchase counts.
    least_rows
        Rows before a purchase, and rows before none, that fit and calibration need each; with fewer there is no model.
    most_points
        Of the isotonic curve.
    """

    horizon_s: float = HORIZONS_S["medium_term"]
    least_rows: int = 30
    most_points: int = 200


PARAMS: Final = EngagementParams()


class Calibration(NamedTuple):
    """A rising curve from raw to calibrated log odds: straight between its points, level outside them.

    Attributes
    ----------
    kind
        `ISOTONIC` or `PLATT`.
    x, y
        Log odds, rising, shape (n_points,).
    """

    kind: str
    x: Floats
    y: Floats

    def __call__(self, log_odds: Floats) -> Floats:
        """Calibrated probabilities of raw log odds, shape (n_rows,) in and out."""
        found = np.empty(len(log_odds))
        _calibrated(writeable(log_odds, np.float64), self.x, self.y, found)
        return found


class EngagementModel(NamedTuple):
    """Learned engagement score.

    Attributes
    ----------
    sequence
        Log odds of a purchase after two actions, shape (n_event_types + 1, n_event_types), see `markov.pair_values`.
    at_start
        The same before any.
    regression
        Of the purchase on `inputs`.
    calibration
        Of its log odds.
    predicted_share
        Of the next-action model's probability in the score, 0 to 1.
    params
        As given to `fit`.
    groups
        Groups of visitors that it tells apart.
    """

    sequence: Floats
    at_start: float
    regression: Logistic
    calibration: Calibration
    predicted_share: float
    params: EngagementParams
    groups: GroupEffects = NOBODY_NAMED

    def immediate(self, features: Floats32, weights: Floats, effects: Floats32 | None = None) -> Floats:
        """P(purchase within the horizon) by what the visitor does, shape (n_rows,).

        Parameters
        ----------
        features
            Session features, shape (n_rows, n_session_features).
        weights
            Action weights, shape (n_event_types,), or one row for each of the features'.
        effects
            Of the visitors' groups, from `groups`, shape (n_rows, n_kinds); None where nothing is known of them.
        """
        seen = inputs(features, weights, self.sequence, self.at_start)
        if self.groups.kinds:
            effects = self.groups.rows(None, len(features)) if effects is None else effects
            seen = np.column_stack((seen, np.nan_to_num(effects)))
        return self.calibration(_raw(self.regression, seen))

    def score(self, immediate: Amount, predicted: Amount | None) -> Amount:
        """The mixture of both, of one row or of many; the immediate engagement where no model predicts."""
        if predicted is None:
            return immediate
        return self.predicted_share * predicted + (1 - self.predicted_share) * immediate


def inputs(features: Floats32, weights: Floats, sequence: Floats, at_start: float) -> Floats:
    """Inputs of the score, shape (n_rows, 3): faded and whole weighted count, and the sequence's log odds.

    A row is added up in one order, whether it comes alone or among others: what is judged is bit for bit what is served.
    """
    n, weights = len(features), writeable(np.atleast_2d(weights), np.float64)
    seen = np.empty((n, 3))
    sums = np.empty((2, n))
    _summed(writeable(features, np.float32), weights, sequence, at_start, sums, seen)
    seen[:, :2] = np.log1p(sums, out=sums).T
    return seen


@kernel
def _summed(features: Floats32, weights: Floats, sequence: Floats, at_start: float, sums: Floats, seen: Floats) -> None:
    """Write the weighted sums of faded and whole counts of each row, and the sequence's log odds."""
    for row in range(len(features)):
        of, w = features[row], weights[row % len(weights)]
        sums[0, row], sums[1, row] = _weighted(of, _RECENT, w), _weighted(of, _COUNT, w)
        last, before = int(of[_LAST]), int(of[_BEFORE])
        seen[row, 2] = sequence[before if before >= 0 else START, last] if last >= 0 else at_start


@kernel
def _weighted(features: Floats32, columns: Ints, weights: Floats) -> float:
    """Sum of weighted counts, none below 0, in the order in which numpy adds up a row: eight sums side by side."""
    parts, n = np.zeros(8), len(columns) - len(columns) % 8
    for k in range(n):
        parts[k % 8] += max(0.0, features[columns[k]]) * weights[k]
    total: float = ((parts[0] + parts[1]) + (parts[2] + parts[3])) + ((parts[4] + parts[5]) + (parts[6] + parts[7]))
    for k in range(n, len(columns)):
        total += max(0.0, features[columns[k]]) * weights[k]
    return total


@kernel
def _calibrated(log_odds: Floats, x: Floats, y: Floats, out: Floats) -> None:
    """Follow the curve from raw to calibrated log odds, and write the probabilities."""
    for row in range(len(log_odds)):
        at, k = log_odds[row], np.searchsorted(x, log_odds[row], side="right") - 1
        value = y[max(k, 0)]
        if 0 <= k < len(x) - 1:
            value += (y[k + 1] - y[k]) / (x[k + 1] - x[k]) * (at - x[k])
        out[row] = 1.0 / (1.0 + np.exp(-value))


def _raw(regression: Logistic, rows: Floats) -> Floats:
    """Log odds of each row by the regression, none surer than it may be, shape (n_rows,)."""
    found = np.empty(len(rows))
    _log_odds(rows, *regression, found)
    return found


@kernel
def _log_odds(rows: Floats, mean: Floats, scale: Floats, coefficients: Floats, out: Floats) -> None:
    for row in range(len(rows)):
        margin = coefficients[0]
        for k in range(len(mean)):
            margin += (rows[row, k] - mean[k]) / scale[k] * coefficients[k + 1]
        out[row] = log_odds_of(min(max(1.0 / (1.0 + np.exp(-margin)), _SURE**2), 1 - _SURE**2))


class Rows(NamedTuple):
    """Rows to learn from; all arrays have one row per event.

    Attributes
    ----------
    features
        Session features, shape (n_rows, n_session_features).
    bought
        Whether a purchase follows within the horizon, shape (n_rows,).
    later
        Rows of later sessions, for the calibration, shape (n_rows,).
    at_us
        Start of the session, shape (n_rows,): the latest of the later ones choose between the calibrations.
    predicted
        P(purchase within the horizon) by the next-action model, shape (n_rows,), or None.
    groups
        Of the visitors; None where no shop tells any.
    """

    features: Floats32
    bought: Flags
    later: Flags
    at_us: Ints
    predicted: Floats | None = None
    groups: Named | None = None

    def where(self, kept: Flags) -> "Rows":
        """Some of the rows."""
        predicted = None if self.predicted is None else self.predicted[kept]
        groups = None if self.groups is None else self.groups.where(kept)
        return Rows(self.features[kept], self.bought[kept], self.later[kept], self.at_us[kept], predicted, groups)


def fit(
    chain: markov.Chain, rows: Rows, weights: Floats, params: EngagementParams = PARAMS, groups: GroupEffects = NOBODY_NAMED
) -> EngagementModel | None:
    """Learn the score; None where too few sessions bought.

    Parameters
    ----------
    chain
        Of sessions before the later ones.
    weights
        Action weights, shape (n_event_types,).
    groups
        Effects of the visitors' groups, of the same sessions as the chain.
    """
    later = np.flatnonzero(rows.later)
    for part in (rows.bought[~rows.later], rows.bought[later]):
        if min(int(part.sum()), int((~part).sum())) < params.least_rows:
            return None
    sequence = np.asarray(logit(markov.pair_values(chain)))
    at_start = float(logit(markov.p_purchase(chain)[START]))
    seen = inputs(rows.features, weights, sequence, at_start)
    if groups.kinds:
        seen = np.column_stack((seen, np.nan_to_num(groups.rows(rows.groups, len(seen)))))
    regression = logistic.fit(seen[~rows.later], rows.bought[~rows.later])
    raw = _raw(regression, seen)
    calibration = calibrate(raw[later], rows.bought[later], rows.at_us[later], params)
    share = 0.0
    if rows.predicted is not None:
        share = _share(calibration(raw[later]), rows.predicted[later], rows.bought[later])
    return EngagementModel(sequence, at_start, regression, calibration, share, params, groups)


def calibrate(raw: Floats, bought: Flags, at_us: Ints, params: EngagementParams = PARAMS) -> Calibration:
    """The better of both calibrations on the later half, fitted again to all rows."""
    early = at_us <= np.median(at_us)
    kinds = {PLATT: _platt, ISOTONIC: _isotonic}
    chosen = PLATT
    if 0 < bought[early].sum() < early.sum() and not early.all():
        loss = {
            name: _loss(fitted(raw[early], bought[early], params)(raw[~early]), bought[~early])
            for name, fitted in kinds.items()
        }
        chosen = min(loss, key=lambda name: loss[name])
    return kinds[chosen](raw, bought, params)


def _platt(raw: Floats, bought: Flags, params: EngagementParams) -> Calibration:
    """A line in log odds, cut where probabilities are surer than `_SURE`; level where it would fall."""
    line = logistic.fit(raw[:, None], bought)
    slope = max(float(line.coefficients[1] / line.scale[0]), 1e-6)
    ends = logit(np.array([_SURE, 1 - _SURE]))
    return Calibration(PLATT, (ends - line.coefficients[0]) / slope + line.mean[0], ends)


def _isotonic(raw: Floats, bought: Flags, params: EngagementParams) -> Calibration:
    from scipy.optimize import isotonic_regression  # only here: what serves does not fit

    order = np.argsort(raw, kind="stable")
    rising = isotonic_regression(bought[order].astype(np.float64)).x
    level = np.unique(np.round(rising, 9), return_index=True)[1]
    middle = [float(part.mean()) for part in np.split(raw[order], level[1:])]
    p = np.clip(rising[level], _SURE, 1 - _SURE)
    keep = np.unique(np.linspace(0, len(p) - 1, min(len(p), params.most_points)).astype(int))
    return Calibration(ISOTONIC, np.array(middle)[keep], np.asarray(logit(p[keep])))


def _loss(p: Floats, bought: Flags) -> float:
    return float(-np.where(bought, np.log(p), np.log1p(-p)).mean())


def _share(immediate: Floats, predicted: Floats, bought: Flags) -> float:
    from scipy.optimize import minimize_scalar  # only here: what serves does not fit

    mixed = np.clip(predicted, _SURE, 1 - _SURE)
    found = minimize_scalar(
        lambda share: _loss(share * mixed + (1 - share) * immediate, bought), bounds=(0, 1), method="bounded"
    )
    return float(found.x)


def to_parts(model: EngagementModel | None) -> Parts:
    """The model as a model file holds it; None is a file that says so."""
    if model is None:
        return Parts({"learned": False}, {})
    regression, calibration = model.regression, model.calibration
    meta = {
        "learned": True,
        "event_types": list(EVENT_TYPES),
        "at_start": model.at_start,
        "calibration": calibration.kind,
        "predicted_share": model.predicted_share,
        "params": asdict(model.params),
        "groups": visitor_groups.to_json(model.groups),
    }
    arrays = {**regression._asdict(), "x": calibration.x, "y": calibration.y, "sequence": model.sequence}
    return Parts(meta, arrays)


def from_parts(parts: Parts) -> EngagementModel | None:
    """The model of a file, or None where none was learned.

    Raises
    ------
    ValueError
        If the file's event types are not those of the schema.
    """
    if not parts.meta["learned"]:
        return None
    if list(parts.meta["event_types"]) != list(EVENT_TYPES):
        raise ValueError(f"engagement was learned for the event types {parts.meta['event_types']}")
    a = {name: np.array(array, dtype=np.float64) for name, array in parts.arrays.items()}
    if a["sequence"].shape != (N_EVENT_TYPES + 1, N_EVENT_TYPES):
        raise ValueError(f"expected a sequence table of {N_EVENT_TYPES + 1} by {N_EVENT_TYPES}, got {a['sequence'].shape}")
    return EngagementModel(
        a["sequence"],
        float(parts.meta["at_start"]),
        Logistic(a["mean"], a["scale"], a["coefficients"]),
        Calibration(str(parts.meta["calibration"]), a["x"], a["y"]),
        float(parts.meta["predicted_share"]),
        EngagementParams(**parts.meta["params"]),
        visitor_groups.from_json(parts.meta.get("groups")),
    )
