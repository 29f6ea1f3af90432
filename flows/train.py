"""Train: chosen rows of the log with their features as they were known then, five models, five new versions.

The judged model is the one that serves: the intent and next-action models are fitted on the sessions before the held-out
period, not fitted again on everything afterwards. The associations and the ranker that serve know the whole log; they are
judged by a second build on the earlier sessions.
"""

import importlib.metadata
import uuid
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import lightgbm
import numpy as np
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows import trial
from infra import layout, registry
from infra.artifacts import read_parts, write_parts
from infra.lock import held
from infra.store.connection import connect
from infra.store.events import read_events
from models import weight_profile as weights
from models.artifact import N_GOLDEN, Parts, flat
from models.associations import model as associations
from models.engagement import from_log as log_engagement
from models.engagement import model as engagement_model
from models.inference import examples, intent, next_action
from models.inference.examples import ExampleParams, Examples
from models.ranker import from_log as log_ranker
from models.ranker import model as ranker
from models.schema import FEATURE_SERVICES, HORIZONS_S, MODEL_NAMES
from models.weights import from_log as log_weights

LOG: Final = "log"
EXAMPLES: Final = "examples"
MODELS: Final = "models"
INCUMBENT: Final = "incumbent"  # the weights that serve
RETRIES: Final[dict[str, Any]] = {"retries": 1, "retry_delay_seconds": 1, "cache_policy": NO_CACHE}


@flow(name="train")
def train(
    home: str, as_of_us: int | None = None, at_most: int = 100_000, seed: int = 0, validation: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Train all models on the log up to an instant and keep them as new versions.

    Parameters
    ----------
    home
        ``ATTUNE_HOME``; features must be materialized.
    at_most
        Rows to learn from, at most.
    validation
        What the validation of the same log said; kept in the lineage.

    Returns
    -------
    ``{"versions": {name: version}, "folder": working folder}``
    """
    with held(Path(home) / layout.RETRAIN_LOCK, "retrain"):
        folder = prepare(home, as_of_us, at_most)
        fitted = [fit.submit(folder, seed) for fit in (fit_next_action, fit_associations, fit_intent)]
        for fit in (fit_weights, fit_ranker):  # each asks the models before it
            fitted.append(fit.submit(folder, seed, return_state=False, wait_for=fitted[2:]))
        fitted.append(fit_engagement.submit(folder, seed, return_state=False, wait_for=fitted[:1]))
        for one in fitted:
            one.result()
        return {"versions": keep(home, folder, seed, validation), "folder": folder}


@task(name="choose rows and join features", **RETRIES)
def prepare(home: str, as_of_us: int | None, at_most: int) -> str:
    """Write the encoded log and the rows to learn from into a new working folder; the folder."""
    from flows.materialize import training_set

    folder = Path(home) / layout.RUNS / uuid.uuid4().hex[:12]
    params = ExampleParams(at_most=at_most)
    with closing(connect(Path(home))) as connection:
        frame = read_events(connection, until_us=as_of_us)
    if frame.empty:
        raise ValueError("the event log is empty: bring events with attune ingest FILE, or start with attune up")
    window = _window(frame, as_of_us)
    log, frame = examples.read_log(frame)
    rows = examples.choose(log, frame, params)
    known = training_set(Path(home), examples.entities(log, frame, rows)).sort_values("row_id")
    found = examples.assemble(log, rows, known)
    write_parts(folder / LOG, examples.log_to_parts(log))
    parts = examples.to_parts(found)
    split = found.split(params)
    periods = {"valid_from_us": split.valid_from_us, "test_from_us": split.test_from_us}
    write_parts(folder / EXAMPLES, Parts({**parts.meta, "window": window, "params": asdict(params), **periods}, parts.arrays))
    _note_incumbent(Path(home), folder, as_of_us, split.test_from_us)
    return str(folder)


def _note_incumbent(home: Path, folder: Path, as_of_us: int | None, test_from_us: int) -> None:
    """Copy the weights that served, unless they were learned from sessions that judge this training."""
    moved = [row for row in registry.audit(home) if (row["name"], row["alias"]) == ("weights", registry.CHAMPION)]
    served = [row["to_version"] for row in moved if as_of_us is None or row["at_us"] <= as_of_us]
    for row in registry.versions(home, "weights") if served else []:
        learned_until_us = (row["lineage"].get("periods") or {}).get("test_from_us")
        if row["version"] == served[-1] and learned_until_us is not None and learned_until_us <= test_from_us:
            parts = registry.load(home, "weights", row["version"])
            write_parts(folder / INCUMBENT, Parts({**parts.meta, "version": row["version"]}, parts.arrays))


def _window(frame: Any, as_of_us: int | None) -> dict[str, Any]:
    at_us, seq = frame["occurred_at_us"], frame["seq"]
    return {
        "as_of_us": as_of_us,
        "first_event_us": int(at_us.min()),
        "last_event_us": int(at_us.max()),
        "first_seq": int(seq.min()),
        "last_seq": int(seq.max()),
        "n_events": len(frame),
    }


def load_examples(folder: str | Path) -> tuple[Examples, Mapping[str, Any]]:
    """Rows of a working folder, and what is known about them: window, parameters, periods."""
    parts = read_parts(Path(folder) / EXAMPLES)
    return examples.from_parts(parts), parts.meta


def _earlier(folder: str) -> tuple[Examples, Any, Any]:
    """All rows, those before the held-out period, and which of these are for calibration."""
    found, meta = load_examples(folder)
    split = found.split(ExampleParams(**meta["params"]))
    return found, ~split.test, split.valid[~split.test]


def _write_model(folder: str, name: str, parts: Parts) -> str:
    return str(write_parts(Path(folder) / MODELS / name, parts))


@task(name="fit intent", **RETRIES)
def fit_intent(folder: str, seed: int) -> str:
    """Fit the intent model; its folder."""
    found, kept, valid = _earlier(folder)
    params = replace(intent.DEFAULT_PARAMS, num_threads=1)  # the next-action model, which takes longest, fits beside it
    model = intent.fit(found.session_features[kept], found.p_intent[kept], params, valid=valid, seed=seed)
    return _write_model(folder, "intent", intent.to_parts(model))


@task(name="fit next action", **RETRIES)
def fit_next_action(folder: str, seed: int) -> str:
    """Fit the next-action model of both horizons; its folder."""
    found, kept, valid = _earlier(folder)
    targets = {
        name: next_action.Targets(found.next_action[kept, k].astype(np.int64), found.purchase[kept, k])
        for k, name in enumerate(HORIZONS_S)
    }
    covered = {name: found.covered[kept, k] for k, name in enumerate(HORIZONS_S)}
    model = next_action.fit(found.next_action_features()[kept], targets, valid=valid, rows=covered, seed=seed)
    return _write_model(folder, "next_action", next_action.to_parts(model))


@task(name="build associations", **RETRIES)
def fit_associations(folder: str, seed: int) -> str:
    """Count the typed item pairs of the whole log; the model's folder. Nothing in it is random."""
    log = examples.log_from_parts(read_parts(Path(folder) / LOG))
    store = associations.build(log.events, log.starts, np.array(log.item_ids, dtype=object))
    window = read_parts(Path(folder) / EXAMPLES).meta["window"]  # the service follows the log from there
    store = replace(store, built_to_seq=window["last_seq"], as_of_us=window["as_of_us"])
    return _write_model(folder, "associations", associations.to_parts(store))


@task(name="learn weights", **RETRIES)
def fit_weights(folder: str, seed: int) -> str:
    """Learn the weight profile on the validation period, with the fitted intent model, beside what serves; its folder."""
    log = examples.log_from_parts(read_parts(Path(folder) / LOG))
    meta = read_parts(Path(folder) / EXAMPLES).meta
    noted = read_parts(Path(folder) / INCUMBENT) if (Path(folder) / INCUMBENT).exists() else None
    serves = weights.from_parts(noted) if noted else None
    periods = meta["valid_from_us"], meta["test_from_us"]
    learned = log_weights.learn(log, _fitted_intent(folder), periods, seed=seed, incumbent=serves)
    parts = weights.to_parts(learned.weights)
    told = {
        "incumbent": noted.meta["version"] if noted else None,
        "chosen": learned.chosen,
        "ndcg_20": dict(learned.ndcg_20),
        **asdict(log_weights.PARAMS),
    }
    return _write_model(folder, "weights", Parts({**parts.meta, "params": told}, parts.arrays))


@task(name="fit ranker", **RETRIES)
def fit_ranker(folder: str, seed: int) -> str:
    """Fit the ranker to the whole log; the model's folder. A log too small to learn from gives the fallback without trees."""
    log = examples.log_from_parts(read_parts(Path(folder) / LOG))
    profile = weights.from_parts(read_parts(Path(folder) / MODELS / "weights"))
    model = log_ranker.fit(log, seed=seed, model=_fitted_intent(folder), weights=profile)
    return _write_model(folder, "ranker", ranker.to_parts(model))


@task(name="fit engagement", **RETRIES)
def fit_engagement(folder: str, seed: int) -> str:
    """Learn the engagement score, calibrated on the validation period; its folder. Nothing in it is random."""
    found, kept, valid = _earlier(folder)
    log, meta = examples.log_from_parts(read_parts(Path(folder) / LOG)), read_parts(Path(folder) / EXAMPLES).meta
    medium = list(HORIZONS_S).index("medium_term")
    foretold = next_action.from_parts(read_parts(Path(folder) / MODELS / "next_action")).horizons["medium_term"].purchase
    predicted = np.zeros(len(valid))
    predicted[valid] = foretold.predict(found.next_action_features()[kept][valid])[:, 1]
    rows = engagement_model.Rows(
        found.session_features[kept], found.purchase[kept, medium], valid, found.started_us[kept], predicted
    ).where(found.covered[kept, medium])
    earlier = log.before(meta["valid_from_us"])
    model = log_engagement.learn(earlier, rows, meta["valid_from_us"])
    return _write_model(folder, "engagement", engagement_model.to_parts(model))


def _fitted_intent(folder: str) -> intent.IntentModel:
    return intent.from_parts(read_parts(Path(folder) / MODELS / "intent"))


@task(name="keep versions", cache_policy=NO_CACHE)
def keep(home: str, folder: str, seed: int, validation: dict[str, Any] | None) -> dict[str, int]:
    """Save the fitted models as versions with their lineage and golden rows, and call them challengers."""
    found, meta = load_examples(folder)
    common = {
        "window": meta["window"],
        "periods": {name: meta[name] for name in ("valid_from_us", "test_from_us")},
        "examples": {**meta["params"], "n_rows": len(found.at_us)},
        "validation": validation,
        "code": code_version(),
        "seed": seed,
    }
    tried = trial.running(Path(home)) if meta["window"]["as_of_us"] is None else {}
    versions: dict[str, int] = {name: tried[name] for name in MODEL_NAMES if name in tried}  # judged before there are new ones
    new = [name for name in MODEL_NAMES if name not in tried]
    for name in new:
        parts = read_parts(Path(folder) / MODELS / name)
        lineage = {**common, "feature_service": FEATURE_SERVICES.get(name), "params": parts.meta.get("params", {})}
        versions[name] = registry.save(Path(home), name, parts, lineage, golden=_golden(name, parts, found))
    targets = {name: versions[name] for name in new}
    registry.set_alias(Path(home), registry.CHALLENGER, targets, action="train", actor="flow", reason="new candidate")
    return {name: versions[name] for name in MODEL_NAMES}


def _golden(name: str, parts: Parts, found: Examples) -> registry.Golden | None:
    if name not in PREDICTORS:
        return None
    rows = np.linspace(0, len(found.at_us) - 1, min(N_GOLDEN, len(found.at_us))).astype(int)
    features = features_of(name, found)[rows]
    model = PREDICTORS[name](parts)
    return registry.Golden(features.tolist(), [flat(model.predict_one(row)).tolist() for row in features])


PREDICTORS: Final[Mapping[str, Any]] = {"intent": intent.from_parts, "next_action": next_action.from_parts}


def features_of(name: str, found: Examples) -> examples.Features:
    """The columns that a model reads."""
    return found.session_features if name == "intent" else found.next_action_features()


def code_version() -> dict[str, str | None]:
    """Version of the package, the libraries that shape a model, and the commit where the code lies in a checkout."""
    return {
        "attune": importlib.metadata.version("attune"),
        "lightgbm": lightgbm.__version__,
        "numpy": np.__version__,
        "commit": _commit(Path(__file__).parents[1] / ".git"),
    }


def _commit(git: Path) -> str | None:
    """The checked-out commit, read from files: a machine that only runs Attune has no git."""
    try:
        head = (git / "HEAD").read_text().strip()
        return (git / head.removeprefix("ref: ")).read_text().strip() if head.startswith("ref: ") else head
    except OSError:
        return None
