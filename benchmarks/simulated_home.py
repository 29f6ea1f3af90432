"""Homes of a simulated shop whose models are trained and serve: what benchmarks of the service, and tests, start from."""

from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.later_rows import later_rows
from infra import registry
from infra.secret import secret
from infra.store.engines import open_store
from infra.store.events import append_events
from infra.store.statements.events import NEWEST_EVENT
from models import weight_profile as weights
from models.arrays import Flags, Floats32
from models.artifact import Golden, flat
from models.associations import model as associations
from models.engagement import from_log as log_engagement
from models.engagement import model as engagement_model
from models.events.encode import encode
from models.events.identity import partner_key, pseudonym
from models.features import items, sessions, users
from models.goal_prior import HEURISTIC_GOALS
from models.inference import intent, labels, next_action
from models.inference.examples import Log
from models.inference.intent import IntentModel
from models.inference.next_action import NextActionModel, NextActionParams, Waits
from models.learners import trees
from models.model_specs import MODEL_NAMES
from models.ranker import from_log as log_ranker
from models.ranker import model as ranker
from models.simulator.config import ShopConfig
from models.simulator.simulation import simulate


def make_champions(home: Path, config: ShopConfig, n_rounds: int = 60, built_to_seq: int = 0) -> dict[str, int]:
    """Train all models on a simulated shop, save them and make them champions.

    The next-action model sees users and items without history: good enough to serve, not to judge.

    Parameters
    ----------
    built_to_seq
        Of the home's log, which events the associations know already.

    Returns
    -------
    Version of each model.
    """
    frame = sessions.sessionize(simulate(config).events)
    events, item_ids, _ = encode(frame)
    starts = sessions.starts(frame)
    features = sessions.fold(events, starts)
    began_us = events["occurred_at_us"][np.flatnonzero(starts)[np.cumsum(starts) - 1]]
    valid = later_rows(began_us, 0.2)
    probabilities = labels.intent_probabilities(events, starts)
    user_codes = np.unique(frame["user_id"].to_numpy(str), return_inverse=True)[1].astype(np.int64)
    unknown = np.tile(np.concatenate((users.NOTHING_YET, items.NOTHING_YET)), (len(events), 1))
    wide = np.hstack((features, unknown)).astype(np.float32)
    at_us = events["occurred_at_us"]
    waits = Waits(*labels.following(events, user_codes), at_us.max() - at_us)
    few = NextActionParams(
        *(
            replace(part, n_rounds=min(part.n_rounds, n_rounds))
            for part in (NextActionParams().action, NextActionParams().purchase)
        )
    )
    models: dict[str, IntentModel | NextActionModel] = {
        "intent": (guess := intent.fit(features, probabilities, trees.BoostParams(n_rounds=n_rounds), valid=valid)),
        "next_action": (foresight := next_action.fit(wide, waits, few, valid=valid)),
    }
    rows = {"intent": features[:4], "next_action": wide[:4]}
    parts = {
        "intent": intent.to_parts(guess),
        "next_action": next_action.to_parts(foresight),
        "associations": associations.to_parts(replace(associations.build(events, starts, item_ids), built_to_seq=built_to_seq)),
        "weights": weights.to_parts(HEURISTIC_GOALS),
        "engagement": engagement_model.to_parts(_engagement(Log(events, starts, began_us, user_codes, []), features, valid)),
        "ranker": ranker.to_parts(log_ranker.fit(Log(events, starts, began_us, user_codes, list(item_ids)))),
    }
    versions = {}
    for name in MODEL_NAMES:
        golden = None
        if name in models:
            golden = Golden(rows[name].tolist(), [flat(models[name].predict_one(row)).tolist() for row in rows[name]])
        versions[name] = registry.save(home, name, parts[name], {}, golden=golden)
    registry.set_alias(home, registry.CHAMPION, versions, action="promote", actor="benchmark", reason="to serve")
    return versions


def make_home(home: Path, config: ShopConfig, partner: str) -> None:
    """Make champions, and the log of a simulated shop with its features online, under the pseudonyms of a partner."""
    from flows.materialize import materialize

    events, key = simulate(config).events, partner_key(secret(home), partner)
    known = {user: pseudonym(key, user) for user in events["user_id"].unique()}
    frame = events.assign(user_id=events["user_id"].map(known))
    with closing(open_store(home, bulk=True)) as store:
        store.write(partial(append_events, frame=frame, partner=partner, received_at_us=config.end_us))
        ((newest,),) = store.read(NEWEST_EVENT)
    make_champions(home, config, built_to_seq=newest)
    materialize(home)


def _engagement(log: Log, features: Floats32, valid: Flags) -> engagement_model.EngagementModel | None:
    bought = labels.purchase_within(log.events, log.user_codes, engagement_model.PARAMS.horizon_s)
    clock_us = int(log.started_us[valid].min())
    return log_engagement.learn(log.before(clock_us), engagement_model.Rows(features, bought, valid, log.started_us), clock_us)
