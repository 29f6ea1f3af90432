"""Judge a change of the weights, or of the profiles, by logged decisions.

The bandit deals weight profiles with known propensities, a challenger's to a few (`flows.trial`). What the candidate's earned
is estimated against what the champion's earned, on the same decisions. What was never dealt cannot be judged this way, and the
verdict says so.
"""

import json
import time
from collections.abc import Mapping, Sequence, Set
from contextlib import closing
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from infra import registry
from infra.store.engines import open_store
from infra.store.protocol import Store
from infra.store.statements.decisions import JUDGED, READ_SNAPSHOT, REWARD_WINDOW
from models import weight_profile as weights
from models.arrays import Floats, Ints
from models.bandit import arms, off_policy, profiles, reward_model, rewards
from models.bandit import thompson as profile_bandit
from models.bandit.off_policy import DR, SAME, OffPolicyParams
from models.bandit.rewards import RewardParams
from models.model_set import ModelSet
from models.statistics.verdict import NOT_ENOUGH

WEIGHTS: Final = "weights"
PROFILES: Final = "profiles"
NOT_DEALT: Final = "the bandit has not dealt both in the same decisions yet"
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
        why = "there is no champion of the weights to compare with" if champion is None else "no weights change"
        return _told(NOT_ENOUGH, why)
    ours, theirs = (_content(home, version) for version in (versions[WEIGHTS], champion))
    if ours == theirs:
        return _told(SAME, "the weights are the champion's")
    rows = _judged(home, now_us, {ours, theirs})
    if not rows:
        return _told(NOT_ENOUGH, NOT_DEALT)
    return _compared(_decisions(rows), {"candidate": {ours: 1.0}, "champion": {theirs: 1.0}})


def of_profiles(home: str | Path, version: int, now_us: int | None = None) -> dict[str, Any]:
    """Compare the bandit over a new set of profiles with the bandit over the champion's, the champion weights in both.

    What either bandit would deal is learned from the visitors that came first; what that earns is estimated on those that came
    later. So the new set is judged with what finding its best profile costs.

    Parameters
    ----------
    version
        Of the model ``profiles``.

    Returns
    -------
    As `verdict`.
    """
    home = Path(home)
    champions = registry.champions(home)
    own = weights.from_parts(registry.load(home, WEIGHTS, champions[WEIGHTS])) if WEIGHTS in champions else None
    of: dict[str, frozenset[str]] = {}
    for side, which in (("candidate", version), ("champion", champions.get(PROFILES))):
        found = None if which is None else profiles.from_parts(registry.load(home, PROFILES, which))
        of[side] = frozenset(map(_of_arm, arms.arms_of(ModelSet(weights=own, profiles=found)).profiles))
    if of["candidate"] == of["champion"]:
        return _told(SAME, "the profiles are the champion's")
    rows = _judged(home, now_us, of["candidate"] | of["champion"])
    if len({row[0] for row in rows}) < 2:
        return _told(NOT_ENOUGH, NOT_DEALT)
    earlier, later = _halves(_decisions(rows))
    return _compared(later, {side: _deals(earlier, contents) for side, contents in of.items()})


def _judged(home: Path, now_us: int | None, wanted: Set[str]) -> list[tuple[Any, ...]]:
    now_us = time.time_ns() // 1000 if now_us is None else now_us
    with closing(open_store(home)) as store:
        return _rows(store, judged_until_us(store, now_us), wanted)


def judged_until_us(store: Store, now_us: int) -> int:
    """The last instant whose decisions have had their time: a younger one may still be rewarded."""
    found = store.read(REWARD_WINDOW)
    params = RewardParams(window_s=found[0][0]) if found and found[0][0] else RewardParams()
    return now_us - (params.window_s + params.grace_s) * 1_000_000


def _told(verdict: str, reason: str, n_decisions: int = 0, n_visitors: int = 0) -> dict[str, Any]:
    return {"verdict": verdict, "reason": reason, "n_decisions": n_decisions, "n_visitors": n_visitors}


def _content(home: Path, version: int) -> str:
    """What tells one profile from another, whatever it is called."""
    return _of_arm(arms.arm_id(WEIGHTS, weights.from_parts(registry.load(home, WEIGHTS, version))))


def _of_arm(arm: str) -> str:
    return arm.rpartition("@")[2]


def _rows(store: Store, until_us: int, wanted: Set[str]) -> list[tuple[Any, ...]]:
    """Decisions in which all wanted profiles could have been dealt, newest first."""
    dealt: dict[int, bool] = {}
    kept = []
    for row in store.read(JUDGED, (until_us, MOST)):
        snapshot = row[4]
        if snapshot not in dealt:
            body = store.read(READ_SNAPSHOT, (snapshot,))
            named = json.loads(body[0][0])["snapshot"]["profiles"] if body else []
            dealt[snapshot] = wanted <= {_of_arm(arm) for arm in named}
        if dealt[snapshot]:
            kept.append(row)
    return kept


class _Decisions(NamedTuple):
    """Logged decisions, oldest first; each column of shape (n_decisions,), context (n_decisions, n_columns)."""

    visitor: Ints
    arm: npt.NDArray[np.str_]
    reward: Floats
    propensity: Floats
    context: Ints

    def where(self, kept: npt.NDArray[np.bool_]) -> "_Decisions":
        return _Decisions(self.visitor[kept], self.arm[kept], self.reward[kept], self.propensity[kept], self.context[kept])


def _decisions(rows: Sequence[tuple[Any, ...]]) -> _Decisions:
    users, contexts, profiles, propensities, _, rewards = zip(*reversed(rows), strict=True)
    told = [json.loads(context) for context in contexts]
    return _Decisions(
        np.unique(np.array(users), return_inverse=True)[1].astype(np.int64),
        np.array([_of_arm(profile) for profile in profiles]),
        np.array(rewards, dtype=np.float64),
        np.array(propensities, dtype=np.float64),
        np.column_stack([np.unique([str(one.get(name)) for one in told], return_inverse=True)[1] for name in CONTEXT]),
    )


def _halves(seen: _Decisions) -> tuple[_Decisions, _Decisions]:
    """The visitors that came first, and those that came later, with about as many decisions."""
    _, first, code = np.unique(seen.visitor, return_index=True, return_inverse=True)
    middle = np.quantile(first[code], 0.5)
    late = first[code] > middle
    if not late.any():  # the last visitor has most of the decisions
        late = first[code] >= middle
    return seen.where(~late), seen.where(late)


def _deals(seen: _Decisions, contents: Set[str]) -> dict[str, float]:
    """With what probability the bandit would deal each profile of a set, had it seen these decisions."""
    names = tuple(sorted(contents))
    rows = [(0, "", name, float((seen.arm == name).sum()), float(seen.reward[seen.arm == name].sum())) for name in names]
    now = profile_bandit.snapshot(0, rewards.outcomes(rows, names))
    return dict(zip(names, now.rows[profile_bandit.EVERYWHERE].p, strict=True))


def _compared(seen: _Decisions, policies: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Judge two policies by decisions.

    Parameters
    ----------
    policies
        Of the candidate and the champion: with what probability each profile is dealt.
    """
    params, rng = OffPolicyParams(), np.random.default_rng(0)
    names, action = np.unique(np.append(seen.arm, sorted({*chain(*policies.values())})), return_inverse=True)
    action = action[: len(seen.arm)].astype(np.int64)
    fold = reward_model.folds(seen.visitor, 3, rng)
    q = reward_model.cross_fitted(reward_model.indicators(seen.context), action, len(names), seen.reward, fold)
    weighed = {}
    for side, policy in policies.items():
        p = np.array([policy.get(str(name), 0.0) for name in names])
        by_model = q[np.arange(len(action)), action], q @ p
        weighed[side] = off_policy.logged(seen.reward, p[action], seen.propensity, by_model, params)
    values = {side: off_policy.estimate(one, seen.visitor, rng, params) for side, one in weighed.items()}
    difference = off_policy.estimate(weighed["candidate"], seen.visitor, rng, params, baseline=weighed["champion"])
    says = off_policy.verdict(difference, values["champion"].intervals[DR].mean, params)
    return {
        **_told(says, "by decisions that the bandit dealt", len(action), len(np.unique(seen.visitor))),
        **{side: off_policy.as_json(value) for side, value in values.items()},
        "difference": off_policy.as_json(difference),
        "params": asdict(params),
    }
