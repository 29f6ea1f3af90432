"""The log as files of whole visitors and in the order of time: nothing is lost, no visitor is in two files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flows import shuffle
from infra.store.statements.materialization import FOLDED_COLUMNS
from models.schema import MEASURES


def rows_of(users: list[str]) -> list[tuple[object, ...]]:
    """An event of each of some users, the newest first; of every third nobody knows the item, every fourth is not believed."""
    found = []
    for nth, user in enumerate(users):
        event = {
            **dict.fromkeys(FOLDED_COLUMNS),
            **{"seq": nth + 1, "partner": "shop", "user_id": user, "event_type": "item_view", "price": nth / 2},
            **{"occurred_at_us": 1_000 - nth, "utc_offset_min": -60, "item_id": f"i{nth}" if nth % 3 else None},
            **{"believed": int(nth % 4 > 0)},
        }
        found.append(tuple(event[name] for name in FOLDED_COLUMNS))
    return found


@pytest.mark.parametrize(("n_events", "sizes"), [(1, [4, 1, 2]), (4, [4, 3]), (5, [5, 2]), (6, [5, 2]), (100, [7])])
def test_a_file_ends_where_a_visitor_does(tmp_path: Path, n_events: int, sizes: list[int]) -> None:
    spilled = shuffle.spill(rows_of(list("acabaca")), FOLDED_COLUMNS, tmp_path / "spilled")
    frames = [shuffle.frame_of(file) for file in shuffle.visitors(spilled, tmp_path / "ranges", n_events)]
    assert [len(frame) for frame in frames] == sizes
    found = pd.concat(frames)
    assert found["user_id"].tolist() == list("aaaabcc")
    assert found["seq"].tolist() == [1, 3, 5, 7, 4, 2, 6]


def test_an_event_comes_back_as_it_was(tmp_path: Path) -> None:
    spilled = shuffle.spill(rows_of(["a", "b"]), FOLDED_COLUMNS, tmp_path / "spilled")
    (file,) = shuffle.visitors(spilled, tmp_path / "ranges", 10)
    one, other = shuffle.frame_of(file).to_dict("records")
    assert (one["price"], other["price"], one["item_id"], other["item_id"]) == (0.0, 0.5, None, "i1")
    assert (one["session_id"], one["utc_offset_min"], one["occurred_at_us"], shuffle.first_us(spilled)) == (
        None,
        -60,
        1_000,
        999,
    )
    assert np.isnan([one[name] for name in MEASURES if name != "price"]).all()
    assert "believed" not in one


def test_what_is_believed_about_items_comes_in_the_order_of_time(tmp_path: Path) -> None:
    spilled = shuffle.spill(rows_of(list("abcdefgh")), FOLDED_COLUMNS, tmp_path / "spilled")
    (found,) = shuffle.in_time(spilled, tmp_path / "spilled")
    assert found["item_id"].tolist() == ["i7", "i5", "i2", "i1"]
    assert found["occurred_at_us"].is_monotonic_increasing


def test_a_log_of_many_files_is_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    users = rng.choice(list("abcdefghijklmnop"), 500).tolist()
    spilled = shuffle.spill(rows_of(users), FOLDED_COLUMNS, tmp_path / "spilled", 3, 6)
    assert len(spilled) == 84
    frames = [shuffle.frame_of(file) for file in shuffle.visitors(spilled, tmp_path / "ranges", 60)]
    assert len(frames) > 5
    assert sum(frame["user_id"].nunique() for frame in frames) == 16
    assert sorted(pd.concat(frames)["seq"]) == list(range(1, 501))


@pytest.mark.parametrize("sort_rows", [1, 40, 250, 499, 500])
def test_a_log_that_is_sorted_in_stretches_comes_out_as_if_at_once(tmp_path: Path, sort_rows: int) -> None:
    users = np.random.default_rng(0).choice(list("abcdefghijklmnop"), 500).tolist()
    spilled = shuffle.spill(rows_of(users), FOLDED_COLUMNS, tmp_path / "spilled")
    whole, cut = (
        [shuffle.frame_of(file) for file in shuffle.visitors(spilled, tmp_path / f"ranges-{n}", 60, n)]
        for n in (shuffle.SORT_ROWS, sort_rows)
    )
    pd.testing.assert_frame_equal(pd.concat(whole), pd.concat(cut))
    at_once, in_stretches = (
        pd.concat(shuffle.in_time(spilled, tmp_path, n), ignore_index=True) for n in (shuffle.SORT_ROWS, sort_rows)
    )
    pd.testing.assert_frame_equal(at_once, in_stretches)


def test_nothing_is_no_file(tmp_path: Path) -> None:
    assert shuffle.spill([], FOLDED_COLUMNS, tmp_path / "spilled") == []
    assert list(shuffle.in_time([], tmp_path)) == []
