"""Retrain: the whole way from the log to a champion, once; a table of contents over the other flows."""

import shutil
import subprocess
import sys
import time
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from prefect import flow, get_run_logger

from flows.look import look_at
from flows.sample import form_of
from flows.server import Server, connected, running
from flows.steps import Steps
from infra import layout, registry
from infra.lock import held
from infra.settings import prepare
from infra.store.engines import open_store
from infra.store.statements.events import ANY_EVENT
from models.evaluation import gate
from models.schema import LOCAL_PARTNER

STEPS: Final = ("start", "ingest", "validate", "materialize", "train", "evaluate", "promote")
DEPLOY: Final = "deploy"  # the step that follows where it is asked for
LATER: Final = ("lightgbm", "feature_repo", "feast", "great_expectations.expectations", "flows.materialize", "flows.promote")


def run(
    home: Path,
    events: Path | None = None,
    format: str | None = None,
    as_of_us: int | None = None,
    dask: str | None = None,
    approve_within_s: int = 0,
    partner: str = LOCAL_PARTNER,
    map_file: str | None = None,
    settings: dict[str, str] | None = None,
    and_deploy: bool = False,
) -> dict[str, Any]:
    """Retrain once in this process, with a Prefect server of its own unless ``attune schedule`` serves this home.

    Parameters
    ----------
    events, format
        A file to ingest first, and its format.
    as_of_us
        Leave out what happened later.
    dask
        Address of a Dask scheduler whose workers fold and count pairs, and see the same home; models are fitted here.
    approve_within_s
        How long a candidate that the gate lets through waits for a person (`flows.approve`); 0 asks nobody.
    partner, map_file
        Whose events the file has, and the map of its columns, if it is of no format.
    settings
        Hyper-parameters by path, see `flows.train.train`.
    and_deploy
        Whether `flows.deploy.deploy` follows where something was promoted.

    Returns
    -------
    What `retrain` returns, with the seconds of the start added.

    Raises
    ------
    ValueError, OSError
        In one line that says what to do: no events, a wrong file, another retrain running, validation stopped the batch.
    """
    home = prepare(home)
    if settings:
        _require_params(settings)
    if and_deploy:
        from flows.deploy import require_checkout

        require_checkout()
    steps = Steps(*STEPS, *([DEPLOY] if and_deploy else []))
    with held(home / layout.RETRAIN_LOCK, "retrain"):
        if events is None:
            _require_events(home)
        else:
            look_at(events, *form_of(format, Path(map_file) if map_file else None))
        server = None if running(home) else Server(home)
        try:
            with steps.step("start") as said:
                _get_ready()
                said["Prefect at"] = server.wait() if server else running(home)
            with connected(home, server):
                file = str(events) if events else None
                whose = (partner, map_file)
                summary = retrain(str(home), file, format, as_of_us, dask, approve_within_s, *whose, settings, and_deploy)
            return {**summary, "seconds": {**steps.seconds, **summary["seconds"]}}
        finally:
            if server:
                server.stop()


def _require_params(settings: dict[str, str]) -> None:
    from models.model_specs import PARAMS
    from models.params import by_model

    by_model(settings, PARAMS)


def _require_events(home: Path) -> None:
    """Say at once what would be said after half a minute."""
    with closing(open_store(home)) as store:
        if not store.read(ANY_EVENT):
            raise ValueError("the event log is empty: bring events with attune ingest FILE, or start with attune up")


def _get_ready() -> None:
    """Do what needs no server while it starts: kernels in a process of their own, and imports that take seconds each."""
    from numba import config

    compiled = Path(getattr(config, "CACHE_DIR", "") or Path(layout.__file__).parent)
    if not any(compiled.rglob("*.nbi")):
        subprocess.Popen([sys.executable, "-m", "models.warm_up"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for module in LATER:
        import_module(module)


@flow(name="retrain")
def retrain(
    home: str,
    events: str | None = None,
    format: str | None = None,
    as_of_us: int | None = None,
    dask: str | None = None,
    approve_within_s: int = 0,
    partner: str = LOCAL_PARTNER,
    map_file: str | None = None,
    settings: dict[str, str] | None = None,
    and_deploy: bool = False,
) -> dict[str, Any]:
    """Bring the log up to date, validate it, materialize features, train, evaluate, and promote what the gate lets through.

    Returns
    -------
    ``{"versions", "verdict", "promoted", "approval", "models", "held_back", "champions", "rules", "counts",
    "validation", "features", "aims", "deployed", "seconds"}``, JSON-able; `deployed` is None where nothing was.
    """
    from flows.aim import aim_signals
    from flows.keep_reports import keep_reports

    at, steps = Path(home), Steps(*STEPS, *([DEPLOY] if and_deploy else []), told=get_run_logger().info)
    steps.skip("start")
    with held(at / layout.RETRAIN_LOCK, "retrain"):
        _clean(at)
        counts = _bring_in(steps, at, events, format, partner, map_file)
        validation, features = _make_ready(steps, home, as_of_us, dask)
        trained, verdict = _learn(steps, home, as_of_us, validation, settings, approve_within_s, dask)
        aims = aim_signals(home, as_of_us)
        keep_reports(at, time.time_ns() // 1000)
        _clean(at)
    deployed = _deploy(steps, home) if and_deploy and verdict["promote"] else None
    return {
        "versions": trained["versions"],
        "verdict": verdict["verdict"],
        "promoted": verdict["promote"],
        "approval": verdict.get("approval"),
        "models": verdict["models"],
        "held_back": verdict.get("held_back", {}),
        "champions": registry.champions(at),
        "rules": verdict["rules"],
        "counts": counts,
        "validation": validation,
        "features": features["rows"],
        "aims": aims,
        "deployed": deployed,
        "seconds": steps.seconds,
    }


# Flows are imported where they are called, so that a server can be started before the libraries behind them are loaded.


def _bring_in(
    steps: Steps, home: Path, events: str | None, format: str | None, partner: str, map_file: str | None
) -> dict[str, int]:
    """Bring the log up to date; counts of the file's events."""
    from flows.ingest import ingest

    with steps.step("ingest") as said:
        counts = ingest(Path(events), format or "attune", home, partner, map_file)._asdict() if events else {}
        said.update(counts)
    return counts


def _make_ready(steps: Steps, home: str, as_of_us: int | None, dask: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Validate the log and materialize its features; what either says."""
    from flows.fold_actions import fold_actions
    from flows.materialize import materialize_features
    from flows.validate import validate_events

    with steps.step("validate") as said:
        validation = validate_events(home, as_of_us)
        said.update(events=validation["n_rows"], quarantined=validation["n_quarantined"])
    with steps.step("materialize") as said:
        features = materialize_features(home, as_of_us, dask)
        said.update({**features["rows"], **fold_actions(home, as_of_us)})
    return validation, features


def _learn(
    steps: Steps,
    home: str,
    as_of_us: int | None,
    validation: dict[str, Any],
    settings: dict[str, str] | None,
    approve_within_s: int,
    dask: str | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train and evaluate a candidate, promote it if the gate lets it through; the candidate and the verdict."""
    from flows.evaluate import evaluate
    from flows.promote import promote
    from flows.train import train

    with steps.step("train") as said:
        trained = train(home, as_of_us, validation=validation, settings=settings, dask=dask)
        said.update({name: f"v{version}" for name, version in trained["versions"].items()})
    with steps.step("evaluate") as said:
        report = evaluate(home, trained["versions"], trained["folder"])
        said["held-out sessions"] = report["held_out"]["n_sessions"]
    with steps.step("promote") as said:
        verdict = promote(home, trained["versions"], trained["folder"], approve_within_s)
        said["verdict"] = gate.in_words(verdict)
    return trained, verdict


def _deploy(steps: Steps, home: str) -> dict[str, Any]:
    from flows.deploy import deploy

    with steps.step(DEPLOY) as said:
        deployed = deploy(home)
        said["Bento"] = deployed["bento"]
    return deployed


def _clean(home: Path) -> None:
    """Remove what a killed run left: working folders, artifacts without a row. The lock says that nobody uses them."""
    shutil.rmtree(home / layout.RUNS, ignore_errors=True)
    registry.sweep(home)
