"""Evaluation of each model: its table in the report, what needs no training beside it, and what is kept with its version."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from models.evaluation import tables
from models.evaluation.held_out import HeldOut
from models.evaluation.predictions import Predictions
from models.model_set import ModelSet

Table = Mapping[str, Any]  # JSON values only


class Judged(NamedTuple):
    """A set of models, and what it said about the held-out period."""

    models: ModelSet
    said: Predictions
    held_out: HeldOut
    rng: np.random.Generator


@dataclass(frozen=True)
class Evaluation:
    """Evaluation of one model, all of it optional.

    Attributes
    ----------
    table
        Its table in the report, asked where the set has the model.
    baselines
        The same of what needs no training.
    metrics
        What is kept with its version, of the tables of its set by model; its own table, if not given.
    """

    table: Callable[[Judged], Table] | None = None
    baselines: Callable[[HeldOut], Table] | None = None
    metrics: Callable[[Mapping[str, Table]], Table] | None = None

    def kept(self, name: str, told: Mapping[str, Table]) -> Table | None:
        """Metrics that are kept with a version of a name; None for a model that is not judged."""
        return self.metrics(told) if self.metrics else told[name] if self.table else None


def _intent(one: Judged) -> Table:
    return tables.intent_tables(one.said.p_intent, one.held_out.examples, one.held_out.rows)


def _next_action(one: Judged) -> Table:
    return tables.next_action_tables(one.models, one.held_out.examples, one.held_out.rows)


def _associations(one: Judged) -> Table:
    return tables.association_tables(one.held_out.later, one.held_out.asked, one.said.ranks, one.rng)


def _engagement(one: Judged) -> Table:
    p = one.said.p_engagement
    return {} if p is None else tables.engagement_table(p, one.held_out.examples, one.held_out.rows)


def _weights_of_items(told: Mapping[str, Table]) -> Table:
    items = told["associations"]
    return {name: items[name] for name in ("dynamic_minus_static_mrr", "better") if name in items}


NOT_JUDGED: Final = Evaluation()
INTENT: Final = Evaluation(_intent, baselines=lambda of: tables.intent_baselines(of.examples, of.rows))
NEXT_ACTION: Final = Evaluation(_next_action, baselines=lambda of: tables.next_action_baseline(of.examples, of.rows))
ASSOCIATIONS: Final = Evaluation(_associations)
ENGAGEMENT: Final = Evaluation(_engagement)
# Weights and ranker are judged by the questions about the next item.
WEIGHTS: Final = Evaluation(metrics=_weights_of_items)
RANKER: Final = Evaluation(metrics=lambda told: told["associations"]["overall"].get("ranker", {}))
