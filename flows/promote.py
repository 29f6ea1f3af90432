"""Promote: every rule of the gate, one verdict, and the champion alias of all models moved in one transaction."""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from prefect import flow, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from flows import approve, off_policy, trial
from flows.evaluate import PREDICTIONS, REPORT, evaluate, load_held_out, newest, same_examples, shadowed
from flows.reports import promotion as promotion_page
from infra import layout, registry
from infra.artifacts import read_parts, write_report
from infra.lock import held
from models.arrays import Features
from models.artifact import Golden
from models.bandit.off_policy import off_policy_rule
from models.evaluation import comparison, drift, gate, predictions
from models.evaluation import tables as evaluation
from models.evaluation.gate import GateParams, Rule
from models.evaluation.held_out import HeldOut
from models.inference.examples import Examples
from models.model_specs import NEEDED_MODELS, SPEC, SPECS, golden_misses
from models.schema import SESSION_FEATURES

VERDICT: Final = "promotion.json"
PAGE: Final = "promotion.html"
N_TIMED: Final = 200  # predictions in a round
N_ROUNDS: Final = 5  # of which the quickest counts: whatever else the machine does makes the others slower
N_REPLAYED: Final = 50  # sessions folded both ways


@flow(name="promote")
def promote(
    home: str, versions: dict[str, int] | None = None, folder: str | None = None, approve_within_s: int = 0
) -> dict[str, Any]:
    """Judge a candidate, and make it the champion if the gate, and where it is asked for a person, says so.

    Parameters
    ----------
    versions
        The candidate; the newest version of each model by default.
    folder
        Working folder of the run that trained and evaluated it; without one, it is evaluated first.
    approve_within_s
        How long the run waits for a person's approval; 0 asks nobody.

    Returns
    -------
    The verdict of `gate.judge`.
    """
    with held(Path(home) / layout.RETRAIN_LOCK, "retrain"):
        versions = versions or newest(Path(home))
        if folder is None:
            folder = same_examples(home, versions)
            evaluate(home, versions, folder)
        verdict = judge(home, versions, folder)
        is_asked = approve_within_s > 0
        if verdict["promote"] and is_asked:
            _keep(home, versions, {**verdict, "promote": False})
            publish(home, versions, {**verdict, "promote": False, "approval": "waiting for attune approve"})
            verdict |= approve.ask(Path(home), versions, approve_within_s)
            verdict["evidence"]["shadow"] = shadowed(Path(home), versions)  # live requests went on while it waited
        apply(home, versions, verdict)
        trial.settle(Path(home), verdict, may_promote=verdict["promote"] or not is_asked)
        publish(home, versions, verdict)
        return verdict


@task(name="judge", cache_policy=NO_CACHE)
def judge(home: str, versions: dict[str, int], folder: str) -> dict[str, Any]:
    """Ask every rule.

    Raises
    ------
    ValueError
        If the last evaluation was of other versions.
    """
    report = json.loads((Path(home) / layout.REPORTS / REPORT).read_text(encoding="utf-8"))
    if report["candidate"]["versions"] != versions:
        raise ValueError(f"the evaluation report is of {report['candidate']['versions']}, not of {versions}: evaluate first")
    champion = (report["champion"] or {}).get("versions", {})
    seen = _seen(Path(home), versions, champion, folder)
    told = gate.judge(_rules(Path(home), versions, champion, seen, GateParams()), first=not champion, params=GateParams())
    held = trial.held_back(Path(home), versions, seen.off_policy)
    return {**told, "held_back": held, "evidence": _evidence(report, versions, champion, seen)}


class Seen(NamedTuple):
    """Evidence that the rules look at.

    Attributes
    ----------
    latency_ms
        By side and model.
    lineages
        By model and version, of all versions there are.
    shadow
        By kind of request.
    off_policy, profiles
        What logged decisions say of the candidate's weights, and of the profiles on trial.
    parity
        Rows that differ between both folds, and rows compared.
    drift
        Share of the input features that moved between the earlier and the held-out sessions; None where these are few.
    """

    compared: list[comparison.Comparison]
    calibrations: list[comparison.Calibration]
    latency_ms: dict[str, dict[str, float]]
    size_mb: dict[str, float]
    lineages: dict[tuple[str, int], Any]
    shadow: dict[str, Any]
    off_policy: dict[str, Any]
    profiles: dict[str, Any] | None
    parity: tuple[int, int]
    drift: float | None


def _seen(home: Path, versions: Mapping[str, int], champion: Mapping[str, int], folder: str) -> Seen:
    of, _, rng = load_held_out(Path(folder))
    compared, calibrations = _measured(Path(folder), of, rng, champion == versions)
    return Seen(
        compared=compared,
        calibrations=calibrations,
        latency_ms=_latencies(home, {"candidate": versions, "champion": champion}, of.examples),
        size_mb={name: _size_mb(registry.folder_of(home, name, version)) for name, version in versions.items()},
        lineages={(one.name, one.version): one.lineage for one in registry.versions(home)},
        shadow=shadowed(home, versions),
        off_policy=off_policy.verdict(home, versions),
        profiles=trial.of_profiles(home),
        parity=evaluation.parity(of.log, N_REPLAYED),
        drift=_drift(of) if champion else None,  # a shop's first models have nothing that they could be kept for
    )


def _rules(home: Path, versions: Mapping[str, int], champion: Mapping[str, int], seen: Seen, params: GateParams) -> list[Rule]:
    n_shadowed, n_failed = (sum(one[name] for one in seen.shadow.values()) for name in ("n_requests", "n_failed"))
    return [
        *gate.calibrated(seen.calibrations, params, first=not champion),
        *gate.not_worse(seen.compared, params),
        *gate.quick(seen.latency_ms["candidate"], seen.latency_ms["champion"], params),
        *(gate.at_most(f"{name} size, MB", mb, params.max_size_mb) for name, mb in seen.size_mb.items()),
        *_golden_rules(home, versions),
        gate.holds("online = offline", *seen.parity, "the same bits from both folds"),
        gate.complete({name: seen.lineages[name, version] for name, version in versions.items()}),
        _age_rule(seen.lineages, versions, champion),
        off_policy_rule(seen.off_policy),
        gate.holds("shadow", n_failed, n_shadowed, "no live request that the candidate could not answer"),
        gate.at_most("drift of inputs, share of features", seen.drift, params.max_drift_share),
    ]


def _evidence(
    report: Mapping[str, Any], versions: Mapping[str, int], champion: Mapping[str, int], seen: Seen
) -> dict[str, Any]:
    """What the page shows beside the rules, JSON-able."""
    sides = {"candidate": versions, "champion": champion}
    return {
        "judged_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "held_out": report["held_out"],
        "champion": champion,
        "comparisons": [comparison.as_json(one) for one in seen.compared],
        "calibrations": [comparison.as_json(one) for one in seen.calibrations],
        "latency_ms": seen.latency_ms,
        "size_mb": seen.size_mb,
        "early_decision": {side: _early(report[side]) for side in sides if report[side]},
        "shadow": seen.shadow,
        "off_policy": seen.off_policy,
        "profiles": seen.profiles,
        "lineage": {
            side: {name: seen.lineages[name, v] for name, v in of.items() if (name, v) in seen.lineages}
            for side, of in sides.items()
        },
    }


def _measured(
    folder: Path, of: HeldOut, rng: np.random.Generator, is_champion: bool
) -> tuple[list[comparison.Comparison], list[comparison.Calibration]]:
    """What `evaluate` noted of both sides, compared; the candidate's calibration."""
    came = comparison.truth(of)
    ours = predictions.from_parts(read_parts(folder / PREDICTIONS / "candidate"))
    beside = folder / PREDICTIONS / ("candidate" if is_champion else "champion")
    theirs = predictions.from_parts(read_parts(beside)) if beside.exists() else None
    return comparison.compare(ours, theirs, came, rng) if theirs else [], comparison.calibrations(ours, came, rng)


def _latencies(home: Path, sides: Mapping[str, Mapping[str, int]], found: Examples) -> dict[str, dict[str, float]]:
    """Milliseconds of processor that one prediction of each model in a request takes, for both sides in turn."""
    rows = {spec.name: np.array(spec.golden(found)[:N_TIMED]) for spec in SPECS if spec.golden}
    models = {
        (side, name): SPEC[name].load(registry.load(home, name, versions[name]))
        for side, versions in sides.items()
        for name in rows
        if name in versions
    }
    rounds = [{key: _cpu_ms(model, rows[key[1]]) for key, model in models.items()} for _ in range(N_ROUNDS)]
    told: dict[str, dict[str, float]] = {side: {} for side in sides}
    for side, name in models:
        told[side][name] = round(min(one[side, name] for one in rounds), 4)
    return told


def _cpu_ms(model: Any, rows: Features) -> float:
    started = time.thread_time()
    for row in rows:
        model.predict_one(row)
    return 1000 * (time.thread_time() - started) / max(len(rows), 1)


def _size_mb(folder: Path) -> float:
    return round(sum(path.stat().st_size for path in folder.rglob("*")) / 1e6, 3)


def _golden_rules(home: Path, versions: Mapping[str, int]) -> list[Rule]:
    rules = []
    for spec in SPECS:
        if spec.golden and spec.name in versions:
            parts, golden = registry.load_artifact(home, spec.name, versions[spec.name])
            golden = golden or Golden([], [])
            misses = golden_misses(spec.load(parts), golden)
            rules.append(gate.holds(f"{spec.name} golden rows", misses, len(golden.rows), "repeated after loading"))
    return rules


def _age_rule(lineages: Mapping[tuple[str, int], Any], versions: Mapping[str, int], champion: Mapping[str, int]) -> Rule:
    """A backfill for a past date never replaces a champion that knows more."""
    name = NEEDED_MODELS[0]  # all models of a retraining know the same log

    def last_us(of: Mapping[str, int]) -> int:
        return int(lineages[name, of[name]].get("window", {}).get("last_event_us", 0))

    older = bool(champion) and last_us(versions) < last_us(champion)
    return gate.holds("as recent as the champion", int(older), 1, "the log reaches at least as far")


def _drift(of: HeldOut) -> float | None:
    """Share of the session features whose distribution moved, between the earlier and the held-out sessions' ends."""
    found, last = of.examples, np.append(of.examples.starts[1:], True)
    before, after = (np.asarray(found.session_features[last & rows], dtype=np.float64) for rows in (~of.rows, of.rows))
    if min(len(before), len(after)) < GateParams().min_sessions:
        return None
    moved = drift.feature_psi(before, after, SESSION_FEATURES)
    return round(sum(psi > drift.DriftParams().psi_limit for psi in moved.values()) / len(moved), 4)


def _early(side: Mapping[str, Any]) -> dict[str, float | None]:
    return {after: one.get("macro_f1") for after, one in side["intent"]["early_decision"].items()}


@task(name="move aliases", cache_policy=NO_CACHE)
def apply(home: str, versions: dict[str, int], verdict: dict[str, Any]) -> None:
    """Store the verdict with the versions, and move the aliases if it says so."""
    _keep(home, versions, verdict)
    if verdict["promote"]:
        reason = "first version" if verdict["first"] else "gate: pass"
        crowned = {name: version for name, version in versions.items() if name not in verdict.get("held_back", {})}
        registry.crown(Path(home), crowned, actor=verdict.get("by", "gate"), reason=reason)


def _keep(home: str, versions: dict[str, int], verdict: dict[str, Any]) -> None:
    told = {name: value for name, value in verdict.items() if name != "evidence"}
    for name in versions:
        said = {"verdict": gate.THIN, "promote": False} if name in verdict.get("held_back", {}) else {}
        registry.record(Path(home), name, versions[name], verdict=told | said)


@task(name="publish verdict", cache_policy=NO_CACHE)
def publish(home: str, versions: dict[str, int], verdict: dict[str, Any]) -> str:
    """Write the verdict with its evidence, as a file for programs and a page for people, and show it in Prefect; the page."""
    report = {"versions": versions, **verdict}
    path = Path(home) / layout.REPORTS / VERDICT
    write_report(path, report)
    page = path.with_name(PAGE)
    page.write_text(promotion_page.page(report), encoding="utf-8")
    create_markdown_artifact(promotion_page.markdown(report), key="promotion", description="The gate's verdict")
    create_link_artifact(page.as_uri(), "promotion report", key="promotion-page", description=gate.in_words(verdict))
    return str(page)
