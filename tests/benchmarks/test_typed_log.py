import json

import numpy as np
import pytest

from benchmarks import typed_log
from flows.simulate import write_shop
from models.schema import EventType
from models.simulator import ShopConfig
from tests.builders import event_array

VIEW, BUY = EventType.ITEM_VIEW, EventType.PURCHASE


def test_purchase_later_ends_at_the_sessions_last_purchase():
    events = event_array(6, event_type=[VIEW, BUY, VIEW, BUY, VIEW, VIEW])
    starts = np.array([True, False, False, False, False, True])
    assert typed_log.purchase_later(events, starts).tolist() == [True, True, True, False, False, False]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("shop") / "shop.jsonl"
    write_shop(ShopConfig(n_users=60, n_days=3, seed=2, n_items=80), path)
    return typed_log.read(path, "attune")


def test_users_lie_in_one_fold_each_and_sessions_are_whole(log):
    assert all(len(np.unique(log.fold[log.user == user])) == 1 for user in np.unique(log.user))
    assert log.starts[0]
    assert np.array_equal(log.started_us[log.starts], log.events["occurred_at_us"][log.starts])


def test_features_of_an_event_do_not_change_when_later_events_are_unknown(log):
    kept = log.events["occurred_at_us"] <= np.quantile(log.events["occurred_at_us"], 0.5)
    earlier = log._replace(**{name: getattr(log, name)[kept] for name in log._fields[:5]})
    whole, half = typed_log.feature_sets(log)["everything"], typed_log.feature_sets(earlier)["everything"]
    # The last hour of the half log is not over: its item rows may still differ.
    sure = earlier.events["occurred_at_us"] < earlier.events["occurred_at_us"].max() - 3_600_000_000
    np.testing.assert_array_equal(whole[kept][sure], half[sure])


def view(user, second, item="a", kind="item_view"):
    at = f"2026-01-01T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"
    return {"event_id": f"{user}-{second}", "user_id": user, "session_id": user, "type": kind, "item_id": item, "ts": at}


@pytest.mark.parametrize(
    "rows",
    [
        [view("u", 0)],
        [view(user, second) for user in "uv" for second in range(500)],
        [view("u", second, f"i{second}") for second in range(5000)] + [view("v", 1, "i1"), view("v", 2, "i2")],
        [view(f"u{k}", second, str(2**70 + second)) for k in range(30) for second in range(3)],
    ],
    ids=["one event", "the same item 500 times", "5,000 events", "duplicates, ids beyond 64 bits"],
)
def test_odd_logs_are_reported_and_nothing_wins(tmp_path, capsys, rows):
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert typed_log.main([str(tmp_path / "log.jsonl"), "--format", "attune"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n_events"] == len(rows)
    assert found["peak_mib"] > 0
    assert found["purchase_within_session"]["verdict"] == "too few purchases to tell"
    assert {found["ablation"]["winner"][kind] for kind in ("add_to_cart", "purchase")} == {"no difference"}


@pytest.mark.parametrize(
    ("content", "form", "message"),
    [
        (None, "attune", "no file"),
        ("", "attune", "holds no events"),
        (json.dumps(view("u", 0)), "nope", "unknown format"),
        (json.dumps(view("u", 0, kind="teleport")), "attune", "no event can be used"),
    ],
    ids=["no file", "empty file", "unknown format", "event type never seen"],
)
def test_a_file_that_cannot_be_used_gives_one_line(tmp_path, capsys, content, form, message):
    if content is not None:
        (tmp_path / "log.jsonl").write_text(content)
    assert typed_log.main([str(tmp_path / "log.jsonl"), "--format", form]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
