"""How often 95 % intervals of the off-policy estimators hold a known truth, over many logs of one world.

    python -m benchmarks.off_policy_coverage [--repetitions N] [--worlds NAME …]

- ``softmax``, ``linear``: the synthetic setting of `benchmarks.off_policy`, a log of 2,000 rounds, either logging policy.
- ``rare``: the same with the softmax policy, where one decision in seventeen is rewarded.
- ``visitors``: visitors with a liking of their own that decide one to many times; drawing decisions instead of visitors would
  give intervals that are too narrow. The reward model is the gate's.
- ``trial``: what the gate looks at. A challenger was dealt one decision in a hundred, the champion nearly all others; the truth
  is the difference between both. On average 250 decisions of the challenger, 30 of them rewarded: just enough for a verdict.

Count enough logs: over the first 500 of the first world 92.0 % were once counted for DR and believed, but the standard error of
a share of 500 is one point. Over 2,000 logs the standard error that DR tells is that of the estimates (ratio 1.00) and their
bias is 0.05 of it, as long as the reward model is cross-fitted; fitted on the rows that it speaks about, its intervals hold the
truth in 90 % of logs of 40 rounds. What was wrong indeed, by half a point at 400 draws, was the quantile of the bootstrap draws
(`models.bandit.off_policy`). Prints one JSON object, with the standard error of a share.
"""

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from typing import Any, Final, NamedTuple

import numpy as np
from scipy.special import expit

from benchmarks.off_policy import ESTIMATORS, N_CONTEXT, N_ROUNDS, draw, learn, mean_rewards, weighed, world
from models.arrays import Floats, Ints
from models.bandit import off_policy, reward_model
from models.bandit.off_policy import Logged, OffPolicyParams

N_COVERED: Final = 2_000  # rounds of a log
N_TRUTH: Final = 400_000  # contexts, or visitors, over which the truth is taken
N_TRIAL: Final = 25_000  # decisions of a log of the world "trial"
PARAMS: Final = OffPolicyParams(n_draws=400)
BATCH: Final = 50  # logs that one process makes at one time
RANGE: Final = (0.93, 0.97)  # of a share that is right


class Sample(NamedTuple):
    """One log: as the target policy sees it, who decided, and as the policy sees it that the target is compared with."""

    seen: Logged
    visitor: Ints
    baseline: Logged | None = None


class Setting(NamedTuple):
    """A world with its truth."""

    truth: float
    sample: Callable[[np.random.Generator], Sample]


def open_bandit(behaviour: str, shift: float) -> Setting:
    """The setting of the Open Bandit paper's repository."""
    rng = np.random.default_rng([11, 2])
    of = world(rng)._replace(shift=shift)
    policy = learn(draw(of, N_ROUNDS, behaviour, rng))
    contexts = np.random.default_rng(5).normal(size=(N_TRUTH, N_CONTEXT))
    truth = float((policy.probabilities(contexts) * mean_rewards(of, contexts)).sum(axis=1).mean())

    def sample(rng: np.random.Generator) -> Sample:
        log = draw(of, N_COVERED, behaviour, rng)
        return Sample(weighed(log, policy.probabilities(log.context), rng), np.arange(N_COVERED))

    return Setting(truth, sample)


def of_visitors() -> Setting:
    """600 visitors with about three decisions each; four arms, dealt unevenly, and a target policy that turns them round."""
    p, target, effect = np.array([0.6, 0.2, 0.15, 0.05]), np.array([0.05, 0.15, 0.2, 0.6]), np.array([-1.5, -1.2, -1.0, -0.7])
    liking = np.random.default_rng(6).normal(size=N_TRUTH)
    truth = float((expit(liking[:, None] + effect) @ target).mean())

    def sample(rng: np.random.Generator) -> Sample:
        n = 1 + rng.poisson(2.0, 600)
        visitor = np.repeat(np.arange(600), n)
        arm = rng.choice(4, size=len(visitor), p=p)
        reward = (rng.random(len(visitor)) < expit(rng.normal(size=600)[visitor] + effect[arm])).astype(np.float64)
        q = modelled(np.zeros((len(visitor), 0)), arm, 4, reward, visitor, rng)
        at = np.arange(len(visitor))
        return Sample(off_policy.logged(reward, target[arm], p[arm], (q[at, arm], q @ target)), visitor)

    return Setting(truth, sample)


def on_trial() -> Setting:
    """A champion, a challenger and two other arms; who asks from an app buys more, and some visitors do anyway."""
    p, effect = np.array([0.97, 0.01, 0.01, 0.01]), np.array([-2.2, -2.4, -2.0, -3.0])
    rng = np.random.default_rng(7)
    given = rng.normal(0, 0.5, N_TRUTH) + 0.7 * (rng.random(N_TRUTH) < 0.4)
    of_arm = expit(given[:, None] + effect).mean(axis=0)

    def sample(rng: np.random.Generator) -> Sample:
        n_visitors = N_TRIAL // 3
        visitor = rng.integers(n_visitors, size=N_TRIAL)
        app = (rng.random(n_visitors) < 0.4)[visitor]
        arm = rng.choice(4, size=N_TRIAL, p=p)
        chance = expit(rng.normal(0, 0.5, n_visitors)[visitor] + 0.7 * app + effect[arm])
        reward = (rng.random(N_TRIAL) < chance).astype(np.float64)
        q, at = (
            modelled(reward_model.indicators(app[:, None].astype(np.int64)), arm, 4, reward, visitor, rng),
            np.arange(N_TRIAL),
        )
        champion, challenger = (
            off_policy.logged(reward, (arm == one).astype(np.float64), p[arm], (q[at, arm], q[:, one])) for one in (0, 1)
        )
        return Sample(challenger, visitor, champion)

    return Setting(float(of_arm[1] - of_arm[0]), sample)


def modelled(context: Floats, arm: Ints, n_arms: int, reward: Floats, visitor: Ints, rng: np.random.Generator) -> Floats:
    """The reward model as the gate fits it."""
    return reward_model.cross_fitted(context, arm, n_arms, reward, reward_model.folds(visitor, 3, rng))


WORLDS: Final[dict[str, Callable[[], Setting]]] = {
    "softmax": lambda: open_bandit("softmax", 0.0),
    "rare": lambda: open_bandit("softmax", -4.0),
    "linear": lambda: open_bandit("linear", 0.0),
    "visitors": of_visitors,
    "trial": on_trial,
}


@cache
def setting_of(name: str) -> Setting:
    """A world, made once in each process."""
    return WORLDS[name]()


def batch(name: str, first: int, n: int) -> tuple[Floats, Floats, Floats]:
    """Of some logs of a world: where the truth lies beside the interval (-1 above it, 0 inside, 1 below), mean and width."""
    setting = setting_of(name)
    found = []
    for k in range(first, first + n):
        rng = np.random.default_rng([k, 23])
        seen, visitor, baseline = setting.sample(rng)
        estimate = off_policy.estimate(seen, visitor, rng, PARAMS, baseline)
        found.append([estimate.intervals[one] for one in ESTIMATORS])
    mean, low, high = np.moveaxis(np.array(found), 2, 0)
    return (low > setting.truth).astype(float) - (high < setting.truth), (mean - setting.truth), high - low


def coverage(name: str, n_repetitions: int, pool: ProcessPoolExecutor) -> dict[str, Any]:
    """The share of all logs, by estimator."""
    began = time.perf_counter()
    starts = range(0, n_repetitions, BATCH)
    parts = list(pool.map(batch, [name] * len(starts), starts, [min(BATCH, n_repetitions - at) for at in starts]))
    side, error, width = (np.concatenate(part) for part in zip(*parts, strict=True))
    shares = (side == 0).mean(axis=0)
    return {
        "n_repetitions": n_repetitions,
        "coverage": _by_estimator(shares),
        "interval_above_truth": _by_estimator((side > 0).mean(axis=0)),
        "interval_below_truth": _by_estimator((side < 0).mean(axis=0)),
        "bias_in_standard_errors": _by_estimator(error.mean(axis=0) / error.std(axis=0)),
        "mean_width": _by_estimator(width.mean(axis=0)),
        "standard_error": round(float(np.sqrt(0.95 * 0.05 / n_repetitions)), 4),
        "within_93_to_97": bool(((shares >= RANGE[0]) & (shares <= RANGE[1])).all()),
        "seconds": round(time.perf_counter() - began, 1),
    }


def _by_estimator(values: Floats) -> dict[str, float]:
    return dict(zip(ESTIMATORS, values.round(5).tolist(), strict=True))


def measure(names: list[str], n_repetitions: int) -> dict[str, Any]:
    """All worlds."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        return {name: coverage(name, n_repetitions, pool) for name in names}


def main() -> None:
    """Measure, print one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repetitions", type=int, default=1_000)
    parser.add_argument("--worlds", nargs="+", choices=list(WORLDS), default=list(WORLDS))
    args = parser.parse_args()
    print(json.dumps(measure(args.worlds, args.repetitions)))


if __name__ == "__main__":
    main()
