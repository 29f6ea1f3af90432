"""Approve: a run that waits in Prefect until a person lets its candidate serve, and the answer to it from a terminal.

Whoever prefers Prefect's pages resumes the paused run there; the form asks the same two things.
"""

import json
import time
import urllib.error
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from flows import access
from infra import layout
from infra.artifacts import write_report

ASKED: Final = "approval.json"  # below reports/: who waits, while somebody does
POLL_S: Final = 1.0
RETRY_S: Final = 30.0


def ask(home: Path, versions: Mapping[str, int], within_s: int, poll_s: float = POLL_S) -> dict[str, Any]:
    """Pause the flow run that calls this until somebody resumes it.

    Returns
    -------
    ``{"promote", "approval"}``, and ``"by"`` where somebody approved; nobody's answer in time is a no.
    """
    from prefect.context import get_run_context
    from prefect.exceptions import FlowPauseTimeout
    from prefect.flow_runs import pause_flow_run
    from prefect.input import RunInput
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL

    class Approval(RunInput):
        """What is asked of the person who resumes the run."""

        approved: bool = True
        by: str = "operator"

    run_id = str(get_run_context().flow_run.id)  # type: ignore[union-attr]
    path, secret = home / layout.REPORTS / ASKED, home / layout.APPROVAL_AUTH
    access.keep(secret, PREFECT_API_AUTH_STRING.value() or "")
    write_report(path, {"api": PREFECT_API_URL.value(), "flow_run": run_id, "versions": dict(versions)})
    try:
        given: Any = pause_flow_run(wait_for_input=Approval, timeout=within_s, poll_interval=poll_s)  # type: ignore[call-overload]
    except FlowPauseTimeout:
        return {"promote": False, "approval": f"nobody approved it within {within_s} s"}
    finally:
        path.unlink(missing_ok=True)
        secret.unlink(missing_ok=True)
    if not given.approved:
        return {"promote": False, "approval": f"{given.by} did not approve it"}
    return {"promote": True, "approval": f"approved by {given.by}", "by": given.by}


def answer(home: Path, *, approved: bool, by: str) -> dict[str, Any]:
    """Resume the run that waits.

    Returns
    -------
    ``{"versions", "approved", "by"}``

    Raises
    ------
    ValueError
        If no run of this home waits for an answer.
    """
    path = home / layout.REPORTS / ASKED
    try:
        waiting = json.loads(path.read_text(encoding="utf-8"))
        _resume(waiting, {"approved": approved, "by": by}, access.kept(home / layout.APPROVAL_AUTH))
    except FileNotFoundError:
        raise ValueError("no run waits for an approval; one that does is started with: attune retrain --approve") from None
    except (OSError, json.JSONDecodeError) as error:
        gone = f"Prefect does not answer ({type(error).__name__})"
        raise ValueError(f"no run waits for an approval any more: {gone}; start it again: attune retrain --approve") from None
    return {"versions": waiting["versions"], "approved": approved, "by": by}


def _resume(waiting: Mapping[str, Any], run_input: Mapping[str, Any], secret: str | None) -> None:
    def status() -> str:
        """What Prefect says; a rejection where its store is locked for a moment, as where its form is not there yet."""
        try:
            path = f"flow_runs/{waiting['flow_run']}/resume"
            return str(access.post(waiting["api"], path, {"run_input": dict(run_input)}, secret)["status"])
        except urllib.error.HTTPError as error:
            if error.code < 500 or time.monotonic() >= last_try:
                raise
            return "REJECT"

    last_try = time.monotonic() + RETRY_S
    while (said := status()) == "REJECT" and time.monotonic() < last_try:
        time.sleep(POLL_S)
    if said != "ACCEPT":
        raise ValueError("the run does not wait any more; see Prefect's pages")
