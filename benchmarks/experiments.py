"""Does the experiment readout say what is true? False positives under peeking, power, sample ratio, CUPED, a closed loop.

    python -m benchmarks.experiments [--runs 1000] [--looks 200] [--seed 7] [--shop-visitors 12000] [--trial FILE]

Prints one JSON object:

``a_a``
    Experiments without a difference, looked at so many times while visitors arrive; the share of runs in which conversion or
    revenue was *ever* called different. ``peeking_fixed_horizon`` is what an ordinary 95 % test would have said at these looks.
``lift``
    A true +10 % of conversion: how many runs found it, in which direction, at how many visitors; beside the number that the
    report's own formula promises for 80 % power, and the one that a fixed-horizon test needs.
``sample_ratio``
    How often a 50/50 split is refused when it was delivered 50/50 (ever, over all looks) and 48/52 (at 20,000 visitors).
``maturing``
    A/A through the whole report, with purchases that arrive over days after the exposure and visitors who buy repeatedly.
``cuped``
    What known history saves, on visitors whose past tells something.
``trial``
    The readout of a real one: Hillstrom's e-mail trial (``--trial hillstrom_email_trial.csv.gz``), three arms as dealt.
``shop``
    Closed loop in the simulated shop: one arm sends the signal that suits the visitor's intent, or does the same as
    the other.
"""

import argparse
import json
import time
from typing import Any

import numpy as np
import pandas as pd

from models.arrays import Floats
from models.experiments import sequential
from models.experiments.assignment import DYNAMIC_VS_STATIC, STATIC, Experiment, assign
from models.experiments.outcomes import Exposed, Purchases
from models.experiments.report import ReadoutParams, report
from models.experiments.sequential import SequenceParams
from models.schema import DAY_US, INTENTS
from models.simulator import ShopConfig, Visit, open_shop

BASE_RATE = 0.05
LIFT = 0.10
HELPS = dict(zip(INTENTS, ("recommend_product", "offer_discount", "start_workflow", "recommend_content"), strict=True))
SIGMA = 1.0  # of the log of an order's value: a heavy tail


def arm(rng: np.random.Generator, runs: int, looks: int, per_look: int, rate: float) -> dict[str, Floats]:
    """Cumulated sums of one arm at every look, shape (runs, looks): visitors, buyers, revenue and its squares."""
    buyers = rng.binomial(per_look, rate, size=(runs, looks))
    orders = np.exp(rng.normal(4.0, SIGMA, size=int(buyers.sum())))
    ends = np.cumsum(buyers.ravel())

    def sums(values: Floats) -> Floats:
        total = np.concatenate(([0.0], np.cumsum(values)))
        found: Floats = np.diff(total[np.concatenate(([0], ends))]).reshape(runs, looks).cumsum(axis=1)
        return found

    n = np.broadcast_to(per_look * np.arange(1.0, looks + 1), (runs, looks))
    return {"n": n, "buyers": buyers.cumsum(axis=1).astype(float), "revenue": sums(orders), "squares": sums(orders**2)}


def effects(one: dict[str, Floats], other: dict[str, Floats], sums: str, squares: str) -> tuple[Floats, Floats]:
    """Differences of the means, and their variances, shape (runs, looks)."""
    mean = [each[sums] / each["n"] for each in (one, other)]
    variance = [(each[squares] / each["n"] - m**2) / (each["n"] - 1) for each, m in zip((one, other), mean, strict=True)]
    return mean[0] - mean[1], variance[0] + variance[1]


def looked_at(rng: np.random.Generator, runs: int, looks: int, per_look: int, lift: float) -> dict[str, Any]:
    """Run experiments and look at each many times."""
    one, other = arm(rng, runs, looks, per_look, BASE_RATE * (1 + lift)), arm(rng, runs, looks, per_look, BASE_RATE)
    n, enough = one["n"] + other["n"], one["buyers"] + other["buyers"] >= ReadoutParams().min_conversions
    found: dict[str, Any] = {}
    for name, sums, squares in (("conversion", "buyers", "buyers"), ("revenue", "revenue", "squares")):
        difference, variance = effects(one, other, sums, squares)
        usual = enough & (np.abs(difference) > 1.96 * np.sqrt(variance))
        clear = enough & (np.abs(difference) > sequential.radius(variance, n, SequenceParams()))
        ever, first = clear.any(axis=1), clear.argmax(axis=1)
        right = ever & (np.take_along_axis(difference, first[:, None], axis=1)[:, 0] > 0)
        found[name] = {
            "found": round(float(ever.mean()), 4),
            "found_above_zero": round(float(right.mean()), 4),
            "at_visitors_median": int(np.median(n[0, first[ever]])) if ever.any() else None,
            "peeking_fixed_horizon": round(float(usual.any(axis=1).mean()), 4),
        }
    return {"runs": runs, "looks": looks, "visitors": int(n[0, -1]), **found}


def lifted(rng: np.random.Generator, runs: int, looks: int) -> dict[str, Any]:
    """A true lift, watched up to three times the visitors that the report's formula asks for."""
    params, rate = SequenceParams(), BASE_RATE
    effect, per_visitor = LIFT * rate, 2 * (rate * (1 - rate) + rate * (1 + LIFT) * (1 - rate * (1 + LIFT)))
    needed = sequential.n_needed(effect, per_visitor, params) or 0
    fixed = int(np.ceil(per_visitor * ((1.959964 + 0.841621) / effect) ** 2))
    per_look = 3 * needed // (2 * looks)
    watched = looked_at(rng, runs, looks, per_look, LIFT)
    at_needed = looked_at(rng, runs, looks, max(needed // (2 * looks), 1), LIFT)["conversion"]["found_above_zero"]
    return {"true_lift": LIFT, "base_rate": rate, "visitors_promised_for_80_percent": needed,
            "found_by_then": at_needed, "visitors_of_a_fixed_horizon_test": fixed, **watched}  # fmt: skip


def ratios(rng: np.random.Generator, runs: int, looks: int) -> dict[str, Any]:
    """The sample-ratio check on splits as dealt, and on a broken one."""
    n = 20_000
    alpha = ReadoutParams().sample_ratio_alpha

    def refused(share: float) -> tuple[float, float]:
        first = rng.binomial(n // looks, share, size=(runs, looks)).cumsum(axis=1)
        seen = n // looks * np.arange(1, looks + 1)
        p = np.array([[sequential.p_counts((k, m - k), (0.5, 0.5)) for k, m in zip(row, seen, strict=True)] for row in first])
        return round(float((p < alpha).any(axis=1).mean()), 4), round(float((p[:, -1] < alpha).mean()), 4)

    exact = sequential.p_counts((9_600, 10_400), (0.5, 0.5))
    return {"refused_50_50_ever": refused(0.5)[0], "refused_48_52_at_20k": refused(0.48)[1], "p_value_9600_10400": exact}


def visitors(rng: np.random.Generator, n: int, lift: float, memory: float, window_us: int) -> tuple[Exposed, Purchases]:
    """Visitors over 20 days who buy up to three times, late; `memory` is how much their past tells, 0 to 1."""
    at_us = np.sort(rng.integers(20 * DAY_US, size=n))
    variant = rng.integers(2, size=n)
    taste = rng.normal(size=n)
    rate = np.clip(BASE_RATE * np.exp(memory * taste) * np.where(variant == 0, 1 + lift, 1.0), 0, 0.9)
    times = np.where(rng.random(n) < rate, 1 + rng.binomial(2, 0.2, size=n), 0)
    who = np.repeat(np.arange(n), times)
    bought_us = at_us[who] + (rng.exponential(1.5 * DAY_US, size=len(who))).astype(np.int64)
    price = np.exp(rng.normal(4.0, SIGMA, size=len(who)))
    kept = bought_us - at_us[who] < window_us
    who, bought_us, price = who[kept], bought_us[kept], price[kept]
    order = np.argsort(bought_us, kind="stable")
    before = np.log1p(rng.poisson(np.exp(taste)))[:, None]
    still: Floats = np.zeros(n)
    return Exposed(variant, at_us, before, *[still] * 5), Purchases(who[order], bought_us[order], price[order])


def ever_different(exposed: Exposed, purchases: Purchases, looks: int) -> bool:
    """Whether any look at the whole report found conversion different."""
    told = report(DYNAMIC_VS_STATIC, exposed, purchases, {}, 21 * DAY_US, ReadoutParams(n_looks=looks))
    points = [point for each in (told["path"] or {}).values() for point in each]
    return any(point["low"] > 0 or point["high"] < 0 for point in points)


def maturing(rng: np.random.Generator, runs: int, looks: int) -> dict[str, Any]:
    """A/A through the report itself."""
    window = ReadoutParams().window_us
    wrong = [ever_different(*visitors(rng, 6_000, 0.0, 0.8, window), looks) for _ in range(runs)]
    return {"runs": runs, "looks": looks, "visitors": 6_000, "ever_different": round(float(np.mean(wrong)), 4)}


def cuped(rng: np.random.Generator) -> dict[str, Any]:
    """Variance saved, by how much the past tells."""
    found = {}
    for memory in (0.0, 0.8):
        exposed, purchases = visitors(rng, 40_000, 0.0, memory, ReadoutParams().window_us)
        told = report(DYNAMIC_VS_STATIC, exposed, purchases, {}, 30 * DAY_US, ReadoutParams(n_looks=1))
        found[f"memory_{memory}"] = {name: round(one["variance_saved"], 4) for name, one in told["metrics"].items()}
    return found


def shop(seed: int, n_visitors: int, helps: bool) -> dict[str, Any]:
    """Visitors of the simulated shop, dealt as the service deals them; the dynamic arm sends what suits, or does the same."""
    rng = np.random.default_rng([seed, 5])
    world = open_shop(ShopConfig(n_users=n_visitors, seed=seed), rng)
    variant, bought = np.zeros(n_visitors, np.int64), []
    for user in range(n_visitors):
        arm_name = assign(DYNAMIC_VS_STATIC, f"u{seed}-{user}")
        variant[user] = int(arm_name == STATIC)
        visit = Visit(world, user, user * DAY_US // 600, rng)
        visit.advance(2)
        if helps and arm_name != STATIC and not visit.ended and visit.item >= 0:
            visit.send(HELPS[INTENTS[visit.intent]], int(world.catalogue.complements[visit.item][0]))
        visit.advance()
        bought += [user] * int(visit.n_purchases)
    who = np.array(bought, np.int64)
    still = np.zeros(n_visitors)
    at_us = np.arange(n_visitors, dtype=np.int64) * (DAY_US // 600)
    told = report(
        DYNAMIC_VS_STATIC,
        Exposed(variant, at_us, np.zeros((n_visitors, 0)), *[still] * 5),
        Purchases(who, at_us[who], np.full(len(who), 50.0)),
        {},
        int(at_us[-1]) + DAY_US,
    )
    return {"sentence": told["sentence"], "verdict": told["verdict"]}


def trial(path: str) -> dict[str, Any]:
    """Hillstrom's trial: customers in the file's order, one a second; what they had spent before is known."""
    frame = pd.read_csv(path)
    arms = ("Mens E-Mail", "Womens E-Mail", "No E-Mail")
    variant = frame["segment"].map({name: k for k, name in enumerate(arms)}).to_numpy(np.int64)
    who = np.flatnonzero(frame["conversion"].to_numpy() == 1)
    at_us = 1_000_000 * np.arange(len(frame), dtype=np.int64)
    still = np.zeros(len(frame))
    before = np.column_stack((np.log(frame["history"]), frame[["recency", "mens", "womens", "newbie"]].to_numpy(float)))
    bought = Purchases(who, at_us[who], frame["spend"].to_numpy(float)[who])
    experiment = Experiment("hillstrom", "", arms, (1 / 3, 1 / 3, 1 / 3))
    told = report(
        experiment, Exposed(np.asarray(variant, dtype=np.int64), at_us, before, *[still] * 5), bought, {}, int(at_us[-1])
    )
    return {name: told[name] for name in ("sentence", "visitors", "sample_ratio", "metrics")}


def main() -> None:
    """Parse the arguments, run everything, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--looks", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--shop-visitors", type=int, default=12_000)
    parser.add_argument("--trial", help="hillstrom_email_trial.csv.gz")
    given = parser.parse_args()
    began = time.perf_counter()
    rng = np.random.default_rng(given.seed)
    a_a = {f"{per} visitors a look": looked_at(rng, given.runs, given.looks, per // 2, 0.0) for per in (20, 100, 1000)}
    worst = max(one[name]["found"] for one in a_a.values() for name in ("conversion", "revenue"))
    lift, ratio = lifted(rng, given.runs, given.looks), ratios(rng, min(given.runs, 200), given.looks)
    holds = {
        "false_positives_at_most_5_percent": worst <= 0.05,
        "lift_is_found": lift["conversion"]["found_above_zero"] >= 0.95,
        "broken_split_is_refused": ratio["p_value_9600_10400"] < ReadoutParams().sample_ratio_alpha,
    }
    found = {
        "benchmark": "experiments",
        "holds": holds,
        "a_a": a_a,
        "lift": lift,
        "sample_ratio": ratio,
        "maturing": maturing(rng, max(given.runs // 5, 1), given.looks),
        "cuped": cuped(rng),
        "trial": trial(given.trial) if given.trial else None,
        "shop": {name: shop(given.seed, given.shop_visitors, name == "better") for name in ("better", "equal")},
        "seconds": 0.0,
    }
    found["seconds"] = round(time.perf_counter() - began, 1)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
