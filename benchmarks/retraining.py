"""Does a retraining on more data of the same shop pass the gate? Prints one JSON object.

    python -m benchmarks.retraining [--users N] [--days D] [--seeds 201 202 203]

Per simulated shop: intent model and weights learned from the first 80 % of the log, then from all of it beside what serves (as
a retraining does) and, for comparison, as if nothing served. Both sets answer the questions about the next item that the gate
asks on the last fifth, with the associations of before it. `verdict` is what the gate's rule says of MRR@20; `gain_over_static`
is that of the second profile over static weights. Seeds 1 to 10 were used while the learner was made; use others to check it.
"""

import argparse
import json
from dataclasses import replace
from typing import Any

import numpy as np

from models.associations import from_log as log_associations
from models.evaluation import comparison, gate
from models.experiments.assignment import DYNAMIC
from models.experiments.assignment import STATIC as STATIC_VARIANT
from models.features import sessions
from models.inference import examples, intent, labels
from models.inference.examples import Log
from models.inference.intent import IntentModel
from models.model_set import ModelSet
from models.questions import next_item
from models.questions.answers import ranks
from models.questions.later import later
from models.replay import replay
from models.simulator import ShopConfig, simulate
from models.statistics import bootstrap, split
from models.tuning import from_log as log_weights
from models.weight_profile import STATIC, WeightProfile
from models.weights import actions_from_log

SHARES = (0.8, 1.0)
N_QUESTIONS = 2_000


def fitted(log: Log) -> tuple[IntentModel, tuple[int, int]]:
    """The intent model of a log, and its periods, cut as the training flow cuts them."""
    periods = split.by_time(log.started_us)
    kept = ~periods.test
    features, weak = sessions.fold(log.events, log.starts)[kept], labels.intent_probabilities(log.events, log.starts)[kept]
    params = replace(intent.DEFAULT_PARAMS, num_threads=1)
    return intent.fit(features, weak, params, valid=periods.valid[kept]), (periods.valid_from_us, periods.test_from_us)


def measure(config: ShopConfig) -> dict[str, Any]:
    """One shop, retrained once."""
    frame = simulate(config).events.sort_values("occurred_at_us", kind="stable")
    logs = [examples.read_log(frame.iloc[: int(share * len(frame))].reset_index(drop=True))[0] for share in SHARES]
    (first_intent, first_periods), (intent_now, periods) = map(fitted, logs)
    first = log_weights.learn(logs[0], first_intent, first_periods)
    found = {
        "beside_what_serves": log_weights.learn(logs[1], intent_now, periods, incumbent=first.weights),
        "as_if_nothing_served": log_weights.learn(logs[1], intent_now, periods),
    }
    held_out, before = logs[1].since(periods[1]), logs[1].before(periods[1])
    models = ModelSet(associations=log_associations.built(before, {}), actions=actions_from_log.ready_of(before, periods[1]))
    asked = next_item.questions(held_out.events, held_out.starts, N_QUESTIONS, np.random.default_rng(0))
    wanted = held_out.events["item"][asked.target]
    draws = bootstrap.draw(np.cumsum(held_out.starts, dtype=np.int64)[asked.last], np.random.default_rng(0))

    def reciprocal(model: IntentModel, weights: WeightProfile, variant: str = DYNAMIC) -> Any:
        asks = replay(models, later(model, held_out), asked.first, asked.last)
        return next_item.reciprocal(ranks(asks.answers(weights, variant), wanted))

    champion, static = reciprocal(first_intent, first.weights), reciprocal(intent_now, STATIC, STATIC_VARIANT)
    told: dict[str, Any] = {"seed": config.seed, "champion": {"chosen": first.chosen, "mrr_20": round(champion.mean(), 4)}}
    for name, learned in found.items():
        ours = reciprocal(intent_now, learned.weights)
        gain = bootstrap.mean_intervals((ours - champion)[:, None], draws)[0]
        n_sessions = draws.times.shape[1]
        rule = comparison.Comparison("MRR@20", comparison.OVERALL, ours.mean(), champion.mean(), gain, len(ours), n_sessions)
        told[name] = {
            "chosen": learned.chosen,
            "mrr_20": round(float(ours.mean()), 4),
            "verdict": gate.not_worse([rule], gate.DEFAULT_PARAMS)[0].verdict,
            "gain_over_static": round(float((ours - static).mean()), 4),
        }
    return told


def main() -> None:
    """Parse the arguments, retrain every shop, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=600)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--seeds", type=int, nargs="+", default=[201, 202, 203])
    given = parser.parse_args()
    runs = [measure(ShopConfig(n_users=given.users, n_days=given.days, seed=seed)) for seed in given.seeds]
    names = ("beside_what_serves", "as_if_nothing_served")
    passed = {name: sum(run[name]["verdict"] == gate.PASS for run in runs) for name in names}
    gain = {name: round(float(np.mean([run[name]["gain_over_static"] for run in runs])), 4) for name in names}
    print(json.dumps({"benchmark": "retraining", "passed": passed, "of": len(runs), "gain_over_static": gain, "runs": runs}))


if __name__ == "__main__":
    main()
