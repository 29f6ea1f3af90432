import json
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.object_storage import storage
from infra import artifacts, layout, promotion, registry
from infra.store.engines import open_store
from models import weight_profile as weights
from models.artifact import sums
from models.model_specs import MODEL_NAMES, NEEDED_MODELS
from services.serving.model_watch import FIRST_PAUSE_S, AliasedModels, ChampionWatcher
from tests.stores import copied
from tests.waiting import until


@pytest.fixture
def home(crowned: Path, tmp_path: Path) -> Path:
    return copied(crowned, tmp_path / "home")


@pytest.fixture
def watcher(home: Path) -> Iterator[ChampionWatcher]:
    watching = ChampionWatcher(home, poll_s=0.02)
    watching.start()
    yield watching
    watching.stop()


def is_mapped(array: Any) -> bool:
    while array is not None and not isinstance(array, np.memmap):
        array = array.base if isinstance(array, np.ndarray) else None
    return array is not None


def save_weights(home: Path, view: float) -> int:
    base = weights.base_weights()
    base[0] = view
    return registry.save(home, "weights", weights.to_parts(weights.profile(base, weights.heuristic_factors())), {})


def set_champions(home: Path, **versions: int) -> None:
    registry.set_alias(home, "champion", versions, action="promote", actor="test", reason="test")


def test_the_champions_of_a_home_are_loaded_with_mapped_arrays(watcher: ChampionWatcher) -> None:
    now = watcher.current()
    assert now.versions == dict.fromkeys(MODEL_NAMES, 1)
    assert now.associations is not None
    assert is_mapped(now.associations.index.strength)
    assert now.ranker is not None
    assert is_mapped(now.ranker.sources.vectors)
    assert watcher.problems() == {}


def test_a_promotion_is_seen_without_a_restart_and_a_rollback_too(home: Path, watcher: ChampionWatcher) -> None:
    before = watcher.current()
    set_champions(home, weights=save_weights(home, 0.123))
    until(lambda: watcher.current().versions["weights"] == 2)
    now = watcher.current()
    assert now.weights is not None
    assert now.weights.base[0] == 0.123
    assert now.intent is before.intent
    assert before.versions["weights"] == 1
    promotion.rollback(home, "weights")
    until(lambda: watcher.current().versions["weights"] == 1)


def test_an_object_store_that_is_away_leaves_the_one_before_until_it_is_back(
    home: Path, watcher: ChampionWatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    with storage() as objects:
        for name, value in objects.environment.items():
            monkeypatch.setenv(name, value)
        version = save_weights(home, 0.2)
        shutil.rmtree(home / registry.versions(home, "weights")[0].artifact)  # as on a machine that has not made it
        objects.is_away = True
        set_champions(home, weights=version)
        until(lambda: "weights" in watcher.problems())
        assert "object store" in watcher.problems()["weights"]
        assert watcher.current().versions["weights"] == 1
        objects.is_away = False
        until(lambda: watcher.current().versions["weights"] == version)
        assert watcher.problems() == {}


def test_an_artifact_that_cannot_be_loaded_leaves_the_one_before(home: Path, watcher: ChampionWatcher) -> None:
    version = save_weights(home, 0.2)
    (registry.folder_of(home, "weights", version) / layout.META_FILE).write_text("{")
    set_champions(home, weights=version)
    until(lambda: "weights" in watcher.problems())
    assert watcher.current().versions["weights"] == 1
    set_champions(home, weights=save_weights(home, 0.3))
    until(lambda: watcher.current().versions["weights"] == 3)
    assert watcher.problems() == {}


def test_an_artifact_of_a_newer_format_leaves_the_one_before(home: Path, watcher: ChampionWatcher) -> None:
    version = save_weights(home, 0.2)
    sums_file = registry.folder_of(home, "weights", version) / layout.SUMS_FILE
    sums_file.write_text(json.dumps(json.loads(sums_file.read_text()) | {"format": 99}))
    with pytest.raises(ValueError, match=r"weights:2 cannot serve, nothing has moved: .* the format 99"):
        promotion.promote(home, "weights:2")
    set_champions(home, weights=version)
    until(lambda: "weights" in watcher.problems())
    assert "the format 99" in watcher.problems()["weights"]
    assert "attune retrain" in watcher.problems()["weights"]
    assert watcher.current().versions["weights"] == 1


@pytest.mark.parametrize(("name", "file"), [("intent", "meta.json"), ("associations", "*.npy"), ("ranker", "*.npy")])
def test_a_damaged_file_is_refused_before_a_library_reads_it(
    home: Path, watcher: ChampionWatcher, name: str, file: str
) -> None:
    """LightGBM ends the process on a model text that breaks off, a kernel on an index that points outside."""
    version = registry.save(home, name, registry.load(home, name, 1), {})
    path = max(registry.folder_of(home, name, version).glob(file), key=lambda one: one.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 8] = b"99999999"
    path.write_bytes(content)
    set_champions(home, **{name: version})
    until(lambda: name in watcher.problems())
    assert watcher.problems()[name] == f"{name}:{version} could not be loaded: ValueError: damaged or missing: {path.name}"
    assert watcher.current().versions[name] == 1
    set_champions(home, **{name: 1})
    until(lambda: watcher.problems() == {})


def test_a_file_that_is_gone_is_told_without_its_path(home: Path, watcher: ChampionWatcher) -> None:
    version = registry.save(home, "intent", registry.load(home, "intent", 1), {})
    for path in registry.folder_of(home, "intent", version).iterdir():
        path.unlink()
    set_champions(home, intent=version)
    until(lambda: "intent" in watcher.problems())
    assert str(home) not in watcher.problems()["intent"]
    set_champions(home, intent=1)


def test_predictions_that_differ_from_the_golden_ones_are_refused(home: Path) -> None:
    folder = registry.folder_of(home, "intent", 1)
    golden = json.loads((folder / layout.GOLDEN_FILE).read_text())
    golden["predictions"][0][0] += 0.01
    (folder / layout.GOLDEN_FILE).write_text(json.dumps(golden))
    (folder / layout.SUMS_FILE).unlink()  # as if a library answered differently, not the file
    (folder / layout.SUMS_FILE).write_text(json.dumps(sums(artifacts.contents(folder))))
    with pytest.raises(ValueError, match="golden predictions"):
        registry.load_model(home, "intent", 1)


def test_a_home_of_before_there_was_a_ranker_or_an_engagement_score_serves_without(home: Path) -> None:
    registry.set_alias(home, "champion", {"ranker": None, "engagement": None}, action="test", actor="test", reason="test")
    watching = ChampionWatcher(home)
    watching.start()
    watching.stop()
    assert set(watching.current().versions) == set(NEEDED_MODELS)
    assert watching.current().ranker is None
    assert watching.problems() == {}


def test_a_home_without_models_has_no_champions(tmp_path: Path) -> None:
    watching = ChampionWatcher(tmp_path / "new")
    watching.start()
    watching.stop()
    assert watching.current().versions == {}


@contextmanager
def no_more_files() -> Iterator[None]:
    """For this process: nothing can be opened any more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))  # what is open can still be waited for
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_what_the_machine_could_not_open_is_tried_again_after_a_while_and_what_is_damaged_is_not(home: Path) -> None:
    now_s, store = [0.0], open_store(home)
    models = AliasedModels(home, registry.CHAMPION, ("weights",), clock=lambda: now_s[0])
    with no_more_files():
        assert models.read(store.read).versions == {}
    assert (set(models.problems), models.tries_again) == ({"weights"}, True)
    assert models.read(store.read).versions == {}  # not at once
    now_s[0] += FIRST_PAUSE_S
    assert models.read(store.read).versions == {"weights": 1}
    assert (dict(models.problems), models.tries_again) == ({}, False)
    version = save_weights(home, 0.5)
    (registry.folder_of(home, "weights", version) / layout.META_FILE).write_text("{}")
    set_champions(home, weights=version)
    assert models.read(store.read).versions == {"weights": 1}
    assert (set(models.problems), models.tries_again) == ({"weights"}, False)
