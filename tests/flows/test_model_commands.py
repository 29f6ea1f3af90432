"""Versions as a person looks at them: one, and two beside each other."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from flows.commands import app
from flows.model_commands import found
from infra import registry
from models.artifact import Parts


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATTUNE_HOME", str(tmp_path))
    for rate, loss in ((0.1, 0.9), (0.2, 0.8), (0.2, 0.7)):
        lineage = {"params": {"learning_rate": rate, "n_leaves": 15}, "seed": 0}
        registry.save(tmp_path, "intent", Parts({}, {"a": np.zeros(1)}), lineage, {"log_loss": loss})
    registry.set_alias(tmp_path, registry.CHAMPION, {"intent": 2}, action="promote", actor="test", reason="test")
    return tmp_path


def attune(*words: str) -> Result:
    return CliRunner().invoke(app, words, catch_exceptions=False)


def test_the_list_is_still_the_list(home: Path) -> None:
    assert [row["version"] for row in json.loads(attune("models", "--json").stdout)] == [3, 2, 1]
    assert attune("models").stdout.count("intent:") == 3
    assert "promote champion intent: - -> 2  by test (test)" in attune("models", "--audit").stdout


def test_a_version_is_shown_with_all_that_is_known_of_it(home: Path) -> None:
    told = attune("models", "show", "intent:1").stdout
    assert "lineage.params.learning_rate  0.1" in told
    assert "metrics.log_loss  0.9" in told
    assert json.loads(attune("models", "show", "intent", "--json").stdout)["version"] == 2


def test_two_versions_are_compared_where_they_differ(home: Path) -> None:
    told = json.loads(attune("models", "compare", "intent:1", "intent:champion", "--json").stdout)
    assert told == {
        "first": "intent:1",
        "second": "intent:2",
        "different": {"lineage.params.learning_rate": [0.1, 0.2], "metrics.log_loss": [0.9, 0.8]},
    }
    line = next(line for line in attune("models", "compare", "intent:1", "intent:3").stdout.splitlines() if "learning" in line)
    assert line.split() == ["lineage.params.learning_rate", "0.1", "0.2"]


def test_what_is_not_there_is_said_with_what_is(home: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no intent:9; versions are intent:3, intent:2, intent:1"):
        found(home, "intent:9")
    with pytest.raises(ValueError, match="none yet"):
        found(home, "ranker")
    with pytest.raises(ValueError, match="models are"):
        found(home, "nothing:1")
