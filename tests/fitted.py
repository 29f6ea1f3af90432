"""A small shop with known and unknown visitors, and every model fitted to it before the held-out period."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from models import visitor_groups
from models.associations import from_log as log_associations
from models.engagement import from_log as log_engagement
from models.engagement.model import EngagementParams, Rows
from models.inference import examples, intent, next_action
from models.inference.examples import ExampleParams, Examples, Log
from models.learners.trees import BoostParams
from models.model_set import ModelSet
from models.ranker import from_log as log_ranker
from models.schema import ITEM_FEATURES, LAST_EVENT_AT, USER_FEATURES, EventType
from models.simulator import ShopConfig, simulate
from models.statistics.split import Split
from models.weight_profile import HEURISTIC
from models.weights import actions_from_log

QUICK = BoostParams(n_rounds=4, n_leaves=4)


class Fitted(NamedTuple):
    """Models, the log that they were fitted to, and its rows.

    Attributes
    ----------
    known
        What the feature store told of each row of the log, as `examples.assemble` takes it; all rows are chosen.
    """

    models: ModelSet
    log: Log
    found: Examples
    known: pd.DataFrame
    split: Split


def fit(config: ShopConfig) -> Fitted:
    """Fit all models to a simulated shop; what the feature store knew is made up, and missing for a third of the rows."""
    log, _ = examples.read_log(simulate(config).events)
    rows, known = np.arange(len(log.events)), made_up(log, np.random.default_rng(0))
    found = examples.assemble(log, rows, known)
    split = found.split(ExampleParams())
    learn, valid, from_us = ~split.test, split.valid[~split.test], split.test_from_us
    model = intent.fit(found.session_features[learn], found.p_intent[learn], QUICK, valid=valid)
    waits = next_action.Waits.of(found).where(learn)
    before = log.before(from_us)
    groups = visitor_groups.learned(before.groups, before.user_codes, before.events["event_type"] == EventType.PURCHASE)
    wide = found.next_action_features(groups)
    following = next_action.fit(wide[learn], waits, next_action.NextActionParams(QUICK, QUICK), valid=valid, groups=groups)
    seen = Rows(
        found.session_features[learn], found.purchase[learn, 1], valid, found.started_us[learn],
        following.predict(wide[learn])["medium_term"].p_purchase,
        None if found.groups is None else found.groups.where(learn),
    )  # fmt: skip
    earlier = log.before(split.valid_from_us)
    models = ModelSet(
        intent=model,
        next_action=following,
        associations=log_associations.built(log.before(from_us), {}),
        weights=HEURISTIC,
        ranker=log_ranker.fit(log.before(from_us), model=model, weights=HEURISTIC),
        engagement=log_engagement.learn(earlier, seen, split.valid_from_us, EngagementParams(least_rows=5)),
        actions=actions_from_log.ready_of(log.before(from_us), from_us),
    )
    return Fitted(models, log, found, known, split)


def made_up(log: Log, rng: np.random.Generator) -> pd.DataFrame:
    """User and item features as of each row of a log."""
    n = len(log.events)
    known = pd.DataFrame(
        rng.gamma(1.0, 3.0, (n, len(USER_FEATURES) + len(ITEM_FEATURES))), columns=[*USER_FEATURES, *ITEM_FEATURES]
    )
    known[LAST_EVENT_AT] = (log.events["occurred_at_us"] - rng.integers(0, 10**12, n)).astype(np.float64)
    known.loc[rng.random(n) < 1 / 3, [*USER_FEATURES, LAST_EVENT_AT]] = np.nan
    known.loc[rng.random(n) < 1 / 3, list(ITEM_FEATURES)] = np.nan
    return known
