"""Releases: what is packed is what another home serves, once, whatever numbers and models it has."""

import json
from pathlib import Path

import pytest

from infra import promotion, registry, release
from models import weight_profile as weights
from models.artifact import Golden, Parts


def parts(view: float) -> Parts:
    base = weights.base_weights()
    base[0] = view
    return weights.to_parts(weights.profile(base, weights.heuristic_factors()))


def crowned(home: Path, *views: float) -> Path:
    """A home whose newest version of the weights serves."""
    for view in views:
        version = registry.save(home, "weights", parts(view), {"seed": view})
    registry.set_champions(home, {"weights": version}, actor="gate", reason="pass")
    return home


def served(home: Path) -> float:
    return float(registry.load(home, "weights").arrays["base"][0])


def test_an_empty_home_serves_a_release_with_its_numbers_lineage_and_golden_rows(tmp_path: Path) -> None:
    packed = release.pack(crowned(tmp_path / "shop", 0.1, 0.2), tmp_path / "release")
    taken = release.take_over(tmp_path / "release", tmp_path / "home", now_us=5)
    assert taken == release.Release(packed.id, {"weights": 2}, None, {}, 5)
    assert registry.champions(tmp_path / "home") == {"weights": 2}
    assert served(tmp_path / "home") == 0.2
    assert registry.versions(tmp_path / "home", "weights")[0].lineage == {"seed": 0.2}
    assert registry.verify_audit(tmp_path / "home") == 1
    assert release.releases(tmp_path / "home") == [taken]


def test_the_same_champions_are_the_same_release_and_others_another(tmp_path: Path) -> None:
    home = crowned(tmp_path / "shop", 0.1)
    first = release.pack(home, tmp_path / "first")
    assert release.pack(home, tmp_path / "second").id == first.id
    crowned(home, 0.2)
    assert release.pack(home, tmp_path / "third").id != first.id


def test_a_release_is_taken_over_once_so_that_a_rollback_outlives_a_restart(tmp_path: Path) -> None:
    release.pack(crowned(tmp_path / "shop", 0.9), tmp_path / "release")
    home = crowned(tmp_path / "home", 0.1)
    release.take_over(tmp_path / "release", home, now_us=1)
    assert (served(home), registry.champions(home)) == (0.9, {"weights": 2})  # 1 is another version here
    promotion.rollback(home, "weights")
    assert release.take_over(tmp_path / "release", home, now_us=2) is None
    assert served(home) == 0.1


def test_the_home_that_packed_a_release_keeps_its_own_versions(tmp_path: Path) -> None:
    home = crowned(tmp_path / "shop", 0.1)
    release.pack(home, tmp_path / "release")
    crowned(home, 0.2)
    release.take_over(tmp_path / "release", home, now_us=1)
    assert registry.champions(home) == {"weights": 1}
    assert len(registry.versions(home)) == 2


def test_golden_rows_travel_with_their_model(tmp_path: Path) -> None:
    version = registry.save(tmp_path / "shop", "intent", parts(0.1), {}, golden=Golden([[1.0]], [[0.5]]))
    registry.set_champions(tmp_path / "shop", {"intent": version}, actor="gate", reason="pass")
    release.pack(tmp_path / "shop", tmp_path / "release")
    release.take_over(tmp_path / "release", tmp_path / "home", now_us=1)
    assert registry.load_artifact(tmp_path / "home", "intent").golden == Golden([[1.0]], [[0.5]])


def test_a_damaged_release_moves_nothing(tmp_path: Path) -> None:
    release.pack(crowned(tmp_path / "shop", 0.9), tmp_path / "release")
    home = crowned(tmp_path / "home", 0.1)
    array = next((tmp_path / "release").rglob("base.npy"))
    array.write_bytes(array.read_bytes()[:-1] + b"\xff")
    with pytest.raises(ValueError, match=r"base\.npy"):
        release.take_over(tmp_path / "release", home, now_us=1)
    assert (served(home), registry.champions(home)) == (0.1, {"weights": 1})


def test_a_folder_that_is_no_release_and_one_of_another_format_say_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="attune deploy"):
        release.read(tmp_path)
    (tmp_path / release.MANIFEST).write_text(json.dumps({"format": 9}))
    with pytest.raises(ValueError, match="format 9, expected 1"):
        release.read(tmp_path)


def test_nothing_to_deploy_says_how_there_would_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="attune retrain"):
        release.pack(tmp_path, tmp_path / "release")


def test_a_release_that_is_built_again_takes_the_place_of_itself(tmp_path: Path) -> None:
    home = crowned(tmp_path / "shop", 0.1)
    packed = release.pack(home, tmp_path / "release")._replace(bento="attune:x", smoke={"ready_s": 1.0}, made_at_us=3)
    release.record(home, packed)
    release.record(home, packed._replace(made_at_us=4))
    assert release.releases(home) == [packed._replace(made_at_us=4)]


def test_compiled_kernels_come_to_lie_beside_the_sources_and_never_over_newer_ones(tmp_path: Path) -> None:
    for name in ("walk.step.nbi", "walk.step.1.nbc", "walk.pyc"):
        path = tmp_path / "here" / "models" / "simulator" / release.CACHE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("packed")
    release.pack_kernels(tmp_path / "here", tmp_path / "release")
    there = tmp_path / "there" / "models" / "simulator" / release.CACHE
    there.mkdir(parents=True)
    (there / "walk.step.nbi").write_text("its own")
    release.unpack_kernels(tmp_path / "release", tmp_path / "there")
    assert {path.name: path.read_text() for path in there.iterdir()} == {
        "walk.step.nbi": "its own",
        "walk.step.1.nbc": "packed",
    }
