"""Does a day's budget earn more when its discounts go to whom they are worth most, and not to whoever comes first?

    python -m benchmarks.budget [--seeds 20] [--first-seed S] [--visitors N] [--share 0.25]

The shop of `benchmarks.uplift`: a discount makes some buy, is wasted on others, and drives a third kind away. Whom to send it
is learned from others before. Then visitors come over the days, more of them in the evening than at night, and there is a
budget for each day: a share of what all whom the discount is estimated to be worth would be promised. The same visitors are
met twice. "first_come" spends along the line of the day (`models.engagement.pacing.allowed_cents`) on whoever the discount is
worth anything to; "by_price" is what serves: `models.engagement.policy.nudge` with the budget's price. What each visitor would
bring with a discount and without is known by walking the rest of the visit many times. "parts" are the shares of eight parts
of the day in what is spent; "most_uneven" is the largest distance from an eighth, relative to it. Prints one JSON object, and
exits 1 where by price does not surely earn more, overspends, or spends unevenly: by more than 20 %.
"""

import argparse
import json
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from scipy.stats import t

from benchmarks import uplift
from benchmarks.uplift import N_TIMES, OFFER, PRICES, SILENT_S, World
from models.arrays import Floats, Floats32, Ints
from models.engagement import formula
from models.engagement import policy as signal_policy
from models.engagement.aims import AIM_CODES
from models.engagement.pacing import MOST_BIDS, Bid, Pace, allowed_cents
from models.engagement.policy import NEWCOMER, Moment
from models.engagement.signals import Offer, Shelf
from models.engagement.silence import Left, Silence
from models.experiments.targeting import Targeting, targeting
from models.features import sessions
from models.schema import DAY_US, SIGNAL_TYPES
from models.weight_profile import base_weights

N_DAYS: Final = 3
N_PARTS: Final = 8
SWING: Final = 0.6  # of the visitors' number over the day, around its mean
MOST_UNEVEN: Final = 0.2


class Visitors(NamedTuple):
    """Visitors with a cart left lying, in the order in which they come; all arrays have one row for each.

    Attributes
    ----------
    at_us
        When the moment is.
    features
        Of the session, as of it.
    cents
        Value of the cart, hundredths.
    carts
        What lies in it.
    effect
        Money that a discount adds.
    """

    at_us: Ints
    features: Floats32
    cents: Ints
    carts: list[list[str]]
    effect: Floats


def visitors_of(world: World, rng: np.random.Generator) -> Visitors:
    """Those who come over the days, and what a discount would do."""
    found = world.visits(rng)
    n = len(found.at.visits)
    nothing, offer = (np.full(n, SIGNAL_TYPES.index(name)) for name in ("no_action", OFFER))
    without, with_it = (world.earned(found, one, N_TIMES, rng).mean(axis=1) for one in (nothing, offer))
    lines = [found.at.carts[k][: found.at.visits["n_cart"][k]] for k in range(n)]
    cents = np.array([round(float(world.shop.catalogue.price[one].sum()) * 100) for one in lines])
    features = np.stack([sessions.as_of(row, SILENT_S) for row in uplift.features_of(found)])
    day = world.config.start_us // DAY_US + 1
    carts = [[f"i{item}" for item in one] for one in lines]
    return Visitors(np.sort(_instants(n, rng)) + day * DAY_US, features, cents, carts, with_it - without)


def _instants(n: int, rng: np.random.Generator) -> Ints:
    """Instants of visits within the days, in microseconds: most in the evening, fewest in the morning."""
    found = np.zeros(0, np.int64)
    while len(found) < n:
        at = rng.integers(0, N_DAYS * DAY_US, n)
        rate = 1.0 - SWING * np.sin(2 * np.pi * at / DAY_US)
        found = np.concatenate((found, at[rng.random(n) * (1.0 + SWING) < rate]))
    return found[:n]


def spent(visitors: Visitors, aim: Targeting, budget_cents: int, by_price: bool) -> Ints:
    """What each visitor is promised, hundredths, shape (n_visitors,); 0: nothing is sent."""
    policy, promised = uplift.policy_of(0.0), np.zeros(len(visitors.at_us), np.int64)
    today, day, bids = 0, -1, deque[Bid](maxlen=MOST_BIDS)
    for k, at_us in enumerate(visitors.at_us.tolist()):
        today, day = (today if at_us // DAY_US == day else 0), at_us // DAY_US
        left = allowed_cents(budget_cents, at_us) - today
        offer = Offer("ten", int(visitors.cents[k]), percent=100 * PRICES.discount_rate, left_cents=left)
        shelf = Shelf(cart_ids=visitors.carts[k], offers=(offer,), cart_cents=int(visitors.cents[k]))
        row = visitors.features[k]
        pace = Pace(lambda: bids, budget_cents, today, at_us) if by_price else None
        nudge = signal_policy.nudge(
            formula.score(formula.immediate(row, base_weights()), 0.0), None, row, shelf, policy, NEWCOMER,
            Moment("shop", f"v{k}", at_us, 0), Silence(SILENT_S, Left("cart", visitors.carts[k])), {OFFER: aim}, pace=pace,
        )  # fmt: skip
        if nudge.bid is not None:
            bids.append(nudge.bid)
        if nudge.signal["type"] == OFFER:
            promised[k] = round(nudge.signal["payload"]["amount"] * 100)
            today += int(promised[k])
    return promised


def wanted(visitors: Visitors, aim: Targeting) -> Ints:
    """What all whom it is estimated to be worth would be promised, shape (n_visitors,)."""
    return spent(visitors, aim, 10**12, by_price=False)


def measure(seed: int, n_visitors: int, share: float) -> dict[str, Any]:
    """One shop: money earned per 100 of the budget, both ways."""
    world, rng = uplift.world_of(seed, n_visitors, waste=False), np.random.default_rng([seed, 3])
    aim = targeting(uplift.trial_of(world, rng), AIM_CODES)
    visitors = visitors_of(world, rng)
    budget = int(share * wanted(visitors, aim).sum() / N_DAYS)
    told: dict[str, Any] = {"seed": seed, "verdict": aim.verdict, "n": len(visitors.at_us), "budget_of_a_day": budget / 100}
    for name, by_price in (("first_come", False), ("by_price", True)):
        promised = spent(visitors, aim, budget, by_price)
        told[name] = _judged(visitors, promised, budget)
    return told


def _judged(visitors: Visitors, promised: Ints, budget: int) -> dict[str, Any]:
    day = visitors.at_us // DAY_US
    by_day = np.bincount(day - day.min(), weights=promised, minlength=N_DAYS)
    in_part = np.bincount(visitors.at_us % DAY_US * N_PARTS // DAY_US, weights=promised, minlength=N_PARTS)
    parts = in_part / in_part.sum()
    return {
        "earned": round(float(visitors.effect[promised > 0].sum()), 2),
        "earned_per_100": round(float(visitors.effect[promised > 0].sum()) / (budget * N_DAYS / 1e4), 2),
        "n_sent": int((promised > 0).sum()),
        "spent_of_budget": np.round(by_day / budget, 3).tolist(),
        "parts": np.round(parts, 3).tolist(),
        "most_uneven": round(float(np.abs(parts * N_PARTS - 1).max()), 3),
    }


def summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all shops say together; the interval of 95 % is over shops (Student's t)."""
    first, priced = ([run[name] for run in runs] for name in ("first_come", "by_price"))
    gain = np.array([b["earned_per_100"] - a["earned_per_100"] for a, b in zip(first, priced, strict=True)])
    margin = float(t.ppf(0.975, len(gain) - 1) * gain.std(ddof=1)) / len(gain) ** 0.5 if len(gain) > 1 else float("inf")
    most_spent = max(max(one["spent_of_budget"]) for one in priced)
    uneven = max(one["most_uneven"] for one in priced)
    surely = float(gain.mean()) - margin > 0
    return {
        "holds": bool(surely and most_spent <= 1.0 and uneven <= MOST_UNEVEN),
        "earned_per_100": {
            "first_come": round(float(np.mean([one["earned_per_100"] for one in first])), 2),
            "by_price": round(float(np.mean([one["earned_per_100"] for one in priced])), 2),
            "gain": [round(float(gain.mean()) + side, 2) for side in (0.0, -margin, margin)],
            "shops_that_gain": int((gain > 0).sum()),
        },
        "most_spent_of_a_days_budget": most_spent,
        "least_spent_of_a_days_budget": min(min(one["spent_of_budget"]) for one in priced),
        "most_uneven": {"first_come": max(one["most_uneven"] for one in first), "by_price": uneven},
    }


def main() -> int:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=3_000)
    parser.add_argument("--visitors", type=int, default=100_000)
    parser.add_argument("--share", type=float, default=0.25)
    given = parser.parse_args()
    runs = [measure(seed, given.visitors, given.share) for seed in range(given.first_seed, given.first_seed + given.seeds)]
    told = summary(runs)
    print(json.dumps({"benchmark": "budget", "share": given.share, "seeds": given.seeds, **told, "runs": runs}, indent=1))
    return 0 if told["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
