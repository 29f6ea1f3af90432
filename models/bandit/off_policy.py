"""Off-policy estimates: what another policy would have earned, from decisions logged with their propensities.

With weights w_i = pi(a_i | x_i) / p_i, rewards r_i and a reward model q fitted on other rows than the one it speaks about:

    IPS    mean of w_i r_i
    SNIPS  sum of w_i r_i / sum of w_i
    DR     mean of sum over a of pi(a | x_i) q(x_i, a) + w_i (r_i - q(x_i, a_i))

All are quotients of two sums over visitors, so intervals come from one (studentised) bootstrap over visitors, shared by all
estimates: a difference of two policies is paired. The verdict may be that there is not enough data, and mostly is: the
effective sample size says how many decisions of the other policy's own the log is worth.

Sources: Horvitz & Thompson (1952); Swaminathan & Joachims (2015) for SNIPS; Dudik, Langford & Li (2011) for DR; Chernozhukov et
al. (2018) for the cross-fitting; Efron & Tibshirani (1993), chapter 12, for the intervals; Saito et al., "Open Bandit Dataset
and Pipeline" (2021) for the setting of the benchmark.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from models.arrays import Floats, Ints
from models.statistics.metrics import Interval
from models.statistics.verdict import FAIL, NOT_ENOUGH, PASS, THIN, Rule, Verdict

IPS: Final = "ips"
SNIPS: Final = "snips"
DR: Final = "dr"
BETTER: Final = "better"
WORSE: Final = "worse"
SAME: Final = "no difference"
AS_RULE: Final[Mapping[str, Verdict]] = {BETTER: PASS, SAME: PASS, WORSE: FAIL, NOT_ENOUGH: THIN}  # only a proven loss fails
_AT_ONCE: Final = 64  # draws that are turned into floats at one time


@dataclass(frozen=True)
class OffPolicyParams:
    """Parameters of the estimates and their verdict; stored with the verdict.

    Attributes
    ----------
    clip
        Highest weight of a decision; what is cut off is reported.
    level
        Confidence of the intervals.
    n_draws
        Bootstrap draws.
    margin
        Difference, as a share of the baseline's value, that is worth knowing: an interval within it means "no difference".
    min_effective
        Effective sample size of either policy below which nothing is said.
    min_rewarded
        Rewarded decisions with weight, of either policy, below which nothing is said.
    """

    clip: float = 1_000.0
    level: float = 0.95
    n_draws: int = 1_000
    margin: float = 0.05
    min_effective: float = 100.0
    min_rewarded: int = 30


DEFAULT_PARAMS: Final = OffPolicyParams()


class Logged(NamedTuple):
    """Decisions as one target policy sees them, shape (n_decisions,) each; make it with `logged`.

    Attributes
    ----------
    reward
        What came of it.
    weight
        Probability of the logged action under the target policy over its propensity, clipped.
    n_clipped, cut
        Decisions whose weight was clipped, and the share of all weight that was cut off.
    largest
        The largest weight before clipping.
    q_logged, q_target
        The reward model's mean for the logged action, and for what the target policy would do; 0 without a model.
    """

    reward: Floats
    weight: Floats
    n_clipped: int
    cut: float
    largest: float
    q_logged: Floats
    q_target: Floats


def logged(
    reward: Floats,
    p_target: Floats,
    propensity: Floats,
    q: tuple[Floats, Floats] | None = None,
    params: OffPolicyParams = DEFAULT_PARAMS,
) -> Logged:
    """Weigh logged decisions for a target policy.

    Parameters
    ----------
    reward
        Shape (n_decisions,).
    p_target
        Probability of the logged action under the target policy, in [0, 1], shape (n_decisions,).
    propensity
        Probability with which it was taken, in (0, 1], shape (n_decisions,).
    q
        `Logged.q_logged` and `Logged.q_target`, cross-fitted.

    Raises
    ------
    ValueError
        If there are no decisions, lengths differ or a probability is none.

    Examples
    --------
    >>> seen = logged(np.array([1.0, 0.0]), np.array([1.0, 0.0]), np.array([0.25, 0.75]))
    >>> seen.weight.tolist(), round(effective_size(seen.weight), 3)
    ([4.0, 0.0], 1.0)
    """
    if len(reward) == 0 or not len(reward) == len(p_target) == len(propensity):
        raise ValueError(
            f"expected as many probabilities as rewards, at least one, got {len(reward)}, {len(p_target)}, {len(propensity)}"
        )
    if not ((propensity > 0) & (propensity <= 1) & (p_target >= 0) & (p_target <= 1)).all():
        raise ValueError("expected propensities in (0, 1] and target probabilities in [0, 1]")
    raw = p_target / propensity
    weight = np.minimum(raw, params.clip)
    nothing = np.zeros(len(reward))
    cut = float(1 - weight.sum() / raw.sum()) if raw.sum() > 0 else 0.0
    return Logged(reward, weight, int((raw > params.clip).sum()), cut, float(raw.max()), *(q or (nothing, nothing)))


def effective_size(weight: Floats) -> float:
    """Decisions that weighted ones are worth: (sum of w)^2 / sum of w^2 (Kish).

    Examples
    --------
    >>> effective_size(np.array([1.0, 1.0, 0.0]))
    2.0
    """
    squares = float(np.square(weight).sum())
    return float(weight.sum()) ** 2 / squares if squares > 0 else 0.0


def quotients(seen: Logged) -> dict[str, tuple[Floats, Floats]]:
    """Each estimator as a quotient of two sums over decisions: what is summed above and below, shape (n_decisions,) each."""
    one = np.ones(len(seen.reward))
    earned = seen.weight * seen.reward
    return {
        IPS: (earned, one),
        SNIPS: (earned, seen.weight),
        DR: (seen.q_target + seen.weight * (seen.reward - seen.q_logged), one),
    }


def _quotient(above: Any, below: Any) -> Any:
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.divide(above, below)
    return found if np.ndim(found) else float(found)


class Estimate(NamedTuple):
    """The value of one policy by all estimators, or the difference of two.

    Attributes
    ----------
    intervals
        By estimator.
    effective_size, n_rewarded
        What the log is worth; of a difference the smaller one.
    clipping
        ``{"n_clipped", "cut", "largest_weight"}``; of a difference the larger ones.
    """

    intervals: dict[str, Interval]
    effective_size: float
    n_rewarded: int
    clipping: dict[str, float]


def estimate(
    seen: Logged,
    visitor: Ints,
    rng: np.random.Generator,
    params: OffPolicyParams = DEFAULT_PARAMS,
    baseline: Logged | None = None,
) -> Estimate:
    """Value of a target policy with intervals; with a baseline, how much more it is than the baseline's.

    Parameters
    ----------
    seen, baseline
        The same decisions, weighed for either policy.
    visitor
        Any code of the visitor of each decision, shape (n_decisions,): visitors are drawn, not decisions.
    """
    group = np.unique(visitor, return_inverse=True)[1]
    both = [seen] if baseline is None else [seen, baseline]
    parts = [quotients(one) for one in both]
    sums: dict[str, Floats] = {
        name: np.column_stack([np.bincount(group, weights=column) for part in parts for column in part[name]])
        for name in (IPS, SNIPS, DR)
    }
    return Estimate(
        dict(zip(sums, _intervals(list(sums.values()), rng, params), strict=True)),
        min(effective_size(one.weight) for one in both),
        min(int(((one.weight > 0) & (one.reward > 0)).sum()) for one in both),
        {
            "n_clipped": max(one.n_clipped for one in both),
            "cut": max(one.cut for one in both),
            "largest_weight": max(one.largest for one in both),
        },
    )


def _intervals(sums: list[Floats], rng: np.random.Generator, params: OffPolicyParams) -> list[Interval]:
    """Studentised bootstrap: visitors are drawn, and each draw's distance is taken in standard errors of that draw.

    Percentiles of the draws themselves hold the truth too rarely where rewards are rare and weights uneven: a log that happened
    to miss the few heavy rewards is low and believes itself sure.

    Parameters
    ----------
    sums
        For each estimator, numerator and denominator by visitor, twice where it is a difference: shape (n_visitors, 2 or 4).
    """
    width = sums[0].shape[1]
    pairs = [(a, b) for a in range(width) for b in range(a, width)]
    wide = np.hstack([np.column_stack((part, *(part[:, a] * part[:, b] for a, b in pairs))) for part in sums])
    drawn = _resampled(wide, rng, params.n_draws)
    found = []
    for place in range(len(sums)):
        own = slice(place * (width + len(pairs)), (place + 1) * (width + len(pairs)))
        ((value,), (error,)) = _value_and_error(wide[:, own].sum(axis=0, keepdims=True), len(wide), width, pairs)
        values, errors = _value_and_error(drawn[:, own], len(wide), width, pairs)
        with np.errstate(invalid="ignore", divide="ignore"):
            distance = (values - value) / errors
        distance = distance[np.isfinite(distance)]
        levels = (1 - params.level) / 2, (1 + params.level) / 2
        # The place (n + 1) * level holds as often as it says; the usual (n - 1) * level + 1 is half a point short at 400 draws.
        low, high = np.quantile(distance, levels, method="weibull") if len(distance) else (0.0, 0.0)
        found.append(Interval(float(value), float(value - high * error), float(value - low * error)))
    return found


def _value_and_error(sums: Floats, n: int, width: int, pairs: list[tuple[int, int]]) -> tuple[Floats, Floats]:
    """A quotient, or the difference of two, with its standard error (delta method), from sums and sums of products; per row."""
    slope = np.empty((len(sums), width))
    value = np.zeros(len(sums))
    for at, sign in zip(range(0, width, 2), (1, -1), strict=False):
        quotient = _quotient(sums[:, at], sums[:, at + 1])
        value += sign * quotient
        with np.errstate(invalid="ignore", divide="ignore"):
            slope[:, at], slope[:, at + 1] = sign / sums[:, at + 1], -sign * quotient / sums[:, at + 1]
    variance = np.zeros(len(sums))
    for place, (a, b) in enumerate(pairs):
        spread = sums[:, width + place] - sums[:, a] * sums[:, b] / n
        variance += (1 if a == b else 2) * slope[:, a] * slope[:, b] * spread
    return value, np.sqrt(np.maximum(variance, 0.0) * n / max(n - 1, 1))


def _resampled(columns: Floats, rng: np.random.Generator, n_draws: int) -> Floats:
    """Sums over as many visitors as there are, drawn with replacement, shape (n_draws, n_columns)."""
    n = len(columns)
    blocks = []
    for start in range(0, n_draws, _AT_ONCE):
        size = min(_AT_ONCE, n_draws - start)
        places = rng.integers(n, size=(size, n)) + np.arange(size)[:, None] * n
        blocks.append(np.bincount(places.ravel(), minlength=size * n).reshape(size, n) @ columns)
    drawn: Floats = np.concatenate(blocks)
    return drawn


def verdict(difference: Estimate, baseline_value: float, params: OffPolicyParams = DEFAULT_PARAMS, by: str = DR) -> str:
    """Judge a difference: better, worse, no difference worth knowing, or not enough data.

    Examples
    --------
    >>> seen = Estimate({"dr": Interval(0.01, 0.002, 0.018)}, 5000.0, 400, {})
    >>> verdict(seen, 0.1), verdict(seen._replace(effective_size=50.0), 0.1)
    ('better', 'not enough data')
    >>> verdict(seen._replace(intervals={"dr": Interval(0.0, -0.001, 0.001)}), 0.1)
    'no difference'
    """
    interval = difference.intervals[by]
    known = np.isfinite(interval).all() and np.isfinite(baseline_value)
    if not known or difference.effective_size < params.min_effective or difference.n_rewarded < params.min_rewarded:
        return NOT_ENOUGH
    if interval.low > 0:
        return BETTER
    if interval.high < 0:
        return WORSE
    margin = params.margin * abs(baseline_value)
    return SAME if -margin <= interval.low and interval.high <= margin else NOT_ENOUGH


def as_json(found: Estimate) -> dict[str, Any]:
    """The estimate as JSON can hold it, with six digits; None where there is no number."""
    return {
        **{
            name: {part: round(value, 6) if np.isfinite(value) else None for part, value in interval._asdict().items()}
            for name, interval in found.intervals.items()
        },
        "effective_sample_size": round(found.effective_size, 1),
        "n_rewarded": found.n_rewarded,
        "clipping": {name: round(float(value), 6) for name, value in found.clipping.items()},
    }


def off_policy_rule(found: Mapping[str, Any]) -> Rule:
    """The gate's rule from the verdict of `flows.off_policy.verdict`; see `AS_RULE`.

    Examples
    --------
    >>> off_policy_rule({"verdict": "not enough data"}).verdict, off_policy_rule({"verdict": "worse"}).verdict
    ('not_enough_data', 'fail')
    """
    observed = (found.get("difference") or {}).get(DR, {}).get("mean")
    return Rule(
        "off-policy value of the weights",
        AS_RULE[found["verdict"]],
        observed,
        "not worse than the champion's, by logged decisions",
    )
