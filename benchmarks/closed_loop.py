"""Does a shop earn more with signals than without, and more with what was learned of their effect than by the rules alone?

    python -m benchmarks.closed_loop [--seeds 3] [--learn N] [--judge N] [--first-seed S] [--products]

A simulated shop with margins, and with costs of discounts, of help by a person, and of each message. Models are fitted to a
log of it. Then its visitors are sent signals by the rules, but for a hold-out group; from what each of them brought, once, is
learned for whom each kind of signal is worth it. At last other visitors are watched event by event: `models.assess.assess`
and `models.engagement.policy.nudge` say when the first signal would be sent by the rules, and by what was learned, and the
rest of the visit is walked many times with it and without. With ``--products`` the rules recommend products, too, which is
then often the first signal, in place of a later reminder. Money is per visitor; intervals are of 95 %, over visitors. Prints
one JSON object.
"""

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from benchmarks.crossroads import Prices, revenues, standing
from benchmarks.first_visits import examples_of
from models.arrays import Floats, Floats32, Ints, Records
from models.assess import assess, immediates, next_action_row
from models.associations import from_log as log_associations
from models.engagement import from_log as log_engagement
from models.engagement import policy as signal_policy
from models.engagement.aims import AIM_CODES, NO_AIMS, Deal
from models.engagement.model import EngagementParams, Rows
from models.engagement.policy import NEWCOMER, Moment, Nudge, SignalPolicy
from models.engagement.signals import Offer, Shelf, SignalThresholds
from models.events.encode import EventArray
from models.experiments.targeting import Targeting, Trial, targeting
from models.features import sessions
from models.inference import intent, next_action
from models.inference.examples import ExampleParams
from models.inference.next_action import NextActionParams
from models.known import NOTHING_KNOWN
from models.live_session import cut
from models.model_set import ModelSet, required
from models.schema import SIGNAL_TYPES, EventType
from models.simulator import Shop, ShopConfig, Visit, catalogue, open_shop, simulate
from models.simulator.records import VisitState
from models.weight_profile import HEURISTIC

HOLDOUT: Final = 0.4  # of those from whom is learned
FIRST_SEED: Final = 2_000
MOST_EVENTS: Final = 20  # of a visit, after which no first signal is looked for
N_TIMES: Final = 100
CHUNK: Final = 2_000  # visits at once
PRICES: Final = Prices()
SOMETHING: Final = ("something",)
# A shop whose pages recommend anyway, and which has signals for what costs something: carts at risk get a discount where a
# purchase is not out of the question, else a reminder, and who seems to be stuck gets help.
THRESHOLDS: Final = SignalThresholds(min_score_discount=0.05, min_p_leave=0.05)
KINDS: Final = ("offer_discount", "proactive_support", "start_workflow")
PRODUCTS: Final = ("recommend_product", *KINDS)


class Watched(NamedTuple):
    """One visit without signals: its events, and where it stood after each of them."""

    events: EventArray
    states: Sequence[VisitState]


class Sent(NamedTuple):
    """First signal of a visit, or none: place in `SIGNAL_TYPES`, after which event, and which item is shown."""

    signal: int = 0
    after: int = 0
    offered: int = -1


def fitted(config: ShopConfig, boosting: NextActionParams = next_action.DEFAULT_PARAMS, least_rows: int = 50) -> ModelSet:
    """Models of a log of the shop, of which users and items are not known before."""
    params = ExampleParams()
    log, found = examples_of(simulate(config).events, params)
    split = found.split(params)
    wide, valid = found.next_action_features(), split.valid | split.test
    waits = next_action.Waits.of(found)
    following = next_action.fit(wide, waits, boosting, valid=valid)
    predicted = following.predict(wide)["medium_term"].p_purchase
    seen = Rows(found.session_features, found.purchase[:, 1], valid, found.started_us, predicted)
    earlier = log.before(split.valid_from_us)
    return ModelSet(
        intent=intent.fit(found.session_features, found.p_intent, valid=valid),
        next_action=following,
        associations=log_associations.built(log, {}),
        weights=HEURISTIC,
        engagement=log_engagement.learn(earlier, seen, split.valid_from_us, EngagementParams(least_rows=least_rows)),
    )


def watched(shop: Shop, users: Ints, at_us: int, rng: np.random.Generator) -> Iterator[Watched]:
    """Visits of some visitors, up to a purchase or to `MOST_EVENTS`."""
    for user in users.tolist():
        visit = Visit(shop, user, at_us, rng)
        rows, states = list[Records](), list[VisitState]()
        while not visit.ended and visit.n_purchases == 0 and len(rows) < MOST_EVENTS:
            rows.append(visit.advance(1))
            here, cart, met = visit.state
            states.append(VisitState(here.copy(), cart.copy(), met.copy()))
        told = visit.event_array(np.concatenate(rows))
        yield Watched(told[: len(told) - (told["event_type"][-1] == EventType.PURCHASE)], states)


class Rules:
    """The decision of a moment, in a shop with one offer and an article."""

    def __init__(self, shop: Shop, policy: SignalPolicy, aims: Mapping[str, Targeting]) -> None:
        self._prices = shop.catalogue.price
        self._policy = policy
        self._aims = aims

    def nudge(
        self, who: str, state: VisitState, at_us: int, said: tuple[float, Floats, Floats32, Floats], products: Sequence[str]
    ) -> Nudge:
        """Nudge after an event.

        Parameters
        ----------
        said
            Score, P(next action), features of the session and P(intent).
        """
        score, p_next, features, p_intent = said
        cart = state.cart[: int(state.visit["n_cart"][0])]
        cents = round(float(self._prices[cart].sum()) * 100)
        offers = (Offer("ten", cents, percent=100 * PRICES.discount_rate),) if len(cart) else ()
        ids = [f"i{item}" for item in cart]
        shelf = Shelf(products, SOMETHING, ids, offers, cents if len(cart) else None)
        moment = Moment("shop", who, at_us, 0)
        return signal_policy.nudge(
            score, p_next, features, shelf, self._policy, NEWCOMER, moment, aims=self._aims, p_intent=p_intent
        )


def learned(models: ModelSet, config: ShopConfig, kinds: Sequence[str] = KINDS) -> dict[str, Targeting]:
    """What hold-outs of the rules tell of each kind of signal; features of many visits at once."""
    rng = np.random.default_rng([config.seed, 2])
    shop = open_shop(config, rng)
    rules = Rules(shop, SignalPolicy(THRESHOLDS, tuple(kinds), holdout_share=HOLDOUT), NO_AIMS)
    texts = catalogue.item_ids(config.n_items), catalogue.category_names(config.n_categories)
    place = {text: k for k, text in enumerate(texts[0])}
    deals: dict[str, list[Deal]] = defaultdict(list)
    money: dict[str, list[Floats]] = defaultdict(list)
    for first in range(0, config.n_users, CHUNK):
        users = np.arange(first, min(first + CHUNK, config.n_users))
        visits = list(watched(shop, users, config.start_us, rng))
        said = _said(models, visits)
        called: list[tuple[Deal, VisitState, int]] = []
        at = 0
        for user, visit in zip(users.tolist(), visits, strict=True):
            for k in range(len(visit.events)):
                values = (float(said[0][at + k]), *(one[at + k] for one in said[1:]))
                now_us = int(visit.events["occurred_at_us"][k])
                found = rules.nudge(f"v{user}", visit.states[k], now_us, values, SOMETHING)
                if found.deals:
                    offered = -1
                    if found.deals[0].kind == "recommend_product":
                        listed = assess(cut(visit.events[: k + 1], *texts), models, NOTHING_KNOWN, None, now_us).product_ids
                        offered = place[listed[0]] if listed else -1
                    called.append((found.deals[0], visit.states[k], offered))
                    break
            at += len(visit.events)
        signals = np.array(
            [SIGNAL_TYPES.index(deal.kind) if deal.arm == "sent" else 0 for deal, _, _ in called], dtype=np.int64
        )
        at_hand, shown = standing([state for _, state, _ in called]), np.array([one for _, _, one in called], dtype=np.int64)
        brought = PRICES.earned(revenues(shop, at_hand, signals, 1, rng, shown), signals)[:, 0]
        for (deal, _, _), value in zip(called, brought, strict=True):
            deals[deal.kind].append(deal)
            money[deal.kind].append(value)
    return {kind: targeting(_trial(told, np.array(money[kind])), AIM_CODES) for kind, told in deals.items()}


def _trial(deals: Sequence[Deal], money: Floats) -> Trial:
    sent, held = (np.array([one.arm == arm for one in deals]) for arm in ("sent", "held"))
    p_sent, p_held = (np.array([getattr(one, name) for one in deals]) for name in ("p_sent", "p_held"))
    return Trial(np.stack([one.features for one in deals]), money, sent, held, p_sent, p_held)


def _said(models: ModelSet, visits: Sequence[Watched]) -> tuple[Floats, Floats, Floats32, Floats]:
    """What the models say after each event of some visits, one visit after the other, as `assess` would."""
    events = np.concatenate([visit.events for visit in visits])
    starts = np.zeros(len(events), dtype=bool)
    starts[np.cumsum([0, *(len(visit.events) for visit in visits)])[:-1]] = True
    features: Floats32 = sessions.fold(events, starts)
    rest = next_action_row(features[0], NOTHING_KNOWN, 0)[features.shape[1] :]
    wide = np.column_stack((features, np.tile(rest, (len(features), 1))))
    p_intent = required(models.intent, "an intent model").predict(features)
    outlook = required(models.next_action, "a next-action model").predict(wide)
    score = required(models.engagement, "an engagement score").score(
        immediates(models, events, features, p_intent), outlook["medium_term"].p_purchase
    )
    return np.asarray(score), outlook["short_term"].p_action, features, p_intent


def judged(
    models: ModelSet, config: ShopConfig, aims: Mapping[str, Targeting], n_times: int = N_TIMES, kinds: Sequence[str] = KINDS
) -> dict[str, Any]:
    """Money per visitor above that without signals, by the rules alone and by what was learned."""
    rng = np.random.default_rng([config.seed, 3])
    shop = open_shop(config, rng)
    policy = SignalPolicy(THRESHOLDS, tuple(kinds), holdout_share=0.0)
    deciders = {"rules": Rules(shop, policy, NO_AIMS), "learned": Rules(shop, policy, aims)}
    texts = catalogue.item_ids(config.n_items), catalogue.category_names(config.n_categories)
    place = {text: k for k, text in enumerate(texts[0])}
    visits = list(watched(shop, np.arange(config.n_users), config.start_us, rng))
    sent: dict[str, list[Sent]] = {name: [Sent()] * len(visits) for name in deciders}
    for user, visit in enumerate(visits):
        left = dict(deciders)
        for k in range(len(visit.events)):
            now_us = int(visit.events["occurred_at_us"][k])
            found = assess(cut(visit.events[: k + 1], *texts), models, NOTHING_KNOWN, None, now_us)
            said = (found.score, found.p_next, found.features, found.p_intent)
            for name, rules in list(left.items()):
                signal = rules.nudge(f"v{user}", visit.states[k], now_us, said, found.product_ids).signal  # type: ignore[arg-type]
                if signal["type"] != "no_action":
                    shown = place[signal["payload"]["item_ids"][0]] if signal["type"] == "recommend_product" else -1
                    sent[name][user] = Sent(SIGNAL_TYPES.index(signal["type"]), k, shown)
                    del left[name]
            if not left:
                break
    gains = {name: _gains(shop, visits, each, n_times, rng) for name, each in sent.items()}
    by_kind = {name: Counter(SIGNAL_TYPES[one.signal] for one in each) for name, each in sent.items()}
    return {
        "visitors": len(visits),
        "above_none": {name: _interval(values) for name, values in gains.items()},
        "learned_above_rules": _interval(gains["learned"] - gains["rules"]),
        "signals": {name: dict(counts) for name, counts in by_kind.items()},
        "by_signal_of_rules": {
            kind: _interval(gains["rules"][[one.signal == SIGNAL_TYPES.index(kind) for one in sent["rules"]]])
            for kind in by_kind["rules"] if kind != "no_action"
        },
    }  # fmt: skip


def _gains(shop: Shop, visits: Sequence[Watched], sent: Sequence[Sent], n_times: int, rng: np.random.Generator) -> Floats:
    """Money that the signal of each visit adds, shape (n_visits,); 0 where there was none."""
    rows = [k for k, one in enumerate(sent) if one.signal]
    found = np.zeros(len(sent))
    if rows:
        at = standing([visits[k].states[sent[k].after] for k in rows])
        signals, offered = (np.array([sent[k][field] for k in rows], dtype=np.int64) for field in (0, 2))
        nothing = np.zeros_like(signals)
        with_it = PRICES.earned(revenues(shop, at, signals, n_times, rng, offered), signals)
        found[rows] = with_it.mean(axis=1) - PRICES.earned(revenues(shop, at, nothing, n_times, rng), nothing).mean(axis=1)
    return found


def _interval(values: Floats) -> dict[str, float]:
    """Mean with 95 %."""
    margin = 1.96 * float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("inf")
    told = {"mean": float(values.mean()), "low": float(values.mean()) - margin, "high": float(values.mean()) + margin}
    return {name: round(value, 4) for name, value in told.items()}


def measure(seed: int, n_learn: int, n_judge: int, kinds: Sequence[str] = KINDS, n_log: int = 4_000) -> dict[str, Any]:
    """One shop, from its log to what signals earn in it."""
    models = fitted(ShopConfig(n_users=n_log, seed=seed))
    aims = learned(models, ShopConfig(n_users=n_learn, seed=seed + 1_000_000), kinds)
    found = judged(models, ShopConfig(n_users=n_judge, seed=seed + 2_000_000), aims, kinds=kinds)
    return {"seed": seed, "aims": {kind: aim.sentence for kind, aim in aims.items()}, **found}


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--learn", type=int, default=60_000)
    parser.add_argument("--judge", type=int, default=5_000)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--products", action="store_true")
    given = parser.parse_args()
    kinds = PRODUCTS if given.products else KINDS
    runs = [measure(seed, given.learn, given.judge, kinds) for seed in range(given.first_seed, given.first_seed + given.seeds)]
    print(json.dumps({"benchmark": "closed_loop", "products": given.products, "runs": runs}, indent=1))


if __name__ == "__main__":
    main()
