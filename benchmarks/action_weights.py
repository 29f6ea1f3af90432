"""Do the action weights find what makes visitors buy? On simulated shops, whose causes are known. Prints one JSON object.

    python -m benchmarks.action_weights [--sessions 20000] [--seeds 5]

`effect`: rank correlation (Spearman) of the weights with the true effect of each action type on the log odds to buy, over all
types but the purchase, whose effect is nothing; `effect_outside_checkout` leaves out add to cart, cart and checkout views as
well, through which everybody passes who has decided to buy, whatever they do to visitors who have not. `heuristic` is the
correlation that the heuristic weights, the prior, have without any data; `unadjusted` that of plain rates.

`cause` and `cause_unshrunk` are the correlations of the causes (`models.weights.causes`), `cause_covered` the share of the true
effects within two standard errors of the unshrunk ones, up to a shift common to all, `cause_covered_on_the_way` that of add to
cart, cart and checkout views. The causes were made on seeds 50 to 54.

The second half asks the same of shops in which the heuristic is wrong: the true effects are dealt to the types at random.
"""

import argparse
import json
import time
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from models.arrays import Floats
from models.inference import examples, labels
from models.inference.examples import Log
from models.schema import EVENT_TYPES, EventType
from models.simulator import Causes, ShopConfig, simulate
from models.weight_profile import base_weights
from models.weights import action_outcomes
from models.weights import actions as action_weights
from models.weights import causes as action_causes
from models.weights.actions import Counts

CHECKOUT = (EventType.ADD_TO_CART, EventType.CART_VIEW, EventType.CHECKOUT_VIEW)
TYPES = np.arange(len(EVENT_TYPES)) != EventType.PURCHASE
SESSIONS_PER_USER = 3.05  # of a week, mean
OUTSIDE = TYPES & ~np.isin(np.arange(len(EVENT_TYPES)), CHECKOUT)
AFTER_ALL = 2**60


def shop(sessions: int, seed: int, causes: Causes) -> Log:
    """A week of a shop with about so many sessions."""
    config = ShopConfig(n_users=max(1, round(sessions / SESSIONS_PER_USER)), n_days=7, seed=seed, causes=causes)
    frame = simulate(config).events
    return examples.read_log(frame.assign(seq=np.arange(len(frame))))[0]


def learned(log: Log) -> Counts:
    """Faded observations of a log."""
    found = action_outcomes.fold(log.events, log.starts, log.user_codes, AFTER_ALL)
    server = np.zeros_like(found.day)
    return action_weights.faded(found.day, found.event_type, found.context, server, found.trials, found.rewards)


def followed(log: Log) -> Floats:
    """How often a purchase follows each type within the horizon, shape (n_event_types,)."""
    bought = labels.purchase_within(log.events, log.user_codes, action_weights.PARAMS.horizon_s)
    kinds, n_types = log.events["event_type"], len(EVENT_TYPES)
    return np.bincount(kinds, weights=bought, minlength=n_types) / np.maximum(np.bincount(kinds, minlength=n_types), 1)


def agreement(first: Floats, second: Floats, types: npt.NDArray[np.bool_] = TYPES) -> float:
    """Spearman's correlation over some action types."""
    return round(float(spearmanr(first[types], second[types])[0]), 3)


def measure(sessions: int, seed: int, causes: Causes) -> dict[str, float]:
    """One shop."""
    log, true = shop(sessions, seed, causes), np.array(causes.event)
    began = time.perf_counter()
    known = action_weights.posterior(learned(log))
    seconds = time.perf_counter() - began
    w = action_weights.weights(known)
    began = time.perf_counter()
    found = action_causes.fit(log)
    if found is None:
        raise SystemExit("too few purchases: simulate more sessions")
    of_causes, raw = np.zeros((2, len(EVENT_TYPES)))
    of_causes[action_causes.TYPES], raw[action_causes.TYPES] = found.mean, found.raw
    apart = found.raw - true[action_causes.TYPES]
    apart -= np.average(apart, weights=found.raw_se**-2)
    covered = np.abs(apart) < 2 * found.raw_se
    return {
        "effect": agreement(w, true),
        "effect_outside_checkout": agreement(w, true, OUTSIDE),
        "cause": agreement(of_causes, true),
        "cause_unshrunk": agreement(raw, true),
        "cause_covered": round(float(covered.mean()), 3),
        "cause_covered_on_the_way": round(float(covered[np.isin(action_causes.TYPES, CHECKOUT)].mean()), 3),
        "cause_decay": found.decay,
        "cause_seconds": round(time.perf_counter() - began, 1),
        "heuristic": agreement(base_weights(), true),
        "unadjusted": agreement(followed(log), true),
        "n_sessions": int(log.starts.sum()),
        "seconds": round(seconds, 2),
    }


def dealt_anew(seed: int) -> Causes:
    """The usual effects, each given to another action type."""
    rng, usual = np.random.default_rng([seed, 9]), np.array(Causes().event)
    usual[TYPES] = rng.permutation(usual[TYPES])
    return replace(Causes(), event=tuple(usual.tolist()))


def summary(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Means and worst over the seeds."""
    means = {name: round(float(np.mean([row[name] for row in rows])), 3) for name in rows[0]}
    return {
        **means,
        "worst_effect": min(row["effect"] for row in rows),
        "worst_cause": min(row["cause"] for row in rows),
        "seeds": len(rows),
    }


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    usual = [measure(given.sessions, seed, Causes()) for seed in range(given.seeds)]
    wrong = [measure(given.sessions, seed, dealt_anew(seed)) for seed in range(given.seeds)]
    print(json.dumps({"benchmark": "action_weights", "usual_shop": summary(usual), "heuristic_is_wrong": summary(wrong)}))


if __name__ == "__main__":
    main()
