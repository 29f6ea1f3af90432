"""Does weighting by intent pay? On the simulated shop, where it should, and on one where intent has no influence.

    python -m benchmarks.intent_weighting [--users N] [--days D] [--seeds 11 12 13]

Per shop: associations on the first 50 % of the time, the intent model on the first 50 %, weights learned on the next 20 %, all
arms tested on the last 30 % (`models.evaluation.ablation`), the associations then built on the first 70 %. Prints one JSON
object.

What is judged is "intent_related" against static: the same base weights, the same pairs, and beside them only what the
session's intent says of associations within the category and out of it (`models.weights.relations`). Where it was learned
that intent says nothing, the two are the same. It holds if NDCG@20 is surely better for some kind of target and worse for none
in the shop where intent has influence, and there is no difference for any kind in the one without; intervals allow for the
number of kinds (Bonferroni).

The heuristic factors and the learned profile stand beside it. They change the mean weights too, which helps or hurts in either
shop; three controls tell that apart: "…_blind" has the same numbers mixed by the mean intent instead of the session's own.
Intervals of the seeds are pooled as independent measurements. Seeds 11 to 13 were used while this was made, 21 to 24 for an
earlier report; use others to check it.
"""

import argparse
import json
import time
from typing import Any

import numpy as np

from benchmarks.later_rows import later_rows
from models.associations import model as associations
from models.evaluation import ablation
from models.evaluation.ablation import AblationParams
from models.events.encode import encode
from models.features import sessions
from models.inference import intent, labels
from models.inference.examples import Log
from models.model_set import ModelSet
from models.questions.later import Later
from models.questions.rest_of_session import TARGETS
from models.simulator import ShopConfig, simulate
from models.statistics import split
from models.statistics.bootstrap import NO_DIFFERENCE
from models.tuning import learning as weight_learning
from models.weight_profile import HEURISTIC, WeightProfile, profile

DECIDES = ("intent_related", "static")
PAIRS = (
    DECIDES,
    ("intent_related", "related_blind"),
    ("intent_weighted", "static"),
    ("intent_weighted", "intent_blind"),
    ("learned", "static"),
    ("learned", "learned_blind"),
)
CONTROLS = ("related_blind", "intent_blind", "learned_blind")
BLIND = ("intent_related - related_blind", "intent_weighted - intent_blind", "learned - learned_blind")
WIDER = 1.2214  # of a normal distribution's 98.33 % interval over its 95 % one: three kinds of target
SHOPS = {"intent_has_influence": True, "no_influence": False}


def blind(weights: WeightProfile, mean: np.ndarray[Any, np.dtype[np.float64]]) -> WeightProfile:
    """The same profile for everybody: its factors and relations mixed by the mean intent, shape (n_intents,)."""
    related = np.tile(weights.related(mean), (len(mean), 1))
    return profile(weights.scaled(mean), np.ones_like(weights.factors), related)


def measure(config: ShopConfig, at_most: int) -> dict[str, Any]:
    """The ablation of one simulated shop, with the learner's control in which intent has no influence."""
    began = time.perf_counter()
    frame = sessions.sessionize(simulate(config).events)
    starts, encoded = sessions.starts(frame), encode(frame)
    rows = encoded.events
    started_us = split.session_starts_us(np.ascontiguousarray(rows["occurred_at_us"]), starts)
    early, later = np.quantile(started_us, [0.5, 0.7])
    features = sessions.fold(rows, starts)
    fit = started_us < early
    weak = labels.intent_probabilities(rows[fit], starts[fit])
    model = intent.fit(features[fit], weak, valid=later_rows(started_us[fit], 0.2))
    p_intent = model.predict(features)
    users = np.unique(frame["user_id"].to_numpy(dtype=str), return_inverse=True)[1]

    def part(kept: Any) -> Later:
        ids = [str(item_id) for item_id in encoded.item_ids]
        return Later(Log(rows[kept], starts[kept], started_us[kept], users[kept], ids), p_intent[kept])

    rng = np.random.default_rng(config.seed)
    first = associations.build(rows[fit], starts[fit], encoded.item_ids)
    between = (started_us >= early) & (started_us < later)
    learned = weight_learning.learn(ModelSet(associations=first), part(between), rng)
    before = started_us < later
    store = associations.build(rows[before], starts[before], encoded.item_ids)
    popularity = np.bincount(rows["item"][before & (rows["item"] >= 0)], minlength=store.n_items)
    mean = p_intent[before].mean(axis=0)
    profiles = {
        **ablation.arms(learned.weights),
        "intent_related": learned.static_related,
        "related_blind": blind(learned.static_related, mean),
        "intent_blind": blind(HEURISTIC, mean),
        "learned_blind": blind(learned.weights, mean),
    }
    asked = AblationParams(at_most=at_most)
    models = ModelSet(associations=store)
    table = ablation.compare(models, part(~before), profiles, popularity, rng, asked, PAIRS, CONTROLS)
    return {
        "seed": config.seed,
        "n_events": len(rows),
        "learner": {"chosen": learned.chosen, "ndcg_20": learned.ndcg_20},
        "ablation": table,
        "seconds": round(time.perf_counter() - began, 1),
    }


def pooled(runs: list[dict[str, Any]], pair: str) -> dict[str, Any]:
    """Mean of the seeds' differences per kind of target, the half-widths of their intervals added in squares and widened."""
    found: dict[str, Any] = {}
    for kind in TARGETS:
        parts = [run["ablation"]["pairs"][pair][kind] for run in runs if kind in run["ablation"]["pairs"][pair]]
        if not parts:
            continue
        mean = float(np.mean([part["mean"] for part in parts]))
        half = WIDER * float(np.sqrt(sum(((part["high"] - part["low"]) / 2) ** 2 for part in parts))) / len(parts)
        first, second = pair.split(" - ")
        better = first if mean - half > 0 else second if mean + half < 0 else NO_DIFFERENCE
        found[kind] = {"mean": round(mean, 5), "low": round(mean - half, 5), "high": round(mean + half, 5), "better": better}
    return found


def main() -> None:
    """Parse the arguments, run both shops with every seed, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--prefixes", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    given = parser.parse_args()
    tables, runs = {}, {}
    for name, influence in SHOPS.items():
        shops = (ShopConfig(given.users, given.days, seed, intent_has_influence=influence) for seed in given.seeds)
        runs[name] = [measure(shop, given.prefixes) for shop in shops]
        tables[name] = {f"{a} - {b}": pooled(runs[name], f"{a} - {b}") for a, b in PAIRS}
    print_all(tables, runs)


def print_all(tables: dict[str, Any], runs: dict[str, Any]) -> None:
    """Say what holds, then everything."""
    ours, other = DECIDES
    gained, null = (tables[name][f"{ours} - {other}"] for name in SHOPS)
    better = [kind for kind, one in gained.items() if one["better"] == ours]
    worse = [kind for kind, one in gained.items() if one["better"] == other]
    none = [kind for kind, one in null.items() if one["better"] == NO_DIFFERENCE]
    itself = {
        name: {pair: {kind: one["better"] for kind, one in tables[name][pair].items()} for pair in BLIND} for name in SHOPS
    }
    verdict = {
        "intent_weighting_better_on": better,
        "intent_weighting_worse_on": worse,
        "no_difference_without_influence_on": none,
        "holds": bool(better) and not worse and len(none) == len(null),
        "effect_of_intent_itself": itself,
    }
    print(json.dumps({"benchmark": "intent_weighting", "measure": "ndcg_20", **verdict, "pooled": tables, "runs": runs}))


if __name__ == "__main__":
    main()
