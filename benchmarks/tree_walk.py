"""Boosted trees: our compiled walk beside LightGBM, in one process; of single rows in turn by its single-row call, and of many.

    python -m benchmarks.tree_walk

The peer is reached through two private names of LightGBM's Python package, which does not offer the call. Both answers must be
equal to the last bit; times are microseconds. Prints one JSON object.
"""

import ctypes
import gc
import json
import time
from collections.abc import Callable
from typing import Any, Final

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
from lightgbm.basic import _LIB  # type: ignore[attr-defined]

from models.arrays import Floats
from models.learners.tree_walk import ManyRows, SingleRow, flatten

SIZES: Final = ((200, 1), (200, 4), (800, 4), (960, 16))  # trees, and scores that they add up to
N_FEATURES: Final = 75
N_ROUNDS: Final = 5
_FLOAT64, _RAW_SCORE = 1, 1  # C_API_DTYPE_FLOAT64, C_API_PREDICT_RAW_SCORE


def peer(booster: lgb.Booster) -> Callable[[npt.NDArray[Any]], Floats]:
    """LightGBM's call for one row, with buffers of its own."""
    row, scores = np.zeros(N_FEATURES), np.zeros(booster.num_model_per_iteration())
    written, config = ctypes.c_int64(), ctypes.c_void_p()
    assert not _LIB.LGBM_BoosterPredictForMatSingleRowFastInit(
        booster._handle, _RAW_SCORE, 0, -1, _FLOAT64, ctypes.c_int32(N_FEATURES), b"num_threads=1", ctypes.byref(config)
    )
    to = scores.ctypes.data_as(ctypes.POINTER(ctypes.c_double))
    arguments = (config, row.ctypes.data_as(ctypes.c_void_p), ctypes.byref(written), to)

    def score(one: npt.NDArray[Any]) -> Floats:
        row[:] = one
        assert not _LIB.LGBM_BoosterPredictForMatSingleRowFast(*arguments)
        return scores.copy()

    return score


def grown(n_trees: int, n_scores: int) -> tuple[lgb.Booster, Floats]:
    """Trees of 15 leaves on noisy classes with some values missing, and rows to ask about."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, N_FEATURES))
    classes = np.nan_to_num(x[:, :6]) @ rng.normal(size=(6, max(n_scores, 2))) + rng.normal(size=(4000, max(n_scores, 2)))
    x[rng.random(x.shape) < 0.05] = np.nan
    goal = {"objective": "multiclass", "num_class": n_scores} if n_scores > 1 else {"objective": "binary"}
    settings = {**goal, "num_leaves": 15, "max_bin": 63, "num_threads": 1, "verbose": -1}
    trained = lgb.train(settings, lgb.Dataset(x, classes.argmax(axis=1)), n_trees // n_scores)
    return lgb.Booster(model_str=trained.model_to_string()), x[:1000]


def measure(n_trees: int, n_scores: int) -> dict[str, Any]:
    """Median and 99th percentile of each, and what it takes to make the arrays."""
    booster, rows = grown(n_trees, n_scores)
    theirs, text = peer(booster), booster.model_to_string()
    before = time.process_time()
    ours = SingleRow([flatten(text, N_FEATURES)], N_FEATURES, [n_scores])
    flatten_ms = (time.process_time() - before) * 1e3
    equal = all(np.array_equal(ours(row), theirs(row)) for row in rows)
    times: dict[str, list[int]] = {"ours": [], "lightgbm": []}
    for row in [*rows] * N_ROUNDS:
        for name, score in (("ours", ours), ("lightgbm", theirs)):
            started = time.perf_counter_ns()
            score(row)
            times[name].append(time.perf_counter_ns() - started)
    p50, p99 = ({name: float(np.quantile(t, q)) / 1e3 for name, t in times.items()} for q in (0.5, 0.99))
    return {
        "n_trees": n_trees, "n_scores": n_scores, "equal_to_the_last_bit": equal, "p50_us": p50, "p99_us": p99,
        "ratio_p50": round(p50["ours"] / p50["lightgbm"], 3), "flatten_ms": round(flatten_ms, 1),
        "many_rows": many(booster, rows, n_scores),
    }  # fmt: skip


def many(booster: lgb.Booster, rows: Floats, n_scores: int) -> dict[str, Any]:
    """Processor time a row when all are asked at once, microseconds; the medians of `N_ROUNDS`."""
    together = ManyRows(flatten(booster.model_to_string(), N_FEATURES), N_FEATURES, n_scores)
    asked: dict[str, Callable[[], Any]] = {
        "ours": lambda: together(rows),
        "lightgbm": lambda: booster.predict(rows, raw_score=True, num_threads=1),
    }
    equal = np.array_equal(asked["ours"](), np.asarray(asked["lightgbm"]()).reshape(len(rows), -1))
    times: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(N_ROUNDS):
        for name, ask in asked.items():
            started = time.process_time()
            ask()
            times[name].append((time.process_time() - started) * 1e6 / len(rows))
    cpu_us = {name: round(float(np.median(values)), 2) for name, values in times.items()}
    return {"equal_to_the_last_bit": equal, "cpu_us": cpu_us, "ratio": round(cpu_us["ours"] / cpu_us["lightgbm"], 3)}


if __name__ == "__main__":
    gc.disable()
    print(json.dumps([measure(*size) for size in SIZES], indent=2))
