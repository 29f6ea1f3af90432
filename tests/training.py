"""Small inputs of a training: rows without anything in them, and the working folder of a run."""

from pathlib import Path
from typing import Any

import numpy as np

from flows import train
from infra.artifacts import write_parts
from models.artifact import Parts
from models.inference import examples, labels
from models.inference.examples import Examples, Log
from models.schema import INTENTS, ITEM_FEATURES, SESSION_FEATURES, USER_FEATURES

WINDOW = {"as_of_us": None, "last_seq": 0}


def empty_rows(n: int) -> Examples:
    """Sessions of one event each, of which nothing is known and nothing came."""
    sessions, users, items = (
        np.zeros((n, len(columns)), dtype=np.float32) for columns in (SESSION_FEATURES, USER_FEATURES, ITEM_FEATURES)
    )
    zeros, never = np.zeros(n, dtype=np.int64), np.full(n, labels.NEVER)
    p_intent, leaves = np.full((n, len(INTENTS)), 1 / len(INTENTS)), np.full(n, labels.LEAVE, dtype=np.int8)
    told = np.ones(n, dtype=np.bool_)
    return Examples(sessions, users, items, told, zeros, zeros, p_intent, leaves, never, never, zeros, np.arange(n))


def write_run(folder: Path, rows: Examples, log: Log | None = None, **told: Any) -> Path:
    """Write what `flows.train.prepare` leaves in a working folder."""
    parts = examples.to_parts(rows)
    meta = {"window": WINDOW, "params": {}, "valid_from_us": 0, "test_from_us": 0, "judged_from_us": 0, **told}
    write_parts(folder / train.EXAMPLES, Parts({**parts.meta, **meta}, parts.arrays))
    if log is not None:
        write_parts(folder / train.LOG, examples.log_to_parts(log))
    return folder
