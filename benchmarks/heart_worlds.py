"""The heart in simulated worlds, where the truth is known. Prints one JSON object.

    python -m benchmarks.heart_worlds [--users 3000] [--days 14] [--seeds 1 2] [--visitors 1500] [--only dense closed_loop]

- ``dense``: 300 items and hundreds of events on each; learned lists against static ones, and what intent adds, as
  `benchmarks.heart` has it;
- ``true_intent``: the same shop with the latent intent told instead of inferred: the ceiling of what intent adds;
- ``no_influence``: a shop in which intent changes what visitors do, but neither what goes with an item nor who buys: what
  intent adds must be no difference;
- ``closed_loop``: fresh visitors of the dense shop, asked by the served function under the dynamic and the static variant.

In the closed loop history and intent matter by construction. A visitor walks as the simulator has it and wants one item: in
half of the sessions after the first one of those met in earlier sessions, else one that the true associations of her intent
lead to from the item in mind. Whenever she has an item in mind she is shown ten items, looks at place k with probability 1 /
log2(k + 1), and buys the wanted one with probability `P_BUY` where she sees it; it then is in her session, in her history and
in mind. Told are the revenues per visitor of both variants and their difference, the same visitors with the same luck, with
its bootstrap interval over visitors.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np

from benchmarks import heart
from benchmarks.typed_log import Log, as_log
from models.arrays import Floats
from models.associations import from_log as log_associations
from models.events.encode import EventArray
from models.events.touches import history_of
from models.features import sessions
from models.inference import examples
from models.item_ranking import Asked
from models.known import Known
from models.live_session import cut
from models.model_set import ModelSet
from models.questions.later import Later
from models.recommend import Who, recommend
from models.schema import DAY_US, INTENTS, N_INTENTS, N_RECENT_EVENTS, EventType
from models.simulator import ShopConfig, Visit, open_shop, simulate
from models.simulator.catalogue import category_names, item_ids
from models.simulator.records import new_state
from models.simulator.response import p_next_item
from models.simulator.simulation import Shop
from models.statistics import bootstrap

SHOWN: Final = 10
P_BUY: Final = 0.5
PARAMS: Final = replace(heart.PARAMS, at_most=2_500, l2_base=(0.003,), l2_slopes=(None, 0.03), n_steps=60)
N_SESSIONS: Final = 4
LONGEST: Final = 25  # events of a session
VARIANTS: Final = ("dynamic", "static")
PARTS: Final = ("dense", "true_intent", "no_influence", "closed_loop")


def shop(config: ShopConfig) -> tuple[Log, Floats]:
    """A simulated log, and the latent intent at each event, shape (n_events, n_intents)."""
    world = simulate(config)
    frame = sessions.sessionize(world.events)
    latent = world.truth.set_index("event_id")["intent"].loc[frame["event_id"].to_numpy()]
    return as_log(frame), np.eye(N_INTENTS)[[INTENTS.index(name) for name in latent]]


def models_of(log: Log) -> ModelSet:
    """What a shop would serve: learned as `benchmarks.heart` does, associations then of the whole log."""
    model = heart.inferred(log)
    p_intent = model.predict(sessions.fold(log.events, log.starts))
    early = log.started_us < np.quantile(log.started_us, heart.LATER)
    texts, names = [str(item) for item in log.item_ids], [str(category) for category in log.categories]
    whole = examples.Log(log.events, log.starts, log.started_us, log.user, texts, None, names)
    first = ModelSet(associations=log_associations.built(whole.only(early), {}))
    learned = heart.learn(first, Later(whole.only(~early), p_intent[~early], whole), PARAMS)
    return ModelSet(associations=log_associations.built(whole, {}), intent=model, weights=learned)


class Loop(NamedTuple):
    """A world in which lists are shown, and what is shown there."""

    config: ShopConfig
    shop: Shop
    models: ModelSet
    ids: list[str]
    categories: list[str]

    def revenue(self, user: int, variant: str) -> float:
        """What one visitor spends; the same luck in both variants."""
        rng, spent = np.random.default_rng([self.config.seed, user]), 0.0
        past: list[tuple[int, int, int]] = []  # item, type, instant; newest first
        state = new_state()
        for nth in range(N_SESSIONS):
            visit = Visit(self.shop, user, self.config.end_us + nth * DAY_US, rng, state)
            spent += self._session(visit, past, variant, np.random.default_rng([self.config.seed, user, nth]))
        return spent

    def _session(self, visit: Visit, past: list[tuple[int, int, int]], variant: str, rng: np.random.Generator) -> float:
        events, spent, wanted = np.zeros(0, self._empty(visit).dtype), 0.0, -1
        met = sorted({item for item, _, _ in past})
        if met and rng.random() < 0.5:
            wanted = int(rng.choice(met))
        while not visit.ended and len(events) < LONGEST:
            events = np.concatenate((events, visit.event_array(visit.advance(1))))
            if visit.item < 0:
                continue
            if wanted < 0:
                liked = self.shop.visitors.favourites[visit.user]
                chances = p_next_item(self.config, self.shop.catalogue, visit.item, visit.intent, liked)
                wanted = int(rng.choice(len(chances), p=chances))
            luck = rng.random(2)
            if wanted == visit.item or luck[1] >= P_BUY:
                continue
            if luck[0] < self._seen(events, past, wanted, variant, visit.user):
                events = np.concatenate((events, self._bought(events, wanted)))
                spent += float(self.shop.catalogue.price[wanted])
                visit.state.visit[0]["item"], wanted = wanted, -1
        kept = [(int(e["item"]), int(e["event_type"]), int(e["occurred_at_us"])) for e in events[::-1] if e["item"] >= 0]
        past[:0] = list({one[:2]: one for one in reversed(kept)}.values())[::-1]
        del past[N_RECENT_EVENTS:]
        return spent

    def _empty(self, visit: Visit) -> EventArray:
        return visit.event_array(visit.advance(0))

    def _seen(self, events: EventArray, past: list[tuple[int, int, int]], wanted: int, variant: str, user: int) -> float:
        """Probability that an item of the list that is served is looked at."""
        columns = [list(column) for column in zip(*past, strict=True)] or [[], [], []]
        history = history_of([self.ids[item] for item in columns[0]], columns[1], columns[2])
        session = cut(events, self.ids, self.categories)
        told = recommend(
            Asked(limit=SHOWN), session, self.models, Known(history=history), Who(str(user), "d"),
            int(events["occurred_at_us"][-1]), variant=variant,
        )  # fmt: skip
        shown = told.ranking.item_ids
        return 1.0 / np.log2(shown.index(self.ids[wanted]) + 2.0) if self.ids[wanted] in shown else 0.0

    @staticmethod
    def _bought(events: EventArray, item: int) -> EventArray:
        one = events[-1:].copy()
        one["item"], one["event_type"] = item, EventType.PURCHASE
        return one


def closed_loop(log: Log, config: ShopConfig, n_visitors: int) -> dict[str, Any]:
    """Revenue per visitor of both variants, and the difference."""
    world = replace(config, n_users=n_visitors, seed=config.seed + 1000)
    opened = open_shop(world, np.random.default_rng(world.seed))
    loop = Loop(world, opened, models_of(log), item_ids(config.n_items).tolist(), category_names(config.n_categories).tolist())
    spent = np.array([[loop.revenue(user, variant) for variant in VARIANTS] for user in range(n_visitors)])
    draws = bootstrap.draw(np.arange(n_visitors), np.random.default_rng(0))
    gain = bootstrap.mean_intervals((spent[:, 0] - spent[:, 1])[:, None], draws)[0]
    means = {name: round(float(mean), 3) for name, mean in zip(VARIANTS, spent.mean(axis=0), strict=True)}
    return {
        "visitors": n_visitors,
        **means,
        "difference": bootstrap.as_json(gain),
        "better": bootstrap.verdict(gain, *VARIANTS),
    }


def no_influence(config: ShopConfig, n_prefixes: int) -> dict[str, Any]:
    """The tables of a shop in which intent has no influence."""
    still, _ = shop(replace(config, intent_has_influence=False))
    return heart.measure(still, n_prefixes, params=PARAMS)


def world(config: ShopConfig, n_prefixes: int, n_visitors: int, only: Sequence[str] = PARTS) -> dict[str, Any]:
    """The parts of one seed; each is told on stderr as it ends."""
    log, truth = shop(config)
    ask: dict[str, Callable[[], dict[str, Any]]] = {
        "dense": lambda: heart.measure(log, n_prefixes, params=PARAMS),
        "true_intent": lambda: heart.measure(log, n_prefixes, truth, PARAMS),
        "no_influence": lambda: no_influence(config, n_prefixes),
        "closed_loop": lambda: closed_loop(log, config, n_visitors),
    }
    found: dict[str, Any] = {"seed": config.seed, "n_events": len(log.events)}
    for name in only:
        began = time.perf_counter()
        found[name] = ask[name]() | {"seconds": round(time.perf_counter() - began, 1)}
        sys.stderr.write(f"seed {config.seed}, {name}: {found[name]['seconds']} s\n")
    return found


def main(arguments: list[str] | None = None) -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=3000)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--prefixes", type=int, default=10_000)
    parser.add_argument("--visitors", type=int, default=1500)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    given = parser.parse_args(arguments)
    shops = (ShopConfig(given.users, given.days, seed, n_items=given.items) for seed in given.seeds)
    runs = [world(one, given.prefixes, given.visitors, given.only) for one in shops]
    print(json.dumps({"benchmark": "heart_worlds", "measure": "ndcg_20", "runs": runs}))


if __name__ == "__main__":
    main()
