"""Decisions are on record soon after the answer, and no answer waits for it."""

import threading
from pathlib import Path
from typing import Any

import msgspec

from infra.store.statements.decisions import DECISION_COLUMNS
from services.serving.decision_log import DROPPED, FAILED, LOGGED, Decision, DecisionLog, Failure
from tests.stores import connect
from tests.waiting import PATIENCE_S, until


def decision(number: int, **other: Any) -> Decision:
    context = {"device": "mobile", "hour": 10, "intent": "research", "segment": "new"}
    return Decision(
        f"d-{number}", "shop", "p", "s-1", 7, "e", "dynamic", "heuristic", 0.5, context, {"weights": 1}, ["a", "b"], 300, []
    )._replace(**other)


def counted(into: dict[str, int]) -> Any:
    return lambda status, n: into.update({status: into.get(status, 0) + n})


def test_the_columns_of_a_decision_are_those_of_the_table() -> None:
    assert Decision._fields == DECISION_COLUMNS


def test_what_waits_is_written_when_the_log_is_closed_each_decision_once(tmp_path: Path) -> None:
    counts: dict[str, int] = {}
    log = DecisionLog(tmp_path, counted(counts), gather_s=60)
    assert all(log.append(decision(number)) for number in (1, 2, 2))
    log.close()
    found = connect(tmp_path).execute("SELECT decision_id, items, context, snapshot FROM decisions ORDER BY seq").fetchall()
    assert [row[0] for row in found] == ["d-1", "d-2"]
    assert msgspec.json.decode(str(found[0][1])) == ["a", "b"]
    assert msgspec.json.decode(str(found[0][2]))["hour"] == 10
    assert counts == {LOGGED: 3}


def test_failures_are_written_beside_the_decisions(tmp_path: Path) -> None:
    counts: dict[str, int] = {}
    log = DecisionLog(tmp_path, counted(counts), gather_s=60)
    failure = Failure("shop", "p", 7, "e", "dynamic", "ValueError")
    for one in (decision(1), failure, decision(2), failure):
        log.append(one)
    log.close()
    assert connect(tmp_path).execute(f"SELECT {', '.join(Failure._fields)} FROM failed_decisions").fetchall() == [failure] * 2
    assert counts == {LOGGED: 2, FAILED: 2}


def test_a_full_queue_drops_and_counts_instead_of_waiting(tmp_path: Path) -> None:
    counts: dict[str, int] = {}
    log = DecisionLog(tmp_path, counted(counts), gather_s=60, max_waiting=2)
    assert [log.append(decision(number)) for number in range(3)] == [True, True, False]
    log.close()
    assert counts == {LOGGED: 2, DROPPED: 1}


def test_a_store_that_cannot_be_written_loses_nothing_when_it_is_mended(tmp_path: Path) -> None:
    home, wrote = tmp_path / "home", threading.Event()
    home.write_text("in the way")
    log = DecisionLog(home, lambda status, n: wrote.set(), gather_s=0.01)
    log.append(decision(1))
    home.unlink()
    assert wrote.wait(PATIENCE_S)
    log.close()
    assert connect(home).execute("SELECT count(*) FROM decisions").fetchall() == [(1,)]


def test_a_decision_that_no_store_takes_does_not_stop_the_log(tmp_path: Path) -> None:
    counts: dict[str, int] = {}
    log = DecisionLog(tmp_path, counted(counts), gather_s=0.01)
    log.append(decision(1, session_id="\ud800"))
    until(lambda: counts)
    log.append(decision(2))
    log.close()
    assert counts == {DROPPED: 1, LOGGED: 1}
