"""The validation, materialization and drift flows, run by Prefect: seen in its API, the result among its artifacts."""

import numpy as np
import pandas as pd
import pytest

from flows.server import connected
from models.schema import EVENT_COLUMNS, MEASURES
from tests.stores import append_events
from tests.waiting import until

AT_US = 1_790_000_000_000_000


@pytest.fixture
def home(tmp_path):
    frame = pd.DataFrame({name: pd.Series([None] * 140, dtype=object) for name in EVENT_COLUMNS})
    for name in MEASURES:
        frame[name] = np.nan
    rows = frame.assign(
        event_id=[f"e{i}" for i in range(140)],
        user_id="u",
        event_type="search",
        occurred_at_us=AT_US + np.arange(140),
        utc_offset_min=np.int16(0),
        device=[*["fridge"] * 100, *["mobile"] * 40],
    )
    rows.loc[139, ["event_type", "item_id"]] = ["item_view", "hat"]
    append_events(tmp_path, rows, received_at_us=AT_US)
    return tmp_path


def test_the_flows_run_are_seen_and_leave_their_result(home, prefect_server):
    with connected(home, prefect_server):
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.filters import FlowFilter, FlowFilterName

        from flows.decide import Choice, drop
        from flows.drift import watch
        from flows.expect import ValidationStopped
        from flows.materialize import materialize_features
        from flows.validate import validate_events

        with pytest.raises(ValidationStopped, match="100 of 140"):  # refused at once: a retry would not make it true
            validate_events(str(home))
        assert drop(home, Choice(everything=True), "the app was broken") == 100
        assert validate_events(str(home))["n_rows"] == 40
        rows = materialize_features(str(home), AT_US + 1_000_000)["rows"]
        watched = watch(str(home), AT_US)
        ours = FlowFilter(name=FlowFilterName(any_=[one.name for one in (validate_events, materialize_features, watch)]))
        with get_client(sync_client=True) as client:
            artifacts = client.read_artifacts()
            runs = client.read_flow_runs(flow_filter=ours)
            # The server writes task runs behind the events that tell of them.
            until(lambda: [run.run_count for run in client.read_task_runs(flow_filter=ours)] == [1] * 6, "not six task runs")
    assert rows["session_features"] == 40
    tables = {a.description: str(a.data) for a in artifacts if a.key == "event-validation"}
    assert set(tables) == {"140 new events, 100 failed: stopped", "40 new events, 0 failed: held back"}
    assert "device_known" in tables["140 new events, 100 failed: stopped"]
    assert sorted(str(run.state_name) for run in runs) == ["Completed", "Completed", "Completed", "Failed"]
    assert (watched["verdict"], watched["announced"]) == ("not enough data", "nothing to tell")
    assert ["**not enough data**" in str(a.data) for a in artifacts if a.key == "drift"] == [True]
