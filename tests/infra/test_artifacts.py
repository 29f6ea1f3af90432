"""Artifacts are whole or not there, and what cannot be read is refused in one line that says what to do."""

import json
from pathlib import Path

import numpy as np
import pytest

from infra import artifacts, layout, promotion, registry
from models import model_specs
from models import weight_profile as weights
from models.artifact import Golden, Parts
from tests.stores import connect

PARTS = Parts({"kind": "example"}, {"x": np.arange(3.0), "none": np.zeros(0)})


def kept(folder: Path) -> Path:
    artifacts.save(folder / "intent" / "1", PARTS, Golden([[1.0]], [[0.5]]))
    return folder / "intent" / "1"


def test_an_artifact_comes_back_with_its_golden_rows_and_leaves_no_draft(tmp_path: Path) -> None:
    folder = kept(tmp_path)
    parts, golden = artifacts.load(folder)
    assert (parts.meta, golden) == (PARTS.meta, Golden([[1.0]], [[0.5]]))
    assert all(isinstance(array, np.memmap) and not array.flags.writeable for array in parts.arrays.values())
    assert [path.name for path in folder.parent.iterdir()] == ["1"]


def test_what_json_cannot_hold_leaves_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        artifacts.save(tmp_path / "1", Parts({"x": float("nan")}, {}))
    assert not (tmp_path / "1").exists()


@pytest.mark.parametrize(
    ("noted", "says"),
    [
        (
            '{"format": 3, "sums": {}}',
            "has the format 3, this version reads up to 2: install the version of Attune that wrote it",
        ),
        ('{"format": "x", "sums": {}}', "has the format 'x'"),
        ('{"format": 2}', "damaged or missing: sums.json"),
        ("[1]", "damaged or missing: sums.json"),
        ("{", "damaged or missing: sums.json"),
        (None, "damaged or missing: sums.json"),
    ],
)
def test_a_format_that_is_not_known_is_refused(tmp_path: Path, noted: str | None, says: str) -> None:
    sums = kept(tmp_path) / layout.SUMS_FILE
    sums.unlink()
    if noted is not None:
        sums.write_text(noted)
    with pytest.raises(ValueError, match=says) as refused:
        artifacts.load(tmp_path / "intent" / "1")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["meta.json", "x.npy", "golden.json"])
def test_a_file_that_was_changed_or_is_gone_is_named(tmp_path: Path, name: str) -> None:
    path = kept(tmp_path) / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"damaged or missing: {name}"):
        artifacts.load(path.parent)
    path.unlink()
    with pytest.raises(ValueError, match=f"damaged or missing: {name}"):
        artifacts.load(path.parent)


def test_a_version_of_before_there_was_a_format_still_serves_from_its_place(tmp_path: Path) -> None:
    version = registry.save(tmp_path, "weights", weights.to_parts(weights.STATIC), {})
    folder = registry.folder_of(tmp_path, "weights", version)
    sums = folder / layout.SUMS_FILE
    sums.write_text(json.dumps(json.loads(sums.read_text())["sums"]))
    old = tmp_path / layout.BENTOML / "models" / "weights" / "1"
    old.parent.mkdir(parents=True)
    folder.rename(old)
    connect(tmp_path).execute("UPDATE model_versions SET artifact = ?", (str(old.relative_to(tmp_path)),))
    assert promotion.promote(tmp_path, "weights").to_version == version
    assert np.array_equal(registry.load_model(tmp_path, "weights").base, weights.STATIC.base)
    assert registry.sweep(tmp_path) == 0


def test_a_model_that_another_version_kept_is_refused_in_one_line_that_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"weights was kept by another version of Attune .* attune retrain"):
        model_specs.made("weights", Parts({}, {}), None)
