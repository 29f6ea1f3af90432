"""Candidate beside champion on the same held-out rows: every measure with the interval of its difference.

A difference is always a gain: positive where the candidate is better, in the measure's own unit. Rows of one session are not
independent, so whole sessions are drawn (`models.statistics.bootstrap`); slices, early decisions and the overall measures share
the draws.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np

from models.arrays import Flags, Floats, Ints
from models.evaluation import classification as report
from models.evaluation.held_out import HeldOut
from models.evaluation.predictions import MEDIUM, Predictions
from models.questions import next_item
from models.schema import DEVICES, HORIZONS_S, N_INTENTS, SESSION_FEATURES, USER_FEATURES
from models.statistics import bootstrap, metrics
from models.statistics.bootstrap import Draws
from models.statistics.metrics import Interval

N_DRAWS: Final = 500
OVERALL: Final = "overall"
EARLY: Final = "early decision"
SLICE: Final = "slice"
ITEM_MEASURES: Final = {  # by method: name of the measure, and the models that it judges
    "dynamic": ("next item MRR@20", ("associations", "weights")),
    "ranker": ("next item MRR@20, ranker", ("ranker",)),
}
OPTIONAL: Final = frozenset(("ranker",))  # the lists of the associations would be served instead
SAYS_P: Final = frozenset(("intent", "next_action", "engagement"))  # whose probabilities must be safe
_TINY: Final = 1e-12


class Truth(NamedTuple):
    """Truth of the held-out rows.

    Attributes
    ----------
    p_intent
        Weak labels as probabilities, shape (n_held, n_intents).
    next_action, purchase, covered
        Shape (n_held, n_horizons).
    session
        Session of each row, shape (n_held,).
    position
        Events of the session seen at each row, shape (n_held,).
    device
        Code into `DEVICES`, shape (n_held,).
    is_new
        Rows of visitors about whom nothing was known when the session began, shape (n_held,).
    question_session
        Session of each question about the next item, shape (n_questions,).
    of_partner
        Rows and questions of each partner, where there are several: what one sent shall not be paid for by another.
    """

    p_intent: Floats
    next_action: Ints
    purchase: Flags
    covered: Flags
    session: Ints
    position: Ints
    device: Ints
    is_new: Flags
    question_session: Ints
    of_partner: Mapping[str, tuple[Ints, Ints]] = MappingProxyType({})


class Comparison(NamedTuple):
    """One measure of both sides.

    Attributes
    ----------
    part
        `OVERALL`, `EARLY` or `SLICE`.
    candidate, champion
        The measure; a loss is better when it is smaller.
    gain
        How much better the candidate is, with its 95 % interval.
    n_rows, n_sessions
        What it was measured on.
    about
        Models that it judges.
    """

    name: str
    part: str
    candidate: float
    champion: float
    gain: Interval
    n_rows: int
    n_sessions: int
    about: tuple[str, ...] = ()


def truth(on: HeldOut) -> Truth:
    """Truth of the held-out rows of the examples, and whose sessions were asked about."""
    found, held = on.examples, on.rows
    new_at_start = found.user_features[:, USER_FEATURES.index("user_n_events")] == 0
    first = np.maximum.accumulate(np.where(found.starts, np.arange(len(found.starts)), 0))
    device = found.session_features[held, SESSION_FEATURES.index("device")].astype(np.int64)
    return Truth(
        p_intent=np.asarray(found.p_intent[held]),
        next_action=found.next_action[held].astype(np.int64),
        purchase=np.asarray(found.purchase[held]),
        covered=np.asarray(found.covered[held]),
        session=np.cumsum(found.starts, dtype=np.int64)[held],
        position=report.positions(found.starts)[held],
        device=device.clip(0, len(DEVICES) - 1),
        is_new=np.asarray(new_at_start[first][held]),
        question_session=np.cumsum(on.later.starts, dtype=np.int64)[on.asked.last],
        of_partner=_by_partner(on),
    )


def _by_partner(on: HeldOut) -> dict[str, tuple[Ints, Ints]]:
    """Held-out rows and questions of each partner; empty where all are one shop or only one sent any."""
    every, later = on.log.senders, on.later.senders
    if every is None or later is None or len(later.n_events()) < 2:
        return {}
    of_rows, of_questions = every.codes[on.examples.rows[on.rows]], later.codes[on.asked.last]
    return {
        name: (np.flatnonzero(of_rows == code), np.flatnonzero(of_questions == code))
        for code, name in enumerate(every.partners)
        if name in later.n_events()
    }


def compare(ours: Predictions, theirs: Predictions, came: Truth, rng: np.random.Generator) -> list[Comparison]:
    """Every measure of both sides; what cannot be measured (no rows, one class only) is left out."""
    found: list[Comparison] = []
    if len(came.session):
        draws = bootstrap.draw(came.session, rng, N_DRAWS)
        found += _of(("intent",), _intent(ours.p_intent, theirs.p_intent, came, draws))
        for k, horizon in enumerate(HORIZONS_S):
            found += _of(("next_action",), _next_action(ours, theirs, came, draws, horizon, k))
        found += _of(("engagement",), _engagement_gain(ours.p_engagement, theirs.p_engagement, came, draws))
    if len(came.question_session):
        draws = bootstrap.draw(came.question_session, rng, N_DRAWS)
        for method, (name, about) in ITEM_MEASURES.items():
            if method in ours.ranks and method in theirs.ranks:
                scores = tuple(next_item.reciprocal(side.ranks[method]) for side in (ours, theirs))
                found.append(_mean_gain(name, OVERALL, scores, draws, sign=1)._replace(about=about))
                for partner, (_, asked) in came.of_partner.items():
                    if len(asked):
                        one = _mean_gain(f"{name}, partner {partner}", SLICE, scores, draws, sign=1, rows=asked)
                        found.append(one._replace(about=about))
    return found


def _of(about: tuple[str, ...], found: Iterator[Comparison]) -> Iterator[Comparison]:
    return (one._replace(about=about) for one in found)


def _intent(ours: Floats, theirs: Floats, came: Truth, draws: Draws) -> Iterator[Comparison]:
    label = came.p_intent.argmax(axis=1)
    yield _f1_gain("intent macro-F1", ours, theirs, label, draws)
    losses = tuple(-(came.p_intent * np.log(np.maximum(p, _TINY))).sum(axis=1) for p in (ours, theirs))
    yield _mean_gain("intent log loss", OVERALL, losses, draws, sign=-1)
    for part, name, rows in _parts(came):
        if len(rows):
            yield _mean_gain(f"intent log loss, {name}", part, losses, draws, sign=-1, rows=rows)


def _parts(came: Truth) -> Iterator[tuple[str, str, Ints]]:
    """Rows of each early decision and each slice.

    All that a slice may look at is known before the outcome. Rows chosen by their label reward a model that always says that
    label, and fail one that doubts rightly.
    """
    for k in report.DECISION_POINTS:
        yield EARLY, f"after {k} event{'s' if k > 1 else ''}", np.flatnonzero(came.position == k)
    yield from _visitors(came)


def _visitors(came: Truth) -> Iterator[tuple[str, str, Ints]]:
    for code, device in enumerate(DEVICES):
        yield SLICE, f"device {device}", np.flatnonzero(came.device == code)
    yield SLICE, "new users", np.flatnonzero(came.is_new)
    yield SLICE, "known users", np.flatnonzero(~came.is_new)
    yield from ((SLICE, f"partner {name}", rows) for name, (rows, _) in came.of_partner.items())


def _next_action(
    ours: Predictions, theirs: Predictions, came: Truth, draws: Draws, horizon: str, k: int
) -> Iterator[Comparison]:
    known = np.flatnonzero(came.covered[:, k])
    if len(known) == 0:
        return
    name, done = horizon.replace("_", " "), came.next_action[:, k]
    everyone = np.arange(len(done))
    losses = tuple(-np.log(np.maximum(side.p_action[horizon][everyone, done], _TINY)) for side in (ours, theirs))
    yield _mean_gain(f"next action log loss, {name}", OVERALL, losses, draws, sign=-1, rows=known)
    if horizon == next(iter(HORIZONS_S)):
        for part, slice_name, rows in _visitors(came):
            some = np.intersect1d(rows, known, assume_unique=True)
            if len(some):
                yield _mean_gain(f"next action log loss, {slice_name}", part, losses, draws, sign=-1, rows=some)
    bought = came.purchase[:, k]
    if bought[known].any() and not bought[known].all():
        yield from _purchase_gains(
            "purchase", f", {name}", (ours.p_purchase[horizon], theirs.p_purchase[horizon]), bought, known, draws
        )


def _engagement_gain(ours: Floats | None, theirs: Floats | None, came: Truth, draws: Draws) -> Iterator[Comparison]:
    k = list(HORIZONS_S).index(MEDIUM)
    known = np.flatnonzero(came.covered[:, k])
    bought = came.purchase[:, k]
    if ours is not None and theirs is not None and bought[known].any() and not bought[known].all():
        yield from _purchase_gains("engagement", "", (ours, theirs), bought, known, draws)


def _purchase_gains(
    kind: str, name: str, sides: tuple[Floats, Floats], bought: Flags, rows: Ints, draws: Draws
) -> Iterator[Comparison]:
    """Whether buyers are told from others as well as before, and whether as much is promised as is kept.

    The first looks at the order only, and the limit of the calibration error is far above what a rare purchase makes of a score
    that promises thrice as much. The precision of both hangs on the sessions that bought.
    """
    area = _area_gain(f"{kind} AUC{name}", *sides, bought[rows], rows, draws)
    yield area
    losses = tuple(-np.log(np.maximum(np.where(bought, p, 1 - p), _TINY)) for p in sides)
    loss = _mean_gain(f"{kind} log loss{name}", OVERALL, losses, draws, sign=-1, rows=rows)
    yield loss._replace(n_sessions=area.n_sessions)


def _mean_gain(
    name: str, part: str, scores: Sequence[Floats], draws: Draws, *, sign: int, rows: Ints | None = None
) -> Comparison:
    """Difference of two means of a score per row, candidate's and champion's; `sign` is -1 where small scores are good."""
    ours, theirs = (side if rows is None else side[rows] for side in scores)
    gain = bootstrap.mean_intervals(sign * (ours - theirs)[:, None], draws, rows)[0]
    n_sessions = len(np.unique(draws.group if rows is None else draws.group[rows]))
    return Comparison(name, part, float(ours.mean()), float(theirs.mean()), gain, len(ours), n_sessions)


def _area_gain(
    name: str, ours: Floats, theirs: Floats, bought: Flags, rows: Ints, draws: Draws, n_draws: int = 200
) -> Comparison:
    """Difference in ROC-AUC on some rows; sessions with a purchase are what its precision hangs on, so they are counted."""
    some = Draws(draws.group[rows], draws.times[:n_draws])
    gain = bootstrap.area_intervals(ours[rows], theirs[rows], bought, some)[0]
    candidate, champion = (metrics.roc_auc(side[rows], bought) for side in (ours, theirs))
    return Comparison(name, OVERALL, candidate, champion, gain, len(rows), len(np.unique(some.group[bought])))


def _f1_gain(name: str, ours: Floats, theirs: Floats, label: Ints, draws: Draws) -> Comparison:
    """Difference in macro-F1: confusion counts of each session, summed as often as the session was drawn."""
    n_groups = draws.times.shape[1]
    drawn, observed = [], []
    for p in (ours, theirs):
        cell = draws.group * N_INTENTS**2 + label * N_INTENTS + p.argmax(axis=1)
        counts = np.bincount(cell, minlength=n_groups * N_INTENTS**2).reshape(n_groups, -1).astype(np.float64)
        drawn.append(_macro_f1(np.concatenate([block @ counts for block in bootstrap.blocks(draws.times)])))
        observed.append(float(_macro_f1(counts.sum(axis=0)[None])[0]))
    low, high = np.quantile(drawn[0] - drawn[1], [0.025, 0.975])
    gain = Interval(observed[0] - observed[1], float(low), float(high))
    return Comparison(name, OVERALL, observed[0], observed[1], gain, len(label), n_groups)


def _macro_f1(counts: Floats) -> Floats:
    """Macro-F1 of many confusion tables, shape (n, n_intents²) in, (n,) out; absent classes are left out."""
    tables = counts.reshape(-1, N_INTENTS, N_INTENTS)
    hits = np.diagonal(tables, axis1=1, axis2=2)
    total = tables.sum(axis=1) + tables.sum(axis=2)
    f1 = np.divide(2 * hits, total, out=np.zeros_like(total), where=total > 0)
    return np.asarray(f1.sum(axis=1) / np.maximum((total > 0).sum(axis=1), 1))


class Calibration(NamedTuple):
    """Calibration error of one probability, with an interval that knows how much of it is noise of few rows.

    Attributes
    ----------
    ece
        As measured: noise makes it larger than it is.
    low, high
        Interval of the error without that noise.
    about
        Models that it judges.
    """

    name: str
    ece: float
    low: float
    high: float
    n_sessions: int
    about: tuple[str, ...] = ()


def calibrations(ours: Predictions, came: Truth, rng: np.random.Generator) -> list[Calibration]:
    """Calibration of every probability that is served."""
    if len(came.session) == 0:
        return []
    draws = bootstrap.draw(came.session, rng, N_DRAWS)
    every = np.arange(len(came.session))
    top = ours.p_intent.argmax(axis=1)
    said, came_true = ours.p_intent[every, top], came.p_intent[every, top]
    found = [_calibration("intent calibration", "intent", said, came_true, draws, every)]
    for k, horizon in enumerate(HORIZONS_S):
        known, name = np.flatnonzero(came.covered[:, k]), horizon.replace("_", " ")
        if len(known):
            p = ours.p_action[horizon]
            top = p.argmax(axis=1)
            hit = (top == came.next_action[:, k]).astype(np.float64)
            found.append(_calibration(f"next action calibration, {name}", "next_action", p[every, top], hit, draws, known))
            bought = came.purchase[:, k].astype(np.float64)
            p_purchase = ours.p_purchase[horizon]
            found.append(_calibration(f"purchase calibration, {name}", "next_action", p_purchase, bought, draws, known))
            if horizon == MEDIUM and ours.p_engagement is not None:
                found.append(_calibration("engagement calibration", "engagement", ours.p_engagement, bought, draws, known))
    return found


def _calibration(name: str, model: str, p: Floats, hit: Floats, draws: Draws, rows: Ints) -> Calibration:
    group = draws.group[rows]
    ece, interval = calibration_interval(p[rows], hit[rows], Draws(group, draws.times))
    return Calibration(name, ece, interval.low, interval.high, len(np.unique(group)), (model,))


def calibration_interval(p: Floats, hit: Floats, draws: Draws, level: float = 0.95) -> tuple[float, Interval]:
    """Expected calibration error as measured, and the interval of what it would be on endless rows.

    Few rows make the error of a perfect model look large, and resampling them makes its square larger by about as much again.
    So the squares of the draws are mirrored around the measured one (the basic bootstrap), which takes that share off. In
    simulations (60 and 300 sessions of four dependent rows) the lower end is above the truth in at most 1 % of the samples, the
    upper end below it in up to 18 %: it errs towards letting a model pass.

    Parameters
    ----------
    p
        What was said, shape (n_rows,).
    hit
        What came, or how probable that is, shape (n_rows,).

    Returns
    -------
    The measured error, and an interval whose mean is the corrected one; nothing below 0.

    Source: Davison and Hinkley, "Bootstrap methods and their application", 1997, section 5.2.
    """
    edges = np.unique(np.quantile(p, np.arange(1, metrics.ECE_BINS) / metrics.ECE_BINS, method="lower"))
    which = np.searchsorted(edges, p, side="left")
    n_groups, n_bins = draws.times.shape[1], len(edges) + 1
    residual = np.bincount(draws.group * n_bins + which, weights=p - hit, minlength=n_groups * n_bins)
    sums = np.column_stack((residual.reshape(n_groups, n_bins), np.bincount(draws.group, minlength=n_groups)))
    drawn = np.concatenate([block @ sums for block in bootstrap.blocks(draws.times)])
    errors = np.abs(drawn[:, :-1]).sum(axis=1) / np.maximum(drawn[:, -1], 1.0)
    measured = float(np.abs(sums[:, :-1].sum(axis=0)).sum() / len(p))
    low, high = np.quantile(errors, [(1 - level) / 2, (1 + level) / 2])
    mirrored = (2 * measured**2 - e**2 for e in (float(errors.mean()), float(high), float(low)))
    return measured, Interval(*(max(square, 0.0) ** 0.5 for square in mirrored))


def as_json(found: Comparison | Calibration) -> dict[str, Any]:
    """A row with five digits, for reports."""
    return {name: _rounded(value) for name, value in found._asdict().items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, Interval):
        return bootstrap.as_json(value)
    return round(value, 5) if isinstance(value, float) else value
