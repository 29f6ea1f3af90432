"""A drift report: the sessions of the champion's window and of the latest one, measured by what `models.evaluation.drift`
has."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from models.arrays import Features, Flags, Floats
from models.assess import immediates
from models.engagement.model import EngagementModel
from models.evaluation.comparison import calibration_interval
from models.evaluation.drift import DriftParams, calibration_rise, feature_psi, mix, psi, rules, sample, verdict
from models.features import sessions
from models.inference import labels
from models.inference.examples import Log
from models.inference.intent import IntentModel
from models.model_set import ModelSet, required
from models.schema import HORIZONS_S, INTENT_FEATURES, INTENTS, SESSION_IDLE_S, EventType
from models.statistics import bootstrap
from models.statistics.metrics import Interval
from models.statistics.verdict import FAIL
from models.weights.actions_from_log import ready_of

N_DRAWS: Final = 200


def compared(
    log: Log,
    model: IntentModel,
    engagement: EngagementModel | None,
    window: Mapping[str, int],
    decided: Sequence[Floats],
    changed: Callable[[Floats, Floats], bool],
    params: DriftParams,
) -> dict[str, Any]:
    """Judge both windows' closed sessions, each by its last event.

    Parameters
    ----------
    log
        Of both windows.
    model, engagement
        The champions; without the second, nothing is said of the probability to buy.
    window
        ``reference_until_us``, ``current_from_us`` and ``current_until_us``, by the start of a session.
    decided
        Rewards of the decisions in both windows, in time order.
    changed
        Whether a reward changed, from its values in both windows in time order.

    Returns
    -------
    ``sentence``, ``windows`` (sessions in each, and how many are needed), and unless a window is empty ``verdict``, ``rules``,
    ``features`` and ``intent_mix``, JSON-able.
    """
    soon = labels.purchase_within(log.events, log.user_codes, HORIZONS_S["medium_term"])
    rows = _chosen(log, window, params)
    soon, log = soon[rows], _part(log, rows)
    before = log.started_us <= window["reference_until_us"]
    ends = np.flatnonzero(np.append(log.starts[1:], True)) if len(log.starts) else np.zeros(0, np.int64)
    halves = [np.flatnonzero(before[ends]), np.flatnonzero(~before[ends])]
    sizes = (len(halves[0]), len(halves[1]))
    windows = {"reference": sizes[0], "current": sizes[1], "needed": params.min_sessions}
    if min(sizes) < 1:
        return {"sentence": f"{sizes[0]} sessions of the champion's window and {sizes[1]} since", "windows": windows}
    every, weak = sessions.fold(log.events, log.starts), labels.intent_probabilities(log.events, log.starts)[ends]
    features = every[ends]
    bought = np.add.reduceat(log.events["event_type"] == EventType.PURCHASE, np.flatnonzero(log.starts), dtype=np.int64) > 0
    in_time = [half[np.argsort(log.started_us[ends][half], kind="stable")] for half in halves]
    p, models = [model.predict(features[half]) for half in halves], ModelSet(intent=model, engagement=engagement)
    shifts = feature_psi(features[halves[0]], features[halves[1]], INTENT_FEATURES, params.n_bins)
    mixes = [mix(each, INTENTS) for each in p]
    streams = {"purchases per session": [bought[half].astype(np.float64) for half in in_time]}
    if min(map(len, decided)) >= params.min_sessions:
        streams["reward per decision"] = list(decided)
    judged = rules(
        sizes,
        shifts,
        psi(list(mixes[0].values()), list(mixes[1].values())),
        calibration_rise(p[0], weak[halves[0]], p[1], weak[halves[1]]),
        {
            name: (changed(earlier, later), float(earlier.mean()), float(later.mean()))
            for name, (earlier, later) in streams.items()
        },
        _purchase_calibration(models, log, every, soon, before, window, params) if engagement else (),
        params,
    )
    failed = ", ".join(f"{rule.name} ({rule.about})" for rule in judged if rule.verdict == FAIL)
    return {
        "verdict": verdict(judged),
        "sentence": failed or f"{sizes[0]} sessions of the champion's window, {sizes[1]} since",
        "rules": [rule._asdict() for rule in judged],
        "features": shifts,
        "intent_mix": {"reference": mixes[0], "current": mixes[1]},
        "windows": windows,
    }


def _purchase_calibration(
    models: ModelSet,
    log: Log,
    features: Features,
    soon: Flags,
    before: Flags,
    window: Mapping[str, int],
    params: DriftParams,
) -> tuple[Interval, ...]:
    """Calibration error of P(purchase within the hour) in both windows, as it is served, without the noise of few sessions."""
    horizon_s = required(models.engagement, "an engagement score").params.horizon_s
    known = labels.covered(log.events["occurred_at_us"], horizon_s, window["current_until_us"])
    effects = required(models.engagement, "an engagement score").groups.rows(log.groups, len(log.events))
    models = replace(models, actions=ready_of(_part(log, before), window["reference_until_us"]))
    p_intent = required(models.intent, "an intent model").predict(features)
    p, session, found = (
        immediates(models, log.events, features, p_intent, effects=effects),
        np.cumsum(log.starts, dtype=np.int64),
        [],
    )
    for half in (before, ~before):
        rows = np.flatnonzero(half & known)
        if len(rows) == 0:
            return ()
        draws = bootstrap.draw(session[rows], np.random.default_rng(params.seed), N_DRAWS)
        found.append(calibration_interval(p[rows], soon[rows].astype(np.float64), draws)[1])
    return tuple(found)


def _part(log: Log, rows: Flags) -> Log:
    return Log(
        log.events[rows], log.starts[rows], log.started_us[rows], log.user_codes[rows], log.item_ids, categories=log.categories
    )  # fmt: skip


def _chosen(log: Log, window: Mapping[str, int], params: DriftParams) -> Flags:
    """The rows of a sample of both windows' sessions."""
    first = np.flatnonzero(log.starts)
    began, ended = log.started_us[first], np.maximum.reduceat(log.events["occurred_at_us"], first)
    closed = ended <= window["current_until_us"] - SESSION_IDLE_S * 1_000_000
    kept, rng = np.zeros(len(first), dtype=np.bool_), np.random.default_rng(params.seed)
    for part in (began <= window["reference_until_us"], (began > window["current_from_us"]) & closed):
        sessions_of = np.flatnonzero(part)
        kept[sessions_of[sample(len(sessions_of), params.at_most, rng)]] = True
    rows: Flags = kept[np.cumsum(log.starts) - 1]
    return rows
