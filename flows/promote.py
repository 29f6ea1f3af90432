"""Promote: every rule of the gate, a verdict on each model, and the champion aliases moved in one transaction."""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from flows import approve, off_policy, trial
from flows.evaluate import (
    BASELINE,
    CANDIDATE,
    CHAMPION,
    PREDICTIONS,
    REPORT,
    evaluate,
    load_held_out,
    newest,
    same_examples,
    shadowed,
)
from flows.reports import promotion as promotion_page
from infra import layout, registry
from infra.artifacts import read_parts, write_report
from infra.lock import held
from models import degraded
from models.arrays import Features
from models.artifact import Golden
from models.bandit.off_policy import off_policy_rule
from models.evaluation import comparison, drift, gate, predictions
from models.evaluation import tables as evaluation
from models.evaluation.gate import GateParams, Rule
from models.evaluation.held_out import HeldOut
from models.inference.examples import Examples
from models.model_specs import MODEL_NAMES, SPEC, SPECS, ModelSpec, golden_misses
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
    standings = {name: _standing(Path(home), SPEC[name], versions, champion) for name in MODEL_NAMES if name in versions}
    told = gate.judge(_rules(Path(home), versions, champion, seen, GateParams()), standings, params=GateParams())
    held = trial.held_back(Path(home), versions, seen.off_policy)
    for name, why in held.items():
        told["models"][name] |= {"promote": False, "why": told["models"][name]["why"] or f"on trial: {why}"}
    told["promote"] = any(one["promote"] for one in told["models"].values())
    return {**told, "held_back": held, "evidence": _evidence(report, versions, champion, seen)}


def _standing(home: Path, spec: ModelSpec, versions: Mapping[str, int], champion: Mapping[str, int]) -> gate.Standing:
    parts = registry.load(home, spec.name, versions[spec.name])
    return gate.Standing(
        first=spec.name not in champion,
        learned=spec.learned(parts),
        needs=spec.promoted_with,
        is_counted=spec.is_counted,
        says_p=spec.name in comparison.SAYS_P,
        instead=degraded.REASONS[spec.without].partition(": ")[2] if spec.without else "nothing is lost",
    )


class Seen(NamedTuple):
    """Evidence that the rules look at.

    Attributes
    ----------
    compared, over_baseline
        Of what has a champion, with that; of what has none, and of what is optional, with its baseline.
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
    over_baseline: list[comparison.Comparison]
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
    compared, over_baseline, calibrations = _measured(Path(folder), of, rng, versions, champion)
    return Seen(
        compared=compared,
        over_baseline=over_baseline,
        calibrations=calibrations,
        latency_ms=_latencies(home, {"candidate": versions, "champion": champion}, of.examples),
        size_mb={name: _size_mb(registry.folder_of(home, name, version)) for name, version in versions.items()},
        lineages={(one.name, one.version): one.lineage for one in registry.versions(home)},
        shadow=shadowed(home, versions),
        off_policy=off_policy.verdict(home, versions),
        profiles=trial.of_profiles(home),
        parity=evaluation.parity(of.log, N_REPLAYED),
        drift=_drift(of),
    )


def _rules(home: Path, versions: Mapping[str, int], champion: Mapping[str, int], seen: Seen, params: GateParams) -> list[Rule]:
    n_shadowed, n_failed = (sum(one[name] for one in seen.shadow.values()) for name in ("n_requests", "n_failed"))
    new, known = ([one for one in seen.calibrations if (set(one.about) <= set(champion)) is old] for old in (False, True))
    return [
        *gate.calibrated(new, params, first=True),
        *gate.calibrated(known, params, first=False),
        *gate.over_baseline(seen.over_baseline, params),
        *gate.not_worse(seen.compared, params),
        *gate.quick(seen.latency_ms["candidate"], seen.latency_ms["champion"], params),
        *(
            gate.at_most(f"{name} size, MB", mb, params.max_size_mb)._replace(about=(name,))
            for name, mb in seen.size_mb.items()
        ),
        *_golden_rules(home, versions),
        gate.holds("online = offline", *seen.parity, "the same bits from both folds"),
        gate.complete({name: seen.lineages[name, version] for name, version in versions.items()}),
        _age_rule(seen.lineages, versions, champion),
        off_policy_rule(seen.off_policy)._replace(about=("weights",)),
        gate.holds("shadow", n_failed, n_shadowed, "no live request that the candidate could not answer"),
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
        "drift": seen.drift,
        "off_policy": seen.off_policy,
        "profiles": seen.profiles,
        "lineage": {
            side: {name: seen.lineages[name, v] for name, v in of.items() if (name, v) in seen.lineages}
            for side, of in sides.items()
        },
    }


def _measured(
    folder: Path, of: HeldOut, rng: np.random.Generator, versions: Mapping[str, int], champion: Mapping[str, int]
) -> tuple[list[comparison.Comparison], list[comparison.Comparison], list[comparison.Calibration]]:
    """What `evaluate` noted, compared: with the champion; with the baseline, where there is none or it serves; calibrations."""
    came = comparison.truth(of)

    def said(side: str) -> predictions.Predictions:
        return predictions.from_parts(read_parts(folder / PREDICTIONS / side))

    ours = said(CANDIDATE)
    theirs = said(CANDIDATE if champion == versions else CHAMPION) if champion else None
    compared = comparison.compare(ours, theirs, came, rng) if theirs else []
    beside = set(versions) - set(champion) | comparison.OPTIONAL
    over = comparison.compare(ours, said(BASELINE), came, rng) if beside & set(versions) else []
    return (
        [one for one in compared if set(one.about) & set(champion)],
        [one for one in over if one.part == comparison.OVERALL and set(one.about) <= beside],
        comparison.calibrations(ours, came, rng),
    )


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
            rule = gate.holds(f"{spec.name} golden rows", misses, len(golden.rows), "repeated after loading")
            rules.append(rule._replace(about=(spec.name,)))
    return rules


def _age_rule(lineages: Mapping[tuple[str, int], Any], versions: Mapping[str, int], champion: Mapping[str, int]) -> Rule:
    """A backfill for a past date never replaces a champion that knows more."""

    def last_us(name: str, of: Mapping[str, int]) -> int:
        return int(lineages[name, of[name]].get("window", {}).get("last_event_us", 0))

    older = [name for name in versions if name in champion and last_us(name, versions) < last_us(name, champion)]
    rule = gate.holds("as recent as the champion", len(older), 1, "the log reaches at least as far")
    return rule._replace(about=tuple(older))


def _drift(of: HeldOut) -> float | None:
    """Share of the session features whose distribution moved, between the earlier and the held-out sessions' ends.

    It is told and decides nothing: where the world moves, what was learned from its newest part is needed most.
    """
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
    crowned = {name: version for name, version in versions.items() if verdict["models"][name]["promote"]}
    if verdict["promote"] and crowned:
        reason = "first version" if verdict["first"] else "gate: pass"
        registry.set_champions(Path(home), crowned, actor=verdict.get("by", "gate"), reason=reason)


def _keep(home: str, versions: dict[str, int], verdict: dict[str, Any]) -> None:
    told = {name: value for name, value in verdict.items() if name not in ("evidence", "models")}
    for name, version in versions.items():
        one = verdict["models"][name]
        said = {"verdict": gate.THIN} if name in verdict.get("held_back", {}) else {}
        mine = {**one, "promote": verdict["promote"] and one["promote"]}
        registry.record(Path(home), name, version, verdict=told | mine | said)


@task(name="publish verdict", cache_policy=NO_CACHE)
def publish(home: str, versions: dict[str, int], verdict: dict[str, Any]) -> str:
    """Write the verdict with its evidence, as a file for programs and a page for people, and show it in Prefect; the page."""
    report = {"versions": versions, **verdict}
    path = Path(home) / layout.REPORTS / VERDICT
    write_report(path, report)
    page = path.with_name(PAGE)
    page.write_text(promotion_page.page(report), encoding="utf-8")
    # The page itself is a file: no browser follows a link to one from a page of Prefect.
    text = f"{promotion_page.markdown(report)}\n\nAs a page: `{page}`, and in the console under Reports.\n"
    create_markdown_artifact(text, key="promotion", description=gate.in_words(verdict))
    return str(page)
