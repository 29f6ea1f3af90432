"""A schema with as many event types as there is room for: a copy of the core folds, builds, ranks and answers with it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.associations import model as associations
from models.events.encode import EVENT_DTYPE
from models.schema import N_EVENT_TYPES

ROOT = Path(__file__).parents[2]
PROBE = """
import sys
from pathlib import Path

import numpy as np

from models import warm_up
from models.artifact import Parts
from models.associations import model as associations
from models.events.encode import EVENT_DTYPE
from models.features import sessions
from models.schema import EVENT_TYPES, N_EVENT_TYPES, SESSION_FEATURES

warm_up.rehearse_folds()
warm_up.rehearse_ranker()

events = np.zeros(40, EVENT_DTYPE)
events["item"] = np.arange(40) % 2
events["event_type"] = np.where(events["item"] == 0, N_EVENT_TYPES - 1, N_EVENT_TYPES - 2)
starts = events["item"] == 0
folded = sessions.fold(events, starts)[1]
assert folded[SESSION_FEATURES.index(f"n_{EVENT_TYPES[-1]}")] == 1.0 == folded[SESSION_FEATURES.index(f"n_{EVENT_TYPES[-2]}")]

store = associations.build(events, starts, np.array(["one", "other"], object), associations.AssociationParams(min_llr=0.0))
store = associations.from_parts(associations.to_parts(store))
asked = np.array([0]), np.array([N_EVENT_TYPES - 1], np.int8), np.zeros(1), np.ones(N_EVENT_TYPES)
ranked = store.recommend(*asked, 1, exclude=np.array([0]))
print(N_EVENT_TYPES, store.item_ids[ranked.items[0]], *store.explain(ranked, *asked)[0][0].values())

with np.load(sys.argv[1], allow_pickle=True) as kept:
    meta = kept["meta"].item()
    older = associations.from_parts(Parts(meta, {name: kept[name] for name in kept.files if name != "meta"}))
assert older.ledger.n_sessions_with.shape == (2, 64)
answer = older.recommend(np.array([0]), np.zeros(1, np.int8), np.zeros(1), np.ones(N_EVENT_TYPES), 2)
because = older.explain(answer, np.array([0]), np.zeros(1, np.int8), np.zeros(1), np.ones(N_EVENT_TYPES))
print(answer.items.tolist(), answer.scores.tolist(), because)
"""


def copy(folder, n_types):
    """The core in another folder, with more event types."""
    shutil.copytree(ROOT / "models", folder / "models", ignore=shutil.ignore_patterns("__pycache__"))
    more = range(N_EVENT_TYPES, n_types)
    for file, line, another in (
        ("schema.py", r"( +)PURCHASE = \d+\n", "    MORE_{0} = {0}\n"),
        ("weight_profile.py", r'    "purchase": 1\.0,.*\n', '    "more_{0}": 0.5,\n'),
    ):
        path = folder / "models" / file
        added = "".join(another.format(k) for k in more)
        source, n = re.subn(f"(?:{line})", rf"\g<0>{added}", path.read_text())
        assert n == 1, file
        path.write_text(source)


def run(folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(folder / "cache"), "NUMBA_OPT": "0"}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, cwd=folder)


@pytest.mark.slow
def test_sixty_four_event_types_fit_and_a_file_of_fifteen_still_opens(tmp_path):
    events = np.zeros(40, EVENT_DTYPE)
    events["item"] = np.arange(40) % 2
    events["event_type"] = np.arange(40) // 2 % N_EVENT_TYPES
    starts, params = events["item"] == 0, associations.AssociationParams(min_llr=0.0)
    store = associations.build(events, starts, np.array(["one", "other"], object), params)
    parts = associations.to_parts(store)
    unsaid = {name: value for name, value in parts.meta.items() if name != "type_bits"}  # as files of before have it
    np.savez(tmp_path / "kept.npz", meta=np.array(unsaid, object), **dict[str, Any](parts.arrays))
    copy(tmp_path, 64)
    ran = run(tmp_path, "-c", PROBE, str(tmp_path / "kept.npz"))
    assert ran.returncode == 0, ran.stderr
    newest, older = ran.stdout.splitlines()
    assert newest == "64 other one more_63 more_62 1.0"
    session = np.array([0]), np.zeros(1, np.int8), np.zeros(1), np.ones(N_EVENT_TYPES)
    expected = store.recommend(*session, 2)
    assert older == f"{expected.items.tolist()} {expected.scores.tolist()} {store.explain(expected, *session)}"


def test_one_type_more_is_refused_with_the_number(tmp_path):
    copy(tmp_path, 65)
    ran = run(tmp_path, "-c", "import models.associations.arrays")
    assert "ValueError: associations tell 64 event types apart, models/schema.py has 65" in ran.stderr
