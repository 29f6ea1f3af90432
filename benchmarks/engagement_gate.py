"""Does the gate tell a good engagement score from a broken one, and how large a shop must be for that? Prints JSON lines.

    python -m benchmarks.engagement_gate [--users 800 3000] [--seed 1]

A simulated shop is cut in time as a retraining cuts it; the champion is learned from all earlier sessions. Candidates: the same
again, one that was learned from half of the sessions, and broken ones: one that looks at nothing, one whose features are
shuffled among half of the rows, and one that promises three times as much.
"""

import argparse
import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from benchmarks.first_visits import examples_of
from models.arrays import Floats
from models.engagement import from_log as log_engagement
from models.engagement.model import EngagementModel, Rows
from models.evaluation import comparison, gate
from models.evaluation.held_out import held_out
from models.inference import next_action
from models.inference.examples import ExampleParams
from models.learners.trees import BoostParams
from models.schema import HORIZONS_S
from models.simulator import ShopConfig, simulate
from models.statistics import bootstrap
from models.weights.actions_from_log import weights_of

MEDIUM: Final = list(HORIZONS_S).index("medium_term")
TREES: Final = BoostParams(n_rounds=40)


def candidates(n_users: int, seed: int) -> tuple[Mapping[str, Floats], comparison.Truth]:
    """What each score says about the held-out rows, the champion's first; and what came."""
    params = ExampleParams()
    log, found = examples_of(simulate(ShopConfig(n_users=n_users, seed=seed)).events, params)
    split = found.split(params)
    learn, held = ~split.test, split.test
    waits = next_action.Waits.of(found).where(learn)
    features = found.next_action_features()
    quick = next_action.NextActionParams(TREES, TREES)
    later = next_action.fit(features[learn], waits, quick, valid=split.valid[learn])
    predicted = np.asarray(later.predict(features)["medium_term"].p_purchase, dtype=np.float64)

    def fitted(which: Any) -> EngagementModel | None:
        one = Rows(
            found.session_features[which], found.purchase[which, MEDIUM], split.valid[which], found.started_us[which],
            predicted[which],
        ).where(found.covered[which, MEDIUM])  # fmt: skip
        return log_engagement.learn(log.before(split.valid_from_us), one, split.valid_from_us)

    session = np.cumsum(found.starts)
    weights = weights_of(log.before(split.test_from_us), split.test_from_us)
    champion, half = fitted(learn), fitted(learn & (session % 2 == 0))
    if champion is None or half is None:
        raise ValueError(f"too few visitors of {n_users} bought to learn an engagement score")
    seen, said = found.session_features[held], predicted[held]
    shuffled = seen.copy()
    some = np.random.default_rng(seed).permutation(len(seen))[: len(seen) // 2]
    shuffled[some] = seen[np.random.default_rng(seed + 1).permutation(some)]
    whole = champion.score(champion.immediate(seen, weights), said)
    scores = {
        "champion": whole,
        "the same": whole.copy(),
        "half of the sessions": half.score(half.immediate(seen, weights), said),
        "looks at nothing": np.full(len(seen), float(whole.mean())),
        "half of the rows shuffled": champion.immediate(shuffled, weights),
        "promises three times as much": np.minimum(3 * whole, 0.99),
    }
    return scores, comparison.truth(held_out(found, log, split, np.random.default_rng(0), at_most=0))


def judged(said: Floats, champion: Floats, came: comparison.Truth, seed: int) -> dict[str, Any]:
    """The gate's two rules about the engagement score."""
    draws = bootstrap.draw(came.session, np.random.default_rng(seed), comparison.N_DRAWS)
    known = np.flatnonzero(came.covered[:, MEDIUM])
    bought = came.purchase[:, MEDIUM].astype(np.float64)
    area = list(comparison._engagement_gain(said, champion, came, draws))
    calibration = comparison._calibration("engagement calibration", "engagement", said, bought, draws, known)
    rules = [*gate.not_worse(area, gate.DEFAULT_PARAMS), *gate.calibrated([calibration], gate.DEFAULT_PARAMS, first=False)]
    return {rule.name: {"verdict": rule.verdict, "observed": rule.observed, "wanted": rule.wanted} for rule in rules}


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, nargs="+", default=[800, 3000])
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    for n_users in given.users:
        scores, came = candidates(n_users, given.seed)
        shape = {"users": n_users, "rows": len(came.session), "sessions": len(np.unique(came.session))}
        buyers = len(np.unique(came.session[came.purchase[:, MEDIUM] & came.covered[:, MEDIUM]]))
        for name, said in scores.items():
            told = judged(said, scores["champion"], came, given.seed)
            print(json.dumps({**shape, "sessions_that_bought": buyers, "candidate": name, **told}), flush=True)


if __name__ == "__main__":
    main()
