"""The heart: by how much what the visitor did changes what she is shown for the better. Prints one JSON object.

    python -m benchmarks.heart FILE --format taobao|trivago|rees46|…

Associations and the intent model come from the first 40 % of the time, goal weights from the next 20 %; judged are the last
40 %, the associations then built on the first 60 %. The served function answers (`models.replay`), with the history that was
known at each moment. Differences in NDCG@20 are by kind of target, with intervals by bootstrap over users:

- ``learned``: asked for the kind as its goal, against the static weights;
- ``auto``: one list for all kinds, against the static weights;
- ``intent_adds``: learned, against the same without what intent adds (the slopes of the goal weights set to 0);
- ``exclude_seen``: learned against static where nothing of the session may come back.

With ``--live N`` the same is asked of associations that follow the log, as in a service, kept as they stand every N events, the
weights learned from such answers as well (``live``). There the visitor's own session is among what the associations know, so
that static weights bring back its items too. Without it (``by_goal``) they are those of the build.

``reachable`` is the share of targets for which anything speaks: no weights can find the others. ``ceiling`` is the NDCG@20 of
lists that begin with all that can be reached of what is wanted: what no weights can exceed.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.later_rows import later_rows
from benchmarks.live_views import followed
from benchmarks.typed_log import Log, read
from models.arrays import Flags, Floats, Ints
from models.associations import from_log as log_associations
from models.features import sessions
from models.inference import examples, intent, labels
from models.inference.intent import IntentModel
from models.item_ranking import AUTO, Asked
from models.model_set import ModelSet, required
from models.questions import rest_of_session
from models.questions.answers import LIMIT, ranks
from models.questions.later import Later
from models.questions.rest_of_session import Prefixes
from models.replay import Replay, Views, replay
from models.schema import GOALS
from models.statistics import bootstrap
from models.statistics.bootstrap import Draws
from models.tuning import goal_fit
from models.tuning.goal_fit import GoalParams
from models.weight_profile import STATIC, WeightProfile

EARLY, LATER = 0.4, 0.6  # of the time: what associations, and what weights, are learned from
PARAMS = GoalParams(at_most=6_000, n_others=10_000, l2_base=(0.001, 0.003, 0.01), l2_slopes=(None, 0.1, 0.01), n_steps=150)


class Case(NamedTuple):
    """What is judged: the moments, by which sessions, and their draws of users."""

    asks: Replay
    asked: Prefixes
    draws: Draws

    def gain(self, goal: int, ours: tuple[WeightProfile, str], theirs: tuple[WeightProfile, str]) -> dict[str, Any]:
        """NDCG@20 on one kind of target: ours, theirs and the difference."""
        rows, first = self.measured(goal, *ours)
        _, second = self.measured(goal, *theirs)
        if not len(rows):
            return {"n": 0}
        told = bootstrap.mean_intervals((first - second)[:, None], self.draws, rows)[0]
        return {"n": len(rows), "ours": mean(first), "theirs": mean(second), **bootstrap.as_json(told)}

    def measured(self, goal: int, weights: WeightProfile, wanted: str) -> tuple[Ints, Floats]:
        """Prefixes that want this kind, and NDCG@20 of each."""
        variant = "static" if weights is STATIC else "dynamic"
        wants = np.zeros(len(self.asked.last), np.bool_)
        wants[self.asked.prefix[self.asked.kind == goal]] = True
        lists = np.full((len(wants), LIMIT), -1)
        lists[wants] = self.asks.answers(weights, variant, wants, wanted)
        rows, found = rest_of_session.measures(ranks(lists[self.asked.prefix], self.asked.item), self.asked, goal)
        return rows, found[:, -1]


def ceiling(asked: Prefixes, reachable: Flags, kind: int) -> float:
    """NDCG@20 on one kind of target where every list begins with those of its targets that can be reached.

    Parameters
    ----------
    reachable
        Of each target, shape (n_targets,).

    Examples
    --------
    >>> one = np.zeros(2, dtype=np.int64)
    >>> asked = Prefixes(one, one, one, np.array([0, 0, 1]), np.zeros(3, np.int64), np.array([5, 6, 7]))
    >>> ceiling(asked, np.array([True, False, True]), 0)  # of the first prefix one of two: 1 / (1 + 1 / log2(3))
    0.8066
    """
    found, rank = reachable & (asked.kind == kind), np.zeros(len(asked.item), np.int64)
    nth = np.cumsum(found)
    before = np.concatenate(([0], nth))[np.searchsorted(asked.prefix, asked.prefix)]
    place = (nth - before)[found]
    rank[found] = np.where(place <= LIMIT, place, 0)
    return mean(rest_of_session.measures(rank, asked, kind)[1][:, -1])


def mean(values: Floats) -> float:
    """Mean, four digits."""
    return round(float(values.mean()), 4)


def inferred(log: Log) -> IntentModel:
    """The intent model as the first part of the time teaches it."""
    fit = log.started_us < np.quantile(log.started_us, EARLY)
    weak = labels.intent_probabilities(log.events[fit], log.starts[fit])
    features = sessions.fold(log.events[fit], log.starts[fit])
    return intent.fit(features, weak, valid=later_rows(log.started_us[fit], 0.2))


def measure(
    log: Log, at_most: int, p_intent: Floats | None = None, params: GoalParams = PARAMS, live: int | None = None
) -> dict[str, Any]:  # fmt: skip
    """Learn and judge one log, with the intents inferred, or with those given, shape (n_events, n_intents)."""
    early, later = np.quantile(log.started_us, [EARLY, LATER])
    fit, before = log.started_us < early, log.started_us < later
    if p_intent is None:
        p_intent = inferred(log).predict(sessions.fold(log.events, log.starts))
    texts = [str(item) for item in log.item_ids]
    names = [str(category) for category in log.categories]
    whole = examples.Log(log.events, log.starts, log.started_us, log.user, texts, None, names)

    def part(kept: Flags) -> Later:
        return Later(whole.only(kept), p_intent[kept], whole)

    def built(kept: Flags) -> ModelSet:
        return ModelSet(associations=log_associations.built(whole.only(kept), {}))

    began = time.perf_counter()
    earlier, between, later_part = built(fit), part(before & ~fit), part(~before)
    learned = learn(earlier, between, params)
    seconds = round(time.perf_counter() - began, 1)
    models = built(before)
    found = {**judge(models, later_part, learned, at_most), "learning_seconds": seconds}
    if live is not None:
        learned = learn(earlier, between, params, views_of(earlier, between, live))
        found["live"] = judge(models, later_part, learned, at_most, views_of(models, later_part, live))
    return found


def views_of(models: ModelSet, sessions: Later, every: int) -> Views:
    """The associations as they follow some sessions."""
    return followed(required(models.associations, "associations"), sessions.log, every)


def learn(models: ModelSet, between: Later, params: GoalParams = PARAMS, views: Views | None = None) -> WeightProfile:
    """The static profile with goal weights."""
    rng = np.random.default_rng(0)
    asked = rest_of_session.prefixes(between.log.events, between.log.starts, 30_000, rng)
    asks = replay(models, between, asked.first, asked.last, views=views)
    return STATIC._replace(goals=goal_fit.learn(asks, between, asked, params, rng))


def judge(
    models: ModelSet, later: Later, learned: WeightProfile, at_most: int, views: Views | None = None
) -> dict[str, Any]:  # fmt: skip
    """Tables of the judged part."""
    assert learned.goals is not None
    plain = learned._replace(goals=learned.goals._replace(slopes=np.zeros_like(learned.goals.slopes)))
    rng = np.random.default_rng(1)
    asked = rest_of_session.prefixes(later.log.events, later.log.starts, at_most, rng)
    draws = bootstrap.draw(later.log.user_codes[asked.last], rng)
    moments = models, later, asked.first, asked.last
    case = Case(replay(*moments, views=views), asked, draws)
    unseen = Case(replay(*moments, Asked(limit=LIMIT, exclude_seen=True), views), asked, draws)
    found: dict[str, Any] = {}
    reachable = case.asks.reachable(asked)
    for kind, goal in enumerate(GOALS):
        wants = reachable[asked.kind == kind]
        ours, static = (learned, goal), (STATIC, AUTO)
        found[goal] = {
            "learned": case.gain(kind, ours, static),
            "auto": case.gain(kind, (learned, AUTO), static),
            "intent_adds": case.gain(kind, ours, (plain, goal)),
            "exclude_seen": unseen.gain(kind, ours, static),
            "reachable": round(float(wants.mean()), 4) if len(wants) else None,
            "ceiling": ceiling(asked, reachable, kind) if len(wants) else None,
        }
    return {
        "n_prefixes": len(asked.last),
        "by_goal": found,
        "has_slopes": (learned.goals.slopes != 0).any(axis=(1, 2)).tolist(),
    }


def main(arguments: list[str] | None = None) -> int:
    """Parse the arguments, measure, print; 2 and one line on stderr if the file cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--format", required=True)
    parser.add_argument("--prefixes", type=int, default=20_000)
    parser.add_argument("--live", type=int, metavar="N")
    given = parser.parse_args(arguments)
    try:
        found = measure(read(given.file, given.format), given.prefixes, live=given.live)
    except (OSError, ValueError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    print(json.dumps({"benchmark": "heart", "format": given.format, "measure": "ndcg_20", **found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
