"""Evaluate: candidate and champion on the same later sessions, with the baselines beside them; `reports/evaluation.json`.

A retraining measures what the gate needs. ``attune evaluate`` also writes the slower half (`models.evaluation.full`)
and the page `reports/evaluation.html`.
"""

from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
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
from infra.store.connection import connect
from infra.store.statements import shadow as shadow_tables
from models import weight_profile as weights
from models.engagement import from_log as log_engagement
from models.engagement import model as engagement_model
from models.evaluation import comparison
from models.evaluation import full as full_evaluation
from models.evaluation import tables as evaluation
from models.evaluation.tables import Models
from models.inference import examples, intent, next_action
from models.inference.examples import ExampleParams, Log
from models.questions import next_item
from models.ranker import from_log as log_ranker
from models.schema import MODEL_NAMES, NEEDED_MODELS

REPORT: Final = "evaluation.json"
PAGE: Final = "evaluation.html"
PREDICTIONS: Final = "predictions"  # in the working folder: what both sides said about the held-out rows
N_QUESTIONS: Final = 2_000  # prefixes whose next item is asked for
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
    for row in registry.versions(home):
        if row["name"] in MODEL_NAMES:
            found.setdefault(row["name"], row["version"])
    if not set(found) >= set(NEEDED_MODELS):
        raise ValueError("there are no models to evaluate yet; train them with: attune retrain")
    return found


def same_examples(home: str, versions: Mapping[str, int]) -> str:
    """Choose the rows that a version was trained from once more; the same ones, as long as the log was not changed."""
    row = next(r for r in registry.versions(Path(home), "intent") if r["version"] == versions["intent"])
    window = row["lineage"]["window"]
    until_us = window["as_of_us"] if window["as_of_us"] is not None else window["last_event_us"]
    return prepare(home, until_us, row["lineage"]["examples"]["at_most"])


def load_models(home: Path, versions: Mapping[str, int], log: Log, before_us: int) -> Models:
    """A set of models for judging: associations and ranker as they would have been before the held-out period."""
    parts = {name: registry.load(home, name, version) for name, version in versions.items()}
    order, model, profile = parts.get("ranker"), intent.from_parts(parts["intent"]), weights.from_parts(parts["weights"])
    return Models(
        model,
        next_action.from_parts(parts["next_action"]),
        evaluation.rebuilt(log, before_us, parts["associations"].meta["params"]),
        profile,
        log_ranker.fit(log.before(before_us), order.meta["params"], model=model, weights=profile) if order else None,
        engagement_model.from_parts(parts["engagement"]) if "engagement" in parts else None,
        log_engagement.weights_of(log.before(before_us), before_us),
    )


@task(name="measure", cache_policy=NO_CACHE)
def measure(home: str, versions: dict[str, int], folder: str) -> dict[str, Any]:
    """Measure candidate, champion and baselines on the held-out rows; the report."""
    found, meta = load_examples(folder)
    log = examples.log_from_parts(read_parts(Path(folder) / LOG))
    held_out = found.split(ExampleParams(**meta["params"])).test
    later = log.since(meta["test_from_us"])
    champion = registry.champions(Path(home))

    rng = np.random.default_rng(SEED)
    asked = next_item.questions(later.events, later.starts, N_QUESTIONS, rng)

    def measured(of: Mapping[str, int], side: str) -> dict[str, Any]:
        models = load_models(Path(home), of, log, meta["test_from_us"])
        said = comparison.predict(models, found, held_out, later, asked)
        write_parts(Path(folder) / PREDICTIONS / side, comparison.to_parts(said))  # the gate compares row by row
        of_engagement = {} if said.p_engagement is None else evaluation.engagement_table(said.p_engagement, found, held_out)
        return {
            "versions": dict(of),
            "engagement": of_engagement,
            "intent": evaluation.intent_tables(said.p_intent, found, held_out),
            "next_action": evaluation.next_action_tables(models.next_action, found, held_out),
            "associations": evaluation.association_tables(models.associations, later, asked, said.ranks, rng),
        }

    candidate = measured(versions, "candidate")
    complete = set(champion) >= set(NEEDED_MODELS)
    return {
        "evaluated_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "held_out": {
            "from_us": meta["test_from_us"],
            "to_us": meta["window"]["last_event_us"],
            "n_rows": int(held_out.sum()),
            "n_sessions": int(found.starts[held_out].sum()),
        },
        "candidate": candidate,
        "shadow": shadowed(Path(home), versions),
        "champion": (candidate if champion == versions else measured(champion, "champion")) if complete else None,
        "baselines": {
            "intent": evaluation.intent_baselines(found, held_out),
            "next_action": evaluation.next_action_baseline(found, held_out),
        },
    }


def shadowed(home: Path, versions: Mapping[str, int]) -> dict[str, Any]:
    """How a candidate answered live requests beside the champion, by kind of request, where the service let it try."""
    with closing(connect(home)) as connection:
        rows: Any = connection.execute(shadow_tables.READ, (shadow_tables.named(versions),)).fetchall()
    return {kind: shadow_tables.summary(sums) for kind, *sums in rows}


@task(name="measure fully", cache_policy=NO_CACHE)
def measure_fully(home: str, versions: dict[str, int], folder: str) -> dict[str, Any]:
    """The slower half of the report, about the candidate."""
    found, meta = load_examples(folder)
    log = examples.log_from_parts(read_parts(Path(folder) / LOG))
    models = load_models(Path(home), versions, log, meta["test_from_us"])
    return full_evaluation.tables(models, log, found, found.split(ExampleParams(**meta["params"])), SEED)


@task(name="publish report", cache_policy=NO_CACHE)
def publish(home: str, report: dict[str, Any]) -> str:
    """Write the report, keep its measures with the versions, and show it in Prefect; the file."""
    path = Path(home) / layout.REPORTS / REPORT
    write_report(path, report)
    if "full" in report:
        path.with_name(PAGE).write_text(evaluation_page.page(report), encoding="utf-8")
    candidate = report["candidate"]
    for name, metrics in _metrics(candidate).items():
        registry.record(Path(home), name, candidate["versions"][name], metrics=metrics)
    text = evaluation_page.markdown(report)
    create_markdown_artifact(text, key="evaluation", description="Candidate, champion and baselines")
    return str(path)


def _metrics(candidate: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept with each version; weights and ranker are judged by the questions about the next item."""
    items = candidate["associations"]
    of_items = {
        "weights": {name: items[name] for name in ("dynamic_minus_static_mrr", "better") if name in items},
        "ranker": items["overall"].get("ranker", {}),
    }
    kept = {**{name: candidate[name] for name in ("intent", "next_action", "associations", "engagement")}, **of_items}
    return {name: metrics for name, metrics in kept.items() if name in candidate["versions"]}
