"""The weights that a retraining keeps are learned beside those that serve, and say how they were chosen."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flows import train
from infra import registry
from infra.artifacts import read_parts
from models import weight_profile as weights
from models.features import sessions
from models.inference import examples, intent, labels
from models.inference.training import TrainingInput
from models.ranker import from_log as log_ranker
from models.ranker import model as ranker
from models.simulator import ShopConfig, simulate
from models.statistics.split import Split
from models.tuning import from_log as log_weights
from tests.training import empty_rows


def test_weights_are_learned_on_the_validation_period_with_the_fitted_intent_model() -> None:
    frame = sessions.sessionize(simulate(ShopConfig(60, 5, 2)).events)
    log, frame = examples.read_log(frame)
    weak = labels.intent_probabilities(log.events, log.starts)
    valid_from_us, test_from_us = (int(us) for us in np.quantile(log.started_us, [0.6, 0.8]))
    valid, test = (log.started_us >= us for us in (valid_from_us, test_from_us))
    model = intent.fit(sessions.fold(log.events, log.starts), weak, valid=valid)
    periods = Split(~valid, valid & ~test, test, valid_from_us, test_from_us)
    data = TrainingInput(empty_rows(0), log, periods, fitted={"intent": model})
    parts = log_weights.fit_on(data)
    told = parts.meta["params"]
    assert told["chosen"] in told["ndcg_20"]
    assert "static" in told["ndcg_20"]
    assert told["incumbent"] is None
    profile = weights.from_parts(parts)
    assert profile.base[-1] == 1.0  # purchase is the unit
    assert not np.array_equal(profile.factors, weights.HEURISTIC.factors)
    both = replace(data, fitted={"intent": model, "weights": profile})
    beside = ranker.from_parts(log_ranker.fit_on(both))  # learns with both
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
    registry.set_champions(tmp_path, {"weights": version}, actor="test", reason="serves")
    train.note_incumbent(tmp_path, "weights", tmp_path / "run", as_of_us, test_from_us)
    assert (tmp_path / "run" / train.INCUMBENTS / "weights").exists() is noted
    if noted:
        parts = read_parts(tmp_path / "run" / train.INCUMBENTS / "weights")
        assert parts.meta["version"] == version
        np.testing.assert_array_equal(weights.from_parts(parts).base, weights.STATIC.base)
