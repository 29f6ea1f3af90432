"""Cause report, as people read it: by how much each action moves a visitor to decide to buy, with its standard error."""

from typing import Any, Final

import numpy as np

from models.inference.examples import Log
from models.schema import EVENT_TYPES
from models.weight_profile import base_weights
from models.weights import causes
from models.weights.stretches import FUNNEL

MOST_EVENTS: Final = 300_000  # newest ones from which causes are learned


def table(log: Log) -> dict[str, Any]:
    """Causes of a log's newest sessions, JSON-able.

    Returns
    -------
    ``{"n_purchases", "n_sessions", "decay", "slope", "spread", "actions": [{"event_type", "cause", "sd", "unshrunk", "se",
    "heuristic", "on_the_way"}]}``, in log odds of deciding to buy (`models.weights.causes`); ``"actions"`` is empty, and the
    rest None, where there are too few purchases. `on_the_way` are the types through which whoever has decided passes: only the
    latent decision tells them apart, and on simulated shops their errors are too small (`benchmarks.action_weights`).
    """
    if len(log.events) > MOST_EVENTS:
        log = log.since(int(np.quantile(log.started_us, 1 - MOST_EVENTS / len(log.events))))
    found, told = causes.fit(log), {"n_sessions": int(log.starts.sum())}
    if found is None:
        return {**told, "n_purchases": None, "decay": None, "slope": None, "spread": None, "actions": []}
    columns = [part.tolist() for part in (found.mean, found.sd, found.raw, found.raw_se)]
    base = base_weights()
    rows = [
        {"event_type": EVENT_TYPES[e], "cause": cause, "sd": sd, "unshrunk": raw, "se": se}
        | {"heuristic": float(base[e]), "on_the_way": bool(e in FUNNEL)}
        for e, cause, sd, raw, se in zip(causes.TYPES, *columns, strict=True)
    ]
    parts = {"n_purchases": found.n_purchases, "decay": found.decay, "slope": found.slope, "spread": found.spread}
    return {**told, **parts, "actions": rows}
