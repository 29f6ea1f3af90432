"""Experiment: read what the store knows of an experiment, have it judged, write the report and its page.

The verdict comes from `models.experiments.report`. The fixed-horizon numbers beside it are tea-tasting's, and
marked as such.
"""

import json
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import numpy as np

from flows.reports import experiment as experiment_page
from infra import experiments, layout
from infra.artifacts import write_report
from infra.store.engines import open_store
from infra.store.protocol import Store
from infra.store.statements import experiments as experiment_tables
from models.experiments import preference
from models.experiments.assignment import DYNAMIC_VS_STATIC, EXPERIMENTS, INTERLEAVED, SIDES, TEAMS, Experiment
from models.experiments.by_group import by_group
from models.experiments.outcomes import Exposed, Purchases, foreseeable, outcomes
from models.experiments.report import ReadoutParams, instant, report
from models.experiments.runs import NO_EXPOSURE
from models.schema import DAY_US, VISITOR_GROUPS
from models.statistics.verdict import NOT_ENOUGH

BEFORE_US: Final = 28 * DAY_US  # how far back a visitor's past is taken into account
TAKEN_US: Final = 1_800_000_000  # an item counts as taken from a list for half an hour
ONE_LOOK: Final = "right only for one look at a time planned in advance; do not stop the experiment by them"


def run(home: Path, name: str | None = None, now_us: int | None = None) -> dict[str, Any]:
    """Read an experiment out and write ``reports/experiment_NAME.json`` and ``.html``.

    Parameters
    ----------
    name
        Default: `DYNAMIC_VS_STATIC`, or the experiment with the newest decision where that one has none.
    now_us
        Leave out what happened later.

    Returns
    -------
    The report, JSON-able.

    Raises
    ------
    ValueError
        If there is no such experiment.
    """
    told = readout(home, name, time.time_ns() // 1000 if now_us is None else now_us)
    path = home / layout.REPORTS / f"experiment_{re.sub(r'[^A-Za-z0-9_-]', '_', told['experiment'])}.json"
    write_report(path, told)
    path.with_suffix(".html").write_text(experiment_page.page(told), encoding="utf-8")
    return {**told, "page": str(path.with_suffix(".html"))}


def readout(home: Path, name: str | None, now_us: int, params: ReadoutParams | None = None) -> dict[str, Any]:
    """The report, not written anywhere."""
    params = params or ReadoutParams()
    with closing(open_store(home)) as store:
        seen = [str(row[0]) for row in store.read(experiment_tables.EXPERIMENT_NAMES)]
        lists = _interleaved(store, now_us) if INTERLEAVED in seen else None
        experiment = _chosen(store, name, seen)
        if experiment is None:
            return {**_nothing(name or DYNAMIC_VS_STATIC.name, now_us, params, lists), "interleaving": lists}
        exposed, purchases, left_out, groups = _read(store, experiment, now_us, params)
        latencies = _latencies(store, experiment, now_us)
    told = {**report(experiment, exposed, purchases, latencies, now_us, params), "left_out": left_out, "interleaving": lists}
    told["by_group"] = by_group(experiment, exposed, purchases, groups, params) if told["metrics"] else {}
    return {**told, "fixed_horizon": _fixed_horizon(experiment, exposed, purchases, params) if told["path"] else None}


def _chosen(store: Store, name: str | None, seen: Sequence[str]) -> Experiment | None:
    """The experiment asked for; None if it has no visitors yet. One that the code no longer knows is taken as dealt evenly."""
    runs = {one.experiment.name: one.experiment for one in experiments.runs(store.read)}
    known = {*seen, *EXPERIMENTS, *runs, INTERLEAVED}
    if name is not None and name not in known:
        raise ValueError(f"no experiment of that name; known are {', '.join(sorted(known))}")
    splits = [one for one in seen if one != INTERLEAVED and not one.endswith(NO_EXPOSURE)]
    usual = next((one for one in (*runs, DYNAMIC_VS_STATIC.name) if one in splits), next(iter(splits), None))
    wanted = name or usual
    if wanted not in splits or wanted is None:
        return None
    if wanted in runs or wanted in EXPERIMENTS:
        return runs.get(wanted) or EXPERIMENTS[wanted]
    variants = tuple(str(row[0]) for row in store.read(experiment_tables.VARIANT_NAMES, (wanted,)))
    return Experiment(wanted, "", variants, (1 / len(variants),) * len(variants))


def _interleaved(store: Store, now_us: int) -> dict[str, Any]:
    """What visitors took from interleaved lists; an event counts for the newest list that showed its item."""
    asked = (INTERLEAVED, now_us)
    shown: dict[int, tuple[tuple[str, str], dict[str, str]]] = {}
    rows = store.read(experiment_tables.INTERLEAVED_LISTS, asked)
    for seq, partner, user, items, context in rows:
        teams = json.loads(context).get(TEAMS, "")
        shown[seq] = (partner, user), dict(zip(json.loads(items), teams, strict=False))
    credited: set[int] = set()
    taken: set[tuple[int, str]] = set()
    found = store.read(experiment_tables.TAKEN, (*asked, TAKEN_US, now_us))
    for event, seq, item in found:
        if event not in credited and item in shown[seq][1]:
            credited.add(event)
            taken.add((seq, item))
    clicks = [(shown[seq][0], shown[seq][1][item]) for seq, item in taken]
    return {**preference.report(preference.preferred(clicks), SIDES), "n_lists": len(rows)}


def _nothing(name: str, now_us: int, params: ReadoutParams, lists: dict[str, Any] | None) -> dict[str, Any]:
    """The report of an experiment without visitors of its own: none yet, or one of interleaved lists."""
    told = lists if name == INTERLEAVED and lists else {"verdict": NOT_ENOUGH}
    nobody = f"{NOT_ENOUGH}: nobody has been part of {name} yet; recommendations that are asked for are logged"
    return {
        "experiment": name,
        "status": NOT_ENOUGH if told["verdict"] == NOT_ENOUGH else "interleaved",
        "verdict": told["verdict"],
        "sentence": told.get("sentence", nobody),
        "control": EXPERIMENTS[name].control if name in EXPERIMENTS else SIDES[0],
        "visitors": dict.fromkeys(EXPERIMENTS[name].variants, 0) if name in EXPERIMENTS else {},
        "n_maturing": 0,
        "since": None,
        "until": instant(now_us),
        "window_days": params.window_us / DAY_US,
        "alpha": params.alpha,
        "left_out": {},
        **dict.fromkeys(("sample_ratio", "metrics", "guardrails", "power", "path", "fixed_horizon")),
    }


def _read(
    store: Store, experiment: Experiment, now_us: int, params: ReadoutParams
) -> tuple[Exposed, Purchases, dict[str, int], dict[str, list[str | None]]]:
    """Visitors that saw one known variant, their purchases, how many were left out for what, and the visitors' groups."""
    code = {variant: k for k, variant in enumerate(experiment.variants)}
    rows = store.read(experiment_tables.EXPOSED, (experiment.name, now_us))
    kept = [row for row in rows if row[3] == 1 and row[2] in code]
    place = {(row[0], row[1]): k for k, row in enumerate(kept)}
    window = (experiment.name, now_us, params.window_us)
    known = np.zeros((len(kept), 4))
    for partner, user, *counts in store.read(experiment_tables.BEFORE, (experiment.name, now_us, BEFORE_US)):
        if (partner, user) in place:
            known[place[partner, user]] = counts
    signals = np.zeros(len(kept))
    for partner, user, n in store.read(experiment_tables.SIGNALLED, window):
        if (partner, user) in place:
            signals[place[partner, user]] = n
    bought = [
        (place[partner, user], at_us, price)  # None becomes NaN
        for partner, user, at_us, price in store.read(experiment_tables.BOUGHT, window)
        if (partner, user) in place
    ]
    exposed = Exposed(
        np.array([code[row[2]] for row in kept], dtype=np.int64),
        np.array([row[4] for row in kept], dtype=np.int64),
        np.log1p(known),
        np.array([row[5] for row in kept], dtype=np.float64),  # None, of a visitor without an answer, becomes NaN
        np.array([row[6] for row in kept], dtype=np.float64),
        signals,
        np.array([row[7] for row in kept], dtype=np.float64),
        np.array([row[8] for row in kept], dtype=np.float64),
    )
    who, at_us, price = zip(*bought, strict=True) if bought else ((), (), ())
    purchases = Purchases(np.array(who, np.int64), np.array(at_us, np.int64), np.array(price, np.float64))
    crossed = sum(row[3] > 1 for row in rows)
    left_out = {"saw more than one variant": crossed, "unknown variant": len(rows) - len(kept) - crossed}
    return exposed, purchases, left_out, _groups(store, experiment, now_us, place)


def _groups(
    store: Store, experiment: Experiment, now_us: int, place: Mapping[tuple[str, str], int]
) -> dict[str, list[str | None]]:
    """Group of each visitor when first exposed, by each name of `VISITOR_GROUPS`."""
    groups: dict[str, list[str | None]] = {name: [None] * len(place) for name in VISITOR_GROUPS}
    for partner, user, *said in store.read(experiment_tables.GROUPS, (experiment.name, now_us)):
        if (partner, user) in place:
            for name, group in zip(VISITOR_GROUPS, said, strict=True):
                groups[name][place[partner, user]] = group
    return groups


def _latencies(store: Store, experiment: Experiment, now_us: int) -> Mapping[str, Any]:
    found: dict[str, list[int]] = {variant: [] for variant in experiment.variants}
    for variant, latency_us in store.read(experiment_tables.LATENCIES, (experiment.name, now_us)):
        if variant in found:
            found[variant].append(latency_us)
    return {variant: np.array(each, dtype=np.int64) for variant, each in found.items()}


def _fixed_horizon(experiment: Experiment, exposed: Exposed, purchases: Purchases, params: ReadoutParams) -> dict[str, Any]:
    """tea-tasting's intervals and p-values, adjusted for the same past."""
    import pandas as pd
    import tea_tasting  # type: ignore[import-untyped]

    done = outcomes(purchases, len(exposed.variant), params.cap_quantile)
    names = np.array(experiment.variants, dtype=object)
    frame = pd.DataFrame({"variant": names[exposed.variant], **done})
    asked: dict[str, Any] = {}
    for metric, values in done.items():
        past = foreseeable(values, exposed.before, exposed.variant)
        covariate = f"{metric}_before" if past.any() else None
        if covariate:
            frame[covariate] = past
        asked[metric] = tea_tasting.Mean(metric, covariate, confidence_level=1 - params.alpha, use_t=False)
    found: dict[str, dict[str, Any]] = {metric: {} for metric in done}
    for treatment in experiment.variants[:-1]:
        pair = frame[frame["variant"].isin([treatment, experiment.control])]
        told = tea_tasting.Experiment(asked).analyze(pair, control=experiment.control)
        for metric in done:
            one: Any = told[metric]
            found[metric][treatment] = {
                "difference": float(one.effect_size),
                "low": float(one.effect_size_ci_lower),
                "high": float(one.effect_size_ci_upper),
                "p_value": float(one.pvalue),
            }
    return {"note": ONE_LOOK, "metrics": found}
