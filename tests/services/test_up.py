"""`attune up`'s own parts; the whole of it runs in tests/test_journey.py."""

import socket
import stat
from pathlib import Path

import pytest

from infra.store.engines import open_writer
from models.events.rules import event_problem, to_row
from services.http import partners
from services.local_keys import local_key
from services.processes import only_one
from services.up import GUESSED, Plan, run, sample_request
from tests.waiting import PATIENCE_S


def plan(home: Path, events: Path | None = None, port: int = 0) -> Plan:
    return Plan(home, events, ("--format", "attune"), "127.0.0.1", port, 1, False, True)


def test_a_missing_file_is_said_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file .*shop\.jsonl"):
        run(plan(tmp_path / "home", tmp_path / "shop.jsonl"))
    assert not (tmp_path / "home").exists()


def test_a_table_that_nobody_described_is_read_by_a_guess(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The rest of the main job is not done here: another holds the home by then."""
    (table := tmp_path / "shop.csv").write_text("Zeitpunkt;Kunde;Aktion;Artikelnummer\n21.11.2023 10:00;7;Kauf;A-1\n")
    with only_one(tmp_path), pytest.raises(OSError, match="up"):
        run(plan(tmp_path, table)._replace(form=GUESSED))
    said = capfd.readouterr().err
    assert "time: Zeitpunkt (%d.%m.%Y %H:%M)" in said
    assert f"read by this guess: {tmp_path / 'guessed.toml'}" in said
    assert "1 of the first 1 rows can be read" in said
    assert '"item_id" = "Artikelnummer"' in (tmp_path / "guessed.toml").read_text()
    table.write_text("a,b\n1,2\n")
    assert run(plan(tmp_path, table)._replace(form=GUESSED)) == 2


def test_a_taken_port_is_said_before_any_work(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="choose another with --host or --port"):
            run(plan(tmp_path, port=taken.getsockname()[1]))


def test_the_local_key_stays_the_same_and_is_for_the_owner_only(tmp_path: Path) -> None:
    key = local_key(tmp_path)
    assert local_key(tmp_path) == key
    assert stat.S_IMODE((tmp_path / "local.key").stat().st_mode) == 0o600
    assert partners.Keys(tmp_path).authenticate(key, 1.0) is not None


def test_the_sample_request_is_a_real_session_in_the_public_form(tmp_path: Path) -> None:
    writer = open_writer(tmp_path, lambda: 7)
    events = [
        {"event_id": str(i), "type": "item_view", "item_id": f"sku-{i}", "ts": f"2026-11-21T10:00:0{i}Z", "dwell_ms": 5.0}
        for i in range(6)
    ]
    writer.append("local", [to_row(event, "p") for event in events]).result(PATIENCE_S)
    writer.close()
    session = sample_request(tmp_path)["session_data"]
    assert [e["item_id"] for e in session["events"]] == [f"sku-{i}" for i in range(6)]
    assert [event_problem({"event_id": "e", "user_id": "u", **e}, 2**60) for e in session["events"]] == [None] * 6


def test_an_empty_log_still_gives_a_request(tmp_path: Path) -> None:
    assert sample_request(tmp_path)["session_data"]["events"] == []
