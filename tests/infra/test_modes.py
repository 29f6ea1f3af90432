"""What a home holds is for its owner, whatever it was made with."""

from pathlib import Path

from infra import layout
from infra.modes import open_to_others, repair


def test_what_others_may_open_is_named_and_taken_from_them(tmp_path: Path) -> None:
    for name in (layout.STORE, f"{layout.STORE}-wal", layout.SECRET, layout.SERVICE_URL):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o644)
    for name in (layout.FEAST, layout.REPORTS):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o755)
    tmp_path.chmod(0o755)
    named = {path.name for path in open_to_others(tmp_path)}
    assert named == {layout.STORE, f"{layout.STORE}-wal", layout.SECRET, layout.SERVICE_URL, layout.FEAST}
    repair(tmp_path)
    assert list(open_to_others(tmp_path)) == []
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in (layout.STORE, layout.FEAST, layout.REPORTS)] == [
        0o600,
        0o700,
        0o755,
    ]
    (tmp_path / layout.STORE).chmod(0o644)
    tmp_path.chmod(0o700)
    assert list(open_to_others(tmp_path)) == []  # nobody else comes that far
