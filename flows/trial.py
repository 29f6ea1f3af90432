"""Trials: new weights and profiles are dealt to few visitors by the bandit until what they earned can judge them.

A challenger of these models is on trial as long as it has the alias; the worker makes it an arm (`models.bandit.arms`). The
gate holds new weights back while their trial says nothing yet, and lets the other models pass without them. A retraining makes
no new weights meanwhile: with new ones every day no trial would come to an end. After `LONGEST_DAYS` without a verdict, weights
are judged by the other rules alone, and profiles, for which nothing else speaks, are withdrawn.

Where no worker deals challengers (`ATTUNE_TRIAL_SHARE` is 0, or there never was one) nothing can be tried and nothing is held
back.
"""

import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from flows import off_policy
from flows.off_policy import PROFILES, WEIGHTS
from infra import registry
from infra.store.engines import open_store
from infra.store.statements.decisions import TRIAL_SHARE
from models.bandit.off_policy import AS_RULE, BETTER, SAME, WORSE
from models.statistics.verdict import FAIL, NOT_ENOUGH

LONGEST_DAYS: Final = 14


def running(home: Path) -> dict[str, int]:
    """Version of each model that is on trial."""
    with closing(open_store(home)) as store:
        share = store.read(TRIAL_SHARE)
    if not (share and share[0][0]):
        return {}
    return {
        name: version for name, version in registry.aliased(home, registry.CHALLENGER).items() if name in (WEIGHTS, PROFILES)
    }


def is_over(home: Path, name: str, now_us: int | None = None) -> bool:
    """Whether a trial has lasted as long as any may."""
    since_us = registry.aliased_at_us(home, name, registry.CHALLENGER)
    now_us = time.time_ns() // 1000 if now_us is None else now_us
    return since_us is None or now_us - since_us > LONGEST_DAYS * 86_400_000_000


def held_back(home: Path, versions: Mapping[str, int], found: Mapping[str, Any], now_us: int | None = None) -> dict[str, str]:
    """Models that must not become champion yet, and why.

    Parameters
    ----------
    versions
        The candidate.
    found
        `flows.off_policy.verdict` about it.
    """
    tried = running(home).get(WEIGHTS)
    if tried is None or tried != versions.get(WEIGHTS) or WEIGHTS not in registry.champions(home):
        return {}
    return {WEIGHTS: found["reason"]} if found["verdict"] == NOT_ENOUGH and not is_over(home, WEIGHTS, now_us) else {}


def of_profiles(home: Path, now_us: int | None = None) -> dict[str, Any] | None:
    """Verdict of logged decisions on the profiles on trial, with their version; None where there are none."""
    version = running(home).get(PROFILES)
    return None if version is None else {"version": version, **off_policy.of_profiles(home, version, now_us)}


def settle(home: Path, verdict: Mapping[str, Any], *, may_promote: bool = True, now_us: int | None = None) -> None:
    """End the trials that are decided, once the candidate's fate is.

    Parameters
    ----------
    verdict
        Of the gate; what it says of profiles stands in its evidence.
    may_promote
        False where a person has not agreed.
    """
    own = verdict["models"].get(WEIGHTS)
    if own and WEIGHTS in running(home):
        stays = not (verdict["promote"] and own["promote"])
        if stays and (own["verdict"] == FAIL or is_over(home, WEIGHTS, now_us)):
            _withdraw(home, WEIGHTS, f"gate: {own['verdict']}")
    found = (verdict.get("evidence") or {}).get(PROFILES)
    if found is None or running(home).get(PROFILES) != found["version"]:
        return
    said = f"off-policy: {found['verdict']}"
    if found["verdict"] in (BETTER, SAME) and may_promote:
        registry.set_champions(home, {PROFILES: found["version"]}, actor="gate", reason=said)
    elif found["verdict"] == WORSE or (found["verdict"] == NOT_ENOUGH and is_over(home, PROFILES, now_us)):
        _withdraw(home, PROFILES, said)
    registry.record(home, PROFILES, found["version"], verdict={**found, "verdict": AS_RULE[found["verdict"]]})


def _withdraw(home: Path, name: str, reason: str) -> None:
    registry.set_alias(home, registry.CHALLENGER, {name: None}, action="withdraw", actor="gate", reason=reason)
