"""Drift: compare the latest window of the log with the champion's, keep a report, and tell Prefect when a limit is crossed.

The event `EVENT` starts a retraining: the deployment of `flows.retrain` declares the trigger in ``infra/deploy/prefect.yaml``.
"""

import time
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from flows.off_policy import judged_until_us
from flows.reports import drift as drift_page
from flows.server import Server, connected, running
from infra import layout, registry
from infra.artifacts import write_report
from infra.store.engines import open_store
from infra.store.events import believed_within
from infra.store.statements.decisions import REWARDS_BETWEEN
from models.engagement import model as engagement_model
from models.evaluation import drift_report
from models.evaluation.drift import DRIFT, DriftParams
from models.inference import examples, intent
from models.schema import DAY_US
from models.statistics.verdict import FAIL, NOT_ENOUGH

EVENT: Final = "attune.drift.detected"
RESOURCE: Final = "attune.drift"
REPORT: Final = "drift.json"
PAGE: Final = "drift.html"
LONGEST_SESSION_US: Final = DAY_US  # read before the latest window: what began there is none of its sessions


def run(home: Path, now_us: int | None = None) -> dict[str, Any]:
    """The report as of now; what ``attune drift`` prints. The event is sent only where ``attune schedule`` can act on it."""
    if "intent" not in registry.champions(home):  # said before a Prefect server is started
        report = {**measure.fn(str(home), 0), "announced": "nothing to tell"}
        keep(home, report)
        return report
    served = running(home)
    server = None if served else Server(home)
    try:
        with connected(home, server):
            return watch(str(home), now_us, announce=served is not None)
    finally:
        if server:
            server.stop()


@flow(name="drift")
def watch(home: str, now_us: int | None = None, announce: bool = True) -> dict[str, Any]:
    """Measure, publish, and announce what crossed a limit.

    Returns
    -------
    The report, JSON-able, with ``announced``: whether an event was sent, or why not.
    """
    report = measure(home, time.time_ns() // 1000 if now_us is None else now_us)
    report["announced"] = tell(Path(home), report) if announce else "no schedule is running that could retrain"
    publish(home, report)
    return report


@task(name="measure drift", cache_policy=NO_CACHE)
def measure(home: str, now_us: int, params: DriftParams | None = None) -> dict[str, Any]:
    """The report: ``verdict``, ``sentence``, ``rules``, ``features``, ``intent_mix``, ``window``, ``champion``."""
    params = params or DriftParams()
    version = registry.champions(Path(home)).get("intent")
    report: dict[str, Any] = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "champion": version,
        "verdict": NOT_ENOUGH,
        "rules": [],
        "features": {},
        "intent_mix": None,
        "window": None,
    }
    if version is None:
        return {**report, "sentence": "there is no champion to compare with; train one with: attune retrain"}
    row = next(r for r in registry.versions(Path(home), "intent") if r.version == version)
    first_us, since_us = (row.lineage["window"][name] for name in ("first_event_us", "last_event_us"))
    from_us = max(since_us, now_us - int(params.window_days * DAY_US))
    with closing(open_store(Path(home))) as store:
        frame = believed_within(store, [(first_us, since_us), (max(since_us + 1, from_us - LONGEST_SESSION_US), now_us)])
        rewards = [
            np.array([reward for (reward,) in store.read(REWARDS_BETWEEN, span)], dtype=np.float64)
            for span in ((first_us, from_us), (from_us, judged_until_us(store, now_us)))
        ]
    if frame.empty:
        return {**report, "sentence": "the event log is empty"}
    log, _ = examples.read_log(frame)
    window = {"reference_until_us": since_us, "current_from_us": from_us, "current_until_us": now_us}
    champion = intent.from_parts(registry.load(Path(home), "intent"))
    found = drift_report.compared(
        log, champion, _engagement(Path(home)), window, rewards, partial(changed, delta=params.adwin_delta), params
    )
    return {**report, **found, "window": window}


def _engagement(home: Path) -> engagement_model.EngagementModel | None:
    """The champion; None in a home of before there was one, or where too few visitors bought to learn it."""
    if "engagement" not in registry.champions(home):
        return None
    return engagement_model.from_parts(registry.load(home, "engagement"))


def changed(before: npt.NDArray[np.float64], since: npt.NDArray[np.float64], delta: float) -> bool:
    """Whether ADWIN (Bifet and Gavalda 2007) cuts its window within `since`, after having seen `before`; both in time order.

    Examples
    --------
    >>> usual = np.tile([0.0, 1.0], 300)
    >>> changed(usual, np.ones(200), 0.002), changed(usual, usual[:200], 0.002)
    (True, False)
    """
    from river.drift import ADWIN

    window: Any = ADWIN(delta=delta)  # type: ignore[no-untyped-call]
    for value in before.tolist():
        window.update(value)
    found = False
    for value in since.tolist():
        window.update(value)
        found |= bool(window.drift_detected)
    return found


def tell(home: Path, report: dict[str, Any]) -> str:
    """Send the event, unless nothing drifted or a retraining has just been made; what was done."""
    if report["verdict"] != DRIFT:
        return "nothing to tell"
    newest = max(datetime.fromisoformat(row.created_at) for row in registry.versions(home, "intent"))
    hours = (datetime.now(UTC) - newest).total_seconds() / 3600
    if hours < DriftParams().quiet_h:
        return f"held back: a candidate was trained {hours:.1f} hours ago"
    announce(report)
    return "sent"


def announce(report: dict[str, Any]) -> None:
    """Emit the event on which a retraining starts; names and numbers only."""
    failed = {rule["name"]: rule["observed"] for rule in report["rules"] if rule["verdict"] == FAIL}
    emit_event(EVENT, {"prefect.resource.id": RESOURCE, "attune.model": f"intent:{report['champion']}"}, payload=failed)


@task(name="publish drift", cache_policy=NO_CACHE)
def publish(home: str, report: dict[str, Any]) -> str:
    """Keep the report, and show it in Prefect; the file."""
    path = keep(Path(home), report)
    create_markdown_artifact(drift_page.text(report), key="drift", description="The latest window against the champion's")
    return str(path)


def keep(home: Path, report: dict[str, Any]) -> Path:
    """Write the report and its page; the file."""
    path = home / layout.REPORTS / REPORT
    write_report(path, report)
    path.with_name(PAGE).write_text(drift_page.page(report), encoding="utf-8")
    return path
