from pathlib import Path

import pytest

from tests.journey.path import DATA, walk


@pytest.mark.slow
def test_a_log_of_taobao_goes_the_whole_way(tmp_path: Path) -> None:
    walk(tmp_path, DATA / "taobao_user_behavior.csv.gz", "taobao")
