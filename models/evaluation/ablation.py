"""Ablation: which weighting of event types makes the better associations, on one store and the same later prefixes.

purchase_only counts purchases and nothing else; uniform counts every type alike; static has the base weights 1.0 / 0.5 / 0.2;
intent_weighted multiplies them by the heuristic factors, mixed by the inferred intent; learned has a profile that was fitted on
earlier sessions (`models.tuning.learning`). Each arm answers as it would be served: static to the static variant, every other
to the dynamic one, whose weights are moved by the action weights, if the set has any (`models.replay`). own_behind is a
control: the static weights' list, and behind it whatever the visitor met.

Every arm is compared with static on the same prefixes, whole users drawn together. An arm wins on a kind of target if its
interval lies above zero at a level that allows for the number of arms compared (Bonferroni); otherwise there is no difference.
What "no difference" is worth is told beside it: the share of the targets for which anything speaks, and of each arm the
smallest difference that would have been seen in four of five such logs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final, NamedTuple

import numpy as np

from models.arrays import Flags, Floats, Ints
from models.events.encode import NO_CODE
from models.experiments.assignment import DYNAMIC
from models.experiments.assignment import STATIC as STATIC_VARIANT
from models.goal_prior import OWN_BEHIND
from models.model_set import ModelSet
from models.questions import rest_of_session
from models.questions.answers import ranks
from models.questions.later import Later
from models.questions.rest_of_session import MEASURES, TARGETS, Prefixes
from models.replay import replay
from models.schema import EVENT_TYPES, INTENTS, N_EVENT_TYPES, N_INTENTS, EventType
from models.statistics import bootstrap
from models.statistics.bootstrap import NO_DIFFERENCE, Draws
from models.statistics.metrics import Interval
from models.weight_profile import HEURISTIC, STATIC, WeightProfile, profile

REFERENCE: Final = "static"
DECIDES: Final = "ndcg_20"
CONTROLS: Final = ("own_behind",)
POWER: Final = 0.8  # with which the smallest difference would have been seen
COLD_EVENTS: Final = 5  # an item with fewer events in the earlier period is cold
LENGTHS: Final = {"1": (1, 1), "2-4": (2, 4), "5-9": (5, 9), "10+": (10, 10**9)}  # events in the prefix


@dataclass(frozen=True)
class AblationParams:
    """Parameters of an ablation: prefixes asked, and how sure a winner must be."""

    at_most: int = 20_000
    n_draws: int = 500
    level: float = 0.95


def arms(learned: WeightProfile | None = None) -> dict[str, WeightProfile]:
    """The profiles by name; four where nothing was learned."""
    flat = np.ones((N_INTENTS, N_EVENT_TYPES))
    only_purchase = np.zeros(N_EVENT_TYPES)
    only_purchase[EventType.PURCHASE] = 1.0
    found = {
        "purchase_only": profile(only_purchase, flat),
        "uniform": profile(np.ones(N_EVENT_TYPES), flat),
        "static": STATIC,
        "intent_weighted": HEURISTIC,
    }
    found |= {"own_behind": OWN_BEHIND}
    return found if learned is None else {**found, "learned": learned}


def compare(
    models: ModelSet,
    later: Later,
    profiles: Mapping[str, WeightProfile],
    popularity: Ints,
    rng: np.random.Generator,
    params: AblationParams | None = None,
    pairs: Sequence[tuple[str, str]] = (),
    controls: Sequence[str] = (),
    others: Mapping[str, Callable[[Prefixes], Ints]] | None = None,
) -> dict[str, Any]:
    """Ask every prefix of every arm and make the tables of the report, JSON values only.

    Parameters
    ----------
    models
        Built on earlier sessions; their own weights are not asked.
    profiles
        By arm, `REFERENCE` among them.
    popularity
        Earlier events of each item of the log, shape (n_items,).
    pairs
        Arms to compare with each other beside the comparisons with static: (first, second).
    controls
        Arms that are measured but cannot win.
    others
        What else answers, such as the ranker: measured as the arms are, but no weighting, so it cannot win. Given the prefixes
        it returns answers as `Replay.answers` does.

    Returns
    -------
    ``{"n_prefixes", "n_users", "arms", "overall", "pairs", "by_intent", "by_length", "cold_items", "new_items", "by_history",
    "reachable", "lists", "winner", "verdict"}``; `overall` and the slices hold, per kind of target, each arm's measures and its
    difference to static.
    """
    params = params or AblationParams()
    log = later.log
    asked = rest_of_session.prefixes(log.events, log.starts, params.at_most, rng)
    if len(asked.last) == 0:
        return {"n_prefixes": 0, "winner": dict.fromkeys(TARGETS, NO_DIFFERENCE), "verdict": "no prefix could be asked"}
    asks = replay(models, later, asked.first, asked.last)
    lists = {name: asks.answers(arm, STATIC_VARIANT if name == REFERENCE else DYNAMIC) for name, arm in profiles.items()}
    lists |= {name: answer(asked) for name, answer in (others or {}).items()}
    controls = (*controls, *CONTROLS, *(others or ()))
    draws = bootstrap.draw(log.user_codes[asked.last], rng, params.n_draws)
    places = {name: ranks(found[asked.prefix], asked.item) for name, found in lists.items()}
    judge = _Judge(asked, places, draws, params.level, len(set(lists) - {*controls, REFERENCE}))
    every = np.ones(len(asked.item), dtype=np.bool_)
    overall = judge.table(every)
    met, earlier = rest_of_session.met_before(asked, log.events["item"]), asks.met_earlier(asked)
    reachable = asks.reachable(asked)
    by_history = {"met this session": met, "met earlier": earlier & ~met, "never met": ~met & ~earlier}
    winner = {kind: winner_of(overall[kind], controls) for kind in TARGETS}
    return {
        "n_prefixes": len(asked.last),
        "n_users": int(draws.times.shape[1]),
        "arms": {name: _as_json(arm) for name, arm in profiles.items()},
        "overall": overall,
        "pairs": {f"{first} - {second}": judge.pair(first, second) for first, second in pairs},
        "by_intent": {name: judge.table(rows[asked.prefix]) for name, rows in _by_intent(asked, later).items()},
        "by_length": {name: judge.table(rows[asked.prefix]) for name, rows in _by_length(asked).items()},
        "cold_items": judge.table(popularity[asked.item] < COLD_EVENTS),
        "new_items": judge.table(~met),
        "by_history": {name: judge.table(rows) for name, rows in by_history.items()},
        "reachable": {kind: _share(reachable[asked.kind == k]) for k, kind in enumerate(TARGETS)},
        "lists": {name: shown(found, popularity) for name, found in lists.items()},
        "winner": winner,
        "verdict": "; ".join(f"{kind}: {name}" for kind, name in winner.items()),
    }


def _share(flags: Flags) -> float | None:
    return round(float(flags.mean()), 4) if len(flags) else None


class _Judge(NamedTuple):
    """Measures all arms on parts of the same targets."""

    asked: Prefixes
    ranks: Mapping[str, Ints]
    draws: Draws
    level: float
    n_compared: int

    def table(self, targets: Flags) -> dict[str, Any]:
        """Per kind of target and arm: the measures, and the differences to static with their intervals."""
        part = rest_of_session.only(self.asked, targets)
        return {name: self._kind(part, targets, kind) for kind, name in enumerate(TARGETS)}

    def _kind(self, part: Prefixes, targets: Flags, kind: int) -> dict[str, Any]:
        found = {name: rest_of_session.measures(rank[targets], part, kind) for name, rank in self.ranks.items()}
        rows, reference = found[REFERENCE]
        if len(rows) == 0:
            return {"n_prefixes": 0}
        table: dict[str, Any] = {"n_prefixes": len(rows)}
        for name, (_, values) in found.items():
            table[name] = {m: round(float(v), 4) for m, v in zip(MEASURES, values.mean(axis=0), strict=True)}
            if name != REFERENCE:
                gain = bootstrap.mean_intervals(values - reference, self.draws, rows, self.level)
                table[name]["against_static"] = dict(zip(MEASURES, map(bootstrap.as_json, gain), strict=True))
                strict = self._strict(values - reference, rows)
                table[name]["decides"] = bootstrap.as_json(strict)
                table[name]["smallest_seen"] = round(self._smallest(strict), 4)
        return table

    def pair(self, first: str, second: str) -> dict[str, Any]:
        """Per kind of target: first minus second in the deciding measure, and which is better."""
        column, found = MEASURES.index(DECIDES), {}
        for kind, name in enumerate(TARGETS):
            rows, ours = rest_of_session.measures(self.ranks[first], self.asked, kind)
            gain = ours - rest_of_session.measures(self.ranks[second], self.asked, kind)[1]
            if len(rows):
                one = bootstrap.mean_intervals(gain[:, column : column + 1], self.draws, rows, self.level)[0]
                found[name] = {**bootstrap.as_json(one), "better": bootstrap.verdict(one, first, second)}
        return found

    @property
    def _strict_level(self) -> float:
        return 1 - (1 - self.level) / max(self.n_compared, 1)

    def _strict(self, difference: Floats, rows: Ints) -> Interval:
        column = MEASURES.index(DECIDES)
        return bootstrap.mean_intervals(difference[:, column : column + 1], self.draws, rows, self._strict_level)[0]

    def _smallest(self, strict: Interval) -> float:
        """Smallest difference that an interval of this width would have told from zero, with `POWER`; as if it were normal."""
        z, more = NormalDist().inv_cdf((1 + self._strict_level) / 2), NormalDist().inv_cdf(POWER)
        return (strict.high - strict.low) / 2 * (z + more) / z


def winner_of(table: Mapping[str, Any], controls: Sequence[str] = ()) -> str:
    """The arm that wins a kind of target, decided by its strict interval against static.

    Of several arms above static the one with the best mean; static itself if every other arm is below it.

    Examples
    --------
    >>> def arm(ndcg: float, low: float, high: float) -> dict[str, object]:
    ...     return {"ndcg_20": ndcg, "decides": {"low": low, "high": high}}
    >>> static = {"ndcg_20": 0.30}
    >>> winner_of({"n_prefixes": 9, "static": static, "uniform": arm(0.2, -0.2, -0.1), "learned": arm(0.4, 0.05, 0.15)})
    'learned'
    >>> winner_of({"n_prefixes": 9, "static": static, "uniform": arm(0.2, -0.2, -0.1), "learned": arm(0.4, -0.05, 0.25)})
    'no difference'
    """
    others = {
        name: arm for name, arm in table.items() if isinstance(arm, Mapping) and "decides" in arm and name not in controls
    }
    above = [name for name, arm in others.items() if arm["decides"]["low"] > 0]
    if above:
        return max(above, key=lambda name: float(others[name][DECIDES]))
    beaten = bool(others) and all(arm["decides"]["high"] < 0 for arm in others.values())
    return REFERENCE if beaten else NO_DIFFERENCE


def _by_intent(asked: Prefixes, later: Later) -> dict[str, Flags]:
    likely = later.p_intent[asked.last].argmax(axis=1)
    return {name: likely == k for k, name in enumerate(INTENTS)}


def _by_length(asked: Prefixes) -> dict[str, Flags]:
    n = asked.last - asked.first + 1
    return {name: (n >= low) & (n <= high) for name, (low, high) in LENGTHS.items()}


def shown(lists: Ints, popularity: Ints) -> dict[str, float]:
    """Catalogue coverage of an arm, and the popularity of what it shows.

    Parameters
    ----------
    lists
        Item codes, `NO_CODE` for none, shape (n_prefixes, n).
    popularity
        Earlier events of each item, shape (n_items,).

    Returns
    -------
    coverage: share of the items that appear in any list; mean_popularity: mean over the places of the lists of the item's share
    of all events, times the number of items (1 = as popular as the mean item; ARP of Yin et al., 2012, made unitless); gini: of
    how often each item is shown (0 = all alike).

    Examples
    --------
    >>> shown(np.array([[0, 1], [0, -1]]), np.array([6, 2, 0, 0]))
    {'coverage': 0.5, 'mean_popularity': 2.3333, 'gini': 0.5833}
    """
    items, n = lists[lists != NO_CODE], len(popularity)
    if len(items) == 0 or n == 0:
        return {"coverage": 0.0, "mean_popularity": 0.0, "gini": 0.0}
    times = np.sort(np.bincount(items, minlength=n)).astype(np.float64)
    gini = ((2 * np.arange(1, n + 1) - n - 1) @ times) / (n * times.sum())
    mean = popularity[items].mean() / max(float(popularity.mean()), 1e-12)
    return {
        "coverage": round(float((times > 0).mean()), 4),
        "mean_popularity": round(float(mean), 4),
        "gini": round(float(gini), 4),
    }


def _as_json(arm: WeightProfile) -> dict[str, Any]:
    base = {name: round(float(w), 4) for name, w in zip(EVENT_TYPES, arm.base, strict=True)}
    factors = {
        intent: {name: round(float(f), 3) for name, f in zip(EVENT_TYPES, row, strict=True) if f != 1.0}
        for intent, row in zip(INTENTS, arm.factors, strict=True)
    }
    relations = {intent: [round(float(r), 3) for r in row] for intent, row in zip(INTENTS, arm.relations, strict=True)}
    return {"base": base, "factors": factors, "relations": relations}
