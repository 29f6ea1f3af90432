"""The thinnest log there is: one event ends in a service that answers, and says what it does without."""

import json
from pathlib import Path

import pytest

from infra import registry
from infra.store.engines import open_store
from models.model_specs import MODEL_NAMES
from tests.journey.path import up

VIEW = {"event_id": "e-1", "user_id": "u-1", "session_id": "s-1", "type": "item_view", "item_id": "sku-1"}


@pytest.mark.slow
def test_a_log_of_one_event_ends_in_a_service_that_answers(tmp_path: Path) -> None:
    events, home = tmp_path / "events.jsonl", tmp_path / "home"
    events.write_text(json.dumps({**VIEW, "ts": "2026-11-20T10:00:00Z"}) + "\n")
    started = up(home, "--events", str(events))
    assert started.answer["models"] == {"associations": 1}
    assert "intent_by_rules" in started.answer["degraded"]
    left_out = registry.left_out(open_store(home).read)
    assert set(left_out) == set(MODEL_NAMES) - {"associations"}
    for name in left_out:
        assert f"{name} is left out" in started.err
    assert started.err.count("not enough data: ") >= len(left_out)
