"""Judge a change of the weights by logged decisions, before anybody is shown what it does.

The bandit has dealt weight profiles with known propensities. Where the candidate's weights were among them, what they earned is
estimated against what the champion's earned, on the same decisions. A candidate whose weights were never dealt cannot be judged
this way, and the verdict says so.
"""

import json
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import apsw
import numpy as np

from flows import registry
from flows.store import connect
from models.bandit import arms, off_policy, reward_model
from models.bandit.off_policy import DR, SAME, THIN, OffPolicyParams
from models.bandit.rewards import RewardParams
from models.stored.decision_tables import JUDGED, READ_SNAPSHOT, REWARD_WINDOW
from models.weighting import weights

WEIGHTS: Final = "weights"
MOST: Final = 100_000  # newest decisions that are looked at
CONTEXT: Final = ("device", "intent", "segment")  # what the reward model knows of a decision


def verdict(home: str | Path, versions: Mapping[str, int], now_us: int | None = None) -> dict[str, Any]:
    """Compare the candidate's weights with the champion's by logged decisions.

    Parameters
    ----------
    versions
        The candidate, version of each model; what has no ``weights`` changes none.
    now_us
        Decisions are looked at whose time was over then; the present by default.

    Returns
    -------
    JSON-able: ``{"verdict": "better" | "worse" | "no difference" | "not enough data", "reason", "n_decisions", "n_visitors"}``,
    and where there is something to compare ``"candidate"``, ``"champion"`` and ``"difference"`` (estimates of
    `models.bandit.off_policy.as_json`) and ``"params"``. `models.bandit.off_policy.off_policy_rule` makes the gate's rule of
    it.
    """
    home = Path(home)
    champion = registry.champions(home).get(WEIGHTS)
    if champion is None or WEIGHTS not in versions:
        return _told(THIN, "there is no champion of the weights to compare with" if champion is None else "no weights change")
    ours, theirs = (_content(home, version) for version in (versions[WEIGHTS], champion))
    if ours == theirs:
        return _told(SAME, "the weights are the champion's")
    now_us = time.time_ns() // 1000 if now_us is None else now_us
    with closing(connect(home)) as connection:
        rows = _rows(connection, judged_until_us(connection, now_us), {ours, theirs})
    if not rows:
        return _told(THIN, "the bandit has not dealt both profiles in the same decisions yet")
    return _compared(rows, ours, theirs)


def judged_until_us(connection: apsw.Connection, now_us: int) -> int:
    """The last instant whose decisions have had their time: a younger one may still be rewarded."""
    found: Any = connection.execute(REWARD_WINDOW).fetchone()
    params = RewardParams(window_s=found[0]) if found and found[0] else RewardParams()
    return now_us - (params.window_s + params.grace_s) * 1_000_000


def _told(verdict: str, reason: str, n_decisions: int = 0, n_visitors: int = 0) -> dict[str, Any]:
    return {"verdict": verdict, "reason": reason, "n_decisions": n_decisions, "n_visitors": n_visitors}


def _content(home: Path, version: int) -> str:
    """What tells one profile from another, whatever it is called."""
    return _of_arm(arms.arm_id(WEIGHTS, weights.from_parts(registry.load(home, WEIGHTS, version))))


def _of_arm(arm: str) -> str:
    return arm.rpartition("@")[2]


def _rows(connection: apsw.Connection, until_us: int, wanted: set[str]) -> list[tuple[Any, ...]]:
    """Decisions in which all wanted profiles could have been dealt."""
    dealt: dict[int, bool] = {}
    kept = []
    found: Any = connection.execute(JUDGED, (until_us, MOST)).fetchall()
    for row in found:
        snapshot = row[4]
        if snapshot not in dealt:
            body: Any = connection.execute(READ_SNAPSHOT, (snapshot,)).fetchall()
            named = json.loads(body[0][0])["snapshot"]["profiles"] if body else []
            dealt[snapshot] = wanted <= {_of_arm(arm) for arm in named}
        if dealt[snapshot]:
            kept.append(row)
    return kept


def _compared(rows: list[tuple[Any, ...]], ours: str, theirs: str) -> dict[str, Any]:
    params, rng = OffPolicyParams(), np.random.default_rng(0)
    users, contexts, profiles, propensities, _, rewards = zip(*rows, strict=True)
    visitor = np.unique(np.array(users), return_inverse=True)[1].astype(np.int64)
    arm = np.array([_of_arm(profile) for profile in profiles])
    names, action = np.unique(np.append(arm, [ours, theirs]), return_inverse=True)
    action = action[: len(rows)].astype(np.int64)
    reward, propensity = np.array(rewards, dtype=np.float64), np.array(propensities, dtype=np.float64)
    told = [json.loads(context) for context in contexts]
    codes = np.column_stack([np.unique([str(one.get(name)) for one in told], return_inverse=True)[1] for name in CONTEXT])
    fold = reward_model.folds(visitor, 3, rng)
    q = reward_model.cross_fitted(reward_model.indicators(codes.astype(np.int64)), action, len(names), reward, fold)
    at = np.arange(len(rows))
    seen = {
        side: off_policy.logged(
            reward, (arm == name).astype(np.float64), propensity, (q[at, action], q[:, list(names).index(name)]), params
        )
        for side, name in (("candidate", ours), ("champion", theirs))
    }
    values = {side: off_policy.estimate(one, visitor, rng, params) for side, one in seen.items()}
    difference = off_policy.estimate(seen["candidate"], visitor, rng, params, baseline=seen["champion"])
    says = off_policy.verdict(difference, values["champion"].intervals[DR].mean, params)
    return {
        **_told(says, "by decisions that the bandit dealt", len(rows), int(visitor.max()) + 1),
        **{side: off_policy.as_json(value) for side, value in values.items()},
        "difference": off_policy.as_json(difference),
        "params": asdict(params),
    }
