"""Approval by a person: the run really pauses in Prefect, and what it decides is what was answered."""

import contextvars
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows import access, approve
from flows.server import Server, connected
from infra import layout, registry
from models import weight_profile as weights
from tests.waiting import PATIENCE_S, until

VERSIONS = {"weights": 1}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, prefect_server: Server) -> Iterator[Path]:
    """A home whose runs are told to a Prefect server."""
    home = tmp_path_factory.mktemp("approve")
    with connected(home, prefect_server):
        registry.save(home, "weights", weights.to_parts(weights.STATIC), {})
        yield home


class Waiting:
    """A flow run in a thread that asks, and moves the alias if it is told so."""

    def __init__(self, home: Path, within_s: int = int(PATIENCE_S)) -> None:
        from prefect import flow

        @flow(name="asks")
        def asks() -> dict[str, Any]:
            told = approve.ask(home, VERSIONS, within_s, poll_s=0.1)
            if told["promote"]:
                registry.set_champions(home, VERSIONS, actor=told["by"], reason="approved")
            return told

        self.told: dict[str, Any] = {}
        context = contextvars.copy_context()  # Prefect's settings of this test live there
        self.thread = threading.Thread(target=lambda: self.told.update(context.run(asks)))
        self.thread.start()
        self.asked = home / layout.REPORTS / approve.ASKED

    def until_paused(self) -> dict[str, Any]:
        """What the run left for whoever answers, once Prefect says that it is paused."""
        until(lambda: self.asked.exists() and state_of(self.left()) == "PAUSED", "the run did not pause", poll_s=0.1)
        return self.left()

    def left(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.asked.read_text())
        return found

    def ended(self) -> dict[str, Any]:
        """What the run was told, once it is over."""
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive(), "the run did not end"
        return self.told


def asked(left: dict[str, Any], path: str, body: Any) -> Any:
    from prefect.settings import PREFECT_API_AUTH_STRING

    return access.post(left["api"], path, body, PREFECT_API_AUTH_STRING.value())


def state_of(left: dict[str, Any]) -> str:
    (run,) = asked(left, "flow_runs/filter", {"flow_runs": {"id": {"any_": [left["flow_run"]]}}})
    return str(run["state"]["type"])


def resumed(left: dict[str, Any], **answer: Any) -> bool:
    """Answer as Prefect's page does; it is rejected until the form is there, a moment after the run is paused."""
    return bool(asked(left, f"flow_runs/{left['flow_run']}/resume", {"run_input": answer})["status"] == "ACCEPT")


def test_nothing_serves_before_somebody_approves(home: Path) -> None:
    run = Waiting(home)
    left = run.until_paused()
    assert (registry.champions(home), state_of(left)) == ({}, "PAUSED")
    assert approve.answer(home, approved=True, by="ada") == {"versions": VERSIONS, "approved": True, "by": "ada"}
    assert run.ended() == {"promote": True, "approval": "approved by ada", "by": "ada"}
    assert registry.champions(home) == VERSIONS
    assert registry.audit(home)[-1].actor == "ada"
    assert state_of(left) == "COMPLETED"


def test_whoever_resumes_the_run_in_prefect_may_also_say_no(home: Path) -> None:
    run = Waiting(home)
    left = run.until_paused()
    until(lambda: resumed(left, approved=False, by="bob"), "Prefect did not take the answer", poll_s=0.1)
    assert run.ended() == {"promote": False, "approval": "bob did not approve it"}


def test_no_answer_in_time_is_a_no(home: Path) -> None:
    run = Waiting(home, within_s=1)
    assert run.ended() == {"promote": False, "approval": "nobody approved it within 1 s"}
    assert not run.asked.exists()


def test_where_nothing_waits_the_answer_is_refused_in_one_line(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no run waits for an approval"):
        approve.answer(tmp_path, approved=True, by="ada")
    gone = tmp_path / layout.REPORTS / approve.ASKED
    gone.parent.mkdir()
    gone.write_text(json.dumps({"api": "http://127.0.0.1:9/api", "flow_run": "x", "versions": VERSIONS}))  # of a killed run
    with pytest.raises(ValueError, match="no run waits for an approval"):
        approve.answer(tmp_path, approved=True, by="ada")
