"""Off-policy estimates against known truth.

    python -m benchmarks.off_policy --logged DIR/bts --truth DIR/random
    python -m benchmarks.off_policy --synthetic [--runs N]

The first estimates the uniform-random policy from the log of another policy in the format of the Open Bandit Dataset (a csv
file, plain or gzip, or the folder with it) and prints estimate, interval, effective sample size and what the random policy
really earned. Two verdicts, where 5 % is worth knowing: whether the estimate differs from what was really earned (so few
clicks cannot tell a 5 % gain), and whether the random policy is better or worse than the logging one.

The second is the synthetic setting of the Open Bandit paper's repository: 10,000 rounds, 30 arms, 5 context numbers; mean
rewards are logistic in the context, with coefficients by arm that are uniform in [0, 1]; the logging policy is a softmax of
the mean rewards with inverse temperature -3 (so it prefers bad arms), and beside it one that is linear in the arm; the target
policy is learned from another log (softmax of a weighted logistic regression's probabilities). Per run the relative
error of each estimator to the target policy's mean under the truth, in the contexts met. The repository reports, for the first
logging policy, 0.0095 (IPS), 0.0067 (SNIPS) and 0.0062 (DR) over 20 runs. Prints one JSON object.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax

from models.arrays import Floats, Ints
from models.bandit import off_policy, reward_model
from models.bandit.off_policy import DR, IPS, SNIPS, OffPolicyParams
from models.statistics import logistic
from models.statistics.metrics import Interval

N_ARMS: Final = 30
N_CONTEXT: Final = 5
N_ROUNDS: Final = 10_000
BETA: Final = -3.0
ESTIMATORS: Final = (IPS, SNIPS, DR)


# ---- the Open Bandit Dataset ---------------------------------------------------------------------------------------------


def read(path: Path) -> pd.DataFrame:
    """Item, position, click and propensity of each impression."""
    if path.is_dir():
        path = min(found for found in path.glob("*.csv*") if "context" not in found.name)
    return pd.read_csv(path, usecols=["item_id", "position", "click", "propensity_score"])


def real(logged: Path, truth: Path) -> dict[str, Any]:
    """The uniform-random policy, estimated and measured."""
    seen, random = read(logged), read(truth)
    rng = np.random.default_rng(0)
    n_items = int(max(seen["item_id"].max(), random["item_id"].max())) + 1
    item, reward = seen["item_id"].to_numpy(np.int64), seen["click"].to_numpy(np.float64)
    everyone, rounds = np.full(len(seen), 1 / n_items), np.arange(len(seen))
    propensity = seen["propensity_score"].to_numpy(np.float64)
    context = reward_model.indicators(seen[["position"]].to_numpy(np.int64))
    fold = reward_model.folds(rounds, 3, rng)
    q = reward_model.cross_fitted(context, item, n_items, reward, fold)
    by_model = q[rounds, item], q.mean(axis=1)
    params = OffPolicyParams()
    target = off_policy.logged(reward, everyone, propensity, by_model, params)
    itself = off_policy.logged(reward, propensity, propensity, params=params)
    value = off_policy.estimate(target, rounds, rng, params)
    difference = off_policy.estimate(target, rounds, rng, params, baseline=itself)
    clicks = random["click"].to_numpy(np.float64)
    on_policy = off_policy.estimate(
        off_policy.logged(clicks, np.ones(len(clicks)), np.ones(len(clicks))), np.arange(len(clicks)), rng, params
    )
    told = float(clicks.mean())
    gain = against(value, on_policy)
    return {
        "n_logged": len(seen),
        "n_clicks": int(reward.sum()),
        "n_items": n_items,
        "estimate": off_policy.as_json(value),
        "on_policy_truth": {"n": len(random), "n_clicks": int(clicks.sum()), **off_policy.as_json(on_policy)[IPS]},
        "interval_holds_truth": {name: one.low <= told <= one.high for name, one in value.intervals.items()},
        "relative_error": {name: round(abs(one.mean - told) / told, 4) for name, one in value.intervals.items()},
        "gain_over_truth": off_policy.as_json(gain)[DR],
        "verdict_on_5_percent_gain": off_policy.verdict(gain, told, params),
        "logging_policy": round(float(reward.mean()), 6),
        "difference_to_logging_policy": off_policy.as_json(difference),
        "verdict_against_logging_policy": off_policy.verdict(difference, float(reward.mean()), params),
    }


def against(value: off_policy.Estimate, other: off_policy.Estimate) -> off_policy.Estimate:
    """The difference to what was measured on another log, where rewards are not weighted (Zou & Donner 2008, MOVER)."""
    truth = other.intervals[IPS]
    intervals = {
        name: Interval(
            one.mean - truth.mean,
            one.mean - truth.mean - math.hypot(one.mean - one.low, truth.high - truth.mean),
            one.mean - truth.mean + math.hypot(one.high - one.mean, truth.mean - truth.low),
        )
        for name, one in value.intervals.items()
    }
    return value._replace(intervals=intervals)


# ---- the synthetic setting -----------------------------------------------------------------------------------------------


class World(NamedTuple):
    """Coefficients of the mean reward by arm, and of the linear logging policy; `shift` makes rewards rarer."""

    of_context: Floats
    of_arm: Floats
    arm_logit: Floats
    shift: float = 0.0


class Log(NamedTuple):
    """One log of a world."""

    context: Floats
    mean_reward: Floats
    action: Ints
    propensity: Floats
    reward: Floats


def world(rng: np.random.Generator) -> World:
    """Draw one."""
    return World(rng.uniform(size=(N_CONTEXT, N_ARMS)), rng.uniform(size=N_ARMS), rng.uniform(size=N_ARMS))


def mean_rewards(of: World, context: Floats) -> Floats:
    """Shape (n, n_arms)."""
    return np.asarray(expit(context @ of.of_context + of.of_arm + of.shift))


def draw(of: World, n: int, behaviour: str, rng: np.random.Generator) -> Log:
    """Log n rounds of the behaviour policy."""
    context = rng.normal(size=(n, N_CONTEXT))
    mean = mean_rewards(of, context)
    logits = BETA * mean if behaviour == "softmax" else np.broadcast_to(of.arm_logit, mean.shape)
    p = softmax(logits, axis=1)
    action = (p.cumsum(axis=1) > rng.random(n)[:, None]).argmax(axis=1)
    rounds = np.arange(n)
    return Log(context, mean, action, p[rounds, action], (rng.random(n) < mean[rounds, action]).astype(float))


class Policy(NamedTuple):
    """Softmax of the class probabilities of a multinomial logistic regression."""

    coefficients: Floats

    def probabilities(self, context: Floats) -> Floats:
        """Shape (n, n_arms)."""
        classes = softmax(np.column_stack((np.ones(len(context)), context)) @ self.coefficients, axis=1)
        return np.asarray(softmax(classes, axis=1))


def learn(log: Log) -> Policy:
    """Which arm is rewarded, decisions weighted by reward over propensity."""
    design = np.column_stack((np.ones(len(log.context)), log.context))
    weight, chosen = log.reward / log.propensity, np.eye(N_ARMS)[log.action]

    def loss(w: Floats) -> tuple[float, Floats]:
        shaped = w.reshape(design.shape[1], N_ARMS)
        logp = log_softmax(design @ shaped, axis=1)
        gradient = design.T @ (weight[:, None] * (np.exp(logp) - chosen)) + shaped
        return float(-(weight * (logp * chosen).sum(axis=1)).sum() + 0.5 * (shaped**2).sum()), gradient.ravel()

    start = np.zeros(design.shape[1] * N_ARMS)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 100})
    return Policy(found.x.reshape(design.shape[1], N_ARMS))


def by_logistic(log: Log, rng: np.random.Generator) -> Floats:
    """Three-fold cross-fitted reward model of the repository's example: logistic in context and arm, without their products."""
    fold = reward_model.folds(np.arange(len(log.reward)), 3, rng)
    q = np.empty((len(log.reward), N_ARMS))
    design = np.hstack((log.context, np.eye(N_ARMS)[log.action]))
    for one in range(3):
        model = logistic.fit(design[fold != one], log.reward[fold != one] > 0)
        of_context, of_arm = model.coefficients[1 : 1 + N_CONTEXT], model.coefficients[1 + N_CONTEXT :]
        scale, mean = model.scale, model.mean
        mine = (log.context[fold == one] - mean[:N_CONTEXT]) / scale[:N_CONTEXT] @ of_context
        arms = (np.eye(N_ARMS) - mean[N_CONTEXT:]) / scale[N_CONTEXT:] @ of_arm
        q[fold == one] = expit(model.coefficients[0] + mine[:, None] + arms)
    return q


def weighed(log: Log, p: Floats, rng: np.random.Generator) -> off_policy.Logged:
    """The log as a target policy with these probabilities sees it, with the reward model."""
    q, rounds = by_logistic(log, rng), np.arange(len(log.reward))
    by_model = q[rounds, log.action], (p * q).sum(axis=1)
    return off_policy.logged(log.reward, p[rounds, log.action], log.propensity, by_model)


def errors(behaviour: str, n_runs: int) -> dict[str, Any]:
    """Relative error of each estimator, mean and standard deviation over the runs."""
    found = []
    for seed in range(n_runs):
        rng = np.random.default_rng([seed, 1])
        of = world(rng)
        policy = learn(draw(of, N_ROUNDS, behaviour, rng))
        log = draw(of, N_ROUNDS, behaviour, rng)
        p = policy.probabilities(log.context)
        truth = float((p * log.mean_reward).sum(axis=1).mean())
        sums = off_policy.quotients(weighed(log, p, rng))
        values = {name: above.sum() / below.sum() for name, (above, below) in sums.items()}
        found.append([abs(values[name] - truth) / truth for name in ESTIMATORS])
    table = np.array(found)
    return {
        name: {"mean": round(a, 5), "sd": round(b, 5)}
        for name, a, b in zip(ESTIMATORS, table.mean(0), table.std(0), strict=True)
    }


def main() -> None:
    """Measure, print one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--logged", type=Path)
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--synthetic", action="store_true")
    parser.add_argument("--runs", type=int, default=20)
    args = parser.parse_args()
    began = time.perf_counter()
    if args.synthetic:
        found = {"relative_error": {behaviour: errors(behaviour, args.runs) for behaviour in ("softmax", "linear")}}
    elif args.logged is None or args.truth is None:
        parser.error("give --logged and --truth, or --synthetic")
    else:
        missing = [str(path) for path in (args.logged, args.truth) if not path.exists()]
        if missing:
            parser.error(f"there is no {', '.join(missing)}")
        found = real(args.logged, args.truth)
    print(json.dumps({**found, "seconds": round(time.perf_counter() - began, 1)}))


if __name__ == "__main__":
    main()
