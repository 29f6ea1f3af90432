"""Parts of the offline tables: a fold of what has changed gives the tables that a fold of everything gives."""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd

from feature_repo import parts
from flows.fold_tables import fold_tables
from infra.store.engines import open_store
from models.schema import DAY_US, EVENT_COLUMNS, MEASURES, VIEW_KEY
from tests.stores import append_events, connect, nth, quarantine_events

T0_US = 1_790_000_000_000_000 // DAY_US * DAY_US
HOUR_US = 3_600_000_000


def events(rng: np.random.Generator, n: int, from_us: int, to_us: int, prefix: str) -> pd.DataFrame:
    """Events of eight visitors about five items; some sessions are named, some events share an instant."""
    frame = pd.DataFrame({name: pd.Series([None] * n, dtype=object) for name in EVENT_COLUMNS})
    for name in MEASURES:
        frame[name] = np.nan
    return frame.assign(
        event_id=[f"{prefix}{k}" for k in range(n)],
        user_id=rng.choice(list("abcdefgh"), n),
        session_id=pd.Series(rng.choice(["s", "t", ""], n), dtype=object).replace("", None),
        event_type=rng.choice(["item_view", "add_to_cart", "purchase"], n),
        item_id=rng.choice([f"i{k}" for k in range(5)], n),
        price=rng.choice([1.0, 5.0, np.nan], n),
        occurred_at_us=np.sort(rng.integers(from_us, to_us, n)) // 60_000_000 * 60_000_000,
        utc_offset_min=np.int16(0),
    )


def folded(home: Path, folder: Path, as_of_us: int, events_a_range: int = 40) -> parts.Tables:
    drafts = folder / ".drafts"
    drafts.mkdir(parents=True)
    with closing(open_store(home)) as log:
        draft = fold_tables(log, folder, drafts, as_of_us, events_a_range=events_a_range)
    parts.take(folder, drafts, draft.tables)
    shutil.rmtree(drafts)
    return draft.tables


def table(folder: Path, view: str) -> pd.DataFrame:
    key = VIEW_KEY[view]
    rows = pd.concat([pd.read_parquet(file) for file in parts.files(folder / f"{view}.parquet")])
    if view == "user_recent_items":  # a row per visitor, and those of before
        rows = rows.sort_values("occurred_at").groupby(key).tail(1)
    return rows.sort_values([key, "occurred_at"], ignore_index=True)


def same(home: Path, folder: Path, as_of_us: int) -> None:
    """Compare the tables with those of a fold of everything, in ranges of another size."""
    fresh = folder.with_name(f"fresh-{as_of_us}")
    folded(home, fresh, as_of_us, 1_000)
    for view, key in VIEW_KEY.items():
        found = table(folder, view)
        assert not found.duplicated([key, "occurred_at"]).any(), view
        pd.testing.assert_frame_equal(found, table(fresh, view), obj=view)


def test_what_has_changed_is_folded_as_everything_would_be(tmp_path: Path) -> None:
    rng, folder, began_us = np.random.default_rng(0), tmp_path / "offline", T0_US + 12 * DAY_US + 7 * HOUR_US + 5

    def put(n: int, from_us: int, to_us: int, prefix: str) -> None:
        append_events(tmp_path, events(rng, n, from_us, to_us, prefix), received_at_us=began_us)

    def release() -> None:
        for n in (50, 333):
            released = "UPDATE quarantine SET replayed_at_us = 4000000000000000 WHERE seq = ?"
            connect(tmp_path).execute(released, (nth(tmp_path, n),))

    put(300, T0_US, began_us + 12 * HOUR_US, "first")  # some have not happened yet
    first = folded(tmp_path, folder, began_us)
    assert first.ahead_seq is not None
    assert len(first.parts["user_features"]) > 2
    same(tmp_path, folder, began_us)
    changes: tuple[Callable[[], object], ...] = (
        lambda: put(30, began_us - HOUR_US, began_us + 20 * HOUR_US, "next"),
        lambda: put(5, began_us - 2 * DAY_US, began_us + 9 * HOUR_US, "late"),
        lambda: quarantine_events(tmp_path, [(nth(tmp_path, n), "odd") for n in (3, 50, 290, 333)]),
        release,
        lambda: put(2, T0_US + DAY_US, T0_US + 2 * DAY_US, "very late"),
        lambda: None,
    )
    for step, change in enumerate(changes, 1):
        change()
        found = folded(tmp_path, folder, began_us + step * 9 * HOUR_US)
        assert found.full_at_us == first.full_at_us  # not everything
        same(tmp_path, folder, found.as_of_us)


def test_a_visitor_who_was_erased_and_came_back_has_the_rows_of_since(tmp_path: Path) -> None:
    rng, folder, now_us = np.random.default_rng(0), tmp_path / "offline", T0_US + 5 * DAY_US
    append_events(tmp_path, events(rng, 200, T0_US, now_us, "e"), received_at_us=now_us)
    folded(tmp_path, folder, now_us)
    connection = connect(tmp_path)
    connection.execute("DELETE FROM events WHERE user_id = 'a'")
    bury = "INSERT INTO tombstones (user_id, partner, receipt_id, erased_at_us, removed) VALUES ('a', 'shop', 'r', 4e15, '{}')"
    connection.execute(bury)
    folded(tmp_path, folder, now_us + 1)
    assert "a" not in set(table(folder, "user_features")["user_id"])
    assert not table(folder, "session_features")["session_id"].str.startswith("shop/a/").any()


def test_small_parts_of_many_folds_become_one(tmp_path: Path) -> None:
    rng, folder, now_us = np.random.default_rng(0), tmp_path / "offline", T0_US + DAY_US
    append_events(tmp_path, events(rng, 200, T0_US, now_us, "e"), received_at_us=now_us)
    n_parts = []
    for k in range(27):
        append_events(tmp_path, events(rng, 2, now_us, now_us + HOUR_US, f"more{k}-"), received_at_us=now_us)
        now_us += HOUR_US
        n_parts.append(len(folded(tmp_path, folder, now_us, 1_000).parts["user_features"]))
    assert max(n_parts) > 20
    assert n_parts[-1] < 5
    same(tmp_path, folder, now_us)


def test_other_code_an_earlier_present_and_a_log_that_has_grown_by_much_fold_everything(tmp_path: Path) -> None:
    rng, folder, now_us = np.random.default_rng(0), tmp_path / "offline", T0_US + DAY_US
    append_events(tmp_path, events(rng, 50, T0_US, now_us, "e"), received_at_us=now_us)
    last = folded(tmp_path, folder, now_us).full_at_us
    for change, as_of_us in (
        (lambda: parts.write(folder, parts.Tables(**{**vars(parts.read(folder)), "made_by": "another"})), now_us),
        (lambda: None, now_us - HOUR_US),
        (lambda: append_events(tmp_path, events(rng, 100, T0_US, now_us, "f"), received_at_us=now_us), now_us),
    ):
        change()
        found = folded(tmp_path, folder, as_of_us)
        assert found.full_at_us > last
        last = found.full_at_us
