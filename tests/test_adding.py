"""A measure, a model and an endpoint are added by the diffs that `docs/adding.md` shows, in as few files as it says."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8")
MIGRATION = re.compile(r"\d{4}(?=_video)")
NEXT = max(int(path.name[:4]) for path in (ROOT / "infra/store/migrations").glob("*/*.sql")) + 1  # of either engine


def shown(what: str) -> str:
    """The diff under a heading of the page; its migration, if it has one, gets the next number."""
    section = PAGE.split(f"\n## {what}\n")[1].split("\n## ")[0]
    return MIGRATION.sub(f"{NEXT:04}", section.split("```diff\n")[1].split("```")[0])


def changed(diff: str) -> list[str]:
    return re.findall(r"^\+\+\+ b/(\S+)", diff, re.MULTILINE)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree, with the kernels that are compiled already."""
    target = tmp_path_factory.mktemp("copy")
    for folder in ("models", "infra", "feature_repo", "flows", "services"):
        shutil.copytree(ROOT / folder, target / folder)
    for name in ("README.md", "tests/training.py"):
        (target / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, target / name)
    return target


def applied(copy: Path, diff: str, *, back: bool = False) -> None:
    words = ["git", "apply", "-C1", *(["--reverse"] if back else []), "-"]
    subprocess.run(words, cwd=copy, input=diff, text=True, check=True)


def said(copy: Path, code: str, *arguments: Path) -> list[str]:
    """Lines that a program prints that was started in the copy."""
    words = [sys.executable, "-c", code, *map(str, arguments)]
    run = subprocess.run(words, cwd=copy, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


# ---- a measure -----------------------------------------------------------------------------------------------------------

ONE_EVENT = """
import sys
from contextlib import closing
from pathlib import Path

import pandas as pd

from infra.store import events
from infra.store.engines import open_store
from models.events.rules import event_problem, to_row
from models.schema import EVENT_COLUMNS

home, event = Path(sys.argv[1]), {"user_id": "u", "type": "item_view", "item_id": "hat", "ts": "2026-11-21T10:00:00Z"}

def append(**fields):
    assert event_problem(event | fields, 2**60) is None
    frame = pd.DataFrame([to_row(event | fields, "p")], columns=list(EVENT_COLUMNS))
    with closing(open_store(home)) as store:
        store.write(lambda transaction: events.append_events(transaction, frame, "shop", 0))
"""
BEFORE = f"{ONE_EVENT}\nappend(event_id='before')\n"
AFTER = f"""{ONE_EVENT}
from infra.store.engines import is_shared, migrate

if is_shared(home):  # a server's store waits for the command
    migrate(home)
append(event_id="one", video_s=30.0)
append(event_id="two", video_s=12.0)
with closing(open_store(home)) as store:
    assert events.await_readable(store, 60)
    log = events.read_events(store)
print(log["video_s"].tolist())

from models.events.encode import encode
from models.features.sessions import features_of
from models.schema import SESSION_FEATURES, SESSIONS_VIEW

told = dict(zip(SESSION_FEATURES, features_of(encode(log).events).tolist(), strict=True))
print(told["n_events"], told["sum_video_s"], told["mean_dwell_ms"])
print(event_problem(event | {{"event_id": "e", "video_s": -1}}, 2**60).pointer)

from feature_repo.features import declare

views = {{view.name: view for view in declare(home).views}}
print("sum_video_s" in [field.name for field in views[SESSIONS_VIEW].features])

from infra.settings import Settings
from services.api.app import build_app
from services.http.openapi import document
from datetime import date

schema = document(build_app(Settings(home=home)).endpoints, date(2026, 11, 27))["components"]["schemas"]["SessionEvent"]
print(schema["properties"]["video_s"]["anyOf"][0]["maximum"])
"""


def test_a_measure_is_two_files_and_a_migration_and_arrives_everywhere(copy: Path, tmp_path: Path) -> None:
    diff = shown("A measure")
    migrations = [name for name in changed(diff) if name.startswith("infra/store/migrations/")]
    assert len(migrations) == 1
    assert len(changed(diff)) - len(migrations) == 2
    said(copy, BEFORE, tmp_path)  # a home of before
    applied(copy, diff)
    found = said(copy, AFTER, tmp_path)
    applied(copy, diff, back=True)
    assert found == ["[nan, 30.0, 12.0]", "3.0 42.0 0.0", "/video_s", "True", "86400.0"]


# ---- a model -------------------------------------------------------------------------------------------------------------

TRAINED = """
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


def test_a_model_is_three_files_and_is_fitted_kept_promoted_and_loaded(copy: Path, tmp_path: Path) -> None:
    diff = shown("A model")
    assert len(changed(diff)) == 3
    applied(copy, diff)
    found = said(copy, TRAINED, tmp_path)
    applied(copy, diff, back=True)
    assert found[-1] == "True {'bestsellers': 1} ('shoe', 'hat')"


# ---- an endpoint ---------------------------------------------------------------------------------------------------------

ASKED = """
import sys
from pathlib import Path

from starlette.testclient import TestClient

from infra.settings import Settings
from services.api.app import build_app
from services.http import partners

home = Path(sys.argv[1])
key = partners.add(home, "shop", 0)
with TestClient(build_app(Settings(home=home))) as client:
    answer = client.get("/v1/vocabulary", headers={"authorization": f"Bearer {key}"})
    print(answer.status_code, answer.json()["event_types"][:2], answer.json()["measures"]["scroll_depth"])
    print(client.get("/v1/vocabulary").status_code)
    print("vocabulary" in client.get("/openapi.json").json()["paths"]["/v1/vocabulary"]["get"]["operationId"])
"""


def test_an_endpoint_is_three_files_and_answers_who_has_a_key(copy: Path, tmp_path: Path) -> None:
    diff = shown("An endpoint")
    assert len(changed(diff)) == 3
    applied(copy, diff)
    found = said(copy, ASKED, tmp_path)
    applied(copy, diff, back=True)
    assert found == ["200 ['item_view', 'item_engagement'] [0.0, 1.0]", "401", "True"]
