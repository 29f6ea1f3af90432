"""Look at the action weights, at what actions cause and at their sequences, and hold the weights still."""

import json
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from infra import registry
from infra.store.engines import open_store
from infra.store.events import read_events
from infra.store.statements.action_weights import FREEZE, SERVING, THAW
from models.inference import examples
from models.inference.examples import Log
from models.weights import action_report as action_weight_report
from models.weights import actions as action_weights
from models.weights import cause_report, markov, sequence_report

_PAIRS: Final = "associations"
SEED: Final = 0  # of the draws behind the intervals


def inspect(home: Path) -> dict[str, Any]:
    """Weights that serve: every action type with its posterior, prior and weight.

    Returns
    -------
    ``{"horizon_s", "seq", "frozen", "updated_at_us", "fallback", "pooling", "actions": [...], "untouched": [...],
    "untouched_by_partner": {NAME: [...]}}``, JSON-able;
    see `models.weights.action_report.Row`. `untouched` are the event types that touch nothing in the associations that serve,
    None where none do. Before anything was counted `seq` is 0 and the heuristic weights serve.
    """
    with closing(open_store(home)) as store:
        found = store.read(SERVING)
    frozen, seq, at_us, text = found[0] if found else (0, 0, None, "[]")
    pairs = registry.load_model(home, _PAIRS, registry.CHAMPION) if _PAIRS in registry.champions(home) else None
    known = action_weights.posterior(action_weights.counts_from_lists(json.loads(text)))
    return {
        "horizon_s": known.params.horizon_s,
        "half_life_days": known.params.half_life_days,
        "seq": seq,
        "frozen": bool(frozen),
        "updated_at_us": at_us,
        "fallback": action_weights.ready(known, seq).is_heuristic,
        "prior_strength": known.params.prior,
        "pooling_strength": known.pooling,
        "actions": [asdict(row) for row in action_weight_report.table(known)],
        "untouched": None if pairs is None else pairs.untouched(),
        "untouched_by_partner": {} if pairs is None else pairs.untouched_by_shop(),
    }


def sequences(home: Path, at_most: int = 20) -> dict[str, Any]:
    """The chain of the whole log: P(purchase) after each action, removal effects, and the pairs with the largest lift.

    Raises
    ------
    ValueError
        If the log is empty.
    """
    log = _log(home)
    chain = markov.learned(log.events["event_type"], log.starts)
    return sequence_report.table(chain, int(log.starts.sum()), np.random.default_rng(SEED), at_most)


def causes(home: Path) -> dict[str, Any]:
    """Causes: what each action moves, as the newest sessions tell it; what it predicts is `inspect`'s.

    Returns
    -------
    As `models.weights.cause_report.table`.

    Raises
    ------
    ValueError
        If the log is empty.
    """
    return cause_report.table(_log(home))


def _log(home: Path) -> Log:
    with closing(open_store(home)) as store:
        frame = read_events(store, believed=True)
    if frame.empty:
        raise ValueError("the event log is empty: bring events with attune ingest FILE, or start with attune up")
    return examples.read_log(frame)[0]


def freeze(home: Path) -> dict[str, Any]:
    """Let the present action weights serve until `thaw`, whatever visitors do.

    Raises
    ------
    ValueError
        If nothing was counted yet.
    """
    with closing(open_store(home)) as store:
        store.write(lambda transaction: transaction.execute(FREEZE, (time.time_ns() // 1000,)))
        found = store.read(SERVING)
    if not found:
        raise ValueError("no actions were counted yet, so there is nothing to freeze: the worker counts them (attune worker)")
    return {"frozen": True, "seq": found[0][1]}


def thaw(home: Path) -> dict[str, Any]:
    """Let the action weights follow the log again."""
    with closing(open_store(home)) as store:
        store.write(lambda transaction: transaction.execute(THAW))
        found = store.read(SERVING)
    return {"frozen": False, "seq": found[0][1] if found else 0}


def weight_lines(found: dict[str, Any]) -> list[str]:
    """Table of what `inspect` tells, for people."""
    lines = [f"{'action':18}{'weight':>8}{'prior':>8}{'p':>9}{'95 % interval':>19}{'n':>11}"]
    for row in found["actions"]:
        interval = f"{row['low']:.4f} – {row['high']:.4f}"
        note = "  heuristic: too few" if row["fallback"] else ""
        numbers = f"{row['weight']:8.3f}{row['prior']:8.2f}{row['p']:9.4f}{interval:>19}{row['n']:11.1f}"
        lines.append(f"{row['event_type']:18}{numbers}{note}")
    state = "frozen" if found["frozen"] else "following the log"
    if found["untouched"]:
        lines.append(f"touch nothing in this shop: {', '.join(found['untouched'])}")
    by_partner = found["untouched_by_partner"].items()
    lines += [f"touch nothing at {name}: {', '.join(kinds)}" for name, kinds in by_partner if kinds]
    return [*lines, f"p: of a purchase within {found['horizon_s']:g} s; {state}, event {found['seq']}"]


def cause_lines(found: dict[str, Any]) -> list[str]:
    """Table of what `causes` tells, for people."""
    if not found["actions"]:
        return [f"too few purchases in {found['n_sessions']} sessions to tell what causes them"]
    lines = [f"{'action':18}{'cause':>8}{'95 % interval':>19}{'unshrunk':>10}{'se':>7}{'heuristic':>11}"]
    for row in found["actions"]:
        interval = f"{row['cause'] - 1.96 * row['sd']:.2f} – {row['cause'] + 1.96 * row['sd']:.2f}"
        numbers = f"{row['unshrunk']:10.2f}{row['se']:7.2f}{row['heuristic']:11.2f}"
        note = "  on the way to buying: errors too small" if row["on_the_way"] else ""
        lines.append(f"{row['event_type']:18}{row['cause']:8.2f}{interval:>19}{numbers}{note}")
    told = f"{found['n_purchases']} purchases in {found['n_sessions']} sessions"
    return [*lines, f"cause: in log odds of deciding to buy, fading to {found['decay']} with each event; {told}"]


def sequence_lines(found: dict[str, Any]) -> list[str]:
    """Two tables of what `sequences` tells, for people."""
    lines = [f"{'action':18}{'n':>9}{'p(purchase)':>13}{'removal effect':>16}{'95 % interval':>19}"]
    lines += [
        f"{row['event_type']:18}{row['n']:9}{row['p_purchase']:13.4f}{row['removal_effect']:16.4f}{_interval(row, 4):>19}"
        for row in found["actions"]
    ]
    lines += ["", f"{'first':18}{'then':18}{'n':>8}{'p(purchase)':>13}{'lift':>9}{'95 % interval':>19}"]
    lines += [
        f"{row['before']:18}{row['last']:18}{row['n']:8}{row['p_purchase']:13.4f}{row['lift']:9.2f}{_interval(row, 2):>19}"
        for row in found["pairs"]
    ]
    return [*lines, f"{found['n_sessions']} sessions, of which {100 * found['p_purchase']:.1f} % buy"]


def _interval(row: dict[str, Any], digits: int) -> str:
    return f"{row['low']:.{digits}f} – {row['high']:.{digits}f}"
