"""The weights that a retraining keeps are learned beside those that serve, and say how they were chosen."""

from pathlib import Path

import numpy as np
import pytest

from flows import train
from infra import registry
from infra.artifacts import read_parts, write_parts
from models import events
from models import weight_profile as weights
from models.artifact import Parts
from models.features import sessions
from models.inference import examples, intent, labels
from models.ranker import model as ranker
from models.simulator import ShopConfig, simulate
from models.statistics import split


def test_weights_are_learned_on_the_validation_period_with_the_fitted_intent_model(tmp_path: Path) -> None:
    frame = sessions.sessionize(simulate(ShopConfig(60, 5, 2)).events)
    starts, encoded = sessions.starts(frame), events.encode(frame)
    started_us = split.session_starts_us(np.ascontiguousarray(encoded.events["occurred_at_us"]), starts)
    users = np.unique(frame["user_id"].to_numpy(dtype=str), return_inverse=True)[1]
    log = examples.Log(encoded.events, starts, started_us, users, [str(i) for i in encoded.item_ids])
    write_parts(tmp_path / train.LOG, examples.log_to_parts(log))
    valid_from_us, test_from_us = (int(us) for us in np.quantile(started_us, [0.6, 0.8]))
    write_parts(tmp_path / train.EXAMPLES, Parts({"valid_from_us": valid_from_us, "test_from_us": test_from_us}, {}))
    weak = labels.intent_probabilities(log.events, log.starts)
    model = intent.fit(sessions.fold(log.events, log.starts), weak, valid=started_us >= valid_from_us)
    write_parts(tmp_path / train.MODELS / "intent", intent.to_parts(model))
    parts = read_parts(Path(train.fit_weights.fn(str(tmp_path), 0)))
    told = parts.meta["params"]
    assert told["chosen"] in told["ndcg_20"]
    assert "static" in told["ndcg_20"]
    assert told["incumbent"] is None
    profile = weights.from_parts(parts)
    assert profile.base[-1] == 1.0  # purchase is the unit
    assert not np.array_equal(profile.factors, weights.HEURISTIC.factors)
    beside = ranker.from_parts(read_parts(Path(train.fit_ranker.fn(str(tmp_path), 0))))  # learns with both
    assert beside.rank(np.array([1]), np.zeros(1, np.int8), profile.base, 3, None, np.full(4, 0.25)).n_ranked > 0


@pytest.mark.parametrize(
    ("test_from_us", "as_of_us", "noted"),
    [(700, None, True), (701, None, True), (699, None, False), (700, 1_000_000, False)],
    ids=["same period", "later", "it learned from what judges", "nothing served on that day"],
)
def test_what_serves_is_noted_unless_it_knows_what_judges(
    tmp_path: Path, test_from_us: int, as_of_us: int | None, noted: bool
) -> None:
    lineage = {"periods": {"valid_from_us": 500, "test_from_us": 700}}
    version = registry.save(tmp_path, "weights", weights.to_parts(weights.STATIC), lineage)
    registry.crown(tmp_path, {"weights": version}, actor="test", reason="serves")
    train._note_incumbent(tmp_path, tmp_path / "run", as_of_us, test_from_us)
    assert (tmp_path / "run" / train.INCUMBENT).exists() is noted
    if noted:
        parts = read_parts(tmp_path / "run" / train.INCUMBENT)
        assert parts.meta["version"] == version
        np.testing.assert_array_equal(weights.from_parts(parts).base, weights.STATIC.base)
