"""Views of services are compared by all that their answers are made of, and with a build over the log."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.replicas import UNGATED, ask_all, strengths, tell
from models.associations.from_log import built
from models.associations.live import LiveAssociations
from models.associations.model import AssociationParams, build
from models.events.encode import EVENT_DTYPE
from models.inference.examples import read_log
from models.schema import EVENT_COLUMNS

MINUTE_US = 60_000_000


def log_of(*visits: tuple[str, str]) -> pd.DataFrame:
    """Views of (visitor, item), a minute from each other."""
    frame = pd.DataFrame(None, index=range(len(visits)), columns=["seq", "partner", *EVENT_COLUMNS], dtype=object)
    frame["user_id"], frame["item_id"] = zip(*visits, strict=True)
    numbers = np.arange(1, len(visits) + 1)
    told: dict[str, Any] = {
        "seq": numbers,
        "partner": "shop",
        "event_type": "item_view",
        "utc_offset_min": 0,
        "event_id": numbers.astype(str),
    }
    return frame.assign(**told, occurred_at_us=numbers * MINUTE_US)


def follow(log: pd.DataFrame, step: int) -> LiveAssociations:
    nothing = np.zeros(0, EVENT_DTYPE), np.zeros(0, np.bool_), np.zeros(0, object)
    live = LiveAssociations(build(*nothing, AssociationParams(**UNGATED)))
    for first in range(0, len(log), step):
        known = log[: first + step]
        live.fold(known, (known["seq"] > first).to_numpy())
    live.settle()
    return live


LOG = log_of(("u", "a"), ("v", "c"), ("u", "b"), ("v", "a"), ("u", "c"), ("w", "b"), ("w", "d"))


def test_what_was_counted_live_is_what_a_build_counts() -> None:
    anew = strengths(built(read_log(LOG)[0], UNGATED))
    assert ("a", 0, "b", 0) in anew
    assert strengths(follow(LOG, 3).view) == pytest.approx(anew, rel=1e-4)


def test_a_process_tells_its_view_when_it_is_told_to(tmp_path: Path) -> None:
    sources = {pid: SimpleNamespace(current=lambda live=live: SimpleNamespace(associations=live.view)) for pid, live in (
        (1, follow(LOG, 3)), (2, follow(LOG, 3)), (3, follow(LOG[:-1], 3)),
    )}  # fmt: skip
    one, two, other = ask_all([1, 2, 3], tmp_path, lambda pid: tell(sources[pid], tmp_path / f"view of {pid}"))
    assert one == two
    assert other.bits != one.bits
    assert one.strengths == strengths(sources[1].current().associations)


def test_who_does_not_tell_is_not_waited_for_ever(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match="does not tell"):
        ask_all([1], tmp_path, lambda pid: None, patience_s=0.0)
