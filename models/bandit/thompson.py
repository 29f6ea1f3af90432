"""Thompson sampling over weight profiles, arranged so that a request pays for a look-up and not for a draw.

From what decisions led to comes a posterior per profile; from the posteriors the probability that each profile is the best one,
by numeric integration; from that, mixed with a floor, the probabilities with which profiles are dealt. All of it is done once
per `Snapshot`, outside the requests. A decision is then a pure function of the snapshot's version and the decision's id, so its
propensity is exact and a replay repeats it bit for bit.

Old outcomes fade, counted in decisions and not in hours: a thin shop's evidence stays until there is newer. A slow fading alone
follows a sudden change too late and a fast one never learns small differences, so a change that is seen in the outcomes makes
the bandit forget everything before it.

Sources: Thompson (1933); Chapelle & Li, "An Empirical Evaluation of Thompson Sampling" (2011); Raj & Kalyani, "Taming
Non-stationary Bandits" (2017) for the discount; Mellor & Shapiro, "Thompson Sampling in Switching Environments" (2013) for the
restart.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Floats
from models.bandit.best_arm import Kind, p_best, with_floor
from models.experiments.assignment import variant_at

MOST_ON_TRIAL: Final = 0.5  # probability that all profiles on trial have together
EVERYWHERE: Final = ""  # the row of a snapshot for a context of which nothing is known


@dataclass(frozen=True)
class BanditParams:
    """Parameters of the bandit; stored with every snapshot.

    Attributes
    ----------
    kind
        ``beta`` for rewards from 0 to 1, ``normal`` for revenue.
    prior
        Pseudo-decisions of the prior, at the mean of all profiles together: an arm of which nothing is known yet is expected
        to be as good as the known ones, not better, because its outcomes come only when its first decisions' time is over.
    half_life
        Decisions after which an outcome counts half.
    sharpness
        Factor on the evidence when profiles are dealt; above 1 they are dealt as if more were known, which leaves less to
        chance while the floor still tries everything ("posterior reshaping", Chapelle & Li).
    floor
        Lowest probability with which any profile is dealt.
    trial
        Probability with which each profile on trial is dealt, whatever is known of it; less, down to the floor, where more than
        half would be on trial.
    context
        Name of the decision's context that has posteriors of its own; empty for none.
    pooling
        Pseudo-decisions by which a context leans on all contexts together.
    surprise
        Standard errors between old and new outcomes of one profile from which the old ones are forgotten; infinite for never.
    least
        Outcomes of a profile on either side of a change below which nothing is said about it.
    """

    kind: Kind = "beta"
    prior: float = 2.0
    half_life: float = 20_000.0
    sharpness: float = 2.0
    floor: float = 0.01
    trial: float = 0.01
    context: Literal["", "device", "intent", "segment"] = ""
    pooling: float = 200.0
    surprise: float = 4.0
    least: int = 50

    def __post_init__(self) -> None:
        positive = min(self.prior, self.half_life, self.sharpness, self.pooling, self.surprise) > 0
        if not positive or not 0 <= self.floor < 1 or not 0 <= self.trial <= MOST_ON_TRIAL:
            raise ValueError(
                "prior, half_life, sharpness, pooling and surprise must be positive, floor from 0 to 1, "
                f"trial from 0 to {MOST_ON_TRIAL}, got {self}"
            )


DEFAULT_PARAMS: Final = BanditParams()


class Outcomes(NamedTuple):
    """Outcomes of decisions, in the order in which they were taken.

    Attributes
    ----------
    profiles
        The arms, shape (n_profiles,).
    contexts
        Values of the chosen context, shape (n_contexts,).
    n
        Decisions by stretch of time, context and profile, >= 0, shape (n_stretches, n_contexts, n_profiles), oldest first.
    total, square
        Sums of their rewards and of the squares of these, same shape.
    """

    profiles: tuple[str, ...]
    contexts: tuple[str, ...]
    n: Floats
    total: Floats
    square: Floats


class Row(NamedTuple):
    """Row of a snapshot: one context, each of shape (n_profiles,).

    Attributes
    ----------
    a, b
        Parameters of the posteriors: alpha and beta, or mean and standard deviation.
    p
        Probability with which each profile is dealt, at least the floor, summing to 1.
    """

    a: tuple[float, ...]
    b: tuple[float, ...]
    p: tuple[float, ...]


class Snapshot(NamedTuple):
    """Posteriors at one moment. What is decided from here on depends on this and the decision's id alone.

    Attributes
    ----------
    version
        Unique in an installation.
    profiles
        The arms, shape (n_profiles,).
    context
        Name of the context that the rows are about; empty for none.
    rows
        By value of the context; `EVERYWHERE` is there always.
    """

    version: int
    kind: Kind
    profiles: tuple[str, ...]
    context: str
    rows: Mapping[str, Row]


class Choice(NamedTuple):
    """The profile that was dealt, and how likely that was."""

    profile: str
    propensity: float


def posterior(
    n: Floats, total: Floats, params: BanditParams, lean: tuple[Floats, float], variance: float = 1.0
) -> tuple[Floats, Floats]:
    """Parameters of the posteriors, each of shape (n_profiles,).

    Parameters
    ----------
    n, total
        Decisions and sums of rewards, faded, shape (n_profiles,) each.
    lean
        Mean that the prior expects of each profile, shape (n_profiles,), and the pseudo-decisions it is worth.
    variance
        Of one reward, > 0, for ``normal``: of all contexts together, because a thin one knows only that nobody bought.

    Examples
    --------
    >>> posterior(np.array([10.0]), np.array([3.0]), BanditParams(), (np.array([0.5]), 2.0))
    (array([4.]), array([8.]))
    """
    mean, strength = lean
    if params.kind == "beta":
        return strength * mean + total, strength * (1 - mean) + np.maximum(n - total, 0.0)
    return (strength * mean + total) / (strength + n), np.sqrt(variance / (strength + n))


def last_change(n: Floats, total: Floats, square: Floats, params: BanditParams) -> int:
    """The stretch with which the present began: before it, outcomes were surely different.

    Going forward through time, the newest 1, 2, 4, … stretches are compared with those before them, profile by profile; where a
    profile's means are `surprise` standard errors apart, everything before is forgotten.

    Parameters
    ----------
    n, total, square
        Decisions and sums of rewards and squares, shape (n_stretches, n_profiles), oldest first.

    Returns
    -------
    0 if nothing changed.

    Examples
    --------
    >>> n, rewards = np.full((8, 1), 100.0), np.array([[20.0]] * 5 + [[5.0]] * 3)
    >>> last_change(n, rewards, rewards, BanditParams())
    5
    """
    sums = np.concatenate((np.zeros((1, 3, n.shape[1])), np.cumsum(np.stack((n, total, square), axis=1), axis=0)))
    start = 0
    for end in range(2, len(n) + 1):
        cuts = end - 2 ** np.arange(max(end - start - 1, 1).bit_length())
        cuts = cuts[cuts > start]
        if len(cuts) == 0:
            continue
        apart = _apart(sums[cuts] - sums[start], sums[end] - sums[cuts], params.least)
        if apart.max() > params.surprise:
            start = int(cuts[apart.argmax()])
    return start


def _apart(before: Floats, after: Floats, least: int) -> Floats:
    """Standard errors between two samples' means, the largest over the profiles, shape (n_cuts,)."""
    n, m = before[:, 0], after[:, 0]
    enough = (n >= least) & (m >= least)
    n, m = np.maximum(n, 1), np.maximum(m, 1)
    both = before + after
    mean = both[:, 1] / (n + m)
    variance = np.maximum(both[:, 2] / (n + m) - mean**2, 1e-12)
    z = np.abs(before[:, 1] / n - after[:, 1] / m) / np.sqrt(variance * (1 / n + 1 / m))
    largest: Floats = np.where(enough, z, 0.0).max(axis=1)
    return largest


def faded(outcomes: Outcomes, params: BanditParams) -> tuple[Floats, Floats, Floats]:
    """Decisions, rewards and squares as they count now: old ones less, those before a change not at all.

    Returns
    -------
    Shape (n_contexts, n_profiles) each.

    Examples
    --------
    >>> n = np.array([[[10.0]], [[10.0]]])
    >>> once = Outcomes(("a",), ("",), n, n / 2, n / 2)
    >>> faded(once, BanditParams(half_life=10.0))[0].tolist()
    [[15.0]]
    """
    start = last_change(outcomes.n.sum(axis=1), outcomes.total.sum(axis=1), outcomes.square.sum(axis=1), params)
    decisions = outcomes.n.sum(axis=(1, 2))
    since = decisions[::-1].cumsum()[::-1] - decisions  # taken after each stretch
    weight = 0.5 ** (since / params.half_life) * (np.arange(len(since)) >= start)
    n, total, square = (np.tensordot(weight, part, axes=1) for part in (outcomes.n, outcomes.total, outcomes.square))
    return n, total, square


def snapshot(
    version: int, outcomes: Outcomes, params: BanditParams = DEFAULT_PARAMS, on_trial: Collection[str] = ()
) -> Snapshot:
    """Everything that requests need, from what decisions led to.

    Parameters
    ----------
    on_trial
        Profiles that are dealt as `BanditParams.trial` says, and not by what is known of them; not all.

    Examples
    --------
    >>> none = np.zeros((0, 1, 2))
    >>> snapshot(1, Outcomes(("a", "b"), ("",), none, none, none)).rows[""].p
    (0.5, 0.5)
    """
    parts = faded(outcomes, params)
    pooled = tuple(part.sum(axis=0) for part in parts)
    n, total, square = pooled
    lean = np.full(len(n), _usual(params, n, total)), params.prior
    variance = max(float(square.sum() - total.sum() ** 2 / max(n.sum(), 1.0)) / max(float(n.sum()) - 1.0, 1.0), 1e-12)
    everywhere = posterior(n, total, params, lean, variance)
    tried = np.array([name in on_trial for name in outcomes.profiles])
    rows = {EVERYWHERE: _row(params, *everywhere, tried)}
    a, b = everywhere
    mean = a / (a + b) if params.kind == "beta" else a
    for place, context in enumerate(outcomes.contexts if params.context else ()):
        own = posterior(parts[0][place], parts[1][place], params, (mean, params.pooling), variance)
        rows[context] = _row(params, *own, tried)
    return Snapshot(version, params.kind, outcomes.profiles, params.context, rows)


def _usual(params: BanditParams, n: Floats, total: Floats) -> float:
    """Mean reward of all profiles together; for ``beta`` never 0 nor 1, which no prior can have (Laplace's rule)."""
    if params.kind == "beta":
        return float((total.sum() + 1.0) / (n.sum() + 2.0))
    return float(total.sum() / max(n.sum(), 1.0))


def _row(params: BanditParams, a: Floats, b: Floats, tried: npt.NDArray[np.bool_]) -> Row:
    c = params.sharpness
    sharp = (a * c, b * c) if params.kind == "beta" else (a, b / np.sqrt(c))
    n_tried = max(int(tried.sum()), 1)
    p = np.full(len(a), max(min(params.trial, MOST_ON_TRIAL / n_tried), params.floor))
    left = 1 - p[tried].sum()
    p[~tried] = left * with_floor(p_best(params.kind, *(part[~tried] for part in sharp)), params.floor / left)
    return Row(tuple(a.tolist()), tuple(b.tolist()), tuple(p.tolist()))


def position(dealt_by: str, version: int | None = None) -> float:
    """Where a visitor's session stands in [0, 1): as good as random over them, and always the same for one.

    With the version of a snapshot, where a decision stood when each was dealt a profile of its own.

    Examples
    --------
    >>> 0 <= position("u-1 s-1") < 1, position("u-1 s-1") == position("u-1 s-2")
    (True, False)
    """
    digest = blake2b(
        f"{'profile' if version is None else version}\x1f{dealt_by}".encode("utf-8", "surrogatepass"), digest_size=8
    ).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def choose(now: Snapshot, value: str, dealt_by: str, version: int | None = None) -> Choice:
    """Deal a profile: the only thing that happens within a request.

    Parameters
    ----------
    dealt_by
        Visitor and session: whatever is learned meanwhile, they keep the profile as far as its probability allows.
    value
        Of the snapshot's context; one without a row of its own takes that of all contexts together.

    Examples
    --------
    >>> one = Snapshot(1, "beta", ("only",), "", {"": Row((1.0,), (1.0,), (1.0,))})
    >>> choose(one, "", "d-1")
    Choice(profile='only', propensity=1.0)
    """
    row = now.rows.get(value) or now.rows[EVERYWHERE]
    profile = variant_at(now.profiles, row.p, position(dealt_by, version))
    return Choice(profile, row.p[now.profiles.index(profile)])


def as_json(now: Snapshot) -> dict[str, Any]:
    """The snapshot as JSON can hold it; floats are kept exactly."""
    rows = {value: {name: list(part) for name, part in row._asdict().items()} for value, row in now.rows.items()}
    return {**now._asdict(), "profiles": list(now.profiles), "rows": rows}


def from_json(found: Mapping[str, Any]) -> Snapshot:
    """The snapshot that `as_json` wrote.

    Examples
    --------
    >>> one = Snapshot(1, "beta", ("a",), "", {"": Row((1.0,), (2.0,), (1.0,))})
    >>> from_json(as_json(one)) == one
    True
    """
    rows = {value: Row(*(tuple(row[name]) for name in Row._fields)) for value, row in found["rows"].items()}
    return Snapshot(found["version"], found["kind"], tuple(found["profiles"]), found["context"], rows)
