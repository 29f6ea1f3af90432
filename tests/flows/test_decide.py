"""What a person decides about rows of quarantine, and what may undo it."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows import decide
from flows.append import ingest_file
from flows.commands import app
from flows.decide import Choice, Held
from flows.quarantine import list_rows, replay
from tests.stores import hold_anyway, nth, numbers, quarantine_events, read_events


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A log of four events of two visitors, two of which validation holds back, and a row that is none."""
    rows = [
        "1,10,3,pv,1511544070",
        "1,11,3,pv,1511544071",
        "2,10,3,pv,1511544072",
        "2,11,3,pv,1511544073",
        "2,11,3,steal,1511544074",
    ]
    (tmp_path / "a.csv").write_text("\n".join(rows) + "\n")
    assert ingest_file(tmp_path / "a.csv", "taobao", tmp_path) == (4, 0, 1)
    quarantine_events(tmp_path, [(nth(tmp_path, 1), "price_in_range"), (nth(tmp_path, 4), "price_in_range, device_known")])
    return tmp_path


def seqs(home: Path) -> list[int]:
    """Places in the log of the events that count, from 1."""
    numbered = numbers(home)
    return [numbered.index(seq) + 1 for seq in read_events(home)["seq"].tolist()]


def ids(home: Path) -> dict[int | None, int]:
    """Id of each row that waits, by the place of its event."""
    places = {seq: place for place, seq in enumerate(numbers(home), 1)}
    return {places.get(row["seq"]): row["id"] for row in list_rows(home)}


def test_what_waits_is_told_by_reason_and_visitor(home: Path) -> None:
    told = {one["reason"]: (one["n_rows"], one["n_visitors"], one["visitor"] is not None) for one in decide.sums(home)}
    assert told.pop("price_in_range") == (1, 1, True)
    assert told.pop("price_in_range, device_known") == (1, 1, True)
    assert list(told.values()) == [(1, 0, False)]


def test_one_row_is_shown_with_its_event(home: Path) -> None:
    shown = decide.show(home, ids(home)[4])
    assert (shown["seq"], shown["item_id"], shown["reason"]) == (nth(home, 4), "11", "price_in_range, device_known")
    assert shown["visitor"] == shown["user_id"]
    with pytest.raises(KeyError, match="quarantine has no row 99"):
        decide.show(home, 99)


def test_what_is_accepted_counts_and_is_not_held_back_again_but_by_a_table(home: Path) -> None:
    assert decide.accept(home, Choice(ids=[ids(home)[4]]), "right") == 1
    assert seqs(home) == [2, 3, 4]
    assert quarantine_events(home, [(nth(home, 4), "price_in_range")]) == 0
    assert seqs(home) == [2, 3, 4]
    hold_anyway(home, [(nth(home, 4), "all_values_finite of user_features")])
    assert seqs(home) == [2, 3]


def test_a_row_that_is_no_event_cannot_be_accepted(home: Path) -> None:
    assert decide.accept(home, Choice(everything=True), "right") == 2
    assert seqs(home) == [1, 2, 3, 4]
    assert list(ids(home)) == [None]


def test_what_is_dropped_is_not_asked_about_again_and_not_replayed(home: Path) -> None:
    assert decide.drop(home, Choice(named="device_known"), "a test of ours") == 1
    assert decide.drop(home, Choice(ids=[ids(home)[None]]), "") == 1
    assert list(ids(home)) == [1]
    assert replay(home) == (1, 0, 0)
    assert quarantine_events(home, [(nth(home, 4), "price_in_range")]) == 0
    assert seqs(home) == [1, 2, 3]


def test_a_visitor_is_held_back_until_somebody_decides(home: Path) -> None:
    visitor = decide.show(home, ids(home)[4])["visitor"]
    assert decide.hold(home, Held(visitor=visitor), "a scraper") == 2
    assert decide.hold(home, Held([nth(home, 2)]), "looks odd") == 1
    assert seqs(home) == []
    assert replay(home) == (1, 0, 1)  # what validation held back is released, what a person holds is not
    assert seqs(home) == [1]
    assert decide.accept(home, Choice(visitor=visitor), "a good customer") == 2
    assert seqs(home) == [1, 3, 4]


@pytest.mark.parametrize("choice", [Choice(), Choice(ids=[1], everything=True)])
def test_a_decision_says_which_rows_in_one_way(home: Path, choice: Choice) -> None:
    with pytest.raises(ValueError, match="in one way"):
        decide.drop(home, choice, "")


def test_of_what_is_not_there_nothing_is_held_back(home: Path) -> None:
    with pytest.raises(ValueError, match="no such event"):
        decide.hold(home, Held([77]), "")


def said(home: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> Any:
    monkeypatch.setenv("ATTUNE_HOME", str(home))
    return CliRunner().invoke(app, ["quarantine", "hold", "--reason", "bad batch", *words])


def test_a_files_events_are_held_back_by_its_name(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "b.csv").write_text("7,10,3,pv,1511544070\n7,11,3,pv,1511544071\n")
    ingest_file(home / "b.csv", "taobao", home)
    assert json.loads(said(home, monkeypatch, "--source", "b.csv").stdout) == {"held": 2}
    assert seqs(home) == [2, 3]
    assert said(home, monkeypatch, "--source", "c.csv").exit_code != 0


def test_what_was_received_since_an_instant_is_held_back(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(said(home, monkeypatch, "--since", "2020-01-01T00:00:00").stdout) == {"held": 4}
    assert seqs(home) == []


def test_what_failed_stays_out_whatever_validation_says_later(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(said(home, monkeypatch, "--failed").stdout) == {"held": 2}
    assert replay(home).accepted == 0
    assert seqs(home) == [2, 3]


def test_events_are_held_back_in_one_way(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "in one way" in str(said(home, monkeypatch, "--failed", "--visitor", "p").exception)
    assert "in one way" in str(said(home, monkeypatch).exception)
