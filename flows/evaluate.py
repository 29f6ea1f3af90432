"""Evaluate: candidate and champion on the same later sessions, with the baselines beside them; `reports/evaluation.json`.

A retraining measures what the gate needs. ``attune evaluate`` also writes the slower half (`models.evaluation.full`)
and the page `reports/evaluation.html`.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from flows import off_policy
from flows.reports import evaluation as evaluation_page
from flows.server import Server, connected, running
from flows.train import LOG, load_examples, prepare
from infra import layout, registry
from infra.artifacts import read_parts, write_parts, write_report
from infra.lock import held
from infra.store.engines import open_store
from infra.store.statements import shadow as shadow_tables
from models.evaluation import baselines, predictions
from models.evaluation import full as full_evaluation
from models.evaluation.held_out import HeldOut, held_out
from models.evaluation.per_model import Judged
from models.inference import examples
from models.inference.examples import ExampleParams, Log
from models.memo import Memo
from models.model_set import ModelSet
from models.model_specs import FAULTS, MODEL_NAMES, NEEDED_MODELS, SPEC, SPECS
from models.weights import actions_from_log

REPORT: Final = "evaluation.json"
PAGE: Final = "evaluation.html"
PREDICTIONS: Final = "predictions"  # in the working folder: what all sides said about the held-out rows
CANDIDATE: Final = "candidate"
CHAMPION: Final = "champion"
BASELINE: Final = "baseline"
NOTHING: Final[Mapping[str, int]] = MappingProxyType({})
SEED: Final = 0


def run(home: Path) -> dict[str, Any]:
    """The report of the newest versions and the champion, evaluated now; what ``attune evaluate`` prints."""
    server = None if running(home) else Server(home)
    try:
        with connected(home, server):
            return evaluate(str(home), full=True)
    finally:
        if server:
            server.stop()


@flow(name="evaluate")
def evaluate(
    home: str, versions: dict[str, int] | None = None, folder: str | None = None, full: bool = False
) -> dict[str, Any]:
    """Evaluate a candidate and write the report.

    Parameters
    ----------
    versions
        The candidate; the newest version of each model by default.
    folder
        Working folder of the run that trained it; chosen anew from the lineage by default.
    full
        Also the ablation, the stronger baselines and the second labelling rule; takes longer than a retraining may.

    Returns
    -------
    The report.
    """
    with held(Path(home) / layout.RETRAIN_LOCK, "retrain"):
        versions = versions or newest(Path(home))
        folder = folder or same_examples(home, versions)
        report = measure(home, versions, folder)
        if full:
            report["full"] = {**measure_fully(home, versions, folder), "off_policy": off_policy.verdict(home, versions)}
        publish(home, report)
        return report


def newest(home: Path) -> dict[str, int]:
    """Newest version of each model.

    Raises
    ------
    ValueError
        If there is none yet.
    """
    found: dict[str, int] = {}
    for one in registry.versions(home):
        if one.name in MODEL_NAMES:
            found.setdefault(one.name, one.version)
    if not set(found) >= set(NEEDED_MODELS):
        raise ValueError("there are no models to evaluate yet; train them with: attune retrain")
    return found


def same_examples(home: str, versions: Mapping[str, int]) -> str:
    """Choose the rows that a version was trained from once more; the same ones, as long as the log was not changed."""
    name = NEEDED_MODELS[0]
    one = next(one for one in registry.versions(Path(home), name) if one.version == versions[name])
    window = one.lineage["window"]
    until_us = window["as_of_us"] if window["as_of_us"] is not None else window["last_event_us"]
    return prepare(home, until_us, one.lineage["examples"]["at_most"])


def load_models(home: Path, versions: Mapping[str, int], log: Log, before_us: int, memo: Memo) -> ModelSet:
    """A set of models for judging: associations, ranker and action weights as they were before the held-out period.

    Parameters
    ----------
    memo
        Of the same log and instant: what does not hang on the versions is counted once for all sets.
    """
    earlier = memo("earlier", lambda: log.before(before_us))
    models: dict[str, Any] = {}
    for spec in SPECS:  # in an order in which a model finds those that it needs
        if spec.name in versions:
            models[spec.name] = spec.judged(registry.load(home, spec.name, versions[spec.name]), earlier, models, memo)
    actions = memo("actions", lambda: actions_from_log.ready_of(earlier, before_us))
    return ModelSet(**models, actions=actions, versions=dict(versions))


def readable(home: Path, versions: Mapping[str, int]) -> dict[str, int]:
    """Versions that this Attune can load: one of another format, or damaged, is judged by nobody and in nobody's way."""
    found = {}
    for name, version in versions.items():
        with suppress(*FAULTS):
            SPEC[name].load(registry.load(home, name, version))
            found[name] = version
    return found


@task(name="measure", cache_policy=NO_CACHE)
def measure(home: str, versions: dict[str, int], folder: str) -> dict[str, Any]:
    """Measure candidate, champion and baselines on the held-out rows; the report."""
    of, meta, rng = load_held_out(Path(folder))
    champion, memo = readable(Path(home), registry.champions(Path(home))), Memo()

    def measured(
        side: str, rng: np.random.Generator, versions: Mapping[str, int], beside: Mapping[str, int] = NOTHING
    ) -> dict[str, Any]:  # fmt: skip
        models = load_models(Path(home), {**beside, **versions}, of.log, of.from_us, memo)
        said = predictions.predict(models, of)
        write_parts(Path(folder) / PREDICTIONS / side, predictions.to_parts(said))  # the gate compares row by row
        if side == CANDIDATE:
            write_parts(Path(folder) / PREDICTIONS / BASELINE, predictions.to_parts(baselines.predict(of, said)))
        return {"versions": dict(versions), **_tables(Judged(models, said, of, rng))}

    lent = {name: versions[name] for name in NEEDED_MODELS if name not in champion}  # what has no champion differs in nothing
    ours, theirs = rng.spawn(2)
    with ThreadPoolExecutor(2) as sides:  # kernels and trees need no interpreter
        of_candidate = sides.submit(measured, CANDIDATE, ours, versions)
        of_champion = sides.submit(measured, CHAMPION, theirs, champion, lent) if champion not in ({}, versions) else None
        candidate = of_candidate.result()
    return {
        "evaluated_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "held_out": {
            "from_us": of.from_us,
            "to_us": meta["window"]["last_event_us"],
            "n_rows": int(of.rows.sum()),
            "n_sessions": int(of.examples.starts[of.rows].sum()),
        },
        "candidate": candidate,
        "shadow": shadowed(Path(home), versions),
        "champion": of_champion.result() if of_champion else candidate if champion else None,
        "baselines": {spec.name: spec.evaluation.baselines(of) for spec in SPECS if spec.evaluation.baselines},
    }


def load_held_out(folder: Path) -> tuple[HeldOut, Mapping[str, Any], np.random.Generator]:
    """The held-out period of a working folder, what is known about its rows, and the generator that drew the questions."""
    found, meta = load_examples(folder)
    rng = np.random.default_rng(SEED)
    log, split = examples.log_from_parts(read_parts(folder / LOG)), found.split(ExampleParams(**meta["params"]))
    return held_out(found, log, split, rng, from_us=meta["judged_from_us"]), meta, rng


def _tables(one: Judged) -> dict[str, Any]:
    """Table of each model that is judged, empty where the set has none."""
    return {
        spec.name: spec.evaluation.table(one) if getattr(one.models, spec.name) is not None else {}
        for spec in SPECS
        if spec.evaluation.table
    }


def shadowed(home: Path, versions: Mapping[str, int]) -> dict[str, Any]:
    """Shadow of a candidate: how it answered live requests beside the champion, by kind of request, where it was let try."""
    with closing(open_store(home)) as store:
        rows = store.read(shadow_tables.READ, (shadow_tables.named(versions),))
    return {kind: shadow_tables.summary(sums) for kind, *sums in rows}


@task(name="measure fully", cache_policy=NO_CACHE)
def measure_fully(home: str, versions: dict[str, int], folder: str) -> dict[str, Any]:
    """The slower half of the report, about the candidate."""
    found, meta = load_examples(folder)
    log = examples.log_from_parts(read_parts(Path(folder) / LOG))
    models = load_models(Path(home), versions, log, meta["test_from_us"], Memo())
    return full_evaluation.tables(models, log, found, found.split(ExampleParams(**meta["params"])), SEED)


@task(name="publish report", cache_policy=NO_CACHE)
def publish(home: str, report: dict[str, Any]) -> str:
    """Write the report, keep its measures with the versions, and show it in Prefect; the file."""
    path = Path(home) / layout.REPORTS / REPORT
    write_report(path, report)
    if "full" in report:
        path.with_name(PAGE).write_text(evaluation_page.page(report), encoding="utf-8")
    candidate = report["candidate"]
    for name, version in candidate["versions"].items():
        registry.record(Path(home), name, version, metrics=SPEC[name].evaluation.kept(name, candidate))
    text = evaluation_page.markdown(report)
    create_markdown_artifact(text, key="evaluation", description="Candidate, champion and baselines")
    return str(path)
