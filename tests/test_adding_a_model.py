"""A model is added by the diff that `docs/adding.md` shows: three files, and it is fitted, kept, promoted and served."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIFF = ROOT / "docs" / "adding" / "model.diff"
RUN = """
import sys
from pathlib import Path

import numpy as np

from flows import train
from infra import promotion, registry
from infra.artifacts import read_parts
from models.events.encode import EVENT_DTYPE
from models.inference.examples import Log
from models.model_specs import MODEL_NAMES
from models.schema import EventType
from services.serving.model_watch import ChampionWatcher
from tests.training import empty_rows, write_run

events = np.zeros(4, EVENT_DTYPE)
events["event_type"] = [EventType.PURCHASE, EventType.PURCHASE, EventType.ITEM_VIEW, EventType.PURCHASE]
events["item"] = [1, 1, 2, 0]
log = Log(events, np.ones(4, bool), np.zeros(4, np.int64), np.arange(4), ["hat", "shoe", "sock"])
home = Path(sys.argv[1])
run = write_run(home / "run", empty_rows(4), log)
parts = read_parts(Path(train.fit.fn(str(run), "bestsellers", 0)))
registry.save(home, "bestsellers", parts, {"seed": 0})
promotion.promote(home, "bestsellers")
watcher = ChampionWatcher(home)
watcher.start()
watcher.stop()
print("bestsellers" in MODEL_NAMES, watcher.current().versions, watcher.current().bestsellers.item_ids)
"""


def test_a_model_is_added_in_three_files_and_serves(tmp_path: Path) -> None:
    changed = re.findall(r"^\+\+\+ b/(\S+)", DIFF.read_text(), re.MULTILINE)
    assert len(changed) <= 3
    copy = tmp_path / "attune"
    for folder in ("models", "infra", "flows", "feature_repo", "services"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "training.py", copy / "tests")
    subprocess.run(["git", "apply", str(DIFF)], cwd=copy, check=True)
    words = [sys.executable, "-c", RUN, str(tmp_path / "home")]
    run = subprocess.run(words, cwd=copy, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "True {'bestsellers': 1} ('shoe', 'hat')"
