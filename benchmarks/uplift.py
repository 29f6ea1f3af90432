"""Does what was learned of discounts earn more than giving them to everybody, or to nobody, and how much of what can be earned?

    python -m benchmarks.uplift [--seeds 20] [--visitors N] [--waste] [--segments] [--blind]

A simulated shop in which a discount makes those buy who came by a search engine or an advertisement, is wasted on those who
came by themselves, and drives away who came by a friend's word; nothing tells the learner that this is what matters. First
the rules alone decide, and a part of the visitors is held out; from what these visitors bring, whom to send a discount is
learned; then that decides about visitors who come later. Features are the session fold's, and who decides is the code that
serves: `models.engagement.policy.nudge` and `models.experiments.targeting.targeting`. What each later visitor would bring
with a discount and without is known by walking the rest of the visit many times. The oracle knows each visitor's kind. With
``--waste`` discounts have no effect at all. With ``--segments`` the kind does not show in how a visitor came, but in the
segment that the shop names; with ``--segments --blind`` nobody is told it. Prints one JSON object.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np

from benchmarks.crossroads import Prices, Reached, reached, revenues
from models.arrays import Flags, Floats, Floats32, Ints
from models.engagement import formula
from models.engagement import policy as signal_policy
from models.engagement.aims import AIM_CODES, NO_AIMS
from models.engagement.policy import NEWCOMER, Moment, Nudge, SignalPolicy
from models.engagement.signals import Offer, Shelf, SignalThresholds
from models.engagement.silence import Left, Silence
from models.events.encode import EVENT_DTYPE
from models.experiments.targeting import Targeting, Trial, targeting
from models.features import sessions
from models.schema import MEASURES, N_INTENTS, REFERRERS, SIGNAL_TYPES
from models.simulator import Shop, ShopConfig, behaviour, open_shop
from models.visitor_groups import NO_GROUPS, Groups, beside
from models.weight_profile import base_weights

OFFER: Final = "offer_discount"
HOLDOUT: Final = 0.3
FIRST_SEED: Final = 1_000  # others were looked at while the learner was built
SILENT_S: Final = 300.0  # the cart has been left lying for so long
N_EVENTS: Final = 4
N_TIMES: Final = 10  # so often is the rest of a visit walked
PRICES: Final = Prices()
# Log odds of a purchase under a discount, times the visitor's price sensitivity, by kind.
EFFECTS: Final = {"helped": 3.0, "wasted": 0.0, "hurt": -3.0}
KINDS: Final = tuple(EFFECTS)
_HELPED: Final = [REFERRERS.index(name) for name in ("search", "ad")]
_HURT: Final = REFERRERS.index("social")


class Later(NamedTuple):
    """Visitors of whom it is known what they would bring; all arrays have one row per visitor.

    Attributes
    ----------
    without, effect
        Money without a discount, and what it adds.
    kind
        Place in `KINDS`, which nobody but the oracle knows.
    sent
        Whether what was learned sends it.
    """

    without: Floats
    effect: Floats
    kind: Ints
    sent: Flags


class World(NamedTuple):
    """One shop, as each kind of visitor meets it."""

    config: ShopConfig
    shop: Shop
    of_kind: tuple[Shop, ...]
    by_segment: bool = False
    is_told: bool = True

    def visits(self, rng: np.random.Generator) -> Reached:
        """Visits at their moment, one of each visitor who comes to it."""
        users = np.arange(self.config.n_users)
        return reached(self.shop, users, np.full(len(users), self.config.start_us), N_EVENTS, rng)

    def earned(self, found: Reached, signals: Ints, n_times: int, rng: np.random.Generator) -> Floats:
        """Money of the rest of each visit, shape (n_visits, n_times)."""
        kind, paid = self.kinds_of(found), np.zeros((len(signals), n_times))
        for k, shop in enumerate(self.of_kind):
            rows = np.flatnonzero(kind == k)
            paid[rows] = revenues(shop, found.at.where(rows), signals[rows], n_times, rng)
        return PRICES.earned(paid, signals)

    def kinds_of(self, found: Reached) -> Ints:
        """Kind of each visitor, place in `KINDS`."""
        if self.by_segment:
            segments: Ints = found.at.visits["user"] % len(KINDS)
            return segments
        came_by = found.at.visits["referrer"]
        kinds: Ints = np.where(np.isin(came_by, _HELPED), 0, np.where(came_by == _HURT, 2, 1))
        return kinds

    def groups_of(self, found: Reached) -> list[Groups]:
        """What the shop tells of each visitor: the segment, where that is the kind."""
        if not (self.by_segment and self.is_told):
            return [NO_GROUPS] * len(found.at.visits)
        return [(f"segment {kind}", None, None) for kind in self.kinds_of(found).tolist()]


def world_of(seed: int, n_users: int, waste: bool, by_segment: bool = False, is_told: bool = True) -> World:
    """A shop, and what a discount does in it."""
    config = ShopConfig(n_users=n_users, seed=seed)
    shop = open_shop(config, np.random.default_rng([seed, 1]))
    met = []
    for effect in EFFECTS.values():
        rows = list(config.causes.signal)
        rows[SIGNAL_TYPES.index(OFFER)] = (0.0 if waste else effect,) * N_INTENTS
        behaves = behaviour.tables(replace(config, causes=replace(config.causes, signal=tuple(rows))))
        met.append(shop._replace(behaviour=behaves))
    return World(config, shop, tuple(met), by_segment, is_told)


def features_of(found: Reached) -> Floats32:
    """Features of the session at each moment, shape (n_visits, n_session_features)."""
    rows, lengths = found.rows, np.diff(found.first)
    events = np.zeros(len(rows), dtype=EVENT_DTYPE)
    events["occurred_at_us"] = rows["at_us"]
    for name in ("item", "category", "event_type", *MEASURES):
        events[name] = rows[name]
    for name in ("device", "referrer"):
        events[name] = np.repeat(found.at.visits[name], lengths)
    starts = np.zeros(len(rows), dtype=bool)
    starts[found.first[:-1]] = True
    folded: Floats32 = sessions.fold(events, starts)[found.first[1:] - 1]
    return folded


def decided(world: World, found: Reached, policy: SignalPolicy, aims: Mapping[str, Targeting]) -> list[Nudge]:
    """Nudge of each visit at its moment: the code that serves, with one discount on carts that were left lying."""
    features, prices, at = features_of(found), world.shop.catalogue.price, found.at
    groups = world.groups_of(found)
    told = []
    for k, row in enumerate(features):
        cart = at.carts[k][: at.visits["n_cart"][k]]
        cents = round(float(prices[cart].sum()) * 100)
        ids = [f"i{item}" for item in cart]
        shelf = Shelf(cart_ids=ids, offers=(Offer("ten", cents, percent=100 * PRICES.discount_rate),), cart_cents=cents)
        silent = Silence(SILENT_S, Left("cart", ids))
        moment = Moment("shop", f"v{k}", int(at.visits["at_us"][k]) + int(SILENT_S * 1e6), 0, groups[k])
        score = formula.score(formula.immediate(row, base_weights()), 0.0)
        told.append(
            signal_policy.nudge(score, None, sessions.as_of(row, SILENT_S), shelf, policy, NEWCOMER, moment, silent, aims)
        )
    return told


def policy_of(holdout_share: float) -> SignalPolicy:
    """Discounts for every cart that was left lying, but for the hold-out group."""
    return SignalPolicy(SignalThresholds(min_score_discount=0.0), signal_types=(OFFER,), holdout_share=holdout_share)


def trial_of(world: World, rng: np.random.Generator) -> Trial:
    """What the rules and chance made of the first visitors, and what these brought."""
    found = world.visits(rng)
    deals = [one.deals[0] for one in decided(world, found, policy_of(HOLDOUT), NO_AIMS)]
    sent, held = (np.array([one.arm == arm for one in deals]) for arm in ("sent", "held"))
    money = world.earned(found, np.where(sent, SIGNAL_TYPES.index(OFFER), 0), 1, rng)[:, 0]
    features, groups = beside(np.stack([one.features for one in deals]), [one.groups for one in deals])
    p_sent, p_held = np.array([one.p_sent for one in deals]), np.array([one.p_held for one in deals])
    return Trial(features, money, sent, held, p_sent, p_held, groups)


def later_of(world: World, aim: Targeting, rng: np.random.Generator) -> Later:
    """What was learned, decided about visitors who come later."""
    found = world.visits(rng)
    sent = np.array([one.signal["type"] == OFFER for one in decided(world, found, policy_of(0.0), {OFFER: aim})])
    nothing, offer = (np.full(len(sent), SIGNAL_TYPES.index(name)) for name in ("no_action", OFFER))
    without, with_it = (world.earned(found, one, N_TIMES, rng).mean(axis=1) for one in (nothing, offer))
    return Later(without, with_it - without, world.kinds_of(found), sent)


def measure(seed: int, n_visitors: int, waste: bool = False, by_segment: bool = False, is_told: bool = True) -> dict[str, Any]:
    """One shop: money per visitor who comes to the moment, above that of a shop without discounts."""
    world, rng = world_of(seed, n_visitors, waste, by_segment, is_told), np.random.default_rng([seed, 2])
    aim = targeting(trial_of(world, rng), AIM_CODES)
    later = later_of(world, aim, rng)
    best = (later.kind == KINDS.index("helped")) & (not waste)
    earned = {
        "oracle": float((later.effect * best).mean()),
        "everybody": float(later.effect.mean()),
        "nobody": 0.0,
        "chosen": float((later.effect * later.sent).mean()),
    }
    return {
        "seed": seed,
        "verdict": aim.verdict,
        "sentence": aim.sentence,
        "n_decided": len(later.effect),
        "share_sent": round(float(later.sent.mean()), 3),
        "share_sent_by_kind": {name: _mean(later.sent[later.kind == k]) for k, name in enumerate(KINDS)},
        "earned": {name: round(value, 3) for name, value in earned.items()},
        "of_oracle": None if waste else round(earned["chosen"] / earned["oracle"], 3),
        "qini": aim.coefficient,
    }


def _mean(values: Flags) -> float | None:
    return round(float(values.mean()), 3) if len(values) else None


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--visitors", type=int, default=100_000)
    for name in ("waste", "segments", "blind"):
        parser.add_argument(f"--{name}", action="store_true")
    given = parser.parse_args()
    world = given.waste, given.segments, not given.blind
    runs = [measure(seed, given.visitors, *world) for seed in range(FIRST_SEED, FIRST_SEED + given.seeds)]
    shares = [run["of_oracle"] for run in runs if run["of_oracle"] is not None]
    above = [run["earned"]["chosen"] > max(run["earned"]["everybody"], 0.0) for run in runs]
    told = {
        "verdicts": {name: sum(run["verdict"] == name for run in runs) for name in {run["verdict"] for run in runs}},
        "of_oracle": {"worst": min(shares), "median": float(np.median(shares))} if shares else None,
        "at_least_0.8": sum(share >= 0.8 for share in shares),
        "above_everybody_and_nobody": sum(above),
    }
    print(
        json.dumps(
            {
                "benchmark": "uplift",
                "waste": given.waste,
                "segments": given.segments,
                "blind": given.blind,
                "seeds": given.seeds,
                **told,
                "runs": runs,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
