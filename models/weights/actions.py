"""Action weights: how strongly each kind of action leads to a purchase, learned from what visitors did next.

An action is a trial; it is rewarded when the same visitor buys within the horizon after it. It is decided when the horizon has
passed, whatever came of it, and pending until then: rewards that counted at once, beside trials still waiting, would make a
young log's rates too high (Chapelle, "Modeling delayed feedback in display advertising", 2014). What one visitor does in one
day counts as one observation of an action type, whatever the number of clicks, and only a visitor's latest days count: nobody
can shout a weight up or down.

Who does what differs by what the visit is about: searching is frequent in visits that buy anyway. So trials are kept apart by
segment, the intent that the rules saw *before* the action, and compared within it; a weight is the mean over the segments. The
heuristic weights are the prior in each segment, moved as a whole (in log odds) to the segment's rate of purchases:

    p[s, e] ~ Beta(m q + rewards, m (1 - q) + trials - rewards),   logit q[s, e] = logit base[e] + level[s]
    weight[s, e] = expit(logit p[s, e] - level[s])

Without data the weights are the heuristic ones exactly. Device and time of day lean on their segment in the same way, with a
strength that empirical Bayes picks. Source: Gelman et al., "Bayesian Data Analysis", 3rd ed., chapter 5 (partial pooling);
Chapelle & Li, "An empirical evaluation of Thompson sampling", 2011.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Floats, Ints
from models.schema import DEVICES, INTENTS, N_EVENT_TYPES, EventType
from models.statistics.log_odds import betaln, expit, logit
from models.weight_profile import base_weights

SEGMENTS: Final = ("fresh", *INTENTS)  # before the action: nothing yet, or what the rules took the visit for
DAYPARTS: Final = ("night", "morning", "afternoon", "evening")  # six hours each, local time
N_CELLS: Final = len(DEVICES) * len(DAYPARTS)
N_CONTEXTS: Final = len(SEGMENTS) * N_CELLS
SCALE: Final = 1 << 20  # of an observation: whole numbers add up to the same sum in any order
BASE: Final = base_weights()
LEARNED: Final = np.arange(N_EVENT_TYPES) != EventType.PURCHASE  # a purchase is the unit


@dataclass(frozen=True)
class ActionParams:
    """Parameters of the action weights' learner.

    Attributes
    ----------
    horizon_s
        Seconds within which a purchase rewards an action.
    half_life_days
        After so many days an observation counts half; days are counted back from the newest.
    most_days
        Latest days of one visitor that count.
    prior
        Strength of the heuristic weights in each segment, in observations.
    pooling
        Strengths with which a device and time of day may lean on the segment, in observations.
    browser_share
        What browser keys tell counts at most this share of the prior and all else together.
    least
        Observations of a type below which its heuristic weight serves.
    least_rewards
        Rewarded observations of all types below which all heuristic weights serve.
    floor, cap
        Factors on the heuristic weight within which a served weight stays.
    """

    horizon_s: float = 3600.0
    half_life_days: float = 14.0
    most_days: int = 7
    prior: float = 300.0
    pooling: tuple[float, ...] = (100.0, 300.0, 1000.0, 3000.0, 10_000.0)
    browser_share: float = 0.25
    least: float = 50.0
    least_rewards: float = 20.0
    floor: float = 0.25
    cap: float = 4.0


PARAMS: Final = ActionParams()


class Counts(NamedTuple):
    """Faded observations; last axis: told by server keys and files, told by browser keys.

    Attributes
    ----------
    trials, rewards
        Shape (n_contexts, n_event_types, 2), >= 0, rewards at most trials.
    """

    trials: Floats
    rewards: Floats


class Posterior(NamedTuple):
    """Posterior of each action type.

    Attributes
    ----------
    alpha, beta
        Of the Beta posterior by segment, shape (n_segments, n_event_types).
    level
        Log odds by which the segment's purchases differ from the heuristic weights, shape (n_segments,).
    share
        Of the observations, shape (n_segments,), sums to 1.
    cell_alpha, cell_beta
        The same by context, shape (n_contexts, n_event_types).
    cell_level
        By context, shape (n_contexts,), the segment's level included.
    pooling
        Strength with which contexts lean on their segment, in observations.
    n
        Observations of each type, shape (n_event_types,).
    thin
        Types whose heuristic weight serves, shape (n_event_types,).
    params
        As given.
    """

    alpha: Floats
    beta: Floats
    level: Floats
    share: Floats
    cell_alpha: Floats
    cell_beta: Floats
    cell_level: Floats
    pooling: float
    n: Floats
    thin: npt.NDArray[np.bool_]
    params: ActionParams


def context(segment: npt.ArrayLike, device: npt.ArrayLike, local_hour: npt.ArrayLike) -> Ints:
    """Code of a context.

    Parameters
    ----------
    segment, device
        Places in `SEGMENTS` and `DEVICES`.
    local_hour
        0 to 23.

    Examples
    --------
    >>> int(context(0, 2, 13)), N_CONTEXTS
    (10, 100)
    """
    cell = np.asarray(device, np.int64) * len(DAYPARTS) + np.asarray(local_hour, np.int64) * len(DAYPARTS) // 24
    return np.asarray(np.asarray(segment, np.int64) * N_CELLS + cell)


def faded(
    day: Ints, event_type: Ints, code: Ints, browser: Ints, trials: Ints, rewards: Ints, params: ActionParams = PARAMS
) -> Counts:
    """Add up observations, the older the less; the order of the rows changes nothing.

    Parameters
    ----------
    day
        Days since 1970, shape (n_rows,).
    code
        From `context`.
    browser
        1 for what a browser key told.
    trials, rewards
        In units of 1 / `SCALE` observation.
    """
    shape = (N_CONTEXTS, N_EVENT_TYPES, 2)
    place = np.ravel_multi_index((code, event_type, browser), shape)
    days, which = np.unique(day, return_inverse=True)
    fade = 0.5 ** ((days.max(initial=0) - days) / params.half_life_days)

    def total(amounts: Ints) -> Floats:
        sums = np.zeros((len(days), int(np.prod(shape))), dtype=np.int64)
        np.add.at(sums, (which, place), amounts)
        added: Floats = (fade[:, None] * (sums / SCALE)).sum(axis=0).reshape(shape)
        return added

    return Counts(total(trials), total(rewards))


def of_sums(sums: list[tuple[int, ...]], params: ActionParams = PARAMS) -> Counts:
    """`faded` of rows (day, event_type, context, browser, trials, rewards)."""
    day, kind, code, browser, trials, rewards = np.array(sums, dtype=np.int64).reshape(-1, 6).T
    return faded(day, kind, code, browser, trials, rewards, params)


def counts_to_lists(counts: Counts) -> list[list[float]]:
    """The counts that are not 0, as JSON can hold them: context, event type, browser, trials, rewards."""
    place = np.nonzero(counts.trials)
    rows: list[list[float]] = np.column_stack((*place, counts.trials[place], counts.rewards[place])).tolist()
    return rows


def counts_from_lists(rows: list[list[float]]) -> Counts:
    """Counts as `counts_to_lists` wrote them.

    Raises
    ------
    ValueError
        If a code is out of range.
    """
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    place = table[:, :3].astype(np.int64)
    shape = (N_CONTEXTS, N_EVENT_TYPES, 2)
    if (place < 0).any() or (place >= shape).any():
        raise ValueError(f"expected codes below {shape}, got up to {place.max(axis=0).tolist()}")
    counts = Counts(np.zeros(shape), np.zeros(shape))
    counts.trials[tuple(place.T)], counts.rewards[tuple(place.T)] = table[:, 3], table[:, 4]
    return counts


def _level(trials: Floats, rewards: Floats, log_odds: Floats) -> Floats:
    """Shift of all log odds under which the rewards are what is expected; 0 without trials. Last axis: types."""
    low, high = np.full(trials.shape[:-1], -20.0), np.full(trials.shape[:-1], 20.0)
    for _ in range(60):
        middle = (low + high) / 2
        # `middle` itself holds the shift at 0, with the weight of one observation in log odds.
        too_high = (trials * expit(log_odds + middle[..., None])).sum(axis=-1) + middle > rewards.sum(axis=-1)
        low, high = np.where(too_high, low, middle), np.where(too_high, middle, high)
    return np.asarray((low + high) / 2)


class Fit(NamedTuple):
    """Beta posteriors around log odds, the log odds by which they lie elsewhere as a whole, and the marginal likelihood."""

    alpha: Floats
    beta: Floats
    level: Floats
    likelihood: float


def fit(trials: Floats, rewards: Floats, log_odds: Floats, strength: float) -> Fit:
    """Observations leaning on log odds with a strength; shapes (…, n_learned)."""
    level = _level(trials, rewards, log_odds)
    q = expit(log_odds + level[..., None])
    a0, b0 = strength * q, strength * (1 - q)
    a, b = a0 + rewards, b0 + trials - rewards
    return Fit(a, b, level, float((betaln(a, b) - betaln(a0, b0)).sum()))


def posterior(counts: Counts, params: ActionParams = PARAMS) -> Posterior:
    """The posterior of what was observed.

    Examples
    --------
    >>> nothing = np.zeros((N_CONTEXTS, N_EVENT_TYPES, 2))
    >>> known = posterior(Counts(nothing, nothing))
    >>> [round(float(weight), 3) for weight in weights(known)[:3]], bool(known.thin.all())
    ([0.2, 0.25, 0.3], True)
    """
    server = counts.trials[..., 0].sum(axis=0)
    of_browsers = counts.trials[..., 1].sum(axis=0)
    share = np.minimum(1.0, params.browser_share * (params.prior + server) / np.maximum(of_browsers, 1e-9))
    trials, rewards = (part[..., 0] + share * part[..., 1] for part in counts)
    trials, rewards = (part[:, LEARNED].reshape(len(SEGMENTS), N_CELLS, -1) for part in (trials, rewards))
    whole = fit(trials.sum(axis=1), rewards.sum(axis=1), logit(BASE[LEARNED]), params.prior)
    centre = logit(whole.alpha / (whole.alpha + whole.beta))[:, None, :]
    cells = {strength: fit(trials, rewards, centre, strength) for strength in params.pooling}
    strength = max(cells, key=lambda one: (cells[one].likelihood, one))
    cell = cells[strength]
    n = trials.sum(axis=(0, 1))
    thin = (n < params.least) | (rewards.sum() < params.least_rewards)
    seen = trials.sum(axis=(1, 2)) + 1.0
    level = (whole.level[:, None] + cell.level).reshape(-1)
    return Posterior(
        alpha=with_purchase(whole.alpha),
        beta=with_purchase(whole.beta),
        level=whole.level,
        share=seen / seen.sum(),
        cell_alpha=with_purchase(cell.alpha.reshape(N_CONTEXTS, -1)),
        cell_beta=with_purchase(cell.beta.reshape(N_CONTEXTS, -1)),
        cell_level=level,
        pooling=strength,
        n=with_purchase(n),
        thin=with_purchase(thin).astype(np.bool_),
        params=params,
    )


def with_purchase(part: npt.NDArray[Any]) -> Floats:
    """Values of all types, 1 for the purchase; shape (…, n_learned) in, (…, n_event_types) out."""
    full = np.ones((*part.shape[:-1], N_EVENT_TYPES))
    full[..., LEARNED] = part
    return full


def on_scale(p: Floats, level: Floats, known: Posterior) -> Floats:
    """Probabilities on the scale of the heuristic weights, within floor and cap; the purchase is 1."""
    w = expit(logit(np.clip(p, 1e-12, 1 - 1e-12)) - level[:, None])
    w = np.where(known.thin, BASE, np.clip(w, known.params.floor * BASE, np.minimum(known.params.cap * BASE, 1.0)))
    w[:, EventType.PURCHASE] = 1.0
    return w


def by_context(known: Posterior, rng: np.random.Generator | None = None) -> Floats:
    """Weights in each context, shape (n_contexts, n_event_types).

    Of the posterior means, or with `rng` of one sample for each context and type (Thompson sampling).
    """
    a, b = known.cell_alpha, known.cell_beta
    return on_scale(a / (a + b) if rng is None else rng.beta(a, b), known.cell_level, known)


def weights(known: Posterior, rng: np.random.Generator | None = None) -> Floats:
    """Weights whatever the context, shape (n_event_types,): means over the segments, of posterior means or of one sample."""
    a, b = known.alpha, known.beta
    of_segments = on_scale(a / (a + b) if rng is None else rng.beta(a, b), known.level, known)
    fixed = known.thin | ~LEARNED  # a mean would round them
    return np.where(fixed, BASE, known.share @ of_segments)


class ActionWeights(NamedTuple):
    """Action weights ready to serve, one state of the posterior.

    Attributes
    ----------
    seq
        Event of the log up to which visitors' actions are in it.
    mean, sampled
        Of the posterior means, and of one Thompson sample, by context, shape (n_contexts, n_event_types).
    whole
        Of the posterior means, whatever the context, shape (n_event_types,).
    """

    seq: int
    mean: Floats
    sampled: Floats
    whole: Floats

    @property
    def is_heuristic(self) -> bool:
        """Whether too little is known, so that all heuristic weights serve."""
        return bool((self.whole == BASE).all())


def ready(known: Posterior, seq: int) -> ActionWeights:
    """Action weights that serve; their sample is drawn with `seq` as its seed: every process, and a replay, draws the same."""
    return ActionWeights(seq, by_context(known), by_context(known, np.random.default_rng([seq, 4])), weights(known))
