"""The search for canaries finds them, or its silence would say nothing."""

import zipfile
from pathlib import Path

import pandas as pd

from tests import canary


def test_canaries_are_found_in_plain_files_tables_and_archives(tmp_path: Path) -> None:
    (tmp_path / "serve.log").write_text(f"GET /v1/users/{canary.USER}")
    (tmp_path / "innocent.log").write_text("GET /v1/users/{user_id}")
    texts = [canary.QUERY] * 1000
    pd.DataFrame({"n": range(1000), "text": texts}).to_parquet(tmp_path / "table.parquet", compression="zstd")
    with zipfile.ZipFile(tmp_path / "model.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ids.npy", f"{canary.KEY} " * 100)
    assert canary.holding(tmp_path) == {
        "serve.log": [canary.USER],
        "table.parquet": [canary.QUERY],
        "model.npz": [canary.KEY],
    }
