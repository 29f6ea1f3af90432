"""Next action and purchase within 5 minutes and an hour: one curve against simple models, and against a model for each horizon.

    python -m benchmarks.horizons [--users N] [--seeds 101 102 …] [FILE --format F] [--from-share 0.8] [--blocks 1] [--apart]

The sessions from a share of the log on are judged, block by block in the order of time: models are fitted to all that lies
before a block, calibrated on the last of it, and asked about the block. Users and items are strangers to all of them. Several
shops are judged together. "markov" counts what follows the last event's type, "logistic" is a regression on the log counts of
events. Gains are of log loss and ROC AUC (of the next action: of each against all others, weighted by how often it comes) with
95 % intervals over sessions. "ece_if_calibrated" is what ECE a model without any error of calibration would show on as many
sessions as are judged, with 95 %: the rows of a session are alike, so that few sessions differ from what was said by chance.
With ``--apart`` classifiers of each horizon by itself are asked, too: what they say of 5 minutes and of an hour need not agree.
Prints one JSON object.
"""

import argparse
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata

from benchmarks.first_visits import examples_of
from benchmarks.typed_log import frame_of
from models.arrays import Codes, Features, Flags, Floats, Ints
from models.evaluation import classification
from models.evaluation.full import markov_chain
from models.inference import next_action
from models.inference.examples import ExampleParams, Examples
from models.inference.next_action import LEAVE, Outlook, Waits
from models.learners import boosting
from models.schema import (
    HORIZONS_S,
    INTENT_FEATURES,
    N_EVENT_TYPES,
    NEXT_ACTIONS,
    EventType,
)
from models.simulator import ShopConfig, simulate
from models.statistics import bootstrap, logistic, metrics
from models.statistics.metrics import Interval

N_DRAWS: Final = 300
SECONDS: Final = (0.0, 1.0, 5.0, 15.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
MOST_PREFIXES: Final = 100_000
VALID_SHARE: Final = 0.19  # of what lies before a block: 15 of 80 %
_TINY: Final = 1e-12


class Judged(NamedTuple):
    """Rows of a block and what was said of them, for one horizon.

    Attributes
    ----------
    action, bought, session
        What came next, whether a purchase came, and a code of the session, shape (n_rows,).
    said
        By model: probability of each action, and of the purchase.
    """

    action: Codes
    bought: Flags
    session: Ints
    said: dict[str, tuple[Floats, Floats]]


def blocks(found: Examples, from_share: float, n_blocks: int) -> Iterator[tuple[Flags, Flags, int]]:
    """Rows before each block, its own rows, and when it begins."""
    edges = np.quantile(found.started_us, np.linspace(from_share, 1.0, n_blocks + 1), method="higher").astype(np.int64)
    edges[-1] += 1
    for begin, end in itertools.pairwise(edges.tolist()):
        yield found.started_us < begin, (found.started_us >= begin) & (found.started_us < end), begin


def measure(frames: Sequence[pd.DataFrame], from_share: float, n_blocks: int, is_apart: bool = False) -> dict[str, Any]:
    """All measures of some logs together."""
    rows: dict[str, list[Judged]] = {name: [] for name in HORIZONS_S}
    told: list[dict[str, Outlook]] = []
    apart: list[dict[str, Outlook]] = []
    n_monotone, n_sessions, features = np.zeros(2, np.int64), 0, np.zeros((0, 0), np.float32)
    for frame in frames:
        _, found = examples_of(frame, ExampleParams())
        features, session = found.next_action_features(), np.cumsum(found.starts) + n_sessions
        n_sessions = int(session[-1]) + 1
        for before, test, begin_us in blocks(found, from_share, n_blocks):
            # What comes after the block has begun is not known before it.
            known_us = np.minimum(found.known_us, begin_us - found.at_us)
            valid = (found.started_us >= np.quantile(found.started_us[before], 1.0 - VALID_SHARE))[before]
            waits = Waits.of(found)._replace(known_us=known_us).where(before)
            model = next_action.fit(features[before], waits, valid=valid)
            told.append(model.predict(features[test]))
            if is_apart:
                apart.append(_apart(features, found, known_us, (before, test), valid))
            for k, name in enumerate(HORIZONS_S):
                said = {"curve": told[-1][name]} | ({"apart": apart[-1][name]} if is_apart else {})
                rows[name].append(_block(found, session, (before & _covers(known_us, k), test), said, k))
        n_monotone += _monotone(model, features[: MOST_PREFIXES // len(frames)])
    answer = {
        "n_sessions": len(np.unique(np.concatenate([one.session for one in rows["short_term"]]))),
        "monotone_prefixes": dict(zip(("n", "monotone"), n_monotone.tolist(), strict=True)),
    }
    for name, outlooks in (("curve", told), ("apart", apart)):
        if outlooks:
            answer[name] = {**_coherence(outlooks), **{horizon: _judged(rows[horizon], name) for horizon in HORIZONS_S}}
    return answer


def _covers(known_us: Ints, k: int) -> Flags:
    return np.asarray(known_us >= int(1e6 * list(HORIZONS_S.values())[k]))


def _block(found: Examples, session: Ints, periods: tuple[Flags, Flags], told: dict[str, Outlook], k: int) -> Judged:
    """What everybody says of a block, for the k-th horizon."""
    before, after = np.flatnonzero(periods[0]), np.flatnonzero(periods[1] & found.covered[:, k])
    known = np.asarray(found.covered[periods[1], k])
    action, bought = found.next_action[:, k].astype(np.int64), np.asarray(found.purchase[:, k])
    counts = logistic.log_counts(found.session_features[:, :N_EVENT_TYPES])
    said = {name: (one.p_action[known], one.p_purchase[known]) for name, one in told.items()}
    said["markov"] = markov_chain(found, before, after, k), _rates(found, bought, before, after)
    p_bought = logistic.fit(counts[before], bought[before]).predict(counts[after])
    said["logistic"] = _regressed(counts, action, before, after), p_bought
    return Judged(action[after], bought[after], session[after], said)


def _apart(
    features: Features, found: Examples, known_us: Ints, periods: tuple[Flags, Flags], valid: Flags
) -> dict[str, Outlook]:
    """Two classifiers for each horizon by itself."""
    (before, test), told, params = periods, {}, next_action.DEFAULT_PARAMS
    for k, name in enumerate(HORIZONS_S):
        use = before & _covers(known_us, k)
        held = valid[use[before]]
        action = boosting.fit(features[use], found.next_action[use, k], len(NEXT_ACTIONS), params.action, valid=held)
        purchase = boosting.fit(features[use], found.purchase[use, k].astype(np.int64), 2, params.purchase, valid=held)
        told[name] = Outlook(action.predict(features[test]), purchase.predict(features[test])[:, 1])
    return told


def _monotone(model: next_action.NextActionModel, features: npt.NDArray[np.float32]) -> Ints:
    """Number of prefixes, and of those for which no probability falls (of leaving: rises) with the horizon."""
    curve = model.curve(features, SECONDS)
    holds = np.ones(len(features), dtype=bool)
    for before, after in itertools.pairwise(curve):
        rise = after.p_action - before.p_action
        rise[:, LEAVE] *= -1
        holds &= (rise >= -_TINY).all(axis=1) & (after.p_purchase - before.p_purchase >= -_TINY)
    return np.array([len(features), holds.sum()])


def _coherence(outlooks: Sequence[dict[str, Outlook]]) -> dict[str, float]:
    """How often the two horizons contradict each other, and how much they differ."""
    told = {
        name: Outlook(*(np.concatenate(parts) for parts in zip(*(one[name] for one in outlooks), strict=True)))
        for name in HORIZONS_S
    }
    short, medium = (told[name].p_action for name in HORIZONS_S)
    return {
        "leaves_sooner_than_at_all": round(float((medium[:, LEAVE] > short[:, LEAVE] + _TINY).mean()), 4),
        "buys_sooner_than_at_all": round(
            float((told["short_term"].p_purchase > told["medium_term"].p_purchase + _TINY).mean()), 4
        ),
        "buys_without_an_event": round(
            float((medium[:, EventType.PURCHASE] > told["medium_term"].p_purchase + _TINY).mean()), 4
        ),
        "total_variation": round(float(np.abs(short - medium).sum(axis=1).mean() / 2), 4),
    }


def _judged(parts: Sequence[Judged], name: str) -> dict[str, Any]:
    """One horizon against the simple models."""
    action, bought, session = (np.concatenate([getattr(one, field) for one in parts]) for field in Judged._fields[:3])
    said = {
        who: [np.concatenate([one.said[who][of] for one in parts]) for of in (0, 1)] for who in (name, "markov", "logistic")
    }
    p_action, p_purchase = said.pop(name)
    draws = bootstrap.draw(session, np.random.default_rng(0), N_DRAWS)
    top, at, area = p_action.argmax(axis=1), np.arange(len(action)), area_shares(p_action, action)
    return {
        "n_rows": len(action),
        "n_purchases": int(bought.sum()),
        "action": {
            "log_loss": round(float(_loss(p_action, action).mean()), 4),
            "roc_auc": round(float(area.mean()), 4),
            "gain": {who: _gain(_loss(p, action), _loss(p_action, action), draws) for who, (p, _) in said.items()},
            "roc_auc_gain": {who: _gain(area, area_shares(p, action), draws) for who, (p, _) in said.items()},
            "ece": classification.yes_no(p_action[at, top], top == action)["ece"],
            "ece_if_calibrated": _told(ece_if_calibrated(p_action[at, top], top == action, draws)),
        },
        "purchase": {
            **{each: classification.yes_no(p_purchase, bought)[each] for each in ("log_loss", "roc_auc", "ece")},
            "ece_if_calibrated": _told(ece_if_calibrated(p_purchase, bought, draws)),
            "gain": {
                who: _gain(_binary_loss(p, bought), _binary_loss(p_purchase, bought), draws) for who, (_, p) in said.items()
            },
            "roc_auc_gain": {
                who: _told(bootstrap.area_intervals(p_purchase, p, bought, draws)[0]) for who, (_, p) in said.items()
            },
        },
    }


def area_shares(p: Floats, action: Codes) -> Floats:
    """What each row adds to the ROC AUC of the actions, each against all others, weighted by how often it comes: their mean.

    Sources: DeLong et al., "Comparing the areas under two or more correlated ROC curves", 1988; Obuchowski, "Nonparametric
    analysis of clustered ROC curve data", 1997.

    Parameters
    ----------
    p, action
        Probability of each action, shape (n_rows, n_actions), and what came, shape (n_rows,).

    Examples
    --------
    >>> float(area_shares(np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]]), np.array([0, 0, 1, 1])).mean())
    0.75
    """
    found, n_rows = np.zeros(len(action)), len(action)
    for one in np.unique(action):
        came, score = action == one, p[:, one]
        n_came = int(came.sum())
        if n_came == n_rows:
            continue
        place, below = rankdata(score), np.empty(n_rows)
        below[came] = (place[came] - rankdata(score[came])) / (n_rows - n_came)
        below[~came] = 1.0 - (place[~came] - rankdata(score[~came])) / n_came
        area, of_kind = below[came].mean(), np.where(came, n_came, n_rows - n_came) / n_rows
        found += n_came / n_rows * (area + (below - area) / of_kind)
    return np.asarray(found)


def ece_if_calibrated(p: Floats, outcome: Flags, draws: bootstrap.Draws) -> Interval:
    """ECE that would be seen if each bin's mean probability were right: by chance alone, with sessions as alike as these are.

    Sessions are drawn again; what a bin's gap then differs by from its own is what chance makes of no gap at all.

    Parameters
    ----------
    p, outcome
        Shape (n_rows,).
    draws
        Of the rows' sessions.
    """
    order = np.argsort(p, kind="stable")
    bins = np.empty(len(p), np.int64)
    bins[order] = np.arange(len(p)) * metrics.ECE_BINS // len(p)
    cell, shape = draws.group * metrics.ECE_BINS + bins, (draws.times.shape[1], metrics.ECE_BINS)
    gaps = np.bincount(cell, weights=p - outcome, minlength=shape[0] * shape[1]).reshape(shape)
    rows = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)
    own = gaps.sum(axis=0) / rows.sum(axis=0)
    seen = np.concatenate(
        [
            np.abs(block @ gaps - (n := block @ rows) * own).sum(axis=1) / n.sum(axis=1)
            for block in bootstrap.blocks(draws.times)
        ]
    )
    return Interval(float(seen.mean()), *map(float, np.quantile(seen, [0.025, 0.975])))


def _regressed(counts: Floats, action: Codes, before: Ints, after: Ints) -> Floats:
    """One regression for each action, their probabilities scaled to sum to 1."""
    p = np.full((len(after), len(NEXT_ACTIONS)), 1e-6)
    for one in np.unique(action[before]):
        p[:, one] = logistic.fit(counts[before], action[before] == one).predict(counts[after])
    return np.asarray(p / p.sum(axis=1, keepdims=True))


def _rates(found: Examples, bought: Flags, before: Ints, after: Ints) -> Floats:
    """Share that bought after an event of the same type as the last one."""
    last = found.session_features[:, INTENT_FEATURES.index("last_event_type")].astype(np.int64).clip(0, N_EVENT_TYPES - 1)
    n, yes = np.full(N_EVENT_TYPES, 2.0), np.ones(N_EVENT_TYPES)
    np.add.at(n, last[before], 1.0)
    np.add.at(yes, last[before], bought[before].astype(np.float64))
    return np.asarray((yes / n)[last[after]])


def _loss(p: Floats, true: Codes) -> Floats:
    return np.asarray(-np.log(np.maximum(p[np.arange(len(true)), true], _TINY)))


def _binary_loss(p: Floats, true: Flags) -> Floats:
    return np.asarray(-np.log(np.maximum(np.where(true, p, 1 - p), _TINY)))


def _gain(theirs: Floats, ours: Floats, draws: Any) -> dict[str, float]:
    return _told(bootstrap.mean_intervals((theirs - ours)[:, None], draws)[0])


def _told(interval: Any) -> dict[str, float]:
    return {name: round(value, 4) for name, value in bootstrap.as_json(interval).items()}


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--format", default="attune")
    parser.add_argument("--users", type=int, default=3000)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(101, 109)))
    parser.add_argument("--from-share", type=float, default=0.8)
    parser.add_argument("--blocks", type=int, default=1)
    parser.add_argument("--apart", action="store_true")
    given = parser.parse_args()
    if given.file:
        frames = [frame_of(given.file, given.format)]
    else:
        frames = [simulate(ShopConfig(n_users=given.users, seed=seed)).events for seed in given.seeds]
    found = measure(frames, given.from_share, given.blocks, given.apart)
    told = {"file": given.file.name} if given.file else {"users": given.users, "seeds": given.seeds}
    print(
        json.dumps({"benchmark": "horizons", **told, "from_share": given.from_share, "blocks": given.blocks, **found}, indent=1)
    )


if __name__ == "__main__":
    main()
