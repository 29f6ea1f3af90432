"""Train: chosen rows of the log with their features as they were known then, and from them one new version of every model.

The judged model is the one that serves: the intent and next-action models are fitted on the sessions before the held-out
period, not fitted again on everything afterwards. The associations and the ranker that serve know the window of the log that a
training looks at (`ExampleParams.window_events`); they are judged by a second build on the earlier sessions. Which models there
are, how each is fitted and what it waits for stands in `models.model_specs.SPECS`.
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
from flows.spread import here, spread
from infra import layout, registry
from infra.artifacts import read_parts, write_parts
from infra.lock import held
from infra.settings import Settings
from infra.store.engines import open_store
from infra.store.events import newest_believed
from models.artifact import N_GOLDEN, Golden, Parts, flat
from models.inference import examples
from models.inference.examples import ExampleParams, Examples
from models.inference.training import Incumbent, TrainingInput
from models.model_specs import MODEL_NAMES, NEEDED_MODELS, PARAMS, SPEC, ModelSpec
from models.params import by_model
from models.statistics.split import Split

LOG: Final = "log"
ONE_SHOP: Final = "one_shop"  # whether all partners are one, so that nobody asks whose events they are
EXAMPLES: Final = "examples"
MODELS: Final = "models"
INCUMBENTS: Final = "incumbents"  # versions that serve, of models that are fitted beside them
RETRIES: Final[dict[str, Any]] = {"retries": 1, "retry_delay_seconds": 1, "cache_policy": NO_CACHE}


@flow(name="train")
def train(
    home: str,
    as_of_us: int | None = None,
    at_most: int = 100_000,
    seed: int = 0,
    validation: dict[str, Any] | None = None,
    settings: dict[str, str] | None = None,
    dask: str | None = None,
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
    settings
        Hyper-parameters that are not as they come, such as ``{"next_action.learning_rate": "0.1"}``; see `models.params`.
    dask
        As for `flows.spread.spread`; what is counted may be counted there, by parts of the log.

    Returns
    -------
    ``{"versions": {name: version}, "folder": working folder}``
    """
    with held(Path(home) / layout.RETRAIN_LOCK, "retrain"):
        by_model(settings or {}, PARAMS)  # what is wrong with them is said before anything is read
        folder = prepare(home, as_of_us, at_most, settings or {})
        fitted: dict[str, Any] = {}
        for name in MODEL_NAMES:
            asked = [fitted[before] for before in SPEC[name].needs]
            one = fit.with_options(name=SPEC[name].step)
            fitted[name] = one.submit(folder, name, seed, dask, return_state=False, wait_for=asked)
        for future in fitted.values():
            future.result()
        return {"versions": keep(home, folder, seed, validation), "folder": folder}


@task(name="choose rows and join features", **RETRIES)
def prepare(home: str, as_of_us: int | None, at_most: int, settings: dict[str, str] | None = None) -> str:
    """Write the encoded log and the rows to learn from into a new working folder; the folder."""
    from flows.materialize import training_set

    folder = Path(home) / layout.RUNS / uuid.uuid4().hex[:12]
    params = ExampleParams(at_most=at_most)
    with closing(open_store(Path(home))) as store:
        frame = newest_believed(store, params.window_events, as_of_us)
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
    first = not set(registry.champions(Path(home))) >= set(NEEDED_MODELS)
    periods = {"valid_from_us": split.valid_from_us, "test_from_us": split.test_from_us}
    told = {"window": window, "params": asdict(params), **periods, "judged_from_us": judged_from_us(found, split, first)}
    told |= {"settings": settings or {}, ONE_SHOP: Settings().one_shop}
    write_parts(folder / EXAMPLES, Parts({**parts.meta, **told}, parts.arrays))
    for name in MODEL_NAMES:
        if SPEC[name].beside_incumbent:
            note_incumbent(Path(home), name, folder, as_of_us, split.test_from_us)
    return str(folder)


def judged_from_us(found: Examples, split: Split, first: bool) -> int:
    """Where models are judged from: a shop's first ones are calibrated once more on the first half of the held-out rows."""
    began_us = np.asarray(found.started_us[split.test])
    return int(np.median(began_us)) if first and len(began_us) else split.test_from_us


def note_incumbent(home: Path, name: str, folder: Path, as_of_us: int | None, test_from_us: int) -> None:
    """Copy the version that served, unless it was learned from sessions that judge this training."""
    moves = [move for move in registry.audit(home) if (move.name, move.alias) == (name, registry.CHAMPION)]
    served = [move.to_version for move in moves if as_of_us is None or move.at_us <= as_of_us]
    for one in registry.versions(home, name) if served else []:
        learned_until_us = (one.lineage.get("periods") or {}).get("test_from_us")
        if one.version == served[-1] and learned_until_us is not None and learned_until_us <= test_from_us:
            parts = registry.load(home, name, one.version)
            write_parts(folder / INCUMBENTS / name, Parts({**parts.meta, "version": one.version}, parts.arrays))


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


@task(**RETRIES)
def fit(folder: str, name: str, seed: int, dask: str | None = None) -> str:
    """Fit one model to the rows and the log of a working folder; the model's folder."""
    spec = SPEC[name]
    assert spec.fit is not None  # a model of `MODEL_NAMES`
    data = training_input(Path(folder), spec, seed)
    with spread(dask if spec.is_counted else None) as over:
        fitted = spec.fit(replace(data, spread=None if over is here else over))
    return str(write_parts(Path(folder) / MODELS / name, fitted))


def training_input(folder: Path, spec: ModelSpec, seed: int) -> TrainingInput:
    """Training input of a model, from the files of a working folder."""
    found, meta = load_examples(folder)
    log = examples.log_from_parts(read_parts(folder / LOG))
    return TrainingInput(
        examples=found,
        log=log._replace(senders=None) if meta.get(ONE_SHOP) else log,
        split=found.split(ExampleParams(**meta["params"])),
        last_seq=meta["window"]["last_seq"],
        as_of_us=meta["window"]["as_of_us"],
        fitted={name: SPEC[name].load(read_parts(folder / MODELS / name)) for name in spec.needs},
        incumbent=_incumbent(folder / INCUMBENTS / spec.name, spec),
        judged_from_us=meta["judged_from_us"],
        seed=seed,
        params=by_model(meta.get("settings", {}), PARAMS).get(spec.name),
    )


def _incumbent(folder: Path, spec: ModelSpec) -> Incumbent | None:
    if not folder.exists():
        return None
    parts = read_parts(folder)
    return Incumbent(parts.meta["version"], spec.load(parts))


@task(name="keep versions", cache_policy=NO_CACHE)
def keep(home: str, folder: str, seed: int, validation: dict[str, Any] | None) -> dict[str, int]:
    """Save the fitted models as versions with their lineage and golden rows, and call them challengers."""
    found, meta = load_examples(folder)
    common = {
        "window": meta["window"],
        "periods": {name: meta[name] for name in ("valid_from_us", "test_from_us", "judged_from_us")},
        "examples": {**meta["params"], "n_rows": len(found.at_us)},
        "validation": validation,
        "code": code_version(),
        "seed": seed,
        "settings": meta.get("settings", {}),
    }
    tried = trial.running(Path(home)) if meta["window"]["as_of_us"] is None else {}
    versions: dict[str, int] = {name: tried[name] for name in MODEL_NAMES if name in tried}  # judged before there are new ones
    new = [name for name in MODEL_NAMES if name not in tried]
    for name in new:
        parts = read_parts(Path(folder) / MODELS / name)
        lineage = {**common, "feature_service": SPEC[name].feature_service, "params": parts.meta.get("params", {})}
        versions[name] = registry.save(Path(home), name, parts, lineage, golden=_golden(SPEC[name], parts, found))
    targets = {name: versions[name] for name in new}
    registry.set_alias(Path(home), registry.CHALLENGER, targets, action="train", actor="flow", reason="new candidate")
    return {name: versions[name] for name in MODEL_NAMES}


def _golden(spec: ModelSpec, parts: Parts, found: Examples) -> Golden | None:
    if spec.golden is None:
        return None
    rows = np.linspace(0, len(found.at_us) - 1, min(N_GOLDEN, len(found.at_us))).astype(int)
    features = spec.golden(found)[rows]
    model = spec.load(parts)
    return Golden(features.tolist(), [flat(model.predict_one(row)).tolist() for row in features])


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
