"""Thompson sampling over weight profiles, arranged so that a request pays for a look-up and not for a draw.

From what decisions led to comes a posterior per profile and context (`models.bandit.pooling`); from the posteriors the
probability that each profile is the best one, by numeric integration; from that, mixed with a floor, the probabilities with
which profiles are dealt. All of it is done once per `Snapshot`, outside the requests. A decision is then a pure function of the
snapshot and of whom it is dealt to, so its propensity is exact and a replay repeats it bit for bit.

What was learned long ago fades, and is forgotten when the world has changed (`models.bandit.change`).

Sources: Thompson (1933); Chapelle & Li, "An Empirical Evaluation of Thompson Sampling" (2011).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Floats, Ints
from models.bandit import change, pooling
from models.bandit.best_arm import p_best, with_floor
from models.bandit.pooling import Posterior, Spreads
from models.experiments.assignment import variant_at
from models.statistics.log_odds import expit, logit

MOST_ON_TRIAL: Final = 0.5  # probability that all profiles on trial have together
EVERYWHERE: Final = ""  # the row of a snapshot for a context of which nothing is known
HOURS_A_PART: Final = 6  # of the day, as a context
GROUP: Final = "group"  # of the visitor, as the shop names it, in a decision's context
MOST_GROUPS: Final = 4  # that are told apart there, the largest ones: each multiplies the contexts
_BETWEEN: Final = "|"


@dataclass(frozen=True)
class BanditParams:
    """Parameters of the bandit; stored with every snapshot.

    Attributes
    ----------
    half_life
        Trials after which an outcome counts half.
    surprise
        Standard errors between old and new outcomes of one profile from which the old ones are forgotten; infinite for never.
    spread
        Standard deviation of the profiles around their mean, in log odds, before anything is known: an arm of which nothing is
        known yet is expected to be as good as the known ones, not better.
    apart
        First guess by how much a context changes what a profile earns, in log odds.
    sharpness
        Factor on the evidence when profiles are dealt; above 1 they are dealt as if more were known, which leaves less to
        chance while the floor still tries everything ("posterior reshaping", Chapelle & Li).
    floor
        Lowest probability with which any profile is dealt.
    trial
        Probability with which each profile on trial is dealt, whatever is known of it; less, down to the floor, where more than
        half would be on trial.
    context
        Names of a decision's context by which winners may differ.
    """

    half_life: float = 20_000.0
    surprise: float = 4.0
    spread: float = 1.0
    apart: float = 0.3
    sharpness: float = 2.0
    floor: float = 0.01
    trial: float = 0.01
    context: tuple[str, ...] = ("device", "hour", "intent", "segment", GROUP)

    def __post_init__(self) -> None:
        positive = min(self.half_life, self.surprise, self.spread, self.apart, self.sharpness) > 0
        if not positive or not 0 <= self.floor < 1 or not 0 <= self.trial <= MOST_ON_TRIAL:
            raise ValueError(
                "half_life, surprise, spread, apart and sharpness must be positive, floor from 0 to 1, "
                f"trial from 0 to {MOST_ON_TRIAL}, got {self}"
            )


DEFAULT_PARAMS: Final = BanditParams()


class Outcomes(NamedTuple):
    """Outcomes of decisions, shape (n_rows,) each but the names; a row is a decision, or several of one kind added up.

    Attributes
    ----------
    profiles
        The arms, shape (n_profiles,).
    contexts
        Values of the context (`value_of`), shape (n_contexts,).
    stretch
        Which came first: a number that grows with time.
    context, profile
        Places in `contexts` and `profiles`.
    n
        Trials, >= 0: decisions, young ones less than whole (`models.bandit.delay`).
    total
        Sum of their rewards, each from 0 to 1.
    """

    profiles: tuple[str, ...]
    contexts: tuple[str, ...]
    stretch: Ints
    context: Ints
    profile: Ints
    n: Floats
    total: Floats


class Row(NamedTuple):
    """Row of a snapshot: one context, each of shape (n_profiles,).

    Attributes
    ----------
    a, b
        Mean and standard deviation of the log odds of a reward.
    p
        Probability with which each profile is dealt, at least the floor, summing to 1.
    """

    a: tuple[float, ...]
    b: tuple[float, ...]
    p: tuple[float, ...]


class Snapshot(NamedTuple):
    """Posteriors at one moment. What is decided from here on depends on this and on whom it is dealt to alone.

    Attributes
    ----------
    version
        Unique in an installation.
    profiles
        The arms, shape (n_profiles,).
    context
        Names of the context that the rows are about, with commas between them; empty for none.
    rows
        By value of the context; `EVERYWHERE` is there always.
    """

    version: int
    profiles: tuple[str, ...]
    context: str
    rows: Mapping[str, Row]


class Choice(NamedTuple):
    """The profile that was dealt, and how likely that was."""

    profile: str
    propensity: float


def value_of(names: str, context: Mapping[str, Any]) -> str:
    """Value of a decision's context, as a snapshot's rows are called.

    Parameters
    ----------
    names
        `Snapshot.context`.
    context
        Of the decision, such as ``{"device": "app", "hour": 13}``.

    Examples
    --------
    >>> value_of("device,hour", {"device": "app", "hour": 13, "intent": "research"}), value_of("", {"device": "app"})
    ('app|2', '')
    """
    if not names:
        return EVERYWHERE
    return _BETWEEN.join(_told(name, context) for name in names.split(","))


def _told(name: str, context: Mapping[str, Any]) -> str:
    """What a context says of one thing; without the sign between two, which a shop's name for its visitors may have."""
    if name == "hour" and name in context:
        return str(int(context[name]) // HOURS_A_PART)
    return str(context.get(name, "")).replace(_BETWEEN, " ")


def snapshot(
    version: int, outcomes: Outcomes, params: BanditParams = DEFAULT_PARAMS, on_trial: Collection[str] = (),
    expected: Mapping[str, float] | None = None,
) -> Snapshot:  # fmt: skip
    """Everything that requests need, from what decisions led to.

    Parameters
    ----------
    on_trial
        Profiles that are dealt as `BanditParams.trial` says, and not by what is known of them; not all.
    expected
        Log odds by which a profile is expected to differ from the others before it was tried; 0 by default.

    Examples
    --------
    >>> none, nothing = np.zeros(0, dtype=np.int64), np.zeros(0)
    >>> snapshot(1, Outcomes(("a", "b"), (), none, none, none, nothing, nothing)).rows[""].p
    (0.5, 0.5)
    """
    context, contexts = np.unique(outcomes.context, return_inverse=True)
    outcomes = outcomes._replace(context=contexts, contexts=tuple(outcomes.contexts[c] for c in context))
    differ = np.array([(expected or {}).get(name, 0.0) for name in outcomes.profiles])
    n, total = _counts(outcomes, _present(outcomes, params, differ))
    together = _posterior(n.sum(axis=0)[None], total.sum(axis=0)[None], (EVERYWHERE,), params, differ)
    tried = np.array([name in on_trial for name in outcomes.profiles])
    rows = {EVERYWHERE: _rows(params, together, tried)[0]}
    if params.context and outcomes.contexts:
        found = _posterior(n, total, outcomes.contexts, params, differ)
        rows |= zip(outcomes.contexts, _rows(params, found, tried), strict=True)
    return Snapshot(version, outcomes.profiles, ",".join(params.context), rows)


def _present(outcomes: Outcomes, params: BanditParams, differ: Floats) -> Floats:
    """How much each row counts now, shape (n_rows,): old ones less, those before a change not at all."""
    if not len(outcomes.n):
        return outcomes.n
    stretch = np.unique(outcomes.stretch, return_inverse=True)[1]
    height = int(stretch.max()) + 1
    one_world = _posterior(*_counts(outcomes, np.ones(len(stretch))), outcomes.contexts, params, differ)
    expected = outcomes.n * expit(one_world.mean[outcomes.context, outcomes.profile])
    earns, total = (_added(part, stretch, outcomes, height) for part in (expected, outcomes.total))
    start = change.last_change(earns, total, params.surprise)
    n: Floats = np.bincount(stretch, weights=outcomes.n, minlength=height).astype(np.float64)
    return np.asarray(change.weights(n, start, params.half_life)[stretch])


def _counts(outcomes: Outcomes, weight: Floats) -> tuple[Floats, Floats]:
    """Trials and rewards by context and profile, rewards at most trials; shape (n_contexts, n_profiles) each."""
    height = len(outcomes.contexts)
    n, total = (_added(part * weight, outcomes.context, outcomes, height) for part in (outcomes.n, outcomes.total))
    return np.maximum(n, total), total


def _added(part: Floats, code: Ints, outcomes: Outcomes, height: int) -> Floats:
    """Sums by a code and profile, shape (height, n_profiles)."""
    width = len(outcomes.profiles)
    sums = np.bincount(code * width + outcomes.profile, weights=part, minlength=height * width)
    return np.asarray(sums.reshape(height, width), dtype=np.float64)


def _posterior(n: Floats, total: Floats, contexts: tuple[str, ...], params: BanditParams, differ: Floats) -> Posterior:
    usual = float(logit((total.sum() + 1.0) / (n.sum() + 2.0)))  # never 0 nor 1 (Laplace's rule)
    return pooling.posterior(n, total, _codes(contexts), usual + differ, Spreads(params.spread, params.apart))


def _codes(values: tuple[str, ...]) -> Ints:
    """Codes of each context's factors, shape (n_contexts, n_factors)."""
    parts = np.array([value.split(_BETWEEN) for value in values])
    return np.stack([np.unique(column, return_inverse=True)[1] for column in parts.T], axis=1).astype(np.int64)


def _rows(params: BanditParams, found: Posterior, tried: npt.NDArray[np.bool_]) -> list[Row]:
    """A row for each context."""
    n_tried = max(int(tried.sum()), 1)
    p = np.full(found.mean.shape, max(min(params.trial, MOST_ON_TRIAL / n_tried), params.floor))
    left = 1 - p[0, tried].sum()
    best = p_best(found.mean[:, ~tried], found.sd[:, ~tried] / np.sqrt(params.sharpness))
    p[:, ~tried] = left * with_floor(best, params.floor / left)
    parts = (part.tolist() for part in (found.mean.round(4), found.sd.round(4), p))
    return [Row(tuple(a), tuple(b), tuple(c)) for a, b, c in zip(*parts, strict=True)]


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
    >>> one = Snapshot(1, ("only",), "", {"": Row((1.0,), (1.0,), (1.0,))})
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
    """The snapshot that `as_json` wrote, now or before posteriors were log odds: what is dealt is the same.

    Examples
    --------
    >>> one = Snapshot(1, ("a",), "", {"": Row((1.0,), (2.0,), (1.0,))})
    >>> from_json(as_json(one)) == one
    True
    """
    rows = {value: Row(*(tuple(row[name]) for name in Row._fields)) for value, row in found["rows"].items()}
    return Snapshot(found["version"], tuple(found["profiles"]), found["context"], rows)
