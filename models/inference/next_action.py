"""Next action of a visitor and how long it takes: one curve of time per action, and one of the purchase that may come of it.

Competing risks in discrete time. For each of `INTERVALS_S` a boosted classifier over the session, user and item features says
of a visitor who did nothing until its beginning which action comes before its end, or none. Their product is, per action, the
probability that it is the next and comes within t seconds: never falling in t, for every t. Leaving is what is left: no event
within t. The purchase goes the other way: one classifier says whether it comes by the end of the last interval, the others, of
those that come by the end of the next one, whether they come by the end of theirs. Purchases are few, and of those who have not
bought within minutes hardly any do: hazards would be learned from next to nothing. Each classifier is calibrated on later,
held-out rows. All rows of a session lead to the same purchase or to none: its classifiers are told the sessions.

Source: Tutz and Schmid, *Modeling Discrete Time-to-Event Data*, Springer, 2016, chapter 8 (cause-specific hazards).
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models import visitor_groups
from models.arrays import Codes, Features, Flags, Floats, Ints
from models.artifact import Parts
from models.inference.examples import Examples
from models.inference.training import TrainingInput
from models.kernels import kernel
from models.learners import boosting
from models.learners.boosting import Classifier, OneRow
from models.learners.trees import BoostParams
from models.schema import HORIZONS_S, NEXT_ACTION_FEATURES, NEXT_ACTIONS, EventType
from models.visitor_groups import NOBODY_NAMED, GroupEffects

N_NEXT_ACTIONS: Final = len(NEXT_ACTIONS)
LEAVE: Final = NEXT_ACTIONS.index("leave")
INTERVALS_S: Final = (60.0, 300.0, 3600.0)  # their ends; each begins where the one before ends, the first at 0
_TINY: Final = 1e-12
_PURCHASE: Final = int(EventType.PURCHASE)


@dataclass(frozen=True)
class NextActionParams:
    """Hyper-parameters of the classifiers of one interval; stored with the artifact.

    Fewer rounds for the next action: each of its rounds grows one tree per class, up to sixteen. Purchases are few, so their
    trees are small, slow and pulled harder.
    """

    action: BoostParams = field(default_factory=lambda: BoostParams(n_rounds=40, learning_rate=0.2))
    purchase: BoostParams = field(
        default_factory=lambda: BoostParams(
            n_rounds=200, n_leaves=7, learning_rate=0.05, min_rows_in_leaf=100, l2=10.0, feature_share=0.3, patience=20
        )
    )


DEFAULT_PARAMS: Final = NextActionParams()


class Waits(NamedTuple):
    """Targets: what came next, and when; all of shape (n_rows,).

    Attributes
    ----------
    kind
        Type of the next event, index into `NEXT_ACTIONS`.
    wait_us, purchase_wait_us
        Microseconds until the next event and until the next purchase; `labels.NEVER` where none comes.
    known_us
        Microseconds until the log ends: of a wait that is longer nothing is known.
    session
        Code of each row's session; None: each row stands for itself.
    """

    kind: npt.NDArray[np.int8]
    wait_us: Ints
    purchase_wait_us: Ints
    known_us: Ints
    session: Ints | None = None

    @classmethod
    def of(cls, rows: Examples) -> "Waits":
        """Those of training examples."""
        session = np.cumsum(rows.starts, dtype=np.int64)
        return cls(rows.following, rows.wait_us, rows.purchase_wait_us, rows.known_us, session)

    def where(self, rows: Flags) -> "Waits":
        """Some of the rows."""
        return Waits(*(None if each is None else each[rows] for each in self))  # type: ignore[arg-type]


class Outlook(NamedTuple):
    """The answer for one horizon.

    Attributes
    ----------
    p_action
        Probability that each of `NEXT_ACTIONS` is the next and comes within the horizon; of leaving, that nothing does. Shape
        (…, n_next_actions), sums to 1; 0 for types never seen.
    p_purchase
        Probability of a purchase within the horizon, shape (…): at least that of a purchase as the next action, at most that of
        any event.
    """

    p_action: Floats
    p_purchase: Floats


class Interval(NamedTuple):
    """Classifiers of one interval.

    Attributes
    ----------
    action
        Next action of those who did nothing before it; leaving: nothing in it either.
    purchase
        Whether a purchase comes by its end, of those that come by the end of the next interval; for the last one, of all.
    """

    action: Classifier
    purchase: Classifier


@dataclass(frozen=True)
class NextActionModel:
    """A fitted next-action model; `meta` holds its parameters and the fallbacks it stands on, if any.

    Attributes
    ----------
    intervals
        One entry for each of `INTERVALS_S`.
    meta
        ``{"features", "next_actions", "intervals_s", "params", "seed", "fallback": {interval: {part: reason}}, "n_rows"}``.
    groups
        Groups of visitors that it tells apart: a column for each kind, behind the others.
    """

    intervals: Sequence[Interval]
    meta: Mapping[str, Any]
    groups: GroupEffects = NOBODY_NAMED
    _local: threading.local = field(default_factory=threading.local, init=False, repr=False, compare=False)

    def predict(self, features: Features, silent_s: Floats | None = None) -> dict[str, Outlook]:
        """Many rows: shape (n_rows, n_features) in, an `Outlook` of n_rows per name in `HORIZONS_S` out.

        Features are `NEXT_ACTION_FEATURES`, then the effects of the visitor's `groups`. `silent_s` as of `predict_one`, shape
        (n_rows,); None: nobody has been silent.
        """
        told, silent_s = self._told(features), np.zeros(len(features)) if silent_s is None else silent_s
        return {name: told.within(seconds, silent_s) for name, seconds in HORIZONS_S.items()}

    def predict_one(self, row: npt.NDArray[np.floating], silent_s: float = 0.0) -> dict[str, Outlook]:
        """One row: shape (n_features,) in, an `Outlook` per horizon out; `p_purchase` has shape ().

        Meant for one thread per process, the event loop; other threads get the same answers, one after the other.

        Parameters
        ----------
        silent_s
            Seconds behind the event of the row in which nothing has happened: horizons begin at their end.
        """
        asked = getattr(self._local, "asked", None)
        if asked is None:
            asked = self._local.asked = OneRow(
                [*(one.action for one in self.intervals), *(one.purchase for one in self.intervals)]
            )
        p, n = asked(row), len(self.intervals)
        told = _Curve(p[:n, None], p[n:, 1:2][::-1].cumprod(axis=0)[::-1])
        silence = np.array([silent_s])
        found = {name: told.within(seconds, silence) for name, seconds in HORIZONS_S.items()}
        return {name: Outlook(one.p_action[0], one.p_purchase[0]) for name, one in found.items()}

    def curve(self, features: Features, seconds: Sequence[float]) -> list[Outlook]:
        """Many rows within any horizons: shape (n_rows, n_features) in, an `Outlook` of n_rows per horizon out.

        Raises
        ------
        ValueError
            If a horizon is negative or lies behind the last interval.
        """
        if not all(0 <= each <= INTERVALS_S[-1] for each in seconds):
            raise ValueError(f"horizons must lie between 0 and {INTERVALS_S[-1]:.0f} s, got {list(seconds)}")
        told = self._told(features)
        return [told.within(each, np.zeros(len(features))) for each in seconds]

    def _told(self, features: Features) -> "_Curve":
        purchases = np.array([one.purchase.predict(features)[:, 1] for one in self.intervals])
        actions = np.array([one.action.predict(features) for one in self.intervals])
        return _Curve(actions, purchases[::-1].cumprod(axis=0)[::-1])


class _Curve(NamedTuple):
    """Probabilities as time goes on, of many rows.

    Attributes
    ----------
    actions
        In each interval, given that nothing happened before; shape (n_intervals, n_rows, n_next_actions).
    bought
        By the end of each interval, shape (n_intervals, n_rows).
    """

    actions: Floats
    bought: Floats

    def within(self, seconds: float, silent_s: Floats) -> Outlook:
        """Within a horizon that begins after each row's silence, shape (n_rows,), given that silence.

        The hazards are constant within an interval; behind the last one, its own go on.
        """
        _, n_rows, n_actions = self.actions.shape
        found = Outlook(np.zeros((n_rows, n_actions)), np.zeros(n_rows))
        _within(self.actions, np.ascontiguousarray(self.bought), silent_s, float(seconds), *found)
        return found


@kernel
def _bought_by(bought: Floats, row: int, seconds: float) -> float:
    p_bought, begin = 0.0, 0.0
    for k in range(len(INTERVALS_S)):
        end = INTERVALS_S[k]
        if seconds <= begin:
            break
        reach = seconds if k == len(INTERVALS_S) - 1 else min(seconds, end)
        share = (reach - begin) / (end - begin)
        p_bought = 1.0 - (1.0 - p_bought) ** (1.0 - share) * (1.0 - bought[k, row]) ** share
        begin = end
    return p_bought


@kernel
def _within(
    actions: Floats, bought: Floats, silences_s: Floats, seconds: float, p_action: Floats, p_bought: Floats
) -> None:  # fmt: skip
    """Write the outlook of each row until so many seconds behind its silence, given that silence."""
    for row in range(len(p_bought)):
        silent_s, until_s = silences_s[row], silences_s[row] + seconds
        p, begin = p_action[row], 0.0
        p[LEAVE] = 1.0
        for k in range(len(INTERVALS_S)):
            end, step = INTERVALS_S[k], actions[k, row]
            reach = until_s if k == len(INTERVALS_S) - 1 else min(until_s, end)
            share = (reach - max(begin, silent_s)) / (end - begin)
            begin = end
            if share <= 0.0:
                continue
            quiet, stays = p[LEAVE], step[LEAVE] ** share
            moves = quiet * (1.0 - stays) / max(1.0 - step[LEAVE], _TINY)
            for action in range(len(p)):
                p[action] += moves * step[action]
            p[LEAVE] = quiet * stays
        by_then = _bought_by(bought, row, until_s)
        if silent_s > 0.0:  # nor had they bought
            by_then = 1.0 - (1.0 - by_then) / max(1.0 - _bought_by(bought, row, silent_s), _TINY)
        p_bought[row] = min(max(by_then, p[_PURCHASE]), 1.0 - p[LEAVE])


def fit(
    features: Features,
    waits: Waits,
    params: NextActionParams = DEFAULT_PARAMS,
    *,
    valid: Flags | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    groups: GroupEffects = NOBODY_NAMED,
) -> NextActionModel:
    """Fit the classifiers of every interval.

    Parameters
    ----------
    features
        Shape (n_rows, n_features), float32; NaN where a user or an item is new, or nothing may be told of a group.
    waits
        What to learn, of n_rows.
    valid
        Held-out rows, later than the others; None: the last share of the rows.
    progress
        Called with (classifiers done, classifiers in all).
    groups
        Whose effects are the last columns.

    Raises
    ------
    ValueError
        If shapes do not fit each other.
    """
    if len(waits.kind) != len(features):
        raise ValueError(f"expected one wait per row, got {len(waits.kind)} for {len(features)} rows")
    intervals: list[Interval] = []
    for k in range(len(INTERVALS_S)):
        learned = []
        for n_classes, at_risk, target, part, session in (
            (N_NEXT_ACTIONS, *actions_in(waits, k), params.action, None),
            (2, *purchases_in(waits, k), params.purchase, waits.session),
        ):
            held = None if valid is None else valid[at_risk]
            alike = None if session is None else session[at_risk]
            learned.append(boosting.fit(features[at_risk], target, n_classes, part, valid=held, seed=seed, session=alike))
            if progress is not None:
                progress(2 * k + len(learned), 2 * len(INTERVALS_S))
        intervals.append(Interval(*learned))
    return NextActionModel(intervals, _meta(intervals, features.shape, params, seed, groups), groups)


def actions_in(waits: Waits, k: int) -> tuple[Flags, Codes]:
    """Rows whose visitor did nothing before the k-th interval, and what each did in it; leaving: nothing.

    Returns
    -------
    Of the rows, shape (n_rows,), and the target of those at risk, shape (n_at_risk,).
    """
    begin_us, end_us = (int(1e6 * (0.0, *INTERVALS_S)[place]) for place in (k, k + 1))
    # Rows near the log's end are left out whole: kept only where something came, they would tell of too much to come.
    at_risk = np.asarray((waits.known_us >= end_us) & ((waits.wait_us > begin_us) | (k == 0)))
    return at_risk, np.where(waits.wait_us[at_risk] <= end_us, waits.kind[at_risk], LEAVE).astype(np.int64)


def purchases_in(waits: Waits, k: int) -> tuple[Flags, Codes]:
    """Rows whose purchase comes by the end of the interval after the k-th (all rows for the last), and whether by its own (1).

    Returns
    -------
    As `actions_in`.
    """
    end_us, among_us = (int(1e6 * INTERVALS_S[min(place, len(INTERVALS_S) - 1)]) for place in (k, k + 1))
    among = np.asarray(waits.known_us >= among_us)
    if k + 1 < len(INTERVALS_S):
        among &= waits.purchase_wait_us <= among_us
    return among, np.asarray(waits.purchase_wait_us[among] <= end_us).astype(np.int64)


def _meta(
    intervals: Sequence[Interval], shape: tuple[int, ...], params: NextActionParams, seed: int, groups: GroupEffects
) -> dict[str, Any]:
    return {
        "features": [*NEXT_ACTION_FEATURES, *groups.kinds][: shape[1]],
        "next_actions": list(NEXT_ACTIONS),
        "intervals_s": list(INTERVALS_S),
        "params": {"action": boosting.describe(params.action), "purchase": boosting.describe(params.purchase)},
        "seed": seed,
        "fallback": {
            _name(k): {part: c.fallback for part, c in one._asdict().items() if c.fallback} for k, one in enumerate(intervals)
        },
        "n_rows": shape[0],
    }


def _name(k: int) -> str:
    return f"until_{INTERVALS_S[k]:.0f}_s"


def fit_on(data: TrainingInput) -> Parts:
    """Fit all intervals on the sessions before the held-out period; calibrated on what of it judges nothing."""
    rows, early = data.examples, ~data.split.test
    before = data.log.before(data.split.test_from_us)
    groups = visitor_groups.learned(before.groups, before.user_codes, before.events["event_type"] == EventType.PURCHASE)
    waits = Waits.of(rows)
    features = rows.next_action_features(groups)
    params = data.params or DEFAULT_PARAMS
    model = fit(features[early], waits.where(early), params, valid=data.split.valid[early], seed=data.seed, groups=groups)
    newer, later = features[data.unjudged], waits.where(data.unjudged)
    intervals = []
    for k, one in enumerate(model.intervals):
        (acts, actions), (buys, purchases) = actions_in(later, k), purchases_in(later, k)
        intervals.append(
            Interval(
                boosting.recalibrated(one.action, newer[acts], actions),
                boosting.recalibrated(one.purchase, newer[buys], purchases, later.where(buys).session),
            )
        )
    return to_parts(replace(model, intervals=intervals))


def to_parts(model: NextActionModel) -> Parts:
    """The model as JSON values; it has no arrays of a size worth a file."""
    classifiers = {
        _name(k): {part: boosting.to_meta(c) for part, c in one._asdict().items()} for k, one in enumerate(model.intervals)
    }
    return Parts({**model.meta, "classifiers": classifiers, "groups": visitor_groups.to_json(model.groups)}, {})


def from_parts(parts: Parts) -> NextActionModel:
    """The model that `to_parts` wrote.

    Raises
    ------
    ValueError
        If it was trained on other features, actions or intervals than this version has.
    """
    meta = {name: value for name, value in parts.meta.items() if name not in ("classifiers", "groups")}
    groups = visitor_groups.from_json(parts.meta.get("groups"))
    expected = ([*NEXT_ACTION_FEATURES, *groups.kinds], list(NEXT_ACTIONS), list(INTERVALS_S))
    if (list(meta["features"]), list(meta["next_actions"]), meta.get("intervals_s")) != expected:
        raise ValueError("the next-action model was trained on other features or actions than this version has: train again")
    intervals = [
        Interval(boosting.from_meta(saved["action"]), boosting.from_meta(saved["purchase"]))
        for saved in parts.meta["classifiers"].values()
    ]
    return NextActionModel(intervals, meta, groups)
