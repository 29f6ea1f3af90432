"""Artifacts in object storage: a home that has none of a version's files takes them from there, whole or not at all."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.object_storage import BUCKET, Storage, storage
from infra import layout, object_store, registry
from infra.object_store import ObjectStoreUnavailable
from models import weight_profile as weights
from models.artifact import Golden, Parts


@pytest.fixture(scope="module")
def running() -> Iterator[Storage]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with storage() as made:
        yield made


@pytest.fixture
def objects(running: Storage, monkeypatch: pytest.MonkeyPatch) -> Storage:
    running.is_away = False
    for name in running.names():
        running.client.delete_object(Bucket=BUCKET, Key=name)
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    return running


def parts(view: float) -> Parts:
    base = weights.base_weights()
    base[0] = view
    return weights.to_parts(weights.profile(base, weights.heuristic_factors()))


def saved(home: Path, view: float = 0.5) -> Path:
    """Folder of a new version."""
    version = registry.save(home, "weights", parts(view), {}, golden=Golden([[1.0]], [[0.5]]))
    return registry.folder_of(home, "weights", version)


def test_a_version_lies_in_the_bucket_as_in_the_home(objects: Storage, tmp_path: Path) -> None:
    folder = saved(tmp_path)
    expected = {f"shop/{path.relative_to(tmp_path)}" for path in folder.iterdir()}
    assert set(objects.names()) == expected


def test_a_home_without_the_files_fetches_them_once(objects: Storage, tmp_path: Path) -> None:
    folder = saved(tmp_path)
    shutil.rmtree(folder)
    found, golden = registry.load_artifact(tmp_path, "weights", 1)
    assert found.arrays["base"][0] == 0.5
    assert not found.arrays["base"].flags.writeable
    assert golden == Golden([[1.0]], [[0.5]])
    asked = objects.asked
    registry.load_artifact(tmp_path, "weights", 1)
    assert objects.asked == asked


def test_what_came_damaged_is_refused_and_leaves_nothing(objects: Storage, tmp_path: Path) -> None:
    folder = saved(tmp_path)
    shutil.rmtree(folder)
    key = f"shop/{folder.relative_to(tmp_path)}/{layout.META_FILE}"
    objects.client.put_object(Bucket=BUCKET, Key=key, Body=b"{}")
    with pytest.raises(ValueError, match="damaged"):
        registry.load_artifact(tmp_path, "weights", 1)
    assert list(folder.parent.iterdir()) == []


def test_a_store_that_is_away_is_named_without_its_address(objects: Storage, tmp_path: Path) -> None:
    folder = saved(tmp_path)
    shutil.rmtree(folder)
    objects.is_away = True
    with pytest.raises(ObjectStoreUnavailable, match="object store cannot be used") as refusal:
        registry.load_artifact(tmp_path, "weights", 1)
    assert "127.0.0.1" not in str(refusal.value)
    with pytest.raises(ObjectStoreUnavailable):
        saved(tmp_path, 0.7)
    assert [one.version for one in registry.versions(tmp_path, "weights")] == [1]  # not kept, so not told of
    objects.is_away = False
    assert registry.load(tmp_path, "weights", 1).arrays["base"][0] == 0.5


def test_versions_of_before_the_bucket_are_brought_there(
    objects: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(object_store.URL)
    folder = saved(tmp_path)
    monkeypatch.setenv(object_store.URL, objects.environment[object_store.URL])
    assert registry.publish(tmp_path) == 1
    assert registry.publish(tmp_path) == 0
    shutil.rmtree(folder)
    assert registry.load(tmp_path, "weights", 1).arrays["base"][0] == 0.5


def test_what_is_nowhere_is_said_so(objects: Storage, tmp_path: Path) -> None:
    folder = saved(tmp_path)
    shutil.rmtree(folder)
    for name in objects.names():
        objects.client.delete_object(Bucket=BUCKET, Key=name)
    with pytest.raises(ValueError, match=r"weights:1 cannot be read: .*not in the object store"):
        registry.load_artifact(tmp_path, "weights", 1)
