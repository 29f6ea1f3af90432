"""What dealing a profile and putting the decision on record costs a request, in process.

    python -m benchmarks.decision

A challenger is on trial: new weights, and a set of three new profiles. Timed one by one, with the log writing to a store
meanwhile: looking for a newer snapshot, dealing, the decision's context, the record and its hand-over. Beside it the whole
answer to the same request, in the same process. Prints one JSON object.
"""

import asyncio
import gc
import json
import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from benchmarks.serve import bodies
from benchmarks.simulated_home import make_champions
from infra import registry
from infra.settings import Settings
from infra.store.engines import open_store
from models import weight_profile as weights
from models.bandit import arms
from models.bandit import profiles as profiles_model
from models.bandit.profiles import profile_set
from models.events.identity import partner_keys
from models.features import sessions
from models.item_ranking import Asked
from models.known import NOTHING_KNOWN
from models.recommend import Who, context_of, recommend
from models.simulator.config import ShopConfig
from models.weight_profile import HEURISTIC, profile
from services.api import wire
from services.api.app import build_app
from services.api.recommendations import RecommendationHandler, on_record
from services.api.session_data import live_session
from services.http.calls import Call
from services.http.partners import SCOPES, Caller
from services.serving.decision_log import DecisionLog
from services.serving.features import NoFeatures
from services.serving.model_watch import ChampionWatcher
from services.serving.profiles import Profiles
from services.worker.rewards import RewardDuty

N_REQUESTS: Final = 4_000
CALLER: Final = Caller("shop", frozenset(SCOPES), "sk")


def now_us() -> int:
    """The wall clock, microseconds since 1970."""
    return time.time_ns() // 1000


def challenge(home: Path) -> None:
    """Make a challenger of the weights and of the profiles."""
    new = [profile(HEURISTIC.base, HEURISTIC.factors**power) for power in (0.5, 0.8, 1.5, 2.0)]
    tuned = profile_set(("a", "b", "c"), tuple(new[1:]))
    for name, parts in (("weights", weights.to_parts(new[0])), ("profiles", profiles_model.to_parts(tuned))):
        version = registry.save(home, name, parts, {})
        registry.set_alias(home, registry.CHALLENGER, {name: version}, action="train", actor="benchmark", reason="new")


def measure(home: Path, requests: list[bytes]) -> dict[str, Any]:
    """Median and 99th percentile, in microseconds."""
    champions = ChampionWatcher(home)
    champions.refresh()
    challenge(home)
    RewardDuty(home, open_store(home)).step(now_us())
    log, profiles = DecisionLog(home), Profiles(home)
    app = build_app(Settings(home=home), champions=champions, online=NoFeatures())
    shared = replace(app.shared, key=partner_keys(bytes(32)), profiles=profiles, decisions=log)
    handler = RecommendationHandler(shared, random.Random(0))
    whole, overhead = [], []
    with asyncio.Runner() as runner:
        for k in range(N_REQUESTS):
            body = requests[k % len(requests)]
            call = Call(CALLER, body, received_at_us=now_us())
            began = time.perf_counter_ns()
            reply = runner.run(handler.answer(call))
            whole.append(time.perf_counter_ns() - began)
            overhead.append(_alone(body, reply, champions, profiles, log))
    log.close()
    whole_us, own_us = np.array(whole) / 1e3, np.array(overhead) / 1e3
    return {
        "n_requests": N_REQUESTS,
        "n_on_trial": len(profiles.current(champions.current(), now_us() / 1e6).arms.on_trial),
        "overhead_us": {"p50": round(float(np.median(own_us)), 1), "p99": round(float(np.quantile(own_us, 0.99)), 1)},
        "answer_us": {"p50": round(float(np.median(whole_us)), 1), "p99": round(float(np.quantile(whole_us, 0.99)), 1)},
        "share_of_answer": round(float(np.median(own_us) / np.median(whole_us)), 3),
        "within_50_us": bool(np.median(own_us) <= 50),
    }


def _alone(body: bytes, reply: wire.Recommendation, champions: ChampionWatcher, profiles: Profiles, log: DecisionLog) -> int:
    """Nanoseconds of only what a decision adds to an answer, for the same request."""
    request = msgspec.json.decode(body, type=wire.RecommendationRequest)
    at_us = now_us()
    session = live_session(request.session_data, at_us)
    features, models = sessions.features_of(session.events), champions.current()
    asked, who = Asked(request.item_id, request.limit), Who("p", reply.decision_id)
    found = recommend(asked, session, models, NOTHING_KNOWN, who, at_us)
    began = time.perf_counter_ns()
    bandit = profiles.current(models, at_us / 1e6)
    context = context_of(session, features, reply.intent.label, at_us)
    dealt = arms.deal(bandit, context, reply.decision_id)
    log.append(on_record(found._replace(dealt=dealt, context=context), reply, ("shop", "p", None, at_us), 0))
    return time.perf_counter_ns() - began


def main() -> None:
    """Measure, print one JSON object."""
    config = ShopConfig(n_users=400, n_days=4, n_items=500, n_categories=10)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        make_champions(home, config, n_rounds=20)
        requests = bodies(config, 100)
        gc.collect()
        gc.freeze()
        print(json.dumps(measure(home, requests)))


if __name__ == "__main__":
    main()
