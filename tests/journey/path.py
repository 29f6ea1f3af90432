"""The whole path, as a newcomer walks it: `attune up --once`, on a home of its own.

Ingestion, validation, features, training, promotion, the service, the worker and one answered request: nothing is replaced.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from models.evaluation.comparison import OPTIONAL
from models.model_specs import MODEL_NAMES
from models.schema import EVENT_TYPES, INTENTS
from tests.stores import connect
from tests.waiting import free_port

DATA = Path(os.environ.get("ATTUNE_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
UP_S = 1200  # it takes half a minute where nothing else runs


class Started(NamedTuple):
    """What `attune up --once` left and said."""

    home: Path
    answer: dict[str, Any]
    err: str


def command(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "services.cli", *words],
        env={**os.environ, "ATTUNE_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=UP_S,
    )


def up(home: Path, *words: str) -> Started:
    run = command(home, "up", "--once", "--no-open", "--port", str(free_port()), *words)
    assert run.returncode == 0, run.stderr[-3000:]
    _, answer, _ = run.stdout.split("\n\n")
    return Started(home, json.loads(answer), run.stderr)


def is_whole(answer: dict[str, Any], without: frozenset[str] = frozenset()) -> bool:
    """Whether an answer has everything that the contract promises.

    Parameters
    ----------
    without
        Models that the log has too little for.
    """
    return (
        set(answer["intent"]["probabilities"]) == set(INTENTS)
        and abs(sum(answer["intent"]["probabilities"].values()) - 1) < 1e-6
        and set(answer["weights"]) == set(EVENT_TYPES)
        and set(answer["models"]) == set(MODEL_NAMES) - without
        and bool(answer["items"])
        and set(answer["degraded"]) <= {"filled_with_popular", "history_unknown"}  # a log of years ago: too old to be asked
    )


def left_out(started: Started, without: frozenset[str] = frozenset()) -> frozenset[str]:
    """Models that were left out, as it was said: those that a log has too little for, and of what answers as well without them
    (`OPTIONAL`) those that the judged part found no better."""
    said = frozenset(name for name in MODEL_NAMES if f"{name} is left out" in started.err)
    assert without <= said <= without | OPTIONAL, started.err
    return said


def walk(home: Path, file: Path, format: str, without: frozenset[str] = frozenset()) -> None:
    """The whole way with a real log; each of them in a file of its own, so that two can go at once.

    Parameters
    ----------
    without
        Models that it has too little for, which is said.
    """
    if not file.exists():
        pytest.skip(f"{file.name} is not there; ATTUNE_TEST_DATA names the folder of the real logs")
    started = up(home, "--events", str(file), "--format", format)
    assert is_whole(started.answer, left_out(started, without)), started.answer
    accepted, refused = (connect(home).execute(f"SELECT count(*) FROM {t}").fetchall()[0][0] for t in ("events", "quarantine"))
    assert accepted > 15_000
    assert refused < 0.01 * accepted
