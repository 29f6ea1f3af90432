"""Tune: weight profiles learned from the logged sessions, kept as a set that the profile bandit chooses among.

The scaling factors are pulled towards the heuristic table by penalties of several strengths: a cell without data stays where it
was. Nothing is promoted here: as challenger, its profiles are on trial (`flows.trial`), and the gate of the next retraining
judges the set; once it is champion, every profile is an arm, and the bandit finds out.
"""

import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows import trial
from infra import layout, registry
from infra.lock import held
from infra.store.engines import open_store
from infra.store.events import read_events
from models.bandit import profiles
from models.inference import examples, intent
from models.tuning import profiles as profile_tuning

NAME: Final = "profiles"


@flow(name="tune")
def tune_profiles(home: str) -> dict[str, Any]:
    """Make a new set of profiles the challenger, unless one is still on trial: with new ones every week no trial would end.

    Returns
    -------
    As `tune`; ``{"skipped": why}`` where there is nothing to do.
    """
    return learn_profiles(home)


@task(name="learn profiles", cache_policy=NO_CACHE)
def learn_profiles(home: str) -> dict[str, Any]:
    """Learn profiles, where none are on trial and there is something to learn from."""
    on_trial = trial.running(Path(home)).get(NAME)
    if on_trial is not None and not trial.is_over(Path(home), NAME):
        return {"skipped": f"version {on_trial} is still on trial"}
    if "intent" not in registry.champions(Path(home)):
        return {"skipped": "no intent model serves yet"}
    return tune(Path(home))


def tune(home: Path, as_of_us: int | None = None, seed: int = 0) -> dict[str, Any]:
    """Learn profiles from the log up to an instant and keep them as a new version of the model ``profiles``, the challenger.

    Pairs of items are counted on the first sessions, and profiles learned on those after; the champion infers intent.

    Returns
    -------
    ``{"version", "profiles": {name: NDCG@20 on sessions that did not teach}, "n_sessions", "seconds"}``, JSON-able.

    Raises
    ------
    ValueError
        If the log is empty, or no intent model serves.
    """
    began = time.perf_counter()
    with held(home / layout.RETRAIN_LOCK, "tune"):
        with closing(open_store(home)) as store:
            frame = read_events(store, until_us=as_of_us, believed=True)
        if frame.empty:
            raise ValueError("the event log is empty: bring events with attune ingest FILE, or start with attune up")
        champion = registry.champions(home).get("intent")
        if champion is None:
            raise ValueError("no intent model serves yet; train one with: attune retrain")
        model = intent.from_parts(registry.load(home, "intent", champion))
        log, _ = examples.read_log(frame)
        tuned = profile_tuning.tune(log, model, np.random.default_rng(seed))
        lineage = {
            "window": {"as_of_us": as_of_us, "last_seq": int(frame["seq"].max()), "n_events": len(frame)},
            "intent": champion,
            "params": asdict(profile_tuning.PARAMS),
            "seed": seed,
        }
        metrics = {"ndcg_20": tuned.ndcg_20, "n_sessions": tuned.n_sessions}
        version = registry.save(home, NAME, profiles.to_parts(tuned.profiles), lineage, metrics)
        registry.set_alias(home, registry.CHALLENGER, {NAME: version}, action="tune", actor="flow", reason="new candidate")
    seconds = round(time.perf_counter() - began, 1)
    return {"version": version, "profiles": tuned.ndcg_20, "n_sessions": tuned.n_sessions, "seconds": seconds}
